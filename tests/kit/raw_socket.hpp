// A TCP socket in the hands of a test: what a peer says that is not ours. Blocking, with the kit's patience.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.hpp"
#include "kit/network_address.hpp"

namespace rayx::kit {

class RawSocket {
 public:
  // Connects to "host:port". A failure is one of the test; `is_open` then says so.
  explicit RawSocket(const std::string& address);
  explicit RawSocket(base::UniqueFd connected) : fd_(std::move(connected)) {}

  bool is_open() const { return static_cast<bool>(fd_); }
  int fd() const { return fd_.get(); }
  // False: the other side does not take it any more.
  bool send(std::span<const std::byte> bytes);
  bool send(std::string_view text) { return send(std::as_bytes(std::span(text))); }
  // Exactly that many bytes, or fewer if the other side ends.
  std::vector<std::byte> read(std::size_t bytes);
  // The other side has ended; what it said before.
  std::vector<std::byte> read_to_the_end() { return read(1 << 20); }
  void stop_writing();

 private:
  base::UniqueFd fd_;
};

// Takes connections on a port of the loopback that is free.
class RawListener {
 public:
  RawListener();
  const std::string& address() const { return address_; }
  RawSocket accept();  // the next one

 private:
  std::string address_;
  base::UniqueFd fd_;
};

}  // namespace rayx::kit
