#include "http/request_parser.hpp"

#include <algorithm>
#include <utility>

namespace rayx::http {
namespace {

constexpr int kGoOn = 0;
constexpr int kStop = -1;  // 1 and 2 mean something else behind a header

}  // namespace

// What http_parser calls, with the RequestParser behind `data`.
struct RequestParser::Callbacks {
  static RequestParser& self(http_parser* parser) { return *static_cast<RequestParser*>(parser->data); }

  static int on_target(http_parser* parser, const char* text, std::size_t bytes) {
    self(parser).request_.path.append(text, bytes);
    return kGoOn;
  }
  static int on_name(http_parser* parser, const char* text, std::size_t bytes) {
    RequestParser& me = self(parser);
    if (std::exchange(me.is_in_value_, false)) me.keep_header();
    me.name_.append(text, bytes);
    return kGoOn;
  }
  static int on_value(http_parser* parser, const char* text, std::size_t bytes) {
    RequestParser& me = self(parser);
    me.is_in_value_ = true;
    me.value_.append(text, bytes);
    return kGoOn;
  }
  static int on_header_end(http_parser* parser) {
    RequestParser& me = self(parser);
    if (std::exchange(me.is_in_value_, false)) me.keep_header();
    me.request_.method = ::http_method_str(static_cast<http_method>(parser->method));
    me.is_header_done_ = true;
    if (parser->content_length == ULLONG_MAX || parser->content_length <= me.body_bytes_max_) return kGoOn;
    me.refusal_ = 413;
    return kStop;
  }
  static int on_body(http_parser* parser, const char* text, std::size_t bytes) {
    RequestParser& me = self(parser);
    if (bytes > me.body_bytes_max_ - me.request_.body.size()) {
      me.refusal_ = 413;
      return kStop;
    }
    me.request_.body.append(text, bytes);
    return kGoOn;
  }
  static int on_end(http_parser* parser) {
    self(parser).state_ = State::kComplete;
    ::http_parser_pause(parser, 1);  // one request for each connection
    return kGoOn;
  }

  static const http_parser_settings& settings() {
    static const http_parser_settings all = [] {
      http_parser_settings made;
      ::http_parser_settings_init(&made);
      made.on_url = &on_target;
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

RequestParser::RequestParser(const ServerConfig& config)
    : header_bytes_max_(config.head_bytes_max), body_bytes_max_(config.body_bytes_max) {
  ::http_parser_init(&parser_, HTTP_REQUEST);
  parser_.data = this;
}

void RequestParser::keep_header() {
  std::ranges::transform(name_, name_.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  request_.headers[name_] = value_;
  name_.clear();
  value_.clear();
}

RequestParser::State RequestParser::feed(std::string_view bytes) {
  if (bytes.empty()) return state_;  // for http_parser that would be the end
  if (!is_header_done_) header_bytes_ += bytes.size();
  ::http_parser_execute(&parser_, &Callbacks::settings(), bytes.data(), bytes.size());
  if (state_ == State::kComplete) return state_;
  if (HTTP_PARSER_ERRNO(&parser_) != HPE_OK || parser_.upgrade) state_ = State::kBroken;
  if (!is_header_done_ && header_bytes_ > header_bytes_max_) {
    refusal_ = 431;
    state_ = State::kBroken;
  }
  return state_;
}

}  // namespace rayx::http
