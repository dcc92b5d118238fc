// Slabs under real deaths: one run for each kill point, in which a process ends exactly there.
#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <set>
#include <vector>

#include "../shm/kill_point_names.hpp"
#include "kit/sanitized.hpp"
#include "kit/seed.hpp"
#include "shm/arena.hpp"
#include "shm/slab.hpp"
#include "slab_world.hpp"

namespace rayx::shm::test {
namespace {

// Written down, so that a kill point which a change takes away or no longer reaches is noticed.
const std::set<std::string> kExpectedPoints = {
    "slab.format.before",         "slab.format.unmarked",        "slab.format.cleared",
    "slab.format.described",      "slab.format.marked",          "slab.allocate.before_name",
    "slab.allocate.before_use",   "slab.allocate.after_use",     "slab.rename.before_use",
    "slab.rename.after_use",      "slab.give.before_use",        "slab.give.after_use",
    "slab.free_local.before_use", "slab.free_local.after_use",   "slab.free_remote.before_bit",
    "slab.free_remote.after_bit", "slab.collect.header_cleared", "slab.collect.before_bits",
    "slab.collect.after_bits",    "slab.retire.before",          "slab.retire.after",
    "test.before_publish",        "test.after_publish",          "test.before_record_is_free",
    "test.before_mail_is_taken"};

void expect_all_right(const SlabPlan& plan, const SlabOutcome& outcome) {
  for (const std::string& problem : outcome.problems)
    ADD_FAILURE() << "kill point '" << plan.point << "' passed for the " << plan.nth << ". time: " << problem;
  EXPECT_GT(outcome.blocks_freed, 200u) << plan.point;
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

// Points that only the node's process passes, which is the test here: it looks at slabs of the dead, alone, and as often as it
// likes, so that what a stop between two blocks leaves is what the next look finds.
const std::set<std::string> kNodesPoints = {"slab.reconcile.cleared"};

TEST(SlabCrash, EveryKillPointInTheSourcesIsListed) {
  int found = 0;
  for (const std::string& name : kill_point_names()) {
    if (!name.starts_with("slab.")) continue;
    ++found;
    EXPECT_TRUE(kExpectedPoints.count(name) != kNodesPoints.count(name)) << name;
  }
  EXPECT_GE(found, 15);
}

// Under a sanitizer a step costs twenty times as much.
constexpr std::uint32_t kSteps = kit::kIsSanitized ? 2500 : 6000;
constexpr int kRunsMin = kit::kIsSanitized ? 1 : 3;

void end_at_every_point(Mode mode) {
  std::mt19937_64 random(kit::seed());
  for (const std::string& name : kExpectedPoints) {
    bool killed = false;
    for (int attempt = 0; attempt < 12 && !(killed && attempt >= kRunsMin); ++attempt) {
      SlabPlan plan;
      plan.mode = mode;
      plan.steps = kSteps;
      plan.seed = random();
      plan.point = name;
      // Points of the slow path are passed a few times only.
      const std::uint64_t nth_max = attempt < 3 ? 200 : attempt < 6 ? 20 : 1;
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

// What the node would find if the process ended at each kill point, looked at in place.
class AtEachPoint {
 public:
  explicit AtEachPoint(std::function<void(const std::string&)> look) {
    look_ = std::move(look);
    base::on_kill_point = [](const char* name) { look_(name); };
  }
  ~AtEachPoint() {
    base::on_kill_point = [](const char*) {};
  }

 private:
  static inline std::function<void(const std::string&)> look_;
};

TEST(SlabAtEachPoint, AFreedBlockNeverComesBackToLife) {
  const Arena arena = Arena::create({.control_bytes = 1, .store_bytes = 1 << 20, .refuse_beyond = {}}).value();
  SlabAllocator worker(arena.segment(), 1);
  worker.add_slab(arena.store_begin(), 5);
  const Slab slab(arena.segment(), arena.store_begin());
  std::vector<Offset> blocks;
  for (int i = 0; i < 200; ++i) blocks.push_back(worker.allocate(64, {2, 0, 1}));
  for (int i = 0; i < 150; ++i) slab.free_remote(blocks[static_cast<std::size_t>(i)], {2, 0, 1});
  ASSERT_EQ(slab.count_left(5), 50u);
  int points = 0;
  {
    AtEachPoint check([&](const std::string& name) {
      ++points;
      EXPECT_EQ(slab.count_left(5), 50u) << "a free block looks as if it were in use at " << name;
    });
    worker.collect_all();
  }
  EXPECT_GT(points, 150);
}

TEST(SlabAtEachPoint, AHalfMadeSlabIsNeverInForce) {
  const Arena arena = Arena::create({.control_bytes = 1, .store_bytes = 1 << 20, .refuse_beyond = {}}).value();
  SlabAllocator worker(arena.segment(), 1);
  worker.add_slab(arena.store_begin(), 5);
  const Slab slab(arena.segment(), arena.store_begin());
  const Offset small = worker.allocate(64, {1, 0, 1});
  worker.free_block(small, {1, 0, 1});
  const std::set<std::string> half_made = {"slab.format.unmarked", "slab.format.cleared", "slab.format.described",
                                           "slab.retire.after"};
  std::size_t seen = 0;
  AtEachPoint check([&](const std::string& name) {
    if (half_made.count(name) == 0) return;
    ++seen;
    EXPECT_FALSE(slab.is_formatted(5)) << name;
  });
  const Offset large = worker.allocate(4096, {1, 0, 2});  // the empty slab is cut anew, under the same lease
  ASSERT_NE(large, kNoOffset);
  EXPECT_TRUE(slab.is_formatted(5));
  worker.free_block(large, {1, 0, 2});
  EXPECT_TRUE(worker.take_empty(0));
  EXPECT_EQ(seen, half_made.size());
}

TEST(SlabCrashThreads, NothingIsLostWithoutADeath) {
  SlabPlan plan;
  plan.mode = Mode::kThreads;
  plan.seed = kit::seed();
  expect_all_right(plan, run(plan));
}
TEST(SlabCrashThreads, AThreadStopsAtEachPoint) { end_at_every_point(Mode::kThreads); }

}  // namespace
}  // namespace rayx::shm::test
