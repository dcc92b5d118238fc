#include "wire/stream.hpp"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace rayx::wire {

Stream::Status Stream::fail(Error error) {
  error_ = std::move(error);
  return Status::kFailed;
}

Stream::Moved Stream::receive(iovec* parts, std::size_t count, std::size_t wanted) {
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = count;
  ssize_t n;
  do {
    n = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n > 0) {
    const auto bytes = static_cast<std::size_t>(n);
    return {bytes < wanted ? Status::kDrained : Status::kMoved, bytes};
  }
  if (n == 0) return {Status::kEnded};
  if (errno == EAGAIN || errno == EWOULDBLOCK) return {Status::kWouldBlock};
  return {fail({ErrorCode::kSystemError, std::string("the connection broke while reading: ") + std::strerror(errno)})};
}

Stream::Moved Stream::send(const iovec* parts, std::size_t count, std::size_t wanted) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = count;
  ssize_t n;
  do {
    n = ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n >= 0) {
    const auto bytes = static_cast<std::size_t>(n);
    sent_bytes_ += bytes;
    return {bytes < wanted ? Status::kDrained : Status::kMoved, bytes};
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) return {Status::kWouldBlock};
  return {fail({ErrorCode::kSystemError, std::string("the connection broke while writing: ") + std::strerror(errno)})};
}

Stream::Moved Stream::read(const std::array<std::span<std::byte>, 2>& space) {
  if (tls_) return read_tls(space);
  iovec parts[2];
  std::size_t count = 0;
  std::size_t wanted = 0;
  for (const std::span<std::byte> part : space) {
    if (part.empty()) continue;
    parts[count++] = {part.data(), part.size()};
    wanted += part.size();
  }
  return receive(parts, count, wanted);
}

bool Stream::take_encrypted(std::size_t bytes) {
  if (tls_) tls_->commit_input(bytes);
  return tls_ != nullptr;
}

Stream::Moved Stream::write(const iovec* parts, std::size_t count) {
  if (tls_) return write_tls(parts, count);
  std::size_t wanted = 0;
  for (std::size_t i = 0; i < count; ++i) wanted += parts[i].iov_len;
  return send(parts, count, wanted);
}

std::optional<std::chrono::milliseconds> Stream::taken_ago(std::uint64_t asked_at) {
  int on_their_way = 0;
  tcp_info about{};
  socklen_t bytes = sizeof(about);
  if (::ioctl(socket_.get(), SIOCOUTQ, &on_their_way) != 0 ||
      ::getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &about, &bytes) != 0)
    return std::nullopt;
  const std::uint64_t taken = sent_bytes_ - static_cast<std::uint64_t>(on_their_way);
  // Also of a process that is stopped, or whose end of the connection is gone and was never told, a kernel takes what it has room for:
  // many small messages, and bulk for a moment.
  constexpr std::uint64_t kBulkBytes = 64u << 10;
  const std::uint64_t enough = taken < asked_at ? 1 : kBulkBytes;
  if (taken - taken_bytes_ < enough || on_their_way == 0) return std::nullopt;
  taken_bytes_ = taken;
  return std::chrono::milliseconds(about.tcpi_last_ack_recv);
}

std::chrono::milliseconds Stream::unconfirmed_for() const {
  tcp_info about{};
  socklen_t bytes = sizeof(about);
  if (::getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &about, &bytes) != 0 || about.tcpi_unacked == 0)
    return std::chrono::milliseconds(0);
  return std::chrono::milliseconds(about.tcpi_last_ack_recv);
}

void Stream::stop_writing() { ::shutdown(socket_.get(), SHUT_WR); }

Stream::Status Stream::flush() {
  while (has_output()) {
    const std::span<const std::byte> output = tls_->output();
    const iovec part{const_cast<std::byte*>(output.data()), output.size()};
    const Moved moved = send(&part, 1, output.size());
    if (moved.status == Status::kFailed || moved.status == Status::kWouldBlock) return moved.status;
    tls_->consume_output(moved.bytes);
  }
  return Status::kMoved;
}

Stream::Status Stream::fill_tls() {
  const std::span<std::byte> input = tls_->input_space();
  iovec part{input.data(), input.size()};
  const Moved moved = receive(&part, 1, input.size());
  tls_->commit_input(moved.bytes);
  return moved.status;
}

Stream::Status Stream::shake_hands() {
  for (;;) {
    const TlsSession::Step step = tls_->shake_hands();
    const Status flushed = flush();
    // A failure of the session comes with an alert for the peer, which was just sent.
    if (step == TlsSession::Step::kFailed) return fail(tls_->error());
    if (flushed == Status::kFailed) return flushed;
    if (step == TlsSession::Step::kDone) return Status::kMoved;
    const Status filled = fill_tls();
    if (filled != Status::kMoved && filled != Status::kDrained) return filled;
  }
}

Stream::Moved Stream::read_tls(const std::array<std::span<std::byte>, 2>& space) {
  std::size_t total = 0;
  for (std::span<std::byte> part : space) {
    while (!part.empty()) {
      std::size_t bytes = 0;
      const TlsSession::Step step = tls_->read(part, bytes);
      total += bytes;
      part = part.subspan(bytes);
      if (step == TlsSession::Step::kDone) continue;
      if (step == TlsSession::Step::kFailed) {
        if (total > 0) return {Status::kMoved, total};  // the failure comes again
        return {tls_->has_ended() ? Status::kEnded : fail(tls_->error())};
      }
      const Status filled = fill_tls();
      if (filled == Status::kMoved || filled == Status::kDrained) continue;
      if (total == 0) return {filled};
      return {filled == Status::kWouldBlock ? Status::kDrained : Status::kMoved, total};
    }
  }
  return {Status::kMoved, total};
}

Stream::Moved Stream::write_tls(const iovec* parts, std::size_t count) {
  std::size_t total = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::span<const std::byte> part(static_cast<const std::byte*>(parts[i].iov_base), parts[i].iov_len);
    while (!part.empty()) {
      std::size_t bytes = 0;
      const TlsSession::Step step = tls_->write(part, bytes);
      if (step == TlsSession::Step::kFailed) return {fail(tls_->error()), total};
      total += bytes;
      part = part.subspan(bytes);
      if (bytes > 0) continue;
      // The output is full: out with it, and on if it went.
      const Status flushed = flush();
      if (flushed == Status::kFailed) return {flushed, total};  // some of them may have left
      if (flushed == Status::kWouldBlock && tls_->output().size() > 128 * 1024) {
        return {total > 0 ? Status::kDrained : Status::kWouldBlock, total};
      }
    }
  }
  const Status flushed = flush();
  if (flushed == Status::kFailed) return {flushed, total};
  return {flushed == Status::kWouldBlock ? Status::kDrained : Status::kMoved, total};
}

}  // namespace rayx::wire
