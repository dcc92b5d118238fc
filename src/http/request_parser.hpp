// The bytes of a request, as they come, to a ServerRequest. Knows no socket and no time.
#pragma once

#include <http_parser.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "http/server.hpp"

namespace rayx::http {

class RequestParser {
 public:
  enum class State : unsigned char { kMore, kComplete, kBroken };

  explicit RequestParser(const ServerConfig& config);
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  // Not to be called again when it has said something else than kMore.
  State feed(std::string_view bytes);
  // The request, of kComplete.
  ServerRequest& request() { return request_; }
  // What to answer, of kBroken.
  int refusal() const { return refusal_; }

 private:
  struct Callbacks;
  void keep_header();

  const std::size_t header_bytes_max_;
  const std::size_t body_bytes_max_;
  http_parser parser_{};
  State state_ = State::kMore;
  bool is_header_done_ = false;
  std::size_t header_bytes_ = 0;  // fed before its end
  int refusal_ = 400;
  std::string name_;
  std::string value_;
  bool is_in_value_ = false;
  ServerRequest request_;
};

}  // namespace rayx::http
