// A TCP connection of which every step ends at a deadline.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/deadline.hpp"
#include "base/unique_fd.hpp"
#include "rayx/result.hpp"

namespace rayx::http {

class Connection {
 public:
  // Tries the addresses of the name one after the other, each for its share of the time.
  static Result<Connection> open(const std::string& host, std::uint16_t port, std::chrono::milliseconds timeout);

  // How many bytes the network took: fewer than all if the other side answers already, has ended the connection, or the time is
  // over. Read then what it says.
  std::size_t send(std::string_view bytes, const base::Deadline& deadline);

  enum class Read : std::uint8_t { kBytes, kEnd, kReset, kTimeout };
  // kBytes: `taken` bytes of `place` are filled.
  Read read(std::span<char> place, std::size_t& taken, const base::Deadline& deadline);

 private:
  explicit Connection(base::UniqueFd fd) : fd_(std::move(fd)) {}
  base::UniqueFd fd_;
};

}  // namespace rayx::http
