// What an outside observer knows of the tasks and calls of a simulated job, and what must hold for them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "machine.hpp"

namespace rayx::sim {

// What is listed here is what a run must be able to reach.
#define RAYX_RELAY_COUNTS(X) \
  X(tasks)                   \
  X(executions)              \
  X(again)                   \
  X(workers_killed)          \
  X(failed_starts)           \
  X(links_broken)            \
  X(nodes_lost)              \
  X(nodes_joined)            \
  X(heads_killed)            \
  X(hosts_frozen)            \
  X(hosts_cut)               \
  X(messages_lost)           \
  X(held_up)                 \
  X(streams)                 \
  X(lost_results)            \
  X(store_full)

struct RelayCounts {
#define RAYX_RELAY_COUNT(name) std::uint64_t name = 0;
  RAYX_RELAY_COUNTS(RAYX_RELAY_COUNT)
#undef RAYX_RELAY_COUNT
  void add(const RelayCounts& more);
  std::string text() const;
};

// Goes with each task as its first argument.
struct Step {
  int id = 0;
  std::int64_t work_ns = 0;
};

class Story {
 public:
  explicit Story(Machine& machine) : machine_(machine) {}

  // A task is submitted. Every loss (a process that died, a link that closed, a node that went) may use up one of its retries.
  Step submit(int max_retries, TimeNs work) {
    const int id = ++last_;
    tasks_[id] = {max_retries, losses_, 0, false};
    return {id, work};
  }
  // Tasks of a task, which makes them again whenever it runs again itself.
  void shares(const std::vector<int>& ids) {
    for (const int id : ids) tasks_.at(id).is_shared = true;
  }
  void loss(int count = 1) { losses_ += count; }
  int losses() const { return losses_; }

  // In the task.
  void begins(const Step& step) {
    Task& task = tasks_.at(step.id);
    ++task.begun;
    ++executions;
    machine_.log("task %d begins", step.id);
    machine_.note(0xbe61 + static_cast<std::uint64_t>(step.id) * 8);
    if (task.begun > 1) ++again;
    if (task.is_shared) return;
    if (task.begun > task.max_retries + 1)
      fail("task " + std::to_string(step.id) + " runs more often than its retries allow");
    if (task.begun > 1 + losses_ - task.losses_before)
      fail("task " + std::to_string(step.id) + " runs again, and nothing was lost");
  }
  // Whether its failure may be one that only a loss explains.
  bool may_be_lost(int id) const { return losses_ - tasks_.at(id).losses_before > tasks_.at(id).max_retries; }
  bool has_lost_since(int losses) const { return losses_ > losses; }

  // Calls of an actor. Each caller numbers its own from 1; an incarnation sees them in order.
  void fail(const std::string& problem) {
    if (problem_.empty()) problem_ = problem;
  }
  const std::string& problem() const { return problem_; }

  std::uint64_t executions = 0;
  std::uint64_t again = 0;

 private:
  struct Task {
    int max_retries = 0;
    int losses_before = 0;
    int begun = 0;
    bool is_shared = false;
  };
  Machine& machine_;
  std::map<int, Task> tasks_;
  int last_ = 0;
  int losses_ = 0;
  std::string problem_;
};

// Where a program runs. Of the one world that there is at a time.
struct Scene {
  Machine& machine;
  Chance& chance;
  Story& story;
  RelayCounts& counts;
  bool has_large_values = false;
};
// The scene of the tasks, too.
extern Scene* g_scene;

// What the program of a job does in one of its driver's threads (program.cc).
void run_program(int number);

}  // namespace rayx::sim
