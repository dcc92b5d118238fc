// A link that survives its connections. Both ends count the bytes that they have told their owners, and keep what they sent until the
// other one has confirmed it. When a connection breaks, the client makes another one, which shakes hands as any; its hello names the
// session and what the client has, the server's first frame (kResumed) what the server has, and both go on from there. An end of the
// stream is none of that: a kernel closes it in order, and a process that ends is gone.
#include <algorithm>
#include <array>
#include <utility>

#include "base/check.hpp"
#include "wire/channel.hpp"
#include "wire/words.hpp"

namespace rayx::wire {
namespace {

std::array<std::byte, kPositionBytes> encode_position(std::uint64_t position) {
  std::array<std::byte, kPositionBytes> bytes;
  store<std::uint64_t>(bytes.data(), position);
  return bytes;
}

std::string ms_text(std::chrono::nanoseconds time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()) + " ms";
}

}  // namespace

void Channel::broke(std::string why) {
  if (phase_ == Phase::kBroken) return;
  if (phase_ != Phase::kOpen || session_.id == 0) return lost(CloseKind::kLost, std::move(why));
  let_go_of_connection();
  phase_ = Phase::kBroken;
  const std::uint64_t moved = received() + outbox_.confirmed_position();
  idle_resumes_ = std::exchange(moved_, moved) == moved ? idle_resumes_ + 1 : 0;
  if (idle_resumes_ > kIdleResumesMax)
    return end_lost(CloseKind::kLost, why + ", as on the " + std::to_string(kIdleResumesMax) +
                                          " connections before, and nothing went through them");
  const bool has_chunks = outbox_.chunks() != 0 || outbox_.unconfirmed_bytes() > 2 * kConfirmBytes;
  if (++breaks_in_chunk_ > kBreaksInChunkMax && has_chunks)
    return end_lost(CloseKind::kLost, why + ", as on the " + std::to_string(kBreaksInChunkMax) +
                                          " connections before, and none of them carried a whole chunk of a value");
  broken_why_ = std::move(why);
  const bool is_client = role_ == Role::kClient;
  const auto patience =
      std::min<std::chrono::milliseconds>(std::chrono::milliseconds(session_.patience_ms), kResumePatienceMax) +
      (is_client ? std::chrono::milliseconds(0) : kResumeGrace);
  resume_until_ns_ = std::min(resume_until_ns_, base::deadline_ns(loop_.now_ns(), patience));
  timer_ = loop_.call_at(resume_until_ns_, [weak = weak_from_this(), patience] {
    const auto self = weak.lock();
    if (self && self->phase_ == Phase::kBroken)
      self->end_lost(CloseKind::kLost, self->broken_why_ + ", and no other one was made within " + ms_text(patience));
  });
  resume_pause_ = std::chrono::milliseconds(0);
  // Not in this call: what the owner is told next is told by the loop.
  if (is_client)
    loop_.post([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->come_back();
    });
}

void Channel::let_go_of_connection() {
  watch_.end();
  stream_.close();
  loop_.cancel(std::exchange(heartbeat_, 0));
  loop_.cancel(std::exchange(timer_, 0));
  is_blocked_ = false;
  ping_waits_ = pong_waits_ = false;
  asked_at_ = kNotAsked;
  waits_for_position_ = false;
}

void Channel::come_back() {
  const base::TimeNs left_ns = resume_until_ns_ - loop_.now_ns();
  if (phase_ != Phase::kBroken || left_ns <= 0) return;  // the timer says so
  SessionHello again = session_;
  again.is_again = true;
  again.position = received();
  reconnector_.reset(new Connector(
      loop_, way_back_, config_, again,
      [weak = weak_from_this()](Result<std::unique_ptr<Link>> result) {
        if (const auto self = weak.lock()) self->attempt_ended(std::move(result));
      },
      std::chrono::ceil<std::chrono::milliseconds>(std::chrono::nanoseconds(left_ns))));
}

void Channel::attempt_ended(Result<std::unique_ptr<Link>> result) {
  if (!result) {
    if (!reconnector_->was_refused()) return try_again(result.error().message);
    return end_lost(CloseKind::kLost, broken_why_ + ", and nobody listens there any more");
  }
  // Not in this call, which comes from the other one's parser.
  loop_.post([weak = weak_from_this(), other = std::exchange((*result)->channel_, nullptr)] {
    const auto self = weak.lock();
    if (!self || self->phase_ != Phase::kBroken) return other->abandon();
    self->reconnector_.reset();
    self->take_over(*other);
  });
}

void Channel::try_again(const std::string& why) {
  if (phase_ != Phase::kBroken) return;
  broken_why_ += broken_why_.size() < kGoodbyeBytesMax ? "; " + why : "";
  resume_pause_ = std::clamp(2 * resume_pause_, kResumePauseMin, kResumePauseMax);
  loop_.call_after(resume_pause_, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->come_back();
  });
}

void Channel::take_over(Channel& other) {
  RAYX_CHECK(is_in_use(), "a link is resumed that is not in use", static_cast<int>(phase_));
  const bool is_whole = other.phase_ == Phase::kReady && other.outbox_.is_empty() && !other.stream_.has_output();
  if (!is_whole) {
    other.abandon();
    return role_ == Role::kClient ? try_again("another one broke at once") : void();
  }
  // A server may not have noticed yet.
  if (phase_ == Phase::kOpen) broke("the peer has made another connection");
  if (phase_ != Phase::kBroken) return other.abandon();
  loop_.cancel(std::exchange(timer_, 0));
  received_before_ += parser_.position();
  other.let_go_of_connection_for(*this);
  phase_ = Phase::kOpen;
  if (role_ == Role::kServer) {
    if (!outbox_.rewind(other.session_.position, released_))
      return lost(CloseKind::kBroken, "the peer says that it has what was not sent");
    outbox_.add_first(FrameKind::kResumed, encode_position(received()));
    resume_until_ns_ = base::kNever;
  } else {
    waits_for_position_ = true;
  }
  confirmed_ = received();
  const bool is_watched = watch_.begin_tcp(
      loop_, stream_.socket(), [this] { on_readable(); }, [this] { on_writable(); });
  if (!is_watched) return broke("the kernel watches no more sockets (epoll)");
  schedule_flush();
  begin_to_read();
}

// What it has shaken hands about is another one's from now on.
void Channel::let_go_of_connection_for(Channel& heir) {
  watch_.end();
  loop_.cancel(std::exchange(timer_, 0));
  heir.stream_ = std::move(stream_);
  heir.parser_ = std::move(parser_);
  phase_ = Phase::kClosed;
}

bool Channel::peer_has(std::span<const std::byte> position, bool is_new) {
  const bool is_right = position.size() == kPositionBytes && session_.id != 0 && is_new == waits_for_position_;
  const std::uint64_t has = is_right ? load<std::uint64_t>(position.data()) : 0;
  if (!is_right || !(is_new ? outbox_.rewind(has, released_) : outbox_.confirm(has, released_))) {
    lost(CloseKind::kBroken, "the peer says that it has what was not sent");
    return false;
  }
  if (is_new) {
    waits_for_position_ = false;
    resume_until_ns_ = base::kNever;
  }
  if (!released_.empty()) breaks_in_chunk_ = 0;
  if (is_new || !released_.empty() || was_told_to_pause_) schedule_flush();
  return true;
}

void Channel::confirm_received() {
  if (session_.id == 0 || phase_ != Phase::kOpen || waits_for_position_) return;
  if (!has_chunk_to_confirm_ && received() - confirmed_ < kConfirmBytes) return;
  has_chunk_to_confirm_ = false;
  confirmed_ = received();
  outbox_.add_frame(FrameKind::kConfirm, encode_position(confirmed_));
  schedule_flush();
}

}  // namespace rayx::wire
