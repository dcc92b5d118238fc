// What a relay does as a client: tasks and values of other nodes, as bytes.
#include <cstring>

#include "base/planted_bug.hpp"
#include "worker/client.hpp"

namespace rayx::worker {

using detail::Failure;

// Arguments that are too large for a cell go into a block, which is the caller's until fill_bytes. `lock`: it may be let go, and room is waited
// for; else not.
bool Client::place_arguments(std::span<const std::byte> arguments, Lock* lock, Failure& failure, BlockRef& block) {
  if (arguments.size() <= shm::kCellInlineBytes) return true;
  shm::Offset offset = shm::kNoOffset;
  if (!allocate(arguments.size(), lock != nullptr, lock, failure, offset)) return false;
  block = {offset, arguments.size()};
  std::memcpy(arena_->writable(offset), arguments.data(), arguments.size());
  return true;
}

// An entry with the body of `call`, whose arguments lie in `block`, or are the bytes if its size is 0. The block is freed on failure.
Entry* Client::fill_bytes(EntryKind kind, detail::TaskCall& call, FunctionNumber function,
                          std::span<const std::byte> arguments, const BlockRef& block, Failure& failure) {
  call.arguments.size = arguments.size();
  call.arguments.small = arguments.data();
  if (block.size != 0) {
    call.arguments.size = block.size;
    call.arguments.small = nullptr;
    call.arguments.block = {arena_->writable(block.offset), block.size, block.offset};
  }
  Entry* const e = take_entry(kind, failure);
  if (e == nullptr) {
    if (block.size != 0) free_block(block, {me_, 0, 0});
    return nullptr;
  }
  fill_call(*e, call, function);
  return e;
}

// An entry with the call's body, whose end task_is_done hears of.
Entry* Client::fill_numbered(EntryKind kind, const NumberedCall& numbered, Failure& failure) {
  if (is_over()) {
    failure = shut_down_failure("remote");
    return nullptr;
  }
  detail::TaskCall call{};
  call.dependencies = numbered.dependencies;
  call.arguments.refs = numbered.refs;
  BlockRef block = numbered.block;
  if (block.size == 0 && !place_arguments(numbered.arguments, nullptr, failure, block)) return nullptr;
  Entry* const e = fill_bytes(kind, call, numbered.function, numbered.arguments, block, failure);
  if (e == nullptr) return nullptr;
  e->cell.backend_word[0] = numbered.tag;
  e->cell.backend_word[1] = kWatched;
  records_.at(e->index).state.store(detail::kRecordPending | detail::kRecordNotify, std::memory_order_relaxed);
  return e;
}

RefCell* Client::submit_numbered(LaneUse& use, const NumberedCall& numbered, Failure& failure) {
  Entry* const e = fill_numbered(EntryKind::kTask, numbered, failure);
  if (e == nullptr) return nullptr;
  e->lane = static_cast<std::uint16_t>(use.lane);
  hand_in(*e, 0);
  return &e->cell;
}

RefCell* Client::start_numbered(std::uint32_t lane, std::uint32_t generation, const NumberedCall& constructor,
                                Failure& failure) {
  auto use = std::make_shared<ActorUse>();
  use->lane.lane = lane;
  use->lane.generation = generation;
  use->lane.shared = control_.lane(lane);
  Entry* const e = is_over() || !open_queue(use->lane, kActorQueueCells, failure)
                       ? nullptr
                       : fill_numbered(EntryKind::kActor, constructor, failure);
  if (e == nullptr) {
    node_.tell(shm::NodeQuestion::kReleaseActor, lane, generation);
    return nullptr;
  }
  e->lane = static_cast<std::uint16_t>(lane);
  hand_in_constructor(std::move(use), *e);
  return &e->cell;
}

RefCell* Client::call_numbered(RefCell* cell, const NumberedCall& numbered, actor::Caller caller, Failure& failure) {
  Entry& actor = *resolve(cell);
  ActorUse* use = actor_use(actor, failure);
  if (use != nullptr && !use->lane.queue.is_open() &&
      !use->order.is_ended()) {  // a proxy's, which is called for others
    if (!open_queue(use->lane, kActorQueueCells, failure)) use = nullptr;
  }
  Entry* const e = use == nullptr ? nullptr : fill_numbered(EntryKind::kActorCall, numbered, failure);
  if (e == nullptr) return nullptr;
  hand_in_call(*use, actor, *e, &caller);
  return &e->cell;
}

RefCell* Client::keep_copy(std::span<const std::byte> value, std::span<RefCell* const> refs, Failure& failure) {
  if (value.size() > detail::kRecordInlineBytes) {
    shm::Offset offset = shm::kNoOffset;
    if (!allocate(value.size(), false, nullptr, failure, offset)) return nullptr;
    std::memcpy(arena_->writable(offset), value.data(), value.size());
    return keep_block({offset, value.size()}, refs, failure);
  }
  Entry* const e = take_entry(EntryKind::kObject, failure);
  if (e == nullptr) return nullptr;
  Record& record = records_.at(e->index);
  e->body.generation = record.generation;
  std::memcpy(record.payload, value.data(), value.size());
  record.size = static_cast<std::uint32_t>(value.size());
  record.state.store(detail::kRecordDoneInline | contain(*e, refs), std::memory_order_release);
  ledger_.put(e->index);
  return &e->cell;
}

RefCell* Client::keep_block(const BlockRef& block, std::span<RefCell* const> refs, Failure& failure) {
  Entry* const e = take_entry(EntryKind::kObject, failure);
  if (e == nullptr) {
    free_block(block, {me_, 0, 0});
    return nullptr;
  }
  Record& record = records_.at(e->index);
  e->body.generation = record.generation;
  rename_block(block, {me_, e->index, record.generation});
  std::memcpy(record.payload, &block, sizeof(block));
  record.state.store(detail::kRecordDoneBlock | contain(*e, refs), std::memory_order_release);
  ledger_.put(e->index);
  return &e->cell;
}

void Client::hand_block_over(const BlockRef& block, const shm::BlockOwner& owner) {
  rename_block(block, owner);
  if (is_in_slab(block.size) && owner.slot != me_) slabs_.give(block.offset);
}

std::optional<BlockRef> Client::place_for(std::span<const std::byte> value, const shm::BlockOwner& owner,
                                          Failure& failure) {
  shm::Offset offset = shm::kNoOffset;
  if (!allocate(value.size(), false, nullptr, failure, offset)) return std::nullopt;
  const BlockRef block{offset, value.size()};
  std::memcpy(arena_->writable(offset), value.data(), value.size());
  hand_block_over(block, owner);
  return block;
}

void Client::tell_if_watched(Entry& e) {
  if (e.cell.backend_word[1] == 0) [[likely]]
    return;
  const bool is_lost = e.cell.backend_word[1] == kWatchedAndLost;
  e.cell.backend_word[1] = 0;
  task_is_done(e.cell.backend_word[0], &e.cell, is_lost);
}

// What happened to a task that another node had, which is not there any more. The record forgets it.
detail::RemoteFailure Client::take_loss(Entry& e) {
  Record& record = records_.at(e.index);
  BlockRef block;
  std::memcpy(&block, record.payload, sizeof(block));
  detail::RemoteFailure failure;
  failure.code = ErrorCode::kWorkerDied;
  failure.message = "on another node, whose report found no memory here";
  if (block.size != 0 && arena_->contains(block.offset, block.size)) {
    failure = detail::decode_failure({arena_->address(block.offset), block.size});
    free_block(block, {me_, e.index, record.generation});
  }
  record.state.fetch_and(~std::uint32_t{detail::kRecordReturned | detail::kRecordLost | detail::kRecordElsewhere},
                         std::memory_order_acq_rel);
  return failure;
}

// A retry is used up, or it fails with what happened there.
void Client::take_lost(Entry& e) {
  const detail::RemoteFailure failure = take_loss(e);
  need_lineage_again(e);
  if (RAYX_PLANTED_BUG(558)) ++e.node.retries_left;
  e.body.function_and_flags = shm::next_attempt(e.body.function_and_flags);
  lost_elsewhere_ = &failure;
  lost_elsewhere_index_ = e.index;
  ledger_.lost(e.index, true);
  lost_elsewhere_ = nullptr;
  lost_elsewhere_index_ = kNoIndex;
}

}  // namespace rayx::worker
