// The parser alone: bytes in any pieces, and any bytes.
#include "http/response_parser.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "http/printable.hpp"
#include "kit/http_server.hpp"
#include "kit/seed.hpp"

namespace rayx::http {
namespace {

// What a parser makes of the bytes, fed in pieces of at most so many.
Result<Response> parse(const std::string& bytes, std::mt19937_64& random, std::size_t piece_bytes_max) {
  ResponseParser parser(Limits{});
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::size_t piece = 1 + random() % piece_bytes_max;
    if (!parser.feed(std::string_view(bytes).substr(at, piece))) break;
    at += piece;
  }
  return parser.finish();
}

std::string an_answer(std::mt19937_64& random) {
  const std::string body = R"({"action":"CreateSubmissionResponse","success":true,"submissionId":"driver-1"})";
  switch (random() % 3) {
    case 0: return kit::HttpServer::ok(body).bytes;
    case 1: return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + body;
    default: {
      std::string text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
      for (std::size_t at = 0; at < body.size(); at += 7) {
        const std::string piece = body.substr(at, 7);
        text += std::to_string(piece.size()) + "\r\n" + piece + "\r\n";
      }
      return text + "0\r\n\r\n";
    }
  }
}

TEST(HttpResponseParser, GivesTheSameForBytesInAnyPieces) {
  std::mt19937_64 random(kit::seed());
  for (int round = 0; round < 2'000; ++round) {
    const std::string bytes = an_answer(random);
    const Result<Response> whole = parse(bytes, random, bytes.size());
    const Result<Response> pieces = parse(bytes, random, 1 + random() % 20);
    ASSERT_TRUE(whole) << bytes;
    ASSERT_TRUE(pieces) << bytes;
    EXPECT_EQ(whole->body, pieces->body);
    EXPECT_EQ(whole->content_type, pieces->content_type);
    EXPECT_EQ(whole->body.substr(0, 10), R"({"action":)");
  }
}

TEST(HttpResponseParser, SurvivesAnyBytesAndThenHasAnAnswerOrAReason) {
  std::mt19937_64 random(kit::seed());
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = an_answer(random);
    if (random() % 4 == 0) bytes.assign(random() % 200, '\0');
    const std::size_t changes = bytes.empty() ? 0 : 1 + random() % (random() % 4 == 0 ? bytes.size() : 4);
    for (std::size_t i = 0; i < changes; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    if (random() % 4 == 0) bytes.resize(random() % (bytes.size() + 1));
    const Result<Response> answer = parse(bytes, random, 1 + random() % 300);
    if (!answer) {
      EXPECT_FALSE(answer.error().message.empty());
    }
  }
}

TEST(HttpPrintable, MakesOneLineOfAnyBytes) {
  EXPECT_EQ(printable("  a\r\n\tb\x01 c\n", 40), "a b c");
  EXPECT_EQ(printable("na\xc3\xafve", 40), "na??ve");
  EXPECT_EQ(printable("abcdef", 3), "abc…");
  EXPECT_EQ(printable("", 3), "");
}

}  // namespace
}  // namespace rayx::http
