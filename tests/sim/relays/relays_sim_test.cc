// A job's nodes hold under any order of events and any loss, and the simulator would notice if they did not.
// RAYX_RELAY_SEEDS=N runs N seeds instead of a thousand.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "base/planted_bug.hpp"
#include "kit/seed.hpp"
#include "world.hpp"

namespace rayx::sim {
namespace {

constexpr std::uint64_t kSeeds = 1'000;

std::uint64_t first_seed() { return kit::is_seed_given() ? kit::seed() : 1; }
std::uint64_t seeds() {
  const char* wanted = std::getenv("RAYX_RELAY_SEEDS");
  return wanted == nullptr ? kSeeds : std::strtoull(wanted, nullptr, 10);
}

TEST(RelaySim, FindsNothingInAThousandSeeds) {
  base::g_planted_bug = 0;
  RelayCounts sum;
  std::uint64_t events = 0;
  std::uint64_t events_min = UINT64_MAX;
  for (std::uint64_t seed = first_seed(); seed < first_seed() + seeds(); ++seed) {
    const RelayOutcome outcome = World(seed).run();
    ASSERT_EQ(outcome.problem, "") << "seed " << seed << " after " << outcome.events << " events";
    events += outcome.events;
    events_min = std::min(events_min, outcome.events);
    sum.add(outcome.counts);
  }
  std::cout << events << " events, at least " << events_min << " of a seed\n" << sum.text() << '\n';
}

TEST(RelaySim, RepeatsASeedExactly) {
  base::g_planted_bug = 0;
  for (std::uint64_t seed = 1; seed < 10; ++seed) {
    const RelayOutcome once = World(seed).run();
    const RelayOutcome again = World(seed).run();
    EXPECT_EQ(once.trace, again.trace) << seed;
    EXPECT_EQ(once.events, again.events) << seed;
  }
}

}  // namespace
}  // namespace rayx::sim
