// A small node made of the crash-safe core alone: owners that submit, executors that pull, and a node that buries the dead.
// Participants are processes that can be killed for real, or threads that stop for ever at a kill point (for TSan).
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "shm/control.hpp"

namespace rayx::shm::test {

enum class Mode { kProcesses, kThreads };
enum class Role { kOwner, kExecutor };

struct Plan {
  Mode mode = Mode::kProcesses;
  int owners = 2;
  int executors = 2;
  std::uint32_t tasks_per_owner = 4000;
  std::uint32_t queue_cells = 64;
  std::uint32_t window = 200;
  // The first participant of `role` is killed when it passes `point` for the `nth` time. Empty: nobody is killed.
  Role victim = Role::kExecutor;
  std::string point;
  std::uint32_t nth = 1;
};

struct Outcome {
  bool victim_was_killed = false;
  std::uint64_t tasks_done = 0;       // results that owners took and found right
  std::uint64_t executions = 0;       // how often a task was begun
  std::vector<std::string> problems;  // empty: all is well
};

// Runs the plan to its end, at most `deadline_s` seconds.
Outcome run(const Plan& plan, int deadline_s = 30);

// Every kill point that a participant of `role` passes in a run without a kill, with how often.
std::map<std::string, std::uint64_t> kill_points_of(Role role);

}  // namespace rayx::shm::test
