// Waiting for objects.
#include <algorithm>

#include "base/clock.hpp"
#include "base/kill_point.hpp"
#include "base/planted_bug.hpp"
#include "worker/client.hpp"
#include "worker/lent_cpu.hpp"

namespace rayx::worker {

using detail::DeadlineNs;
using detail::Failure;
using detail::WaitState;

namespace {

constexpr std::uint32_t kTurnsBetweenLooks = 16;

}  // namespace

// While one of these lives, this thread looks after what is completed, and nobody wakes the service thread for it.
class Client::Attending {
 public:
  explicit Attending(Client& client) : client_(client) { begin(); }
  ~Attending() { end(); }
  Attending(const Attending&) = delete;
  Attending& operator=(const Attending&) = delete;

  void begin() {
    if (is_on_) return;
    is_on_ = true;
    if (client_.attendees_.fetch_add(1, std::memory_order_seq_cst) == 0)
      client_.control_.slot(client_.me_).attendance.begin();
  }
  void end() {
    if (!is_on_) return;
    is_on_ = false;
    if (client_.attendees_.fetch_sub(1, std::memory_order_seq_cst) != 1) return;
    client_.control_.slot(client_.me_).attendance.end();
    // Whoever completed something before this store has called nobody.
    if (client_.has_work()) client_.control_.call_service(client_.me_);
  }
  void look() {
    if (!client_.has_work() && client_.backlogged_.load(std::memory_order_relaxed) == 0) return;
    if (!client_.mutex_.try_lock()) return;
    client_.drive();
    client_.mutex_.unlock();
  }

 private:
  Client& client_;
  bool is_on_ = false;
};

// Says in the record that somebody waits for it: a relay that has a value for it from another node lets that in sooner. The owner of a
// proxy is told, for its value is still to be fetched. If this process dies in between, the node tells the owner of everything that it held.
void Client::want(const Entry& e) const {
  Record& record = *e.cell.record.load(std::memory_order_acquire);
  const std::uint32_t word = record.state.load(std::memory_order_acquire);
  if (detail::is_done(word) || (word & detail::kRecordWanted) != 0) return;
  if ((record.state.fetch_or(detail::kRecordWanted, std::memory_order_acq_rel) & detail::kRecordWanted) != 0) return;
  RAYX_KILL_POINT("client.want.before_telling");
  if ((record.state.load(std::memory_order_acquire) & detail::kRecordElsewhere) != 0) return tell_who_has_it(record);
  if (e.kind != EntryKind::kBorrowed || (word & detail::kRecordIsProxy) == 0) return;
  const shm::ObjectKey key = e.key();
  const shm::Records records = control_.records_of(key.owner());
  if (!RAYX_PLANTED_BUG(559)) records.mark_completed(key.record());
  records.call_owner();
}

// How long a thread may sleep before it looks itself: as long as it likes, if there is a service thread.
base::TimeNs Client::nap_ns(base::TimeNs left_ns) const noexcept {
  constexpr base::TimeNs kWithoutService_ns = 10'000'000;
  return has_service_.load(std::memory_order_relaxed) ? left_ns : std::min(left_ns, kWithoutService_ns);
}

// A task that waits runs what it waits for itself, if nobody has begun it and it needs no more CPUs than this executor holds.
bool Client::run_inline(Entry& e, Attending& attendance) {
  Record& record = record_of(e);
  const std::uint64_t queued_at = record.queued_at.load(std::memory_order_relaxed);
  if (queued_at == 0) return false;
  const auto lane = static_cast<std::uint32_t>(queued_at >> 48) - 1;
  if (lane >= shm::kLaneMembersMax || lane >= control_.header().lanes)
    return false;  // actors run their calls themselves
  if (control_.lane(lane).state().cpu_units.load(std::memory_order_relaxed) > runner_->cpu_units()) return false;
  if (!runner_->may_nest()) return false;  // another worker goes on, with a stack of its own
  const std::uint32_t owner = e.kind == EntryKind::kBorrowed ? e.key().owner() : me_;
  shm::Executor::Task task;
  if (!executor_->take_at(owner, lane, queued_at & shm::CellWord::kPositionMask, task)) return false;
  attendance.end();  // while it runs it looks after nothing, and what it waits for itself may make it sleep
  runner_->run(task);
  attendance.begin();
  return true;
}

// Whether it is the result of a call that the actor of this thread has made of itself: as long as the thread waits it does not run.
bool Client::is_own_call(const Entry& e) const {
  return e.kind == EntryKind::kActorCall &&
         control_.lane(e.lane).state().executor.load(std::memory_order_acquire) == me_ + 1;
}

Failure worker_limit_failure(const char* what, const LentCpu& lent) {
  return std::make_unique<Error>(
      Error{ErrorCode::kWorkerLimit,
            std::string("rayx: ") + what +
                ": all workers wait for tasks that no worker is left to run (Config::max_workers is " +
                std::to_string(lent.workers_max()) +
                "). Wait for fewer results at a time inside tasks, or raise RAYX_MAX_WORKERS (64 at most)"});
}

WaitState Client::wait_one(RefCell* ref, DeadlineNs deadline, Failure& failure) {
  const auto is_done = [&] {
    return detail::is_done(ref->record.load(std::memory_order_acquire)->state.load(std::memory_order_acquire));
  };
  if (is_done()) return WaitState::kReady;
  if (is_in_cluster_) [[unlikely]]
    want(*resolve(ref));
  if (deadline == detail::kPoll) {
    attend_now();
    return is_done() ? WaitState::kReady : WaitState::kTimedOut;
  }
  ensure_service();
  const base::SteadyClock clock;
  const bool inside = in_executor();
  Entry& e = *resolve(ref);
  LentCpu lent(node_);
  WaitState outcome = WaitState::kReady;
  {
    Attending attendance(*this);
    shm::Backoff backoff;
    std::uint32_t turn = 0;
    while (!is_done()) {
      if (inside && run_inline(e, attendance)) {
        backoff.reset();
        continue;
      }
      if (backoff.wait_once()) {
        if (++turn % kTurnsBetweenLooks == 0) {
          attendance.look();
          if (deadline != detail::kNever && clock.now_ns() >= deadline) {
            outcome = is_done() ? WaitState::kReady : WaitState::kTimedOut;
            break;
          }
        }
        continue;
      }
      const DeadlineNs left = deadline == detail::kNever ? base::kNever : deadline - clock.now_ns();
      if (left <= 0) {
        outcome = is_done() ? WaitState::kReady : WaitState::kTimedOut;
        break;
      }
      if (inside && deadline == detail::kNever && is_own_call(e)) {
        failure = detail::own_call_failure("get");
        outcome = WaitState::kFailed;
        break;
      }
      const shm::ObjectKey key = e.kind == EntryKind::kBorrowed ? e.key() : shm::ObjectKey::make(me_, e.index, 0);
      if (inside && !lent.lend(key.owner(), key.record())) {
        failure = worker_limit_failure("get", lent);
        outcome = WaitState::kFailed;
        break;
      }
      attendance.end();
      Record* const record = ref->record.load(std::memory_order_acquire);
      std::uint32_t word = record->state.load(std::memory_order_acquire);
      if (!detail::is_done(word) &&
          ((word & detail::kRecordWaiters) != 0 ||
           record->state.compare_exchange_strong(word, word | detail::kRecordWaiters, std::memory_order_seq_cst))) {
        if (stopping_.load(std::memory_order_seq_cst)) {
          failure = shut_down_failure("get");
          outcome = WaitState::kFailed;
          break;
        }
        // Its owner may just have died: then the cell has another record, which is done. Or the node has said that the wait is in
        // vain. Both clear the flag afterwards, so that who comes by here too early does not sleep.
        if (ref->record.load(std::memory_order_seq_cst) == record && !lent.has_news())
          shm::futex_wait(record->state, word | detail::kRecordWaiters, nap_ns(left));
      }
      attendance.begin();
      backoff.reset();
    }
  }
  return outcome;
}

WaitState Client::wait_many(std::span<RefCell* const> refs, std::size_t count, DeadlineNs deadline, Failure& failure) {
  const auto enough = [&] {
    std::size_t ready = 0;
    for (RefCell* ref : refs)
      if (detail::is_ready(ref) && ++ready >= count) return true;
    return false;
  };
  if (enough()) return WaitState::kReady;
  if (is_in_cluster_) [[unlikely]]
    for (RefCell* ref : refs) want(*resolve(ref));
  if (deadline == detail::kPoll) {
    attend_now();
    return enough() ? WaitState::kReady : WaitState::kTimedOut;
  }
  if (count == 1 && refs.size() == 1) return wait_one(refs[0], deadline, failure);
  ensure_service();
  const base::SteadyClock clock;
  const bool inside = in_executor();
  LentCpu lent(node_);
  WaitState outcome = WaitState::kReady;
  Attending attendance(*this);
  shm::Backoff backoff;
  std::uint32_t turn = 0;
  while (!enough()) {
    if (inside) {
      bool ran = false;
      for (RefCell* ref : refs)
        if (!detail::is_ready(ref) && (ran = run_inline(*resolve(ref), attendance))) break;
      if (ran) {
        backoff.reset();
        continue;
      }
    }
    if (backoff.wait_once()) {
      if (++turn % kTurnsBetweenLooks == 0) attendance.look();
      continue;
    }
    const DeadlineNs left = deadline == detail::kNever ? base::kNever : deadline - clock.now_ns();
    if (left <= 0) {
      outcome = enough() ? WaitState::kReady : WaitState::kTimedOut;
      break;
    }
    if (inside && deadline == detail::kNever) {
      const auto never = std::count_if(
          refs.begin(), refs.end(), [&](RefCell* ref) { return !detail::is_ready(ref) && is_own_call(*resolve(ref)); });
      if (refs.size() - static_cast<std::size_t>(never) < count) {
        failure = detail::own_call_failure("wait");
        outcome = WaitState::kFailed;
        break;
      }
    }
    // Whatever is completed from here on, or answered by the node, raises the epoch, through the service thread.
    const std::uint32_t epoch = epoch_.load(std::memory_order_seq_cst);
    if (inside && !lent.lend(me_, LentCpu::kNoRecord)) {
      failure = worker_limit_failure("wait", lent);
      outcome = WaitState::kFailed;
      break;
    }
    epoch_sleepers_.fetch_add(1, std::memory_order_seq_cst);
    for (RefCell* ref : refs) {
      Record& record = *ref->record.load(std::memory_order_acquire);
      const std::uint32_t flag =
          resolve(ref)->kind == EntryKind::kBorrowed ? detail::kRecordForeign : detail::kRecordNotify;
      std::uint32_t word = record.state.load(std::memory_order_acquire);
      if (!detail::is_done(word) && (word & flag) == 0) record.state.fetch_or(flag, std::memory_order_seq_cst);
    }
    attendance.end();
    if (stopping_.load(std::memory_order_seq_cst) && !enough()) {
      epoch_sleepers_.fetch_sub(1, std::memory_order_relaxed);
      failure = shut_down_failure("wait");
      outcome = WaitState::kFailed;
      break;
    }
    if (!enough()) shm::futex_wait(epoch_, epoch, nap_ns(left));
    epoch_sleepers_.fetch_sub(1, std::memory_order_relaxed);
    attendance.begin();
    backoff.reset();
  }
  return outcome;
}

}  // namespace rayx::worker
