// One test for each rule by which the jobs of a node share its CPUs.
#include "sched/shares.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace rayx::sched {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr Units kOne = kUnitsOfOneCpu;
constexpr JobNumber kA = 1;
constexpr JobNumber kB = 2;
constexpr JobNumber kC = 3;

class SharesTest : public testing::Test {
 protected:
  explicit SharesTest(Units total = 4 * kOne) : shares(total) {
    for (const JobNumber job : {kA, kB}) shares.join(job, now);
    settle();
  }
  ~SharesTest() override { EXPECT_TRUE(shares.is_valid()); }

  // The job uses what it may at once, and gives it back at once.
  Units report(JobNumber job) {
    Wish& wish = wishes[job];
    for (int turn = 0; turn < 3; ++turn) {
      share[job] = shares.report(job, wish, now);
      wish.used = std::max(std::min(wish.wanted, share[job].limit), wish.by_actors);
    }
    shares.report(job, wish, now);
    return share[job].limit;
  }
  Units want(JobNumber job, Units wanted, Units step = kOne) {
    wishes[job].wanted = wanted;
    wishes[job].step = step;
    return report(job);
  }
  // Everybody who is called reports.
  void settle() {
    for (auto called = shares.take_called(); !called.empty(); called = shares.take_called())
      for (const JobNumber job : called) report(job);
  }
  void pass(base::TimeNs ns) {
    now += ns;
    for (const auto& [job, wish] : wishes) report(job);
    settle();
  }
  // What each has used on average.
  std::map<JobNumber, double> run(int quanta) {
    std::map<JobNumber, double> used;
    for (int i = 0; i < quanta; ++i) {
      pass(kQuantum_ns);
      for (const auto& [job, wish] : wishes) used[job] += static_cast<double>(wish.used) / kOne / quanta;
    }
    return used;
  }

  Shares shares;
  std::map<JobNumber, Wish> wishes;
  std::map<JobNumber, Share> share;
  base::TimeNs now = 1;
};

TEST_F(SharesTest, AJobAloneGetsEverything) {
  EXPECT_EQ(want(kA, 100 * kOne), 4 * kOne);
  EXPECT_EQ(share[kA].prospect, 4 * kOne);
  shares.leave(kB, now);
  EXPECT_THAT(shares.take_called(), ElementsAre(kA)) << "it need not look any more";
  report(kA);
  EXPECT_TRUE(share[kA].is_alone);
}

TEST_F(SharesTest, TwoBusyJobsGetHalfEachAfterAQuantum) {
  want(kA, 100 * kOne);
  EXPECT_EQ(want(kB, 100 * kOne), 0);
  EXPECT_THAT(shares.take_called(), ElementsAre(kA)) << "somebody waits for what it has";
  pass(kQuantum_ns);
  EXPECT_EQ(wishes[kA].used, 2 * kOne);
  EXPECT_EQ(wishes[kB].used, 2 * kOne);
  EXPECT_EQ(share[kA].prospect, 2 * kOne);
  pass(kQuantum_ns);
  EXPECT_EQ(wishes[kA].used, 2 * kOne) << "it stays so";
}

TEST_F(SharesTest, WhoWantsLittleGetsItAndTheRestGoesToTheOthers) {
  want(kA, kOne);
  want(kB, 100 * kOne);
  settle();
  EXPECT_EQ(wishes[kA].used, kOne);
  EXPECT_EQ(wishes[kB].used, 3 * kOne);
}

TEST_F(SharesTest, WhatAJobLetsGoOfIsTheOthersAtOnce) {
  want(kA, 100 * kOne);
  want(kB, 100 * kOne);
  pass(kQuantum_ns);
  want(kA, 0);
  EXPECT_THAT(shares.take_called(), ElementsAre(kB));
  report(kB);
  EXPECT_EQ(wishes[kB].used, 4 * kOne);
}

TEST_F(SharesTest, TheCpusOfAJobThatEndsAreTheOthersAtOnce) {
  want(kA, 100 * kOne);
  want(kB, 100 * kOne);
  pass(kQuantum_ns);
  shares.leave(kA, now);
  wishes.erase(kA);
  settle();
  EXPECT_EQ(wishes[kB].used, 4 * kOne);
}

TEST_F(SharesTest, NothingIsGivenBeforeItsUserHasLetGo) {
  want(kA, 100 * kOne);
  want(kB, 100 * kOne);
  now += kQuantum_ns;
  Wish busy = wishes[kA];
  EXPECT_EQ(shares.report(kA, busy, now).limit, 2 * kOne);
  EXPECT_EQ(report(kB), 0) << "its tasks there have not ended";
  busy.used = 3 * kOne;
  shares.report(kA, busy, now);
  EXPECT_EQ(report(kB), kOne);
}

TEST_F(SharesTest, SleepersOfOthersAreAskedForOnceSomebodyWaits) {
  want(kA, 4 * kOne);
  wishes[kA].wanted = 0;  // nobody has told
  wishes[kA].idle = 4 * kOne;
  want(kB, kOne);
  EXPECT_THAT(shares.take_called(), ElementsAre(kA));
  EXPECT_EQ(shares.report(kA, wishes[kA], now).limit, 0);
}

TEST_F(SharesTest, AnIdleJobIsLeftAloneWhileNobodyWaits) {
  want(kA, 4 * kOne);
  wishes[kA].wanted = 0;
  wishes[kA].idle = 4 * kOne;
  EXPECT_EQ(shares.report(kA, wishes[kA], now).limit, 4 * kOne) << "so it need not ask for the next task";
  EXPECT_EQ(shares.report(kA, wishes[kA], now).look_again_ns, base::kNever);
  EXPECT_THAT(shares.take_called(), IsEmpty());
}

TEST_F(SharesTest, WhatAnActorHoldsCountsAndIsNeverTaken) {
  wishes[kA].by_actors = wishes[kA].used = kOne;
  want(kA, 100 * kOne);
  want(kB, 100 * kOne);
  const auto used = run(20);
  EXPECT_NEAR(used.at(kA), 2, 0.1);
  EXPECT_NEAR(used.at(kB), 2, 0.1);
  EXPECT_EQ(share[kB].ceiling, 3 * kOne);
}

TEST_F(SharesTest, ActorsThatHoldMoreThanIsFairAreNoDebt) {
  wishes[kA].by_actors = wishes[kA].used = 3 * kOne;
  want(kA, 100 * kOne);
  want(kB, 100 * kOne);
  run(1'000);
  EXPECT_EQ(wishes[kB].used, kOne);
  wishes[kA].by_actors = 0;
  const auto used = run(20);
  EXPECT_NEAR(used.at(kA), 2, 0.2);
}

TEST_F(SharesTest, ATaskThatWantsMoreThanItsFairPartRunsSomeOfTheTime) {
  want(kA, 3 * kOne, 3 * kOne);
  want(kB, 100 * kOne);
  const auto used = run(1'000);
  EXPECT_NEAR(used.at(kA), 2, 0.1);
  EXPECT_NEAR(used.at(kB), 2, 0.1);
}

TEST_F(SharesTest, ThreeJobsShareFourCpusByTime) {
  shares.join(kC, now);
  for (const JobNumber job : {kA, kB, kC}) want(job, 100 * kOne);
  const auto used = run(1'000);
  for (const JobNumber job : {kA, kB, kC}) EXPECT_NEAR(used.at(job), 4.0 / 3, 0.05) << job;
}

class OneCpu : public SharesTest {
 protected:
  OneCpu() : SharesTest(kOne) {}
  // Both want it, and A's task does not end for a second.
  void a_does_not_let_go() {
    want(kA, kOne);
    want(kB, kOne);
    const Wish busy{.used = kOne, .by_actors = 0, .idle = 0, .wanted = kOne, .step = kOne, .least = 0};
    for (int i = 0; i < 100; ++i) {
      now += kQuantum_ns;
      shares.report(kA, busy, now);
      shares.report(kB, wishes[kB], now);
    }
  }
};

TEST_F(OneCpu, IsSharedByTime) {
  want(kA, 100 * kOne);
  want(kB, kOne);
  int changes = 0;
  Units before = wishes[kA].used;
  double used = 0;
  for (int i = 0; i < 1'000; ++i) {
    pass(kQuantum_ns / 10);
    used += static_cast<double>(wishes[kA].used) / kOne / 1'000;
    changes += wishes[kA].used != before;
    before = wishes[kA].used;
  }
  EXPECT_NEAR(used, 0.5, 0.02);
  EXPECT_LE(changes, 101) << "each has it for a quantum";
  EXPECT_EQ(share[kA].prospect, kOne / 2);
}

TEST_F(OneCpu, LongTasksAreMadeGood) {
  a_does_not_let_go();
  pass(0);
  ASSERT_EQ(wishes[kB].used, kOne);
  EXPECT_NEAR(run(99).at(kB), 1, 0.02);
  EXPECT_NEAR(run(100).at(kB), 0.5, 0.02) << "and then they are even";
}

TEST_F(OneCpu, WhatIsOwedIsForgottenWhenNothingIsWanted) {
  a_does_not_let_go();
  want(kA, 0);
  want(kB, 0);
  pass(kOwedForgotten_ns);
  pass(1);
  want(kA, kOne);
  want(kB, kOne);
  EXPECT_NEAR(run(100).at(kB), 0.5, 0.02);
}

}  // namespace
}  // namespace rayx::sched
