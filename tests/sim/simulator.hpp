// A node in one thread: the real scheduler and the real ledgers of a driver and its workers, with queues, processes and records
// played. Everything random comes from one seed; a seed replays exactly. After each step the invariants are checked from outside.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "owner/ledger.hpp"
#include "sched/scheduler.hpp"

namespace rayx::sim {

struct Outcome {
  std::string problem;  // empty: every invariant held and every wait ended
  std::uint64_t trace = 0;
  std::uint64_t steps = 0;
  int kills = 0;
  int blocks = 0;
  int inline_runs = 0;
  int worker_limits = 0;
};

class Simulator final : private sched::Effects {
 public:
  explicit Simulator(std::uint64_t seed);
  Outcome run();

 private:
  static constexpr std::uint32_t kDriver = 0;

  // One attempt of a task, as it lies in a queue.
  struct TaskName {
    std::uint32_t owner = 0;
    owner::Index index = 0;
    std::uint32_t generation = 0;
    std::uint32_t attempt = 0;
    auto operator<=>(const TaskName&) const = default;
  };
  // What an owner keeps beside the ledger's node.
  struct Object {
    std::uint32_t generation = 1;
    std::uint32_t attempt = 0;
    std::uint32_t lane = 0;
    int depth = 0;         // of children below it
    int references = 0;    // this process's, and those of its calls
    bool is_done = false;  // its record
    bool is_error = false;
    bool is_held = false;  // another process uses it
    bool is_finished_once = false;
    bool is_in_use = false;
    bool has_released = false;
    std::int32_t retries = 0;
    std::int32_t begun_losses = 0;
    std::vector<owner::Index> needs;
  };
  // A process's ledger and its world.
  struct Owner {
    Owner(Simulator& simulator, std::uint32_t process) : sim(simulator), me(process), ledger(*this) {}
    owner::Node& node(owner::Index i) { return nodes[i]; }
    void enqueue(owner::Index task);
    void fail_as(owner::Index task, owner::Index cause);
    void fail_lost(owner::Index task);
    void release_needs(owner::Index task);
    bool is_held_elsewhere(owner::Index object) { return objects[object].is_held; }
    void free(owner::Index object);
    void drop(owner::Index object);

    Simulator& sim;
    std::uint32_t me;
    std::deque<owner::Node> nodes;
    std::deque<Object> objects;
    std::vector<owner::Index> free_indices;
    std::vector<owner::Index> notices;  // completions that the ledger has not heard of
    owner::Ledger<Owner> ledger;
  };
  struct Frame {
    TaskName task;
    std::vector<owner::Index> children;  // of the executing process
    std::size_t waits_for = 0;
    int to_spawn = 0;
    bool has_failed_wait = false;
  };
  struct Process {
    bool is_started = false;
    bool is_revoked = false;
    bool is_dismissed = false;
    bool is_blocked = false;
    std::optional<sched::LaneId> lane;
    std::vector<Frame> stack;
    std::optional<TaskName> last_finished;
    std::unique_ptr<Owner> owner;
  };
  struct Lane {
    sched::Units units = 0;
    bool is_served = false;
    bool is_ended = false;
    int grants_to_others = 0;  // while it had work and no executor
    std::deque<TaskName> queue;
  };

  bool has_work(sched::LaneId lane) override { return !lanes_[lane].queue.empty(); }
  bool is_asleep(sched::WorkerId worker) override;
  std::optional<sched::WorkerId> start_worker() override;
  void grant(sched::WorkerId worker, sched::LaneId lane) override;
  void revoke(sched::WorkerId worker) override;
  void dismiss(sched::WorkerId worker) override;
  void set_served(sched::LaneId lane, bool is_served) override { lanes_[lane].is_served = is_served; }
  void report_worker_limit(sched::WorkerId worker) override;
  void report_no_process(sched::LaneId lane) override { lanes_[lane].is_ended = true; }

  std::uint32_t pick(std::uint32_t below) { return static_cast<std::uint32_t>(random_() % below); }
  void note(std::uint64_t what) { outcome_.trace = (outcome_.trace ^ what) * 0x100000001b3ull; }
  void fail(const std::string& problem) {
    if (outcome_.problem.empty()) outcome_.problem = problem;
  }
  owner::Index new_object(Owner& owner);
  owner::Index submit(Owner& owner, int depth, bool may_need);
  void let_go(Owner& owner, owner::Index object);
  bool work(std::uint32_t id);
  bool run_frame(std::uint32_t id, Process& process);
  void finish(std::uint32_t id, Process& process);
  void deliver(Owner& owner);
  void kill(std::uint32_t id);
  void wake_blocked(std::uint32_t id, Process& process);
  bool driver_acts();
  void check();
  std::string state() const;
  Owner* owner_of(std::uint32_t process);

  std::mt19937_64 random_;
  base::TimeNs now_ = 0;
  std::unique_ptr<sched::Scheduler> scheduler_;
  std::vector<Lane> lanes_;
  std::map<std::uint32_t, Process> processes_;
  std::uint32_t next_process_ = 1;
  Owner driver_{*this, kDriver};
  std::vector<owner::Index> held_;  // the driver's references
  int to_submit_ = 0;
  int kills_left_ = 0;
  std::uint32_t workers_max_ = 64;
  Outcome outcome_;
};

}  // namespace rayx::sim
