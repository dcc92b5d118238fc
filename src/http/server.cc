#include "http/server.hpp"

#include <http_parser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/deadline.hpp"

namespace rayx::http {
namespace {

constexpr int kBacklog = 1'024;  // of connections that nobody has accepted yet

struct Parsing {
  ServerRequest* request;
  std::string name;
  std::string value;
  std::size_t body_bytes_max;
  bool was_value = false;
  bool is_too_large = false;
  bool is_complete = false;

  void take_header() {
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (!name.empty()) request->headers[name] = value;
    name.clear();
    value.clear();
  }
};

Parsing& of(http_parser* parser) { return *static_cast<Parsing*>(parser->data); }

http_parser_settings make_settings() {
  http_parser_settings settings;
  ::http_parser_settings_init(&settings);
  settings.on_url = [](http_parser* parser, const char* at, std::size_t bytes) {
    of(parser).request->path.append(at, bytes);
    return 0;
  };
  settings.on_header_field = [](http_parser* parser, const char* at, std::size_t bytes) {
    Parsing& parsing = of(parser);
    if (std::exchange(parsing.was_value, false)) parsing.take_header();
    parsing.name.append(at, bytes);
    return 0;
  };
  settings.on_header_value = [](http_parser* parser, const char* at, std::size_t bytes) {
    Parsing& parsing = of(parser);
    parsing.was_value = true;
    parsing.value.append(at, bytes);
    return 0;
  };
  settings.on_headers_complete = [](http_parser* parser) {
    of(parser).take_header();
    return 0;
  };
  settings.on_body = [](http_parser* parser, const char* at, std::size_t bytes) {
    Parsing& parsing = of(parser);
    parsing.is_too_large = bytes > parsing.body_bytes_max - parsing.request->body.size();
    if (parsing.is_too_large) return 1;
    parsing.request->body.append(at, bytes);
    return 0;
  };
  settings.on_message_complete = [](http_parser* parser) {
    of(parser).is_complete = true;
    ::http_parser_pause(parser, 1);  // what follows is not read
    return 0;
  };
  return settings;
}

std::string text_of(const sockaddr_storage& address, socklen_t bytes) {
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&address), bytes, host.data(), host.size(), port.data(),
                    port.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return "somebody";
  return std::string(host.data()) + ':' + port.data();
}

bool send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void set_timeout(int socket, int which, std::chrono::milliseconds time) {
  const timeval value{time.count() / 1'000, static_cast<suseconds_t>(time.count() % 1'000 * 1'000)};
  ::setsockopt(socket, SOL_SOCKET, which, &value, sizeof(value));
}

const char* reason_of(int status) {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 431: return "Request Header Fields Too Large";
    default: return "Error";
  }
}

Error listen_error(const ServerConfig& config, const char* what, int error) {
  return {ErrorCode::kSystemError, "rayx: " + std::string(what) + " at " + config.address + " port " +
                                       std::to_string(config.port) + " failed: " + std::strerror(error) +
                                       ". Listen at an address of this machine, and a port that is free"};
}

}  // namespace

Result<std::unique_ptr<Server>> Server::start(ServerConfig config, Handler handler) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(config.address.c_str(), std::to_string(config.port).c_str(), &hints, &found) != 0)
    return Error{ErrorCode::kInvalidArgument,
                 "rayx: \"" + config.address + "\" is no address to listen at, in numbers"};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> address(found, &::freeaddrinfo);
  base::UniqueFd listener(::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return listen_error(config, "making a socket", errno);
  const int on = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(listener.get(), address->ai_addr, address->ai_addrlen) != 0) return listen_error(config, "binding", errno);
  if (::listen(listener.get(), kBacklog) != 0) return listen_error(config, "listening", errno);
  sockaddr_storage bound{};
  socklen_t bytes = sizeof(bound);
  if (::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&bound), &bytes) != 0)
    return listen_error(config, "finding the port", errno);
  const std::uint16_t port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                                               : reinterpret_cast<sockaddr_in&>(bound).sin_port);
  base::UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return listen_error(config, "making an eventfd to serve", errno);
  return std::unique_ptr<Server>(
      new Server(std::move(config), std::move(handler), std::move(listener), std::move(wake), port));
}

Server::Server(ServerConfig config, Handler handler, base::UniqueFd listener, base::UniqueFd wake, std::uint16_t port)
    : config_(std::move(config)),
      handler_(std::move(handler)),
      listener_(std::move(listener)),
      wake_(std::move(wake)),
      port_(port),
      thread_([this] { accept_all(); }) {}

Server::~Server() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
    for (const Connection& connection : connections_) ::shutdown(connection.socket.get(), SHUT_RDWR);
  }
  room_.notify_all();
  const std::uint64_t one = 1;
  static_cast<void>(!::write(wake_.get(), &one, sizeof(one)));
  thread_.join();
  for (Connection& connection : connections_) connection.thread.join();
}

void Server::accept_all() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      room_.wait(lock, [this] { return is_ending_ || running_ < config_.connections_max; });
      if (is_ending_) return;
    }
    join_those_that_are_done();
    std::array<pollfd, 2> entries{{{listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
    if (::poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) return;
    if (entries[1].revents != 0) return;
    sockaddr_storage peer{};
    socklen_t bytes = sizeof(peer);
    base::UniqueFd socket(::accept4(listener_.get(), reinterpret_cast<sockaddr*>(&peer), &bytes, SOCK_CLOEXEC));
    if (!socket) {
      // Without a free descriptor the connection stays in the queue: until one is free, or a while.
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) ::poll(&entries[1], 1, 50);
      continue;
    }
    const std::lock_guard lock(mutex_);
    if (is_ending_) return;
    ++running_;
    Connection& connection = connections_.emplace_back();
    connection.socket = std::move(socket);
    connection.peer = text_of(peer, bytes);
    connection.thread = std::thread([this, &connection] { serve(connection); });
  }
}

void Server::join_those_that_are_done() {
  std::list<Connection> done;
  {
    const std::lock_guard lock(mutex_);
    for (auto it = connections_.begin(); it != connections_.end();) {
      const auto next = std::next(it);
      if (it->is_done) done.splice(done.end(), connections_, it);
      it = next;
    }
  }
  for (Connection& connection : done) connection.thread.join();
}

void Server::serve(Connection& connection) {
  // sendfile() to a peer that is gone raises SIGPIPE, and takes no flag against it.
  sigset_t no_pipe;
  sigemptyset(&no_pipe);
  sigaddset(&no_pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &no_pipe, nullptr);
  const int socket = connection.socket.get();
  set_timeout(socket, SO_SNDTIMEO, config_.send_timeout);
  ServerRequest request;
  request.peer = connection.peer;
  ServerResponse response;
  if (read_request(socket, request, response)) response = handler_(request);
  if (response.status != 0) answer(socket, response);
  // An answer that the peer has not read yet would be lost with a reset, if something of the request is still unread.
  ::shutdown(socket, SHUT_WR);
  set_timeout(socket, SO_RCVTIMEO, std::chrono::milliseconds(500));
  std::array<char, 4'096> rest;
  for (int i = 0; i < 64 && ::recv(socket, rest.data(), rest.size(), 0) > 0; ++i) {
  }
  {
    const std::lock_guard lock(mutex_);
    --running_;
    connection.is_done = true;
  }
  room_.notify_one();
}

// False: `refusal` says why; its status 0: nobody is there to hear it.
bool Server::read_request(int socket, ServerRequest& request, ServerResponse& refusal) const {
  static const http_parser_settings settings = make_settings();
  Parsing parsing{&request, {}, {}, config_.body_bytes_max};
  http_parser parser;
  ::http_parser_init(&parser, HTTP_REQUEST);
  parser.data = &parsing;
  const base::Deadline deadline(config_.request_timeout);
  std::size_t bytes = 0;
  std::array<char, 16'384> piece;
  while (!parsing.is_complete) {
    pollfd entry{socket, POLLIN, 0};
    const int ready = ::poll(&entry, 1, deadline.left_ms());
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      refusal = {408, "text/plain", "the request did not come in time\n"};
      return false;
    }
    const ssize_t got = ::recv(socket, piece.data(), piece.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      refusal.status = 0;
      return false;
    }
    bytes += static_cast<std::size_t>(got);
    ::http_parser_execute(&parser, &settings, piece.data(), static_cast<std::size_t>(got));
    if (parsing.is_complete) break;
    if (parsing.is_too_large) {
      refusal = {413, "text/plain", "the body is too large\n"};
      return false;
    }
    if (bytes > config_.head_bytes_max + config_.body_bytes_max ||
        (request.body.empty() && bytes > config_.head_bytes_max + piece.size())) {
      refusal = {431, "text/plain", "the head of the request is too large\n"};
      return false;
    }
    if (HTTP_PARSER_ERRNO(&parser) != HPE_OK) {
      refusal = {400, "text/plain", "that is no request of HTTP\n"};
      return false;
    }
  }
  request.method = ::http_method_str(static_cast<http_method>(parser.method));
  return true;
}

void Server::answer(int socket, const ServerResponse& response) {
  const std::uint64_t bytes = response.file ? response.file_bytes : response.body.size();
  const std::string head = "HTTP/1.1 " + std::to_string(response.status) + ' ' + reason_of(response.status) +
                           "\r\nContent-Type: " + response.type + "\r\nContent-Length: " + std::to_string(bytes) +
                           "\r\nConnection: close\r\n\r\n";
  if (!send_all(socket, head)) return;
  if (!response.file) return void(send_all(socket, response.body));
  off_t offset = 0;
  while (static_cast<std::uint64_t>(offset) < bytes) {
    const ssize_t sent = ::sendfile(socket, response.file.get(), &offset,
                                    static_cast<std::size_t>(bytes - static_cast<std::uint64_t>(offset)));
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return;  // the receiver counts
  }
}

}  // namespace rayx::http
