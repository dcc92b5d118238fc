// Results that lie on another node: who needs them may get their name instead, and what they were made of is kept only as far as they can be
// made again.
#include <algorithm>

#include "worker/client.hpp"

namespace rayx::worker {

using detail::Dependency;

namespace {

// Tasks that are to be done again one after the other if a node is lost. A result with more behind it is brought when there is room.
constexpr std::uint32_t kLineageDepthMax = 1'000;

}  // namespace

// If its node is lost before the value is here, the task is done again.
bool Client::may_stay_elsewhere(const Entry& e) {
  return e.kind == EntryKind::kTask && e.node.retries_left != 0 &&
         (e.extra == nullptr || e.extra->depth < kLineageDepthMax);
}

// Of a task whose last reference here is gone: nobody can ask for its value any more.
bool Client::is_unwanted(const Entry& e) {
  return e.kind == EntryKind::kTask && (!e.node.is_shared || !is_held_elsewhere(e.index));
}

// News of a task that is not done.
void Client::made_elsewhere(Entry& e, std::uint32_t word) {
  if (e.node.is_dropped && (word & detail::kRecordUnwanted) == 0 && is_unwanted(e)) {
    word = record_of(e).state.fetch_or(detail::kRecordUnwanted, std::memory_order_acq_rel);
    if ((word & detail::kRecordElsewhere) != 0) tell_who_has_it(record_of(e));
  }
  if ((word & detail::kRecordElsewhere) == 0 || (word & detail::kRecordWanted) != 0) return;
  // It has used its last retry since a task said that it needs the value: that one is given the value, and no name.
  if (!may_stay_elsewhere(e)) return (word & detail::kRecordNeeded) != 0 ? want(e) : void();
  keep_lineage_only(e);
  if (!may_stay_elsewhere(e))
    record_of(e).state.fetch_and(~std::uint32_t{detail::kRecordNeeded}, std::memory_order_acq_rel);
  ledger_.made_elsewhere(e.index, [this](Index task) { return entry(task).kind == EntryKind::kTask; });
}

// The values that the task has read are needed no longer, but to be made again for it. So results that lie elsewhere go there, with their last
// other reference: a chain of tasks holds one value, and not all of them.
void Client::keep_lineage_only(Entry& e) {
  if (e.extra == nullptr) return;
  Extra& extra = *e.extra;
  std::vector<RefCell*> over;
  for (Dependency& dependency : extra.dependencies) {
    Entry& need = *resolve(dependency.ref);
    if (need.node.phase != owner::Phase::kQueued || !may_stay_elsewhere(need)) continue;
    const auto held = std::find(extra.held.begin(), extra.held.end(), dependency.ref);
    if (held == extra.held.end()) continue;  // its lineage already
    over.push_back(dependency.ref);
    extra.held.erase(held);
    dependency.ref = &need.cell;
    extra.lineage.push_back(need.index);
    ++need.need_extra().pins;
    need.node.is_pinned = true;
    extra.depth = std::max(extra.depth, need.extra->depth + 1);
  }
  for (RefCell* const cell : over) drop_locked(cell);
}

// It is to be made once more.
void Client::need_lineage_again(Entry& e) {
  if (e.extra == nullptr) return;
  std::vector<Index> lineage;
  lineage.swap(e.extra->lineage);
  for (const Index index : lineage) {
    Entry& need = owned_.at(index);
    RefCell* const cell = alias_of(need);
    record_of(need).state.fetch_and(~std::uint32_t{detail::kRecordUnwanted}, std::memory_order_acq_rel);
    const auto dependency = std::find_if(e.extra->dependencies.begin(), e.extra->dependencies.end(),
                                         [&](const Dependency& it) { return it.ref == &need.cell; });
    dependency->ref = cell;
    e.extra->held.push_back(cell);
    unpin(index);
  }
}

void Client::unpin(Index index) {
  Entry& need = owned_.at(index);
  if (--need.extra->pins != 0) return;
  ledger_.unpinned(index);
  if (need.node.phase == owner::Phase::kSpent && need.node.is_dropped) end_unread(need);
}

// Its value was freed where it lay, as nobody had a reference any more.
void Client::take_spent(Entry& e, std::uint32_t word) {
  if ((word & detail::kRecordLost) != 0) {
    take_loss(e);
  } else {
    record_of(e).state.fetch_and(~std::uint32_t{detail::kRecordReturned | detail::kRecordElsewhere},
                                 std::memory_order_acq_rel);
  }
  if (!e.node.is_pinned) return end_unread(e);
  ledger_.spent(e.index);
}

// A task that is spent, and whose value is needed again.
void Client::begin_again(Entry& e) {
  e.body.function_and_flags = shm::next_attempt(e.body.function_and_flags);
  need_lineage_again(e);
  std::vector<Index> needs = needs_of(e);
  listen_to(needs, true);
  if (ledger_.again(e.index, needs)) return;
  fail_lost(e.index);
  ledger_.done(e.index, true);
}

// Nobody will read what it has made.
void Client::end_unread(Entry& e) {
  record_of(e).size = 0;
  records_.complete(e.index, detail::kRecordDoneInline);
  ledger_.done(e.index, false);
}

void Client::want_here(shm::ObjectKey key) const {
  Record& record = control_.records_of(key.owner()).at(key.record());
  const std::uint32_t word = record.state.load(std::memory_order_acquire);
  if (detail::is_done(word) || (word & detail::kRecordElsewhere) == 0) return;
  if ((record.state.fetch_or(detail::kRecordWanted, std::memory_order_acq_rel) & detail::kRecordWanted) == 0)
    tell_who_has_it(record);
}

// The relay that stands for the value looks at the record again.
void Client::tell_who_has_it(const Record& record) const {
  const std::uint64_t queued_at = record.queued_at.load(std::memory_order_relaxed);
  if (!shm::names_proxy(queued_at)) return;  // it has come back meanwhile, and is queued again
  const shm::ObjectKey proxy = shm::proxy_at(queued_at);
  const shm::Records records = control_.records_of(proxy.owner());
  records.mark_completed(proxy.record());
  records.call_owner();
}

}  // namespace rayx::worker
