#include "base/where.hpp"

#include <gtest/gtest.h>

#include <random>

#include "kit/seed.hpp"

namespace rayx::base {
namespace {

const Labels kLabels{{"disk", "ssd"}, {"zone", "a"}};
const NodeId kNode{0xabc};

TEST(Where, ASelectorAsksForOneOfItsValuesOrForNone) {
  EXPECT_TRUE(matches(kNode, kLabels, LabelSelector{"zone", false, {"b", "a"}}));
  EXPECT_FALSE(matches(kNode, kLabels, LabelSelector{"zone", false, {"b"}}));
  EXPECT_FALSE(matches(kNode, kLabels, LabelSelector{"zone", true, {"b", "a"}}));
  EXPECT_TRUE(matches(kNode, kLabels, LabelSelector{"gpu", true, {"t4"}}));
  EXPECT_FALSE(matches(kNode, kLabels, LabelSelector{"gpu", false, {"t4"}}));
}

TEST(Where, EveryNodeHasItsIdAsALabel) {
  EXPECT_TRUE(matches(kNode, kLabels, LabelSelector{std::string(kNodeIdLabel), false, {to_text(kNode)}}));
  EXPECT_FALSE(matches(kNode, kLabels, LabelSelector{std::string(kNodeIdLabel), false, {to_text(NodeId{1})}}));
  EXPECT_FALSE(matches(kNode, kLabels, LabelSelector{std::string(kNodeIdLabel), true, {to_text(kNode)}}));
}

TEST(Where, AllSelectorsHaveToHold) {
  const LabelSelector zone{"zone", false, {"a"}};
  const LabelSelector disk{"disk", true, {"ssd"}};
  EXPECT_TRUE(matches(kNode, kLabels, std::vector{zone}));
  EXPECT_FALSE(matches(kNode, kLabels, std::vector{zone, disk}));
  EXPECT_EQ(to_text({zone, disk}), "zone is one of a and disk is none of ssd");
}

Where random_where(std::mt19937_64& random) {
  Where where;
  where.spreads = random() % 2 == 0;
  const auto text = [&] { return std::string(random() % 5, static_cast<char>('a' + random() % 26)); };
  for (std::uint64_t i = random() % 4; i != 0; --i) {
    LabelSelector& selector = where.selectors.emplace_back(LabelSelector{text(), random() % 2 == 0, {}});
    for (std::uint64_t values = random() % 4; values != 0; --values) selector.values.push_back(text());
  }
  return where;
}

TEST(Where, IsReadAsItWasWritten) {
  std::mt19937_64 random(kit::seed());
  for (int i = 0; i < 10'000; ++i) {
    const Where where = random_where(random);
    EXPECT_EQ(decode_where(encode(where)), where);
  }
  EXPECT_EQ(encode(Where{}), "");
}

TEST(Where, DamagedTextIsRefusedOrMeansSomethingElse) {
  std::mt19937_64 random(kit::seed());
  for (int i = 0; i < 10'000; ++i) {
    std::string text = encode(random_where(random));
    if (text.empty()) continue;
    text[random() % text.size()] = static_cast<char>(random());
    text.resize(random() % (text.size() + 1));
    const std::optional<Where> where = decode_where(text);
    if (where) {
      EXPECT_EQ(encode(*where), text);
    }
  }
}

}  // namespace
}  // namespace rayx::base
