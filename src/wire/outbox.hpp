// Outbox: what a link has to send, in the order in which it goes out: the rest of a chunk that has begun, control frames, chunks.
// Control frames are copied and lie side by side, so that many make few writes; chunks are the caller's memory until they are
// done. No sockets in here.
#pragma once

#include <sys/uio.h>

#include <cstddef>
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
  void add_chunk(const PayloadChunk& chunk, const std::byte* data, PayloadDone done);

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
  bool is_empty() const { return control_bytes_ + chunk_bytes_ == 0; }

 private:
  static constexpr std::size_t kBlockBytes = 64 * 1024;
  struct Block {
    std::unique_ptr<std::byte[]> data;
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
    std::size_t total() const { return kChunkHeaderBytes + bytes + padding_after(bytes); }
  };
  bool chunk_has_begun() const { return !chunks_.empty() && chunks_.front().sent > 0; }
  std::size_t consume_chunk(std::size_t bytes, std::vector<PayloadDone>& finished);

  std::deque<Block> blocks_;
  Block spare_;  // one, so that a steady stream of small frames allocates nothing
  std::deque<Chunk> chunks_;
  std::size_t control_bytes_ = 0;
  std::size_t chunk_bytes_ = 0;
};

}  // namespace rayx::wire
