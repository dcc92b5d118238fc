#include "kit/raw_socket.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "kit/eventually.hpp"

namespace rayx::kit {
namespace {

constexpr int kPatience_ms = static_cast<int>(std::chrono::milliseconds(kPatience).count());

bool is_readable(int fd) {
  pollfd wait{fd, POLLIN, 0};
  return ::poll(&wait, 1, kPatience_ms) == 1;
}

}  // namespace

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
