// Runs seeds in child processes, some in each: what a killed process leaves in memory goes with the child, and one that ends on a check of
// the code under test has found something.
#pragma once

#include <cstdint>
#include <functional>

#include "world.hpp"

namespace rayx::sim {

struct SeedsResult {
  std::uint64_t seed = 0;   // of the problem
  std::uint64_t seeds = 0;  // that were run
  std::uint64_t events = 0;
  std::uint64_t events_min = UINT64_MAX;
  RelayOutcome outcome;  // the problem, and the sum of the counts
};

// Until the first problem.
SeedsResult run_seeds(std::uint64_t first, std::uint64_t count, int planted_bug);

}  // namespace rayx::sim
