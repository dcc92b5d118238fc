// The head and its members hold under any order of events and any loss, and the simulator would notice if they did not.
// RAYX_CLUSTER_SEEDS=N runs N seeds instead of a thousand.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <iterator>

#include "base/planted_bug.hpp"
#include "cluster.hpp"
#include "kit/seed.hpp"

namespace rayx::sim {
namespace {

constexpr std::uint64_t kSeeds = 1'000;

std::uint64_t first_seed() { return kit::is_seed_given() ? kit::seed() : 1; }
std::uint64_t seeds() {
  const char* wanted = std::getenv("RAYX_CLUSTER_SEEDS");
  return wanted == nullptr ? kSeeds : std::strtoull(wanted, nullptr, 10);
}

TEST(ClusterSim, FindsNothingInAThousandSeeds) {
  base::g_planted_bug = 0;
  const std::uint64_t first = first_seed();
  std::uint64_t events = 0;
  std::uint64_t events_min = UINT64_MAX;
  Counts sum;
  for (std::uint64_t seed = first; seed < first + seeds(); ++seed) {
    const Outcome outcome = Cluster(seed).run();
    ASSERT_EQ(outcome.problem, "") << "seed " << seed << " after " << outcome.events << " events";
    events += outcome.events;
    events_min = std::min(events_min, outcome.events);
    sum.add(outcome.counts);
  }
  std::cout << events << " events, at least " << events_min << " of a seed\n" << sum.text() << '\n';
  EXPECT_GE(events_min, 2'000u);
}

TEST(ClusterSim, RepeatsASeedExactly) {
  base::g_planted_bug = 0;
  for (std::uint64_t seed = 1; seed < 20; ++seed) {
    const Outcome once = Cluster(seed).run();
    const Outcome again = Cluster(seed).run();
    EXPECT_EQ(once.trace, again.trace) << seed;
    EXPECT_EQ(once.events, again.events) << seed;
  }
}

}  // namespace
}  // namespace rayx::sim
