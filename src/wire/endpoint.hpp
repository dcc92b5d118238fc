// Endpoint: a host and a port as users write them. Address: what the kernel takes. Names are resolved beside the loop.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rayx/result.hpp"

namespace rayx::wire {

class Loop;

struct Endpoint {
  std::string host;  // a name or an address, IPv6 without brackets
  std::uint16_t port = 0;

  // "host:port" or "[v6]:port".
  static Result<Endpoint> parse(std::string_view text);
  std::string text() const;  // as parse takes it
  bool operator==(const Endpoint&) const = default;
};

// One address of a socket, IPv4 or IPv6.
class Address {
 public:
  // Numbers only: "127.0.0.1", "::1", "fe80::1%eth0", never a question to a name server.
  static Result<Address> from_numbers(const std::string& host, std::uint16_t port);
  static Address from_system(const sockaddr* address, socklen_t bytes);
  static Address local_of(int socket);  // an unset address where the kernel has none
  static Address peer_of(int socket);

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t bytes() const { return bytes_; }
  int family() const { return storage_.ss_family; }
  std::uint16_t port() const;
  bool is_loopback() const;  // 127.0.0.0/8, ::1, and the former written as IPv6
  Endpoint endpoint() const;

 private:
  sockaddr_storage storage_{};
  socklen_t bytes_ = 0;
};

// A question that ends with its holder.
class Resolution {
 public:
  // Answers once on the loop's thread, never in the call, with all addresses of the name in the system's order of preference.
  void begin(Loop& loop, const Endpoint& endpoint, std::function<void(Result<std::vector<Address>>)> answer);
  Resolution() = default;
  Resolution(const Resolution&) = delete;
  Resolution& operator=(const Resolution&) = delete;
  ~Resolution();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace rayx::wire
