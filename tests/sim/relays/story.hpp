// What an outside observer knows of the tasks and calls of a simulated job, and what must hold for them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
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
  X(store_full)              \
  X(actors)                  \
  X(actors_killed)           \
  X(found_by_name)           \
  X(calls)                   \
  X(lost_calls)

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

  // ---- Actors. Each caller numbers its calls from 1.
  int new_actor(int max_restarts, int max_task_retries) {
    actors_.push_back({max_restarts, max_task_retries, losses_, 0, {}, {}});
    return static_cast<int>(actors_.size()) - 1;
  }
  int new_caller() { return ++last_caller_; }
  // Its constructor runs in a new process.
  int instance_begins(int id) {
    Actor& actor = actors_.at(static_cast<std::size_t>(id));
    machine_.log("actor %d begins", id);
    if (++actor.instances > actor.max_restarts + 1 && actor.instances > 1 + losses_ - actor.losses_before)
      fail("actor " + std::to_string(id) + " is made more often than it may");
    actor.last.clear();
    return actor.instances;
  }
  // `may_skip`: one whose arguments find no room fails, and is not waited for any more. Should it begin later, it comes after another.
  void call_begins(int id, int instance, int caller, int number, bool may_skip) {
    Actor& actor = actors_.at(static_cast<std::size_t>(id));
    ++calls;
    machine_.note(0xca11 + static_cast<std::uint64_t>(id) * 64 + static_cast<std::uint64_t>(number));
    machine_.log("actor %d has call %d of caller %d", id, number, caller);
    const std::string name =
        "call " + std::to_string(number) + " of caller " + std::to_string(caller) + " of actor " + std::to_string(id);
    if (++actor.begun[{caller, number}] > actor.max_task_retries + 1) fail(name + " runs too often");
    int& last = actor.last[{instance, caller}];
    // A link that breaks while the actor lives lets calls fail, or run again: ActorOptions::max_task_retries.
    if (number <= last && actor.max_task_retries == 0) fail(name + " comes after call " + std::to_string(last));
    if (number != last + 1 && !may_skip && losses_ == actor.losses_before && instance == 1)
      fail(name + " comes too soon");
    last = number;
  }
  void fail(const std::string& problem) {
    if (problem_.empty()) problem_ = problem;
  }
  const std::string& problem() const { return problem_; }

  std::uint64_t executions = 0;
  std::uint64_t again = 0;
  std::uint64_t calls = 0;

 private:
  struct Task {
    int max_retries = 0;
    int losses_before = 0;
    int begun = 0;
    bool is_shared = false;
  };
  struct Actor {
    int max_restarts = 0;
    int max_task_retries = 0;
    int losses_before = 0;
    int instances = 0;
    std::map<std::pair<int, int>, int> last;   // of each caller at each instance
    std::map<std::pair<int, int>, int> begun;  // by caller and number
  };
  Machine& machine_;
  std::vector<Actor> actors_;
  int last_caller_ = 0;
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
  const std::uint64_t& events;  // so far
  bool has_large_values = false;
  std::uint64_t store_bytes = 64u << 20;
  bool has_head = false;
  int cpus_min = 1;  // of each node
};
// The scene of the tasks, too.
extern Scene* g_scene;

// The part of a program that knows actors (program_actors.cc).
class ActorProgram {
 public:
  virtual ~ActorProgram() = default;
  virtual void one_step() = 0;
  virtual void check_all() = 0;
  virtual void finish() = 0;
};
std::unique_ptr<ActorProgram> make_actor_program(int thread);

// What the program of a job does in one of its driver's threads (program.cc).
void run_program(int number);

}  // namespace rayx::sim
