#include "kit/raw_socket.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.hpp"
#include "kit/eventually.hpp"

namespace rayx::kit {
namespace {

constexpr int kPatience_ms = static_cast<int>(std::chrono::milliseconds(kPatience).count());

bool is_readable(int fd) {
  pollfd wait{fd, POLLIN, 0};
  return ::poll(&wait, 1, kPatience_ms) == 1;
}

}  // namespace

sockaddr_in to_sockaddr(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  sockaddr_in parsed{};
  parsed.sin_family = AF_INET;
  RAYX_CHECK(
      colon != std::string::npos && ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &parsed.sin_addr) == 1,
      "tests take addresses as host:port in numbers:", address);
  parsed.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
  return parsed;
}

base::UniqueFd listen_on(const std::string& host, int backlog, std::string& address) {
  base::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in own = to_sockaddr(host + ":0");
  socklen_t bytes = sizeof(own);
  auto* const place = reinterpret_cast<sockaddr*>(&own);
  RAYX_CHECK(fd && ::bind(fd.get(), place, bytes) == 0 && ::listen(fd.get(), backlog) == 0 &&
                 ::getsockname(fd.get(), place, &bytes) == 0,
             "a test cannot listen on", host, std::strerror(errno));
  address = host + ":" + std::to_string(ntohs(own.sin_port));
  return fd;
}

RawSocket::RawSocket(const std::string& address) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const sockaddr_in to = to_sockaddr(address);
  const int connected = ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to));
  EXPECT_EQ(connected, 0) << address << ": " << std::strerror(errno);
  if (connected != 0) fd_.reset();
}

bool RawSocket::send(std::span<const std::byte> bytes) {
  return ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

std::vector<std::byte> RawSocket::read(std::size_t bytes) {
  std::vector<std::byte> result(bytes);
  std::size_t done = 0;
  while (done < bytes && is_readable(fd_.get())) {
    const ssize_t n = ::recv(fd_.get(), result.data() + done, bytes - done, 0);
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  result.resize(done);
  return result;
}

void RawSocket::stop_writing() { ::shutdown(fd_.get(), SHUT_WR); }

RawListener::RawListener() : fd_(listen_on("127.0.0.1", 16, address_)) {}

RawSocket RawListener::accept() {
  EXPECT_TRUE(is_readable(fd_.get())) << "nobody connected to " << address_;
  return RawSocket(base::UniqueFd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
}

}  // namespace rayx::kit
