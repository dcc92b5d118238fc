// The proxy: each kind of weather and each fault, with a bare socket at either end.
#include "kit/proxy.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "kit/eventually.hpp"
#include "kit/raw_socket.hpp"
#include "kit/seed.hpp"

namespace rayx::kit {
namespace {

using std::chrono::milliseconds;
using Bytes = std::vector<std::byte>;
using Way = Proxy::Way;
using Kind = Proxy::Fault::Kind;

Bytes random_bytes(std::size_t count) {
  std::mt19937_64 random(seed());
  Bytes bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 0xff);
  return bytes;
}

// Whether bytes or an end came within a time that a mended link needs much less of.
bool hears_anything(const RawSocket& socket, milliseconds limit) {
  pollfd wait{socket.fd(), POLLIN, 0};
  return ::poll(&wait, 1, static_cast<int>(limit.count())) != 0;
}

// One connection through a proxy.
struct Pair {
  explicit Pair(const Proxy::Weather& weather = {}) : proxy(listener.address()) {
    proxy.set(weather);
    client = std::make_unique<RawSocket>(proxy.address());
    if (!weather.is_silent) server = std::make_unique<RawSocket>(listener.accept());
  }
  // All bytes go there while they are read.
  Bytes carry(const Bytes& bytes) {
    std::jthread writer([&] { client->send(bytes); });
    return server->read(bytes.size());
  }

  RawListener listener;
  Proxy proxy;
  std::unique_ptr<RawSocket> client;
  std::unique_ptr<RawSocket> server;
};

TEST(Proxy, CarriesBothWaysAndTheEndOfEach) {
  Pair pair;
  const Bytes bytes = random_bytes(3'000'000);
  EXPECT_EQ(pair.carry(bytes), bytes);
  pair.client->stop_writing();
  EXPECT_TRUE(pair.server->read_to_the_end().empty());
  EXPECT_TRUE(pair.server->send("and back"));
  EXPECT_EQ(pair.client->read(8).size(), 8u);
  pair.server.reset();
  EXPECT_TRUE(pair.client->read_to_the_end().empty());
  EXPECT_EQ(pair.proxy.forwarded(Way::kThere), bytes.size());
  EXPECT_EQ(pair.proxy.connections(), 1);
}

TEST(Proxy, DelaysAndJittersAndKeepsTheOrder) {
  Pair pair({.delay = milliseconds(20), .jitter = milliseconds(10), .piece_bytes_max = 700});
  const base::SteadyClock clock;
  const base::TimeNs begin = clock.now_ns();
  const Bytes bytes = random_bytes(100'000);
  EXPECT_EQ(pair.carry(bytes), bytes);
  EXPECT_GE(clock.now_ns() - begin, 20'000'000);
}

TEST(Proxy, LimitsTheRate) {
  Pair pair({.bytes_per_s = 1'000'000});
  const base::SteadyClock clock;
  const base::TimeNs begin = clock.now_ns();
  const Bytes bytes = random_bytes(100'000);
  EXPECT_EQ(pair.carry(bytes), bytes);
  EXPECT_GE(clock.now_ns() - begin, 100'000'000);
}

TEST(Proxy, IsSilentUntilItIsMended) {
  Pair pair;
  pair.proxy.set({.is_silent = true});
  EXPECT_TRUE(pair.client->send("lost for now"));
  EXPECT_FALSE(hears_anything(*pair.server, milliseconds(50)));
  pair.client->stop_writing();
  EXPECT_FALSE(hears_anything(*pair.server, milliseconds(50)));
  // Who connects now is taken, and hears nothing.
  RawSocket late(pair.proxy.address());
  EXPECT_TRUE(late.send("hello"));
  EXPECT_FALSE(hears_anything(late, milliseconds(50)));
  pair.proxy.mend();
  EXPECT_EQ(pair.server->read_to_the_end().size(), 12u);
  EXPECT_EQ(pair.listener.accept().read(5).size(), 5u);
}

TEST(Proxy, SilencesOneConnectionOfSeveral) {
  Pair pair;
  RawSocket other(pair.proxy.address());
  RawSocket other_server = pair.listener.accept();
  pair.proxy.set({.is_silent = true}, 0);
  EXPECT_TRUE(other.send("through"));
  EXPECT_EQ(other_server.read(7).size(), 7u);
  EXPECT_TRUE(pair.client->send("not"));
  EXPECT_FALSE(hears_anything(*pair.server, milliseconds(50)));
}

TEST(Proxy, CutsWithAResetAtBothEnds) {
  Pair pair;
  pair.proxy.cut();
  for (const RawSocket* end : {pair.client.get(), pair.server.get()}) {
    char byte = 0;
    ASSERT_TRUE(hears_anything(*end, kPatience));
    EXPECT_EQ(::recv(end->fd(), &byte, 1, 0), -1);
    EXPECT_EQ(errno, ECONNRESET);
  }
}

TEST(Proxy, LeavesAConnectionHalfOpen) {
  Pair pair;
  pair.proxy.leave_half_open(Way::kThere);
  EXPECT_TRUE(hears_anything(*pair.server, kPatience));
  EXPECT_TRUE(pair.client->send("to nobody"));
  EXPECT_FALSE(hears_anything(*pair.client, milliseconds(50)));
}

TEST(Proxy, FlipsOneBit) {
  constexpr std::size_t kAt = 70'000;
  Pair pair({.fault = Proxy::Fault{Kind::kFlip, Way::kThere, kAt}});
  const Bytes bytes = random_bytes(200'000);
  Bytes carried = pair.carry(bytes);
  ASSERT_EQ(carried.size(), bytes.size());
  EXPECT_NE(carried[kAt], bytes[kAt]);
  carried[kAt] = bytes[kAt];
  EXPECT_EQ(carried, bytes);
}

TEST(Proxy, ResetsOrIsSilentAfterSoManyBytes) {
  constexpr std::size_t kAt = 1'234;
  const Bytes bytes = random_bytes(5'000);
  for (const Kind kind : {Kind::kReset, Kind::kSilence}) {
    Pair pair({.fault = Proxy::Fault{kind, Way::kThere, kAt}});
    pair.client->send(bytes);
    EXPECT_EQ(pair.server->read(kAt).size(), kAt);
    if (kind == Kind::kReset) {
      EXPECT_TRUE(pair.server->read_to_the_end().empty());
    } else {
      EXPECT_FALSE(hears_anything(*pair.server, milliseconds(50)));
      EXPECT_TRUE(pair.server->send("the other way"));
      EXPECT_EQ(pair.client->read(13).size(), 13u);
    }
  }
}

// The bytes before the reset are on their way when the weather is over: it comes, or did not get that far.
TEST(Proxy, LeavesNoConnectionBetweenAResetAndFineWeather) {
  constexpr std::size_t kAt = 100'000;
  constexpr std::size_t kPart = 1'000;
  const Bytes bytes = random_bytes(2 * kAt);
  for (int round = 0; round < 20; ++round) {
    Pair pair({.bytes_per_s = 10'000'000, .fault = Proxy::Fault{Kind::kReset, Way::kThere, kAt}});
    std::jthread writer([&] { pair.client->send(bytes); });
    std::size_t carried = pair.server->read(kPart).size();
    pair.proxy.mend();
    for (std::size_t more = carried; more == kPart && carried < bytes.size(); carried += more) {
      ASSERT_TRUE(hears_anything(*pair.server, kPatience)) << "silent after " << carried << " bytes";
      more = pair.server->read(kPart).size();
    }
    EXPECT_TRUE(carried == kAt || carried == bytes.size()) << carried;
  }
}

TEST(Proxy, LeadsToAnotherTarget) {
  Pair pair;
  RawListener second;
  pair.proxy.set_target(second.address());
  RawSocket next(pair.proxy.address());
  EXPECT_TRUE(next.send("x"));
  EXPECT_EQ(second.accept().read(1).size(), 1u);
  EXPECT_TRUE(pair.client->send("y"));
  EXPECT_EQ(pair.server->read(1).size(), 1u);
}

TEST(Proxy, SaysByAResetThatNobodyIsThere) {
  std::string address;
  listen_on("127.0.0.1", 1, address).reset();
  Proxy proxy(address);
  RawSocket client(proxy.address());
  EXPECT_TRUE(client.read_to_the_end().empty());
}

}  // namespace
}  // namespace rayx::kit
