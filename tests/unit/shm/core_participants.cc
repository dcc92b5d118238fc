#include "core_participants.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <utility>

namespace rayx::base {
namespace {
void ignore_kill_point(const char*) {}
}  // namespace
void (*on_kill_point)(const char*) = ignore_kill_point;
}  // namespace rayx::base

namespace rayx::shm::test {

thread_local Here here;

namespace {

constexpr std::uint32_t kTasksBetweenLulls = 250;
constexpr std::uint32_t kTasksBetweenPuts = 16;
constexpr std::size_t kExecutorHoldsMax = 12;
constexpr std::size_t kOwnerHoldsMax = 4;
constexpr std::uint32_t kDepthMax = 8;
constexpr int kSlowTurns = 5;
constexpr int kNodeStopTurns = 400;
constexpr std::uint32_t kNodeStopsMax = 5;

void note_coverage(const char* name) {
  const auto role = static_cast<std::size_t>(here.role);
  for (std::uint32_t i = 0; i < kPointsMax; ++i) {
    const char* there = nullptr;
    if (here.shared->point_names[role][i].compare_exchange_strong(there, name) || std::strcmp(there, name) == 0) {
      here.shared->point_counts[role][i].fetch_add(1, std::memory_order_relaxed);
      return;
    }
  }
}

[[noreturn]] void die() {
  if (!here.is_thread) {
    here.participant->killed.store(1);
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();
  }
  // A thread that does nothing any more is what its "process" is after kill -9; it is parked until the test program ends.
  if (here.mutex != nullptr && !here.has_mutex) here.mutex->lock();
  here.participant->killed.store(1);
  // Never destroyed: the end of the program must not wait for the parked.
  static auto& mutex = *new std::mutex;
  static auto& never = *new std::condition_variable;
  std::unique_lock lock(mutex);
  for (;;) never.wait(lock);
}

std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 31;
  x *= 0x9e3779b97f4a7c15ull;
  return x ^ x >> 29;
}

template <class T>
T read_payload(const Record& record) {
  T value;
  std::memcpy(&value, record.payload, sizeof(value));
  return value;
}

}  // namespace

void at_kill_point(const char* name) {
  if (here.shared == nullptr) return;
  if (here.collect) note_coverage(name);
  if (here.target == nullptr || std::strcmp(here.target, name) != 0) return;
  if (here.role == Role::kNode) {
    if (here.countdown->fetch_add(1) >= kNodeStopsMax) return;
    for (int turn = 0; turn < kNodeStopTurns; ++turn) ::sched_yield();
    return;
  }
  if (here.countdown->fetch_sub(1) == 1) die();
}

std::uint64_t expected_result(std::uint32_t owner, std::uint64_t number) { return mix(number * 1024 + owner); }
ObjectValue ObjectValue::of(ObjectKey key) { return {mix(key.word), key.word}; }

// --- holds ----------------------------------------------------------------------------------------------------------

bool Holder::take(ObjectKey key) {
  while (!table_.add(key)) {
    const std::uint32_t chunks = slot().holds.chunks.load(std::memory_order_relaxed);
    if (chunks == kHoldChunks) return false;
    RAYX_CHECK(table_.add_chunk(memory_.chunks[me_] + chunks * sizeof(HoldChunk)), "no more chunks", chunks);
  }
  check(key);
  return true;
}

void Holder::let_go(ObjectKey key) {
  check(key);
  control_.release_hold(me_, key);
}

void Holder::check(ObjectKey key) const {
  const Record& record = control_.records_of(key.owner()).at(key.record());
  if (generation_of(record) != key.generation()) return problem("an object was freed while somebody held it");
  const auto value = read_payload<ObjectValue>(record);
  if (value.key != key.word || value.value != ObjectValue::of(key).value)
    problem("an object was written over while somebody held it");
}

void Holder::problem(const std::string& what) const {
  if (said_.problems.fetch_add(1) == 0) std::strncpy(said_.problem, what.c_str(), sizeof(said_.problem) - 1);
}

// --- the executor ---------------------------------------------------------------------------------------------------

namespace {

class TestExecutor {
 public:
  TestExecutor(const Memory& memory, Shared& shared, std::uint32_t me, int member)
      : control_(memory.control),
        shared_(shared),
        said_(shared.participants[me]),
        me_(me),
        executor_(memory.control, me),
        holder_(memory, said_, me) {
    control_.begin_owning(me);  // deaths: what it has lent to the dead
    executor_.join_lane(kLane, member);
  }

  void run() {
    Executor::Task task;
    Backoff backoff;
    while (!is_stopping()) {
      if (control_.has_deaths_for(me_)) forget_the_dead();
      if (executor_.take(task)) {
        backoff.reset();
        run_task(task);
        let_go(kExecutorHoldsMax);
        continue;
      }
      let_go(0);
      executor_.wait_once(backoff, [&] { return is_stopping() || control_.has_deaths_for(me_) || has_adopted(); });
    }
    executor_.leave_lane();
    let_go(0);
    for (const Lent& lent : lent_) holder_.let_go(lent.object);
  }

 private:
  struct Lent {
    ObjectKey result;  // the record that names the object; its owner has still to take a hold of its own
    ObjectKey object;
  };

  bool is_stopping() const { return shared_.stop.load() != 0; }

  void run_task(const Executor::Task& task) {
    TaskArguments arguments;
    std::memcpy(&arguments, task.body.arguments, sizeof(arguments));
    const ObjectKey key{arguments.key};
    TaskResult result{expected_result(task.owner, arguments.number), arguments.number, 0};
    switch (arguments.kind) {
      case TaskKind::kPlain: break;
      case TaskKind::kSlow:
        for (int turn = 0; turn < kSlowTurns; ++turn) ::sched_yield();
        break;
      case TaskKind::kBorrow:
        if (holder_.take(key)) held_.push_back(key);
        break;
      case TaskKind::kLend:
        if (held_.empty()) break;
        // A task of somebody whose death was handled here before: nobody would adopt, and nobody come back to it.
        if (control_.slot(task.owner).life.load(std::memory_order_acquire) != ProcessLife::kLive) break;
        result.lent = held_.front().word;
        lent_.push_back({ObjectKey::make(task.owner, task.body.record, task.body.generation), held_.front()});
        held_.pop_front();
        break;
      case TaskKind::kNeeds:
        if (!wait_for(task.owner, key, arguments)) return executor_.hand_back(task);
        break;
      case TaskKind::kGiveBack:
        if (attempt_of(task.body.function_and_flags) == 0) return executor_.hand_back(task);
        break;
    }
    Record& record = control_.records_of(task.owner).at(task.body.record);
    std::memcpy(record.payload, &result, 8);
    RAYX_KILL_POINT("test.result.half");
    std::memcpy(record.payload, &result, sizeof(result));
    record.size = sizeof(result);
    record.reserved = me_ + 1;
    said_.executions.fetch_add(1, std::memory_order_relaxed);
    if (result.lent == 0)
      executor_.finish(task, detail::kRecordDoneInline);
    else
      executor_.finish_and_tell(task, detail::kRecordDoneInline | detail::kRecordHasRefs);
  }

  // Runs what is needed if nobody has begun it; else it waits a little, or not at all.
  bool wait_for(std::uint32_t owner, ObjectKey key, const TaskArguments& arguments) {
    const Record& record = control_.records_of(owner).at(key.record());
    const auto is_done = [&] {
      return generation_of(record) == key.generation() && detail::is_done(record.state.load(std::memory_order_acquire));
    };
    if (!is_done() && executor_.depth() < kDepthMax) {
      const std::uint64_t queued_at = record.queued_at.load(std::memory_order_relaxed);
      Executor::Task needed;
      if (queued_at >> 48 == kLane + 1 && executor_.take_at(owner, kLane, queued_at & CellWord::kPositionMask, needed))
        run_task(needed);
    }
    for (std::uint32_t i = 0; i < arguments.number % 2 * 80 && !is_done(); ++i) cpu_relax();
    if (!is_done()) return false;
    const auto result = read_payload<TaskResult>(record);
    if (result.number != arguments.needs_number || result.result != expected_result(owner, result.number))
      holder_.problem("a task read a wrong result of the one that it needs");
    return true;
  }

  bool is_over(const Lent& lent) const {
    // Buried: nobody will adopt.
    if (control_.slot(lent.result.owner()).record_slabs[0].load(std::memory_order_acquire) == kNoOffset) return true;
    const Record& record = control_.records_of(lent.result.owner()).at(lent.result.record());
    return generation_of(record) != lent.result.generation() ||
           (record.state.load(std::memory_order_acquire) & detail::kRecordAdopted) != 0;
  }
  bool has_adopted() const {
    return std::any_of(lent_.begin(), lent_.end(), [&](const Lent& lent) { return is_over(lent); });
  }
  void let_go(std::size_t keep) {
    std::erase_if(lent_, [&](const Lent& lent) {
      if (!is_over(lent)) return false;
      holder_.let_go(lent.object);
      return true;
    });
    for (; held_.size() > keep; held_.pop_front()) holder_.let_go(held_.front());
  }
  // Nobody will adopt what was lent to the dead, and nobody needs objects of the dead.
  void forget_the_dead() {
    control_.handle_deaths(me_, [&](std::uint32_t dead) {
      std::erase_if(lent_, [&](const Lent& lent) {
        if (lent.result.owner() != dead) return false;
        holder_.let_go(lent.object);
        return true;
      });
      std::erase_if(held_, [&](ObjectKey key) {
        if (key.owner() != dead) return false;
        holder_.let_go(key);
        return true;
      });
    });
  }

  Control control_;
  Shared& shared_;
  Shared::Participant& said_;
  std::uint32_t me_;
  Executor executor_;
  Holder holder_;
  std::deque<ObjectKey> held_;
  std::vector<Lent> lent_;
};

}  // namespace

void run_executor(const Memory& memory, Shared& shared, std::uint32_t me, int member) {
  TestExecutor(memory, shared, me, member).run();
}

// --- the owner ------------------------------------------------------------------------------------------------------

Owner::Owner(const Memory& memory, const Plan& plan, Shared& shared, std::uint32_t me)
    : control_(memory.control),
      plan_(plan),
      said_(shared.participants[me]),
      me_(me),
      records_(control_.records_of(me)),
      holder_(memory, said_, me) {
  here.mutex = &mutex_;
  control_.slot(me).record_slabs[0].store(memory.slabs[me], std::memory_order_release);
  queue_ = TaskQueue::create(memory.segment.at<std::byte>(memory.queues[me]), plan.queue_cells, me);
  for (Index i = kRecordsPerSlab; i-- > 0;) free_.push_back(i);
  objects_.fill(kNone);
  control_.begin_owning(me);
  control_.publish_queue(me, kLane, memory.queues[me]);
}

void Owner::run() {
  const Here mine = here;
  // Detached: where the owner stops as a thread, this one stops too and nobody joins it.
  std::thread([this, mine] {
    here = mine;
    serve();
    has_served_.store(true);
  }).detach();
  {
    Lock lock(mutex_);
    for (std::size_t i = 0; i < kObjects; ++i) put_object(i);
  }
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
  {
    Lock lock(mutex_);
    for (const Index object : objects_) drop_ref(object);
    let_go_of_adopted(0);
  }
  // Others may still hold objects; when they let go, or die, the service thread hears of it. The run has a deadline.
  for (bool is_all_free = false; !is_all_free; ::sched_yield()) {
    Lock lock(mutex_);
    is_all_free = free_.size() == kRecordsPerSlab;
  }
  stopping_.store(true);
  control_.call_service(me_);
  while (!has_served_.load()) ::sched_yield();
  if (queue_.count_unclaimed() != 0) holder_.problem("tasks were left in the queue");
  if (!returned_.empty()) holder_.problem("a task that was given back still waits for what it needs");
  said_.finished.store(1);
}

// --- the owner: tasks -----------------------------------------------------------------------------------------------

Owner::Index Owner::take_record(Meta::Use use) {
  const Index index = free_.back();
  free_.pop_back();
  Meta& meta = meta_[index];
  meta.use = use;
  meta.refs = 1;
  meta.function_and_flags = 0;
  meta.arguments = {};
  meta.needs = kNone;
  meta.is_shared = meta.is_adopted = meta.wants_notice = false;
  meta.noticed.store(false);
  return index;
}

void Owner::submit_up_to_window() {
  Lock lock(mutex_);
  flush_backlog();
  while (in_flight_.size() < plan_.window && submitted_ < plan_.tasks_per_owner && free_.size() > 1 && backlog_.empty())
    submit_one();
}

void Owner::submit_one() {
  if (submitted_ % kTasksBetweenPuts == 0) put_object(submitted_ / kTasksBetweenPuts % kObjects);
  const Index index = take_record(Meta::Use::kTask);
  Meta& meta = meta_[index];
  TaskArguments& arguments = meta.arguments;
  arguments.number = submitted_++;
  meta.wants_notice = arguments.number % 3 == 0;
  switch (arguments.number % 16) {
    case 1:
    case 4:
    case 9: arguments.kind = TaskKind::kBorrow; break;
    case 3:
    case 11: arguments.kind = TaskKind::kLend; break;
    case 5:
    case 6:
    case 13: arguments.kind = TaskKind::kNeeds; break;
    case 7: arguments.kind = TaskKind::kGiveBack; break;
    default:
      if (arguments.number % 64 == 0) arguments.kind = TaskKind::kSlow;
      break;
  }
  if (arguments.kind == TaskKind::kBorrow) {
    meta.needs = objects_[arguments.number / 2 % kObjects];
    meta_[meta.needs].is_shared = true;
  } else if (arguments.kind == TaskKind::kNeeds) {
    if (in_flight_.empty()) {
      arguments.kind = TaskKind::kPlain;
    } else {
      meta.needs = in_flight_.back();
      arguments.needs_number = meta_[meta.needs].arguments.number;
    }
  }
  if (meta.needs != kNone) {
    ++meta_[meta.needs].refs;
    arguments.key = key_of(meta.needs).word;
  }
  std::uint32_t state = detail::kRecordPending;
  if (meta.wants_notice) state |= detail::kRecordNotify;
  if (arguments.number % 32 == 8) state |= detail::kRecordForeign;  // its executor calls everybody
  records_.at(index).state.store(state, std::memory_order_release);
  in_flight_.push_back(index);
  push(index);
}

bool Owner::push_cell(Index index) {
  TaskBody body{};
  body.function_and_flags = meta_[index].function_and_flags;
  body.record = index;
  body.generation = records_.at(index).generation;
  std::memcpy(body.arguments, &meta_[index].arguments, sizeof(TaskArguments));
  Record& record = records_.at(index);
  record.queued_at.store(std::uint64_t{kLane + 1} << 48 | (tail_ & CellWord::kPositionMask), std::memory_order_relaxed);
  if (queue_.push(tail_, body)) {
    control_.lane(kLane).wake_after_publish();
    return true;
  }
  record.queued_at.store(0, std::memory_order_relaxed);
  return false;
}
void Owner::push(Index index) {
  if (!backlog_.empty() || !push_cell(index)) backlog_.push_back(index);
}
void Owner::flush_backlog() {
  while (!backlog_.empty() && push_cell(backlog_.front())) backlog_.pop_front();
}

// Takes what is in flight and gives the executors and the service thread the time to fall asleep, so that falling asleep and
// waking happen often. Bounded: nobody depends on it.
void Owner::rest() {
  while (!in_flight_.empty()) take_oldest();
  const LaneState& lane = control_.lane(kLane).state();
  for (int turn = 0; turn < 2000; ++turn) {
    if (lane.sleeping.load() == lane.members.load() && !Attendance::is_attended(control_.slot(me_).attendance.word()))
      break;
    ::sched_yield();
  }
}

void Owner::take_oldest() {
  Index index;
  {
    Lock lock(mutex_);
    index = in_flight_.front();
  }
  Record& record = records_.at(index);
  // Who waits for a slow one does not spin before it sleeps, so that falling asleep meets completion at each step.
  const bool spins = meta_[index].arguments.kind != TaskKind::kSlow;
  Backoff backoff(spins ? Backoff::kPausesMax : 0, spins ? Backoff::kYieldsMax : 0);
  while (!detail::is_done(record.state.load(std::memory_order_acquire))) {
    if (backoff.wait_once()) continue;
    bool has_backlog;
    {
      Lock lock(mutex_);
      flush_backlog();
      has_backlog = !backlog_.empty();
    }
    if (has_backlog) {  // what this process itself could not push yet will not be done by others while it sleeps
      ::sched_yield();
      backoff.reset();
      continue;
    }
    records_.sleep_until_done(index, base::kNever);
    backoff.reset();
  }
  Meta& meta = meta_[index];
  const bool has_refs = (record.state.load(std::memory_order_acquire) & detail::kRecordHasRefs) != 0;
  // Whose executor says so, or the record's flag, must hear of it by the service thread.
  for (Backoff notice; (meta.wants_notice || has_refs) && !meta.noticed.load();) {
    if (notice.wait_once()) continue;
    const Lock lock(mutex_);  // where the thread stops whose owner was killed
    notice.reset();
  }
  const auto result = read_payload<TaskResult>(record);
  Lock lock(mutex_);
  if (result.number != meta.arguments.number || result.result != expected_result(me_, result.number))
    holder_.problem("a result is wrong");
  in_flight_.pop_front();
  if (meta.needs != kNone) drop_ref(std::exchange(meta.needs, kNone));
  drop_ref(index);
  let_go_of_adopted(kOwnerHoldsMax);
  ++taken_;
  said_.done.fetch_add(1);
}

// --- the owner: objects and references ------------------------------------------------------------------------------

void Owner::put_object(std::size_t place) {
  if (objects_[place] != kNone) drop_ref(objects_[place]);
  const Index index = take_record(Meta::Use::kObject);
  objects_[place] = index;
  Record& record = records_.at(index);
  const ObjectValue value = ObjectValue::of(key_of(index));
  std::memcpy(record.payload, &value, sizeof(value));
  record.size = sizeof(value);
  record.state.store(detail::kRecordDoneInline, std::memory_order_release);
}

void Owner::drop_ref(Index index) {
  if (--meta_[index].refs == 0) try_free(index);
}

void Owner::try_free(Index index) {
  if (meta_[index].is_shared && control_.is_held_elsewhere(key_of(index), me_)) return;  // on_completed comes back
  if (meta_[index].is_shared) said_.objects_freed.fetch_add(1, std::memory_order_relaxed);
  free_record(index);
}

void Owner::free_record(Index index) {
  Record& record = records_.at(index);
  std::memset(record.payload, 0xdd, sizeof(record.payload));
  raise_generation(record);
  record.state.store(detail::kRecordFree, std::memory_order_release);
  record.queued_at.store(0, std::memory_order_relaxed);
  meta_[index].use = Meta::Use::kFree;
  free_.push_back(index);
}

// Takes a hold on what a result names, and says so, so that its executor may let go.
void Owner::adopt(Index index) {
  if (std::exchange(meta_[index].is_adopted, true)) return;
  Record& record = records_.at(index);
  const ObjectKey key{read_payload<TaskResult>(record).lent};
  if (key.owner() == me_) {
    if (meta_[key.record()].use != Meta::Use::kObject || key_of(key.record()) != key) {
      holder_.problem("an object came home in a result and was not there any more");
    } else {
      ++meta_[key.record()].refs;
      adopted_.push_back(key);
    }
  } else if (holder_.take(key)) {
    adopted_.push_back(key);
  }
  RAYX_KILL_POINT("test.adopt.before_said");
  const std::uint32_t executor = record.reserved - 1;
  record.state.fetch_or(detail::kRecordAdopted, std::memory_order_acq_rel);
  RAYX_KILL_POINT("test.adopt.before_wake");
  control_.slot(executor).run_word.store(0, std::memory_order_seq_cst);
  futex_wake(control_.slot(executor).run_word, 1);
}

void Owner::let_go_of_adopted(std::size_t keep) {
  while (adopted_.size() > keep) {
    const ObjectKey key = adopted_.front();
    adopted_.pop_front();
    if (key.owner() == me_)
      drop_ref(key.record());
    else
      holder_.let_go(key);
  }
}

// --- the owner: what its service thread does ------------------------------------------------------------------------

// May be late, and about an earlier life of the record.
void Owner::on_completed(Index index) {
  Meta& meta = meta_[index];
  if (meta.use == Meta::Use::kFree) return;
  if (meta.use == Meta::Use::kObject) {
    if (meta.refs == 0) try_free(index);
    return;
  }
  const std::uint32_t state = records_.at(index).state.load(std::memory_order_acquire);
  if (!detail::is_done(state)) {
    if ((state & detail::kRecordReturned) != 0) take_returned(index);
    return;
  }
  const auto [first, last] = returned_.equal_range(index);
  std::vector<Index> again;
  for (auto it = first; it != last; ++it) again.push_back(it->second);
  returned_.erase(first, last);
  for (const Index task : again) push(task);
  if ((state & detail::kRecordHasRefs) != 0) adopt(index);
  meta.noticed.store(true);
}

// The attempt is over: if its executor dies before it has forgotten the task, nothing is to be taken back.
void Owner::take_returned(Index index) {
  Meta& meta = meta_[index];
  meta.function_and_flags = next_attempt(meta.function_and_flags);
  RAYX_KILL_POINT("test.returned.before_state");
  records_.at(index).state.fetch_and(~std::uint32_t{detail::kRecordReturned}, std::memory_order_acq_rel);
  if (meta.arguments.kind == TaskKind::kNeeds) {
    Record& needed = records_.at(meta.needs);
    std::uint32_t state = needed.state.load(std::memory_order_acquire);
    if (!detail::is_done(state)) state = needed.state.fetch_or(detail::kRecordNotify, std::memory_order_acq_rel);
    if (!detail::is_done(state)) {
      returned_.emplace(meta.needs, index);
      return;
    }
  }
  push(index);
}

// Completions that want notice, and deaths. Sleeps when there is neither.
void Owner::serve() {
  ProcessSlot& slot = control_.slot(me_);
  Backoff backoff;
  while (!stopping_.load()) {
    bool worked = false;
    {
      Lock lock(mutex_);
      records_.take_completed([&](Index index) {
        worked = true;
        on_completed(index);
      });
      control_.handle_deaths(me_, [&](std::uint32_t dead) {
        worked = true;
        take_back_from(dead);
      });
      flush_backlog();
      worked = worked || !backlog_.empty();
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

void Owner::take_back_from(std::uint32_t dead) {
  std::map<Index, std::uint32_t> held;
  const auto note = [&](Index index, std::uint32_t generation, std::uint32_t attempt) {
    if (attempt_of(meta_[index].function_and_flags) == attempt) held[index] = generation;
  };
  queue_.take_claims_of(
      dead, [&](const TaskBody& body) { note(body.record, body.generation, attempt_of(body.function_and_flags)); });
  RunningStack(control_.slot(dead)).visit(me_, [&](const RunningEntry& entry) {
    note(entry.record, entry.generation, entry.attempt);
  });
  for (auto [index, generation] : held) {
    Record& record = records_.at(index);
    if (meta_[index].use != Meta::Use::kTask || record.generation != generation) continue;
    const std::uint32_t state = record.state.load(std::memory_order_acquire);
    if (detail::is_done(state)) {
      futex_wake(record.state, INT32_MAX);  // it was published; what may be missing is that somebody was told
      on_completed(index);
    } else if ((state & detail::kRecordReturned) != 0) {
      on_completed(index);  // it was giving the task back
    } else {
      meta_[index].function_and_flags = next_attempt(meta_[index].function_and_flags);
      push(index);
    }
  }
  std::erase_if(adopted_, [&](ObjectKey key) {
    if (key.owner() != dead) return false;
    holder_.let_go(key);
    return true;
  });
}

}  // namespace rayx::shm::test
