// One HTTP/1.1 request and its answer, within limits of time and size. For control, not for data: one connection for each exchange.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "rayx/result.hpp"

namespace rayx::http {

struct Request {
  std::string method = "GET";
  std::string target = "/";  // with its query, as it stands in the request's first line
  std::vector<std::pair<std::string, std::string>> headers = {};  // besides Host, Connection and Content-Length
  std::string body = {};
};

struct Response {
  int status = 0;            // 100 to 999. Redirections are the caller's to judge: none is followed
  std::string content_type;  // as it was sent; empty if it was not
  std::string location;      // of a redirection
  std::string body;
};

struct Limits {
  std::chrono::milliseconds connect_timeout{3'000};  // all addresses of the name together
  std::chrono::milliseconds total_timeout{20'000};   // from the call to its end, whatever the other side does
  std::size_t header_bytes_max = 64 << 10;
  std::size_t body_bytes_max = 16 << 20;
};

struct Outcome {
  // The error is what the server did, to stand behind its name: "refused the connection".
  Result<Response> response;
  // Only if there is no response: whether the whole request was handed to the network, so that the server may have acted on it.
  bool may_have_arrived = false;
};

// Waits in the calling thread; raises no signal and needs none. Any thread. No exception leaves it but std::bad_alloc.
// A name is looked up by a thread that is left alone when the time is over: the system's resolver cannot be stopped.
Outcome exchange(const std::string& host, std::uint16_t port, const Request& request, const Limits& limits);

// "3 s", "250 ms"
std::string to_text(std::chrono::milliseconds duration);

}  // namespace rayx::http
