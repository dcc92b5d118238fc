#include "wire/channel.hpp"

#include <cstring>
#include <utility>

#include "base/check.hpp"

namespace rayx::wire {
namespace {

constexpr std::size_t kPartsMax = 64;             // of one writev
constexpr std::size_t kWriteBytes = 1024 * 1024;  // of one writev, about
constexpr std::size_t kEagerBytes = 256 * 1024;   // control bytes that do not wait for the end of the turn

}  // namespace

void Channel::on_readable() {
  const std::shared_ptr<Channel> self = shared_from_this();
  switch (phase_) {
    case Phase::kHandshake: return read_handshake();
    case Phase::kTls: return drive_tls();
    case Phase::kHello:
    case Phase::kOpen: return read_frames();
    case Phase::kLingering: return drain();
    case Phase::kReady:
    case Phase::kBroken:
    case Phase::kClosed: return;
  }
}

void Channel::on_writable() {
  const std::shared_ptr<Channel> self = shared_from_this();
  is_blocked_ = false;
  taken_ns_ = loop_.now_ns();  // its kernel takes bytes again, because it reads
  flush();
}

void Channel::read_frames() {
  // A place in the parser's buffer waits for bytes: they come through on_readable.
  if (watch_.waits_for_bytes()) return;
  if (const int error = watch_.take_error(); error != 0)
    return broke(std::string("the connection broke while reading: ") + std::strerror(error));
  std::size_t turn_bytes = 0;
  const std::size_t received = watch_.take_received();
  if (received > 0) {
    const std::size_t room = parser_.space()[1].size();
    if (!stream_.take_encrypted(received)) {
      if (!took(received)) return;
      if (received < room) return wait_for_bytes();
    }
  }
  while (!parser_.is_paused()) {
    const Stream::Moved moved = stream_.read(parser_.space());
    turn_bytes += moved.bytes;
    if (moved.bytes > 0 && !took(moved.bytes)) return;
    switch (moved.status) {
      case Stream::Status::kMoved:
        if (turn_bytes < kTurnBytes) continue;
        // The others have their turn. What TLS holds already wakes nobody.
        if (stream_.tls() == nullptr) return watch_.want_readable();
        return loop_.post([weak = weak_from_this()] {
          if (const auto self = weak.lock()) self->on_readable();
        });
      case Stream::Status::kDrained:
      case Stream::Status::kWouldBlock: return wait_for_bytes();
      case Stream::Status::kEnded:
        if (stream_.has_failed()) return broke(stream_.error().message);
        return lost(CloseKind::kLost, parser_.is_inside_frame() ? "the connection ended in the middle of a frame"
                                                                : "the peer ended the connection without a word");
      case Stream::Status::kFailed: return broke(stream_.error().message);
    }
  }
}

// Bytes lie in the parser's space. False if nothing more is to be read now.
bool Channel::took(std::size_t bytes) {
  heard_ns_ = loop_.now_ns();
  asked_at_ = kNotAsked;
  if (!parser_.commit(bytes, *this)) {
    if (!parser_.fault().empty() && is_alive()) lost(CloseKind::kBroken, parser_.fault());
    return false;
  }
  confirm_received();
  return phase_ == Phase::kOpen || phase_ == Phase::kHello;
}

void Channel::wait_for_bytes() {
  if (parser_.is_paused()) return;
  const auto space = parser_.space();
  // In the middle of a chunk its own place, which may be withdrawn, is asked for with each read.
  if (!space[0].empty()) return watch_.want_readable();
  watch_.want_bytes(stream_.place_for_bytes(space[1]));
}

bool Channel::on_frame(FrameKind kind, std::span<const std::byte> bytes) {
  switch (kind) {
    case FrameKind::kHello: {
      const std::optional<SessionHello> session = decode_session_hello(bytes);
      if (!session) {
        lost(CloseKind::kBroken, "its hello is no hello of this version");
        return false;
      }
      if (role_ == Role::kServer) session_ = *session;
      if (session_.id != 0) outbox_.keep_sent();
      const std::span<const std::byte> hello = bytes.subspan(kSessionHelloBytes);
      peer_hello_.assign(hello.begin(), hello.end());
      phase_ = Phase::kReady;
      parser_.pause();  // what follows waits for the owner
      settle({});
      return is_alive();
    }
    case FrameKind::kControl: handler_->on_control(bytes); return is_alive();
    case FrameKind::kPing:
      // One answer at a time: endless pings of a peer that does not read must not fill our memory.
      if (!std::exchange(pong_waits_, true)) outbox_.add_frame(FrameKind::kPong, {});
      schedule_flush();
      return true;
    case FrameKind::kPong: return true;
    case FrameKind::kConfirm: return peer_has(bytes, false);
    case FrameKind::kResumed: return peer_has(bytes, true);
    case FrameKind::kGoodbye: {
      std::string reason;
      for (const std::byte byte : bytes) {
        const char c = static_cast<char>(byte);
        reason += (c >= 0 && c < ' ') || c == 0x7f ? '?' : c;  // it may end on a terminal
      }
      lost(CloseKind::kByPeer, "the peer closed it: " + (reason.empty() ? "it gave no reason" : reason));
      return false;
    }
    case FrameKind::kPayload: break;
  }
  RAYX_CHECK(false, "the parser gave an unknown frame", static_cast<int>(kind));
}

std::span<std::byte> Channel::on_chunk_begin(const PayloadChunk& chunk) {
  const std::span<std::byte> place = handler_->on_payload(chunk);
  return is_alive() ? place : std::span<std::byte>();
}

bool Channel::on_chunk_end(const PayloadChunk& chunk) {
  breaks_in_chunk_ = 0;
  has_chunk_to_confirm_ = true;  // its sender keeps the memory
  handler_->on_payload_end(chunk);
  return is_alive();
}

void Channel::pause_reading() {
  reading_is_paused_ = true;
  parser_.pause();
}

void Channel::resume_reading() {
  if (!std::exchange(reading_is_paused_, false) || phase_ != Phase::kOpen) return;
  heard_ns_ = loop_.now_ns();
  // Not in this call: the handler is called from the loop only.
  loop_.post([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || self->phase_ != Phase::kOpen || self->reading_is_paused_) return;
    // With a read under way there is no whole frame in the buffer, and the parser may not move what is there.
    if (self->watch_.waits_for_bytes()) return self->parser_.unpause();
    if (self->parser_.resume(*self)) {
      self->confirm_received();
      return self->read_frames();
    }
    if (!self->parser_.fault().empty() && self->is_alive()) self->lost(CloseKind::kBroken, self->parser_.fault());
  });
}

Sent Channel::send(std::span<const std::byte> control) {
  if (!is_in_use()) return Sent::kClosed;
  RAYX_CHECK(control.size() <= kControlBytesCeiling, "no control frame may have so many bytes", control.size());
  if (outbox_.control_bytes() + control.size() > config_.options.queue_hard_bytes) {
    lost(CloseKind::kOverLimit, "the peer does not read: " + std::to_string(outbox_.control_bytes()) +
                                    " bytes wait for it, and with this message they would be more than the limit of " +
                                    std::to_string(config_.options.queue_hard_bytes));
    return Sent::kClosed;
  }
  if (outbox_.unconfirmed_bytes() > 2 * kUnconfirmedBytesMax) {
    lost(CloseKind::kOverLimit, "the peer does not confirm what it reads: " +
                                    std::to_string(outbox_.unconfirmed_bytes()) + " bytes are kept for it");
    return Sent::kClosed;
  }
  outbox_.add_frame(FrameKind::kControl, control);
  if (outbox_.control_bytes() >= kEagerBytes && !is_blocked_) write_some();
  schedule_flush();
  if (queued_bytes() <= config_.options.queue_high_bytes) return Sent::kQueued;
  was_told_to_pause_ = true;
  return Sent::kPause;
}

Sent Channel::send_payload(const PayloadChunk& chunk, const std::byte* data, PayloadDone done,
                           std::shared_ptr<void> keep) {
  if (!is_in_use()) return Sent::kClosed;
  RAYX_CHECK(chunk.bytes > 0 && chunk.bytes <= kPayloadBytesMax, "a chunk has at least one byte and a limit",
             chunk.bytes);
  if (outbox_.chunks() >= kQueuedChunksMax || outbox_.unconfirmed_bytes() > kUnconfirmedBytesMax) {
    was_told_to_pause_ = true;
    return Sent::kRefused;
  }
  outbox_.add_chunk(chunk, data, std::move(done), std::move(keep));
  schedule_flush();
  if (queued_bytes() <= config_.options.queue_high_bytes && outbox_.chunks() < kQueuedChunksMax) return Sent::kQueued;
  was_told_to_pause_ = true;
  return Sent::kPause;
}

// Whatever one turn sends goes out together at its end.
void Channel::schedule_flush() {
  if (flush_is_scheduled_) return;
  flush_is_scheduled_ = true;
  loop_.at_end_of_turn([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->flush_is_scheduled_ = false;
    self->flush();
  });
}

void Channel::flush() {
  if (phase_ == Phase::kBroken) return after_write();
  if (!is_blocked_ && !write_some()) {
    // What the peer said before it went may still be there to read, and says more than "connection reset".
    if (phase_ == Phase::kOpen && !parser_.is_paused()) read_frames();
    if (phase_ == Phase::kLingering) return finish();
    return broke(stream_.error().message);
  }
  if (outbox_.control_bytes() == 0) {
    ping_waits_ = pong_waits_ = false;
    if (asked_at_ == kAskedBehindAll) asked_at_ = stream_.position();
  }
  after_write();
}

// False if the connection is broken. Calls nobody: `send` may be the caller, and a later flush finds it broken again.
bool Channel::write_some() {
  if (phase_ == Phase::kClosed || phase_ == Phase::kBroken || waits_for_position_) return true;
  std::size_t turn_bytes = 0;
  while (!outbox_.is_empty() && turn_bytes < kTurnBytes) {
    iovec parts[kPartsMax];
    const std::size_t count = outbox_.gather(parts, kPartsMax, kWriteBytes);
    const Stream::Moved moved = stream_.write(parts, count);
    if (moved.bytes > 0) outbox_.consume(moved.bytes, finished_);
    turn_bytes += moved.bytes;
    if (moved.status == Stream::Status::kFailed) return false;
    if (moved.status != Stream::Status::kMoved) break;
  }
  if (stream_.has_output() && stream_.flush() == Stream::Status::kFailed) return false;
  // TLS may have taken the last byte of the outbox when the socket was full, and got rid of it when it was not any more: then nobody
  // comes to say that it is writable.
  is_blocked_ = stream_.has_output() || !outbox_.is_empty();
  if (is_blocked_) watch_.want_writable();
  return true;
}

// Calls of the owner that a write has made possible. From the loop only.
void Channel::after_write() {
  // An owner that is told "done" sends the next chunk: take what is there first.
  std::vector<PayloadDone> finished;
  finished.swap(finished_);
  std::exchange(released_, {}).clear();
  for (PayloadDone& done : finished) {
    if (done) done(true);
  }
  if (phase_ == Phase::kLingering && outbox_.is_empty() && !stream_.has_output()) return linger();
  if (!is_in_use() || !was_told_to_pause_) return;
  if (queued_bytes() > config_.options.queue_low_bytes || outbox_.chunks() > kQueuedChunksMax / 2) return;
  if (outbox_.unconfirmed_bytes() > kUnconfirmedBytesMax) return;
  was_told_to_pause_ = false;
  handler_->on_writable();
}

}  // namespace rayx::wire
