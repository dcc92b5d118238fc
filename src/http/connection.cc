#include "http/connection.hpp"

#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <future>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "http/exchange.hpp"

namespace rayx::http {
namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t bytes = 0;
};

struct Lookup {
  int status = 0;  // of getaddrinfo
  int error = 0;   // errno, for EAI_SYSTEM
  std::vector<Address> addresses;

  std::string reason() const { return status == EAI_SYSTEM ? std::strerror(error) : ::gai_strerror(status); }
};

Lookup look_up(const std::string& host, std::uint16_t port, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | flags;
  addrinfo* found = nullptr;
  Lookup result;
  result.status = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  result.error = errno;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_addrlen > sizeof(sockaddr_storage)) continue;
    Address& address = result.addresses.emplace_back();
    std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    address.bytes = entry->ai_addrlen;
  }
  if (found != nullptr) ::freeaddrinfo(found);
  return result;
}

// The program's signals are not for this thread.
void start_without_signals(std::packaged_task<Lookup()> task) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  try {
    std::thread(std::move(task)).detach();
  } catch (...) {
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Result<std::vector<Address>> resolve(const std::string& host, std::uint16_t port, const base::Deadline& deadline) {
  // Numbers need no name server and no thread that waits for it.
  Lookup numbers = look_up(host, port, AI_NUMERICHOST);
  if (numbers.status == 0 && !numbers.addresses.empty()) return std::move(numbers.addresses);
  std::packaged_task<Lookup()> task([host, port] { return look_up(host, port, 0); });
  std::future<Lookup> answer = task.get_future();
  try {
    start_without_signals(std::move(task));
  } catch (const std::system_error& error) {
    return Error{ErrorCode::kSystemError,
                 std::string("could not be looked up: no thread can be started: ") + error.what()};
  }
  if (answer.wait_for(std::chrono::milliseconds(deadline.left_ms())) != std::future_status::ready) {
    return Error{ErrorCode::kTimeout, "was not found: no name server answered in time (`getent hosts " + host + "`)"};
  }
  Lookup found = answer.get();
  if (found.status != 0 || found.addresses.empty()) {
    return Error{ErrorCode::kNotFound,
                 "was not found: " + found.reason() + " (`getent hosts " + host + "` asks the same)"};
  }
  return std::move(found.addresses);
}

// Which of the events are there, or an error of the socket. 0: the time is over.
short wait_for(int fd, short events, const base::Deadline& deadline) {
  for (;;) {
    pollfd entry{fd, events, 0};
    const int left_ms = deadline.left_ms();
    const int count = ::poll(&entry, 1, left_ms);
    if (count > 0) return entry.revents;
    if (count < 0 && errno != EINTR) return POLLERR;
    if (count == 0 && left_ms == 0) return 0;
  }
}

// 0, or an errno; ETIMEDOUT when the time is over.
int connect_to(int fd, const Address& address, const base::Deadline& deadline) {
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.bytes) == 0) return 0;
  if (errno != EINPROGRESS && errno != EINTR) return errno;
  if (wait_for(fd, POLLOUT, deadline) == 0) return ETIMEDOUT;
  int error = 0;
  socklen_t bytes = sizeof(error);
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 ? error : errno;
}

Error describe(int error, std::chrono::milliseconds timeout) {
  if (error == ECONNREFUSED) return {ErrorCode::kSystemError, "refused the connection"};
  if (error == ETIMEDOUT) return {ErrorCode::kTimeout, "took no connection within " + to_text(timeout)};
  return {ErrorCode::kSystemError, std::string("cannot be reached: ") + std::strerror(error)};
}

}  // namespace

Result<Connection> Connection::open(const std::string& host, std::uint16_t port, std::chrono::milliseconds timeout) {
  const base::Deadline deadline(timeout);
  Result<std::vector<Address>> addresses = resolve(host, port, deadline);
  if (!addresses) return addresses.error();
  int error = 0;
  for (std::size_t i = 0; i < addresses->size(); ++i) {
    const Address& address = (*addresses)[i];
    const base::Deadline share(std::chrono::milliseconds(deadline.left_ms() / static_cast<int>(addresses->size() - i)));
    base::UniqueFd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int failed = fd ? connect_to(fd.get(), address, share) : errno;
    if (failed == 0) return Connection(std::move(fd));
    // What an address that exists said is worth more than "no route" of one that the machine cannot use.
    if (error == 0 || failed == ECONNREFUSED) error = failed;
  }
  return describe(error, timeout);
}

std::size_t Connection::send(std::string_view bytes, const base::Deadline& deadline) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n = ::send(fd_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n >= 0) {
      sent += static_cast<std::size_t>(n);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      // A server that answers before it has taken everything wants no more of it.
      if ((wait_for(fd_.get(), POLLOUT | POLLIN, deadline) & POLLOUT) == 0) break;
    } else if (errno != EINTR) {
      break;
    }
  }
  return sent;
}

Connection::Read Connection::read(std::span<char> place, std::size_t& taken, const base::Deadline& deadline) {
  for (;;) {
    // Looked at before each piece too: of a server that never stops talking there is always one.
    if (deadline.has_passed()) return Read::kTimeout;
    const ssize_t n = ::recv(fd_.get(), place.data(), place.size(), 0);
    if (n > 0) {
      taken = static_cast<std::size_t>(n);
      return Read::kBytes;
    }
    if (n == 0) return Read::kEnd;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (wait_for(fd_.get(), POLLIN, deadline) == 0) return Read::kTimeout;
    } else if (errno != EINTR) {
      return Read::kReset;
    }
  }
}

}  // namespace rayx::http
