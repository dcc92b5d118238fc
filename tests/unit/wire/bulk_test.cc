// Much of everything, over real sockets of this machine.
#include <algorithm>
#include <cstring>
#include <random>

#include "kit/sanitized.hpp"
#include "kit/seed.hpp"
#include "wire_kit.hpp"

namespace rayx::wire {
namespace {

using test::Client;
using test::Server;
using testing::HasSubstr;

// Sums up small frames of one number each.
struct Summer : test::RecordingHandler {
  void on_control(std::span<const std::byte> bytes) override {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), sizeof(value));
    sum += value;
    if (++count == expected) heard.change([](test::Heard& all) { ++all.chunks; });
  }
  std::uint64_t sum = 0;
  std::uint64_t count = 0;
  std::uint64_t expected = 0;
};

TEST(Bulk, AMillionSmallFramesArriveOnceEach) {
  constexpr std::uint64_t kFrames = kit::kIsSanitized ? 100'000 : 1'000'000;
  const Token token = Token::make_random();
  Server server(test::with(token), {}, false);
  Summer summer;
  summer.expected = kFrames;
  // Sends while the link takes more, and goes on when it does again.
  struct Sender : test::RecordingHandler {
    void on_writable() override { send_some(); }
    void send_some() {
      while (next < kFrames) {
        const std::uint64_t value = next++;
        if (link->send(std::as_bytes(std::span(&value, 1))) == Sent::kPause) return;
      }
    }
    Link* link = nullptr;
    std::uint64_t next = 0;
  } sender;
  test::LoopThread client;
  std::unique_ptr<Link> link;
  std::unique_ptr<Connector> connector;
  test::Watched<bool> connected;
  client.call([&] {
    connector = std::make_unique<Connector>(client.loop(), server.endpoint, test::with(token), [&](auto made) {
      ASSERT_TRUE(made) << made.error().message;
      link = std::move(*made);
      sender.link = link.get();
      link->open(sender);
      connected.change([](bool& is) { is = true; });
    });
  });
  ASSERT_TRUE(connected.wait([](bool is) { return is; }));
  ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
  server.thread.call([&] { server.link->open(summer); });
  client.call([&] { sender.send_some(); });
  ASSERT_TRUE(summer.heard.wait([](const test::Heard& all) { return all.chunks == 1; }));
  EXPECT_EQ(server.thread.call([&] { return summer.sum; }), kFrames * (kFrames - 1) / 2);
  client.call([&] {
    connector.reset();
    link.reset();
  });
  server.thread.call([&] { server.link.reset(); });
}

// Answers each message, and sends one transfer in chunks meanwhile.
struct Giver : test::RecordingHandler {
  void on_control(std::span<const std::byte> bytes) override { link->send(bytes); }
  void on_writable() override { give_some(); }
  void give_some() {
    while (next < data.size()) {
      const std::size_t bytes = std::min<std::size_t>(kPayloadBytesMax, data.size() - next);
      const Sent sent = link->send_payload(7, next, std::span(data).subspan(next, bytes), [&](bool was_sent) {
        EXPECT_TRUE(was_sent);
        ++done;
      });
      if (sent == Sent::kRefused) return;
      next += bytes;
      if (sent == Sent::kPause) return;
    }
  }
  Link* link = nullptr;
  test::Bytes data;
  std::size_t next = 0;
  std::size_t done = 0;
};

void transfer_beside_small_messages(TlsPolicy tls) {
  constexpr std::size_t kBytes = (kit::kIsSanitized ? 32 : 256) * std::size_t{1024} * 1024 + 4321;
  constexpr std::size_t kChunks = (kBytes + kPayloadBytesMax - 1) / kPayloadBytesMax;
  const Token token = Token::make_random();
  Giver giver;
  giver.data.resize(kBytes);
  std::mt19937_64 random(kit::seed());
  for (std::size_t i = 0; i + 8 <= kBytes; i += 8) {
    const std::uint64_t word = random();
    std::memcpy(giver.data.data() + i, &word, 8);
  }
  Server server(test::with(token, tls), {}, false);
  Client client;
  client.handler.place.resize(kBytes);
  ASSERT_EQ(client.connect(server.endpoint, test::with(token, tls)), "");
  ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
  server.thread.call([&] {
    giver.link = server.link.get();
    server.link->open(giver);
    giver.give_some();
  });
  // Round trips beside the transfer: the answers overtake the chunks that wait.
  const base::SteadyClock clock;
  std::vector<base::TimeNs> trips;
  const auto is_complete = [](const test::Heard& all) { return all.chunks == kChunks; };
  while (!is_complete(client.handler.heard.get())) {
    const base::TimeNs begin = clock.now_ns();
    const std::size_t wanted = trips.size() + 1;
    ASSERT_EQ(client.send("quick"), Sent::kQueued);
    ASSERT_TRUE(client.handler.heard.wait([&](const test::Heard& all) { return all.control.size() == wanted; }));
    trips.push_back(clock.now_ns() - begin);
  }
  EXPECT_TRUE(std::equal(giver.data.begin(), giver.data.end(), client.handler.place.begin()));
  EXPECT_EQ(server.thread.call([&] { return giver.done; }), kChunks);
  std::sort(trips.begin(), trips.end());
  // Behind all chunks a message would wait for most of the transfer; it waits for what the kernel holds and a turn at each end.
  constexpr base::TimeNs kQuickNs = kit::kIsSanitized ? 500'000'000 : 50'000'000;
  EXPECT_LT(trips[trips.size() / 2], kQuickNs) << trips.size();
  testing::Test::RecordProperty("median_round_trip_us", static_cast<int>(trips[trips.size() / 2] / 1000));
  server.thread.call([&] { server.link.reset(); });
}

TEST(Bulk, ATransferArrivesInPlaceWhileMessagesStayQuick) { transfer_beside_small_messages(TlsPolicy::kOff); }
TEST(Bulk, ATransferArrivesInPlaceThroughTls) { transfer_beside_small_messages(TlsPolicy::kOn); }

TEST(Bulk, AChunkThatIsRefusedHarmsNobody) {
  const Token token = Token::make_random();
  Server server(test::with(token));  // its handler has no place
  Client client;
  ASSERT_EQ(client.connect(server.endpoint, test::with(token)), "");
  const test::Bytes data(100'001);
  test::Watched<int> done;
  client.thread.call([&] {
    client.link->send_payload(1, 0, data, [&](bool was_sent) { done.change([&](int& count) { count += was_sent; }); });
    client.link->send(bytes_of("before"));
  });
  ASSERT_TRUE(done.wait([](int count) { return count == 1; }));
  client.send("after");
  EXPECT_TRUE(server.handler.heard.wait([](const test::Heard& all) { return all.control.size() == 2; }));
  EXPECT_EQ(server.handler.heard.get().chunks, 0u);
}

TEST(Bulk, MessagesUpToThePeersLimitArriveAndLargerOnesBreakTheLink) {
  const Token token = Token::make_random();
  LinkConfig config = test::with(token);
  config.options.control_bytes_max = 2'000'000;
  Server server(config);
  Client client;
  ASSERT_EQ(client.connect(server.endpoint, config), "");
  for (const std::size_t size : {0ul, 1ul, 65'527ul, 65'528ul, 65'529ul, 2'000'000ul})
    client.send(std::string(size, 'x'));
  ASSERT_TRUE(server.handler.heard.wait([](const test::Heard& all) { return all.control.size() == 6; }));
  EXPECT_EQ(server.handler.heard.get().control.back(), std::string(2'000'000, 'x'));
  client.send(std::string(2'000'001, 'x'));
  ASSERT_TRUE(server.handler.wait_closed());
  EXPECT_EQ(server.handler.reason().kind, CloseKind::kBroken);
  EXPECT_THAT(server.handler.reason().message, HasSubstr("2000001 bytes and may have 2000000"));
  ASSERT_TRUE(client.handler.wait_closed());
}

}  // namespace
}  // namespace rayx::wire
