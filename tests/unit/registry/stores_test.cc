// Keys and values, and channels.
#include <gtest/gtest.h>

#include "registry/channels.hpp"
#include "registry/key_values.hpp"

namespace rayx::registry {
namespace {

TEST(KeyValues, AreReplacedOnlyIfAskedFor) {
  KeyValues values;
  EXPECT_EQ(values.put({"space", "a", "1", false}), Status::kOk);
  EXPECT_EQ(values.put({"space", "a", "2", false}), Status::kExists);
  EXPECT_EQ(values.put({"other", "a", "3", false}), Status::kOk);
  EXPECT_EQ(*values.find("space", "a"), "1");
  EXPECT_EQ(values.put({"space", "a", "22", true}), Status::kOk);
  EXPECT_EQ(values.bytes(), 3u + 2u);
  EXPECT_TRUE(values.erase("space", "a"));
  EXPECT_FALSE(values.erase("space", "a"));
  EXPECT_EQ(values.bytes(), 2u);
}

TEST(KeyValues, HaveLimits) {
  KeyValues values;
  EXPECT_EQ(values.put({"space", "", "1", true}), Status::kInvalid);
  EXPECT_EQ(values.put({std::string("a\0b", 3), "a", "1", true}), Status::kInvalid);
  EXPECT_EQ(values.put({"space", "a", std::string(kValueBytesMax + 1, 'x'), true}), Status::kInvalid);
  const std::string large(kValueBytesMax, 'x');
  std::size_t count = 0;
  while (values.put({"space", std::to_string(count), large, true}) == Status::kOk) ++count;
  EXPECT_EQ(values.put({"space", std::to_string(count), large, true}), Status::kFull);
  EXPECT_LE(values.bytes(), kStoredBytesMax);
  EXPECT_EQ(values.put({"space", "0", large, true}), Status::kOk)
      << "a value in place of another one needs no more room";
}

TEST(KeyValues, AreListedByPrefixInPieces) {
  KeyValues values;
  for (int i = 0; i < 2'500; ++i)
    ASSERT_EQ(values.put({"space", "key" + std::to_string(10'000 + i), "", true}), Status::kOk);
  ASSERT_EQ(values.put({"space", "other", "", true}), Status::kOk);
  std::size_t sum = 0;
  KvKeys wanted{"space", "key", ""};
  Listed listed;
  do {
    listed = values.list(wanted);
    sum += listed.names.size();
    wanted.after = listed.names.back();
  } while (listed.is_cut);
  EXPECT_EQ(sum, 2'500u);
}

class ChannelsTest : public testing::Test {
 protected:
  static constexpr NodeId kReader{1};
  std::vector<Published> sent;
  Channels channels{[this](NodeId, Published message) { sent.push_back(std::move(message)); }, 2, 3};
};

TEST_F(ChannelsTest, TellOnlyWhoHasSubscribedWhatComesAfter) {
  EXPECT_TRUE(channels.publish("a", "before"));
  EXPECT_EQ(channels.subscribe(kReader, "a"), 1u);
  EXPECT_TRUE(channels.publish("b", "elsewhere"));
  EXPECT_TRUE(channels.publish("a", "after"));
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].payload, "after");
  EXPECT_EQ(sent[0].number, 2u);
  channels.unsubscribe(kReader, "a");
  EXPECT_TRUE(channels.publish("a", "later"));
  EXPECT_EQ(sent.size(), 1u);
}

TEST_F(ChannelsTest, ASlowReaderIsToldHowMuchItMissed) {
  ASSERT_TRUE(channels.subscribe(kReader, "a"));
  for (int i = 1; i <= 10; ++i) EXPECT_TRUE(channels.publish("a", std::to_string(i)));
  EXPECT_EQ(sent.size(), 2u) << "no more are on their way than it may have unseen";
  channels.seen(kReader, 2);
  ASSERT_EQ(sent.size(), 4u);
  EXPECT_EQ(sent[2].payload, "8") << "3 wait, the oldest were dropped";
  EXPECT_EQ(sent[2].missed, 5u);
  EXPECT_EQ(sent[3].missed, 0u);
}

TEST_F(ChannelsTest, WhoIsGoneIsToldNothing) {
  ASSERT_TRUE(channels.subscribe(kReader, "a"));
  ASSERT_TRUE(channels.subscribe(NodeId{2}, "a"));
  channels.drop(kReader);
  channels.unsubscribe(kReader, "a");
  EXPECT_TRUE(channels.publish("a", "after"));
  EXPECT_EQ(sent.size(), 1u);
  EXPECT_EQ(channels.subscribe(kReader, "a"), 1u);
}

// Failed when a head refused its 10,001st channel for ever, also where nobody had subscribed to any.
TEST_F(ChannelsTest, OfTooManyThoseAreForgottenThatNobodyReadsAndThatWereUsedLongestAgo) {
  ASSERT_EQ(channels.subscribe(kReader, "read"), 0u);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(channels.publish("first", ""));
  for (std::size_t i = 0; i < 3 * kChannelsMax; ++i) {
    ASSERT_TRUE(channels.publish(std::to_string(i), "")) << i;
    if (i % 5'000 == 0) {
      ASSERT_TRUE(channels.publish("used", ""));
    }
  }
  ASSERT_TRUE(channels.publish("read", "still there"));
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].number, 1u);
  EXPECT_EQ(sent[0].missed, 0u);
  EXPECT_EQ(channels.subscribe(kReader, "used"), 6u) << "it is the one that it was";
  // A name that is used again goes on with higher numbers than it had.
  const auto number = channels.subscribe(kReader, "first");
  ASSERT_TRUE(number);
  EXPECT_GE(*number, 3u);
  ASSERT_TRUE(channels.publish("first", "again"));
  EXPECT_EQ(sent.back().number, *number + 1);
  EXPECT_EQ(sent.back().missed, 0u);
}

TEST_F(ChannelsTest, ThatAreReadAreNotForgotten) {
  for (std::size_t i = 0; i < kChannelsMax; ++i) ASSERT_TRUE(channels.subscribe(kReader, std::to_string(i)));
  EXPECT_FALSE(channels.publish("one more", ""));
  EXPECT_FALSE(channels.subscribe(kReader, "one more"));
  channels.unsubscribe(kReader, "7");
  EXPECT_TRUE(channels.publish("one more", ""));
  channels.drop(kReader);
  EXPECT_TRUE(channels.publish("another", ""));
}

TEST_F(ChannelsTest, NamesAreShort) {
  EXPECT_FALSE(channels.subscribe(kReader, ""));
  EXPECT_FALSE(channels.publish(std::string(kNameBytesMax + 1, 'x'), ""));
}

}  // namespace
}  // namespace rayx::registry
