#include "kit/network_address.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "base/check.hpp"

namespace rayx::kit {

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

}  // namespace rayx::kit
