// The planner of a cluster: sizes, back-off, avoided hosts, and a world of random trouble from a seed.
#include "cluster/planner.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "kit/seed.hpp"

namespace rayx::cluster {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Wishes final : PlannerEffects {
  void submit(NodeNumber node) override { submits.push_back(node); }
  void end(NodeNumber node, const std::string&) override { ends.push_back(node); }
  std::vector<NodeNumber> submits;
  std::vector<NodeNumber> ends;
};

struct Fixture {
  explicit Fixture(PlannerLimits limits) : planner(limits) {}
  void tick() { planner.tick(now, wishes); }
  void start(NodeNumber node) {
    planner.submitted(node, now);
    planner.joined(node, now);
  }
  Planner planner;
  Wishes wishes;
  TimeNs now = 0;
};

TEST(Planner, AsksForTheLeastAtOnceAndForNoMore) {
  Fixture it({.nodes_min = 3, .nodes_max = 3});
  it.tick();
  it.tick();
  EXPECT_THAT(it.wishes.submits, ElementsAre(1, 2, 3));
}

TEST(Planner, ReplacesWhatIsLostAfterAPauseThatGrows) {
  Fixture it({.nodes_min = 1, .nodes_max = 1});
  it.tick();
  TimeNs pause = kBackOffMinNs;
  for (NodeNumber node = 1; node <= 5; ++node) {
    it.planner.submitted(node, it.now);
    it.planner.status(node, {NodeState::kEnded, "", "it crashed"}, it.now);
    it.now += pause - 1;
    it.tick();
    EXPECT_EQ(it.wishes.submits.size(), node) << "before its time";
    it.now += 1;
    it.tick();
    ASSERT_EQ(it.wishes.submits.size(), node + 1);
    pause = std::min(2 * pause, kBackOffMaxNs);
  }
  EXPECT_EQ(it.planner.failures(), 5);
  EXPECT_EQ(it.planner.last_failure(), "it crashed");
  it.start(6);
  EXPECT_EQ(it.planner.failures(), 0);
}

TEST(Planner, EndsWhatRunsAndDoesNotJoin) {
  Fixture it({.nodes_min = 1, .nodes_max = 1});
  it.tick();
  it.planner.submitted(1, it.now);
  it.planner.status(1, {NodeState::kRunning, "a", ""}, it.now);
  it.now += kJoinPatienceNs;
  it.tick();
  EXPECT_THAT(it.wishes.ends, ElementsAre(1));
  it.planner.status(1, {NodeState::kEnded, "a", ""}, it.now);
  EXPECT_EQ(it.planner.failures(), 1);
}

// A large program on a slow network.
TEST(Planner, AProgramOnItsWayHasMoreTimeThanOneThatRuns) {
  Fixture it({.nodes_min = 1, .nodes_max = 1});
  it.tick();
  it.planner.submitted(1, it.now);
  it.planner.status(1, {NodeState::kRunning, "a", "a launcher"}, it.now);
  it.now += kJoinPatienceNs - 1;
  it.planner.status(1, {NodeState::kFetching, "a", "it fetches the program"}, it.now);
  it.now += kFetchPatienceNs - 1;
  it.tick();
  EXPECT_THAT(it.wishes.ends, IsEmpty());
  it.planner.status(1, {NodeState::kRunning, "a", ""}, it.now);
  it.now += kJoinPatienceNs - 1;
  it.tick();
  EXPECT_THAT(it.wishes.ends, IsEmpty()) << "its minute begins when it was started";
  it.planner.status(1, {NodeState::kFetching, "a", "it fetches the program"}, it.now);
  it.now += kFetchPatienceNs;
  it.tick();
  EXPECT_THAT(it.wishes.ends, ElementsAre(1));
  EXPECT_THAT(it.planner.last_failure(),
              AllOf(HasSubstr("600 s"), HasSubstr("it fetches the program"), HasSubstr("network")));
}

TEST(Planner, NodesForWorkAreThoseThatHelp) {
  constexpr base::Units kCpu = base::kUnitsOfOne;
  EXPECT_EQ(nodes_for({}, 4 * kCpu), 0);
  EXPECT_EQ(nodes_for({{kCpu, 60}}, kCpu), 60);
  EXPECT_EQ(nodes_for({{kCpu, 3}, {kCpu, 5}}, 4 * kCpu), 2);
  EXPECT_EQ(nodes_for({{3 * kCpu, 4}}, 4 * kCpu), 4) << "two of them do not fit in one";
  EXPECT_EQ(nodes_for({{8 * kCpu, 5}}, 4 * kCpu), 0) << "no node has room for one";
  EXPECT_EQ(nodes_for({{8 * kCpu, 5}, {kCpu, 1}}, 4 * kCpu), 1);
  EXPECT_EQ(nodes_for({{0, 1'000}}, 4 * kCpu), 1) << "work that needs no CPU";
  EXPECT_EQ(nodes_for({{kCpu, 7}}, 0), 0) << "nobody knows how large a node is";
  EXPECT_GT(nodes_for({{kCpu, UINT64_MAX}}, kCpu), 1'000);
}

TEST(Planner, WaitsForAPlaceAsLongAsItTakes) {
  Fixture it({.nodes_min = 1, .nodes_max = 1});
  it.tick();
  it.planner.submitted(1, it.now);
  it.planner.status(1, {NodeState::kWaiting, "", "no room"}, it.now);
  it.now += 3'600 * kSecondNs;
  it.tick();
  EXPECT_THAT(it.wishes.ends, IsEmpty());
  EXPECT_EQ(it.planner.nodes().at(1).waits_for, "no room");
}

TEST(Planner, AvoidsAHostWhereNodesFailIfThereIsAnother) {
  Fixture it({.nodes_min = 1, .nodes_max = 1});
  for (NodeNumber node = 1; node <= 2; ++node) {
    it.now += kBackOffMaxNs;
    it.tick();
    it.planner.submitted(node, it.now);
    it.planner.status(node, {NodeState::kEnded, "bad", "full disk"}, it.now);
  }
  EXPECT_THAT(it.planner.avoided_hosts(it.now), IsEmpty()) << "it is the only one";
  it.now += kBackOffMaxNs;
  it.tick();
  it.planner.submitted(3, it.now);
  it.planner.status(3, {NodeState::kRunning, "good", ""}, it.now);
  EXPECT_THAT(it.planner.avoided_hosts(it.now), ElementsAre("bad"));
  it.planner.status(3, {NodeState::kRunning, "bad", ""}, it.now);
  it.tick();
  EXPECT_THAT(it.wishes.ends, ElementsAre(3)) << "the provider did not fulfil the wish";
  EXPECT_THAT(it.planner.avoided_hosts(it.now + kAvoidHostNs), IsEmpty());
}

TEST(Planner, GrowsWithDemandAndShrinksWhenIdle) {
  Fixture it({.nodes_min = 1, .nodes_max = 10, .idle_timeout_ns = 10 * kSecondNs});
  it.tick();
  it.start(1);
  it.planner.wanted_nodes(20, it.now);
  it.tick();
  EXPECT_EQ(it.wishes.submits.size(), 1u) << "it may pass";
  it.now += kDemandPatienceNs;
  it.tick();
  EXPECT_EQ(it.wishes.submits.size(), 1u + kStartingFloor) << "a few at a time";
  for (NodeNumber node = 2; node <= 6; ++node) it.start(node);
  it.tick();
  EXPECT_EQ(it.wishes.submits.size(), 10u) << "and not more than the most";
  for (NodeNumber node = 7; node <= 10; ++node) it.start(node);
  it.planner.wanted_nodes(0, it.now);
  for (NodeNumber node = 1; node <= 10; ++node) it.planner.busy(node, node == 5, it.now);
  it.now += 10 * kSecondNs - 1;
  it.tick();
  EXPECT_THAT(it.wishes.ends, IsEmpty());
  it.now += 1;
  it.planner.busy(7, true, it.now);
  it.tick();
  EXPECT_EQ(it.wishes.ends.size(), 8u) << "all but the two that are busy";
  it.now += 10 * kSecondNs;
  it.planner.busy(5, false, it.now);
  it.tick();
  EXPECT_EQ(it.wishes.ends.size(), 8u);
}

TEST(Planner, TakesBackWhatStillWaitsWhenNobodyWantsItAnyMore) {
  Fixture it({.nodes_min = 1, .nodes_max = 3});
  it.tick();
  it.start(1);
  it.planner.wanted_nodes(2, it.now);
  it.now += kDemandPatienceNs;
  it.tick();
  it.planner.submitted(2, it.now);
  it.planner.submitted(3, it.now);
  it.planner.wanted_nodes(0, it.now);
  it.tick();
  EXPECT_THAT(it.wishes.ends, ElementsAre(2, 3));
}

TEST(Planner, MayBeLostAndFoundAgain) {
  Fixture it({.nodes_min = 1, .nodes_max = 1});
  it.tick();
  it.start(1);
  it.planner.lost(1, it.now);
  it.now += kRejoinPatienceNs - 1;
  it.tick();
  it.planner.joined(1, it.now);
  it.now += 1;
  it.tick();
  EXPECT_THAT(it.wishes.ends, IsEmpty());
  it.planner.lost(1, it.now);
  it.now += kRejoinPatienceNs;
  it.tick();
  EXPECT_THAT(it.wishes.ends, ElementsAre(1));
}

// A provider that is late, refuses, loses, and starts what never joins: the size is never above the most, no wish is for a node that is
// not there, and when the trouble is over the least is reached, and after the end nothing is left.
TEST(Planner, SurvivesAWorldOfTrouble) {
  for (int round = 0; round < 200; ++round) {
    std::mt19937_64 random(kit::seed() + static_cast<std::uint64_t>(round));
    const auto chance = [&random](int percent) { return static_cast<int>(random() % 100) < percent; };
    const int least = 1 + static_cast<int>(random() % 4);
    const int most = least + static_cast<int>(random() % 5);
    Fixture it({.nodes_min = least, .nodes_max = most, .idle_timeout_ns = 5 * kSecondNs});
    enum class Real { kQueued, kRuns, kMember, kEnding };
    std::map<NodeNumber, Real> real;
    const auto serve = [&](bool is_well) {
      for (const NodeNumber node : std::exchange(it.wishes.submits, {})) {
        if (!is_well && chance(20)) {
          it.planner.not_submitted(node, "refused", it.now);
        } else {
          real[node] = Real::kQueued;
          it.planner.submitted(node, it.now);
        }
      }
      for (const NodeNumber node : std::exchange(it.wishes.ends, {})) {
        ASSERT_TRUE(real.contains(node)) << "round " << round;
        if (is_well || chance(80)) real[node] = Real::kEnding;
      }
      for (auto node = real.begin(); node != real.end();) {
        const std::string host = "host-" + std::to_string(node->first % 3);
        const bool dies = node->second == Real::kEnding || (!is_well && chance(5));
        if (dies) {
          if (node->second == Real::kMember) it.planner.lost(node->first, it.now);
          it.planner.status(node->first, {NodeState::kEnded, host, "gone"}, it.now);
          node = real.erase(node);
          continue;
        }
        if (node->second == Real::kQueued && chance(50)) {
          node->second = Real::kRuns;
          it.planner.status(node->first, {NodeState::kRunning, host, ""}, it.now);
        } else if (node->second == Real::kRuns && (is_well || chance(30))) {
          node->second = Real::kMember;
        } else if (node->second == Real::kMember) {
          if (!is_well && chance(5)) {
            it.planner.lost(node->first, it.now);
          } else {
            it.planner.joined(node->first, it.now);
            it.planner.busy(node->first, !is_well && chance(50), it.now);
          }
        }
        ++node;
      }
    };
    for (int step = 0; step < 300; ++step) {
      it.now += static_cast<TimeNs>(random() % (2 * kSecondNs));
      it.planner.wanted_nodes(chance(70) ? static_cast<int>(random() % 6) : 0, it.now);
      it.tick();
      ASSERT_TRUE(it.planner.is_valid()) << "seed " << kit::seed() << " round " << round;
      serve(false);
    }
    it.planner.wanted_nodes(0, it.now);
    for (int step = 0; step < 1'000; ++step) {
      it.now += kSecondNs;
      it.tick();
      serve(true);
    }
    ASSERT_EQ(it.planner.count(Phase::kJoined), least) << "seed " << kit::seed() << " round " << round;
    it.planner.end_all(it.now, it.wishes);
    serve(true);
    serve(true);
    ASSERT_TRUE(it.planner.nodes().empty()) << "seed " << kit::seed() << " round " << round;
  }
}

}  // namespace
}  // namespace rayx::cluster
