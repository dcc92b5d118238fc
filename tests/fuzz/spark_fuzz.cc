// libFuzzer: any bytes as the answer of a server that should be Spark's, from the first line of HTTP to the fields.
//   meson compile -C <dir> spark_fuzz && <dir>/tests/fuzz/spark_fuzz -max_len=4096 -max_total_time=60
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "http/response_parser.hpp"
#include "spark/capacity.hpp"
#include "spark/refusal.hpp"
#include "spark/rest_answer.hpp"

namespace {

[[noreturn]] void stop(const char* what) {
  std::fprintf(stderr, "spark_fuzz: %s\n", what);
  std::abort();
}

void read(std::string_view body, std::string_view type) {
  if (const auto answer = rayx::spark::parse_answer(body, type)) {
    (void)rayx::spark::is_standby(*answer);
  } else if (answer.error().message.empty()) {
    stop("an answer is refused without a reason");
  }
  const auto capacity = rayx::spark::parse_capacity(body, type);
  if (capacity && (capacity->cores < 0 || capacity->memory_mib < 0)) stop("a sum has overflowed");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  // Without HTTP around it more of the bytes come to the JSON.
  if (bytes[0] % 2 == 0) {
    read(text, bytes[0] % 4 == 0 ? "application/json" : "");
    return 0;
  }
  rayx::http::ResponseParser parser({.header_bytes_max = 1024, .body_bytes_max = 1024});
  const std::size_t piece = 1 + bytes[0] / 2;
  for (std::size_t at = 0; at < text.size() && parser.feed(text.substr(at, piece)); at += piece) {
  }
  const rayx::Result<rayx::http::Response> response = parser.finish();
  if (!response) {
    if (response.error().message.empty()) stop("an answer is refused without a reason");
    return 0;
  }
  if (response->body.size() > 1024) stop("a body is larger than its limit");
  read(response->body, response->content_type);
  if (rayx::spark::describe_refusal(*response, false).message.empty()) stop("a refusal has no words");
  return 0;
}
