// A small node for slabs: processes that allocate blocks for each other's records and free them, a node that leases slabs,
// buries the dead, reconciles their slabs and leases the memory again. Participants are processes that are ended for real at a
// kill point, or threads that stop there for ever (for TSan).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace rayx::shm::test {

enum class Mode { kProcesses, kThreads };

struct SlabPlan {
  Mode mode = Mode::kProcesses;
  int participants = 3;
  std::uint64_t seed = 1;
  std::uint32_t steps = 6000;  // of each participant
  // Participant 0 ends when it passes `point` for the `nth` time. Empty: nobody does.
  std::string point;
  std::uint32_t nth = 1;
};

struct SlabOutcome {
  bool victim_was_killed = false;
  std::uint64_t blocks_freed = 0;     // by their owners, each found to hold what was written for its record
  std::uint64_t slabs_released = 0;   // that their lessee gave back, or that were found empty after its death
  std::vector<std::string> problems;  // empty: all is well
};

SlabOutcome run(const SlabPlan& plan);

// Every kill point that participant 0 passes in a run without a death, with how often.
std::map<std::string, std::uint64_t> kill_points(std::uint64_t seed);

}  // namespace rayx::shm::test
