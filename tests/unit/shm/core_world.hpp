// A small node made of the crash-safe core alone: owners that submit tasks and put objects, executors that pull, hold, lend and
// give back, and a node that buries the dead and uses their rows again.
// Participants are processes that can be killed for real, or threads that stop for ever at a kill point (for TSan).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace rayx::shm::test {

enum class Mode { kProcesses, kThreads };
enum class Role { kOwner, kExecutor, kNode };
inline constexpr int kRoles = 3;

// The first participant of `role` is killed when it passes `point` for the `nth` time.
struct Kill {
  Role role = Role::kExecutor;
  std::string point;
  std::uint32_t nth = 1;
};

struct Plan {
  Mode mode = Mode::kProcesses;
  int owners = 2;
  int executors = 2;
  std::uint32_t tasks_per_owner = 3000;
  std::uint32_t queue_cells = 64;
  std::uint32_t window = 200;
  std::vector<Kill> kills = {};  // at most one of each role
  // The node's process cannot be killed without everything else, but it may be as slow as it likes: it stops for a while each time
  // that it passes this point.
  std::string node_stops_at;
};

struct Outcome {
  bool owner_was_killed = false;
  bool executor_was_killed = false;
  bool node_has_stopped = false;
  std::uint64_t tasks_done = 0;       // results that owners took and found right
  std::uint64_t executions = 0;       // tasks whose result was published
  std::uint64_t objects_freed = 0;    // that other processes had been told of
  std::vector<std::string> problems;  // empty: all is well
};

// Runs the plan to its end, at most `deadline_s` seconds.
Outcome run(const Plan& plan, int deadline_s = 30);

using PointCounts = std::map<std::string, std::uint64_t>;

// Every kill point that a participant of each role passes in `plan`, with how often.
std::map<Role, PointCounts> kill_points_of(const Plan& plan);

}  // namespace rayx::shm::test
