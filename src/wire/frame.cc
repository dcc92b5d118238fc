#include "wire/frame.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/check.hpp"
#include "wire/words.hpp"

namespace rayx::wire {
namespace {

std::uint32_t limit_of(FrameKind kind, std::uint32_t control_bytes_max) {
  switch (kind) {
    case FrameKind::kHello: return kSessionHelloBytes + kHelloBytesMax;
    case FrameKind::kControl: return control_bytes_max;
    case FrameKind::kPayload: return kPayloadBytesMax;
    case FrameKind::kPing:
    case FrameKind::kPong: return 0;
    case FrameKind::kGoodbye: return kGoodbyeBytesMax;
    case FrameKind::kConfirm:
    case FrameKind::kResumed: return kPositionBytes;
  }
  return 0;
}
bool is_known(FrameKind kind) { return kind >= FrameKind::kHello && kind <= FrameKind::kResumed; }

std::string hex(unsigned value) {
  char text[16];
  std::snprintf(text, sizeof(text), "0x%02x", value);
  return text;
}

}  // namespace

void write_frame_header(std::byte* out, FrameKind kind, std::uint32_t bytes) {
  store<std::uint32_t>(out, static_cast<std::uint8_t>(kind));  // flags and the reserved word are zero
  store<std::uint32_t>(out + 4, bytes);
}

void write_chunk_header(std::byte* out, const PayloadChunk& chunk) {
  write_frame_header(out, FrameKind::kPayload, chunk.bytes);
  store<std::uint64_t>(out + 8, chunk.stream);
  store<std::uint64_t>(out + 16, chunk.offset);
}

std::array<std::byte, kSessionHelloBytes> encode_session_hello(const SessionHello& hello) {
  std::array<std::byte, kSessionHelloBytes> bytes;
  store<std::uint64_t>(bytes.data(), hello.id);
  store<std::uint64_t>(bytes.data() + 8, hello.position);
  store<std::uint32_t>(bytes.data() + 16, hello.patience_ms);
  store<std::uint32_t>(bytes.data() + 20, hello.is_again ? 1 : 0);
  return bytes;
}

std::optional<SessionHello> decode_session_hello(std::span<const std::byte> bytes) {
  if (bytes.size() < kSessionHelloBytes) return std::nullopt;
  const auto is_again = load<std::uint32_t>(bytes.data() + 20);
  const SessionHello hello{load<std::uint64_t>(bytes.data()), load<std::uint64_t>(bytes.data() + 8),
                           load<std::uint32_t>(bytes.data() + 16), is_again == 1};
  if (is_again > 1 || (hello.id == 0 && is_again != 0)) return std::nullopt;
  return hello;
}

FrameParser::FrameParser(std::uint32_t control_bytes_max)
    : control_bytes_max_(control_bytes_max), buffer_(new std::byte[kReceiveBytes]) {
  RAYX_CHECK(control_bytes_max <= kControlBytesCeiling, "a peer may not be allowed that much", control_bytes_max);
}

std::array<std::span<std::byte>, 2> FrameParser::space() {
  if (has_stopped_) return {};
  std::span<std::byte> body;
  if ((body_ == Body::kChunk || body_ == Body::kLarge) && body_done_ < body_bytes_) {
    // All bytes of the buffer went to the body; it goes on behind the body, at the position that the stream then has.
    body = {target_ + body_done_, body_bytes_ - body_done_};
    begin_ = end_ = body_bytes_ % 8;
  } else if (begin_ == end_) {
    begin_ = end_ = end_ % 8;
  }
  return {body, std::span(buffer_.get() + end_, kReceiveBytes - end_)};
}

bool FrameParser::commit(std::size_t bytes, FrameSink& sink) {
  if (has_stopped_) return false;
  if (body_ == Body::kChunk || body_ == Body::kLarge) {
    const std::size_t direct = std::min(bytes, body_bytes_ - body_done_);
    body_done_ += direct;
    bytes -= direct;
  }
  RAYX_CHECK(bytes <= kReceiveBytes - end_, "more bytes than there was room for", bytes, end_);
  end_ += bytes;
  if (!parse(sink)) has_stopped_ = true;
  return !has_stopped_;
}

bool FrameParser::resume(FrameSink& sink) {
  is_paused_ = false;
  return commit(0, sink);
}

// A frame is told when the zeros behind it are there, too: then what was told is what was received.
bool FrameParser::parse(FrameSink& sink) {
  for (;;) {
    if (is_paused_) return true;
    if (body_ != Body::kNone) {
      take_body_from_buffer();
      if (body_done_ < body_bytes_) return true;
      const std::size_t here = std::min(padding_, available());
      if (!are_zeros(begin_, here)) return false;
      begin_ += here;
      padding_ -= here;
      if (padding_ > 0) return true;
      if (!body_is_complete(sink)) return false;
      continue;
    }
    bool needs_more = false;
    if (!take_header(sink, needs_more)) return false;
    if (needs_more) return true;
  }
}

bool FrameParser::are_zeros(std::size_t begin, std::size_t bytes) {
  for (std::size_t i = begin; i < begin + bytes; ++i)
    if (buffer_[i] != std::byte{0}) return fail("the bytes between two frames are not zero");
  return true;
}

bool FrameParser::take_header(FrameSink& sink, bool& needs_more) {
  needs_more = available() < kFrameHeaderBytes;
  if (needs_more) return make_room(kFrameHeaderBytes), true;
  const std::byte* const header = buffer_.get() + begin_;
  const auto kind = load<FrameKind>(header);
  const auto flags = load<std::uint8_t>(header + 1);
  const auto reserved = load<std::uint16_t>(header + 2);
  const auto bytes = load<std::uint32_t>(header + 4);
  if (!is_known(kind)) return fail("a frame has the unknown kind " + hex(static_cast<unsigned>(kind)));
  if (flags != 0 || reserved != 0) return fail("a frame has flags that this version does not know: " + hex(flags));
  if ((kind == FrameKind::kHello) != is_first_) {
    // A goodbye may come in place of the first frame: the peer's owner did not want us.
    if (!(is_first_ && kind == FrameKind::kGoodbye)) {
      return fail(is_first_ ? "the first frame is no hello" : "a second hello came");
    }
  }
  const std::uint32_t limit = limit_of(kind, control_bytes_max_);
  if (bytes > limit) {
    return fail("a frame of kind " + hex(static_cast<unsigned>(kind)) + " has " + std::to_string(bytes) +
                " bytes and may have " + std::to_string(limit));
  }
  if (kind == FrameKind::kPayload) {
    needs_more = available() < kChunkHeaderBytes;
    if (needs_more) return make_room(kChunkHeaderBytes), true;
    return begin_chunk(sink);
  }
  kind_ = kind;
  const std::size_t padding = padding_after(bytes);
  const std::size_t total = kFrameHeaderBytes + bytes + padding;
  if (total > kReceiveBytes) {
    large_.reset(new std::byte[bytes]);
    begin_ += kFrameHeaderBytes;
    body_ = Body::kLarge;
    target_ = large_.get();
    body_bytes_ = bytes;
    body_done_ = 0;
    padding_ = padding;
    is_first_ = false;
    return true;
  }
  needs_more = available() < total;
  if (needs_more) return make_room(total), true;
  if (!are_zeros(begin_ + total - padding, padding)) return false;
  is_first_ = false;
  begin_ += total;
  count(kind, kFrameHeaderBytes, bytes);
  return sink.on_frame(kind, {header + kFrameHeaderBytes, bytes});
}

bool FrameParser::begin_chunk(FrameSink& sink) {
  const std::byte* const header = buffer_.get() + begin_;
  chunk_ = {load<std::uint64_t>(header + 8), load<std::uint64_t>(header + 16), load<std::uint32_t>(header + 4)};
  if (chunk_.bytes == 0) return fail("a payload chunk has no bytes");
  if (chunk_.offset + chunk_.bytes < chunk_.offset) return fail("a payload chunk ends beyond 2^64 bytes");
  begin_ += kChunkHeaderBytes;
  const std::span<std::byte> target = sink.on_chunk_begin(chunk_);
  body_ = target.size() == chunk_.bytes ? Body::kChunk : Body::kDrained;
  target_ = target.data();
  body_bytes_ = chunk_.bytes;
  body_done_ = 0;
  padding_ = padding_after(chunk_.bytes);
  return true;
}

void FrameParser::take_body_from_buffer() {
  const std::size_t here = std::min(available(), body_bytes_ - body_done_);
  if (here == 0) return;
  if (body_ != Body::kDrained) std::memcpy(target_ + body_done_, buffer_.get() + begin_, here);
  begin_ += here;
  body_done_ += here;
}

bool FrameParser::body_is_complete(FrameSink& sink) {
  const Body body = std::exchange(body_, Body::kNone);
  body == Body::kLarge ? count(kind_, kFrameHeaderBytes, body_bytes_)
                       : count(FrameKind::kPayload, kChunkHeaderBytes, body_bytes_);
  if (body == Body::kDrained) return true;
  if (body == Body::kChunk) return sink.on_chunk_end(chunk_);
  const std::unique_ptr<std::byte[]> bytes = std::move(large_);
  return sink.on_frame(kind_, {bytes.get(), body_bytes_});
}

void FrameParser::count(FrameKind kind, std::size_t header_bytes, std::size_t bytes) {
  if (kind != FrameKind::kHello && kind != FrameKind::kResumed)
    position_ += header_bytes + bytes + padding_after(bytes);
}

void FrameParser::drop_chunk(std::uint64_t stream) {
  if (body_ != Body::kChunk || chunk_.stream != stream) return;
  body_ = Body::kDrained;
  // From here the bytes come through the buffer, at the position that the stream has now.
  if (body_done_ < body_bytes_ && begin_ == end_) begin_ = end_ = body_done_ % 8;
}

bool FrameParser::fail(std::string fault) {
  fault_ = std::move(fault);
  return false;
}

// The frame that begins at begin_ shall fit into the buffer. Frames begin at multiples of 8, and so does what is moved.
void FrameParser::make_room(std::size_t bytes) {
  if (begin_ + bytes <= kReceiveBytes && (begin_ == 0 || end_ < kReceiveBytes / 2)) return;
  std::memmove(buffer_.get(), buffer_.get() + begin_, available());
  end_ = available();
  begin_ = 0;
}

}  // namespace rayx::wire
