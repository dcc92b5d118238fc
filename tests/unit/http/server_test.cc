// The server against clients of every kind: quick, slow, silent, wrong, many.
#include "http/server.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "http/exchange.hpp"
#include "kit/eventually.hpp"
#include "kit/raw_socket.hpp"
#include "kit/seed.hpp"

namespace rayx::http {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class HttpServer : public testing::Test {
 protected:
  void serve(ServerConfig config = {}) {
    Result<std::unique_ptr<Server>> started =
        Server::start(std::move(config), [this](const ServerRequest& request) { return respond(request); });
    ASSERT_TRUE(started) << started.error().message;
    server_ = std::move(*started);
  }

  ServerResponse respond(const ServerRequest& request) {
    ++served_;
    if (request.path == "/file") return {.file = base::UniqueFd(::dup(file_.get())), .file_bytes = file_bytes_};
    const auto word = request.headers.find("x-word");
    return {.body = request.method + ' ' + request.path + ' ' + (word == request.headers.end() ? "" : word->second) +
                    ' ' + request.body};
  }

  std::string address() const { return "127.0.0.1:" + std::to_string(server_->port()); }
  Outcome ask(const Request& request) const { return exchange("127.0.0.1", server_->port(), request, Limits{}); }
  static std::string text_of(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::string raw(std::string_view bytes) const {
    kit::RawSocket socket(address());
    socket.send(bytes);
    socket.stop_writing();
    return text_of(socket.read_to_the_end());
  }
  // The server still does its work.
  void expect_well() const {
    const Outcome outcome = ask({.target = "/well"});
    ASSERT_TRUE(outcome.response) << outcome.response.error().message;
    EXPECT_EQ(outcome.response->body, "GET /well  ");
  }

  base::UniqueFd file_;
  std::uint64_t file_bytes_ = 0;
  std::atomic<int> served_{0};
  std::unique_ptr<Server> server_;
};

TEST_F(HttpServer, HandsTheRequestToTheHandlerAndItsAnswerToTheClient) {
  serve();
  const Outcome outcome =
      ask({.method = "POST", .target = "/a?b=c", .headers = {{"X-Word", "hello"}}, .body = "the body"});
  ASSERT_TRUE(outcome.response) << outcome.response.error().message;
  EXPECT_EQ(outcome.response->status, 200);
  EXPECT_EQ(outcome.response->body, "POST /a?b=c hello the body");
}

TEST_F(HttpServer, SendsAFileWholeToManyAtOnce) {
  file_ = base::UniqueFd(::memfd_create("content", MFD_CLOEXEC));
  std::string content(3 << 20, 'x');
  for (std::size_t i = 0; i < content.size(); i += 4'096) content[i] = static_cast<char>('a' + i / 4'096 % 26);
  file_bytes_ = content.size();
  ASSERT_EQ(::write(file_.get(), content.data(), content.size()), static_cast<ssize_t>(content.size()));
  serve();
  std::vector<std::thread> clients;
  std::atomic<int> right{0};
  for (int i = 0; i < 16; ++i)
    clients.emplace_back([&] {
      const Outcome outcome = ask({.target = "/file"});
      right += outcome.response && outcome.response->body == content;
    });
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right, 16);
}

TEST_F(HttpServer, AFileThatWasCutSinceIsNoWholeAnswer) {
  file_ = base::UniqueFd(::memfd_create("content", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(file_.get(), 1'000), 0);
  file_bytes_ = 2'000;
  serve();
  const Outcome outcome = ask({.target = "/file"});
  ASSERT_FALSE(outcome.response);
  EXPECT_THAT(outcome.response.error().message, HasSubstr("in the middle of its answer"));
  expect_well();
}

TEST_F(HttpServer, RefusesWhatIsTooLargeAndSaysSo) {
  serve({.head_bytes_max = 1'000, .body_bytes_max = 1'000});
  EXPECT_THAT(raw("GET / HTTP/1.1\r\nX-Long: " + std::string(20'000, 'x')), StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(raw("POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n"), StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(
      raw("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + std::string(1'001, 'x') + "\r\n0\r\n\r\n"),
      StartsWith("HTTP/1.1 413 "));
  EXPECT_EQ(served_, 0);
  expect_well();
}

TEST_F(HttpServer, AClientThatSaysNothingIsSentAwayWhileOthersAreServed) {
  serve({.request_timeout = std::chrono::milliseconds(200)});
  kit::RawSocket silent(address());
  kit::RawSocket half(address());
  half.send("GET / HT");
  expect_well();
  EXPECT_THAT(text_of(silent.read_to_the_end()), StartsWith("HTTP/1.1 408 "));
  EXPECT_THAT(text_of(half.read_to_the_end()), StartsWith("HTTP/1.1 408 "));
}

TEST_F(HttpServer, AClientThatTakesNothingIsLeft) {
  file_ = base::UniqueFd(::memfd_create("content", MFD_CLOEXEC));
  file_bytes_ = 256 << 20;
  ASSERT_EQ(::ftruncate(file_.get(), static_cast<off_t>(file_bytes_)), 0);
  serve({.send_timeout = std::chrono::milliseconds(200)});
  kit::RawSocket lazy(address());
  lazy.send("GET /file HTTP/1.1\r\n\r\n");
  expect_well();
  // The server has ended the connection: what the kernel holds can be read, and then comes the end, long before the file's.
  EXPECT_TRUE(kit::eventually([&] { return !lazy.send("x"); }));
}

TEST_F(HttpServer, MoreSilentClientsThanConnectionsDoNotKeepOthersOut) {
  serve({.connections_max = 8, .request_timeout = std::chrono::seconds(60)});
  std::vector<kit::RawSocket> silent;
  for (int i = 0; i < 40; ++i) silent.emplace_back(address());
  expect_well();
}

TEST_F(HttpServer, AnyBytesAreAnsweredOrRefused) {
  serve();
  std::mt19937_64 random(kit::seed());
  const std::string whole = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
  for (int i = 0; i < 300; ++i) {
    std::string bytes = whole;
    if (i % 2 == 0) {
      bytes.resize(random() % 300);
      for (char& c : bytes) c = static_cast<char>(random());
    } else {
      bytes[random() % bytes.size()] = static_cast<char>(random());
      bytes.resize(random() % (bytes.size() + 1));
    }
    const std::string answer = raw(bytes);
    EXPECT_TRUE(answer.empty() || answer.starts_with("HTTP/1.1 ")) << answer;
  }
  expect_well();
}

TEST_F(HttpServer, NamesAnAddressThatItCannotHave) {
  serve();
  const auto respond = [](const ServerRequest&) { return ServerResponse{}; };
  const Result<std::unique_ptr<Server>> taken = Server::start({.port = server_->port()}, respond);
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().message, HasSubstr("port " + std::to_string(server_->port())));
  const Result<std::unique_ptr<Server>> name = Server::start({.address = "a-name"}, respond);
  ASSERT_FALSE(name);
  EXPECT_THAT(name.error().message, HasSubstr("no address in numbers"));
}

TEST_F(HttpServer, EndsWithClientsInEveryState) {
  serve();
  kit::RawSocket silent(address());
  kit::RawSocket half(address());
  half.send("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab");
  expect_well();
  server_.reset();
  EXPECT_TRUE(silent.read_to_the_end().empty());
}

}  // namespace
}  // namespace rayx::http
