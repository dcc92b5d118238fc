// The executing side of the fast path: finds a task in the lane, takes it so that a kill cannot lose it, publishes its result.
// One thread of one process. The order of the shared writes is the whole of crash safety:
//   claim the cell -> enter the running stack -> copy the task -> release the cell -> run -> publish the record -> leave
// At each point in between, (claimed cells, running stack, record state) tell the owner what is to be done.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "shm/backoff.hpp"
#include "shm/control.hpp"

namespace rayx::shm {

class Executor {
 public:
  struct Task {
    TaskBody body;
    std::uint32_t owner;  // process slot of the submitter
  };

  Executor(const Control& control, std::uint32_t me) : control_(control), me_(me), running_(control.slot(me)) {}

  // Serves `lane` as its member number `member` from now on. `leave_lane` comes first if it serves another.
  void join_lane(std::uint32_t lane, int member) {
    lane_index_ = lane;
    lane_ = control_.lane(lane);
    member_ = member;
    version_seen_ = UINT64_MAX;
    version_told_ = UINT64_MAX;
    // Versions of different lanes cannot be compared: until it has looked it has seen none of this one, or the node would take the
    // memory of a queue that it is just finding.
    control_.slot(me_).lane_version_seen.store(0, std::memory_order_seq_cst);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  // A submitter may have chosen this executor as the one to wake: whoever sleeps hears of it if there is work.
  void leave_lane() {
    if (member_ < 0) return;
    lane_.found(member_);
    pass_on();
    queues_.clear();
    member_ = -1;
  }

  // The next task of the lane, taken; or nothing: the lane is empty as far as can be seen.
  bool take(Task& task) {
    refresh_queues();
    for (std::size_t turn = 0; turn < queues_.size(); ++turn) {
      Source& source = queues_[next_queue_];
      if (++next_queue_ == queues_.size()) next_queue_ = 0;
      if (auto claim = source.queue.claim_next(me_)) {
        accept(source, *claim, task);
        if (lane_.found(member_)) pass_on();
        return true;
      }
    }
    return false;
  }

  // Takes the task at `position` of the queue of `owner` for `lane` if nobody has: a waiter runs what it waits for.
  bool take_at(std::uint32_t owner, std::uint32_t lane, std::uint64_t position, Task& task) {
    if (running_.is_full()) return false;
    Source source{control_.queue(owner, lane), owner};
    if (!source.queue.is_open()) return false;
    auto claim = source.queue.claim_at(position, me_);
    if (!claim) return false;
    accept(source, *claim, task);
    if (owner == me_) return true;
    // The owner may have died before it could be seen here that its task is begun. Then what the task needs may be gone: see
    // Control::has_tasks_of, which looks at the two in the other order.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (control_.slot(owner).life.load(std::memory_order_seq_cst) == ProcessLife::kLive) return true;
    running_.leave();
    return false;
  }

  // Publishes the result that was written into the task's record, and forgets the task.
  void finish(const Task& task, std::uint32_t done) {
    control_.records_of(task.owner).complete(task.body.record, done);
    running_.leave();
  }

  // The same for a result whose owner has to hear of it in any case, also if this process dies right after.
  void finish_and_tell(const Task& task, std::uint32_t done) {
    const Records records = control_.records_of(task.owner);
    records.complete(task.body.record, done);
    RAYX_KILL_POINT("executor.finish_and_tell.before_mark");
    records.mark_completed(task.body.record);
    records.call_owner();
    running_.leave();
  }

  // Gives a task back that cannot run yet; its owner hears of it and queues it again when it can.
  void hand_back(const Task& task) {
    const Records records = control_.records_of(task.owner);
    records.at(task.body.record).state.fetch_or(detail::kRecordReturned, std::memory_order_acq_rel);
    RAYX_KILL_POINT("executor.hand_back.before_mark");
    records.mark_completed(task.body.record);
    records.call_owner();
    running_.leave();
  }

  // One turn of looking for work that found none: pauses, yields, in the end sleeps until the lane or the node calls.
  // `interrupted()` is asked once more before it sleeps: true if the process has something else to do.
  template <class Interrupted>
  void wait_once(Backoff& backoff, Interrupted&& interrupted) {
    if (backoff.wait_once()) {
      if (member_ >= 0) lane_.search(member_);
      return;
    }
    ProcessSlot& slot = control_.slot(me_);
    if (member_ < 0) {
      slot.run_word.store(1, std::memory_order_seq_cst);
      if (!interrupted()) lane_.sleep(slot);
      slot.run_word.store(0, std::memory_order_relaxed);
    } else {
      lane_.announce_sleep(member_, slot);
      if (!has_work() && !interrupted()) lane_.sleep(slot);
      lane_.withdraw_sleep(member_, slot);
    }
    backoff.reset();
  }

  std::uint32_t depth() const noexcept { return running_.depth(); }
  std::uint32_t me() const noexcept { return me_; }

 private:
  struct Source {
    TaskQueue queue;
    std::uint32_t owner;
  };

  void accept(Source& source, const TaskQueue::Claim& claim, Task& task) {
    const TaskBody& body = claim.cell->body;
    running_.enter({.owner = source.owner,
                    .record = body.record,
                    .generation = body.generation,
                    .attempt = attempt_of(body.function_and_flags)});
    task.body = body;
    task.owner = source.owner;
    RAYX_KILL_POINT("running.copied");
    source.queue.release(claim);
    RAYX_KILL_POINT("running.released");
  }

  // This executor was the one that searched and has found work: whoever sleeps takes over the search if there is more.
  void pass_on() {
    if (has_work()) lane_.wake_one();
  }

  bool has_work() {
    refresh_queues();
    for (const Source& source : queues_)
      if (source.queue.looks_ready()) return true;
    return false;
  }

  void refresh_queues() {
    LaneState& state = lane_.state();
    const std::uint64_t version = state.version.load(std::memory_order_acquire);
    if (version == version_seen_ && version == version_told_) [[likely]]
      return;
    if (version != version_seen_) {
      find_queues(state);
      version_seen_ = version;
    }
    // A look below a task that waits counts later: when there is no task any more.
    if (running_.depth() != 0) return;
    RAYX_KILL_POINT("executor.refresh.before_seen");
    control_.slot(me_).lane_version_seen.store(version, std::memory_order_release);
    version_told_ = version;
  }

  void find_queues(const LaneState& state) {
    queues_.clear();
    next_queue_ = 0;
    const std::uint32_t used = control_.header().processes_used.load(std::memory_order_acquire);
    for (std::uint32_t group = 0; group <= (used - 1) / 64; ++group) {
      std::uint64_t bits = state.submitters[group].load(std::memory_order_acquire);
      for (; bits != 0; bits &= bits - 1) {
        const std::uint32_t owner = group * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
        TaskQueue queue = control_.queue(owner, lane_index_);
        if (queue.is_open()) queues_.push_back({queue, owner});
      }
    }
  }

  Control control_;
  std::uint32_t me_;
  RunningStack running_;
  Lane lane_;
  std::uint32_t lane_index_ = 0;
  int member_ = -1;
  std::uint64_t version_seen_ = UINT64_MAX;
  std::uint64_t version_told_ = UINT64_MAX;
  std::vector<Source> queues_;
  std::size_t next_queue_ = 0;
};

}  // namespace rayx::shm
