// Links whose connections break: through a proxy that resets them at any byte, everything arrives once and in order, or both ends say that
// it is over.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "kit/eventually.hpp"
#include "kit/proxy.hpp"
#include "kit/seed.hpp"
#include "wire_kit.hpp"

namespace rayx::wire::test {
namespace {

using kit::Proxy;
using testing::AllOf;
using testing::HasSubstr;

LinkConfig resumable(const Token& token, TlsPolicy tls = TlsPolicy::kOffLoopback) {
  LinkConfig config = with(token, tls, "hello");
  config.options.resume_patience = kResumePatience;
  return config;
}

// Both ends of a link through a proxy.
struct Ends {
  explicit Ends(const LinkConfig& config) : server(config), proxy(server.endpoint.text()) {
    EXPECT_EQ(client.connect(*Endpoint::parse(proxy.address()), config), "");
    EXPECT_TRUE(server.links.wait([](int count) { return count == 1; }));
  }
  Sent say_back(std::string_view text) {
    return server.thread.call([&] { return server.link->send(bytes_of(text)); });
  }
  static bool heard(End& end, const std::string& text) {
    return end.handler.heard.wait(
        [&](const Heard& all) { return std::find(all.control.begin(), all.control.end(), text) != all.control.end(); });
  }
  Server server;
  Proxy proxy;
  Client client;
};

TEST(Resume, AConnectionThatIsResetIsReplacedAndTheOwnersNoticeNothing) {
  for (const TlsPolicy tls : {TlsPolicy::kOff, TlsPolicy::kOn}) {
    Ends ends(resumable(Token::make_random(), tls));
    for (int i = 0; i < 20; ++i) {
      const std::string number = std::to_string(i);
      ends.client.send("there " + number);
      ends.say_back("back " + number);
      ends.proxy.cut();
      ASSERT_TRUE(Ends::heard(ends.server, "there " + number));
      ASSERT_TRUE(Ends::heard(ends.client, "back " + number));
    }
    EXPECT_EQ(ends.server.handler.heard.get().control.size(), 20u);
    EXPECT_EQ(ends.client.handler.heard.get().control.size(), 20u);
    EXPECT_EQ(ends.server.links.get(), 1);
    EXPECT_TRUE(ends.client.handler.heard.get().closed.empty());
    EXPECT_GT(ends.proxy.connections(), 1);
  }
}

// What one end sends to the other, and what of it arrived: a model of numbers in control frames and of streams in chunks.
class Traffic final : public LinkHandler {
 public:
  explicit Traffic(std::uint64_t seed) : random_(seed) {}

  // ---- The end that receives
  void on_control(std::span<const std::byte> bytes) override {
    std::uint64_t number = 0;
    ASSERT_GE(bytes.size(), sizeof(number));
    std::memcpy(&number, bytes.data(), sizeof(number));
    arrived.change([&](Arrived& all) { all.is_right = all.is_right && number == all.control++; });
  }
  std::span<std::byte> on_payload(const PayloadChunk& chunk) override {
    place_.assign(chunk.bytes, std::byte{0});
    return place_;
  }
  void on_payload_end(const PayloadChunk& chunk) override {
    arrived.change([&](Arrived& all) {
      all.is_right = all.is_right && all.streams[chunk.stream] == chunk.offset;
      for (std::size_t i = 0; i < place_.size(); i += 1'009)
        all.is_right = all.is_right && place_[i] == byte_at(chunk.stream, chunk.offset + i);
      all.streams[chunk.stream] += chunk.bytes;
      all.payload += chunk.bytes;
    });
  }
  void on_writable() override {
    writable.change([](bool& is) { is = true; });
  }
  void on_closed(const CloseReason& reason) override {
    arrived.change([&](Arrived& all) { all.closed = reason.message; });
  }
  struct Arrived {
    bool is_right = true;
    std::uint64_t control = 0;
    std::uint64_t payload = 0;
    std::map<std::uint64_t, std::uint64_t> streams;
    std::string closed;
  };
  Watched<Arrived> arrived;
  Watched<bool> writable;

  // ---- The end that sends; its loop's thread. False: not now.
  bool send_one(Link& link) {
    if (random_() % 3 != 0) {
      std::vector<std::byte> frame(8 + random_() % (random_() % 8 == 0 ? 100'000 : 200));
      std::memcpy(frame.data(), &sent_control, sizeof(sent_control));
      EXPECT_NE(link.send(frame), Sent::kClosed);
      ++sent_control;
      return true;
    }
    const std::uint64_t stream = 1 + random_() % 3;
    const std::uint64_t offset = sent_streams_[stream];
    const auto bytes =
        std::make_shared<std::vector<std::byte>>(1 + random_() % (random_() % 4 == 0 ? 1'000'000 : 5'000));
    for (std::size_t i = 0; i < bytes->size(); ++i) (*bytes)[i] = byte_at(stream, offset + i);
    const std::span<const std::byte> span = *bytes;
    const Sent sent = link.send_payload(stream, offset, span, {}, bytes);
    EXPECT_NE(sent, Sent::kClosed);
    if (sent == Sent::kRefused) return false;
    kept.push_back(bytes);
    sent_streams_[stream] += span.size();
    sent_payload += span.size();
    return true;
  }
  std::uint64_t sent_control = 0;
  std::uint64_t sent_payload = 0;
  std::vector<std::weak_ptr<std::vector<std::byte>>> kept;

 private:
  static std::byte byte_at(std::uint64_t stream, std::uint64_t offset) {
    return static_cast<std::byte>((offset * 31 + stream * 7 + (offset >> 9)) & 0xff);
  }
  std::mt19937_64 random_;
  std::map<std::uint64_t, std::uint64_t> sent_streams_;
  std::vector<std::byte> place_;
};

// Random traffic both ways, and resets at random bytes of each connection: nothing is lost, doubled, damaged or out of order, and
// in the end no memory is kept.
TEST(Resume, EverythingArrivesOnceWhereverConnectionsBreak) {
  for (int round = 0; round < 6; ++round) {
    SCOPED_TRACE("round " + std::to_string(round) + " of seed " + std::to_string(kit::seed()));
    std::mt19937_64 random(kit::seed() + static_cast<std::uint64_t>(round));
    const LinkConfig config = resumable(Token::make_random(), round % 3 == 2 ? TlsPolicy::kOn : TlsPolicy::kOff);
    Server server(config, {}, false);
    Proxy proxy(server.endpoint.text());
    Traffic at_server(random());
    Traffic at_client(random());
    Client client;
    std::promise<std::string> answered;
    client.thread.call([&] {
      client.connector = std::make_unique<Connector>(client.thread.loop(), *Endpoint::parse(proxy.address()), config,
                                                     [&](Result<std::unique_ptr<Link>> made) {
                                                       if (made) client.link = std::move(*made);
                                                       if (made) client.link->open(at_client);
                                                       answered.set_value(made ? "" : made.error().message);
                                                     });
    });
    ASSERT_EQ(answered.get_future().get(), "");
    ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
    server.thread.call([&] { server.link->open(at_server); });
    // So many breaks without a whole chunk would end the link: then the next waits for one.
    int breaks_in_chunk = 0;  // at most
    int breaks_to_come = 0;
    std::uint64_t payload_before = 0;
    for (int step = 0; step < 300; ++step) {
      client.thread.call([&] { at_client.send_one(*client.link); });
      server.thread.call([&] { at_server.send_one(*server.link); });
      if (random() % 12 != 0) continue;
      const std::uint64_t payload = at_client.arrived.get().payload + at_server.arrived.get().payload;
      if (std::exchange(payload_before, payload) != payload) breaks_in_chunk = breaks_to_come;
      const bool is_cut = random() % 3 == 0;
      const int times = is_cut ? 1 : 1 + static_cast<int>(random() % 4);
      if (breaks_in_chunk + times > kBreaksInChunkMax) continue;
      breaks_in_chunk += times;
      if (!is_cut) breaks_to_come = times;
      if (is_cut) {
        proxy.cut();
      } else {
        // For the connection that is there, or the next one if it has gone beyond that byte already.
        const auto way = random() % 2 == 0 ? Proxy::Way::kThere : Proxy::Way::kBack;
        const std::uint64_t at = random() % 3 == 0 ? random() % 300 : random() % 3'000'000;
        proxy.set({.fault = Proxy::Fault{Proxy::Fault::Kind::kReset, way, at, times}});
      }
    }
    proxy.mend();
    const auto all_of = [](const Traffic& sender) {
      return [control = sender.sent_control, payload = sender.sent_payload](const Traffic::Arrived& all) {
        return (all.control == control && all.payload == payload) || !all.is_right || !all.closed.empty();
      };
    };
    ASSERT_TRUE(at_server.arrived.wait(all_of(at_client)));
    ASSERT_TRUE(at_client.arrived.wait(all_of(at_server)));
    for (Traffic* const end : {&at_server, &at_client}) {
      EXPECT_TRUE(end->arrived.get().is_right);
      EXPECT_EQ(end->arrived.get().closed, "");
    }
    EXPECT_GT(proxy.connections(), 1);
    for (const Traffic* const end : {&at_server, &at_client})
      EXPECT_TRUE(kit::eventually([&] {
        return std::all_of(end->kept.begin(), end->kept.end(), [](const auto& kept) { return kept.expired(); });
      }));
    client.thread.call([&] { client.link.reset(), client.connector.reset(); });
    server.thread.call([&] { server.link.reset(); });
  }
}

// A chunk in which the connection broke is sent again, those before it are not.
TEST(Resume, ATransferGoesOnWhereItWas) {
  constexpr std::uint64_t kChunks = 64;
  Ends ends(resumable(Token::make_random()));
  ends.server.handler.place.resize(kChunks * kPayloadBytesMax);
  const auto bytes = std::make_shared<Bytes>(kPayloadBytesMax, std::byte{7});
  constexpr int kCuts = 8;
  int cuts = 0;
  for (std::uint64_t chunk = 0; chunk < kChunks; ++chunk) {
    ends.client.thread.call([&] { ends.client.link->send_payload(1, chunk * kPayloadBytesMax, *bytes, {}, bytes); });
    const bool is_cut = chunk % (kChunks / kCuts) == 3;
    if (is_cut) ends.proxy.cut(), ++cuts;
    ASSERT_TRUE(ends.server.handler.heard.wait([&](const Heard& all) { return all.chunks + 4 > chunk; }));
  }
  ASSERT_TRUE(ends.server.handler.heard.wait([](const Heard& all) { return all.chunks == kChunks; }));
  EXPECT_EQ(cuts, kCuts);
  // Each cut may cost what was on its way: at most what both kernels and the proxy held, and the chunk that was not whole.
  EXPECT_LE(ends.proxy.forwarded(Proxy::Way::kThere), (kChunks + 6 * kCuts) * kPayloadBytesMax);
}

TEST(Resume, ConnectionsThatNeverCarryAWholeChunkEndTheLink) {
  Ends ends(resumable(Token::make_random()));
  ends.server.handler.place.resize(kPayloadBytesMax);
  const auto bytes = std::make_shared<Bytes>(kPayloadBytesMax);
  for (int i = 0; i <= kBreaksInChunkMax; ++i) {
    const int connections = ends.proxy.connections();
    ends.proxy.set({.fault = Proxy::Fault{Proxy::Fault::Kind::kReset, Proxy::Way::kThere, kPayloadBytesMax / 2}});
    if (i == 0) ends.client.thread.call([&] { ends.client.link->send_payload(1, 0, *bytes, {}, bytes); });
    ASSERT_TRUE(kit::eventually(
        [&] { return ends.proxy.connections() > connections || !ends.client.handler.heard.get().closed.empty(); }));
  }
  ASSERT_TRUE(ends.client.handler.wait_closed());
  EXPECT_EQ(ends.client.handler.reason().kind, CloseKind::kLost);
  EXPECT_THAT(ends.client.handler.reason().message, HasSubstr("none of them carried a whole chunk"));
  ASSERT_TRUE(ends.server.handler.wait_closed());
  EXPECT_TRUE(kit::eventually([&] { return bytes.use_count() == 1; }));
}

TEST(Resume, AServerThatKnowsNothingOfTheLinkSaysSo) {
  const Token token = Token::make_random();
  auto server = std::make_unique<Server>(resumable(token));
  Proxy proxy(server->endpoint.text());
  Client client;
  ASSERT_EQ(client.connect(*Endpoint::parse(proxy.address()), resumable(token)), "");
  Server another(resumable(token));
  proxy.set_target(another.endpoint.text());
  proxy.cut();
  ASSERT_TRUE(client.handler.wait_closed());
  EXPECT_EQ(client.handler.reason().kind, CloseKind::kByPeer);
  EXPECT_THAT(client.handler.reason().message, HasSubstr("is not known here any more"));
  EXPECT_EQ(another.links.get(), 0);
}

TEST(Resume, WhereNobodyListensAnyMoreItIsOverAtOnce) {
  const Token token = Token::make_random();
  auto server = std::make_unique<Server>(resumable(token));
  Client client;
  ASSERT_EQ(client.connect(server->endpoint, resumable(token)), "");
  ASSERT_TRUE(server->links.wait([](int count) { return count == 1; }));
  // As a process that is killed with something unread: its kernel resets the connection.
  server->thread.call([&] { server->listener.reset(); });
  const base::SteadyClock clock;
  const base::TimeNs begin_ns = clock.now_ns();
  server->thread.call([&] {
    server->link->pause_reading();
    return true;
  });
  for (int i = 0; i < 3; ++i) client.send("unread");
  server->thread.call([&] { server->link.reset(); });
  ASSERT_TRUE(client.handler.wait_closed());
  EXPECT_LT(clock.now_ns() - begin_ns, std::chrono::nanoseconds(kResumePatience).count());
}

TEST(Resume, AClientThatDoesNotComeBackIsGivenUp) {
  const Token token = Token::make_random();
  LinkConfig config = resumable(token);
  config.options.resume_patience = std::chrono::milliseconds(100);
  Ends ends(config);
  ends.proxy.set_target("127.0.0.1:1");
  ends.proxy.cut();
  ASSERT_TRUE(ends.client.handler.wait_closed());
  EXPECT_THAT(ends.client.handler.reason().message, HasSubstr("no other one was made within 100 ms"));
  ASSERT_TRUE(ends.server.handler.wait_closed());
  EXPECT_EQ(ends.server.handler.reason().kind, CloseKind::kLost);
  EXPECT_THAT(ends.server.handler.reason().message, HasSubstr("no other one was made within 1100 ms"));
}

// The client's end was reset, the server's was never told.
TEST(Resume, AServerThatHasNotNoticedTakesTheNewConnection) {
  Ends ends(resumable(Token::make_random()));
  for (int i = 0; i < 3; ++i) {
    ends.proxy.leave_half_open(Proxy::Way::kBack);
    ends.say_back("are you there " + std::to_string(i));
    ASSERT_TRUE(Ends::heard(ends.client, "are you there " + std::to_string(i)));
  }
  EXPECT_TRUE(ends.server.handler.heard.get().closed.empty());
}

TEST(Resume, WithoutItTheEndOfTheConnectionIsTheLinks) {
  Ends ends(with(Token::make_random()));
  ends.proxy.cut();
  ASSERT_TRUE(ends.client.handler.wait_closed());
  EXPECT_EQ(ends.client.handler.reason().kind, CloseKind::kLost);
  ASSERT_TRUE(ends.server.handler.wait_closed());
}

TEST(Resume, ALinkWithoutAConnectionMayBeClosedAndKeepsNothing) {
  Ends ends(resumable(Token::make_random()));
  ends.proxy.set({.is_silent = true});
  ends.proxy.cut();
  const auto bytes = std::make_shared<Bytes>(kPayloadBytesMax);
  ends.client.thread.call([&] { ends.client.link->send_payload(1, 0, *bytes, {}, bytes); });
  ends.client.thread.call([&] { ends.client.link->close("enough"); });
  ASSERT_TRUE(ends.client.handler.wait_closed());
  EXPECT_EQ(ends.client.handler.reason().kind, CloseKind::kByUs);
  EXPECT_TRUE(kit::eventually([&] { return bytes.use_count() == 1; }));
}

}  // namespace
}  // namespace rayx::wire::test
