// What the cluster's head keeps for all of its programs: keys and values, and channels.
#include "door_test_kit.hpp"

#include <chrono>
#include <set>
#include <thread>

namespace rayx {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Shared : public DoorTest {};

TEST_F(Shared, KeysArePutReadAndErased) {
  const KeyValues keys("settings");
  EXPECT_EQ(keys.get("rate"), std::nullopt);
  keys.put("rate", "1");
  keys.put("rate", "22");
  EXPECT_EQ(keys.get("rate"), "22");
  EXPECT_EQ(KeyValues("other").get("rate"), std::nullopt);
  EXPECT_TRUE(keys.erase("rate"));
  EXPECT_FALSE(keys.erase("rate"));
  EXPECT_EQ(keys.get("rate"), std::nullopt);
  const std::string zeros("\0 and \0", 7);
  keys.put("zeros", zeros);
  EXPECT_EQ(keys.get("zeros"), zeros);
  keys.put("empty", "");
  EXPECT_EQ(keys.get("empty"), "");
}

TEST_F(Shared, AValueMayBeLargeAndNoLarger) {
  const KeyValues keys;
  const std::string large(512 * 1024, 'v');
  keys.put("large", large);
  EXPECT_EQ(keys.get("large"), large);
  EXPECT_THAT(text_thrown_by<InvalidArgument>([&] { keys.put("larger", large + "v"); }), HasSubstr("524289 bytes"));
  EXPECT_THAT(text_thrown_by<InvalidArgument>([&] { keys.put("", "v"); }), HasSubstr("1 to 1024"));
  EXPECT_THAT(text_thrown_by<InvalidArgument>([&] { (void)keys.get(std::string(1025, 'k')); }), HasSubstr("1025"));
  EXPECT_THAT(text_thrown_by<InvalidArgument>([&] { KeyValues(std::string("a\0b", 3)); }), HasSubstr("zero byte"));
}

TEST_F(Shared, KeysAreListedByPrefixHoweverMany) {
  const KeyValues keys("many");
  std::vector<std::string> expected;
  for (int i = 0; i < 1'200; ++i) {
    expected.push_back("key" + std::to_string(10'000 + i));
    keys.put(expected.back(), "");
  }
  keys.put("other", "");
  EXPECT_EQ(keys.keys("key"), expected);
  EXPECT_THAT(keys.keys("oth"), ElementsAre("other"));
  EXPECT_THAT(keys.keys("nothing"), IsEmpty());
  EXPECT_EQ(keys.keys().size(), 1'201u);
}

bool try_to_be_first(const std::string& me) { return KeyValues("race").put_if_absent("first", me); }

TEST_F(Shared, OneOfManyWhoTryIsFirst) {
  std::vector<ObjectRef<bool>> tries;
  for (int i = 0; i < 30; ++i) tries.push_back(remote<try_to_be_first>("task " + std::to_string(i)));
  std::vector<std::string> first;
  for (std::size_t i = 0; i < tries.size(); ++i)
    if (get(tries[i])) first.push_back("task " + std::to_string(i));
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(KeyValues("race").get("first"), first[0]);
}

int tell(const std::string& channel, int first, int count) {
  for (int i = first; i < first + count; ++i) publish(channel, std::to_string(i));
  return count;
}

TEST_F(Shared, WhatATaskPublishesArrivesInOrderAndOnce) {
  Subscription all("numbers");
  EXPECT_EQ(all.channel(), "numbers");
  EXPECT_EQ(all.next(0ms), std::nullopt);
  const auto told = remote<tell>("numbers", 1, 300);
  for (int i = 1; i <= 300; ++i) {
    const std::optional<Message> message = all.next(20s);
    ASSERT_TRUE(message) << i;
    ASSERT_EQ(message->payload, std::to_string(i));
    ASSERT_EQ(message->missed, 0u);
  }
  EXPECT_EQ(get(told), 300);
  EXPECT_EQ(all.next(1ms), std::nullopt);
  publish("other numbers", "0");
  publish("numbers", "301");
  EXPECT_EQ(all.next()->payload, "301");
}

class Listener {
 public:
  explicit Listener(const std::string& channel) : channel_(channel) {}
  bool is_there() const { return true; }
  std::string hear() { return channel_.next()->payload; }

 private:
  Subscription channel_;
};

TEST_F(Shared, AnActorHearsWhatTheDriverPublishes) {
  const auto one = actor<Listener>(std::string("words"));
  const auto two = actor<Listener>(std::string("words"));
  EXPECT_TRUE(get(one.call<&Listener::is_there>()) && get(two.call<&Listener::is_there>()));
  publish("words", "hello");
  publish("words", "world");
  EXPECT_EQ(get(one.call<&Listener::hear>()), "hello");
  EXPECT_EQ(get(one.call<&Listener::hear>()), "world");
  EXPECT_EQ(get(two.call<&Listener::hear>()), "hello");
}

TEST_F(Shared, AReaderThatIsTooSlowIsToldWhatItMissed) {
  Subscription slow("flood");
  constexpr int kCount = 1'500;
  for (int i = 0; i < kCount; ++i) publish("flood", std::to_string(i));
  std::uint64_t heard = 0;
  std::uint64_t missed = 0;
  std::string last;
  while (last != std::to_string(kCount - 1)) {
    const std::optional<Message> message = slow.next(20s);
    ASSERT_TRUE(message);
    ++heard;
    missed += message->missed;
    last = message->payload;
  }
  EXPECT_EQ(heard + missed, static_cast<std::uint64_t>(kCount));
  EXPECT_GE(missed, 1u);
}

TEST_F(Shared, TwoThreadsThatWaitForEachOtherHearEachOther) {
  constexpr int kRounds = 50;
  Subscription pongs("pong");
  Subscription pings("ping");
  std::thread answerer([&pings] {
    for (int i = 0; i < kRounds; ++i) publish("pong", pings.next()->payload);
  });
  for (int i = 0; i < kRounds; ++i) {
    publish("ping", std::to_string(i));
    EXPECT_EQ(pongs.next()->payload, std::to_string(i));
  }
  answerer.join();
}

TEST_F(Shared, ASubscriptionMovesAndEnds) {
  Subscription first("moves");
  EXPECT_EQ(first.next(0ms), std::nullopt);  // it has a question open
  Subscription second = std::move(first);
  EXPECT_THAT(text_thrown_by<InvalidArgument>([&] { (void)first.next(); }), HasSubstr("moved from"));
  publish("moves", "one");
  EXPECT_EQ(second.next()->payload, "one");
  second = Subscription("another");
  publish("moves", "two");
  publish("another", "three");
  EXPECT_EQ(second.next()->payload, "three");
}

TEST_F(Shared, NamesAndPayloadsHaveLimits) {
  EXPECT_THAT(text_thrown_by<InvalidArgument>([] { publish("", "x"); }), HasSubstr("1 to 1024"));
  EXPECT_THAT(text_thrown_by<InvalidArgument>([] { publish("a", std::string(256 * 1024 + 1, 'x')); }),
              HasSubstr("262145 bytes"));
  EXPECT_THAT(text_thrown_by<InvalidArgument>([] { const Subscription refused(std::string(1025, 'c')); }),
              HasSubstr("1025"));
  Subscription large("large");
  publish("large", std::string(256 * 1024, 'x'));
  EXPECT_EQ(large.next()->payload.size(), 256u * 1024);
}

TEST(SharedEnds, ASubscriptionOfAnEarlierRuntimeSaysSo) {
  std::optional<Runtime> runtime(init({.num_cpus = 1}));
  Subscription old("channel");
  runtime.reset();
  EXPECT_THAT(text_thrown_by<NotInitialized>([&] { (void)old.next(0ms); }), HasSubstr("Subscription::next"));
  runtime = init({.num_cpus = 1});
  EXPECT_THAT(text_thrown_by<NotInitialized>([&] { (void)old.next(0ms); }), HasSubstr("Subscribe again"));
}

int subscribe_and_die(const std::string& channel) {
  static Subscription* const kept = new Subscription(channel);
  (void)kept->next(0ms);
  std::abort();
}

TEST(SharedEnds, AReaderThatDiesLeavesNothingBehind) {
  if (is_local()) GTEST_SKIP() << "the reader would be this process";
  const Runtime runtime = init({.num_cpus = 2});
  for (int i = 0; i < 5; ++i)
    EXPECT_THROW(get(remote<subscribe_and_die>(TaskOptions{.max_retries = 0}, std::string("brief"))), WorkerDied);
  Subscription mine("brief");
  publish("brief", "still");
  EXPECT_EQ(mine.next()->payload, "still");
}

}  // namespace
}  // namespace rayx
