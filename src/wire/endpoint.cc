#include "wire/endpoint.hpp"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/check.hpp"

namespace rayx::wire {
namespace {

Error bad(std::string_view text, const std::string& why) {
  return {ErrorCode::kInvalidConfig, std::string("'").append(text.substr(0, 300)) +
                                         "' is no address of a node: " + why +
                                         ". Write host:port, as node7:6380, or [address]:port for IPv6, as [::1]:6380"};
}

}  // namespace

Result<Endpoint> Endpoint::parse(std::string_view text) {
  std::string_view host;
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return bad(text, "the bracket is not closed");
    host = text.substr(1, close - 1);
    if (close + 1 >= text.size() || text[close + 1] != ':') return bad(text, "no :port follows the bracket");
    port = text.substr(close + 2);
    if (host.find(':') == std::string_view::npos) return bad(text, "in brackets stands an IPv6 address");
  } else {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return bad(text, "it has no :port");
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (host.find(':') != std::string_view::npos) return bad(text, "an IPv6 address stands in brackets");
  }
  if (host.empty()) return bad(text, "it has no host");
  if (host.size() > 255) return bad(text, "the host is longer than 255 characters");
  const auto is_strange = [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == '/' || c == '@' || c == 0x7f;
  };
  if (std::any_of(host.begin(), host.end(), is_strange)) {
    return bad(text, "the host has a space, a slash or another character that no host has");
  }
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (port.empty() || error != std::errc() || end != port.data() + port.size()) {
    return bad(text, "the port '" + std::string(port.substr(0, 40)) + "' is no number from 0 to 65535");
  }
  return Endpoint{std::string(host), number};
}

std::string Endpoint::text() const {
  const bool is_v6 = host.find(':') != std::string::npos;
  return (is_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<Address> Address::from_numbers(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
    return Error{ErrorCode::kInvalidConfig,
                 std::string("'").append(host, 0, 300) +
                     "' is no IPv4 or IPv6 address. A listener takes addresses and no names: "
                     "127.0.0.1 for this machine only, 0.0.0.0 for all of its addresses"};
  }
  const Address address = from_system(found->ai_addr, found->ai_addrlen);
  ::freeaddrinfo(found);
  return address;
}

Address Address::from_system(const sockaddr* address, socklen_t bytes) {
  RAYX_CHECK(bytes <= sizeof(sockaddr_storage), "address of a socket too long", bytes);
  Address result;
  std::memcpy(&result.storage_, address, bytes);
  result.bytes_ = bytes;
  return result;
}

Address Address::local_of(int socket) {
  Address result;
  result.bytes_ = sizeof(result.storage_);
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&result.storage_), &result.bytes_) != 0) return {};
  return result;
}

Address Address::peer_of(int socket) {
  Address result;
  result.bytes_ = sizeof(result.storage_);
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&result.storage_), &result.bytes_) != 0) return {};
  return result;
}

std::uint16_t Address::port() const {
  if (family() == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in*>(&storage_)->sin_port);
  if (family() == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_port);
  return 0;
}

bool Address::is_loopback() const {
  if (family() == AF_INET) {
    return ntohl(reinterpret_cast<const sockaddr_in*>(&storage_)->sin_addr.s_addr) >> 24 == 127;
  }
  if (family() != AF_INET6) return false;
  const in6_addr& address = reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&address) || (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127);
}

Endpoint Address::endpoint() const {
  char host[NI_MAXHOST] = "";
  if (bytes_ == 0 || ::getnameinfo(get(), bytes_, host, sizeof(host), nullptr, 0, NI_NUMERICHOST) != 0) return {"?", 0};
  return {host, port()};
}

}  // namespace rayx::wire
