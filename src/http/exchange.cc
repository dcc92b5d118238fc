#include "http/exchange.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/check.hpp"
#include "base/deadline.hpp"
#include "http/connection.hpp"
#include "http/response_parser.hpp"

namespace rayx::http {
namespace {

bool is_one_line(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; });
}

std::string written(const std::string& host, std::uint16_t port, const Request& request) {
  // Whoever makes a request from a user's words has looked at them: a line break here would be a second request.
  RAYX_CHECK(is_one_line(request.target) && request.target.find(' ') == std::string::npos && is_one_line(host),
             "a request's first line has characters that end it");
  const bool is_v6 = host.find(':') != std::string::npos;
  std::string text = request.method + ' ' + request.target + " HTTP/1.1\r\nHost: " + (is_v6 ? '[' + host + ']' : host) +
                     ':' + std::to_string(port) + "\r\nConnection: close\r\n";
  for (const auto& [name, value] : request.headers) {
    RAYX_CHECK(is_one_line(name) && is_one_line(value), "a header has characters that end it", name);
    text.append(name).append(": ").append(value).append("\r\n");
  }
  if (!request.body.empty() || request.method != "GET")
    text += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
  return text + "\r\n" + request.body;
}

}  // namespace

std::string to_text(std::chrono::milliseconds duration) {
  const auto ms = duration.count();
  return ms % 1'000 == 0 ? std::to_string(ms / 1'000) + " s" : std::to_string(ms) + " ms";
}

Outcome exchange(const std::string& host, std::uint16_t port, const Request& request, const Limits& limits) {
  const base::Deadline deadline(limits.total_timeout);
  const std::string text = written(host, port, request);
  Result<Connection> connection = Connection::open(host, port, std::min(limits.connect_timeout, limits.total_timeout));
  if (!connection) return {connection.error()};

  const bool may_have_arrived = connection->send(text, deadline) == text.size();
  ResponseParser parser(limits);
  std::array<char, 16 << 10> piece;
  for (;;) {
    std::size_t taken = 0;
    switch (connection->read(piece, taken, deadline)) {
      case Connection::Read::kBytes:
        if (!parser.feed({piece.data(), taken})) return {parser.finish(), may_have_arrived};
        break;
      case Connection::Read::kEnd: return {parser.finish(), may_have_arrived};
      case Connection::Read::kReset:
        return {
            Error{ErrorCode::kSystemError, parser.bytes() == 0 ? "reset the connection before it answered"
                                                               : "reset the connection in the middle of its answer"},
            may_have_arrived};
      case Connection::Read::kTimeout:
        return {Error{ErrorCode::kTimeout, (parser.bytes() == 0 ? "took the connection, but gave no answer within "
                                                                : "did not finish its answer within ") +
                                               to_text(limits.total_timeout)},
                may_have_arrived};
    }
  }
}

}  // namespace rayx::http
