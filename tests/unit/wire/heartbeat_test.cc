#include <csignal>
#include <cstring>

#include <sys/socket.h>
#include <unistd.h>

#include "base/unique_fd.hpp"
#include "kit/child_process.hpp"
#include "kit/wire_peer.hpp"
#include "wire_kit.hpp"

namespace rayx::wire {
namespace {

using test::Server;
using testing::HasSubstr;

// A process of its own that connects to the listener whose port comes through the pipe, and stays.
class Peer {
 public:
  explicit Peer(const LinkConfig& config)
      : pipe_(make_pipe()), child_([&] {
          std::uint16_t port = 0;
          if (::read(pipe_.first.get(), &port, sizeof(port)) != sizeof(port)) return 1;
          const base::SteadyClock clock;
          auto loop = *Loop::create(clock);
          test::RecordingHandler handler;
          std::unique_ptr<Link> link;
          Connector connector(*loop, {"127.0.0.1", port}, config, [&](auto made) {
            if (!made) return loop->stop();
            link = std::move(*made);
            link->open(handler);
          });
          loop->run();
          return 2;
        }) {}
  void connect_to(std::uint16_t port) { EXPECT_EQ(::write(pipe_.second.get(), &port, sizeof(port)), 2); }
  kit::ChildProcess& process() { return child_; }

 private:
  static std::pair<base::UniqueFd, base::UniqueFd> make_pipe() {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    return {base::UniqueFd(ends[0]), base::UniqueFd(ends[1])};
  }
  std::pair<base::UniqueFd, base::UniqueFd> pipe_;
  kit::ChildProcess child_;
};

LinkConfig impatient(const Token& token) {
  LinkConfig config = test::with(token);
  config.options.heartbeat_interval = std::chrono::milliseconds(50);
  config.options.heartbeat_timeout = std::chrono::milliseconds(400);
  return config;
}

TEST(Heartbeat, AStoppedProcessIsNoticedAndAnIdleOneIsNot) {
  const Token token = Token::make_random();
  Peer peer(impatient(token));  // before the threads
  Server server(impatient(token));
  peer.connect_to(server.endpoint.port);
  ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
  // Idle for twice the time-out.
  EXPECT_FALSE(server.handler.wait_closed(std::chrono::milliseconds(800)));
  ASSERT_TRUE(peer.process().kill(SIGSTOP));
  ASSERT_TRUE(server.handler.wait_closed());
  EXPECT_EQ(server.handler.reason().kind, CloseKind::kSilent) << server.handler.reason().message;
  EXPECT_THAT(server.handler.reason().message, HasSubstr("nothing was heard from the peer for 4"));
  peer.process().kill(SIGCONT);
}

TEST(Heartbeat, WhoHasAnsweredSaysByTheHelloHowLongItWaits) {
  const Token token = Token::make_random();
  Peer peer(impatient(token));
  LinkConfig patient = impatient(token);
  patient.options.heartbeat_timeout = std::chrono::seconds(60);
  Server server(patient, {}, false);
  peer.connect_to(server.endpoint.port);
  ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
  server.thread.call([&] {
    server.link->set_heartbeat_timeout(std::chrono::milliseconds(400));
    server.link->open(server.handler);
  });
  ASSERT_TRUE(peer.process().kill(SIGSTOP));
  ASSERT_TRUE(server.handler.wait_closed());
  EXPECT_THAT(server.handler.reason().message, HasSubstr("nothing was heard from the peer for 4"));
  peer.process().kill(SIGCONT);
}

// Its kernel goes on to take what is sent, as that of a connection whose other end is gone and was never told.
TEST(Heartbeat, AStoppedProcessIsNoticedAlsoByWhoGoesOnToSendToIt) {
  const Token token = Token::make_random();
  Peer peer(impatient(token));
  Server server(impatient(token));
  peer.connect_to(server.endpoint.port);
  ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
  ASSERT_TRUE(peer.process().kill(SIGSTOP));
  constexpr int kFrames = 5'000;  // 2 ms each: some 25 times the time-out
  int sent = 0;
  while (sent < kFrames && !server.handler.wait_closed(std::chrono::milliseconds(2))) {
    server.thread.call([&] { return server.link->send(test::Bytes(32)); });
    ++sent;
  }
  ASSERT_LT(sent, kFrames);
  EXPECT_EQ(server.handler.reason().kind, CloseKind::kSilent) << server.handler.reason().message;
  peer.process().kill(SIGCONT);
}

TEST(Heartbeat, AKilledProcessIsNoticedAtOnce) {
  const Token token = Token::make_random();
  Peer peer(test::with(token));
  Server server(test::with(token));
  peer.connect_to(server.endpoint.port);
  ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
  ASSERT_TRUE(peer.process().kill());
  ASSERT_TRUE(server.handler.wait_closed());
  EXPECT_EQ(server.handler.reason().kind, CloseKind::kLost);
}

TEST(Heartbeat, APeerWithoutHeartbeatsAnswersThemAllTheSame) {
  const Token token = Token::make_random();
  LinkConfig without = test::with(token);
  without.options.heartbeat_interval = {};
  Server server(impatient(token));
  test::Client client;
  ASSERT_EQ(client.connect(server.endpoint, without), "");
  ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
  EXPECT_FALSE(server.handler.wait_closed(std::chrono::milliseconds(800)));
}

// Gives chunks without end, and hears nothing but the answers to its pings.
struct Endless : test::RecordingHandler {
  void on_writable() override {
    while (link->send_payload(1, 0, data, nullptr) == Sent::kQueued) {
    }
  }
  Link* link = nullptr;
  test::Bytes data = test::Bytes(kPayloadBytesMax);
};

TEST(Heartbeat, AOneWayTransferIsNoSilence) {
  const Token token = Token::make_random();
  Endless endless;
  Server server(impatient(token), {}, false);
  test::Client client;
  client.handler.place.resize(kPayloadBytesMax);
  ASSERT_EQ(client.connect(server.endpoint, impatient(token)), "");
  ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
  server.thread.call([&] {
    endless.link = server.link.get();
    server.link->open(endless);
    endless.on_writable();
  });
  EXPECT_FALSE(endless.wait_closed(std::chrono::milliseconds(1200)));
  EXPECT_GT(client.handler.heard.get().chunks, 0u);
  client.thread.call([&] { client.link.reset(); });
  server.thread.call([&] { server.link.reset(); });
}

// All that is to be sent lies in the kernel, for longer than the time-out, and the answer to a ping behind it: a slow link, which the
// test plays by reading little at a time and saying nothing.
TEST(Heartbeat, WhatASlowLinkHasYetToCarryIsNoSilence) {
  const Token token = Token::make_random();
  LinkConfig config = impatient(token);
  config.options.heartbeat_timeout = std::chrono::milliseconds(1'500);
  Server server(config);
  kit::RawSocket slow = kit::become_member(server.endpoint.text(), token);
  const int few_bytes = 16 * 1024;
  ASSERT_EQ(::setsockopt(slow.fd(), SOL_SOCKET, SO_RCVBUF, &few_bytes, sizeof(few_bytes)), 0);
  slow.send(kit::hello({}));
  ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
  constexpr std::size_t kBytes = 400'000;
  const test::Bytes bytes(kBytes);
  ASSERT_EQ(server.thread.call([&] { return server.link->send(bytes); }), Sent::kQueued);
  // Twice the time-out.
  constexpr std::size_t kPieces = 100;
  std::size_t read = 0;
  for (std::size_t i = 0; i < kPieces; ++i) {
    read += slow.read(kBytes / kPieces).size();
    ASSERT_FALSE(server.handler.wait_closed(std::chrono::milliseconds(30))) << server.handler.reason().message;
  }
  EXPECT_EQ(read, kBytes);
  // Now it could answer.
  ASSERT_TRUE(server.handler.wait_closed());
  EXPECT_EQ(server.handler.reason().kind, CloseKind::kSilent) << server.handler.reason().message;
}

}  // namespace
}  // namespace rayx::wire
