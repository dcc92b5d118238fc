#include "api/route.hpp"

#include <netdb.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "base/unique_fd.hpp"

namespace rayx::detail {

Result<std::string> address_towards(const wire::Endpoint& there) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(there.host.c_str(), std::to_string(there.port).c_str(), &hints, &found);
  if (error != 0)
    return Error{ErrorCode::kSystemError,
                 "rayx: the address of " + there.host + " is not known: " + ::gai_strerror(error)};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(found, &::freeaddrinfo);
  std::string problem;
  for (const addrinfo* it = all.get(); it != nullptr; it = it->ai_next) {
    const base::UniqueFd socket(::socket(it->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    // A datagram socket: to connect it sends nothing, and asks for the route.
    if (socket && ::connect(socket.get(), it->ai_addr, it->ai_addrlen) == 0)
      return wire::Address::local_of(socket.get()).endpoint().host;
    problem = std::strerror(errno);
  }
  return Error{ErrorCode::kSystemError, "rayx: this machine has no route to " + there.host + ": " + problem};
}

}  // namespace rayx::detail
