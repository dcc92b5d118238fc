// A row of the node's table of processes: what a process shares about itself, and what is left to read after its death.
//
// Who writes what. The node: `life`, `generation`, `lease`. The process itself: everything else, but for the words through
// which others call it (`run_word`, `attendance`, the completion summary), which anyone may set.
#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

#include "base/kill_point.hpp"
#include "shm/attendance.hpp"
#include "shm/hold_table.hpp"
#include "shm/layout.hpp"
#include "shm/node_calls.hpp"

namespace rayx::shm {

// Free -> live -> dead -> free, and nothing else. Dead: the kernel has confirmed that the process is gone; its owners and its
// executors' owners have not all looked at what it held yet.
enum class ProcessLife : std::uint32_t { kFree, kLive, kDead };

constexpr bool may_follow(ProcessLife from, ProcessLife to) noexcept {
  switch (from) {
    case ProcessLife::kFree: return to == ProcessLife::kLive;
    case ProcessLife::kLive: return to == ProcessLife::kDead;
    case ProcessLife::kDead: return to == ProcessLife::kFree;
  }
  return false;
}

// A task that an executor has taken: written before its effects can be seen, cleared after its result is published.
struct RunningEntry {
  std::uint32_t owner;       // process slot of the submitter
  std::uint32_t record;      // of the result
  std::uint32_t generation;  // of that record
  std::uint32_t attempt;     // of the task; see attempt_of
};
static_assert(sizeof(RunningEntry) == 16);

// The same in shared memory. The node may read an entry of a process that lives, to see whose tasks it runs.
struct RunningCell {
  std::atomic<std::uint32_t> owner;
  std::atomic<std::uint32_t> record;
  std::atomic<std::uint32_t> generation;
  std::atomic<std::uint32_t> attempt;

  void store(const RunningEntry& entry) noexcept {
    owner.store(entry.owner, std::memory_order_relaxed);
    record.store(entry.record, std::memory_order_relaxed);
    generation.store(entry.generation, std::memory_order_relaxed);
    attempt.store(entry.attempt, std::memory_order_relaxed);
  }
  RunningEntry load() const noexcept {
    return {owner.load(std::memory_order_relaxed), record.load(std::memory_order_relaxed),
            generation.load(std::memory_order_relaxed), attempt.load(std::memory_order_relaxed)};
  }
};
static_assert(sizeof(RunningCell) == sizeof(RunningEntry));

struct alignas(kCacheLineBytes) ProcessSlot {
  // Line 0, the node's.
  std::atomic<ProcessLife> life;
  std::atomic<std::uint32_t> generation;
  std::atomic<std::int32_t> pid;
  std::uint32_t reserved0;
  // The membership version up to which this process has handled every death; UINT64_MAX while it owns nothing.
  std::atomic<std::uint64_t> deaths_handled;

  // Line 1: the executor sleeps here. 1: asleep, 0: awake or about to be.
  alignas(kCacheLineBytes) std::atomic<std::uint32_t> run_word;
  std::atomic<std::uint32_t> lease;  // lane + 1 that the executor serves, 0: none. Written by the node.
  // The version of its lane that the executor knew when it last had no task at all: what was removed from the lane before that
  // version is not used by this executor any more.
  std::atomic<std::uint64_t> lane_version_seen;

  // Line 2: who looks after completions that carry kRecordNotify.
  alignas(kCacheLineBytes) Attendance attendance;
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> completed_top;  // bit g: completed_slabs[g] may hold bits
  std::atomic<std::uint64_t> completed_slabs[kRecordSlabsMax / 64];   // bit s: slab 64 g + s has completed records

  std::atomic<Offset> record_slabs[kRecordSlabsMax];
  std::atomic<Offset> queue_of_lane[kLanesMax];

  NodeCallCells calls;   // what it asks the node
  HoldTableState holds;  // which objects of others it uses

  // What this executor is doing. Entries below `running_depth` are in force; the top one runs, those below wait for it.
  alignas(kCacheLineBytes) std::atomic<std::uint32_t> running_depth;
  std::uint32_t reserved1[3];
  RunningCell running[kRunningDepthMax];
};
static_assert(std::is_standard_layout_v<ProcessSlot>);

// A lease that says: finish what you run, end your actor, and leave.
inline constexpr std::uint32_t kLeaseLeave = UINT32_MAX;

// The executor's log of what it has taken. Stores to its own lines; while it lives only the node looks, and rarely.
class RunningStack {
 public:
  explicit RunningStack(ProcessSlot& slot) : slot_(&slot) {}

  std::uint32_t depth() const noexcept { return slot_->running_depth.load(std::memory_order_relaxed); }
  bool is_full() const noexcept { return depth() == kRunningDepthMax; }

  void enter(const RunningEntry& entry) noexcept {
    const std::uint32_t depth = this->depth();
    RAYX_DCHECK(depth < kRunningDepthMax, "running stack overflow", depth);
    RAYX_KILL_POINT("running.enter.before_entry");
    slot_->running[depth].store(entry);
    RAYX_KILL_POINT("running.enter.before_depth");
    slot_->running_depth.store(depth + 1, std::memory_order_release);
    RAYX_KILL_POINT("running.enter.after_depth");
  }
  void leave() noexcept {
    RAYX_KILL_POINT("running.leave.before");
    slot_->running_depth.store(depth() - 1, std::memory_order_release);
    RAYX_KILL_POINT("running.leave.after");
  }

  // After the death of the slot's process: what of `owner` it had begun.
  template <class Visit>
  void visit(std::uint32_t owner, Visit&& visit_entry) const {
    const std::uint32_t depth = slot_->running_depth.load(std::memory_order_acquire);
    RAYX_CHECK(depth <= kRunningDepthMax, "running stack of a dead process is damaged", depth);
    for (std::uint32_t i = 0; i < depth; ++i)
      if (const RunningEntry entry = slot_->running[i].load(); entry.owner == owner) visit_entry(entry);
  }
  // Node, also while the process lives: whether it runs a task of `owner`. May be true a moment too long.
  bool runs_task_of(std::uint32_t owner) const noexcept {
    const std::uint32_t depth = slot_->running_depth.load(std::memory_order_acquire);
    for (std::uint32_t i = 0; i < depth && i < kRunningDepthMax; ++i)
      if (slot_->running[i].load().owner == owner) return true;
    return false;
  }

 private:
  ProcessSlot* slot_;
};

}  // namespace rayx::shm
