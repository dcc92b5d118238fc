// What a relay does as the owner of objects that stand for those of other nodes.
#include <algorithm>
#include <cstring>

#include "worker/client.hpp"

namespace rayx::worker {

using detail::Failure;

Index Client::make_proxy(std::uint64_t tag, Failure& failure) {
  Entry* const e = take_entry(EntryKind::kProxy, failure);
  if (e == nullptr) return kNoIndex;
  Record& record = records_.at(e->index);
  e->body.generation = record.generation;
  e->cell.backend_word[0] = tag;
  e->cell.backend_word[1] = 0;
  e->need_extra().is_adopted = true;
  record.queued_at.store(0, std::memory_order_relaxed);
  record.state.store(detail::kRecordPending | detail::kRecordIsProxy, std::memory_order_release);
  ledger_.borrow(e->index);
  e->node.is_shared = true;
  return e->index;
}

detail::RefName Client::name_in_values(RefCell* cell) {
  Entry& e = *resolve(cell);
  e.node.is_shared = true;
  return name_of(e);
}

bool Client::complete_proxy(Index proxy, std::span<const std::byte> value, std::span<RefCell* const> refs,
                            bool is_error, Failure& failure) {
  if (value.size() > detail::kRecordInlineBytes) {
    shm::Offset offset = shm::kNoOffset;
    if (!allocate(value.size(), false, nullptr, failure, offset)) return false;
    std::memcpy(arena_->writable(offset), value.data(), value.size());
    complete_proxy(proxy, BlockRef{offset, value.size()}, refs, is_error);
    return true;
  }
  Record& record = records_.at(proxy);
  if (!value.empty()) std::memcpy(record.payload, value.data(), value.size());
  record.size = static_cast<std::uint32_t>(value.size());
  const std::uint32_t flags = contain(owned_.at(proxy), refs) | (is_error ? std::uint32_t{detail::kRecordIsError} : 0u);
  records_.complete(proxy, detail::kRecordDoneInline | flags);
  ledger_.done(proxy, is_error);
  return true;
}

void Client::complete_proxy(Index proxy, const BlockRef& block, std::span<RefCell* const> refs, bool is_error) {
  Record& record = records_.at(proxy);
  rename_block(block, {me_, proxy, record.generation});
  std::memcpy(record.payload, &block, sizeof(block));
  const std::uint32_t flags = contain(owned_.at(proxy), refs) | (is_error ? std::uint32_t{detail::kRecordIsError} : 0u);
  records_.complete(proxy, detail::kRecordDoneBlock | flags);
  ledger_.done(proxy, is_error);
}

void Client::fail_proxy(Index proxy, const detail::RemoteFailure& error) {
  complete_with_error(proxy, error);
  ledger_.done(proxy, true);
}

void Client::make_actor_proxy(Index proxy, std::uint32_t lane, std::uint32_t generation) {
  join_actor(proxy, lane, generation);
  records_.at(proxy).size = 0;
  records_.complete(proxy, detail::kRecordDoneInline);
  ledger_.done(proxy, false);
}

bool Client::is_done_or_listen(Index index) {
  Entry& e = entry(index);
  if (e.node.phase == owner::Phase::kDone) return true;
  Record& record = record_of(e);
  std::uint32_t word = record.state.load(std::memory_order_acquire);
  if (!detail::is_done(word)) word = record.state.fetch_or(detail::kRecordForeign, std::memory_order_acq_rel);
  if (detail::is_done(word)) {
    ledger_.done(index, (word & detail::kRecordIsError) != 0);
    return true;
  }
  if (std::find(foreign_watch_.begin(), foreign_watch_.end(), index) == foreign_watch_.end())
    foreign_watch_.push_back(index);
  want(e);  // it may lie on another node
  return false;
}

// Of a proxy that is freed, and whose value lies in it.
bool Client::is_block_taken(const Entry& e, std::uint32_t state, const BlockRef& block) {
  if ((state & (detail::kRecordIsError | detail::kRecordHasRefs)) != 0 || is_over()) return false;
  if (!takes_block_of_proxy(e.cell.backend_word[0], block)) return false;
  rename_block(block, {me_, 0, 0});
  return true;
}

// Somebody let go of the proxy, or waits for it.
void Client::look_at_proxy(Entry& e, std::uint32_t word) {
  const std::uint64_t tag = e.cell.backend_word[0];
  ledger_.released_elsewhere(e.index);
  if (e.node.phase != owner::Phase::kUnused && (word & detail::kRecordWanted) != 0) proxy_is_wanted(tag);
}

}  // namespace rayx::worker
