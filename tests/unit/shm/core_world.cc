#include "core_world.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <thread>

#include "base/clock.hpp"
#include "core_participants.hpp"
#include "shm/death_note.hpp"

namespace rayx::base {
extern void (*on_kill_point)(const char*);
}

namespace rayx::shm::test {
namespace {

constexpr std::uint32_t kLanes = 8;

class World {
 public:
  World(const Plan& plan, bool collect) : plan_(plan), collect_(collect) {
    const std::uint64_t control_bytes = round_up(Control::bytes_for(kSlots, kLanes));
    const std::uint64_t notes_bytes = round_up(DeathNotes::bytes_for(kSlots));
    const std::uint64_t slab_bytes = sizeof(RecordSlab);
    const std::uint64_t queue_bytes = TaskQueue::bytes_for(plan.queue_cells);
    const std::uint64_t chunk_bytes = kHoldChunks * sizeof(HoldChunk);
    const std::uint64_t begin = control_bytes + notes_bytes;
    const std::uint64_t bytes = begin + kSlots * (slab_bytes + queue_bytes + chunk_bytes);
    memory_.segment = Segment(map(bytes), bytes);
    shared_ = new (map(sizeof(Shared))) Shared;
    memory_.control = Control::create(memory_.segment, kSlots, kLanes);
    notes_ = DeathNotes(memory_.segment, kSlots, kLanes);
    for (std::uint32_t i = 0; i < kSlots; ++i) {
      memory_.slabs.push_back(begin + i * slab_bytes);
      memory_.queues.push_back(begin + kSlots * slab_bytes + i * queue_bytes);
      memory_.chunks.push_back(begin + kSlots * (slab_bytes + queue_bytes) + i * chunk_bytes);
      create_record_slab(memory_.segment.base() + memory_.slabs.back());
    }
    // Threads that stopped in an earlier world may have siblings that still read it.
    if (base::on_kill_point != at_kill_point) base::on_kill_point = at_kill_point;
  }
  ~World() {
    if (plan_.mode == Mode::kThreads) return;  // parked threads may still name the memory
    ::munmap(memory_.segment.base(), memory_.segment.bytes());
    ::munmap(shared_, sizeof(Shared));
  }

  Outcome run(int deadline_s) {
    here = {};
    here.shared = shared_;
    here.role = Role::kNode;
    here.collect = collect_;
    here.countdown = &node_stops_;
    if (!plan_.node_stops_at.empty()) here.target = plan_.node_stops_at.c_str();
    const base::SteadyClock clock;
    const base::TimeNs deadline = clock.now_ns() + deadline_s * 1'000'000'000ll;
    for (int i = 0; i < plan_.owners; ++i) start(Role::kOwner, i == 0);
    for (int i = 0; i < plan_.executors; ++i) start(Role::kExecutor, i == 0);
    while (!owners_are_done()) {
      if (clock.now_ns() > deadline) {
        problem("somebody blocks, or something is never freed: not finished in time" + describe());
        break;
      }
      tend();
      ::sched_yield();
    }
    finish(deadline, clock);
    here = {};
    outcome_.node_has_stopped = node_stops_.load() != 0;
    return outcome_;
  }

  PointCounts coverage(Role role) const {
    PointCounts result;
    const auto row = static_cast<std::size_t>(role);
    for (std::uint32_t i = 0; i < kPointsMax && shared_->point_names[row][i].load() != nullptr; ++i)
      result[shared_->point_names[row][i].load()] = shared_->point_counts[row][i].load();
    return result;
  }

 private:
  struct Participant {
    Role role;
    std::uint32_t slot;
    const Kill* kill;
    std::atomic<std::uint32_t> countdown{0};
    pid_t pid = -1;
    std::thread thread;
    bool gone = false;
    std::atomic<bool> returned{false};
  };

  static std::uint64_t round_up(std::uint64_t bytes) { return (bytes + 4095) / 4096 * 4096; }
  static std::byte* map(std::uint64_t bytes) {
    void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    RAYX_CHECK(memory != MAP_FAILED, "mmap", bytes);
    return static_cast<std::byte*>(memory);
  }

  void problem(const std::string& what) { outcome_.problems.push_back(what); }

  const Kill* kill_of(Role role) const {
    for (const Kill& kill : plan_.kills)
      if (kill.role == role) return &kill;
    return nullptr;
  }

  void start(Role role, bool is_first) {
    const auto slot = memory_.control.add_process();
    RAYX_CHECK(slot.has_value(), "no free process slot");
    new (&shared_->participants[*slot]) Shared::Participant{};
    auto& participant = participants_.emplace_back(std::make_unique<Participant>());
    participant->role = role;
    participant->slot = *slot;
    participant->kill = is_first ? kill_of(role) : nullptr;
    if (participant->kill != nullptr) participant->countdown.store(participant->kill->nth);
    int member = -1;
    if (role == Role::kExecutor) {
      member = memory_.control.lane(kLane).add_member(*slot);
      RAYX_CHECK(member >= 0, "no free member");
    }
    Participant* self = participant.get();
    auto body = [this, self, member] {
      here = {};
      here.shared = shared_;
      here.participant = &shared_->participants[self->slot];
      here.role = self->role;
      here.collect = collect_;
      here.is_thread = plan_.mode == Mode::kThreads;
      here.countdown = &self->countdown;
      if (self->kill != nullptr) here.target = self->kill->point.c_str();
      if (self->role == Role::kExecutor)
        run_executor(memory_, *shared_, self->slot, member);
      else
        std::make_unique<Owner>(memory_, plan_, *shared_, self->slot)->run();
      here = {};
    };
    if (plan_.mode == Mode::kProcesses) {
      self->pid = ::fork();
      RAYX_CHECK(self->pid >= 0, "fork", errno);
      if (self->pid == 0) {
        body();
        ::_exit(0);
      }
    } else {
      self->thread = std::thread([self, body] {
        body();
        self->returned.store(true);
      });
    }
  }

  // Looks for the dead and buries those whom everybody has mourned; a dead executor is replaced.
  void tend() {
    for (std::size_t i = 0; i < participants_.size(); ++i) {
      Participant& participant = *participants_[i];
      if (participant.gone || !is_dead(participant)) continue;
      participant.gone = true;
      retire(participant);
      if (participant.role == Role::kExecutor && shared_->stop.load() == 0) start(Role::kExecutor, false);
    }
    std::erase_if(unburied_, [&](std::uint32_t dead) { return try_to_bury(dead); });
  }

  bool is_dead(Participant& participant) {
    Shared::Participant& said = shared_->participants[participant.slot];
    if (plan_.mode == Mode::kThreads) {
      if (said.killed.load() != 0) {
        participant.thread.detach();
        note_killed(participant.role);
        return true;
      }
      if (!participant.returned.load()) return false;
      participant.thread.join();
      return true;
    }
    int status = 0;
    if (::waitpid(participant.pid, &status, WNOHANG) != participant.pid) return false;
    if (said.killed.load() != 0) {
      note_killed(participant.role);
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      problem("a participant that nobody killed ended with wait status " + std::to_string(status));
    }
    return true;
  }

  void note_killed(Role role) {
    (role == Role::kOwner ? outcome_.owner_was_killed : outcome_.executor_was_killed) = true;
  }

  void retire(Participant& participant) {
    Shared::Participant& said = shared_->participants[participant.slot];
    outcome_.tasks_done += said.done.load();
    outcome_.executions += said.executions.load();
    outcome_.objects_freed += said.objects_freed.load();
    if (said.problems.load() != 0) problem(said.problem);
    if (said.killed.load() == 0) {
      if (participant.role == Role::kOwner && said.finished.load() == 0) problem("an owner ended early");
      if (holds_of(participant.slot) != 0) problem("a process that ended by itself has left holds");
    }
    const ProcessSlot& slot = memory_.control.slot(participant.slot);
    notes_.write(participant.slot, slot.generation.load(), participant.pid, "ended", {});
    memory_.control.announce_death(participant.slot);
    unburied_.push_back(participant.slot);
  }

  bool try_to_bury(std::uint32_t dead) {
    const Control& control = memory_.control;
    if (!control.is_buried(dead) || control.is_used_by_others(dead)) return false;
    ProcessSlot& slot = control.slot(dead);
    slot.queue_of_lane[kLane].store(kNoOffset);
    if (slot.record_slabs[0].exchange(kNoOffset) != kNoOffset && plan_.mode == Mode::kProcesses) {
      // Somebody else has the memory now. (A thread that stopped has a sibling that may still look at it.)
      std::memset(memory_.segment.base() + memory_.slabs[dead], 0xa5, sizeof(RecordSlab));
      std::memset(memory_.segment.base() + memory_.queues[dead], 0xa5, TaskQueue::bytes_for(plan_.queue_cells));
    }
    control.free_process(dead);
    return true;
  }

  std::uint64_t holds_of(std::uint32_t slot) const {
    const HoldTable holds(memory_.segment, memory_.control.slot(slot).holds);
    std::uint64_t count = holds.releasing().word != 0;
    holds.for_each([&](ObjectKey) { ++count; });
    return count;
  }

  bool owners_are_done() const {
    for (const auto& participant : participants_)
      if (participant->role == Role::kOwner && !participant->gone) return false;
    return true;
  }

  std::string describe() const {
    std::string text;
    for (const auto& participant : participants_) {
      const ProcessSlot& slot = memory_.control.slot(participant->slot);
      const Shared::Participant& said = shared_->participants[participant->slot];
      text += "\n  slot " + std::to_string(participant->slot) +
              (participant->role == Role::kOwner ? " owner" : " executor") + (participant->gone ? " gone" : "") +
              " done " + std::to_string(said.done.load()) + " freed " + std::to_string(said.objects_freed.load()) +
              " depth " + std::to_string(slot.running_depth.load()) + " holds " +
              std::to_string(holds_of(participant->slot)) + " run_word " + std::to_string(slot.run_word.load()) +
              " attendance " + std::to_string(slot.attendance.word()) + " deaths handled " +
              std::to_string(slot.deaths_handled.load());
      if (said.problems.load() != 0) text += std::string(" problem: ") + said.problem;
    }
    for (const std::uint32_t dead : unburied_)
      text += "\n  slot " + std::to_string(dead) + " is dead and not buried" +
              (memory_.control.is_buried(dead) ? ", used by others" : ", not handled");
    LaneState& lane = memory_.control.lane(kLane).state();
    return text + "\n  searching " + std::to_string(lane.searching.load()) + " sleeping " +
           std::to_string(lane.sleeping.load()) + " membership " +
           std::to_string(memory_.control.header().membership_version.load());
  }

  void finish(base::TimeNs deadline, const base::Clock& clock) {
    shared_->stop.store(1);
    for (;;) {
      memory_.control.lane(kLane).wake_all();
      tend();
      bool all = true;
      for (const auto& participant : participants_) all = all && participant->gone;
      if (all) break;
      if (clock.now_ns() > deadline + 2'000'000'000) {
        problem("an executor did not stop" + describe());
        for (const auto& participant : participants_)
          if (!participant->gone && plan_.mode == Mode::kProcesses) {
            ::kill(participant->pid, SIGKILL);
            ::waitpid(participant->pid, nullptr, 0);
          } else if (!participant->gone) {
            participant->thread.detach();
          }
        return;
      }
      ::sched_yield();
    }
    tend();
    check_that_nothing_is_left();
  }

  void check_that_nothing_is_left() {
    if (!unburied_.empty()) problem("a dead process was never buried" + describe());
    const LaneState& lane = memory_.control.lane(kLane).state();
    if (lane.members.load() != 0 || lane.sleeping.load() != 0 || lane.searching.load() != 0)
      problem("marks of dead processes were left in the lane");
    for (const auto& group : lane.submitters)
      if (group.load() != 0) problem("a dead process was left among the lane's submitters");
    for (std::uint32_t i = 0; i < kSlots; ++i) {
      const ProcessSlot& slot = memory_.control.slot(i);
      if (slot.life.load() != ProcessLife::kFree) problem("a row of the table of processes was not freed");
      if (holds_of(i) != 0) problem("holds were left in a freed row");
      if (slot.completed_top.load() != 0 || slot.running_depth.load() != 0)
        problem("a freed row is not as good as new");
    }
  }

  Plan plan_;
  bool collect_;
  Memory memory_;
  DeathNotes notes_;
  Shared* shared_ = nullptr;
  std::vector<std::unique_ptr<Participant>> participants_;
  std::vector<std::uint32_t> unburied_;
  std::atomic<std::uint32_t> node_stops_{0};
  Outcome outcome_;
};

}  // namespace

Outcome run(const Plan& plan, int deadline_s) {
  // In thread mode parked threads may outlive the run and name the world, so it is kept for ever.
  auto world = std::make_unique<World>(plan, false);
  Outcome outcome = world->run(deadline_s);
  if (plan.mode == Mode::kThreads) {
    static auto& kept = *new std::vector<std::unique_ptr<World>>;
    kept.push_back(std::move(world));
  }
  return outcome;
}

std::map<Role, PointCounts> kill_points_of(const Plan& plan) {
  World world(plan, true);
  const Outcome outcome = world.run(60);
  RAYX_CHECK(outcome.problems.empty(), "the run that looks for kill points failed",
             outcome.problems.empty() ? "" : outcome.problems.front());
  std::map<Role, PointCounts> points;
  for (const Role role : {Role::kOwner, Role::kExecutor, Role::kNode}) points[role] = world.coverage(role);
  return points;
}

}  // namespace rayx::shm::test
