// Strangers at the port, and members that misbehave: a raw socket on one side.
#include <cstring>
#include <random>
#include <thread>

#include "kit/raw_socket.hpp"
#include "kit/seed.hpp"
#include "kit/wire_peer.hpp"
#include "wire/handshake.hpp"
#include "wire_kit.hpp"

namespace rayx::wire {
namespace {

using test::Bytes;
using test::Client;
using test::Server;
using testing::HasSubstr;

using kit::RawSocket;

RawSocket connect_to(const Server& server) { return RawSocket(server.endpoint.text()); }

TEST(Stranger, IsSentAwayWithoutAByteAndTheOwnerLearnsWhoItMayBe) {
  for (const auto& [said, words] : {std::pair("GET / HTTP/1.1\r\n\r\n", "HTTP"),
                                    {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"},
                                    {"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH-2.0"}}) {
    Server server(test::with(Token::make_random()));
    RawSocket raw = connect_to(server);
    EXPECT_TRUE(raw.send(said));
    EXPECT_EQ(raw.read_to_the_end().size(), 0u);
    EXPECT_THAT(server.wait_refusal(), HasSubstr(words));
  }
}

TEST(Stranger, ThatSaysNothingOrHalfOrDripsIsGoneAtTheTimeout) {
  const Token token = Token::make_random();
  Server server(test::with(token), {.handshake_timeout = std::chrono::milliseconds(300)});
  RawSocket silent = connect_to(server);
  RawSocket half = connect_to(server);
  EXPECT_TRUE(half.send("rayxwire\1"));
  RawSocket dripping = connect_to(server);
  const Opening opening;
  const auto bytes = encode_opening(opening);
  for (std::size_t i = 0; i < 20; ++i) {
    if (!dripping.send(std::span(bytes).subspan(i, 1))) break;
  }
  for (RawSocket* raw : {&silent, &half, &dripping}) EXPECT_EQ(raw->read_to_the_end().size(), 0u);
  EXPECT_THAT(server.wait_refusal(), HasSubstr("did not finish the handshake within 300 ms"));
  EXPECT_EQ(server.thread.call([&] { return server.listener->unfinished_handshakes(); }), 0u);
  Client client;
  EXPECT_EQ(client.connect(server.endpoint, test::with(token)), "");
}

TEST(Stranger, ThatStopsInTheMiddleIsForgotten) {
  Server server(test::with(Token::make_random()));
  RawSocket raw = connect_to(server);
  EXPECT_TRUE(raw.send("rayxwi"));
  raw.stop_writing();
  EXPECT_EQ(raw.read_to_the_end().size(), 0u);
  EXPECT_THAT(server.wait_refusal(), HasSubstr("ended the connection during the handshake"));
}

TEST(Stranger, OfAnotherVersionReadsBothVersions) {
  Server server(test::with(Token::make_random()));
  RawSocket raw = connect_to(server);
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
    RawSocket raw = connect_to(server);
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
  std::vector<RawSocket> crowd;
  for (int i = 0; i < 40; ++i) crowd.push_back(connect_to(server));
  Client client;
  EXPECT_EQ(client.connect(server.endpoint, test::with(token)), "");
  EXPECT_EQ(crowd[0].read_to_the_end().size(), 0u);
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
    RawSocket raw = connect_to(server);
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
    RawSocket raw = kit::become_member(server.endpoint.text(), token);
    EXPECT_TRUE(raw.send(kit::hello({})));
    ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
    EXPECT_EQ(raw.read(kit::hello({}).size()), kit::hello({}));
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

// It may say nothing of a session that it has not, or that does not fit what was sent.
TEST(Member, ThatLiesAboutItsSessionIsClosedWithTheReason) {
  const auto bytes_of_session = [](const SessionHello& session) {
    const auto bytes = encode_session_hello(session);
    return kit::frame(FrameKind::kHello, bytes);
  };
  const auto position = [](std::uint64_t value) {
    Bytes bytes(kPositionBytes);
    std::memcpy(bytes.data(), &value, sizeof(value));
    return bytes;
  };
  const Bytes first = bytes_of_session({.id = 7, .position = 0, .patience_ms = 100, .is_again = false});
  const Bytes again = bytes_of_session({.id = 7, .position = 0, .patience_ms = 100, .is_again = true});
  enum class Says : std::uint8_t { kListener, kPeer, kBoth };
  struct Case {
    Bytes hello;
    Bytes then;
    const char* words;
    Says who;
  };
  const Case cases[] = {
      {kit::frame(FrameKind::kHello, Bytes(kSessionHelloBytes - 1)), {}, "no hello of this version", Says::kListener},
      {kit::frame(FrameKind::kHello, Bytes(kSessionHelloBytes, std::byte{7})), {}, "no hello", Says::kListener},
      {again, {}, "is not known here", Says::kPeer},
      {first, kit::frame(FrameKind::kConfirm, position(1)), "has what was not sent", Says::kBoth},
      {first, kit::frame(FrameKind::kResumed, position(0)), "has what was not sent", Says::kBoth},
      {first, kit::frame(FrameKind::kConfirm, {}), "has what was not sent", Says::kBoth},
      {kit::hello({}), kit::frame(FrameKind::kConfirm, position(0)), "has what was not sent", Says::kBoth},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.words);
    const Token token = Token::make_random();
    Server server(test::with(token));
    RawSocket raw = kit::become_member(server.endpoint.text(), token);
    EXPECT_TRUE(raw.send(one.hello));
    EXPECT_TRUE(raw.send(one.then));
    const std::string told = test::to_text(raw.read_to_the_end());
    if (one.who == Says::kListener) {
      EXPECT_THAT(server.wait_refusal(), HasSubstr(one.words));
    } else {
      EXPECT_THAT(told, HasSubstr(one.words));
    }
    if (one.who != Says::kBoth) continue;
    ASSERT_TRUE(server.handler.wait_closed());
    EXPECT_EQ(server.handler.reason().kind, CloseKind::kBroken);
    EXPECT_THAT(server.handler.reason().message, HasSubstr(one.words));
  }
}

TEST(Member, ThatEndsInTheMiddleOfAFrameIsSaidSo) {
  const Token token = Token::make_random();
  Server server(test::with(token));
  RawSocket raw = kit::become_member(server.endpoint.text(), token);
  EXPECT_TRUE(raw.send(kit::hello({})));
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
  RawSocket raw = kit::become_member(server.endpoint.text(), token);
  EXPECT_TRUE(raw.send(kit::hello({})));
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
  kit::RawListener listener;
  std::jthread http([&] {
    RawSocket taken = listener.accept();
    EXPECT_EQ(taken.read(kOpeningBytes).size(), kOpeningBytes);
    EXPECT_TRUE(taken.send("HTTP/1.1 400 Bad Request\r\n\r\n"));
    EXPECT_TRUE(taken.read_to_the_end().empty());
  });
  Client client;
  const std::string error = client.connect(*Endpoint::parse(listener.address()), test::with(Token::make_random()));
  EXPECT_THAT(error, HasSubstr("the peer is no rayx"));
  EXPECT_THAT(error, HasSubstr("HTTP"));
}

}  // namespace
}  // namespace rayx::wire
