// Outbox: what a link has to send, in the order in which it goes out: the rest of a chunk that has begun, control frames, chunks.
// Control frames are copied and lie side by side, so that many make few writes; chunks are the caller's memory until they are
// done. No sockets in here.
//
// Of a link that is to survive its connection it also keeps what was sent, until the peer has confirmed it: a position counts all bytes
// that went out, over all connections. Those in between go out again on the next one.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "wire/frame.hpp"

namespace rayx::wire {

// Called once: true when the bytes were handed over and the memory is no longer read, false if they never will be.
using PayloadDone = std::function<void(bool was_sent)>;

class Outbox {
 public:
  void add_frame(FrameKind kind, std::span<const std::byte> bytes);
  // Before all others, and of this connection only: no position counts it.
  void add_first(FrameKind kind, std::span<const std::byte> bytes);
  // `keep` goes when the memory is not read any more: with `done`, or, where what was sent is kept, when it is confirmed.
  void add_chunk(const PayloadChunk& chunk, const std::byte* data, PayloadDone done, std::shared_ptr<void> keep = {});

  // From here on what is sent is kept.
  void keep_sent() { keeps_sent_ = true; }
  // The peer has all before that position. False: it cannot have that, or it is inside a chunk.
  bool confirm(std::uint64_t position, std::vector<std::shared_ptr<void>>& released);
  // A new connection to the same peer, which has all before that position: the rest goes out again. False: as above.
  bool rewind(std::uint64_t position, std::vector<std::shared_ptr<void>>& released);

  // The next bytes, at most `parts_max` parts and about `bytes_max` bytes. Valid until the next call of anything else here.
  std::size_t gather(iovec* parts, std::size_t parts_max, std::size_t bytes_max);
  // The first `bytes` of what gather gave are gone. Appends what was finished; the link calls it when it may be called again.
  void consume(std::size_t bytes, std::vector<PayloadDone>& finished);
  // No chunk's memory is read any more; control frames are still sent, after the rest of a chunk that has begun (a copy).
  void drop_chunks(std::vector<PayloadDone>& dropped);
  void clear(std::vector<PayloadDone>& dropped);

  std::size_t control_bytes() const { return control_bytes_; }
  std::size_t chunk_bytes() const { return chunk_bytes_; }
  std::size_t chunks() const { return chunks_.size(); }
  std::uint64_t confirmed_position() const { return confirmed_position_; }
  std::uint64_t unconfirmed_bytes() const { return sent_position_ - confirmed_position_; }
  bool is_empty() const { return first_.size() - first_begin_ + again_bytes_ + control_bytes_ + chunk_bytes_ == 0; }

 private:
  static constexpr std::size_t kBlockBytes = 64 * 1024;
  static constexpr std::size_t kSparesMax = 4;
  struct Block {
    std::shared_ptr<std::byte[]> data;
    std::size_t capacity = 0;
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  struct Chunk {
    std::byte header[kChunkHeaderBytes];
    const std::byte* data;
    std::size_t bytes;
    std::size_t sent;  // of header, data and padding
    PayloadDone done;
    std::shared_ptr<void> keep;
    std::size_t total() const { return kChunkHeaderBytes + bytes + padding_after(bytes); }
  };
  // What was sent in one piece: control frames of one block, or a chunk.
  struct Piece {
    Block frames;  // without data: a chunk
    Chunk chunk;
    std::size_t bytes() const { return frames.data ? frames.end - frames.begin : chunk.total(); }
  };
  bool chunk_has_begun() const { return !chunks_.empty() && chunks_.front().sent > 0; }
  Block take_block(std::size_t bytes);
  void give_back(Block block);
  void consume_first(std::size_t& bytes);
  void consume_again(std::size_t& bytes);
  void consume_control(std::size_t& bytes);
  std::size_t consume_chunk(std::size_t bytes, std::vector<PayloadDone>& finished);
  static PayloadDone done_with_keep(Chunk& chunk);

  std::vector<std::byte> first_;
  std::size_t first_begin_ = 0;
  std::deque<Block> blocks_;
  std::vector<Block> spares_;  // so that a steady stream of small frames allocates nothing
  std::deque<Chunk> chunks_;
  std::size_t control_bytes_ = 0;
  std::size_t chunk_bytes_ = 0;

  bool keeps_sent_ = false;
  std::deque<Piece> sent_;  // from confirmed_position_ to sent_position_
  std::uint64_t confirmed_position_ = 0;
  std::uint64_t sent_position_ = 0;
  std::size_t again_ = 0;          // the piece that goes out again now
  std::size_t again_begin_ = 0;    // so much of it has
  std::uint64_t again_bytes_ = 0;  // what is left of all
};

}  // namespace rayx::wire
