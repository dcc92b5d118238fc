// Which process may pull from which lane, and when another process is needed. The node's decider: no processes, no clock, no
// threads; time is handed in and everything it wants done is an effect.
//
// Workers pull single tasks themselves, so what is decided here is leases: (worker, lane). A lease holds the lane's CPUs. A lane
// that asks gets executors up to the CPUs of the node at once ("served"); when another lane asks, leases whose worker sleeps are
// taken back at once, and busy ones after `kQuantum_ns`, oldest first, so that classes with different num_cpus share by time. The
// lane that has waited longest is the only one that is given CPUs until it has some: a lane of 2-CPU tasks is not starved by
// single CPUs that come free one by one.
//
// A worker that waits inside a task lends its CPUs; when it goes on it takes them back at once, and what is then used beyond
// the CPUs of the node is repaid by leases that are taken back.
//
// Where other jobs use the same node, each has a Scheduler, which uses no more than its share (set_share). What that loses is repaid in
// the same way, and a lane waits for CPUs of other jobs as it does for those of another lane.
//
// Workers beyond the CPUs of the node, started while others waited, leave when they have had nothing to do for a while.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/clock.hpp"
#include "sched/shares.hpp"
#include "sched/units.hpp"

namespace rayx::sched {

using LaneId = std::uint32_t;
using WorkerId = std::uint32_t;

inline constexpr base::TimeNs kSurplusIdle_ns = 5'000'000'000;
inline constexpr base::TimeNs kSurplusPatienceMax_ns =
    3'600'000'000'000;                // between two questions to one that cannot leave yet
inline constexpr int kStartsMax = 5;  // of one actor's process, if it cannot be started

class Effects {
 public:
  virtual ~Effects() = default;
  virtual bool has_work(LaneId lane) = 0;       // something unclaimed lies in its queues
  virtual bool is_asleep(WorkerId worker) = 0;  // it has looked and found nothing
  // How many tasks that is: what the job wants of CPUs that others have. At least 1 if it has work.
  virtual std::uint64_t count_work(LaneId lane) { return has_work(lane) ? 1 : 0; }
  // A new process. Its id, or nothing if there is no room for one. started or died follows.
  virtual std::optional<WorkerId> start_worker() = 0;
  virtual void grant(WorkerId worker, LaneId lane) = 0;
  virtual void revoke(WorkerId worker) = 0;   // `left` follows, when its task is done
  virtual void dismiss(WorkerId worker) = 0;  // it is to end
  // It has no lease, is not needed, and leaves unless others use what it owns: `died` or `stays` follows. False: it stays.
  virtual bool ask_to_leave(WorkerId worker) = 0;
  virtual void set_served(LaneId lane, bool is_served) = 0;
  // All workers wait for each other, and `worker` was the last to begin to wait.
  virtual void report_worker_limit(WorkerId worker) = 0;
  virtual void report_no_process(LaneId actor_lane) = 0;
};

class Scheduler {
 public:
  Scheduler(Units cpus, std::uint32_t workers_max, Effects& effects)
      : total_(cpus), limit_(cpus), ceiling_(cpus), free_(cpus), workers_max_(workers_max), effects_(effects) {}

  // Lanes. An actor's lane gets one process of its own, as soon as its CPUs are free. The caller has refused more than total().
  void add_class(LaneId lane, Units cpus);
  void add_actor(LaneId lane, Units cpus, base::TimeNs now_ns);
  void remove_actor(LaneId lane, base::TimeNs now_ns);  // its process is dismissed

  // There is work in the lane and nobody free to do it.
  void demand(LaneId lane, base::TimeNs now_ns);
  void left(WorkerId worker, base::TimeNs now_ns);   // it has given back its lease
  void stays(WorkerId worker, base::TimeNs now_ns);  // it was asked to leave
  void blocked(WorkerId worker, base::TimeNs now_ns);
  void resumed(WorkerId worker, base::TimeNs now_ns);
  // Its process is gone. `may_replace`: it never ran, and if it was an actor's, another one is to be started for it.
  void died(WorkerId worker, bool may_replace, base::TimeNs now_ns);
  void tick(base::TimeNs now_ns) {
    decide(now_ns);
    look_for_deadlock(now_ns);
  }
  base::TimeNs next_deadline_ns() const { return next_deadline_ns_; }

  // Other jobs use the node: Share::limit and Share::ceiling. Until it is called the job is alone.
  void set_share(Units limit, Units ceiling, base::TimeNs now_ns);
  Wish wish(base::TimeNs now_ns);

  Units total() const { return total_; }
  Units limit() const { return limit_; }
  Units free_units() const { return free_; }
  // CPUs that actors hold, and what workers of classes have lent that wait inside a task.
  struct Held {
    Units by_actors = 0;
    Units lent = 0;
  };
  Held held() const;
  std::size_t workers() const { return workers_.size(); }
  std::optional<WorkerId> worker_of_actor(LaneId lane) const;
  // Everything that must hold between two calls.
  bool is_valid() const;

 private:
  struct Lane {
    Units units = 0;
    bool is_actor = false;
    bool is_wanting = false;     // has asked and has not been served to the full
    std::uint64_t asked_at = 0;  // order of asking
    bool is_removed = false;     // an actor's, that waits for the end of its process
    int starts = 0;
  };
  struct Worker {
    std::optional<LaneId> lane;
    base::TimeNs granted_ns = 0;
    bool is_blocked = false;
    bool is_revoked = false;  // `left` is awaited
    bool is_actor = false;
    bool is_asked_to_leave = false;  // gets no lease until it has said that it stays
    base::TimeNs idle_since_ns = 0;  // without a lease
    base::TimeNs patience_ns = kSurplusIdle_ns;
    std::uint64_t blocked_at = 0;
  };

  void decide(base::TimeNs now_ns);
  bool serve(LaneId id, Lane& lane, base::TimeNs now_ns);
  bool can_use_more(LaneId id, const Lane& lane) const;
  std::uint32_t active_in(LaneId id) const;
  std::optional<WorkerId> free_worker();
  void take_back(Units needed, LaneId for_lane, base::TimeNs now_ns);
  void take_back_worker(LaneId for_lane, base::TimeNs now_ns);
  void revoke(WorkerId id, Worker& worker);
  void send_away_surplus(base::TimeNs now_ns);
  void wait_longer(Worker& worker, base::TimeNs now_ns);
  void give(WorkerId id, Worker& worker, LaneId lane_id, Lane& lane, base::TimeNs now_ns);
  Units returning(bool at_once);
  Units attainable() const;
  bool is_an_actor_busy();
  void look_for_deadlock(base::TimeNs now_ns);

  const Units total_;
  Units limit_;
  Units ceiling_;
  Units free_;  // of limit_
  const std::uint32_t workers_max_;
  Effects& effects_;
  std::map<LaneId, Lane> lanes_;
  std::map<WorkerId, Worker> workers_;
  std::uint64_t asked_ = 0;
  std::uint64_t blocked_ = 0;
  base::TimeNs without_workers_until_ns_ = 0;  // it has CPUs, and can start no process for them
  base::TimeNs next_deadline_ns_ = base::kNever;
};

}  // namespace rayx::sched
