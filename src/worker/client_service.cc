// The service thread, and what it and attending threads look after.
#include <cstring>
#include <map>
#include <system_error>

#include "base/clock.hpp"
#include "base/planted_bug.hpp"
#include "observe/crash_report.hpp"
#include "worker/client.hpp"

namespace rayx::worker {

namespace {

shm::Control attach(const ClientConfig& config) { return shm::Control(config.arena->segment()); }

}  // namespace

Client::Client(const ClientConfig& config)
    : arena_(config.arena),
      control_(attach(config)),
      notes_(config.arena->segment(), config.processes, config.lanes),
      me_(config.me),
      records_(control_.records_of(config.me)),
      numbers_(config.numbers),
      memory_(config.memory),
      node_(*config.asker),
      cpus_(config.cpus),
      is_alone_(config.is_alone),
      submit_timeout_(config.submit_timeout),
      pending_max_(config.pending_max),
      first_generation_(generation_base(control_.slot(config.me).generation.load(std::memory_order_relaxed))),
      name_mark_(kIsName | std::uint64_t{control_.header().arena_mark} << kArenaMarkShift),
      is_in_cluster_(control_.header().has_relay != 0),
      slabs_(config.arena->segment(), config.me),
      holds_(config.arena->segment(), control_.slot(config.me).holds) {
  bulk_copy_ = [](void* to, const void* from, std::size_t bytes) { shm::copy_bulk(to, from, bytes); };
}

Client::~Client() { shutdown(); }

void Client::ensure_service() {
  if (has_service_.load(std::memory_order_acquire)) [[likely]]
    return;
  const std::lock_guard lock(service_mutex_);
  if (has_service_.load(std::memory_order_relaxed) || stopping_.load(std::memory_order_relaxed)) return;
  if (control_.slot(me_).deaths_handled.load(std::memory_order_relaxed) == UINT64_MAX) control_.begin_owning(me_);
  control_.slot(me_).attendance.begin();
  try {
    service_ = base::Thread([this] { serve(); });
  } catch (const std::system_error&) {
    // No memory for a thread, or a limit. Threads that wait look themselves (see nap_ns), and the next call tries again.
    control_.slot(me_).attendance.end();
    return;
  }
  has_service_.store(true, std::memory_order_release);
}

bool Client::has_work() const noexcept { return records_.has_completed() || control_.has_deaths_for(me_); }
bool Client::needs_attention() const noexcept { return has_service_.load(std::memory_order_relaxed) && has_work(); }

void Client::attend_now() {
  Lock lock(mutex_);
  drive();
}

void Client::serve() {
  shm::Attendance& attendance = control_.slot(me_).attendance;
  while (!stopping_.load(std::memory_order_seq_cst)) {
    const std::uint32_t before = attendance.word();
    {
      Lock lock(mutex_);
      drive();
      look_at_foreign();
      look_at_actor_ends();
      release_adopted();
      free_blocks_of_buried();
      give_back_slabs();
      after_turn();
    }
    bump_epoch();
    // Nobody attends from here on, unless a thread that waits does.
    std::uint32_t word = attendance.word();
    if (attendees_.load(std::memory_order_seq_cst) == 0) {
      word = attendance.end();
      if (attendees_.load(std::memory_order_seq_cst) != 0) {
        attendance.begin();
        word = attendance.word();
      }
    }
    const bool is_called = shm::Attendance::was_called(before, word) || stopping_.load(std::memory_order_seq_cst);
    if (is_called || (!shm::Attendance::is_attended(word) && has_work())) continue;
    attendance.sleep(word);
  }
}

// Completions, deaths, backlog.
bool Client::drive() {
  if (is_over()) return false;
  if (is_in_cluster_) [[unlikely]]
    before_turn();
  bool any = take_completed();
  if (control_.has_deaths_for(me_)) {
    any = true;
    control_.handle_deaths(me_, [&](std::uint32_t dead) {
      // What it had published before: references inside its results have nobody's protection but its own until they are adopted.
      take_completed();
      take_back_from(dead);
    });
    look_at_actor_ends();
  }
  flush_all();
  if (any) after_turn();
  if (any) bump_epoch();
  return any;
}

bool Client::take_completed() {
  bool any = false;
  records_.take_completed([&](std::uint32_t index) {
    any = true;
    on_completed(index);
  });
  return any;
}

void Client::bump_epoch() {
  epoch_.fetch_add(1, std::memory_order_seq_cst);
  if (epoch_sleepers_.load(std::memory_order_seq_cst) != 0) shm::futex_wake(epoch_, INT32_MAX);
}

// Something happened to an owned record: it is done, or a process let go of it. May be late, and about an earlier life of it.
void Client::on_completed(Index index) {
  if ((index & kBorrowedBit) != 0 || index >= record_slabs_ * shm::kRecordsPerSlab) return;
  Entry& e = owned_.at(index);
  if (e.node.phase == owner::Phase::kUnused) return;
  const std::uint32_t word = records_.at(index).state.load(std::memory_order_acquire);
  if (e.kind == EntryKind::kProxy) result_is_looked_for(e.cell.backend_word[0]);  // also where the proxy has its value
  if (!detail::is_done(word)) {
    if (e.kind == EntryKind::kProxy) return look_at_proxy(e, word);
    if (e.node.phase != owner::Phase::kQueued) return;
    if ((word & detail::kRecordReturned) == 0) return made_elsewhere(e, word);
    if ((word & detail::kRecordElsewhere) != 0 && e.node.is_dropped && is_unwanted(e)) return take_spent(e, word);
    if ((word & detail::kRecordLost) != 0) return take_lost(e);
    return take_returned(e);
  }
  if ((word & (detail::kRecordHasRefs | detail::kRecordAdopted)) == detail::kRecordHasRefs &&
      e.kind != EntryKind::kObject)
    adopt(e);
  if (e.node.phase == owner::Phase::kDone) {
    ledger_.released_elsewhere(index);
  } else {
    ledger_.done(index, (word & detail::kRecordIsError) != 0);
  }
  tell_if_watched(e);
}

// Of a dead owner's record. References inside a result that it had not adopted have nobody's protection any more.
bool Client::is_readable(std::uint32_t word) {
  return detail::is_done(word) && (word & (detail::kRecordHasRefs | detail::kRecordAdopted)) != detail::kRecordHasRefs;
}

// Nobody will complete the record of the borrowed `e` any more: its cells get one that is done, and their waiters see it.
void Client::owner_has_died(Entry& e) {
  static Record* const owner_died = [] {
    auto* dead_record = new Record{.state = detail::kRecordDoneInline | detail::kRecordIsError,
                                   .generation = 0,
                                   .queued_at = 0,
                                   .size = 1,  // the code alone; decode_failure knows the text
                                   .reserved = 0,
                                   .payload = {}};
    detail::RemoteFailure error;
    error.code = ErrorCode::kOwnerDied;
    encode(error, dead_record->payload, dead_record->size);
    return dead_record;
  }();
  Record& record = record_of(e);
  e.cell.record.store(owner_died, std::memory_order_seq_cst);
  if (e.aliases != 0) {
    for (std::size_t i = 0; i < aliases_.size(); ++i)
      if (aliases_.at(i).target() == &e) aliases_.at(i).cell.record.store(owner_died, std::memory_order_seq_cst);
  }
  std::erase(foreign_watch_, e.index);
  // Who sleeps is woken, and who is about to sleep finds another word.
  record.state.fetch_and(~std::uint32_t{detail::kRecordWaiters}, std::memory_order_seq_cst);
  shm::futex_wake(record.state, INT32_MAX);
}

// What the dead process had claimed or begun of this process's tasks, and what this process has of the dead one's.
void Client::take_back_from(std::uint32_t dead) {
  process_has_died(dead);
  dying_ = dead;
  struct Held {
    std::uint32_t generation;
    bool had_begun;
  };
  std::map<Index, Held> held;
  const auto is_current = [&](Index index, std::uint32_t attempt) {
    return shm::attempt_of(owned_.at(index).body.function_and_flags) == attempt;
  };
  const auto claims = [&](LaneUse& use) {
    use.queue.take_claims_of(dead, [&](const shm::TaskBody& body) {
      if (is_current(body.record, shm::attempt_of(body.function_and_flags)))
        held[body.record] = {body.generation, false};
    });
  };
  for (const auto& use : lanes_)
    if (use != nullptr) claims(*use);
  for (const auto& [actor, use] : actors_)
    if (use->lane.queue.is_open()) claims(use->lane);
  shm::RunningStack(control_.slot(dead)).visit(me_, [&](const shm::RunningEntry& entry) {
    if (is_current(entry.record, entry.attempt)) held[entry.record] = {entry.generation, true};
  });
  for (const auto& [index, what] : held) {
    Entry& e = owned_.at(index);
    Record& record = records_.at(index);
    if (e.node.phase == owner::Phase::kUnused || record.generation != what.generation) continue;
    const std::uint32_t word = record.state.load(std::memory_order_acquire);
    if ((word & detail::kRecordReturned) != 0) {
      on_completed(index);  // it was giving the task back
    } else if (detail::is_done(word)) {
      // It was published; what may be missing is that somebody was told.
      shm::futex_wake(record.state, INT32_MAX);
      on_completed(index);
    } else {
      ledger_.lost(index, what.had_begun);
    }
  }
  // What others own and nobody will complete any more.
  std::vector<Index> lost;
  for (const auto& [key, index] : borrowed_by_key_)
    if (shm::ObjectKey{key}.owner() == dead) lost.push_back(index);
  for (const Index index : lost) {
    Entry& e = entry(index);
    Record& record = record_of(e);
    if (is_readable(record.state.load(std::memory_order_acquire))) {
      shm::futex_wake(record.state, INT32_MAX);  // its executor and its owner may both have died before they could
      ledger_.done(index, (record.state.load(std::memory_order_relaxed) & detail::kRecordIsError) != 0);
      continue;
    }
    owner_has_died(e);
    ledger_.done(index, true);
    foreign_is_done(index);
  }
  free_blocks_of_buried();  // of an earlier process in the same slot, too
  orphan_owners_[dead] = generation_base(control_.slot(dead).generation.load(std::memory_order_relaxed));
  std::erase_if(pending_adoptions_, [&](PendingAdoption& pending) {
    if (pending.record.owner() != dead) return false;
    for (RefCell* cell : pending.cells) drop_locked(cell);
    return true;
  });
  dying_ = UINT32_MAX;
}

// Results that were made here for owners who have died stay as long as anything of such an owner is used: one of its objects may name
// another, and nobody else's books say so.
void Client::free_blocks_of_buried() {
  std::erase_if(orphan_owners_, [&](const auto& orphan) {
    const auto [owner_slot, base] = orphan;
    const shm::ProcessSlot& slot = control_.slot(owner_slot);
    if (slot.life.load(std::memory_order_acquire) != shm::ProcessLife::kFree &&
        generation_base(slot.generation.load(std::memory_order_relaxed)) == base)
      return false;
    slabs_.free_owned_by(owner_slot, [life = base >> 20](const shm::BlockOwner& owner, shm::Offset) {
      return owner.generation >> 20 == life;
    });
    return true;
  });
}

// Other owners' objects that something here waits for.
void Client::look_at_foreign() {
  std::vector<Index> done;
  for (const Index index : foreign_watch_)
    if (detail::is_done(record_of(entry(index)).state.load(std::memory_order_acquire))) done.push_back(index);
  for (const Index index : done) {
    if (RAYX_PLANTED_BUG(551)) continue;
    std::erase(foreign_watch_, index);
    ledger_.done(index, (record_of(entry(index)).state.load(std::memory_order_relaxed) & detail::kRecordIsError) != 0);
    foreign_is_done(index);
  }
  if (!done.empty()) after_turn();
}

void Client::release_adopted() {
  std::vector<RefCell*> over;
  std::erase_if(pending_adoptions_, [&](PendingAdoption& pending) {
    const Record& record = control_.records_of(pending.record.owner()).at(pending.record.record());
    const bool is_same = shm::generation_of(record) == pending.record.generation();
    if (is_same && (record.state.load(std::memory_order_acquire) & detail::kRecordAdopted) == 0) return false;
    over.insert(over.end(), pending.cells.begin(), pending.cells.end());
    return true;
  });
  for (RefCell* cell : over)
    if (!RAYX_PLANTED_BUG(552)) drop_locked(cell);
}

detail::Failure Client::shut_down_failure(const char* what) {
  return std::make_unique<Error>(
      Error{ErrorCode::kShuttingDown,
            std::string("rayx: ") + what +
                ": the runtime was shut down meanwhile, and the result went with it. Keep the Runtime "
                "until all results are there"});
}

void Client::shutdown() noexcept {
  {
    const std::lock_guard lock(service_mutex_);
    if (stopping_.exchange(true, std::memory_order_acq_rel)) return;
  }
  if (is_in_forked_child()) {  // there is no such thread
    if (service_.joinable()) service_.detach();
    return;
  }
  if (service_.joinable()) {
    control_.call_service(me_);
    service_.join();
  }
  Lock lock(mutex_);
  // Threads that wait see that it is over: those that sleep are woken, and whoever is about to sleep finds another word.
  const auto wake_waiters = [](EntryPool& pool) {
    for (std::size_t i = 0; i < pool.size(); ++i) {
      Record* const record = pool.at(i).cell.record.load(std::memory_order_relaxed);
      if (record == nullptr || (record->state.load(std::memory_order_acquire) & detail::kRecordWaiters) == 0) continue;
      record->state.fetch_and(~std::uint32_t{detail::kRecordWaiters}, std::memory_order_seq_cst);
      shm::futex_wake(record->state, INT32_MAX);
    }
  };
  const auto keep_values = [this](EntryPool& pool, auto&& is_in_use) {
    for (std::size_t i = 0; i < pool.size(); ++i) {
      Entry& e = pool.at(i);
      const Record* const record = e.cell.record.load(std::memory_order_relaxed);
      if (!is_in_use(e) || record == nullptr) continue;
      const std::uint32_t state = record->state.load(std::memory_order_acquire);
      if ((state & detail::kRecordStateMask) != detail::kRecordDoneBlock) continue;
      BlockRef block;
      std::memcpy(&block, record->payload, sizeof(block));
      if (arena_->contains(block.offset, block.size)) kept_values_.push_back({block.offset, block.size});
    }
  };
  const auto is_in_use = [](const Entry& e) {
    return e.node.phase != owner::Phase::kUnused && (!e.is_cell_dropped || e.aliases != 0);
  };
  keep_values(owned_, is_in_use);
  keep_values(borrowed_, is_in_use);
  wake_waiters(owned_);
  wake_waiters(borrowed_);
  bump_epoch();
  for (std::size_t i = 0; i < owned_.size(); ++i)
    owned_.at(i).cell.record.store(&detail::kRecordOfNoRuntime, std::memory_order_relaxed);
  for (std::size_t i = 0; i < borrowed_.size(); ++i)
    borrowed_.at(i).cell.record.store(&detail::kRecordOfNoRuntime, std::memory_order_relaxed);
  for (std::size_t i = 0; i < aliases_.size(); ++i)
    aliases_.at(i).cell.record.store(&detail::kRecordOfNoRuntime, std::memory_order_relaxed);
}

}  // namespace rayx::worker
