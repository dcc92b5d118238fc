// Strangers at the port, and members that misbehave: a raw socket on one side.
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <random>

#include "base/unique_fd.hpp"
#include "kit/seed.hpp"
#include "wire/handshake.hpp"
#include "wire_kit.hpp"

namespace rayx::wire {
namespace {

using test::Bytes;
using test::Client;
using test::Server;
using testing::HasSubstr;

class Raw {
 public:
  explicit Raw(const Endpoint& to) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const Address address = *Address::from_numbers(to.host, to.port);
    EXPECT_EQ(::connect(fd_.get(), address.get(), address.bytes()), 0) << std::strerror(errno);
  }
  bool send(std::span<const std::byte> bytes) {
    return ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  bool send(std::string_view text) { return send(bytes_of(text)); }
  // Exactly that many bytes, or fewer if the other side ends.
  Bytes read(std::size_t bytes) {
    Bytes result(bytes);
    std::size_t done = 0;
    while (done < bytes) {
      pollfd wait{fd_.get(), POLLIN, 0};
      if (::poll(&wait, 1, 20'000) != 1) break;
      const ssize_t n = ::recv(fd_.get(), result.data() + done, bytes - done, 0);
      if (n <= 0) break;
      done += static_cast<std::size_t>(n);
    }
    result.resize(done);
    return result;
  }
  // The other side has ended; what it said before.
  Bytes read_to_the_end() { return read(1 << 20); }
  void stop_writing() { ::shutdown(fd_.get(), SHUT_WR); }

 private:
  base::UniqueFd fd_;
};

// A client that has done everything right up to the hello.
Raw member(const Server& server, const Token& token) {
  Raw raw(server.endpoint);
  Handshake handshake(Role::kClient, token, false);
  EXPECT_TRUE(raw.send(handshake.take_output()));
  handshake.take(raw.read(kOpeningBytes));
  EXPECT_TRUE(raw.send(handshake.take_output()));
  handshake.take(raw.read(kProofBytes));
  EXPECT_EQ(handshake.state(), Handshake::State::kDone) << handshake.error().message;
  return raw;
}

TEST(Stranger, IsSentAwayWithoutAByteAndTheOwnerLearnsWhoItMayBe) {
  for (const auto& [said, words] : {std::pair("GET / HTTP/1.1\r\n\r\n", "HTTP"),
                                    {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"},
                                    {"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH-2.0"}}) {
    Server server(test::with(Token::make_random()));
    Raw raw(server.endpoint);
    EXPECT_TRUE(raw.send(said));
    EXPECT_EQ(raw.read_to_the_end().size(), 0u);
    EXPECT_THAT(server.wait_refusal(), HasSubstr(words));
  }
}

TEST(Stranger, ThatSaysNothingOrHalfOrDripsIsGoneAtTheTimeout) {
  const Token token = Token::make_random();
  Server server(test::with(token), {.handshake_timeout = std::chrono::milliseconds(300)});
  Raw silent(server.endpoint);
  Raw half(server.endpoint);
  EXPECT_TRUE(half.send("rayxwire\1"));
  Raw dripping(server.endpoint);
  const Opening opening;
  const auto bytes = encode_opening(opening);
  for (std::size_t i = 0; i < 20; ++i) {
    if (!dripping.send(std::span(bytes).subspan(i, 1))) break;
  }
  for (Raw* raw : {&silent, &half, &dripping}) EXPECT_EQ(raw->read_to_the_end().size(), 0u);
  EXPECT_THAT(server.wait_refusal(), HasSubstr("did not finish the handshake within 300 ms"));
  EXPECT_EQ(server.thread.call([&] { return server.listener->unfinished_handshakes(); }), 0u);
  Client client;
  EXPECT_EQ(client.connect(server.endpoint, test::with(token)), "");
}

TEST(Stranger, ThatStopsInTheMiddleIsForgotten) {
  Server server(test::with(Token::make_random()));
  Raw raw(server.endpoint);
  EXPECT_TRUE(raw.send("rayxwi"));
  raw.stop_writing();
  EXPECT_EQ(raw.read_to_the_end().size(), 0u);
  EXPECT_THAT(server.wait_refusal(), HasSubstr("ended the connection during the handshake"));
}

TEST(Stranger, OfAnotherVersionReadsBothVersions) {
  Server server(test::with(Token::make_random()));
  Raw raw(server.endpoint);
  EXPECT_TRUE(raw.send(encode_opening({.version = 77, .oldest_version = 70})));
  const Result<Opening> answer = decode_opening(raw.read_to_the_end());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->refusal, Refusal::kVersion);
  EXPECT_EQ(answer->version, kProtocolVersion);
  EXPECT_THAT(server.wait_refusal(), HasSubstr("versions 70 to 77"));
}

TEST(Stranger, RandomGarbageNeverGetsIn) {
  std::mt19937_64 random(kit::seed());
  const Token token = Token::make_random();
  Server server(test::with(token), {.handshake_timeout = std::chrono::milliseconds(500)});
  for (int i = 0; i < 60; ++i) {
    Raw raw(server.endpoint);
    Bytes bytes(1 + random() % 300);
    for (std::byte& byte : bytes) byte = std::byte(random() & 0xff);
    if (i % 2 == 0) {
      const auto opening = encode_opening({});
      bytes.insert(bytes.begin(), opening.begin(), opening.end());
    }
    raw.send(bytes);
    raw.stop_writing();
    raw.read_to_the_end();
  }
  EXPECT_EQ(server.links.get(), 0);
  Client client;
  EXPECT_EQ(client.connect(server.endpoint, test::with(token)), "");
}

TEST(Stranger, CrowdsCostTheOldestItsPlaceAndMembersStillGetIn) {
  const Token token = Token::make_random();
  Server server(test::with(token), {.handshakes_max = 8, .handshakes_per_second = 10'000, .handshake_burst = 1000});
  std::vector<std::unique_ptr<Raw>> crowd;
  for (int i = 0; i < 40; ++i) crowd.push_back(std::make_unique<Raw>(server.endpoint));
  Client client;
  EXPECT_EQ(client.connect(server.endpoint, test::with(token)), "");
  EXPECT_EQ(crowd[0]->read_to_the_end().size(), 0u);
  EXPECT_LE(server.thread.call([&] { return server.listener->unfinished_handshakes(); }), 8u);
  EXPECT_THAT(server.wait_refusal(), HasSubstr("have not finished their handshake"));
  EXPECT_EQ(server.refused.get().size(), 1u) << "one report for all of them";
}

TEST(Stranger, AFloodIsTakenAtTheRateThatIsSet) {
  const Token token = Token::make_random();
  Server server(test::with(token), {.handshakes_per_second = 50, .handshake_burst = 5});
  const base::SteadyClock clock;
  const base::TimeNs begin = clock.now_ns();
  for (int i = 0; i < 20; ++i) {
    Raw raw(server.endpoint);
    raw.send("garbage!");
    raw.read_to_the_end();
  }
  EXPECT_GE(clock.now_ns() - begin, 250'000'000);  // 15 beyond the burst, 20 ms each
  Client client;
  EXPECT_EQ(client.connect(server.endpoint, test::with(token)), "");
}

TEST(Member, ThatBreaksTheRulesIsClosedWithTheReason) {
  struct Case {
    Bytes bytes;
    const char* words;
  };
  const auto raw_bytes = [](std::initializer_list<unsigned> values) {
    Bytes bytes;
    for (const unsigned value : values) bytes.push_back(std::byte(value));
    return bytes;
  };
  const Case cases[] = {
      {raw_bytes({0xa2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}), "4294967295 bytes and may have 1048576"},
      {raw_bytes({0xff, 0, 0, 0, 0, 0, 0, 0}), "unknown kind 0xff"},
      {raw_bytes({0xa3, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f}), "and may have 1048576"},
  };
  for (const Case& one : cases) {
    const Token token = Token::make_random();
    Server server(test::with(token));
    Raw raw = member(server, token);
    EXPECT_TRUE(raw.send(raw_bytes({0xa1, 0, 0, 0, 0, 0, 0, 0})));
    ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
    EXPECT_EQ(raw.read(8), raw_bytes({0xa1, 0, 0, 0, 0, 0, 0, 0}));
    EXPECT_TRUE(raw.send(one.bytes));
    ASSERT_TRUE(server.handler.wait_closed());
    EXPECT_EQ(server.handler.reason().kind, CloseKind::kBroken);
    EXPECT_THAT(server.handler.reason().message, HasSubstr(one.words));
    // It is told why.
    const Bytes rest = raw.read_to_the_end();
    ASSERT_GT(rest.size(), 8u);
    EXPECT_THAT(test::to_text(std::span(rest).subspan(8)), HasSubstr(one.words));
  }
}

TEST(Member, ThatEndsInTheMiddleOfAFrameIsSaidSo) {
  const Token token = Token::make_random();
  Server server(test::with(token));
  Raw raw = member(server, token);
  const Bytes hello = {std::byte{0xa1}, {}, {}, {}, {}, {}, {}, {}};
  EXPECT_TRUE(raw.send(hello));
  EXPECT_TRUE(raw.send(std::span(hello).subspan(0, 0)));
  ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
  const Bytes half = {std::byte{0xa2}, {}, {}};
  EXPECT_TRUE(raw.send(half));
  raw.stop_writing();
  ASSERT_TRUE(server.handler.wait_closed());
  EXPECT_EQ(server.handler.reason().kind, CloseKind::kLost);
  EXPECT_THAT(server.handler.reason().message, HasSubstr("in the middle of a frame"));
}

TEST(Member, ThatPingsWithoutEndAndDoesNotReadTakesNoMemory) {
  const Token token = Token::make_random();
  Server server(test::with(token));
  Raw raw = member(server, token);
  const Bytes hello = {std::byte{0xa1}, {}, {}, {}, {}, {}, {}, {}};
  EXPECT_TRUE(raw.send(hello));
  ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
  Bytes pings;
  for (int i = 0; i < 100'000; ++i) {
    pings.push_back(std::byte{0xa4});
    pings.insert(pings.end(), 7, std::byte{0});
  }
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(raw.send(pings));
  EXPECT_LT(server.thread.call([&] { return server.link->queued_bytes(); }), 1'000'000u);
}

TEST(Server, ThatIsNoRayxIsSaidSo) {
  const base::UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const Address any = *Address::from_numbers("127.0.0.1", 0);
  ASSERT_EQ(::bind(listener.get(), any.get(), any.bytes()), 0);
  ASSERT_EQ(::listen(listener.get(), 4), 0);
  std::jthread http([&] {
    const base::UniqueFd taken(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    char request[kOpeningBytes];
    EXPECT_GT(::recv(taken.get(), request, sizeof(request), 0), 0);
    constexpr std::string_view kAnswer = "HTTP/1.1 400 Bad Request\r\n\r\n";
    EXPECT_GT(::send(taken.get(), kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL), 0);
    EXPECT_EQ(::recv(taken.get(), request, sizeof(request), 0), 0);
  });
  Client client;
  const std::string error =
      client.connect(Address::local_of(listener.get()).endpoint(), test::with(Token::make_random()));
  EXPECT_THAT(error, HasSubstr("the peer is no rayx"));
  EXPECT_THAT(error, HasSubstr("HTTP"));
}

}  // namespace
}  // namespace rayx::wire
