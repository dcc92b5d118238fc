#include "cluster/json_lines.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

namespace rayx::cluster {

bool JsonLines::send(const Json& message) {
  // What is no UTF-8, as a host's name may be, is replaced: a message is never refused for its text.
  const std::string line = message.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
  const std::lock_guard lock(sending_);
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t step = ::send(socket_.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (step < 0 && errno == EINTR) continue;
    if (step <= 0) return false;
    sent += static_cast<std::size_t>(step);
  }
  return true;
}

std::optional<Json> JsonLines::take_line() {
  const std::size_t end = received_.find('\n', looked_at_);
  if (end == std::string::npos) {
    looked_at_ = received_.size();
    return std::nullopt;
  }
  Json message = Json::parse(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
  received_.erase(0, end + 1);
  looked_at_ = 0;
  // The other end is this same program: what cannot be read ends the talk, as its end would.
  if (message.is_discarded() || !message.is_object()) {
    is_closed_ = true;
    return std::nullopt;
  }
  return message;
}

std::optional<Json> JsonLines::receive(const base::Deadline& deadline) {
  while (true) {
    if (std::optional<Json> message = take_line()) return message;
    if (is_closed_) return std::nullopt;
    pollfd entry{socket_.get(), POLLIN, 0};
    const int ready = ::poll(&entry, 1, deadline.left_ms());
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return std::nullopt;
    char bytes[16 << 10];
    const ssize_t got = ::recv(socket_.get(), bytes, sizeof(bytes), MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0 || received_.size() > kLineBytesMax) {
      is_closed_ = true;
      return std::nullopt;
    }
    received_.append(bytes, static_cast<std::size_t>(got));
  }
}

void JsonLines::close() { ::shutdown(socket_.get(), SHUT_RDWR); }

std::string text_of(const Json& message, const char* field) {
  const auto found = message.find(field);
  return found != message.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::int64_t number_of(const Json& message, const char* field, std::int64_t otherwise) {
  const auto found = message.find(field);
  return found != message.end() && found->is_number() ? found->get<std::int64_t>() : otherwise;
}

bool flag_of(const Json& message, const char* field) {
  const auto found = message.find(field);
  return found != message.end() && found->is_boolean() && found->get<bool>();
}

Json to_json(const Error& error) { return {{"code", static_cast<int>(error.code)}, {"message", error.message}}; }

Error error_from(const Json& json) {
  const std::int64_t code = number_of(json, "code", static_cast<int>(ErrorCode::kSystemError));
  const bool is_known = code > 0 && code <= static_cast<int>(ErrorCode::kNotFound);
  return {is_known ? static_cast<ErrorCode>(code) : ErrorCode::kSystemError, text_of(json, "message")};
}

}  // namespace rayx::cluster
