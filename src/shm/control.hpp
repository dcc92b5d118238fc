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
#include <vector>

#include "shm/lane.hpp"
#include "shm/layout.hpp"
#include "shm/process_slot.hpp"
#include "shm/records.hpp"
#include "shm/task_queue.hpp"

namespace rayx::shm {

inline constexpr std::uint64_t kControlMagic = 0x3130'7872'7961'72ull;  // "rayrx01", little endian
inline constexpr std::uint32_t kLayoutVersion = 1;

// Arenas of one job have different marks, but for 1 in 16,384.
inline constexpr std::uint32_t kArenaMarkMask = 0x3fff;

struct ControlHeader {
  std::uint64_t magic;
  std::uint32_t layout_version;
  std::uint32_t processes;  // rows of the process table that this arena has
  std::uint32_t lanes;
  std::uint32_t arena_mark;  // 14 random bits, in each name of an object of this arena
  std::uint32_t has_relay;   // 1: some objects may stand for those of other nodes
  Offset slots;
  Offset lane_states;
  // Node, in shm::kCpuUnits: CPUs that actors hold, and what workers have lent that wait inside a task of a class.
  std::atomic<std::uint64_t> actors_units;
  std::atomic<std::uint64_t> lent_units;
  // Node: of its CPUs what the job may reckon with, where other jobs use them too.
  std::atomic<std::uint64_t> share_units;
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
  // `first_generation`: of a row's first process; no row that is not used is touched.
  std::optional<std::uint32_t> add_process(std::uint32_t first_generation = 0) const noexcept {
    for (std::uint32_t i = 0; i < header_->processes; ++i) {
      if (slots_[i].life.load(std::memory_order_relaxed) != ProcessLife::kFree) continue;
      ProcessSlot& slot = slots_[i];
      if (slot.generation.load(std::memory_order_relaxed) == 0)
        slot.generation.store(first_generation, std::memory_order_relaxed);
      slot.generation.fetch_add(1, std::memory_order_relaxed);
      slot.deaths_handled.store(UINT64_MAX, std::memory_order_relaxed);
      slot.attendance.reset();
      slot.run_word.store(0, std::memory_order_relaxed);
      RAYX_KILL_POINT("control.add_process.before_life");
      slot.life.store(ProcessLife::kLive, std::memory_order_release);
      RAYX_KILL_POINT("control.add_process.before_used");
      if (header_->processes_used.load(std::memory_order_relaxed) <= i)
        header_->processes_used.store(i + 1, std::memory_order_release);
      return i;
    }
    return std::nullopt;
  }

  // A process that is going to own tasks: from here on every death waits for its word. Deaths before are not its business. Once,
  // before it submits anything.
  void begin_owning(std::uint32_t me) const noexcept {
    std::uint64_t version = header_->membership_version.load(std::memory_order_seq_cst);
    for (;;) {
      RAYX_KILL_POINT("control.begin_owning.before_word");
      slots_[me].deaths_handled.store(version, std::memory_order_seq_cst);
      // Who died in between may be buried already without this process's word; its row may even have a new process.
      const std::uint64_t now = header_->membership_version.load(std::memory_order_seq_cst);
      if (now == version) return;
      version = now;
    }
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
    RAYX_KILL_POINT("control.announce_death.before_lanes");
    for (std::uint32_t i = 0; i < header_->lanes; ++i) {
      const bool submits = (lanes_[i].submitters[dead / 64].load(std::memory_order_relaxed) >> dead % 64 & 1) != 0;
      if (!submits && lanes_[i].version.load(std::memory_order_relaxed) == 0 &&
          lanes_[i].members.load(std::memory_order_relaxed) == 0)
        continue;
      const Lane lane(lanes_[i], slots_);
      std::uint64_t members = lanes_[i].members.load(std::memory_order_relaxed);
      for (; members != 0; members &= members - 1) {
        const int member = std::countr_zero(members);
        if (lanes_[i].member_slot[member].load(std::memory_order_relaxed) == dead) lane.forget_member(member);
      }
      RAYX_KILL_POINT("control.announce_death.before_submitter");
      if (submits) lane.remove_submitter(dead);
      RAYX_KILL_POINT("control.announce_death.before_wake");
      lane.wake_all();
    }
    call_all_services();
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

  // Process `me`, under its private lock: lets go of a hold, and the object's owner looks whether anybody else has one.
  void release_hold(std::uint32_t me, ObjectKey key) const {
    HoldTable(segment_, slots_[me].holds).release(key, [&] { tell_owner(key); });
  }

  // Owner `me`: whether another process holds its object. The dead count until they are buried: what they gave to others may be
  // on its way. Two cache lines for each process that has a table.
  bool is_held_elsewhere(ObjectKey key, std::uint32_t me) const noexcept {
    for (;;) {
      const HoldsLooked before = holds_looked();
      std::atomic_thread_fence(std::memory_order_seq_cst);
      for (std::uint32_t p = 0; p < before.processes; ++p) {
        if (p == me || slots_[p].life.load(std::memory_order_acquire) == ProcessLife::kFree) continue;
        if (HoldTable(segment_, slots_[p].holds).contains(key)) return true;
      }
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (before == holds_looked()) return false;
    }
  }

  // Node, of a buried process that owned: whether somebody may still touch its memory, because he knows its queue, runs its task,
  // holds its object, or is just telling it that he does not any more. The dead count as the living do until they are buried, and
  // later as long as somebody uses their memory in turn: it may name what they held. False stays false.
  bool is_used_by_others(std::uint32_t dead) const {
    for (;;) {
      const HoldsLooked before = holds_looked();
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (has_user(dead, before.processes)) return true;
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (before == holds_looked()) return false;
    }
  }

  // Node, of a buried process that owned: whether somebody may still begin or run a task of its own.
  bool has_tasks_of(std::uint32_t dead) const noexcept {
    if (is_queue_known(dead)) return true;
    const std::uint32_t processes = header_->processes_used.load(std::memory_order_acquire);
    for (std::uint32_t p = 0; p < processes; ++p) {
      // An executor that runs a task of the dead below another one has not said which version of the lane it knows.
      if (slots_[p].life.load(std::memory_order_acquire) == ProcessLife::kLive &&
          RunningStack(slots_[p]).runs_task_of(dead))
        return true;
    }
    return false;
  }

  // Node, of a buried process that owned: executors that sleep and have not looked since another submitter came look again. Nobody else
  // would wake them, and until they have, the queues of the dead count as known.
  void wake_who_knows_queues(std::uint32_t dead) const {
    visit_who_knows_queues(dead, [&](std::uint32_t i, int member) { lane(i).wake_to_look(member); });
  }

  // Node, of a buried process: it died when it had let go of a hold, and its owner may not have heard of that.
  void end_release(std::uint32_t dead) const {
    HoldTableState& holds = slots_[dead].holds;
    const ObjectKey key{holds.releasing.load(std::memory_order_acquire)};
    if (key.word == 0) return;
    tell_owner(key);
    holds.releasing.store(0, std::memory_order_release);
  }

  // Node, of a buried process whose slot is not free yet, once: it may have said something in the record of an object that it held, and died
  // before its word to the owner. Who comes later says nothing again, and may be what the slot waits for.
  void tell_owners_of_holds(std::uint32_t dead) const {
    HoldTable(segment_, slots_[dead].holds).for_each([this](ObjectKey key) { tell_owner(key); });
  }

  // Node: the slot of a buried process is free again. The owners of what it held, or was letting go of, look again. If it owned,
  // `is_used_by_others` comes first, and the caller has forgotten its queues and records.
  void free_process(std::uint32_t dead) const {
    ProcessSlot& slot = slots_[dead];
    RAYX_CHECK(may_follow(slot.life.load(std::memory_order_relaxed), ProcessLife::kFree),
               "a live process's slot is freed", dead);
    slot.running_depth.store(0, std::memory_order_relaxed);
    RAYX_KILL_POINT("control.free_process.before_calls");
    for (NodeCall& call : slot.calls.cells) call.state.store(NodeCall::kFree, std::memory_order_relaxed);
    records_of(dead).forget_completed();
    std::vector<ObjectKey> held;
    HoldTable holds(segment_, slot.holds);
    holds.for_each([&](ObjectKey key) { held.push_back(key); });
    if (const ObjectKey releasing = holds.releasing(); releasing.word != 0) held.push_back(releasing);
    RAYX_KILL_POINT("control.free_process.before_holds");
    holds.wipe();
    RAYX_KILL_POINT("control.free_process.before_telling");
    for (const ObjectKey key : held) tell_owner(key);
    slot.lease.store(0, std::memory_order_relaxed);
    slot.lane_version_seen.store(0, std::memory_order_relaxed);
    RAYX_KILL_POINT("control.free_process.before_life");
    slot.life.store(ProcessLife::kFree, std::memory_order_release);
    RAYX_KILL_POINT("control.free_process.before_calls_of_services");
    call_all_services();  // they may keep memory for it
  }

  // A hold may move from a table that is looked at later to one that was looked at before. If nothing of this has changed, none
  // did: taking a hold raises its table's count before the one that protected it is given up.
  struct HoldsLooked {
    std::uint32_t processes;
    std::uint64_t adds;
    bool operator==(const HoldsLooked&) const = default;
  };
  HoldsLooked holds_looked() const noexcept {
    HoldsLooked looked{header_->processes_used.load(std::memory_order_acquire), 0};
    for (std::uint32_t p = 0; p < looked.processes; ++p)
      looked.adds += slots_[p].holds.adds.load(std::memory_order_acquire);
    return looked;
  }

 private:
  void call_all_services() const noexcept {
    const std::uint32_t used = header_->processes_used.load(std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < used; ++i)
      if (slots_[i].life.load(std::memory_order_relaxed) == ProcessLife::kLive) call_service(i);
  }
  bool has_user(std::uint32_t dead, std::uint32_t processes) const {
    std::vector<std::uint32_t> memory_of = {dead};
    std::vector<bool> is_among(processes);
    for (std::size_t i = 0; i < memory_of.size(); ++i) {
      const std::uint32_t owner = memory_of[i];
      if (has_tasks_of(owner)) return true;
      for (std::uint32_t p = 0; p < processes; ++p) {
        const ProcessLife life = slots_[p].life.load(std::memory_order_acquire);
        if (p == dead || is_among[p] || life == ProcessLife::kFree) continue;
        if (!holds_object_of(owner, p)) continue;
        if (life == ProcessLife::kLive || !is_buried(p)) return true;
        is_among[p] = true;
        memory_of.push_back(p);
      }
    }
    return false;
  }
  // Calls visit(lane, member) for each executor that may find a queue of `dead` which it has seen before.
  template <class Visit>
  void visit_who_knows_queues(std::uint32_t dead, Visit&& visit) const {
    for (std::uint32_t i = 0; i < header_->lanes; ++i) {
      if (slots_[dead].queue_of_lane[i].load(std::memory_order_relaxed) == kNoOffset) continue;
      const std::uint64_t version = lanes_[i].version.load(std::memory_order_seq_cst);
      std::uint64_t members = lanes_[i].members.load(std::memory_order_acquire);
      for (; members != 0; members &= members - 1) {
        const int number = std::countr_zero(members);
        const std::uint16_t member = lanes_[i].member_slot[number].load(std::memory_order_relaxed);
        const std::atomic<std::uint64_t>& seen =
            number == kRelayMember ? lanes_[i].relay_version_seen : slots_[member].lane_version_seen;
        if (seen.load(std::memory_order_seq_cst) < version) visit(i, number);
      }
    }
  }
  bool is_queue_known(std::uint32_t dead) const noexcept {
    bool is_known = false;
    visit_who_knows_queues(dead, [&](std::uint32_t, int) { is_known = true; });
    return is_known;
  }
  bool holds_object_of(std::uint32_t owner, std::uint32_t holder) const noexcept {
    const HoldTable holds(segment_, slots_[holder].holds);
    bool has = false;
    holds.for_each([&](ObjectKey key) { has = has || key.owner() == owner; });
    const ObjectKey releasing = holds.releasing();
    return has || (releasing.word != 0 && releasing.owner() == owner);
  }
  void tell_owner(ObjectKey key) const noexcept {
    if (key.owner() >= header_->processes) return;
    if (slots_[key.owner()].life.load(std::memory_order_acquire) != ProcessLife::kLive) return;
    const Records records = records_of(key.owner());
    records.mark_completed(key.record());
    records.call_owner();
  }

  Segment segment_;
  ControlHeader* header_ = nullptr;
  ProcessSlot* slots_ = nullptr;
  LaneState* lanes_ = nullptr;
};

}  // namespace rayx::shm
