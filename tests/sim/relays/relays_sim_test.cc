// A job's nodes hold under any order of events and any loss, and the simulator would notice if they did not.
// RAYX_RELAY_SEEDS=N runs N seeds instead of a thousand.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <iterator>

#include "in_child.hpp"
#include "kit/seed.hpp"
#include "world.hpp"

namespace rayx::sim {
namespace {

constexpr std::uint64_t kSeeds = 1'000;
// 50x to 52x: the relay; 55x: the client; 57x: the node.
constexpr int kPlanted[] = {501, 503, 507, 508, 510, 511, 512, 514, 515, 516, 517, 518, 520, 521,
                            522, 523, 527, 528, 551, 552, 555, 556, 557, 558, 559, 571, 572};
static_assert(std::size(kPlanted) >= 20);

std::uint64_t first_seed() { return kit::is_seed_given() ? kit::seed() : 1; }
std::uint64_t seeds() {
  const char* wanted = std::getenv("RAYX_RELAY_SEEDS");
  return wanted == nullptr ? kSeeds : std::strtoull(wanted, nullptr, 10);
}

TEST(RelaySim, FindsNothingInAThousandSeeds) {
  const SeedsResult result = run_seeds(first_seed(), seeds(), 0);
  ASSERT_EQ(result.outcome.problem, "") << "seed " << result.seed << " after " << result.outcome.events
                                        << " events; RAYX_SIM_LOG=1 with --gtest_filter=*ASeedAlone tells more";
  std::cout << result.events << " events, at least " << result.events_min << " of a seed\n"
            << result.outcome.counts.text() << '\n';
  EXPECT_GE(result.events_min, 2'000u);
  // What is meant to happen does happen. A full store may be met, and need not be.
  if (seeds() < kSeeds) return;
#define RAYX_RELAY_COUNT(name) EXPECT_GE(result.outcome.counts.name, 1'000u) << #name;
  RAYX_RELAY_FAULTS(RAYX_RELAY_COUNT)
#undef RAYX_RELAY_COUNT
#define RAYX_RELAY_COUNT(name)                                                                                     \
  EXPECT_TRUE(result.outcome.counts.name >= 1 || &result.outcome.counts.name == &result.outcome.counts.store_full) \
      << #name;
  RAYX_RELAY_EVENTS(RAYX_RELAY_COUNT)
#undef RAYX_RELAY_COUNT
}

// One seed in this process, for a debugger.
TEST(RelaySim, RunsASeedAlone) {
  const RelayOutcome outcome = World(first_seed()).run();
  EXPECT_EQ(outcome.problem, "") << outcome.events << " events";
  std::cout << outcome.events << " events, trace " << std::hex << outcome.trace << std::dec << '\n'
            << outcome.counts.text() << '\n';
}

TEST(RelaySim, RepeatsASeedExactly) {
  for (std::uint64_t seed = 1; seed < 10; ++seed) {
    const RelayOutcome once = World(seed).run();
    const RelayOutcome again = World(seed).run();
    EXPECT_EQ(once.trace, again.trace) << seed;
    EXPECT_EQ(once.events, again.events) << seed;
  }
}

class RelayPlantedBug : public testing::TestWithParam<int> {};
TEST_P(RelayPlantedBug, IsFoundWithinAThousandSeeds) {
  const SeedsResult result = run_seeds(first_seed(), std::min(kSeeds, seeds()), GetParam());
  EXPECT_NE(result.outcome.problem, "") << "bug " << GetParam() << " was not found";
  std::cout << "bug " << GetParam() << ": " << result.seeds << " seeds: " << result.outcome.problem << '\n';
}
INSTANTIATE_TEST_SUITE_P(Each, RelayPlantedBug, testing::ValuesIn(kPlanted));

}  // namespace
}  // namespace rayx::sim
