// Blocking sockets for the limits of the machine: all of the bytes, or no figure.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>

#include "kit.hpp"

namespace bench {

inline void send_all(int fd, const std::byte* data, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    const ssize_t n = ::send(fd, data + done, size - done, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    check(n > 0, "send");
    done += static_cast<std::size_t>(n);
  }
}

// False: the peer has closed before that, or the connection broke.
inline bool receive_all(int fd, std::byte* data, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    const ssize_t n = ::recv(fd, data + done, size - done, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace bench
