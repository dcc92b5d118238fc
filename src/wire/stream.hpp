// Stream: the bytes of one connected socket, plain or through TLS. Never blocks, never raises SIGPIPE, allocates nothing.
#pragma once

#include <sys/uio.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/unique_fd.hpp"
#include "wire/tls.hpp"

namespace rayx::wire {

class Stream {
 public:
  enum class Status {
    kMoved,       // `bytes` were moved; more may be possible at once
    kDrained,     // `bytes` were moved, and no more can be now
    kWouldBlock,  // none were
    kEnded,       // the peer sends nothing more
    kFailed,      // error()
  };
  struct Moved {
    Status status;
    std::size_t bytes = 0;
  };

  explicit Stream(base::UniqueFd socket) : socket_(std::move(socket)) {}

  Moved read(const std::array<std::span<std::byte>, 2>& space);
  // For Watch::want_bytes: where bytes of the socket may be put, `plain` or what TLS has; and that they were.
  std::span<std::byte> place_for_bytes(std::span<std::byte> plain) { return tls_ ? tls_->input_space() : plain; }
  bool take_encrypted(std::size_t bytes);  // false if they are plain ones
  Moved write(const iovec* parts, std::size_t count);
  // Encrypted bytes that the socket did not take yet.
  bool has_output() const { return tls_ && !tls_->output().empty(); }
  Status flush();

  // From now on all bytes go through it; first its own, with shake_hands: kMoved when it is done, kWouldBlock, or an end.
  void start_tls(std::unique_ptr<TlsSession> session) { tls_ = std::move(session); }
  Status shake_hands();
  const TlsSession* tls() const { return tls_.get(); }

  // How long ago the peer's kernel took bytes of ours, if that says that its process lives: a question that ends at `asked_at` is still on
  // its way behind them, or they are more than a kernel takes of small messages for a process that does not read. Two system calls.
  std::optional<std::chrono::milliseconds> taken_ago(std::uint64_t asked_at);
  // How many bytes were written; those that TLS still has count.
  std::uint64_t position() const { return sent_bytes_ + (tls_ ? tls_->output().size() : 0); }

  // For how long the peer's kernel has confirmed nothing while something was on its way to it; 0 if there is nothing. A system call.
  std::chrono::milliseconds unconfirmed_for() const;

  int socket() const { return socket_.get(); }
  void stop_writing();  // the peer reads an end of file behind what was written
  void close() { socket_.reset(); }
  const Error& error() const { return error_; }
  // Once: a socket tells what broke it to one call only, and the others see an end.
  bool has_failed() const { return !error_.message.empty(); }

 private:
  Moved receive(iovec* parts, std::size_t count, std::size_t wanted);
  Moved send(const iovec* parts, std::size_t count, std::size_t wanted);
  Status fail(Error error);
  Status fill_tls();
  Moved read_tls(const std::array<std::span<std::byte>, 2>& space);
  Moved write_tls(const iovec* parts, std::size_t count);

  base::UniqueFd socket_;
  std::unique_ptr<TlsSession> tls_;
  std::uint64_t sent_bytes_ = 0;   // that our kernel took
  std::uint64_t taken_bytes_ = 0;  // of those the peer's, when taken_ago said so last
  Error error_;
};

}  // namespace rayx::wire
