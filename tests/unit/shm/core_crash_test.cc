// The crash-safe core under real kills: one run for each kill point, in which a real process dies exactly there.

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "core_world.hpp"
#include "kit/seed.hpp"

namespace rayx::shm::test {
namespace {

void expect_all_right(const Plan& plan, const Outcome& outcome, int owners_that_finish) {
  for (const std::string& problem : outcome.problems)
    ADD_FAILURE() << "kill point '" << plan.point << "' passed for the " << plan.nth << ". time: " << problem;
  EXPECT_GE(outcome.tasks_done, std::uint64_t{plan.tasks_per_owner} * owners_that_finish) << plan.point;
}

TEST(CrashSafeCore, RunsToTheEndWithoutKills) {
  Plan plan;
  plan.tasks_per_owner = 20'000;
  const Outcome outcome = run(plan);
  expect_all_right(plan, outcome, plan.owners);
  EXPECT_EQ(outcome.executions, outcome.tasks_done) << "a task was executed more than once though nobody died";
}

TEST(CrashSafeCore, RunsWithMoreProcessesThanCoresAndAQueueOfTwoCells) {
  Plan plan;
  plan.owners = 3;
  plan.executors = 5;
  plan.queue_cells = 2;
  const Outcome outcome = run(plan);
  expect_all_right(plan, outcome, plan.owners);
  EXPECT_EQ(outcome.executions, outcome.tasks_done);
}

// Each kill point is written down here, so that one which a change takes away or no longer reaches is noticed.
TEST(CrashSafeCore, PassesEveryKillPoint) {
  const std::set<std::string> expected_executor = {"queue.claim.before",
                                                   "queue.claim.after",
                                                   "running.enter.before_depth",
                                                   "running.enter.after_depth",
                                                   "running.copied",
                                                   "running.released",
                                                   "test.result.half",
                                                   "record.complete.before_exchange",
                                                   "record.complete.after_exchange",
                                                   "completion.after_slab_word",
                                                   "completion.after_summary",
                                                   "completion.after_top",
                                                   "owner.call.before_futex",
                                                   "running.leave.before",
                                                   "running.leave.after",
                                                   "lane.sleep.before_bit",
                                                   "lane.sleep.after_bit"};
  const std::set<std::string> expected_owner = {"queue.push.before_body",
                                                "queue.push.before_full",
                                                "queue.push.after_full",
                                                "lane.wake.before_take",
                                                "lane.wake.after_take",
                                                "lane.wake.before_futex",
                                                "lane.add_submitter.before_version",
                                                "control.publish_queue.before_bit",
                                                "control.handle_deaths.before_word",
                                                "test.owner.unattended"};
  auto names = [](const std::map<std::string, std::uint64_t>& points) {
    std::set<std::string> result;
    for (const auto& [name, count] : points) result.insert(name);
    return result;
  };
  std::set<std::string> executor;
  std::set<std::string> owner;
  for (int attempt = 0; attempt < 5; ++attempt) {
    executor.merge(names(kill_points_of(Role::kExecutor)));
    owner.merge(names(kill_points_of(Role::kOwner)));
  }
  for (const std::string& name : expected_executor) EXPECT_TRUE(executor.count(name)) << "no executor passes " << name;
  for (const std::string& name : expected_owner) EXPECT_TRUE(owner.count(name)) << "no owner passes " << name;
}

void kill_at_every_point(Role victim, Mode mode) {
  std::mt19937_64 random(kit::seed());
  std::map<std::string, std::uint64_t> points;
  for (int attempt = 0; attempt < 3; ++attempt) points.merge(kill_points_of(victim));
  ASSERT_GE(points.size(), 8u);
  for (const auto& [name, count] : points) {
    bool killed = false;
    // Points that are passed rarely may not be reached in one run; the first passing of them is tried again.
    for (int attempt = 0; attempt < 30 && !killed; ++attempt) {
      Plan plan;
      plan.mode = mode;
      plan.victim = victim;
      plan.point = name;
      plan.executors = attempt % 2 == 0 ? 2 : 4;
      plan.nth =
          attempt < 3 ? 1 + static_cast<std::uint32_t>(random() % std::clamp<std::uint64_t>(count / 8, 1, 500)) : 1;
      const Outcome outcome = run(plan);
      killed = outcome.victim_was_killed;
      expect_all_right(plan, outcome, plan.owners - (victim == Role::kOwner && killed ? 1 : 0));
      if (testing::Test::HasFailure()) return;
    }
    EXPECT_TRUE(killed) << "no run reached " << name << ", which was passed " << count << " times before";
  }
}

TEST(CrashSafeCore, SurvivesAnExecutorKilledAtEachPoint) { kill_at_every_point(Role::kExecutor, Mode::kProcesses); }
TEST(CrashSafeCore, SurvivesAnOwnerKilledAtEachPoint) { kill_at_every_point(Role::kOwner, Mode::kProcesses); }
TEST(CrashSafeCoreThreads, RunsToTheEndWithThreads) {
  Plan plan;
  plan.mode = Mode::kThreads;
  plan.executors = 3;
  expect_all_right(plan, run(plan), plan.owners);
}
TEST(CrashSafeCoreThreads, SurvivesAnExecutorThatStopsAtEachPoint) {
  kill_at_every_point(Role::kExecutor, Mode::kThreads);
}

}  // namespace
}  // namespace rayx::shm::test
