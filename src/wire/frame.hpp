// The bytes of a link after the handshake, without sockets: how a frame begins, and the parser that takes the stream apart.
// docs/design/wire.md draws the frames. All numbers are little endian; each frame begins at a multiple of 8 bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "wire/limits.hpp"

namespace rayx::wire {

enum class FrameKind : std::uint8_t {
  kHello = 0xa1,    // the first frame of each side, once
  kControl = 0xa2,  // the owner's bytes
  kPayload = 0xa3,  // one chunk of a stream
  kPing = 0xa4,     // nothing was heard for an interval: answer
  kPong = 0xa5,
  kGoodbye = 0xa6,  // the last frame: why the sender closes, as text
  kConfirm = 0xa7,  // u64: all before this position of yours is here
  kResumed = 0xa8,  // u64: the same, as the server's first frame of a connection that takes the place of another one
};
inline constexpr std::size_t kPositionBytes = 8;

// What a link is that may have more than one connection, one after the other. In front of the owner's bytes in each hello.
struct SessionHello {
  std::uint64_t id = 0;           // drawn by the client; 0: its end is the link's
  std::uint64_t position = 0;     // is_again: all before it is here
  std::uint32_t patience_ms = 0;  // for how long the client tries to come back
  bool is_again = false;          // it has had a connection before
};
inline constexpr std::size_t kSessionHelloBytes = 24;
std::array<std::byte, kSessionHelloBytes> encode_session_hello(const SessionHello& hello);
// Nothing: no rayx sends that.
std::optional<SessionHello> decode_session_hello(std::span<const std::byte> bytes);

struct PayloadChunk {
  std::uint64_t stream = 0;  // the owners' number for one transfer
  std::uint64_t offset = 0;  // of the chunk in it
  std::uint32_t bytes = 0;
};

inline constexpr std::size_t kFrameHeaderBytes = 8;
inline constexpr std::size_t kChunkHeaderBytes = 24;

// Zero bytes between the end of a frame and the next one.
constexpr std::size_t padding_after(std::size_t bytes) { return (8 - bytes % 8) % 8; }

void write_frame_header(std::byte* out, FrameKind kind, std::uint32_t bytes);
void write_chunk_header(std::byte* out, const PayloadChunk& chunk);

// Who is told what the parser finds. `false` stops the parser for good: the receiver has closed.
class FrameSink {
 public:
  // Any kind but kPayload; `bytes` are complete, 8-byte aligned, and valid during the call.
  virtual bool on_frame(FrameKind kind, std::span<const std::byte> bytes) = 0;
  // Where the chunk goes: exactly its bytes, which the parser writes until on_chunk_end or drop_chunk. Anything else drains it.
  virtual std::span<std::byte> on_chunk_begin(const PayloadChunk& chunk) = 0;
  virtual bool on_chunk_end(const PayloadChunk& chunk) = 0;  // not for one that was drained

 protected:
  ~FrameSink() = default;
};

// Takes the stream in pieces of any size. Memory: one buffer of kReceiveBytes, and one frame that is larger than that.
class FrameParser {
 public:
  explicit FrameParser(std::uint32_t control_bytes_max);

  // Where the next bytes of the stream are to be put, in this order: the rest of what has a place already, then the buffer.
  std::array<std::span<std::byte>, 2> space();
  // That many bytes were put there. False after a fault or a stop: the parser takes no more.
  bool commit(std::size_t bytes, FrameSink& sink);
  // From within a call of the sink: nothing more is told until the resume, which tells what was read already.
  void pause() { is_paused_ = true; }
  bool resume(FrameSink& sink);
  void unpause() { is_paused_ = false; }  // where all that was read is known to be told
  bool is_paused() const { return is_paused_; }
  // The place of the chunk that is being read may not be written any more: the rest of the chunk is drained. Stream 0 is a
  // stream as others.
  void drop_chunk(std::uint64_t stream);

  // Of the stream: all before it has been told, and is no hello and no kResumed. Between two frames.
  std::uint64_t position() const { return position_; }
  bool is_inside_frame() const { return body_ != Body::kNone || begin_ != end_; }
  const std::string& fault() const { return fault_; }  // empty unless the peer broke the rules

 private:
  enum class Body { kNone, kChunk, kDrained, kLarge };

  bool parse(FrameSink& sink);
  bool are_zeros(std::size_t begin, std::size_t bytes);
  bool take_header(FrameSink& sink, bool& needs_more);
  bool begin_chunk(FrameSink& sink);
  bool body_is_complete(FrameSink& sink);
  void take_body_from_buffer();
  bool fail(std::string fault);
  std::size_t available() const { return end_ - begin_; }
  void make_room(std::size_t bytes);

  void count(FrameKind kind, std::size_t header_bytes, std::size_t bytes);

  std::uint32_t control_bytes_max_;
  std::uint64_t position_ = 0;
  std::unique_ptr<std::byte[]> buffer_;  // index and position in the stream are equal modulo 8
  std::size_t begin_ = 0;
  std::size_t end_ = 0;

  Body body_ = Body::kNone;  // of the frame whose header was read: the bytes go elsewhere than to the buffer
  FrameKind kind_{};
  std::byte* target_ = nullptr;
  std::size_t body_bytes_ = 0;
  std::size_t body_done_ = 0;
  std::unique_ptr<std::byte[]> large_;
  PayloadChunk chunk_;
  std::size_t padding_ = 0;  // of the body: zeros still to skip
  bool is_first_ = true;
  bool has_stopped_ = false;
  bool is_paused_ = false;
  std::string fault_;
};

}  // namespace rayx::wire
