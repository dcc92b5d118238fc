#include "kit/http_server.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "kit/network_address.hpp"

namespace rayx::kit {
namespace {

constexpr std::string_view kHeadEnd = "\r\n\r\n";

// Waits for the event, or until the test wants the server to end.
bool wait_for(int fd, short events, int stop, int timeout_ms = -1) {
  pollfd entries[2] = {{fd, events, 0}, {stop, POLLIN, 0}};
  ::poll(entries, 2, timeout_ms);
  return entries[1].revents == 0 && entries[0].revents != 0;
}

bool receive(int fd, int stop, std::string& text) {
  if (!wait_for(fd, POLLIN, stop)) return false;
  char piece[4096];
  const ssize_t n = ::recv(fd, piece, sizeof(piece), 0);
  if (n <= 0) return false;
  text.append(piece, static_cast<std::size_t>(n));
  return true;
}

}  // namespace

std::string HttpServer::Request::header(std::string_view name) const {
  for (std::size_t line = head.find("\r\n"); line != std::string::npos; line = head.find("\r\n", line + 2)) {
    const std::size_t begin = line + 2;
    const std::size_t colon = begin + name.size();
    if (colon >= head.size() || head[colon] != ':' || ::strncasecmp(head.data() + begin, name.data(), name.size()) != 0)
      continue;
    const std::size_t value = head.find_first_not_of(' ', colon + 1);
    return head.substr(value, head.find("\r\n", value) - value);
  }
  return {};
}

HttpServer::HttpServer(Handler handler)
    : handler_(std::move(handler)),
      listener_(listen_on("127.0.0.1", 16, address_)),
      stop_(::eventfd(0, EFD_CLOEXEC)),
      thread_([this] { serve(); }) {}

HttpServer::~HttpServer() {
  ::eventfd_write(stop_.get(), 1);
  thread_.join();
}

std::uint16_t HttpServer::port() const { return ntohs(to_sockaddr(address_).sin_port); }

std::vector<HttpServer::Request> HttpServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

HttpServer::Answer HttpServer::ok(const std::string& body, const std::string& type, int status) {
  return {"HTTP/1.1 " + std::to_string(status) + " Whatever\r\nContent-Type: " + type +
          "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body};
}

void HttpServer::serve() {
  while (wait_for(listener_.get(), POLLIN, stop_.get())) {
    base::UniqueFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (connection) answer(std::move(connection));
  }
}

void HttpServer::answer(base::UniqueFd connection) {
  std::string text;
  std::size_t head_end = std::string::npos;
  while ((head_end = text.find(kHeadEnd)) == std::string::npos)
    if (!receive(connection.get(), stop_.get(), text)) return;
  Request request;
  request.head = text.substr(0, head_end + kHeadEnd.size());
  const std::size_t space = request.head.find(' ');
  request.method = request.head.substr(0, space);
  request.target = request.head.substr(space + 1, request.head.find(' ', space + 1) - space - 1);
  const std::string length = request.header("Content-Length");
  const std::size_t whole = request.head.size() + (length.empty() ? 0 : std::stoul(length));
  while (text.size() < whole)
    if (!receive(connection.get(), stop_.get(), text)) return;
  request.body = text.substr(request.head.size());
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
  }
  const Answer answer = handler_(request);
  const int fd = connection.get();
  ::send(fd, answer.bytes.data(), answer.bytes.size(), MSG_NOSIGNAL);
  if (answer.then == Answer::Then::kReset) {
    const linger now{1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  }
  if (answer.then == Answer::Then::kSilence) silent_.push_back(std::move(connection));
  if (answer.then == Answer::Then::kDrip) {
    // Waits a millisecond for the client's end, which would be readable.
    while (!wait_for(fd, POLLIN, stop_.get(), 1) && !wait_for(stop_.get(), POLLIN, -1, 0))
      if (::send(fd, &answer.bytes.back(), 1, MSG_NOSIGNAL) != 1) break;
  }
}

}  // namespace rayx::kit
