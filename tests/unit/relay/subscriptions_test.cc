// Who reads which channel on a node, and what waits for him.
#include "relay/subscriptions.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "kit/seed.hpp"

namespace rayx::relay {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint32_t kOwner = 3;
constexpr std::uint32_t kOther = 4;

class SubscriptionsTest : public testing::Test, protected Subscriptions::Sink {
 protected:
  void begin_reading(const std::string& channel) override { EXPECT_TRUE(read.insert(channel).second); }
  void end_reading(const std::string& channel) override { EXPECT_EQ(read.erase(channel), 1u); }
  void reader_is_there(std::uint64_t question, std::uint64_t reader) override { readers[question] = reader; }
  void give_news(std::uint64_t question, const detail::News& given) override {
    EXPECT_FALSE(news.contains(question)) << "answered twice";
    news[question] = given;
  }
  void refuse(std::uint64_t question, ErrorCode code, const std::string& why) override {
    refused[question] = std::string(to_string(code)) + ": " + why;
  }
  std::uint64_t open(const std::string& channel, std::uint32_t owner = kOwner) {
    const std::uint64_t question = ++last_question;
    subscriptions.open(channel, owner, question);
    subscriptions.confirmed(channel, false);
    return readers.at(question);
  }
  // What there is: at once.
  detail::News read_now(std::uint64_t reader, std::uint64_t seen, std::uint32_t owner = kOwner) {
    subscriptions.read(reader, owner, seen, ++last_question);
    return news[last_question];
  }
  static std::vector<std::string> texts(const detail::News& news) {
    std::vector<std::string> all;
    for (const Message& message : news.messages)
      all.push_back(message.payload + (message.missed > 0 ? " after " + std::to_string(message.missed) : ""));
    return all;
  }

  std::set<std::string> read;
  std::map<std::uint64_t, std::uint64_t> readers;
  std::map<std::uint64_t, detail::News> news;
  std::map<std::uint64_t, std::string> refused;
  std::uint64_t last_question = 0;
  Subscriptions subscriptions{*this};
};

TEST_F(SubscriptionsTest, GiveWhatIsPublishedAfterTheReaderIsThere) {
  subscriptions.open("a", kOwner, 1);
  EXPECT_THAT(read, ElementsAre("a"));
  EXPECT_THAT(readers, IsEmpty()) << "the cluster has not said yes";
  subscriptions.confirmed("a", false);
  const std::uint64_t reader = readers.at(1);
  subscriptions.published("b", "of another channel", 0);
  subscriptions.published("a", "one", 0);
  subscriptions.read(reader, kOwner, 0, 2);
  EXPECT_THAT(texts(news.at(2)), ElementsAre("one"));
  subscriptions.read(reader, kOwner, 1, 3);
  EXPECT_FALSE(news.contains(3));
  subscriptions.published("a", "two", 0);
  EXPECT_EQ(news.at(3).first, 2u);
  EXPECT_THAT(texts(news.at(3)), ElementsAre("two"));
}

TEST_F(SubscriptionsTest, GiveAgainWhatDidNotArrive) {
  const std::uint64_t reader = open("a");
  for (const char* const text : {"one", "two", "three"}) subscriptions.published("a", text, 0);
  EXPECT_THAT(texts(read_now(reader, 0)), ElementsAre("one", "two", "three"));
  EXPECT_THAT(texts(read_now(reader, 0)), ElementsAre("one", "two", "three"));
  const detail::News rest = read_now(reader, 2);
  EXPECT_EQ(rest.first, 3u);
  EXPECT_THAT(texts(rest), ElementsAre("three"));
}

TEST_F(SubscriptionsTest, SayHowManyWereMissed) {
  const std::uint64_t reader = open("a");
  subscriptions.missed("a", 4);
  subscriptions.published("a", "one", 2);
  subscriptions.missed("a", std::nullopt);
  subscriptions.published("a", "two", 1);
  const detail::News all = read_now(reader, 0);
  EXPECT_EQ(all.messages[0].missed, 6u);
  EXPECT_EQ(all.messages[1].missed, kMissedUnknown);
}

TEST_F(SubscriptionsTest, DropTheOldestOfAReaderThatIsTooSlow) {
  const std::uint64_t reader = open("a");
  for (std::size_t i = 1; i <= Subscriptions::kWaitingMax + 5; ++i) subscriptions.published("a", std::to_string(i), 0);
  detail::News all = read_now(reader, 0);
  EXPECT_EQ(all.first, 6u);
  EXPECT_EQ(all.messages.size(), Subscriptions::kWaitingMax);
  EXPECT_EQ(texts(all).front(), "6 after 5");
  const std::uint64_t seen = all.first + all.messages.size() - 1;
  const std::string large(1u << 20, 'x');
  for (int i = 0; i < 20; ++i) subscriptions.published("a", large, 0);
  all = read_now(reader, seen);
  EXPECT_EQ(all.messages.size(), 1u) << "so many bytes go in one answer";
  EXPECT_EQ(all.messages[0].missed, 4u) << "16 MiB wait for a reader";
}

TEST_F(SubscriptionsTest, CountAsMissedOnlyWhatDidNotArrive) {
  const std::uint64_t reader = open("a");
  const auto publish = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) subscriptions.published("a", "x", i == 0 ? 7 : 0);
  };
  publish(10);
  EXPECT_EQ(read_now(reader, 0).messages.size(), 10u);
  publish(Subscriptions::kWaitingMax);  // in place of the ten
  detail::News all = read_now(reader, 0);
  EXPECT_EQ(all.first, 11u);
  EXPECT_EQ(all.messages[0].missed, 24u) << "none of the ten had arrived, and seven were missed before";
  EXPECT_EQ(read_now(reader, 4).messages[0].missed, 13u) << "six of the ten had not";
  EXPECT_EQ(read_now(reader, 10).messages[0].missed, 7u) << "the ten had arrived";
}

TEST_F(SubscriptionsTest, ReadAChannelOnceAndAsLongAsSomebodyWantsIt) {
  const std::uint64_t first = open("a");
  const std::uint64_t second = open("a", kOther);
  subscriptions.published("a", "for both", 0);
  EXPECT_THAT(texts(read_now(first, 0)), ElementsAre("for both"));
  EXPECT_THAT(texts(read_now(second, 0, kOther)), ElementsAre("for both"));
  subscriptions.close(first, kOwner);
  EXPECT_THAT(read, ElementsAre("a"));
  subscriptions.owner_has_died(kOther);
  EXPECT_THAT(read, IsEmpty());
  EXPECT_EQ(subscriptions.readers(), 0u);
  (void)open("a");
  EXPECT_THAT(read, ElementsAre("a"));
}

TEST_F(SubscriptionsTest, AreTheirOwnersAlone) {
  const std::uint64_t reader = open("a");
  subscriptions.published("a", "one", 0);
  EXPECT_THAT(read_now(reader, 0, kOther).messages, IsEmpty());
  EXPECT_THAT(refused.at(last_question), HasSubstr("does not know it"));
  subscriptions.close(reader, kOther);
  EXPECT_EQ(subscriptions.readers(), 1u);
}

TEST_F(SubscriptionsTest, RefuseWhatCannotBe) {
  const std::uint64_t reader = open("a");
  subscriptions.read(reader, kOwner, 0, 100);
  subscriptions.read(reader, kOwner, 0, 101);
  EXPECT_THAT(refused.at(101), HasSubstr("two threads"));
  subscriptions.close(reader, kOwner);
  EXPECT_THAT(refused.at(100), HasSubstr("has ended"));
  subscriptions.open("b", kOwner, 102);
  subscriptions.confirmed("b", true);
  EXPECT_THAT(refused.at(102), HasSubstr("10000 channels"));
  EXPECT_EQ(subscriptions.readers(), 0u);
  for (std::size_t i = 0; i < Subscriptions::kReadersMax; ++i) (void)open("c");
  subscriptions.open("c", kOwner, 103);
  EXPECT_THAT(refused.at(103), HasSubstr("1000 subscriptions"));
}

// Against a list of what each reader is to get.
TEST_F(SubscriptionsTest, LoseNothingUnsaidInRandomPrograms) {
  std::mt19937_64 random(kit::seed());
  struct Model {
    std::string channel;
    std::uint32_t owner = 0;
    std::deque<int> due;  // numbers of the channel's messages
    std::uint64_t seen = 0;
    std::uint64_t question = 0;
  };
  std::map<std::uint64_t, Model> models;
  std::map<std::string, int> published;
  const auto take = [&](Model& model) {
    if (model.question == 0 || !news.contains(model.question)) return;
    const detail::News given = news.at(model.question);
    model.question = 0;
    if (random() % 4 == 0) return;  // the answer is lost
    ASSERT_EQ(given.first, model.seen + 1);
    for (const Message& message : given.messages) {
      ASSERT_FALSE(model.due.empty());
      const int number = std::stoi(message.payload);
      ASSERT_EQ(number, model.due.front());
      ASSERT_EQ(message.missed, 0u);
      model.due.pop_front();
      ++model.seen;
    }
  };
  for (int step = 0; step < 20'000; ++step) {
    const std::string channel(1, static_cast<char>('a' + random() % 3));
    switch (random() % 8) {
      case 0:
        if (models.size() < 20) {
          const auto owner = static_cast<std::uint32_t>(random() % 4);
          models[open(channel, owner)] = {channel, owner, {}, 0, 0};
        }
        break;
      case 1:
        if (models.empty() || random() % 4 != 0) break;
        subscriptions.close(models.begin()->first, models.begin()->second.owner);
        models.erase(models.begin());
        break;
      case 2: {
        if (random() % 20 != 0) break;
        const auto owner = static_cast<std::uint32_t>(random() % 4);
        subscriptions.owner_has_died(owner);
        std::erase_if(models, [owner](const auto& it) { return it.second.owner == owner; });
        break;
      }
      case 3:
      case 4: {
        const int number = ++published[channel];
        for (auto& [reader, model] : models)
          if (model.channel == channel) model.due.push_back(number);
        subscriptions.published(channel, std::to_string(number), 0);
        break;
      }
      default:
        for (auto& [reader, model] : models) {
          if (random() % 2 == 0 || model.question != 0) continue;
          model.question = ++last_question;
          subscriptions.read(reader, model.owner, model.seen, model.question);
        }
    }
    for (auto& [reader, model] : models) ASSERT_NO_FATAL_FAILURE(take(model));
  }
  for (auto& [reader, model] : models) {
    while (!model.due.empty()) {
      if (model.question == 0) {
        model.question = ++last_question;
        subscriptions.read(reader, model.owner, model.seen, model.question);
      }
      ASSERT_NO_FATAL_FAILURE(take(model));
    }
  }
}

}  // namespace
}  // namespace rayx::relay
