#include "http/server.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <list>
#include <system_error>
#include <thread>

#include "base/deadline.hpp"
#include "http/request_parser.hpp"

namespace rayx::http {
namespace {

constexpr int kBacklog = 256;
constexpr int kAcceptsMax = 64;                 // before those who are connected get their turn again
constexpr std::size_t kPieceBytes = 256 << 10;  // of a file at once, so that all clients get their turn
constexpr std::size_t kDiscardBytes =
    64 << 10;  // of a refused request that are still taken, so that the client reads the answer
constexpr std::chrono::milliseconds kLingerTimeout{1'000};

std::string_view reason(int status) {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    default: return "Unknown";
  }
}

std::string to_text(const sockaddr_storage& address, socklen_t bytes) {
  char host[NI_MAXHOST], port[NI_MAXSERV];
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&address), bytes, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return "?";
  std::string text = std::strchr(host, ':') == nullptr ? host : std::string(1, '[').append(host).append("]");
  return text.append(":").append(port);
}

Error cannot_listen(const std::string& address, std::uint16_t port, const std::string& why) {
  return {ErrorCode::kSystemError, "rayx: no HTTP server can listen at " + address + " port " + std::to_string(port) +
                                       ": " + why +
                                       "; choose an address of this host and a port that is free (0: any)"};
}

Result<base::UniqueFd> listen_at(const std::string& address, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0 || found == nullptr)
    return cannot_listen(address, port, "that is no address in numbers");
  base::UniqueFd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  int error = 0;
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      ::bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd.get(), kBacklog) != 0)
    error = errno;
  ::freeaddrinfo(found);
  if (error != 0) return cannot_listen(address, port, std::strerror(error));
  return fd;
}

// One client, from its connection to its end.
class Connection {
 public:
  Connection(base::UniqueFd fd, std::string peer, const ServerConfig& config)
      : fd_(std::move(fd)),
        parser_(config),
        config_(config),
        deadline_(config.request_timeout),
        end_(config.request_timeout) {
    parser_.request().peer = std::move(peer);
  }

  bool is_reading() const { return state_ == State::kReading; }
  pollfd entry() const { return {fd_.get(), static_cast<short>(state_ == State::kWriting ? POLLOUT : POLLIN), 0}; }
  int left_ms() const { return std::min(deadline_.left_ms(), end_.left_ms()); }

  // False: it is over.
  bool go_on(bool is_ready, const Server::Handler& handler) {
    if (left_ms() == 0) {
      // A client that never said what it wants may still hear why it is sent away.
      if (state_ != State::kReading) return false;
      answer({.status = 408, .body = "the request did not come within the time\n"});
    } else if (!is_ready) {
      return true;
    }
    if (state_ == State::kReading && !read(handler)) return false;
    if (state_ == State::kWriting && !write()) return false;
    return state_ != State::kLingering || linger();
  }

 private:
  enum class State : unsigned char { kReading, kWriting, kLingering };

  bool read(const Server::Handler& handler) {
    std::array<char, 16 << 10> piece;
    const ssize_t n = ::recv(fd_.get(), piece.data(), piece.size(), 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return false;
    switch (parser_.feed({piece.data(), static_cast<std::size_t>(n)})) {
      case RequestParser::State::kMore: return true;
      case RequestParser::State::kComplete: answer(handler(parser_.request())); return true;
      case RequestParser::State::kBroken:
        answer({.status = parser_.refusal(), .body = "this is no request that is served here\n"});
        return true;
    }
    return false;
  }

  void answer(ServerResponse response) {
    const std::uint64_t bytes = response.file ? response.file_bytes : response.body.size();
    head_ = "HTTP/1.1 " + std::to_string(response.status) + ' ' + std::string(reason(response.status)) +
            "\r\nConnection: close\r\nContent-Length: " + std::to_string(bytes) + "\r\n";
    head_ += "Content-Type: " + response.type + "\r\n\r\n";
    if (!response.file) head_ += response.body;
    file_ = std::move(response.file);
    file_bytes_ = file_ ? response.file_bytes : 0;
    state_ = State::kWriting;
    deadline_ = base::Deadline(config_.send_timeout);
    end_ = base::Deadline(config_.answer_timeout);
  }

  bool write() {
    if (sent_ < head_.size()) {
      const ssize_t n =
          ::send(fd_.get(), head_.data() + sent_, head_.size() - sent_, MSG_NOSIGNAL | (file_ ? MSG_MORE : 0));
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      sent_ += static_cast<std::size_t>(n);
      deadline_ = base::Deadline(config_.send_timeout);
      if (sent_ < head_.size()) return true;
    }
    if (file_bytes_ > 0) {
      const ssize_t n = ::sendfile(fd_.get(), file_.get(), &at_, std::min<std::uint64_t>(file_bytes_, kPieceBytes));
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      if (n == 0) return false;  // it was cut since
      file_bytes_ -= static_cast<std::uint64_t>(n);
      deadline_ = base::Deadline(config_.send_timeout);
      if (file_bytes_ > 0) return true;
    }
    // Closing at once while bytes of the client are unread would reset the connection, and the answer be lost on the way.
    ::shutdown(fd_.get(), SHUT_WR);
    state_ = State::kLingering;
    end_ = base::Deadline(kLingerTimeout);
    return true;
  }

  bool linger() {
    std::array<char, 16 << 10> piece;
    const ssize_t n = ::recv(fd_.get(), piece.data(), piece.size(), 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    discarded_ += static_cast<std::size_t>(n);
    return n > 0 && discarded_ < kDiscardBytes;
  }

  base::UniqueFd fd_;
  RequestParser parser_;
  const ServerConfig& config_;
  State state_ = State::kReading;
  base::Deadline deadline_;  // of the next step
  base::Deadline end_;       // of all of them
  std::string head_;
  std::size_t sent_ = 0;
  base::UniqueFd file_;
  std::uint64_t file_bytes_ = 0;  // that are left
  off_t at_ = 0;
  std::size_t discarded_ = 0;
};

}  // namespace

class Server::Loop {
 public:
  Loop(base::UniqueFd listener, base::UniqueFd stop, Handler handler, const ServerConfig& config)
      : listener_(std::move(listener)), stop_(std::move(stop)), handler_(std::move(handler)), config_(config) {}
  ~Loop() {
    if (!thread_.joinable()) return;
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
  }

  void begin() {
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, &before);  // the program's signals are not for this thread
    try {
      thread_ = std::thread([this] { run(); });
    } catch (...) {
      ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
      throw;
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  std::uint16_t port() const {
    sockaddr_storage address{};
    socklen_t bytes = sizeof(address);
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &bytes);
    return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                               : reinterpret_cast<const sockaddr_in&>(address).sin_port);
  }

 private:
  void run() {
    std::vector<pollfd> entries;
    for (;;) {
      entries = {{stop_.get(), POLLIN, 0}, {may_accept() ? listener_.get() : -1, POLLIN, 0}};
      int wait_ms = out_of_descriptors_ ? 100 : -1;
      for (const Connection& connection : connections_) {
        entries.push_back(connection.entry());
        wait_ms = wait_ms < 0 ? connection.left_ms() : std::min(wait_ms, connection.left_ms());
      }
      if (::poll(entries.data(), entries.size(), wait_ms) < 0 && errno != EINTR) continue;
      if (entries[0].revents != 0) return;
      out_of_descriptors_ = false;
      std::size_t index = 2;
      for (auto it = connections_.begin(); it != connections_.end(); ++index)
        it = it->go_on(entries[index].revents != 0, handler_) ? std::next(it) : connections_.erase(it);
      if (entries[1].revents != 0) accept_all();
    }
  }

  bool may_accept() const {
    return !out_of_descriptors_ && (connections_.size() < config_.connections_max ||
                                    std::ranges::any_of(connections_, &Connection::is_reading));
  }

  void accept_all() {
    for (int i = 0; i < kAcceptsMax && may_accept(); ++i) {
      sockaddr_storage address{};
      socklen_t bytes = sizeof(address);
      base::UniqueFd fd(
          ::accept4(listener_.get(), reinterpret_cast<sockaddr*>(&address), &bytes, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!fd) {
        if (errno == EINTR || errno == ECONNABORTED) continue;
        out_of_descriptors_ = errno != EAGAIN && errno != EWOULDBLOCK;  // looked at again a little later
        return;
      }
      // The list is in the order of arrival: the first that reads is the slowest.
      if (connections_.size() >= config_.connections_max)
        connections_.erase(std::ranges::find_if(connections_, &Connection::is_reading));
      connections_.emplace_back(std::move(fd), to_text(address, bytes), config_);
    }
  }

  const base::UniqueFd listener_;
  const base::UniqueFd stop_;
  const Handler handler_;
  const ServerConfig config_;
  bool out_of_descriptors_ = false;
  std::list<Connection> connections_;
  std::thread thread_;
};

Server::Server(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::start(ServerConfig config, Handler handler) {
  Result<base::UniqueFd> listener = listen_at(config.address, config.port);
  if (!listener) return listener.error();
  base::UniqueFd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop) return cannot_listen(config.address, config.port, std::strerror(errno));
  auto loop = std::make_unique<Loop>(std::move(*listener), std::move(stop), std::move(handler), config);
  try {
    loop->begin();
  } catch (const std::system_error& error) {
    return cannot_listen(config.address, config.port, std::string("no thread can be started: ") + error.what());
  }
  return std::unique_ptr<Server>(new Server(std::move(loop)));
}

std::uint16_t Server::port() const { return loop_->port(); }

}  // namespace rayx::http
