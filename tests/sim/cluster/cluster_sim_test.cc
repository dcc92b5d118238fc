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
// 40x: placement, what leaves; 406 to 439, 45x: the head; 44x: the member.
constexpr int kPlanted[] = {401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417,
                            418, 419, 420, 421, 422, 423, 424, 425, 426, 427, 428, 429, 430, 431, 432, 433, 434,
                            435, 436, 437, 438, 439, 440, 441, 442, 443, 445, 446, 447, 449, 450, 451, 452, 453};
static_assert(std::size(kPlanted) >= 20);

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
  // What is meant to happen does happen.
  const int least = seeds() >= 50 * kSeeds ? 1'000 : 1;
#define RAYX_SIM_COUNT(name) EXPECT_GE(sum.name, least) << #name;
  if (seeds() >= kSeeds) {
    RAYX_SIM_COUNTS(RAYX_SIM_COUNT)
  }
#undef RAYX_SIM_COUNT
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

class PlantedBug : public testing::TestWithParam<int> {};
TEST_P(PlantedBug, IsFoundWithinAThousandSeeds) {
  base::g_planted_bug = GetParam();
  const std::uint64_t first = first_seed();
  std::uint64_t seed = first;
  Outcome outcome;
  for (; seed < first + kSeeds && outcome.problem.empty(); ++seed) outcome = Cluster(seed).run();
  base::g_planted_bug = 0;
  EXPECT_NE(outcome.problem, "") << "bug " << GetParam() << " was not found";
  std::cout << "bug " << GetParam() << ": " << seed - first << " seeds: " << outcome.problem << '\n';
}
INSTANTIATE_TEST_SUITE_P(Each, PlantedBug, testing::ValuesIn(kPlanted));

}  // namespace
}  // namespace rayx::sim
