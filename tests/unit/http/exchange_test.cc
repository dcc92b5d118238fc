// Exchanges with a server on loopback that behaves well, badly, or not at all.
#include "http/exchange.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "base/deadline.hpp"
#include "http/connection.hpp"
#include "kit/eventually.hpp"
#include "kit/http_server.hpp"
#include "kit/network_address.hpp"
#include "kit/raw_socket.hpp"

namespace rayx::http {
namespace {

using kit::HttpServer;
using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using Then = HttpServer::Answer::Then;

// Far from each other, so that a slow machine changes no verdict.
constexpr milliseconds kShort{200};
constexpr base::TimeNs kLongNs = 20'000'000'000;

Outcome get(const HttpServer& server, const Limits& limits = {}) {
  return exchange("127.0.0.1", server.port(), {.target = "/status"}, limits);
}

// The error of an exchange that fails, which must not take long.
Error failure(const Outcome& outcome) {
  EXPECT_FALSE(outcome.response);
  return outcome.response ? Error{} : outcome.response.error();
}

class Stopwatch {
 public:
  bool is_short() const { return base::SteadyClock().now_ns() - begin_ns_ < kLongNs; }

 private:
  base::TimeNs begin_ns_ = base::SteadyClock().now_ns();
};

TEST(HttpExchange, GivesTheAnswerInWhicheverWayItsLengthIsTold) {
  for (const char* const rest : {"Content-Length: 5\r\n\r\nhello", "\r\nhello",
                                 "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=1\r\nllo\r\n0\r\n\r\n"}) {
    const HttpServer server([&](const auto&) {
      return HttpServer::Answer{std::string("HTTP/1.1 201 Created\r\ncontent-TYPE: text/plain; charset=utf-8\r\n") +
                                rest};
    });
    const Outcome outcome = get(server);
    ASSERT_TRUE(outcome.response) << rest << outcome.response.error().message;
    EXPECT_EQ(outcome.response->status, 201);
    EXPECT_EQ(outcome.response->content_type, "text/plain; charset=utf-8");
    EXPECT_EQ(outcome.response->body, "hello");
  }
}

TEST(HttpExchange, SendsOneCompleteRequest) {
  const HttpServer server([](const auto&) { return HttpServer::ok("{}"); });
  const Request request{.method = "POST",
                        .target = "/create?x=1",
                        .headers = {{"Content-Type", "application/json"}},
                        .body = "{\"a\":1}"};
  ASSERT_TRUE(exchange("127.0.0.1", server.port(), request, {}).response);
  ASSERT_EQ(server.requests().size(), 1u);
  const HttpServer::Request seen = server.requests().front();
  EXPECT_THAT(seen.head, StartsWith("POST /create?x=1 HTTP/1.1\r\n"));
  EXPECT_EQ(seen.header("host"), server.address());
  EXPECT_EQ(seen.header("connection"), "close");
  EXPECT_EQ(seen.header("content-type"), "application/json");
  EXPECT_EQ(seen.body, request.body);
}

TEST(HttpExchange, WaitsForTheAnswerBehindAnInterimOne) {
  const HttpServer server(
      [](const auto&) { return HttpServer::Answer{"HTTP/1.1 100 Continue\r\n\r\n" + HttpServer::ok("later").bytes}; });
  const Outcome outcome = get(server);
  ASSERT_TRUE(outcome.response) << outcome.response.error().message;
  EXPECT_EQ(outcome.response->status, 200);
  EXPECT_EQ(outcome.response->body, "later");
}

TEST(HttpExchange, NamesWhereARedirectionLeadsAndDoesNotFollow) {
  const HttpServer server([](const auto&) {
    return HttpServer::Answer{"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"};
  });
  const Outcome outcome = get(server);
  ASSERT_TRUE(outcome.response);
  EXPECT_EQ(outcome.response->status, 302);
  EXPECT_EQ(outcome.response->location, "/login");
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST(HttpExchange, EndsAtTheTotalTimeoutWhateverTheServerDoes) {
  const std::string header = "HTTP/1.1 200 OK\r\n";
  for (const HttpServer::Answer& answer : {HttpServer::Answer{"", Then::kSilence},
                                           {header, Then::kSilence},
                                           {header + "X: a", Then::kDrip},
                                           {header + "Content-Length: 1000000\r\n\r\nb", Then::kDrip},
                                           {header + "\r\nb", Then::kDrip}}) {
    const HttpServer server([&](const auto&) { return answer; });
    const Stopwatch stopwatch;
    const Outcome outcome = get(server, {.total_timeout = kShort});
    const Error error = failure(outcome);
    EXPECT_EQ(error.code, ErrorCode::kTimeout) << answer.bytes;
    EXPECT_THAT(error.message, HasSubstr("within 200 ms"));
    EXPECT_TRUE(outcome.may_have_arrived);
    EXPECT_TRUE(stopwatch.is_short());
  }
}

TEST(HttpExchange, EndsAtTheConnectTimeoutWhereConnectionsAreNotTaken) {
  std::string address;
  const base::UniqueFd listener = kit::listen_on("127.0.0.1", 0, address);
  const sockaddr_in to = kit::to_sockaddr(address);
  // Fills the listener's queue: the kernel answers no further connection.
  std::vector<base::UniqueFd> waiting;
  for (int i = 0; i < 8; ++i) {
    base::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to));
    waiting.push_back(std::move(fd));
  }
  const Stopwatch stopwatch;
  const Outcome outcome = exchange("127.0.0.1", ntohs(to.sin_port), {}, {.connect_timeout = kShort});
  const Error error = failure(outcome);
  EXPECT_EQ(error.code, ErrorCode::kTimeout);
  EXPECT_EQ(error.message, "took no connection within 200 ms");
  EXPECT_FALSE(outcome.may_have_arrived);
  EXPECT_TRUE(stopwatch.is_short());
}

TEST(HttpExchange, SaysThatNobodyListens) {
  std::string address;
  kit::listen_on("127.0.0.1", 1, address).reset();
  const Outcome outcome = exchange("127.0.0.1", ntohs(kit::to_sockaddr(address).sin_port), {}, {});
  EXPECT_EQ(failure(outcome).message, "refused the connection");
  EXPECT_FALSE(outcome.may_have_arrived);
}

TEST(HttpExchange, SaysThatANameIsUnknown) {
  const Outcome outcome = exchange("no-such-host.invalid", 80, {}, {});
  EXPECT_THAT(failure(outcome).message, HasSubstr("was not found"));
  EXPECT_FALSE(outcome.may_have_arrived);
}

TEST(HttpExchange, FindsAHostByItsName) {
  const HttpServer server([](const auto&) { return HttpServer::ok("here"); });
  const Outcome outcome = exchange("localhost", server.port(), {}, {});
  ASSERT_TRUE(outcome.response) << outcome.response.error().message;
  EXPECT_EQ(outcome.response->body, "here");
}

TEST(HttpExchange, SaysHowTheConnectionEnded) {
  const auto end = [](std::string bytes, Then then) {
    const HttpServer server([&](const auto&) { return HttpServer::Answer{bytes, then}; });
    const Outcome outcome = get(server);
    EXPECT_TRUE(outcome.may_have_arrived);
    return failure(outcome).message;
  };
  EXPECT_EQ(end("", Then::kClose), "closed the connection without an answer");
  EXPECT_EQ(end("", Then::kReset), "reset the connection before it answered");
  EXPECT_THAT(end("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", Then::kClose),
              HasSubstr("in the middle of its answer"));
  EXPECT_THAT(end("HTTP/1.1 200 OK\r\nConte", Then::kClose), HasSubstr("in the middle of its answer"));
  EXPECT_THAT(end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", Then::kClose),
              HasSubstr("in the middle of its answer"));
}

TEST(HttpExchange, ShowsWhatIsNoHttp) {
  const auto said = [](std::string bytes) {
    const HttpServer server([&](const auto&) { return HttpServer::Answer{bytes}; });
    const Error error = failure(get(server));
    EXPECT_EQ(error.code, ErrorCode::kMalformed);
    return error.message;
  };
  EXPECT_THAT(said("SSH-2.0-OpenSSH_9.2p1\r\n"), AllOf(HasSubstr("no HTTP"), HasSubstr("SSH-2.0-OpenSSH_9.2p1")));
  EXPECT_THAT(said("\x15\x03\x01\x02\x02\x02\x02"), HasSubstr("no HTTP"));
}

TEST(HttpExchange, RefusesAnAnswerWithoutMeasure) {
  const auto said = [](HttpServer::Answer answer) {
    const HttpServer server([&](const auto&) { return answer; });
    return failure(get(server, {.header_bytes_max = 4096, .body_bytes_max = 1000})).message;
  };
  EXPECT_EQ(said({"HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x')}), "sent a header of more than 4096 bytes");
  EXPECT_EQ(said({"HTTP/1.1 200 OK\r\n\r\ny", Then::kDrip}), "sent an answer of more than 1000 bytes");
  EXPECT_EQ(said(HttpServer::ok(std::string(1001, 'y'))), "sent an answer of more than 1000 bytes");
  EXPECT_TRUE(
      get(HttpServer([](const auto&) { return HttpServer::ok(std::string(1000, 'y')); }), {.body_bytes_max = 1000})
          .response);
}

// The kernel's signal for this would end the user's program.
TEST(HttpConnection, RaisesNoSignalWhenItWritesToOneThatHasEnded) {
  kit::RawListener listener;
  Result<Connection> connection =
      Connection::open("127.0.0.1", ntohs(kit::to_sockaddr(listener.address()).sin_port), milliseconds(5'000));
  ASSERT_TRUE(connection) << connection.error().message;
  { kit::RawSocket taken = listener.accept(); }
  const base::Deadline deadline(milliseconds(5'000));
  EXPECT_TRUE(kit::eventually([&] { return connection->send("x", deadline) == 0; }));
}

TEST(HttpExchange, KnowsThatTheServerDidNotTakeTheWholeRequest) {
  kit::RawListener listener;
  Outcome outcome{Error{}};
  std::thread client([&] {
    const Request request{.method = "POST", .body = std::string(64 << 20, 'b')};
    outcome = exchange("127.0.0.1", ntohs(kit::to_sockaddr(listener.address()).sin_port), request, {});
  });
  { kit::RawSocket taken = listener.accept(); }
  client.join();
  EXPECT_FALSE(outcome.response);
  EXPECT_FALSE(outcome.may_have_arrived);
}

// 403 or 413 before the body was read: the answer is worth more than the failed write.
TEST(HttpExchange, ReadsWhatAServerSaidBeforeItStoppedReading) {
  kit::RawListener listener;
  Outcome outcome{Error{}};
  std::thread client([&] {
    const Request request{.method = "POST", .body = std::string(64 << 20, 'b')};
    outcome = exchange("127.0.0.1", ntohs(kit::to_sockaddr(listener.address()).sin_port), request, {});
  });
  kit::RawSocket taken = listener.accept();
  EXPECT_TRUE(taken.send(HttpServer::ok("too much", "text/plain", 413).bytes));
  client.join();
  ASSERT_TRUE(outcome.response) << outcome.response.error().message;
  EXPECT_EQ(outcome.response->status, 413);
}

}  // namespace
}  // namespace rayx::http
