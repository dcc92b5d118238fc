// What the keeper and its driver say to each other: JSON, one message a line, over a stream socket.
#pragma once

#include <deque>
#include <mutex>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>
#include <rayx/result.hpp>

#include "base/deadline.hpp"
#include "base/unique_fd.hpp"

namespace rayx::cluster {

using Json = nlohmann::json;

inline constexpr std::size_t kLineBytesMax = 8 << 20;

// One thread receives; any thread sends.
class JsonLines {
 public:
  explicit JsonLines(base::UniqueFd socket) : socket_(std::move(socket)) {}

  int fd() const { return socket_.get(); }
  // False: the other side is gone. Waits while it does not read.
  bool send(const Json& message);
  // The next message. Nothing: none came in time, or the other side is gone (is_closed).
  std::optional<Json> receive(const base::Deadline& deadline);
  bool is_closed() const { return is_closed_; }
  // The other side sees the end, and receive() here returns.
  void close();

 private:
  std::optional<Json> take_line();

  base::UniqueFd socket_;
  std::mutex sending_;
  std::string received_;
  std::size_t looked_at_ = 0;
  bool is_closed_ = false;
};

// Fields of messages from the other side, whose types are not certain.
std::string text_of(const Json& message, const char* field);
std::int64_t number_of(const Json& message, const char* field, std::int64_t otherwise = 0);
bool flag_of(const Json& message, const char* field);

Json to_json(const Error& error);
Error error_from(const Json& json);

}  // namespace rayx::cluster
