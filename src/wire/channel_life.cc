#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.hpp"
#include "wire/channel.hpp"

namespace rayx::wire {
namespace {

bool is_loopback(int socket) {
  return Address::local_of(socket).is_loopback() && Address::peer_of(socket).is_loopback();
}
bool wants_tls(TlsPolicy policy, int socket) {
  return policy == TlsPolicy::kOn || (policy == TlsPolicy::kOffLoopback && !is_loopback(socket));
}

}  // namespace

Channel::Channel(Loop& loop, base::UniqueFd socket, Role role, const LinkConfig& config, const SessionHello& session)
    : loop_(loop),
      stream_(std::move(socket)),
      config_(config),
      role_(role),
      peer_(Address::peer_of(stream_.socket()).endpoint()),
      handshake_(role, config.token, wants_tls(config.tls, stream_.socket())),
      parser_(config.options.control_bytes_max),
      session_(session) {
  RAYX_CHECK(config.hello.size() <= kHelloBytesMax, "a hello may not have so many bytes", config.hello.size());
  // Small messages are put together by us; the kernel shall not wait for more of them.
  const int yes = 1;
  ::setsockopt(stream_.socket(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
  if (!is_loopback(stream_.socket())) return;
  // The kernel would let them grow to megabytes, which messages then wait behind, and which no cache holds.
  const int bytes = kLoopbackSocketBytes;
  ::setsockopt(stream_.socket(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
  ::setsockopt(stream_.socket(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

Channel::~Channel() {
  loop_.cancel(timer_);
  loop_.cancel(heartbeat_);
  give_back_chunks();
}

void Channel::begin(std::chrono::nanoseconds timeout, Settled settled) {
  settled_ = std::move(settled);
  handshake_timeout_ = timeout;
  timer_ = loop_.call_after(timeout, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(self->handshake_timeout_).count();
    self->end_handshake(
        {ErrorCode::kTimeout, "the peer accepted the connection and did not finish the handshake within " +
                                  std::to_string(ms) + " ms. It is stopped or overloaded, or no rayx"});
  });
  const bool is_watched = watch_.begin_tcp(
      loop_, stream_.socket(), [this] { on_readable(); }, [this] { on_writable(); });
  if (!is_watched || !send_handshake_output()) {
    const Error error =
        is_watched ? stream_.error() : Error{ErrorCode::kSystemError, "the kernel watches no more sockets (epoll)"};
    loop_.post([weak = weak_from_this(), error] {
      if (const auto self = weak.lock()) self->end_handshake(error);
    });
    return;
  }
  watch_.want_readable();
}

// A few dozen bytes into the buffer of a new socket: they go at once or never.
bool Channel::send_handshake_output() {
  std::vector<std::byte> output = handshake_.take_output();
  if (output.empty()) return true;
  const iovec part{output.data(), output.size()};
  return stream_.write(&part, 1).bytes == output.size();
}

void Channel::read_handshake() {
  while (handshake_.state() == Handshake::State::kReading) {
    const std::size_t wanted = handshake_.wanted();
    const std::span<std::byte> rest = std::span(incoming_).first(wanted).subspan(incoming_bytes_);
    const Stream::Moved moved = stream_.read({rest, {}});
    incoming_bytes_ += moved.bytes;
    if (moved.bytes > 0 && !handshake_.may_begin_with(std::span(incoming_).first(incoming_bytes_))) break;
    if (incoming_bytes_ == wanted) {
      incoming_bytes_ = 0;
      handshake_.take(std::span(incoming_).first(wanted));
      if (!send_handshake_output() && handshake_.state() != Handshake::State::kRefused) {
        return end_handshake({ErrorCode::kSystemError, "the connection broke during the handshake"});
      }
      continue;
    }
    if (moved.status == Stream::Status::kEnded) {
      return end_handshake({ErrorCode::kSystemError,
                            "the peer ended the connection during the handshake. Something else than rayx may listen "
                            "there, or the peer's own message says why"});
    }
    if (moved.status == Stream::Status::kFailed) return end_handshake(stream_.error());
    if (moved.status != Stream::Status::kMoved) return watch_.want_readable();
  }
  switch (handshake_.state()) {
    case Handshake::State::kRefused: return end_handshake(handshake_.error());
    case Handshake::State::kDone: return begin_hello();
    case Handshake::State::kReading: return;
    case Handshake::State::kStartTls: break;
  }
  Digest key = tls_key(config_.token);
  Result<std::unique_ptr<TlsSession>> session = TlsSession::create(role_, key);
  wipe(key);
  if (!session) return end_handshake(session.error());
  stream_.start_tls(std::move(*session));
  phase_ = Phase::kTls;
  drive_tls();
}

void Channel::drive_tls() {
  switch (stream_.shake_hands()) {
    case Stream::Status::kWouldBlock: return watch_.want_readable();
    case Stream::Status::kMoved: break;
    case Stream::Status::kFailed: return end_handshake(stream_.error());
    case Stream::Status::kEnded:
    case Stream::Status::kDrained:
      return end_handshake(
          {ErrorCode::kSystemError, "the peer ended the connection while the encrypted session was set up"});
  }
  handshake_.tls_is_done(stream_.tls()->exported());
  if (!send_handshake_output())
    return end_handshake({ErrorCode::kSystemError, "the connection broke during the handshake"});
  phase_ = Phase::kHandshake;
  read_handshake();  // what TLS has read along wakes nobody
}

void Channel::begin_hello() {
  phase_ = Phase::kHello;
  const auto session = encode_session_hello(session_);
  std::vector<std::byte> hello(session.begin(), session.end());
  hello.insert(hello.end(), config_.hello.begin(), config_.hello.end());
  outbox_.add_first(FrameKind::kHello, hello);
  schedule_flush();
  read_frames();
}

void Channel::end_handshake(Error error) {
  if (phase_ > Phase::kHello) return;
  // To a rayx that is refused the reason is on its way; a stranger gets nothing of our time.
  handshake_.refusal() != Refusal::kNone || stream_.tls() != nullptr ? linger() : finish();
  settle(std::move(error));
}

void Channel::settle(Result<void> result) {
  if (result) loop_.cancel(std::exchange(timer_, 0));
  if (const Settled settled = std::exchange(settled_, nullptr)) settled(std::move(result));
}

void Channel::open(LinkHandler& handler) {
  RAYX_CHECK(handler_ == nullptr && phase_ != Phase::kOpen, "a link is opened once");
  handler_ = &handler;
  if (phase_ != Phase::kReady) return report_closed(*std::exchange(closed_before_open_, std::nullopt));
  phase_ = Phase::kOpen;
  begin_to_read();
}

// On a connection that is there from now on.
void Channel::begin_to_read() {
  heard_ns_ = taken_ns_ = loop_.now_ns();
  if (config_.options.heartbeat_interval.count() > 0) schedule_beat();
  if (std::exchange(reading_is_paused_, true)) return;  // the owner wants it so
  resume_reading();
}

void Channel::schedule_beat() {
  const LinkOptions& options = config_.options;
  const base::TimeNs now = loop_.now_ns();
  next_beat_ns_ = std::max(now, std::min(base::deadline_ns(now, options.heartbeat_interval),
                                         base::deadline_ns(alive_ns(), options.heartbeat_timeout)));
  heartbeat_ = loop_.call_at(next_beat_ns_, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->beat();
  });
}

void Channel::beat() {
  if (phase_ != Phase::kOpen) return;
  const LinkOptions& options = config_.options;
  const base::TimeNs now = loop_.now_ns();
  // When we were stopped ourselves, or do not read, silence says nothing.
  const bool was_late = now - next_beat_ns_ > std::chrono::nanoseconds(options.heartbeat_interval).count();
  if (was_late || reading_is_paused_) heard_ns_ = now;
  // A slow link: what the peer's side takes is a sign of life as long as our question waits behind it.
  if (const auto ago = stream_.taken_ago(asked_at_)) taken_ns_ = now - std::chrono::nanoseconds(*ago).count();
  const base::TimeNs silent_ns = now - alive_ns();
  const bool is_host_silent = silent_ns >= std::chrono::nanoseconds(options.host_timeout).count() &&
                              stream_.unconfirmed_for() >= options.host_timeout;
  if (is_host_silent || silent_ns >= std::chrono::nanoseconds(options.heartbeat_timeout).count()) {
    return lost(CloseKind::kSilent,
                "nothing was heard from the peer for " + std::to_string(silent_ns / 1'000'000) +
                    " ms, and it did not answer. Its process is stopped, its machine is down, or the "
                    "network between is cut");
  }
  // Before chunks that wait, and one at a time: a peer that does not read shall not fill our memory with questions.
  const bool is_time = was_late || now - heard_ns_ >= std::chrono::nanoseconds(options.heartbeat_interval).count();
  if (is_time && asked_at_ == kNotAsked) asked_at_ = kAskedBehindAll;
  if (is_time && !std::exchange(ping_waits_, true)) {
    outbox_.add_frame(FrameKind::kPing, {});
    schedule_flush();
  }
  schedule_beat();
}

void Channel::lost(CloseKind kind, std::string message) {
  if (!is_alive()) return;
  if (phase_ <= Phase::kHello) {
    return end_handshake(
        {kind == CloseKind::kBroken ? ErrorCode::kMalformed : ErrorCode::kSystemError, std::move(message)});
  }
  end_lost(kind, message);
}

void Channel::end_lost(CloseKind kind, const std::string& message) {
  // A peer that broke the rules is told; to the others there is nothing to say, or nobody.
  if (kind == CloseKind::kBroken) {
    outbox_.add_frame(FrameKind::kGoodbye,
                      bytes_of(message).first(std::min<std::size_t>(message.size(), kGoodbyeBytesMax)));
    write_some();
  }
  const bool may_linger = kind == CloseKind::kBroken;
  give_back_chunks();
  report_closed({kind, name() + " is closed: " + message});
  may_linger ? linger() : finish();
}

void Channel::report_closed(CloseReason reason) {
  if (handler_ == nullptr) {
    closed_before_open_ = std::move(reason);
    return;
  }
  loop_.post([weak = weak_from_this(), reason = std::move(reason)] {
    const auto self = weak.lock();
    if (!self) return;
    if (LinkHandler* const handler = std::exchange(self->handler_, nullptr)) handler->on_closed(reason);
  });
}

void Channel::close(std::string reason) {
  if (!is_in_use() && phase_ != Phase::kReady) return;
  give_back_chunks();
  report_closed({CloseKind::kByUs, name() + " is closed by this process: " + reason});
  if (phase_ == Phase::kBroken) return finish();
  outbox_.add_frame(FrameKind::kGoodbye,
                    bytes_of(reason).first(std::min<std::size_t>(reason.size(), kGoodbyeBytesMax)));
  stay_for_last_words();
  schedule_flush();
}

void Channel::abandon() {
  handler_ = nullptr;
  settled_ = nullptr;
  if (phase_ < Phase::kReady) return finish();
  close("its owner has let go of it");
}

// Nobody else may hold it: the timer does.
void Channel::stay_for_last_words() {
  phase_ = Phase::kLingering;
  loop_.cancel(std::exchange(heartbeat_, 0));
  loop_.cancel(timer_);
  timer_ = loop_.call_after(kGoodbyeTimeout, [self = shared_from_this()] { self->finish(); });
}

// All is said; the socket stays until the peer has read it: a close with unread bytes would throw ours away.
void Channel::linger() {
  if (phase_ != Phase::kLingering) stay_for_last_words();
  if (std::exchange(has_said_all_, true)) return;
  stream_.stop_writing();
  watch_.want_readable();
}

void Channel::drain() {
  std::array<std::byte, 16 * 1024> nothing;
  const iovec part{nothing.data(), nothing.size()};
  for (int i = 0; i < 64; ++i) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(&part);
    message.msg_iovlen = 1;
    const ssize_t n = ::recvmsg(stream_.socket(), &message, MSG_DONTWAIT);
    if (n > 0) continue;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
    return finish();
  }
  watch_.want_readable();
}

void Channel::finish() {
  const std::shared_ptr<Channel> self = shared_from_this();  // the timer may be the last holder
  phase_ = Phase::kClosed;
  loop_.cancel(std::exchange(timer_, 0));
  loop_.cancel(std::exchange(heartbeat_, 0));
  watch_.end();
  stream_.close();
  reconnector_.reset();
  give_back_chunks();
}

// Of one that is closed also what the peer has not confirmed.
void Channel::give_back_chunks() {
  std::vector<PayloadDone> dropped;
  phase_ == Phase::kClosed ? outbox_.clear(dropped) : outbox_.drop_chunks(dropped);
  if (dropped.empty() && finished_.empty()) return;
  // After this call: an owner does not expect its callbacks inside of its own.
  loop_.post([dropped = std::move(dropped), finished = std::exchange(finished_, {})] {
    for (const PayloadDone& done : finished) {
      if (done) done(true);
    }
    for (const PayloadDone& done : dropped) {
      if (done) done(false);
    }
  });
}

}  // namespace rayx::wire
