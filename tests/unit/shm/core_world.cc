#include "core_world.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <deque>
#include <thread>

#include "base/clock.hpp"
#include "shm/executor.hpp"

namespace rayx::base {
namespace {
void ignore_kill_point(const char*) {}
}  // namespace
void (*on_kill_point)(const char*) = ignore_kill_point;
}  // namespace rayx::base

namespace rayx::shm::test {
namespace {

constexpr std::uint32_t kLane = 3;
constexpr std::uint32_t kPointsMax = 64;
constexpr std::uint32_t kTasksBetweenLulls = 250;

// What the participants tell the test, in memory that outlives them.
struct Shared {
  struct Participant {
    std::atomic<std::uint32_t> killed;    // it reached its kill point
    std::atomic<std::uint32_t> finished;  // owner: all results were right and all records are free again
    std::atomic<std::uint64_t> done;
    std::atomic<std::uint64_t> executions;
    char problem[200];
  };
  Participant participants[kProcessesMax];
  std::atomic<std::uint32_t> stop;
  // Coverage: names and counts of the kill points that were passed, when asked for.
  std::atomic<const char*> point_names[2][kPointsMax];  // literals: the same address in every forked participant
  std::atomic<std::uint64_t> point_counts[2][kPointsMax];
};

// What a thread has to know when it passes a kill point.
struct Here {
  Shared* shared = nullptr;
  Shared::Participant* participant = nullptr;
  Role role = Role::kExecutor;
  bool collect = false;
  bool is_thread = false;
  const char* target = nullptr;
  std::atomic<std::uint32_t>* countdown = nullptr;
};
thread_local Here here;

void note_coverage(const char* name) {
  const int role = here.role == Role::kOwner ? 0 : 1;
  for (std::uint32_t i = 0; i < kPointsMax; ++i) {
    const char* there = nullptr;
    if (here.shared->point_names[role][i].compare_exchange_strong(there, name) || std::strcmp(there, name) == 0) {
      here.shared->point_counts[role][i].fetch_add(1, std::memory_order_relaxed);
      return;
    }
  }
}

[[noreturn]] void die() {
  here.participant->killed.store(1);
  if (!here.is_thread) {
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();
  }
  // A thread that does nothing any more is what its "process" is after kill -9; it is parked until the test program ends.
  // Never destroyed: the end of the program must not wait for the parked.
  static auto& mutex = *new std::mutex;
  static auto& never = *new std::condition_variable;
  std::unique_lock lock(mutex);
  for (;;) never.wait(lock);
}

void at_kill_point(const char* name) {
  if (here.shared == nullptr) return;
  if (here.collect) note_coverage(name);
  if (here.target == nullptr || std::strcmp(here.target, name) != 0) return;
  if (here.countdown->fetch_sub(1) == 1) die();
}

std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 31;
  x *= 0x9e3779b97f4a7c15ull;
  return x ^ x >> 29;
}
std::uint64_t expected_result(std::uint32_t owner, std::uint64_t number) { return mix(number * 1024 + owner); }

struct Memory {
  Segment segment;
  Control control;
  std::vector<Offset> slabs;   // one for each process slot that may own
  std::vector<Offset> queues;  // likewise
};

// --- the executor ---------------------------------------------------------------------------------------------------

void run_executor(const Memory& memory, Shared& shared, std::uint32_t me, int member) {
  Executor executor(memory.control, me);
  executor.join_lane(kLane, member);
  Executor::Task task;
  Backoff backoff;
  auto stopping = [&] { return shared.stop.load() != 0; };
  while (!stopping()) {
    if (!executor.take(task)) {
      executor.wait_once(backoff, stopping);
      continue;
    }
    backoff.reset();
    shared.participants[me].executions.fetch_add(1, std::memory_order_relaxed);
    std::uint64_t number;
    std::memcpy(&number, task.body.arguments, sizeof(number));
    Record& record = memory.control.records_of(task.owner).at(task.body.record);
    const std::uint64_t result = expected_result(task.owner, number);
    std::memcpy(record.payload, &result, sizeof(result));
    RAYX_KILL_POINT("test.result.half");
    std::memcpy(record.payload + 8, &number, sizeof(number));
    record.size = 16;
    executor.finish(task, detail::kRecordDoneInline);
  }
}

// --- the owner ------------------------------------------------------------------------------------------------------

class Owner {
 public:
  Owner(const Memory& memory, const Plan& plan, Shared& shared, std::uint32_t me)
      : memory_(memory),
        control_(memory.control),
        plan_(plan),
        shared_(shared),
        me_(me),
        records_(control_.records_of(me)) {
    ProcessSlot& slot = control_.slot(me);
    slot.record_slabs[0].store(memory.slabs[me], std::memory_order_release);
    queue_ = TaskQueue::create(memory.segment.at<std::byte>(memory.queues[me]), plan.queue_cells, me);
    for (std::uint32_t i = kRecordsPerSlab; i-- > 0;) free_.push_back(i);
    control_.begin_owning(me);
    control_.publish_queue(me, kLane, memory.queues[me]);
  }

  void run() {
    const Here mine = here;
    std::thread service([this, mine] {
      here = mine;
      serve();
    });
    std::uint64_t next_lull = 0;
    while (taken_ < plan_.tasks_per_owner) {
      if (taken_ >= next_lull) {
        rest();
        next_lull = taken_ + kTasksBetweenLulls;
        continue;
      }
      submit_up_to_window();
      take_oldest();
    }
    stopping_.store(true);
    control_.call_service(me_);
    service.join();
    if (free_.size() != kRecordsPerSlab) problem("records leaked");
    if (queue_.count_unclaimed() != 0) problem("tasks were left in the queue");
    shared_.participants[me_].finished.store(1);
  }

 private:
  struct Meta {
    std::uint64_t number = 0;
    bool wants_notice = false;
    std::atomic<bool> noticed{false};
  };

  void problem(const char* what) {
    std::strncpy(shared_.participants[me_].problem, what, sizeof(Shared::Participant::problem) - 1);
  }

  void submit_up_to_window() {
    std::unique_lock lock(mutex_);
    flush_backlog();
    while (in_flight_.size() < plan_.window && submitted_ < plan_.tasks_per_owner && !free_.empty() &&
           backlog_.empty()) {
      const std::uint32_t index = free_.back();
      free_.pop_back();
      Meta& meta = meta_[index];
      meta.number = submitted_++;
      meta.wants_notice = meta.number % 3 == 0;
      meta.noticed.store(false);
      Record& record = records_.at(index);
      record.state.store(detail::kRecordPending | (meta.wants_notice ? std::uint32_t{detail::kRecordNotify} : 0u),
                         std::memory_order_relaxed);
      in_flight_.push_back(index);
      push(index);
    }
  }

  // Takes what is in flight and gives the executors and the service thread the time to fall asleep, so that falling asleep and
  // waking happen often. Bounded: nobody depends on it.
  void rest() {
    while (!in_flight_.empty()) take_oldest();
    const LaneState& lane = control_.lane(kLane).state();
    for (int turn = 0; turn < 2000; ++turn) {
      if (lane.sleeping.load() == lane.members.load() && !Attendance::is_attended(control_.slot(me_).attendance.word()))
        break;
      ::sched_yield();
    }
  }

  void push(std::uint32_t index) {
    TaskBody body{};
    body.record = index;
    body.generation = records_.at(index).generation;
    std::memcpy(body.arguments, &meta_[index].number, 8);
    if (!backlog_.empty() || !queue_.push(tail_, body)) {
      backlog_.push_back(index);
      return;
    }
    control_.lane(kLane).wake_after_publish();
  }
  void flush_backlog() {
    while (!backlog_.empty()) {
      const std::uint32_t index = backlog_.front();
      TaskBody body{};
      body.record = index;
      body.generation = records_.at(index).generation;
      std::memcpy(body.arguments, &meta_[index].number, 8);
      if (!queue_.push(tail_, body)) return;
      backlog_.pop_front();
      control_.lane(kLane).wake_after_publish();
    }
  }

  void take_oldest() {
    std::uint32_t index;
    {
      std::unique_lock lock(mutex_);
      index = in_flight_.front();
      in_flight_.pop_front();
    }
    Record& record = records_.at(index);
    Backoff backoff;
    while (!detail::is_done(record.state.load(std::memory_order_acquire))) {
      if (backoff.wait_once()) continue;
      {
        std::unique_lock lock(mutex_);
        flush_backlog();
        // A task that this process itself could not push yet will not be done by others while it sleeps.
        if (!backlog_.empty()) {
          backoff.reset();
          continue;
        }
      }
      records_.sleep_until_done(index, base::kNever);
      backoff.reset();
    }
    Meta& meta = meta_[index];
    Backoff notice;
    while (meta.wants_notice && !meta.noticed.load()) {
      if (!notice.wait_once()) notice.reset();
    }
    std::uint64_t result;
    std::uint64_t number;
    std::memcpy(&result, record.payload, 8);
    std::memcpy(&number, record.payload + 8, 8);
    if (number != meta.number || result != expected_result(me_, number)) problem("a result is wrong");
    std::unique_lock lock(mutex_);
    ++record.generation;
    record.state.store(detail::kRecordFree, std::memory_order_relaxed);
    free_.push_back(index);
    ++taken_;
    shared_.participants[me_].done.fetch_add(1);
  }

  // The service thread: completions that want notice, and deaths. Sleeps when there is neither.
  void serve() {
    ProcessSlot& slot = control_.slot(me_);
    Backoff backoff;
    while (!stopping_.load()) {
      bool worked = false;
      {
        std::unique_lock lock(mutex_);
        records_.take_completed([&](std::uint32_t index) {
          worked = true;
          meta_[index].noticed.store(true);
        });
        control_.handle_deaths(me_, [&](std::uint32_t dead) {
          worked = true;
          take_back_from(dead);
        });
        flush_backlog();
      }
      if (worked) backoff.reset();
      if (worked || backoff.wait_once()) continue;
      const std::uint32_t unattended = slot.attendance.end();
      RAYX_KILL_POINT("test.owner.unattended");
      if (!records_.has_completed() && !control_.has_deaths_for(me_) && !stopping_.load())
        slot.attendance.sleep(unattended);
      slot.attendance.begin();
      backoff.reset();
    }
  }

  void take_back_from(std::uint32_t dead) {
    std::map<std::uint32_t, std::uint32_t> held;
    queue_.take_claims_of(dead, [&](const TaskBody& body) { held[body.record] = body.generation; });
    RunningStack(control_.slot(dead)).visit(me_, [&](const RunningEntry& entry) {
      held[entry.record] = entry.generation;
    });
    for (auto [index, generation] : held) {
      Record& record = records_.at(index);
      if (record.generation != generation) continue;
      const std::uint32_t state = record.state.load(std::memory_order_acquire);
      if (detail::is_done(state)) {
        // It was published; what may be missing is that somebody was told.
        futex_wake(record.state, INT32_MAX);
        if (meta_[index].wants_notice) records_.mark_completed(index);
      } else if ((state & detail::kRecordStateMask) == detail::kRecordPending) {
        push(index);
      }
    }
  }

  const Memory& memory_;
  Control control_;
  const Plan& plan_;
  Shared& shared_;
  std::uint32_t me_;
  Records records_;
  TaskQueue queue_;
  std::uint64_t tail_ = 0;
  std::mutex mutex_;
  std::vector<std::uint32_t> free_;
  std::deque<std::uint32_t> in_flight_;
  std::deque<std::uint32_t> backlog_;
  std::uint64_t submitted_ = 0;
  std::uint64_t taken_ = 0;
  Meta meta_[kRecordsPerSlab];
  std::atomic<bool> stopping_{false};
};

// --- the node -------------------------------------------------------------------------------------------------------

class World {
 public:
  World(const Plan& plan, bool collect) : plan_(plan), collect_(collect) {
    constexpr std::uint32_t kSlots = 32;
    const std::uint64_t control_bytes = (Control::bytes_for(kSlots, 8) + 4095) / 4096 * 4096;
    const std::uint64_t slab_bytes = sizeof(RecordSlab);
    const std::uint64_t queue_bytes = TaskQueue::bytes_for(plan.queue_cells);
    const std::uint64_t bytes = control_bytes + kSlots * (slab_bytes + queue_bytes);
    auto map = [](std::uint64_t size) {
      void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      RAYX_CHECK(memory != MAP_FAILED, "mmap", size);
      return static_cast<std::byte*>(memory);
    };
    memory_.segment = Segment(map(bytes), bytes);
    shared_ = new (map(sizeof(Shared))) Shared;
    memory_.control = Control::create(memory_.segment, kSlots, 8);
    for (std::uint32_t i = 0; i < kSlots; ++i) {
      memory_.slabs.push_back(control_bytes + i * slab_bytes);
      memory_.queues.push_back(control_bytes + kSlots * slab_bytes + i * queue_bytes);
      create_record_slab(memory_.segment.base() + memory_.slabs.back());
    }
    base::on_kill_point = at_kill_point;
  }
  ~World() {
    if (plan_.mode == Mode::kThreads) return;  // parked threads may still name the memory
    ::munmap(memory_.segment.base(), memory_.segment.bytes());
    ::munmap(shared_, sizeof(Shared));
  }

  Outcome run(int deadline_s) {
    const base::SteadyClock clock;
    const base::TimeNs deadline = clock.now_ns() + deadline_s * 1'000'000'000ll;
    for (int i = 0; i < plan_.owners; ++i) start(Role::kOwner, i == 0 && plan_.victim == Role::kOwner);
    for (int i = 0; i < plan_.executors; ++i) start(Role::kExecutor, i == 0 && plan_.victim == Role::kExecutor);
    while (!owners_are_done()) {
      if (clock.now_ns() > deadline) {
        outcome_.problems.push_back("somebody blocks: not finished in time" + describe());
        break;
      }
      tend();
      ::sched_yield();
    }
    finish(deadline, clock);
    return outcome_;
  }

  std::map<std::string, std::uint64_t> coverage(Role role) const {
    std::map<std::string, std::uint64_t> result;
    const int row = role == Role::kOwner ? 0 : 1;
    for (std::uint32_t i = 0; i < kPointsMax && shared_->point_names[row][i].load() != nullptr; ++i)
      result[shared_->point_names[row][i].load()] = shared_->point_counts[row][i].load();
    return result;
  }

 private:
  struct Participant {
    Role role;
    std::uint32_t slot;
    bool is_victim;
    pid_t pid = -1;
    std::thread thread;
    bool gone = false;
    std::atomic<bool> returned{false};
  };

  void start(Role role, bool is_victim) {
    const auto slot = memory_.control.add_process();
    RAYX_CHECK(slot.has_value(), "no free process slot");
    new (&shared_->participants[*slot]) Shared::Participant{};
    auto& participant = participants_.emplace_back(std::make_unique<Participant>());
    participant->role = role;
    participant->slot = *slot;
    participant->is_victim = is_victim && !plan_.point.empty();
    int member = -1;
    if (role == Role::kExecutor) {
      member = memory_.control.lane(kLane).add_member(*slot);
      RAYX_CHECK(member >= 0, "no free member");
    }
    Participant* self = participant.get();
    auto body = [this, self, member] {
      countdown_.store(plan_.nth);
      here = {shared_,    &shared_->participants[self->slot], self->role,
              collect_,   plan_.mode == Mode::kThreads,       self->is_victim ? plan_.point.c_str() : nullptr,
              &countdown_};
      if (self->role == Role::kExecutor)
        run_executor(memory_, *shared_, self->slot, member);
      else
        Owner(memory_, plan_, *shared_, self->slot).run();
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
    for (auto it = unburied_.begin(); it != unburied_.end();) {
      if (!memory_.control.is_buried(*it)) {
        ++it;
        continue;
      }
      // The slot itself is not used again in this test, so that what the dead left can be looked at afterwards.
      it = unburied_.erase(it);
    }
  }

  bool is_dead(Participant& participant) {
    Shared::Participant& said = shared_->participants[participant.slot];
    if (plan_.mode == Mode::kThreads) {
      if (said.killed.load() != 0) {
        participant.thread.detach();
        outcome_.victim_was_killed = true;
        return true;
      }
      if (!participant.returned.load()) return false;
      participant.thread.join();
      return true;
    }
    int status = 0;
    if (::waitpid(participant.pid, &status, WNOHANG) != participant.pid) return false;
    if (said.killed.load() != 0) {
      outcome_.victim_was_killed = true;
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      outcome_.problems.push_back("a participant that nobody killed ended with wait status " + std::to_string(status));
    }
    return true;
  }

  void retire(Participant& participant) {
    Shared::Participant& said = shared_->participants[participant.slot];
    outcome_.tasks_done += said.done.load();
    outcome_.executions += said.executions.load();
    if (said.problem[0] != 0) outcome_.problems.push_back(said.problem);
    if (participant.role == Role::kOwner && said.killed.load() == 0 && said.finished.load() == 0)
      outcome_.problems.push_back("an owner ended early");
    memory_.control.announce_death(participant.slot);
    unburied_.push_back(participant.slot);
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
      text += "\n  slot " + std::to_string(participant->slot) +
              (participant->role == Role::kOwner ? " owner" : " executor") + (participant->gone ? " gone" : "") +
              " done " + std::to_string(shared_->participants[participant->slot].done.load()) + " depth " +
              std::to_string(slot.running_depth.load()) + " run_word " + std::to_string(slot.run_word.load()) +
              " attendance " + std::to_string(slot.attendance.word());
    }
    LaneState& lane = memory_.control.lane(kLane).state();
    return text + "\n  searching " + std::to_string(lane.searching.load()) + " sleeping " +
           std::to_string(lane.sleeping.load());
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
        outcome_.problems.push_back("an executor did not stop" + describe());
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
    if (!unburied_.empty()) outcome_.problems.push_back("a dead process was never buried");
    LaneState& lane = memory_.control.lane(kLane).state();
    if (lane.members.load() != 0 || lane.sleeping.load() != 0 || lane.searching.load() != 0)
      outcome_.problems.push_back("marks of dead processes were left in the lane");
  }

  Plan plan_;
  bool collect_;
  Memory memory_;
  Shared* shared_ = nullptr;
  std::vector<std::unique_ptr<Participant>> participants_;
  std::vector<std::uint32_t> unburied_;
  std::atomic<std::uint32_t> countdown_{0};
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

std::map<std::string, std::uint64_t> kill_points_of(Role role) {
  Plan plan;
  World world(plan, true);
  const Outcome outcome = world.run(60);
  RAYX_CHECK(outcome.problems.empty(), "the run without a kill failed",
             outcome.problems.empty() ? "" : outcome.problems.front());
  return world.coverage(role);
}

}  // namespace rayx::shm::test
