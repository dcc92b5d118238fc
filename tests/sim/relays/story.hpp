// What an outside observer knows of the tasks and calls of a simulated job, and what must hold for them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "machine.hpp"
#include "sched/scheduler.hpp"

namespace rayx::sim {

// What is done to a job; each a thousand times in a thousand seeds.
#define RAYX_RELAY_FAULTS(X) \
  X(workers_killed)          \
  X(failed_starts)           \
  X(links_broken)            \
  X(nodes_lost)              \
  X(nodes_joined)            \
  X(heads_killed)            \
  X(hosts_frozen)            \
  X(hosts_cut)               \
  X(messages_lost)           \
  X(held_up)
// What happens in it; a run must be able to reach it.
#define RAYX_RELAY_EVENTS(X) \
  X(tasks)                   \
  X(executions)              \
  X(again)                   \
  X(streams)                 \
  X(lost_results)            \
  X(store_full)              \
  X(actors)                  \
  X(actors_killed)           \
  X(found_by_name)           \
  X(full_nodes)              \
  X(calls)                   \
  X(lost_calls)
#define RAYX_RELAY_COUNTS(X) RAYX_RELAY_FAULTS(X) RAYX_RELAY_EVENTS(X)

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
  void start_failed() { ++failed_starts_; }
  int failed_starts() const { return failed_starts_; }
  // An actor whose process cannot be started is given up at the fifth time.
  bool may_have_no_process_since(int failed_starts) const {
    return failed_starts_ - failed_starts >= sched::kStartsMax;
  }

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

  // ---- CPUs. Each task needs one, until it ends or lends it because it waits. One that goes on after a wait may use one more for a
  // moment.
  void host_has(HostId host, int cpus) { cpus_of_[host] = cpus; }
  void host_is_lost(HostId host) {
    std::erase_if(running_, [&](const auto& it) { return it.second.host == host; });
  }
  void host_stood_still(HostId host, TimeNs time) {
    for (auto& [fiber, worker] : running_)
      if (worker.host == host) worker.resumed_at += time;
  }
  void process_is_gone(std::uint32_t process) {
    std::erase_if(running_, [&](const auto& it) { return it.second.process == process; });
  }
  void task_runs(const Process& process, FiberId fiber) {
    Worker& worker = worker_of(process, fiber);
    if (++worker.depth != 1) return;
    worker.uses_cpu = true;
    int used = 0;
    int allowed = cpus_of_.at(process.host);
    for (const auto& [id, other] : running_) {
      if (other.host != process.host || !other.uses_cpu) continue;
      ++used;
      if (machine_.now() - other.resumed_at < kMoment) ++allowed;
    }
    if (used > allowed)
      fail("site " + std::to_string(process.host) + " runs " + std::to_string(used) + " tasks with " +
           std::to_string(cpus_of_.at(process.host)) + " CPUs");
    if (used == allowed) ++cpus_full;
  }
  // Also between tasks, when the next one's arguments have to come.
  void cpu_is_lent(const Process& process, FiberId fiber, bool is_lent) {
    Worker& worker = worker_of(process, fiber);
    worker.uses_cpu = !is_lent && worker.depth != 0;
    if (!is_lent) worker.resumed_at = machine_.now();
  }
  void task_ends(FiberId fiber) {
    Worker& worker = running_.at(fiber);
    if (--worker.depth == 0) worker.uses_cpu = false;
  }

  void fail(const std::string& problem) {
    if (problem_.empty()) problem_ = problem;
  }
  const std::string& problem() const { return problem_; }

  std::uint64_t executions = 0;
  std::uint64_t again = 0;
  std::uint64_t calls = 0;
  std::uint64_t cpus_full = 0;  // how often a task took the last CPU of its node

 private:
  // A lease that was just given stays for a quantum of 10 ms, whatever is used beyond the CPUs; and a node may be late.
  static constexpr TimeNs kMoment = 25 * kMillisecond;
  struct Worker {
    HostId host = 0;
    std::uint32_t process = 0;
    int depth = 0;  // tasks that run inside each other's waits
    bool uses_cpu = false;
    TimeNs resumed_at = -kMoment;
  };
  Worker& worker_of(const Process& process, FiberId fiber) {
    Worker& worker = running_[fiber];
    worker.host = process.host;
    worker.process = process.id;
    return worker;
  }
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
  std::map<HostId, int> cpus_of_;
  std::map<FiberId, Worker> running_;
  std::vector<Actor> actors_;
  int last_caller_ = 0;
  std::map<int, Task> tasks_;
  int last_ = 0;
  int losses_ = 0;
  int failed_starts_ = 0;
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

// The code of a task, in the worker that runs it, from its beginning to its end.
class TaskRun {
 public:
  TaskRun() { g_scene->story.task_runs(g_scene->machine.process(), fiber_); }
  ~TaskRun() { g_scene->story.task_ends(fiber_); }
  TaskRun(const TaskRun&) = delete;
  TaskRun& operator=(const TaskRun&) = delete;

 private:
  const FiberId fiber_ = g_scene->machine.running();
};

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
