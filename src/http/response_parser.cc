#include "http/response_parser.hpp"

#include <strings.h>

#include <algorithm>
#include <utility>

#include "http/printable.hpp"

namespace rayx::http {
namespace {

constexpr std::size_t kBeginningBytes = 60;
constexpr int kGoOn = 0;
constexpr int kStop = 1;

}  // namespace

// What http_parser calls, with the ResponseParser behind `data`.
struct ResponseParser::Callbacks {
  static ResponseParser& self(http_parser* parser) { return *static_cast<ResponseParser*>(parser->data); }

  static int on_name(http_parser* parser, const char* text, std::size_t bytes) {
    ResponseParser& me = self(parser);
    if (std::exchange(me.is_in_value_, false)) me.keep_header();
    me.name_.append(text, bytes);
    return kGoOn;
  }
  static int on_value(http_parser* parser, const char* text, std::size_t bytes) {
    ResponseParser& me = self(parser);
    me.is_in_value_ = true;
    me.value_.append(text, bytes);
    return kGoOn;
  }
  static int on_header_end(http_parser* parser) {
    ResponseParser& me = self(parser);
    me.is_in_value_ = false;
    me.keep_header();
    me.response_.status = static_cast<int>(parser->status_code);
    me.state_ = State::kBody;
    return kGoOn;
  }
  static int on_body(http_parser* parser, const char* text, std::size_t bytes) {
    ResponseParser& me = self(parser);
    if (bytes > me.body_bytes_max_ - me.response_.body.size()) {
      me.why_ = "sent an answer of more than " + std::to_string(me.body_bytes_max_) + " bytes";
      return kStop;
    }
    me.response_.body.append(text, bytes);
    return kGoOn;
  }
  static int on_end(http_parser* parser) {
    ResponseParser& me = self(parser);
    // "100 Continue" and its like: the answer itself follows.
    if (me.response_.status < 200 && me.response_.status != 101) {
      me.response_ = {};
      me.state_ = State::kHeader;
      return kGoOn;
    }
    me.state_ = State::kComplete;
    ::http_parser_pause(parser, 1);  // what follows is nothing that we asked for
    return kGoOn;
  }

  static const http_parser_settings& settings() {
    static const http_parser_settings all = [] {
      http_parser_settings made;
      ::http_parser_settings_init(&made);
      made.on_header_field = &on_name;
      made.on_header_value = &on_value;
      made.on_headers_complete = &on_header_end;
      made.on_body = &on_body;
      made.on_message_complete = &on_end;
      return made;
    }();
    return all;
  }
};

ResponseParser::ResponseParser(const Limits& limits)
    : header_bytes_max_(limits.header_bytes_max), body_bytes_max_(limits.body_bytes_max) {
  ::http_parser_init(&parser_, HTTP_RESPONSE);
  parser_.data = this;
}

void ResponseParser::keep_header() {
  if (::strcasecmp(name_.c_str(), "content-type") == 0) response_.content_type = value_;
  if (::strcasecmp(name_.c_str(), "location") == 0) response_.location = value_;
  name_.clear();
  value_.clear();
}

bool ResponseParser::feed(std::string_view bytes) {
  if (bytes.empty()) return true;  // for http_parser that would be the end
  bytes_ += bytes.size();
  beginning_.append(bytes.substr(0, kBeginningBytes - std::min(kBeginningBytes, beginning_.size())));
  ::http_parser_execute(&parser_, &Callbacks::settings(), bytes.data(), bytes.size());
  if (state_ == State::kComplete) return false;
  if (HTTP_PARSER_ERRNO(&parser_) != HPE_OK || parser_.upgrade) {
    state_ = State::kBroken;
    return false;
  }
  if (state_ == State::kHeader && bytes_ > header_bytes_max_) {
    why_ = "sent a header of more than " + std::to_string(header_bytes_max_) + " bytes";
    state_ = State::kBroken;
    return false;
  }
  return true;
}

Error ResponseParser::broken() const {
  if (!why_.empty()) return {ErrorCode::kMalformed, why_};
  return {ErrorCode::kMalformed, std::string("answered with something that is no HTTP (") +
                                     ::http_errno_description(HTTP_PARSER_ERRNO(&parser_)) + "): \"" +
                                     printable(beginning_, kBeginningBytes) + "\""};
}

Result<Response> ResponseParser::finish() {
  // An answer without a length ends where the connection does.
  if (state_ == State::kBody) ::http_parser_execute(&parser_, &Callbacks::settings(), nullptr, 0);
  if (state_ == State::kComplete) return std::move(response_);
  if (state_ == State::kBroken) return broken();
  if (bytes_ == 0) return Error{ErrorCode::kSystemError, "closed the connection without an answer"};
  if (state_ == State::kHeader && !beginning_.starts_with("HTTP/")) {
    return Error{ErrorCode::kMalformed,
                 "answered with something that is no HTTP: \"" + printable(beginning_, kBeginningBytes) + "\""};
  }
  return Error{ErrorCode::kSystemError,
               "closed the connection in the middle of its answer, after " + std::to_string(bytes_) + " bytes"};
}

}  // namespace rayx::http
