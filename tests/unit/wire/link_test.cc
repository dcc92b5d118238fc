#include "wire/link.hpp"

#include <sys/socket.h>

#include "base/unique_fd.hpp"
#include "wire_kit.hpp"

namespace rayx::wire {
namespace {

using test::Client;
using test::Heard;
using test::Server;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Link, TwoEndsMeetReadEachOthersHelloAndTalk) {
  for (const TlsPolicy tls : {TlsPolicy::kOffLoopback, TlsPolicy::kOn}) {
    const Token token = Token::make_random();
    Server server(test::with(token, tls, "I am the server"));
    Client client;
    ASSERT_EQ(client.connect(server.endpoint, test::with(token, tls, "I am the client")), "");
    ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
    EXPECT_EQ(client.thread.call([&] { return test::to_text(client.link->peer_hello()); }), "I am the server");
    EXPECT_EQ(server.thread.call([&] { return test::to_text(server.link->peer_hello()); }), "I am the client");
    EXPECT_EQ(client.thread.call([&] { return client.link->is_encrypted(); }), tls == TlsPolicy::kOn);
    EXPECT_EQ(client.send("ping"), Sent::kQueued);
    server.thread.call([&] { return server.link->send(bytes_of("pong")); });
    EXPECT_TRUE(server.handler.heard.wait([](const Heard& all) { return all.control.size() == 1; }));
    EXPECT_TRUE(client.handler.heard.wait([](const Heard& all) { return all.control.size() == 1; }));
    EXPECT_THAT(server.handler.heard.get().control, ElementsAre("ping"));
    EXPECT_THAT(client.handler.heard.get().control, ElementsAre("pong"));
  }
}

TEST(Link, AWrongTokenIsSaidAtBothEnds) {
  for (const TlsPolicy tls : {TlsPolicy::kOff, TlsPolicy::kOn}) {
    Server server(test::with(Token::make_random(), tls));
    Client client;
    const std::string error = client.connect(server.endpoint, test::with(Token::make_random(), tls));
    EXPECT_THAT(error, HasSubstr("no link to " + server.endpoint.text() + ": the token differs"));
    EXPECT_THAT(error, HasSubstr("RAYX_TOKEN"));
    EXPECT_EQ(client.code, ErrorCode::kInvalidConfig);
    EXPECT_THAT(server.wait_refusal(), HasSubstr("the token differs"));
    EXPECT_EQ(server.links.get(), 0);
  }
}

TEST(Link, PoliciesOfEncryptionMeetOrAreRefusedInWords) {
  const TlsPolicy all[] = {TlsPolicy::kOffLoopback, TlsPolicy::kOff, TlsPolicy::kOn};
  const Token token = Token::make_random();
  for (const TlsPolicy ours : all) {
    for (const TlsPolicy theirs : all) {
      const bool agree = (ours == TlsPolicy::kOn) == (theirs == TlsPolicy::kOn);  // both ends are loopback
      Server server(test::with(token, theirs));
      Client client;
      const std::string error = client.connect(server.endpoint, test::with(token, ours));
      if (agree) {
        EXPECT_EQ(error, "");
      } else {
        EXPECT_THAT(error, HasSubstr("TLS"));
        EXPECT_THAT(error, HasSubstr("same policy of encryption at both ends"));
        EXPECT_THAT(server.wait_refusal(), HasSubstr("TLS"));
      }
    }
  }
}

TEST(Link, IsClosedOnceWithTheReasonAtBothEndsAfterWhatWasSent) {
  const Token token = Token::make_random();
  Server server(test::with(token));
  Client client;
  ASSERT_EQ(client.connect(server.endpoint, test::with(token)), "");
  client.thread.call([&] {
    EXPECT_EQ(client.link->send(bytes_of("last words")), Sent::kQueued);
    client.link->close("the node is shut down\n");
    client.link->close("again");
    EXPECT_EQ(client.link->send(bytes_of("too late")), Sent::kClosed);
  });
  ASSERT_TRUE(client.handler.wait_closed());
  ASSERT_TRUE(server.handler.wait_closed());
  EXPECT_EQ(client.handler.reason().kind, CloseKind::kByUs);
  EXPECT_EQ(server.handler.reason().kind, CloseKind::kByPeer);
  EXPECT_THAT(server.handler.reason().message, HasSubstr("the node is shut down?"));
  EXPECT_THAT(server.handler.heard.get().control, ElementsAre("last words"));
  server.thread.call([&] { server.link->close("me too"); });
  client.thread.call([] {});
  server.thread.call([] {});
  EXPECT_EQ(client.handler.heard.get().closed.size(), 1u);
  EXPECT_EQ(server.handler.heard.get().closed.size(), 1u);
}

TEST(Link, ThatIsLetGoOfSaysGoodbyeAndCallsNobody) {
  const Token token = Token::make_random();
  Server server(test::with(token));
  Client client;
  ASSERT_EQ(client.connect(server.endpoint, test::with(token)), "");
  client.thread.call([&] { client.link.reset(); });
  ASSERT_TRUE(server.handler.wait_closed());
  EXPECT_EQ(server.handler.reason().kind, CloseKind::kByPeer);
  EXPECT_TRUE(client.handler.heard.get().closed.empty());
}

// Lets go of its link inside of a call.
struct Leaver : test::RecordingHandler {
  void on_control(std::span<const std::byte> bytes) override {
    RecordingHandler::on_control(bytes);
    owner->link.reset();
  }
  test::End* owner = nullptr;
};

TEST(Link, MayBeDestroyedInsideACallOfItsHandler) {
  const Token token = Token::make_random();
  Server server(test::with(token), {}, false);
  Leaver leaver;
  leaver.owner = &server;
  Client client;
  ASSERT_EQ(client.connect(server.endpoint, test::with(token)), "");
  ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
  client.thread.call([&] {
    for (int i = 0; i < 10; ++i) client.link->send(bytes_of("go away"));
  });
  server.thread.call([&] { server.link->open(leaver); });
  ASSERT_TRUE(client.handler.wait_closed());
  EXPECT_EQ(leaver.heard.get().control.size(), 1u);
}

TEST(Link, WhatComesBeforeOpenIsNotLost) {
  const Token token = Token::make_random();
  Server server(test::with(token), {}, false);
  Client client;
  ASSERT_EQ(client.connect(server.endpoint, test::with(token)), "");
  for (int i = 0; i < 100; ++i) ASSERT_EQ(client.send(std::to_string(i)), Sent::kQueued);
  ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
  EXPECT_TRUE(server.handler.heard.get().control.empty());
  server.thread.call([&] { server.link->open(server.handler); });
  EXPECT_TRUE(server.handler.heard.wait([](const Heard& all) { return all.control.size() == 100; }));
}

TEST(Link, APeerThatDoesNotReadPausesTheSenderAndThenIsClosed) {
  const Token token = Token::make_random();
  LinkConfig config = test::with(token);
  config.options.queue_low_bytes = 100'000;
  config.options.queue_high_bytes = 1'000'000;
  config.options.queue_hard_bytes = 4'000'000;
  Server server(config);
  Client client;
  ASSERT_EQ(client.connect(server.endpoint, config), "");
  ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
  server.thread.call([&] { server.link->pause_reading(); });
  const std::string message(50'000, 'x');
  std::size_t queued_bytes = 0;  // right after it: at the end of the turn some of it goes
  const auto send_until = [&](Sent wanted) {
    return client.thread.call([&] {
      for (int i = 0; i < 2000; ++i) {
        const Sent sent = client.link->send(bytes_of(message));
        queued_bytes = client.link->queued_bytes();
        if (sent == wanted) return true;
      }
      return false;
    });
  };
  ASSERT_TRUE(send_until(Sent::kPause));
  EXPECT_GT(queued_bytes, 1'000'000u);
  // It reads again: the sender is told.
  server.thread.call([&] { server.link->resume_reading(); });
  ASSERT_TRUE(client.handler.heard.wait([](const Heard& all) { return all.writable >= 1; }));
  EXPECT_LE(client.thread.call([&] { return client.link->queued_bytes(); }), 100'000u);
  // It does not, for good, and the sender does not care.
  server.thread.call([&] { server.link->pause_reading(); });
  ASSERT_TRUE(send_until(Sent::kClosed));
  ASSERT_TRUE(client.handler.wait_closed());
  EXPECT_EQ(client.handler.reason().kind, CloseKind::kOverLimit);
  EXPECT_THAT(client.handler.reason().message, HasSubstr("does not read"));
}

TEST(Link, ChunksAreGivenBackWhenItCloses) {
  const Token token = Token::make_random();
  Server server(test::with(token));
  Client client;
  ASSERT_EQ(client.connect(server.endpoint, test::with(token)), "");
  ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
  server.thread.call([&] { server.link->pause_reading(); });
  const test::Bytes data(kPayloadBytesMax);
  test::Watched<std::pair<int, int>> done;
  const int queued = client.thread.call([&] {
    int count = 0;
    while (client.link->send_payload(1, 0, data, [&](bool was_sent) {
      done.change([&](auto& counts) { ++(was_sent ? counts.first : counts.second); });
    }) != Sent::kRefused) {
      ++count;
    }
    return count;
  });
  EXPECT_EQ(queued, static_cast<int>(kQueuedChunksMax));
  client.thread.call([&] { client.link->close("enough"); });
  EXPECT_TRUE(done.wait([&](const auto& counts) { return counts.first + counts.second == queued; }));
  EXPECT_GT(done.get().second, 0);
}

TEST(Connector, NobodyListening) {
  const Token token = Token::make_random();
  Endpoint gone;
  {
    Server server(test::with(token));
    gone = server.endpoint;
  }
  Client client;
  EXPECT_THAT(client.connect(gone, test::with(token)), HasSubstr(gone.text() + ": Connection refused"));
  EXPECT_EQ(client.code, ErrorCode::kSystemError);
}

TEST(Connector, NamesAreResolvedAndEachAddressIsTried) {
  const Token token = Token::make_random();
  Server server(test::with(token));  // on 127.0.0.1 only; localhost may be ::1 first
  Client client;
  EXPECT_EQ(client.connect({"localhost", server.endpoint.port}, test::with(token)), "");
  Client other;
  EXPECT_THAT(other.connect({"no-such-host.invalid", 1}, test::with(token)), HasSubstr("no-such-host.invalid"));
}

TEST(Connector, APeerThatNeverAnswersIsGivenUpAtTheTimeout) {
  // A socket that accepts in the kernel only.
  const base::UniqueFd silent(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const Address any = *Address::from_numbers("127.0.0.1", 0);
  ASSERT_EQ(::bind(silent.get(), any.get(), any.bytes()), 0);
  ASSERT_EQ(::listen(silent.get(), 4), 0);
  Client client;
  const std::string error = client.connect(Address::local_of(silent.get()).endpoint(), test::with(Token::make_random()),
                                           std::chrono::milliseconds(200));
  EXPECT_THAT(error, HasSubstr("did not finish the handshake"));
  EXPECT_EQ(client.code, ErrorCode::kTimeout);
}

TEST(Connector, ThatIsDestroyedAnswersNobody) {
  const Token token = Token::make_random();
  Server server(test::with(token));
  test::LoopThread thread;
  bool answered = false;
  thread.call(
      [&] { Connector connector(thread.loop(), server.endpoint, test::with(token), [&](auto) { answered = true; }); });
  thread.call([] {});
  EXPECT_FALSE(answered);
}

TEST(Listener, APortThatIsTakenIsSaidWithTheReason) {
  Server server(test::with(Token::make_random()));
  test::LoopThread thread;
  const auto again = thread.call([&] {
    return Listener::create(thread.loop(), {.port = server.endpoint.port}, test::with(Token::make_random()), nullptr,
                            nullptr)
        .error()
        .message;
  });
  EXPECT_THAT(again, HasSubstr(server.endpoint.text()));
  EXPECT_THAT(again, HasSubstr("Another process has the port"));
  EXPECT_THAT(thread.call([&] {
    return Listener::create(thread.loop(), {.address = "node7"}, test::with(Token::make_random()), nullptr, nullptr)
        .error()
        .message;
  }),
              HasSubstr("addresses and no names"));
}

}  // namespace
}  // namespace rayx::wire
