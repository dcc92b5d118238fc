// The control area at the start of the arena: the table of processes, the table of lanes, and how a death is made known.
//
// A death goes: the kernel confirms it -> the node calls `announce_death` (life = dead, a new membership version, the dead
// process's bits cleared, everybody woken) -> each process that owns tasks calls `handle_deaths`, takes back what the dead one
// held of its own, and says so by `deaths_handled` -> `is_buried` holds and the node may use the slot and its memory again.
#pragma once

#include <atomic>
#include <cstdint>
#include <new>
#include <optional>

#include "shm/lane.hpp"
#include "shm/layout.hpp"
#include "shm/process_slot.hpp"
#include "shm/records.hpp"
#include "shm/task_queue.hpp"

namespace rayx::shm {

inline constexpr std::uint64_t kControlMagic = 0x3130'7872'7961'72ull;  // "rayrx01", little endian
inline constexpr std::uint32_t kLayoutVersion = 1;

struct ControlHeader {
  std::uint64_t magic;
  std::uint32_t layout_version;
  std::uint32_t processes;  // rows of the process table that this arena has
  std::uint32_t lanes;
  std::uint32_t reserved;
  Offset slots;
  Offset lane_states;
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> membership_version;
  // Rows of the process table that were ever used: readers need to look at no more.
  std::atomic<std::uint32_t> processes_used;
  std::atomic<std::uint64_t> death_version[kProcessesMax];
  NodeCallBoard node_calls;
};

// One process's view of the control area. Copyable.
class Control {
 public:
  static constexpr std::uint64_t bytes_for(std::uint32_t processes, std::uint32_t lanes) {
    return sizeof(ControlHeader) + kCacheLineBytes + std::uint64_t{processes} * sizeof(ProcessSlot) +
           std::uint64_t{lanes} * sizeof(LaneState);
  }

  Control() = default;
  // Attaches to the control area that `create` made at the start of `segment`.
  explicit Control(const Segment& segment)
      : segment_(segment),
        header_(reinterpret_cast<ControlHeader*>(segment.base())),
        slots_(segment.at<ProcessSlot>(header_->slots)),
        lanes_(segment.at<LaneState>(header_->lane_states)) {
    RAYX_CHECK(header_->magic == kControlMagic && header_->layout_version == kLayoutVersion,
               "the arena was not made by this build", header_->magic, header_->layout_version);
  }

  // The segment's memory must be zero there, as fresh shared memory is: tables that are all zero are empty tables, and pages
  // that nobody writes cost nothing.
  static Control create(const Segment& segment, std::uint32_t processes, std::uint32_t lanes) {
    RAYX_CHECK(processes >= 1 && processes <= kProcessesMax, "process slots", processes);
    RAYX_CHECK(lanes >= 1 && lanes <= kLanesMax, "lanes", lanes);
    RAYX_CHECK(bytes_for(processes, lanes) <= segment.bytes(), "control area does not fit", segment.bytes());
    auto* header = reinterpret_cast<ControlHeader*>(segment.base());
    header->layout_version = kLayoutVersion;
    header->processes = processes;
    header->lanes = lanes;
    header->slots = (sizeof(ControlHeader) + kCacheLineBytes - 1) / kCacheLineBytes * kCacheLineBytes;
    header->lane_states = header->slots + std::uint64_t{processes} * sizeof(ProcessSlot);
    header->magic = kControlMagic;
    return Control(segment);
  }

  const Segment& segment() const noexcept { return segment_; }
  ControlHeader& header() const noexcept { return *header_; }
  ProcessSlot& slot(std::uint32_t index) const noexcept { return slots_[index]; }
  Lane lane(std::uint32_t index) const noexcept { return Lane(lanes_[index], slots_); }
  Records records_of(std::uint32_t slot_index) const noexcept {
    return Records(segment_, slots_[slot_index], slots_, header_->processes_used);
  }

  // The queue of `submitter` for `lane_index`, closed if it has none.
  TaskQueue queue(std::uint32_t submitter, std::uint32_t lane_index) const noexcept {
    const Offset offset = slots_[submitter].queue_of_lane[lane_index].load(std::memory_order_acquire);
    return offset == kNoOffset ? TaskQueue() : TaskQueue(segment_.at<std::byte>(offset));
  }

  // Submitter: makes `queue` known to the executors of the lane.
  void publish_queue(std::uint32_t submitter, std::uint32_t lane_index, Offset queue) const noexcept {
    slots_[submitter].queue_of_lane[lane_index].store(queue, std::memory_order_release);
    RAYX_KILL_POINT("control.publish_queue.before_bit");
    lane(lane_index).add_submitter(submitter);
  }

  // Node: takes a free row for a process that is about to start. Nothing if all are in use.
  std::optional<std::uint32_t> add_process() const noexcept {
    for (std::uint32_t i = 0; i < header_->processes; ++i) {
      if (slots_[i].life.load(std::memory_order_relaxed) != ProcessLife::kFree) continue;
      ProcessSlot& slot = slots_[i];
      slot.generation.fetch_add(1, std::memory_order_relaxed);
      slot.deaths_handled.store(UINT64_MAX, std::memory_order_relaxed);
      slot.attendance.reset();
      slot.run_word.store(0, std::memory_order_relaxed);
      slot.life.store(ProcessLife::kLive, std::memory_order_release);
      if (header_->processes_used.load(std::memory_order_relaxed) <= i)
        header_->processes_used.store(i + 1, std::memory_order_release);
      return i;
    }
    return std::nullopt;
  }

  // A process that is going to own tasks: from here on every death waits for its word.
  void begin_owning(std::uint32_t me) const noexcept {
    slots_[me].deaths_handled.store(header_->membership_version.load(std::memory_order_seq_cst),
                                    std::memory_order_seq_cst);
  }

  // Node: `dead` is gone for sure. Afterwards nobody waits for it: its marks are cleared and every sleeper looks again.
  void announce_death(std::uint32_t dead) const noexcept {
    ProcessSlot& slot = slots_[dead];
    RAYX_CHECK(may_follow(slot.life.load(std::memory_order_relaxed), ProcessLife::kDead),
               "death of a process that is not live", dead);
    // In this order: whoever sees the new version must see the death that it counts, or he would say that he has handled a death
    // that he never looked at. The node is the only writer.
    const std::uint64_t version = header_->membership_version.load(std::memory_order_relaxed) + 1;
    header_->death_version[dead].store(version, std::memory_order_seq_cst);
    RAYX_KILL_POINT("control.announce_death.before_life");
    slot.life.store(ProcessLife::kDead, std::memory_order_seq_cst);
    RAYX_KILL_POINT("control.announce_death.before_version");
    header_->membership_version.store(version, std::memory_order_seq_cst);
    for (std::uint32_t i = 0; i < header_->lanes; ++i) {
      if (lanes_[i].version.load(std::memory_order_relaxed) == 0 &&
          lanes_[i].members.load(std::memory_order_relaxed) == 0)
        continue;
      const Lane lane(lanes_[i], slots_);
      std::uint64_t members = lanes_[i].members.load(std::memory_order_relaxed);
      for (; members != 0; members &= members - 1) {
        const int member = std::countr_zero(members);
        if (lanes_[i].member_slot[member].load(std::memory_order_relaxed) == dead) lane.forget_member(member);
      }
      if ((lanes_[i].submitters[dead / 64].load(std::memory_order_relaxed) >> dead % 64 & 1) != 0)
        lane.remove_submitter(dead);
      lane.wake_all();
    }
    const std::uint32_t used = header_->processes_used.load(std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < used; ++i)
      if (slots_[i].life.load(std::memory_order_relaxed) == ProcessLife::kLive) call_service(i);
  }

  // Wakes the service thread of process `index`, whether or not it says that it sleeps.
  void call_service(std::uint32_t index) const noexcept { slots_[index].attendance.call(); }

  // Whether a death is unknown to process `me`: cheap, for its service thread.
  bool has_deaths_for(std::uint32_t me) const noexcept {
    return header_->membership_version.load(std::memory_order_seq_cst) >
           slots_[me].deaths_handled.load(std::memory_order_relaxed);
  }

  // Owner `me`, under its private lock: calls `visit(dead slot)` for each process that died since the last call, then says that
  // it has handled them. After a visit nothing of the dead process may be looked at any more.
  template <class Visit>
  void handle_deaths(std::uint32_t me, Visit&& visit) const {
    const std::uint64_t handled = slots_[me].deaths_handled.load(std::memory_order_relaxed);
    if (handled == UINT64_MAX) return;
    const std::uint64_t version = header_->membership_version.load(std::memory_order_seq_cst);
    if (version == handled) return;
    const std::uint32_t used = header_->processes_used.load(std::memory_order_acquire);
    for (std::uint32_t i = 0; i < used; ++i) {
      if (slots_[i].life.load(std::memory_order_acquire) != ProcessLife::kDead) continue;
      const std::uint64_t died = header_->death_version[i].load(std::memory_order_seq_cst);
      if (died > handled && died <= version) visit(i);
    }
    RAYX_KILL_POINT("control.handle_deaths.before_word");
    slots_[me].deaths_handled.store(version, std::memory_order_seq_cst);
  }

  // Node: every owner has taken back what it had at `dead`.
  bool is_buried(std::uint32_t dead) const noexcept {
    const std::uint64_t died = header_->death_version[dead].load(std::memory_order_seq_cst);
    const std::uint32_t used = header_->processes_used.load(std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < used; ++i) {
      if (slots_[i].life.load(std::memory_order_acquire) != ProcessLife::kLive) continue;
      if (slots_[i].deaths_handled.load(std::memory_order_seq_cst) < died) return false;
    }
    return true;
  }

  // Node: the slot of a buried process is free again.
  void free_process(std::uint32_t dead) const noexcept {
    ProcessSlot& slot = slots_[dead];
    RAYX_CHECK(may_follow(slot.life.load(std::memory_order_relaxed), ProcessLife::kFree),
               "a live process's slot is freed", dead);
    slot.running_depth.store(0, std::memory_order_relaxed);
    for (NodeCall& call : slot.calls.cells) call.state.store(NodeCall::kFree, std::memory_order_relaxed);
    HoldTable(segment_, slot.holds).wipe();
    slot.lease.store(0, std::memory_order_relaxed);
    slot.life.store(ProcessLife::kFree, std::memory_order_release);
  }

 private:
  Segment segment_;
  ControlHeader* header_ = nullptr;
  ProcessSlot* slots_ = nullptr;
  LaneState* lanes_ = nullptr;
};

}  // namespace rayx::shm
