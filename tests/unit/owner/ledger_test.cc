#include "owner/ledger.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace rayx::owner {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Writes down what the ledger wants: "queue 3", "fail 3 as 1", "lose 3", "release 3", "free 3".
struct World {
  std::deque<Node> nodes = std::deque<Node>(20'000);
  std::vector<std::string> wanted;
  std::set<Index> held;
  std::function<void(Index)> on_release = [](Index) {};

  Node& node(Index i) { return nodes[i]; }
  void enqueue(Index i) { want("queue", i); }
  void fail_as(Index i, Index cause) {
    want("fail", i);
    wanted.back().append(" as ").append(std::to_string(cause));
  }
  void fail_lost(Index i) { want("lose", i); }
  void release_needs(Index i) {
    want("release", i);
    on_release(i);
  }
  bool is_held_elsewhere(Index i) { return held.contains(i); }
  void free(Index i) { want("free", i); }
  void want(const char* what, Index i) { wanted.emplace_back(what).append(" ").append(std::to_string(i)); }
  std::vector<std::string> take() { return std::exchange(wanted, {}); }
};

class LedgerTest : public testing::Test {
 protected:
  void submit_needing(Index task, std::vector<Index> needs, std::int32_t retries = 0) {
    ledger.submit(task, retries, needs);
  }
  World world;
  Ledger<World> ledger{world};
};

TEST_F(LedgerTest, QueuesATaskWithoutNeedsAtOnce) {
  ledger.submit(1, 0);
  EXPECT_THAT(world.take(), ElementsAre("queue 1"));
}

TEST_F(LedgerTest, QueuesATaskWhenAllThatItNeedsIsThere) {
  ledger.submit(1, 0);
  ledger.submit(2, 0);
  ledger.put(3);
  submit_needing(4, {1, 2, 1, 3});
  world.take();
  ledger.done(1, false);
  EXPECT_THAT(world.take(), ElementsAre("release 1"));
  ledger.done(2, false);
  EXPECT_THAT(world.take(), ElementsAre("queue 4", "release 2"));
}

TEST_F(LedgerTest, FailsATaskWithTheFirstNeedThatFails) {
  ledger.submit(1, 0);
  ledger.submit(2, 0);
  submit_needing(3, {1, 2});
  world.take();
  ledger.done(1, true);
  EXPECT_THAT(world.take(), ElementsAre("fail 3 as 1", "release 1", "release 3"));
  ledger.done(2, true);
  EXPECT_THAT(world.take(), ElementsAre("release 2"));
}

TEST_F(LedgerTest, FailsATaskAtOnceWhoseNeedHasFailed) {
  ledger.submit(1, 0);
  ledger.done(1, true);
  world.take();
  const Index needs[] = {1};
  EXPECT_FALSE(ledger.submit(2, 0, needs));
  EXPECT_THAT(world.take(), ElementsAre("fail 2 as 1", "release 2"));
}

TEST_F(LedgerTest, AFailureTravelsALongChainWithoutRecursion) {
  constexpr Index kLinks = 19'999;
  ledger.submit(0, 0);
  for (Index i = 1; i <= kLinks; ++i) submit_needing(i, {i - 1});
  ledger.done(0, true);
  EXPECT_EQ(world.nodes[kLinks].phase, Phase::kDone);
  EXPECT_TRUE(world.nodes[kLinks].is_error);
}

TEST_F(LedgerTest, ALostTaskIsQueuedAgainAsOftenAsItMay) {
  ledger.submit(1, 2);
  for (int i = 0; i < 2; ++i) ledger.lost(1, true);
  EXPECT_THAT(world.take(), ElementsAre("queue 1", "queue 1", "queue 1"));
  ledger.lost(1, true);
  EXPECT_THAT(world.take(), ElementsAre("lose 1", "release 1"));
}

TEST_F(LedgerTest, ATaskThatWasNotBegunCostsNoRetry) {
  ledger.submit(1, 0);
  for (int i = 0; i < 100; ++i) ledger.lost(1, false);
  EXPECT_EQ(world.take().size(), 101u);
  ledger.lost(1, true);
  EXPECT_THAT(world.take(), ElementsAre("lose 1", "release 1"));
}

TEST_F(LedgerTest, SomeTasksAreTriedForEver) {
  ledger.submit(1, kRetryForEver);
  for (int i = 0; i < 100; ++i) ledger.lost(1, true);
  EXPECT_EQ(world.take().size(), 101u);
}

TEST_F(LedgerTest, NewsThatComeTwiceOrLateAreHarmless) {
  ledger.submit(1, 3);
  ledger.done(1, false);
  world.take();
  ledger.done(1, true);
  ledger.lost(1, true);
  EXPECT_THAT(world.take(), IsEmpty());
  EXPECT_FALSE(world.nodes[1].is_error);
  ledger.dropped(1);
  world.take();
  ledger.lost(1, true);
  ledger.done(1, false);
  EXPECT_THAT(world.take(), IsEmpty());
}

TEST_F(LedgerTest, ATaskThatWasGivenBackIsQueuedAgainWhenItsNeedsAreThere) {
  ledger.submit(1, 0);
  ledger.submit(2, 0);
  ledger.submit(3, 0);  // needs both, and lies behind them
  world.take();
  const Index needs[] = {1, 2};
  ledger.done(1, false);
  ledger.returned(3, needs);
  EXPECT_THAT(world.take(), ElementsAre("release 1"));
  ledger.done(2, false);
  EXPECT_THAT(world.take(), ElementsAre("queue 3", "release 2"));
}

TEST_F(LedgerTest, ATaskThatWasGivenBackWhenItsNeedsHadJustComeIsQueuedAtOnce) {
  ledger.submit(1, 0);
  ledger.submit(2, 0);
  ledger.done(1, false);
  world.take();
  const Index needs[] = {1};
  ledger.returned(2, needs);
  EXPECT_THAT(world.take(), ElementsAre("queue 2"));
}

TEST_F(LedgerTest, ATaskThatWasGivenBackFailsWithWhatItNeeds) {
  ledger.submit(1, 0);
  ledger.submit(2, 3);
  world.take();
  const Index needs[] = {1};
  ledger.returned(2, needs);
  ledger.done(1, true);
  EXPECT_THAT(world.take(), ElementsAre("fail 2 as 1", "release 1", "release 2"));
}

// Its executor was killed right after it had given the task back, and the owner had heard of that.
TEST_F(LedgerTest, ATaskThatWasGivenBackIsNotLostWithItsExecutor) {
  ledger.submit(1, 0);
  ledger.submit(2, 0);
  world.take();
  const Index needs[] = {1};
  ledger.returned(2, needs);
  ledger.returned(2, needs);  // heard again, with the death
  ledger.lost(2, true);
  EXPECT_THAT(world.take(), IsEmpty());
  ledger.done(1, false);
  EXPECT_THAT(world.take(), ElementsAre("queue 2", "release 1"));
  ledger.done(2, false);
  ledger.returned(2, needs);
  EXPECT_THAT(world.take(), ElementsAre("release 2"));
}

TEST_F(LedgerTest, FreesADroppedResultWhenItIsDone) {
  ledger.submit(1, 0);
  ledger.dropped(1);
  EXPECT_THAT(world.take(), ElementsAre("queue 1"));
  ledger.done(1, false);
  EXPECT_THAT(world.take(), ElementsAre("release 1", "free 1"));
}

TEST_F(LedgerTest, KeepsWhatAnotherProcessHoldsUntilItLetsGo) {
  ledger.put(1);
  world.nodes[1].is_shared = true;
  world.held.insert(1);
  ledger.dropped(1);
  ledger.released_elsewhere(1);
  EXPECT_THAT(world.take(), IsEmpty());
  world.held.clear();
  ledger.released_elsewhere(1);
  EXPECT_THAT(world.take(), ElementsAre("free 1"));
}

TEST_F(LedgerTest, AReferenceThatCameBackKeepsTheObject) {
  ledger.put(1);
  world.nodes[1].is_shared = true;
  world.held.insert(1);
  ledger.dropped(1);
  ledger.revived(1);
  world.held.clear();
  ledger.released_elsewhere(1);
  EXPECT_THAT(world.take(), IsEmpty());
  ledger.dropped(1);
  EXPECT_THAT(world.take(), ElementsAre("free 1"));
}

TEST_F(LedgerTest, ATaskThatFailedEarlyIsFreedWhenNobodyNamesItAsDependent) {
  ledger.submit(1, 0);
  ledger.submit(2, 0);
  submit_needing(3, {1, 2});
  ledger.dropped(3);
  world.take();
  ledger.done(1, true);
  EXPECT_THAT(world.take(), ElementsAre("fail 3 as 1", "release 1", "release 3"));
  ledger.done(2, false);
  EXPECT_THAT(world.take(), ElementsAre("free 3", "release 2"));
}

// Two of its needs fail before it is its turn to be settled.
TEST_F(LedgerTest, ATaskFailsOnceThoughSeveralOfItsNeedsFail) {
  ledger.submit(1, 0);
  submit_needing(2, {1});
  submit_needing(3, {1, 2});
  submit_needing(4, {1, 2, 3});
  world.take();
  ledger.done(1, true);
  std::vector<std::string> wanted = world.take();
  std::erase_if(wanted, [](const std::string& what) { return !what.starts_with("fail"); });
  EXPECT_THAT(wanted, testing::UnorderedElementsAre("fail 2 as 1", "fail 3 as 1", "fail 4 as 1"));
}

// It had failed with something else, and let go of the borrowed object that it still waited for.
TEST_F(LedgerTest, ABorrowedObjectThatGoesBeforeItIsDoneIsWaitedForByNobody) {
  ledger.borrow(1);
  ledger.submit(2, 0);
  submit_needing(3, {1, 2});
  world.on_release = [&](Index task) {
    if (task == 3) ledger.dropped(1);
  };
  world.take();
  ledger.done(2, true);
  EXPECT_THAT(world.take(), ElementsAre("fail 3 as 2", "release 2", "release 3", "free 1"));
  ledger.dropped(3);
  EXPECT_THAT(world.take(), ElementsAre("free 3"));
}

// The last reference to what a task needs is the task's own.
TEST_F(LedgerTest, WhoMayGoWaitsNoLongerForWhatWasMadeElsewhere) {
  ledger.submit(1, 1);
  ledger.submit(2, 0);
  submit_needing(3, {1});
  submit_needing(4, {1, 1});
  submit_needing(5, {1, 2});
  submit_needing(6, {1});
  world.take();
  ledger.made_elsewhere(1, [](Index task) { return task != 6; });
  EXPECT_THAT(world.take(), testing::UnorderedElementsAre("queue 3", "queue 4"));
  ledger.made_elsewhere(1, [](Index) { return true; });
  EXPECT_THAT(world.take(), ElementsAre("queue 6"));
  ledger.done(2, false);
  EXPECT_THAT(world.take(), ElementsAre("queue 5", "release 2"));
  ledger.done(1, false);
  EXPECT_THAT(world.take(), ElementsAre("release 1"));
  ledger.made_elsewhere(1, [](Index) { return true; });  // late
  EXPECT_THAT(world.take(), IsEmpty());
}

TEST_F(LedgerTest, WhatIsSpentMayBeginAgainAsOftenAsItMayBeTried) {
  ledger.submit(1, 1);
  world.nodes[1].is_pinned = true;
  ledger.dropped(1);
  ledger.spent(1);
  ledger.lost(1, true);  // late
  world.take();
  ledger.revived(1);
  EXPECT_TRUE(ledger.again(1, {}));
  EXPECT_THAT(world.take(), ElementsAre("queue 1"));
  ledger.dropped(1);
  ledger.spent(1);
  ledger.revived(1);
  EXPECT_FALSE(ledger.again(1, {}));
  EXPECT_THAT(world.take(), IsEmpty());
}

TEST_F(LedgerTest, WhatBeginsAgainWaitsForWhatItNeeds) {
  ledger.submit(1, 1);
  ledger.submit(2, 1);
  ledger.dropped(2);
  ledger.spent(2);
  world.take();
  const Index needs[] = {1};
  EXPECT_TRUE(ledger.again(2, needs));
  EXPECT_THAT(world.take(), IsEmpty());
  ledger.done(1, false);
  EXPECT_THAT(world.take(), ElementsAre("queue 2", "release 1"));
}

TEST_F(LedgerTest, WhatIsPinnedIsFreedWhenItIsUnpinned) {
  ledger.submit(1, 1);
  world.nodes[1].is_pinned = true;
  ledger.dropped(1);
  ledger.done(1, false);
  world.take();
  ledger.unpinned(1);
  EXPECT_THAT(world.take(), ElementsAre("free 1"));
  // And what is over without having been read.
  ledger.submit(2, 1);
  world.nodes[2].is_pinned = true;
  ledger.dropped(2);
  ledger.spent(2);
  world.take();
  ledger.unpinned(2);
  EXPECT_THAT(world.take(), IsEmpty());
  ledger.done(2, false);
  EXPECT_THAT(world.take(), ElementsAre("release 2", "free 2"));
}

TEST_F(LedgerTest, LettingGoOfNeedsMayFreeThem) {
  ledger.put(1);
  submit_needing(2, {1});
  world.on_release = [&](Index task) {
    if (task == 2) ledger.dropped(1);
  };
  world.take();
  ledger.done(2, false);
  EXPECT_THAT(world.take(), ElementsAre("release 2", "free 1"));
}

}  // namespace
}  // namespace rayx::owner
