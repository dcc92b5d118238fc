#include "base/cluster_ids.hpp"

#include <gtest/gtest.h>

namespace rayx::base {
namespace {

TEST(ClusterIds, AreWrittenWithAllDigitsAndReadBack) {
  EXPECT_EQ(to_text(NodeId{0xab}), "00000000000000ab");
  EXPECT_EQ(to_text(JobId{7}), "00000007");
  EXPECT_EQ(parse_node_id("00000000000000ab"), NodeId{0xab});
  EXPECT_EQ(parse_job_id("00000007"), JobId{7});
  EXPECT_EQ(parse_actor_id(to_text(ActorId{UINT64_MAX})), ActorId{UINT64_MAX});
}

TEST(ClusterIds, OfAnotherLengthOrWithOtherLettersOrZeroAreNone) {
  EXPECT_FALSE(parse_node_id("ab"));
  EXPECT_FALSE(parse_node_id("00000000000000AB"));
  EXPECT_FALSE(parse_node_id("000000000000000g"));
  EXPECT_FALSE(parse_node_id("0000000000000000"));
  EXPECT_FALSE(parse_job_id("000000007"));
}

TEST(ClusterIds, ASiteHasAnAliasOfItsOwnForOtherPrograms) {
  const SiteId site{NodeId{5}, JobId{1}, false};
  const SiteId of_detached{NodeId{5}, JobId{1}, true};
  const SiteId of_another{NodeId{5}, JobId{2}, false};
  EXPECT_EQ(alias_of(site), alias_of(SiteId{NodeId{5}, JobId{1}}));
  EXPECT_NE(alias_of(site), alias_of(of_detached));
  EXPECT_NE(alias_of(site), alias_of(of_another));
  EXPECT_NE(alias_of(site), site.node);
  EXPECT_TRUE(site.is_one_with({NodeId{6}, JobId{1}}));
  EXPECT_FALSE(site.is_one_with(of_detached));
  EXPECT_FALSE(of_detached.is_one_with({NodeId{6}, JobId{1}, true}));
  EXPECT_FALSE(site.is_one_with(of_another));
}

TEST(ClusterResources, AddAndSubtractWithoutLeavingZeros) {
  Resources a;
  a.cpus = 2;
  a.set("gpu", 3);
  Resources b;
  b.set("gpu", 3);
  b.set("disk", 1);
  a += b;
  EXPECT_EQ(a.other("gpu"), 6);
  EXPECT_EQ(a.others.front().first, "disk");
  a -= b;
  a -= b;
  EXPECT_EQ(a.other("gpu"), 0);
  EXPECT_EQ(a.other("disk"), -1);
  EXPECT_EQ(a.others.size(), 1u);
}

TEST(ClusterResources, FitWhereAllThatIsAskedForIsFree) {
  Resources free;
  free.cpus = kUnitsOfOne;
  free.set("gpu", -5);
  Resources wanted;
  wanted.cpus = kUnitsOfOne;
  EXPECT_TRUE(wanted.fits_in(free)) << "what is overdrawn and not asked for does not matter";
  wanted.set("gpu", 1);
  EXPECT_FALSE(wanted.fits_in(free));
  EXPECT_TRUE(Resources{}.fits_in(free));
}

TEST(ClusterResources, LoadIsThatOfTheScarcest) {
  Resources total;
  total.cpus = 100;
  total.memory_bytes = 1000;
  Resources used;
  used.cpus = 10;
  used.memory_bytes = 700;
  EXPECT_EQ(load_permille(used, total), 700);
  EXPECT_EQ(load_permille(used, {}), 0);
}

TEST(ClusterLabels, AreSelectedByValueOrByNotHavingIt) {
  const Labels labels = {{"arch", "x86"}, {"zone", "a"}};
  EXPECT_TRUE(matches(labels, {"zone", false, {"b", "a"}}));
  EXPECT_FALSE(matches(labels, {"zone", true, {"a"}}));
  EXPECT_FALSE(matches(labels, {"rack", false, {"1"}}));
  EXPECT_TRUE(matches(labels, {"rack", true, {"1"}}));
}

}  // namespace
}  // namespace rayx::base
