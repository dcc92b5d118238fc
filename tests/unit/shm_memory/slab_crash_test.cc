// Slabs under real deaths: one run for each kill point, in which a process ends exactly there.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "kit/seed.hpp"
#include "slab_world.hpp"

namespace rayx::shm::test {
namespace {

// Written down, so that a kill point which a change takes away or no longer reaches is noticed.
const std::set<std::string> kExpectedPoints = {
    "slab.format.before",          "slab.format.unmarked",       "slab.format.cleared",
    "slab.format.described",       "slab.format.marked",         "slab.allocate.before_name",
    "slab.allocate.before_use",    "slab.allocate.after_use",    "slab.give.before_use",
    "slab.give.after_use",         "slab.free_local.before_use", "slab.free_local.after_use",
    "slab.free_remote.before_bit", "slab.free_remote.after_bit", "slab.collect.header_cleared",
    "slab.collect.before_bits",    "slab.collect.after_bits",    "slab.retire.before",
    "slab.retire.after",           "test.before_publish",        "test.after_publish",
    "test.before_record_is_free",  "test.before_mail_is_taken"};

void expect_all_right(const SlabPlan& plan, const SlabOutcome& outcome) {
  for (const std::string& problem : outcome.problems)
    ADD_FAILURE() << "kill point '" << plan.point << "' passed for the " << plan.nth << ". time: " << problem;
  EXPECT_GT(outcome.blocks_freed, 500u) << plan.point;
}

TEST(SlabCrash, NothingIsLostWithoutADeath) {
  SlabPlan plan;
  plan.seed = kit::seed();
  plan.steps = 20'000;
  const SlabOutcome outcome = run(plan);
  expect_all_right(plan, outcome);
  EXPECT_GT(outcome.slabs_released, 3u) << "the run is too tame: slabs should come back and be leased again";
}

TEST(SlabCrash, EveryKillPointIsPassed) {
  std::map<std::string, std::uint64_t> passed;
  for (std::uint64_t i = 0; i < 3; ++i) passed.merge(kill_points(kit::seed() + i));
  for (const std::string& name : kExpectedPoints) EXPECT_TRUE(passed.count(name)) << name;
  for (const auto& [name, count] : passed)
    EXPECT_TRUE(kExpectedPoints.count(name)) << name << " is not listed in this test";
}

void end_at_every_point(Mode mode) {
  std::mt19937_64 random(kit::seed());
  for (const std::string& name : kExpectedPoints) {
    bool killed = false;
    for (int attempt = 0; attempt < 12 && !(killed && attempt >= 2); ++attempt) {
      SlabPlan plan;
      plan.mode = mode;
      plan.seed = random();
      plan.point = name;
      // Points of the slow path are passed a few times only.
      const std::uint64_t nth_max = attempt < 2 ? 200 : attempt < 4 ? 20 : 1;
      plan.nth = 1 + static_cast<std::uint32_t>(random() % nth_max);
      const SlabOutcome outcome = run(plan);
      killed |= outcome.victim_was_killed;
      expect_all_right(plan, outcome);
      if (testing::Test::HasFailure()) return;
    }
    EXPECT_TRUE(killed) << "no run reached " << name;
  }
}

TEST(SlabCrash, AProcessEndsAtEachPoint) { end_at_every_point(Mode::kProcesses); }

TEST(SlabCrashThreads, NothingIsLostWithoutADeath) {
  SlabPlan plan;
  plan.mode = Mode::kThreads;
  plan.seed = kit::seed();
  expect_all_right(plan, run(plan));
}
TEST(SlabCrashThreads, AThreadStopsAtEachPoint) { end_at_every_point(Mode::kThreads); }

}  // namespace
}  // namespace rayx::shm::test
