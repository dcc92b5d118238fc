// A lane: the executors that pull one kind of work (a scheduling class, or one actor), and the rule for waking them.
//
// The rule. A submitter that has published a task wakes a sleeper only if nobody searches: the executor that searches will
// find the task, and when it does it stops searching and, if there is more work, wakes the next sleeper itself. So one submit
// costs one load while somebody searches or nobody sleeps, and a burst wakes executors one after the other.
// An executor marks itself as searching only while another one of the lane sleeps; else there is nobody to wake in vain.
//
// Why no wake is lost: a submitter publishes, then (full fence) looks at the masks; an executor changes its mask bit (a full
// fence) and then looks at the queues again. One of the two sees the other. A process killed between taking a sleeper's bit
// and waking it, or while marked as searching, is repaired by the node: after each death it clears the dead process's bits
// and wakes every sleeper (`wake_all`); a wake for nothing is harmless.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "base/kill_point.hpp"
#include "shm/futex.hpp"
#include "shm/layout.hpp"
#include "shm/process_slot.hpp"

namespace rayx::shm {

struct alignas(kCacheLineBytes) LaneState {
  std::atomic<std::uint64_t> searching;  // bit m: member m looks for work and has found none
  std::atomic<std::uint64_t> sleeping;   // bit m: member m sleeps on its run_word, or is about to
  std::atomic<std::uint64_t> members;    // bit m: member_slot[m] is valid. Written by the node
  // Node: 1 while the lane has all the executors that it can have now. While it is 0 and nobody is free to take a new task,
  // submitters tell the node (and set it, so that one of them does).
  std::atomic<std::uint32_t> is_served;
  // Node: why nobody will ever execute here again (LaneEnd). Only actors' lanes end.
  std::atomic<std::uint32_t> end;
  std::atomic<std::uint32_t> generation;  // raised each time the node gives the lane to a new actor
  std::atomic<std::uint32_t> cpu_units;   // what one of its executors holds, in 1/10000 of a CPU, or kNobodyHere
  std::atomic<std::uint32_t> executor;    // actors' lanes: process slot + 1 of the actor's process
  std::atomic<std::uint32_t>
      task_units;  // classes' lanes: what a task needs, also where cpu_units keeps the workers here from it
  // The version that the relay has seen, if it serves this lane: it serves many, so its slot cannot say it for all.
  std::atomic<std::uint64_t> relay_version_seen;
  // Raised by the node or a submitter when a queue is added or removed: executors then read the bitmap anew.
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> version;
  std::atomic<std::uint64_t> submitters[kProcessesMax / 64];  // bit p: process p has a queue for this lane
  std::atomic<std::uint16_t> member_slot[kLaneMembersMax];
};
static_assert(std::is_standard_layout_v<LaneState>);

// As LaneState::cpu_units: no worker of this node executes what lies in the lane.
inline constexpr std::uint32_t kNobodyHere = UINT32_MAX;

// The number of the relay among the members of each lane that it serves.
inline constexpr int kRelayMember = 63;

enum class LaneEnd : std::uint32_t {
  kOpen = 0,
  kKilled = 1,     // by rayx::kill
  kCrashed = 2,    // its process died; the death note of `executor` says how
  kNoProcess = 3,  // no process could be started for it
  kMakerGone = 4,  // the process that made it ended, and it ends with that
};

class Lane {
 public:
  Lane() = default;
  Lane(LaneState& state, ProcessSlot* slots) : state_(&state), slots_(slots) {}

  LaneState& state() const noexcept { return *state_; }

  // Submitter, after it has published a task. True if it made a system call to wake somebody.
  bool wake_after_publish() const noexcept {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const std::uint64_t sleeping = state_->sleeping.load(std::memory_order_relaxed);
    if (sleeping == 0 || state_->searching.load(std::memory_order_relaxed) != 0) return false;
    return wake_one();
  }

  // Wakes the sleeper with the lowest number: always the same ones work, the others stay asleep and their caches stay cold.
  bool wake_one() const noexcept {
    std::uint64_t sleeping = state_->sleeping.load(std::memory_order_relaxed);
    while (sleeping != 0) {
      const int member = std::countr_zero(sleeping);
      RAYX_KILL_POINT("lane.wake.before_take");
      if (take_bit(state_->sleeping, member)) {
        RAYX_KILL_POINT("lane.wake.after_take");
        wake_member(member);
        return true;
      }
      sleeping = state_->sleeping.load(std::memory_order_relaxed);
    }
    return false;
  }

  // Node, after a death or when the lane's work must be looked at again.
  void wake_all() const noexcept {
    std::uint64_t members = state_->members.load(std::memory_order_acquire);
    for (; members != 0; members &= members - 1) {
      const int member = std::countr_zero(members);
      take_bit(state_->sleeping, member);
      RAYX_KILL_POINT("lane.wake_all.after_take");
      wake_member(member);
    }
  }

  // Node: one executor is to look again. The relay sleeps also where it does not say so.
  void wake_to_look(int member) const noexcept {
    if (take_bit(state_->sleeping, member) || member == kRelayMember) wake_member(member);
  }

  // Executor `member`, found nothing. Marks itself if somebody else sleeps. Call it on every turn of the search.
  void search(int member) const noexcept {
    if (state_->sleeping.load(std::memory_order_relaxed) == 0) return;
    const std::uint64_t bit = std::uint64_t{1} << member;
    if ((state_->searching.load(std::memory_order_relaxed) & bit) == 0) {
      state_->searching.fetch_or(bit, std::memory_order_seq_cst);
      RAYX_KILL_POINT("lane.search.after");
    }
  }

  // Executor `member` has claimed a task. True if it was marked: then the caller looks whether more work lies there and, if
  // so, wakes the next sleeper.
  bool found(int member) const noexcept {
    const std::uint64_t bit = std::uint64_t{1} << member;
    if ((state_->searching.load(std::memory_order_relaxed) & bit) == 0) return false;
    state_->searching.fetch_and(~bit, std::memory_order_seq_cst);
    // The caller's look at the queues comes after: see wake_after_publish.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    RAYX_KILL_POINT("lane.found.after");
    return true;
  }

  // Executor: says that it is going to sleep. It must look at its queues once more between this call and `sleep`.
  void announce_sleep(int member, ProcessSlot& slot) const noexcept {
    slot.run_word.store(1, std::memory_order_relaxed);
    announce_one_more(member);
  }
  // The same for who sleeps in many lanes, and has set its word before the first of them: somebody may have woken it there already.
  void announce_one_more(int member) const noexcept {
    const std::uint64_t bit = std::uint64_t{1} << member;
    RAYX_KILL_POINT("lane.sleep.before_bit");
    state_->sleeping.fetch_or(bit, std::memory_order_seq_cst);
    RAYX_KILL_POINT("lane.sleep.before_unmark");
    state_->searching.fetch_and(~bit, std::memory_order_seq_cst);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    RAYX_KILL_POINT("lane.sleep.after_bit");
  }
  void sleep(ProcessSlot& slot, base::TimeNs timeout_ns = base::kNever) const noexcept {
    if (slot.run_word.load(std::memory_order_acquire) == 1) futex_wait(slot.run_word, 1, timeout_ns);
  }
  // Executor: awake again, or decided not to sleep.
  void withdraw_sleep(int member, ProcessSlot& slot) const noexcept {
    take_bit(state_->sleeping, member);
    RAYX_KILL_POINT("lane.withdraw.before_word");
    slot.run_word.store(0, std::memory_order_relaxed);
  }

  // Node: `member` is dead or leaves the lane.
  void forget_member(int member) const noexcept {
    const std::uint64_t bit = std::uint64_t{1} << member;
    state_->members.fetch_and(~bit, std::memory_order_seq_cst);
    RAYX_KILL_POINT("lane.forget_member.before_searching");
    state_->searching.fetch_and(~bit, std::memory_order_seq_cst);
    RAYX_KILL_POINT("lane.forget_member.before_sleeping");
    state_->sleeping.fetch_and(~bit, std::memory_order_seq_cst);
  }
  // Node: gives `slot` a number in this lane, -1 if all are taken.
  int add_member(std::uint32_t slot) const noexcept {
    const std::uint64_t free = ~state_->members.load(std::memory_order_relaxed);
    if (free == 0) return -1;
    const int member = std::countr_zero(free);
    set_member(member, slot);
    return member;
  }
  // Node: `slot` is the relay, which has the last number: it is woken when no worker sleeps. Before the lane has any member.
  void add_relay(std::uint32_t slot) const noexcept {
    state_->relay_version_seen.store(0, std::memory_order_seq_cst);
    set_member(kRelayMember, slot);
  }

 private:
  void set_member(int member, std::uint32_t slot) const noexcept {
    state_->member_slot[member].store(static_cast<std::uint16_t>(slot), std::memory_order_relaxed);
    RAYX_KILL_POINT("lane.add_member.before_bit");
    state_->members.fetch_or(std::uint64_t{1} << member, std::memory_order_release);
  }

 public:
  // Submitter `slot`: its queue for this lane exists and may be pulled from.
  void add_submitter(std::uint32_t slot) const noexcept {
    state_->submitters[slot / 64].fetch_or(std::uint64_t{1} << slot % 64, std::memory_order_seq_cst);
    RAYX_KILL_POINT("lane.add_submitter.before_version");
    state_->version.fetch_add(1, std::memory_order_seq_cst);
  }
  // Node: the submitter is gone. Its queue's memory may be used again only after every executor has seen the new version.
  void remove_submitter(std::uint32_t slot) const noexcept {
    state_->submitters[slot / 64].fetch_and(~(std::uint64_t{1} << slot % 64), std::memory_order_seq_cst);
    RAYX_KILL_POINT("lane.remove_submitter.before_version");
    state_->version.fetch_add(1, std::memory_order_seq_cst);
  }

 private:
  static bool take_bit(std::atomic<std::uint64_t>& mask, int member) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << member;
    return (mask.fetch_and(~bit, std::memory_order_seq_cst) & bit) != 0;
  }
  void wake_member(int member) const noexcept {
    ProcessSlot& slot = slots_[state_->member_slot[member].load(std::memory_order_relaxed)];
    slot.run_word.store(0, std::memory_order_release);
    RAYX_KILL_POINT("lane.wake.before_futex");
    futex_wake(slot.run_word, 1);
  }

  LaneState* state_ = nullptr;
  ProcessSlot* slots_ = nullptr;
};

}  // namespace rayx::shm
