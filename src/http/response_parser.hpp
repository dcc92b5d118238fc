// The bytes of an answer, as they come, to a Response. Knows no socket and no time.
#pragma once

#include <http_parser.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "http/exchange.hpp"

namespace rayx::http {

class ResponseParser {
 public:
  explicit ResponseParser(const Limits& limits);
  ResponseParser(const ResponseParser&) = delete;
  ResponseParser& operator=(const ResponseParser&) = delete;

  // False: no more bytes are wanted; the answer is complete, or broken. Not to be called again then.
  bool feed(std::string_view bytes);
  // The other side says no more. The answer, or what is wrong with it; once.
  Result<Response> finish();
  std::size_t bytes() const { return bytes_; }  // that were fed

 private:
  struct Callbacks;
  enum class State : unsigned char { kHeader, kBody, kComplete, kBroken };

  Error broken() const;
  void keep_header();

  const std::size_t header_bytes_max_;
  const std::size_t body_bytes_max_;
  http_parser parser_{};
  State state_ = State::kHeader;
  std::size_t bytes_ = 0;
  std::string beginning_;  // for messages about what is no HTTP
  std::string why_;        // of kBroken
  std::string name_;       // of the header line that is being read
  std::string value_;
  bool is_in_value_ = false;
  Response response_;
};

}  // namespace rayx::http
