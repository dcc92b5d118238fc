#include "sched/scheduler.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace rayx::sched {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr Units kOne = kUnitsOfOneCpu;
constexpr LaneId kSmall = 0;  // tasks of one CPU
constexpr LaneId kLarge = 1;  // of two
constexpr LaneId kActor = 10;
constexpr LaneId kOtherActor = 11;

// Writes down what the scheduler wants: "1 gets 0" (worker, lane), "revoke 1", "dismiss 1"; keeps what it said about lanes.
class Recorder : public Effects {
 public:
  bool has_work(LaneId lane) override { return work.contains(lane); }
  bool is_asleep(WorkerId worker) override { return asleep.contains(worker); }
  std::optional<WorkerId> start_worker() override {
    if (slots == 0) return std::nullopt;
    --slots;
    return ++started;
  }
  void grant(WorkerId worker, LaneId lane) override { want(worker, " gets " + std::to_string(lane)); }
  void revoke(WorkerId worker) override { want(worker, " is taken back"); }
  void dismiss(WorkerId worker) override { want(worker, " is to end"); }
  bool ask_to_leave(WorkerId worker) override {
    want(worker, " may leave");
    return !needed.contains(worker);
  }
  void set_served(LaneId lane, bool is_served) override { served[lane] = is_served; }
  void report_worker_limit(WorkerId worker) override { want(worker, " waits in vain"); }
  void report_no_process(LaneId lane) override { want(lane, " has no process"); }

  void want(std::uint32_t who, const std::string& what) { wanted.emplace_back(std::to_string(who)).append(what); }
  std::vector<std::string> take() { return std::exchange(wanted, {}); }

  std::set<LaneId> work;
  std::set<WorkerId> asleep;
  std::set<WorkerId> needed;  // for what they own
  std::map<LaneId, bool> served;
  std::vector<std::string> wanted;
  WorkerId started = 0;
  int slots = 1'000;
};

class SchedulerTest : public testing::Test {
 protected:
  explicit SchedulerTest(Units cpus = 2 * kOne, std::uint32_t workers_max = 64) : scheduler(cpus, workers_max, node) {
    scheduler.add_class(kSmall, kOne);
    scheduler.add_class(kLarge, 2 * kOne);
  }
  ~SchedulerTest() override { EXPECT_TRUE(scheduler.is_valid()); }
  void demand(LaneId lane) {
    node.work.insert(lane);
    scheduler.demand(lane, now);
  }
  Recorder node;
  Scheduler scheduler;
  base::TimeNs now = 1;
};

TEST_F(SchedulerTest, GivesAllCpusToTheLaneThatAsksFirst) {
  demand(kSmall);
  EXPECT_THAT(node.take(), ElementsAre("1 gets 0", "2 gets 0"));
  EXPECT_TRUE(node.served[kSmall]);
  EXPECT_EQ(scheduler.free_units(), 0);
}

TEST_F(SchedulerTest, TakesSleepersBackAtOnceForALaneThatAsks) {
  demand(kSmall);
  node.work.clear();
  node.asleep = {1, 2};
  node.take();
  demand(kLarge);
  EXPECT_THAT(node.take(), ElementsAre("1 is taken back", "2 is taken back"));
  scheduler.left(1, now);
  EXPECT_THAT(node.take(), IsEmpty());
  scheduler.left(2, now);
  EXPECT_THAT(node.take(), ElementsAre("1 gets 1"));
}

TEST_F(SchedulerTest, TakesTheBusyBackAfterAQuantum) {
  demand(kSmall);
  node.take();
  demand(kLarge);
  EXPECT_THAT(node.take(), IsEmpty());
  EXPECT_EQ(scheduler.next_deadline_ns(), now + kQuantum_ns);
  now = scheduler.next_deadline_ns();
  scheduler.tick(now);
  EXPECT_THAT(node.take(), ElementsAre("1 is taken back", "2 is taken back"));
}

TEST_F(SchedulerTest, AWorkerThatWaitsLendsItsCpu) {
  demand(kSmall);
  node.take();
  scheduler.blocked(1, now);
  EXPECT_THAT(node.take(), ElementsAre("3 gets 0"));
  scheduler.resumed(1, now);
  EXPECT_EQ(scheduler.free_units(), -kOne);
  now += kQuantum_ns;
  scheduler.tick(now);
  EXPECT_THAT(node.take(), ElementsAre("1 is taken back"));
}

// Else a task that is queued while all executors of its lane wait would find nobody, and ask nobody.
TEST_F(SchedulerTest, ALaneWhoseExecutorsAllWaitHasToAskAgain) {
  demand(kSmall);
  node.work.clear();
  node.take();
  scheduler.blocked(1, now);
  EXPECT_TRUE(node.served[kSmall]);
  scheduler.blocked(2, now);
  EXPECT_FALSE(node.served[kSmall]);
  demand(kSmall);
  EXPECT_THAT(node.take(), ElementsAre("3 gets 0", "4 gets 0"));
}

TEST_F(SchedulerTest, LooksAgainAtALaneThatHadAnExecutorThatDied) {
  demand(kSmall);
  node.take();
  scheduler.died(1, false, now);
  EXPECT_THAT(node.take(), ElementsAre("3 gets 0"));
}

TEST_F(SchedulerTest, AnActorKeepsItsCpusUntilItsProcessIsGone) {
  scheduler.add_actor(kActor, kOne, now);
  EXPECT_THAT(node.take(), ElementsAre("1 gets 10"));
  scheduler.remove_actor(kActor, now);
  EXPECT_THAT(node.take(), ElementsAre("1 is to end"));
  EXPECT_EQ(scheduler.free_units(), kOne);
  scheduler.died(1, false, now);
  EXPECT_EQ(scheduler.free_units(), 2 * kOne);
}

TEST_F(SchedulerTest, AnActorWhoseProcessNeverRanGetsAnotherOneSomeTimes) {
  scheduler.add_actor(kActor, kOne, now);
  for (WorkerId worker = 1; worker < kStartsMax; ++worker) scheduler.died(worker, true, now);
  EXPECT_THAT(node.take(), ElementsAre("1 gets 10", "2 gets 10", "3 gets 10", "4 gets 10", "5 gets 10"));
  scheduler.died(kStartsMax, true, now);
  EXPECT_THAT(node.take(), ElementsAre("10 has no process"));
}

// It was killed, or its last handle went, while its process was starting.
TEST_F(SchedulerTest, AnActorThatHasEndedGetsNoOtherProcess) {
  scheduler.add_actor(kActor, kOne, now);
  scheduler.add_actor(kOtherActor, kOne, now);
  node.take();
  scheduler.died(1, false, now);
  scheduler.remove_actor(kOtherActor, now);
  scheduler.died(2, true, now);
  EXPECT_THAT(node.take(), ElementsAre("2 is to end"));
}

TEST_F(SchedulerTest, AnActorThatIsRemovedBeforeItHasCpusIsForgotten) {
  scheduler.add_actor(kActor, 2 * kOne, now);
  scheduler.add_actor(kOtherActor, kOne, now);
  scheduler.remove_actor(kOtherActor, now);
  scheduler.remove_actor(kActor, now);
  node.take();
  scheduler.died(1, false, now);
  EXPECT_THAT(node.take(), IsEmpty());
}

// CPUs that an actor keeps come free when the program lets go of it, perhaps never: nobody is held back for them.
TEST_F(SchedulerTest, ALaneThatWaitsForTheCpusOfAnActorHoldsBackNobody) {
  scheduler.add_actor(kActor, kOne, now);
  demand(kLarge);
  node.take();
  demand(kSmall);
  EXPECT_THAT(node.take(), ElementsAre("2 gets 0"));
  for (int i = 0; i < 10; ++i) scheduler.tick(now += kQuantum_ns);
  EXPECT_THAT(node.take(), IsEmpty()) << "nothing is taken back in vain";
  scheduler.remove_actor(kActor, now);
  scheduler.died(1, false, now);
  EXPECT_THAT(node.take(), ElementsAre("1 is to end", "2 is taken back"));
  scheduler.left(2, now);
  EXPECT_THAT(node.take(), ElementsAre("2 gets 1"));
}

TEST_F(SchedulerTest, AnActorWithoutAProcessSlotIsLookedAtAgain) {
  node.slots = 0;
  scheduler.add_actor(kActor, kOne, now);
  ASSERT_NE(scheduler.next_deadline_ns(), base::kNever);
  node.slots = 1;
  scheduler.tick(scheduler.next_deadline_ns());
  EXPECT_THAT(node.take(), ElementsAre("1 gets 10"));
}

// Two CPUs, and workers 1 to 4 after tasks of 1 and 2 had waited. Of the surplus 3 and 4, 4 was idle first.
class Surplus : public SchedulerTest {
 protected:
  Surplus() {
    demand(kSmall);
    scheduler.blocked(1, now);
    scheduler.blocked(2, now);
    node.work.clear();
    node.asleep = {3, 4};
    scheduler.resumed(1, now);
    scheduler.resumed(2, now);
    EXPECT_THAT(node.take(),
                ElementsAre("1 gets 0", "2 gets 0", "3 gets 0", "4 gets 0", "3 is taken back", "4 is taken back"));
    scheduler.left(4, now);
    scheduler.left(3, now += 1'000'000);
    EXPECT_EQ(scheduler.free_units(), 0);
  }
  void wait() {
    ASSERT_NE(scheduler.next_deadline_ns(), base::kNever);
    scheduler.tick(now = scheduler.next_deadline_ns());
  }
};

TEST_F(Surplus, LeavesAfterSomeTimeWithoutWork) {
  EXPECT_EQ(scheduler.next_deadline_ns(), now - 1'000'000 + kSurplusIdle_ns);
  wait();
  EXPECT_THAT(node.take(), ElementsAre("4 may leave"));
  wait();
  EXPECT_THAT(node.take(), ElementsAre("3 may leave"));
  EXPECT_EQ(scheduler.next_deadline_ns(), base::kNever);
  scheduler.died(3, false, now);
  scheduler.died(4, false, now);
  EXPECT_EQ(scheduler.workers(), 2u);
  EXPECT_EQ(scheduler.next_deadline_ns(), base::kNever) << "there is nothing to look at again";
}

TEST_F(Surplus, IsUsedAgainAndGetsNothingWhileItLeaves) {
  wait();
  node.take();
  node.work.insert(kSmall);
  scheduler.blocked(1, now);
  scheduler.blocked(2, now);
  EXPECT_THAT(node.take(), ElementsAre("3 gets 0", "5 gets 0"));
  scheduler.stays(4, now);
  scheduler.blocked(3, now);
  EXPECT_THAT(node.take(), ElementsAre("4 gets 0"));
}

TEST_F(Surplus, IsAskedEverMoreRarelyWhileItIsNeeded) {
  node.needed = {3};
  wait();
  scheduler.stays(4, now);
  wait();
  EXPECT_THAT(node.take(), ElementsAre("4 may leave", "3 may leave"));
  const base::TimeNs before = now;
  wait();
  EXPECT_THAT(node.take(), ElementsAre("4 may leave"));
  EXPECT_GE(now, before + 2 * kSurplusIdle_ns - 1'000'000);
}

class FewWorkers : public SchedulerTest {
 protected:
  FewWorkers() : SchedulerTest(2 * kOne, 2) {}
};

TEST_F(FewWorkers, TheWaitThatBeganLastIsInVainWhenAllWait) {
  demand(kSmall);
  node.take();
  scheduler.blocked(2, now);
  EXPECT_THAT(node.take(), IsEmpty());
  scheduler.blocked(1, now);
  EXPECT_THAT(node.take(), ElementsAre("1 waits in vain"));
}

TEST_F(FewWorkers, NoWaitIsInVainWithoutWorkThatIsLeft) {
  demand(kSmall);
  node.work.clear();
  node.take();
  scheduler.blocked(1, now);
  scheduler.blocked(2, now);
  EXPECT_THAT(node.take(), IsEmpty());
}

TEST_F(FewWorkers, NoWaitIsInVainWhileAnActorIsAtWork) {
  scheduler.add_actor(kActor, 0, now);
  demand(kSmall);
  node.take();
  scheduler.blocked(2, now);
  scheduler.blocked(3, now);
  EXPECT_THAT(node.take(), IsEmpty());
  node.asleep.insert(1);  // it says so to nobody
  ASSERT_NE(scheduler.next_deadline_ns(), base::kNever);
  scheduler.tick(scheduler.next_deadline_ns());
  EXPECT_THAT(node.take(), ElementsAre("3 waits in vain"));
}

}  // namespace
}  // namespace rayx::sched
