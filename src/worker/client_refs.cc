// References: names, cells, what values contain, and what is freed when.
#include <algorithm>
#include <cstring>
#include <string>

#include <rayx/detail/ref_positions.hpp>

#include "base/planted_bug.hpp"
#include "observe/frames.hpp"
#include "worker/client.hpp"
#include "worker/object_there.hpp"

namespace rayx::worker {

using detail::Failure;
using detail::RefName;
using detail::RemoteFailure;
using detail::ValueView;
using shm::ObjectKey;

namespace {

Failure bad_name() {
  return std::make_unique<Error>(
      Error{ErrorCode::kMalformed,
            "rayx: a reference inside a value names nothing: the bytes were damaged, or come from another runtime"});
}

Failure gone_name() {
  return std::make_unique<Error>(
      Error{ErrorCode::kOwnerDied, std::string("rayx: a reference inside a value") + kNamesNobodysObject});
}

Failure no_room_for_name() {
  return std::make_unique<Error>(Error{
      ErrorCode::kStoreFull, std::string("rayx: a reference inside a value cannot be taken: ") + kNoRoomForHolds});
}

}  // namespace

// ---- Names

RefName Client::name_of(const Entry& e) {
  const ObjectKey key =
      e.kind == EntryKind::kBorrowed ? e.key() : ObjectKey::make(me_, e.index, records_.at(e.index).generation);
  RefName name{{key.word, name_mark_}};
  const bool may_be_actor = e.kind == EntryKind::kActor || e.kind == EntryKind::kProxy;
  const auto actor = may_be_actor ? actors_.find(e.index) : actors_.end();
  if (actor != actors_.end()) {
    name.words[1] = name_mark_ | kIsActorName | std::uint64_t{actor->second->lane.lane} << 16 |
                    std::uint64_t{actor->second->lane.generation} << 32;
  } else if (e.kind == EntryKind::kBorrowed && e.cell.backend_word[1] != 0) {
    name.words[1] = e.cell.backend_word[1];
  }
  return name;
}

RefName Client::export_ref(RefCell* ref) {
  ensure_service();
  Lock lock(mutex_);
  if (is_over()) return {};
  Entry& e = *resolve(ref);
  e.node.is_shared = true;
  return name_of(e);
}

RefCell* Client::import_ref(const RefName& name, Failure& failure) {
  ensure_service();
  Lock lock(mutex_);
  RefCell* const cell = is_over() ? nullptr : import_locked(name);
  if (cell == nullptr && (name.words[1] & kIsName) != 0 && (name.words[1] & kNameMarkMask) != name_mark_) {
    failure = std::make_unique<Error>(Error{
        ErrorCode::kMalformed,
        "rayx: a reference inside a value names an object of another node, which cannot be used here yet. Pass the "
        "ObjectRef as an argument of its own for a parameter of the value's type, or the value itself"});
  } else if (cell == nullptr) {
    const ObjectKey key{name.words[0]};
    if (is_over()) {
      failure = shut_down_failure("get");
    } else if (is_owner_gone(key)) {
      failure = gone_name();
    } else {
      failure = key.owner() != me_ && is_object_there(control_, key) ? no_room_for_name() : bad_name();
    }
  }
  return cell;
}

// Its process slot is free, or has another process.
bool Client::is_owner_gone(ObjectKey key) const {
  if (key.owner() >= control_.header().processes) return false;
  const shm::ProcessSlot& slot = control_.slot(key.owner());
  return slot.life.load(std::memory_order_acquire) != shm::ProcessLife::kLive ||
         generation_base(slot.generation.load(std::memory_order_relaxed)) >> 20 != key.generation() >> 20;
}

RefCell* Client::alias_of(Entry& e) {
  if (free_aliases_.empty()) {
    const auto first = static_cast<Index>(aliases_.size());
    aliases_.grow();
    for (Index i = kEntriesPerBlock; i-- > 0;) free_aliases_.push_back(first + i);
  }
  Entry& alias = aliases_.at(free_aliases_.back());
  alias.index = free_aliases_.back();
  free_aliases_.pop_back();
  alias.kind = EntryKind::kAlias;
  alias.cell.runtime = runtime();
  alias.cell.refs.store(1, std::memory_order_relaxed);
  alias.cell.record.store(e.cell.record.load(std::memory_order_relaxed), std::memory_order_relaxed);
  alias.cell.backend_word[0] = reinterpret_cast<std::uint64_t>(&e);
  ++e.aliases;
  if (e.node.is_dropped) ledger_.revived(e.index);
  if (actors_dropping_ != 0) [[unlikely]]
    actor_handle_revived(e.index);
  return &alias.cell;
}

RefCell* Client::import_locked(const RefName& name) {
  const ObjectKey key{name.words[0]};
  if ((name.words[1] & kNameMarkMask) != name_mark_ || key.owner() >= control_.header().processes) return nullptr;
  if (key.owner() == me_) {
    if (key.record() >= record_slabs_ * shm::kRecordsPerSlab) return nullptr;
    Entry& e = owned_.at(key.record());
    if (e.node.phase == owner::Phase::kUnused || records_.at(key.record()).generation != key.generation())
      return nullptr;
    return alias_of(e);
  }
  const auto known = borrowed_by_key_.find(key.word);
  if (known != borrowed_by_key_.end()) return alias_of(borrowed_.at(known->second & ~kBorrowedBit));
  Entry* const e = borrow(key, name);
  return e == nullptr ? nullptr : &e->cell;
}

RefCell* Client::hold(ObjectKey key) {
  Lock lock(mutex_);
  return hold_locked(key);
}

RefCell* Client::hold_locked(ObjectKey key) { return is_over() ? nullptr : import_locked({{key.word, name_mark_}}); }

Entry* Client::borrow(ObjectKey key, const RefName& name) {
  if (!is_object_there(control_, key)) return nullptr;
  shm::ProcessSlot& slot = control_.slot(key.owner());
  Record& record = control_.records_of(key.owner()).at(key.record());
  while (!holds_.add(key)) {
    Failure failure;
    const shm::Offset chunk = lease_table(sizeof(shm::HoldChunk), failure);
    if (chunk == shm::kNoOffset || !holds_.add_chunk(chunk)) return nullptr;
  }
  if (free_borrowed_.empty()) {
    const auto first = static_cast<Index>(borrowed_.size());
    borrowed_.grow();
    for (Index i = kEntriesPerBlock; i-- > 0;) free_borrowed_.push_back((first + i) | kBorrowedBit);
  }
  const Index index = free_borrowed_.back();
  free_borrowed_.pop_back();
  Entry& e = borrowed_.at(index & ~kBorrowedBit);
  e.index = index;
  e.kind = EntryKind::kBorrowed;
  e.is_cell_dropped = false;
  e.aliases = 0;
  e.cell.runtime = runtime();
  e.cell.refs.store(1, std::memory_order_relaxed);
  e.cell.record.store(&record, std::memory_order_relaxed);
  e.cell.backend_word[0] = key.word;
  e.cell.backend_word[1] = name.words[1];
  borrowed_by_key_[key.word] = index;
  ledger_.borrow(index);
  const bool is_owner_dead = slot.life.load(std::memory_order_seq_cst) == shm::ProcessLife::kDead;
  const std::uint32_t word = record.state.load(std::memory_order_acquire);
  if (is_owner_dead ? is_readable(word) : detail::is_done(word)) {
    ledger_.done(index, (word & detail::kRecordIsError) != 0);
  } else if (is_owner_dead) {
    owner_has_died(e);
    ledger_.done(index, true);
  }
  return &e;
}

// ---- Dropping

void Client::drop(RefCell* ref) noexcept {
  Lock lock(mutex_);
  if (!is_over()) drop_cell(ref);
}

// One count less: of a cell on which this process's books hold a count.
void Client::drop_locked(RefCell* cell) {
  if (cell->refs.load(std::memory_order_acquire) != 1 && cell->refs.fetch_sub(1, std::memory_order_acq_rel) != 1)
    return;
  drop_cell(cell);
}

void Client::drop_cell(RefCell* cell) {
  to_drop_.push_back(cell);
  if (is_dropping_) return;
  is_dropping_ = true;  // a list of references inside references may be long: no recursion
  while (!to_drop_.empty()) {
    Entry& e = *Entry::of(to_drop_.back());
    to_drop_.pop_back();
    if (e.kind == EntryKind::kAlias) {
      Entry& target = *e.target();
      free_aliases_.push_back(e.index);
      if (--target.aliases == 0 && target.is_cell_dropped) last_cell_dropped(target);
    } else {
      e.is_cell_dropped = true;
      if (e.aliases == 0) last_cell_dropped(e);
    }
  }
  is_dropping_ = false;
}

void Client::last_cell_dropped(Entry& e) {
  if (e.node.is_dropped) return;
  if (e.kind != EntryKind::kBorrowed && e.node.phase != owner::Phase::kDone) {
    Record& record = record_of(e);
    // The books may not have heard that it is done; if it is not, they have to hear.
    std::uint32_t word = record.state.load(std::memory_order_acquire);
    std::uint32_t flags = detail::kRecordNotify;
    if (is_unwanted(e)) flags |= detail::kRecordUnwanted;
    if (!detail::is_done(word) && (word & flags) != flags && !RAYX_PLANTED_BUG(555))
      word = record.state.fetch_or(flags, std::memory_order_acq_rel);
    if (detail::is_done(word)) {
      on_completed(e.index);
    } else if ((word & detail::kRecordElsewhere) != 0) {
      tell_who_has_it(record);
    }
  }
  // The calls that it was lent to are done, and each held it then; one of them may have kept an Array that lies there.
  if (e.node.is_lent && e.kind != EntryKind::kBorrowed &&
      (record_of(e).state.load(std::memory_order_acquire) & detail::kRecordStateMask) == detail::kRecordDoneBlock)
    e.node.is_shared = true;
  if (e.kind == EntryKind::kActor || (e.kind == EntryKind::kBorrowed && actors_.contains(e.index))) [[unlikely]] {
    actor_handle_dropped(e);
    return;
  }
  ledger_.dropped(e.index);
}

void Client::release_needs(Index task) {
  Entry& e = entry(task);
  const bool was_held_back = e.extra != nullptr && e.extra->is_held_back;
  if (e.extra != nullptr) {
    Extra& extra = *e.extra;
    if (extra.arguments.size != 0) free_block(std::exchange(extra.arguments, BlockRef{}), {me_, 0, 0});
    if (extra.parts.size != 0) free_block(std::exchange(extra.parts, BlockRef{}), {me_, 0, 0});
    if (extra.shared_name.size != 0) free_block(std::exchange(extra.shared_name, BlockRef{}), {me_, 0, 0});
    extra.dependencies.clear();
    for (RefCell* cell : std::exchange(extra.held, {})) drop_locked(cell);
    for (const Index need : std::exchange(extra.lineage, {})) unpin(need);
  }
  // Last, because it may free the actor, and `e` may be the actor's constructor.
  if (was_held_back || actors_dropping_ != 0) [[unlikely]]
    if (e.kind == EntryKind::kActorCall || e.kind == EntryKind::kActor) actor_call_settled(e);
}

bool Client::is_held_elsewhere(Index object) {
  const Entry& e = entry(object);
  if (e.kind == EntryKind::kBorrowed) return false;
  const ObjectKey key = ObjectKey::make(me_, e.index, records_.at(e.index).generation);
  return control_.is_held_elsewhere(key, me_);
}

void Client::free(Index object) {
  Entry& e = entry(object);
  if (!actors_.empty()) [[unlikely]]
    forget_actor(e);
  if (e.kind == EntryKind::kBorrowed) {
    const ObjectKey key = e.key();
    borrowed_by_key_.erase(key.word);
    std::erase(foreign_watch_, object);
    if (!RAYX_PLANTED_BUG(556)) control_.release_hold(me_, key);
    delete std::exchange(e.extra, nullptr);
    free_borrowed_.push_back(object);
    return;
  }
  Record& record = records_.at(object);
  const std::uint32_t state = record.state.load(std::memory_order_relaxed);
  if ((state & detail::kRecordStateMask) == detail::kRecordDoneBlock) {
    BlockRef block;
    std::memcpy(&block, record.payload, sizeof(block));
    // Before the record stops naming it: see SlabAllocator::free_block.
    if (e.kind != EntryKind::kProxy || !is_block_taken(e, state, block))
      free_block(block, {me_, e.index, record.generation});
  }
  std::vector<RefCell*> contained;
  if (e.extra != nullptr) [[unlikely]] {
    contained = std::move(e.extra->contained);
    delete std::exchange(e.extra, nullptr);
    if (e.kind == EntryKind::kProxy) proxy_is_freed(e.cell.backend_word[0]);
  }
  shm::raise_generation(record);
  record.state.store(detail::kRecordFree, std::memory_order_release);
  free_owned_.push_back(object);
  for (RefCell* cell : contained) drop_locked(cell);
}

// ---- Values

RefCell* Client::put(const detail::Encoded& value, Failure& failure) {
  ensure_service();
  Lock lock(mutex_);
  if (is_over()) [[unlikely]] {
    failure = shut_down_failure("put");
    return nullptr;
  }
  Entry* const e = take_entry(EntryKind::kObject, failure);
  if (e == nullptr) [[unlikely]] {
    if (value.block.data != nullptr) free_block({value.block.backend_word, value.block.size}, {me_, 0, 0});
    return nullptr;
  }
  Record& record = records_.at(e->index);
  e->body.generation = record.generation;
  std::uint32_t done = 0;
  if (!value.refs.empty()) [[unlikely]]
    done = contain(*e, value.refs);
  if (value.block.data != nullptr) {
    const BlockRef block{value.block.backend_word, value.size};
    rename_block(block, {me_, e->index, record.generation});
    std::memcpy(record.payload, &block, sizeof(block));
    done |= detail::kRecordDoneBlock;
  } else {
    std::memcpy(record.payload, value.small, value.size);
    record.size = static_cast<std::uint32_t>(value.size);
    done |= detail::kRecordDoneInline;
  }
  record.state.store(done, std::memory_order_release);
  ledger_.put(e->index);
  return &e->cell;
}

ValueView Client::view_of(const Entry& e) const {
  const Record& record = record_of(e);
  const std::uint32_t state = record.state.load(std::memory_order_acquire);
  ValueView view;
  if (!detail::is_done(state)) [[unlikely]]
    return view;  // the runtime was shut down after somebody saw that it was done
  view.is_error = (state & detail::kRecordIsError) != 0;
  view.has_refs = (state & detail::kRecordHasRefs) != 0;
  if ((state & detail::kRecordStateMask) == detail::kRecordDoneBlock) {
    BlockRef block;
    std::memcpy(&block, record.payload, sizeof(block));
    if (arena_->contains(block.offset, block.size)) {
      view.data = arena_->address(block.offset);
      view.size = block.size;
    }
  } else {
    view.data = record.payload;
    view.size = std::min<std::uint64_t>(record.size, detail::kRecordInlineBytes);
  }
  return view;
}

bool Client::read(RefCell* ref, ValueView& view, Failure& failure) {
  const std::uint32_t state = ref->record.load(std::memory_order_relaxed)->state.load(std::memory_order_acquire);
  if ((state & (detail::kRecordHasRefs | detail::kRecordAdopted)) == detail::kRecordHasRefs) [[unlikely]] {
    Lock lock(mutex_);
    Entry& e = *resolve(ref);
    if (e.kind != EntryKind::kBorrowed && !is_over()) adopt(e);
  }
  view = view_of(*Entry::of(ref));
  if (view.data != nullptr) [[likely]]
    return true;
  failure = shut_down_failure("get");
  return false;
}

// The references inside a value of this process's own, which keeps them as long as it lives. The flags that go with its state.
std::uint32_t Client::contain(Entry& e, std::span<RefCell* const> refs) {
  if (refs.empty()) return 0;
  Extra& extra = e.need_extra();
  for (RefCell* ref : refs) detail::count_up(ref);
  extra.contained.assign(refs.begin(), refs.end());
  extra.is_adopted = true;
  return detail::kRecordHasRefs | detail::kRecordAdopted;
}

// Takes counts on the references inside a result, so that its executor may let go of them.
void Client::adopt(Entry& e) {
  if (e.extra != nullptr && e.extra->is_adopted) return;
  Extra& extra = e.need_extra();
  extra.is_adopted = true;
  const ValueView view = view_of(e);
  detail::visit_refs({view.data, view.size}, [&](std::uint64_t position) {
    RefName name;
    std::memcpy(&name, view.data + position, sizeof(name));
    if (name == RefName{}) return;
    if (RefCell* cell = RAYX_PLANTED_BUG(557) ? nullptr : import_locked(name)) extra.contained.push_back(cell);
  });
  Record& record = record_of(e);
  record.state.fetch_or(detail::kRecordAdopted, std::memory_order_acq_rel);
  if (record.reserved != 0 && record.reserved - 1 < control_.header().processes && record.reserved - 1 != me_)
    control_.call_service(record.reserved - 1);
}

void Client::keep_until_adopted(ObjectKey record, std::vector<RefCell*> cells) {
  Lock lock(mutex_);
  if (control_.slot(record.owner()).life.load(std::memory_order_acquire) != shm::ProcessLife::kLive) {
    // Its death may have been handled before: nobody would come back to this.
    for (RefCell* cell : cells) drop_locked(cell);
    return;
  }
  pending_adoptions_.push_back({record, std::move(cells)});
}

// ---- Failures

std::string Client::function_name(const Entry& e) {
  const std::string_view name = e.extra != nullptr ? std::string_view(e.extra->name) : std::string_view();
  if (e.kind == EntryKind::kActor && !name.empty()) return std::string(name);
  const auto found = numbers_->find(e.body.function_and_flags >> 16);
  return detail::task_title(found ? (*found)->name() : "a task", name);
}

void Client::complete_with_error(Index task, const RemoteFailure& error) {
  Record& record = records_.at(task);
  std::size_t size = encoded_size(error);
  std::uint32_t done = detail::kRecordDoneInline;
  Failure no_room;
  shm::Offset offset = shm::kNoOffset;
  if (size > detail::kRecordInlineBytes && allocate(size, false, nullptr, no_room, offset)) {
    encode(error, arena_->writable(offset), size);
    const BlockRef block{offset, size};
    rename_block(block, {me_, task, record.generation});
    std::memcpy(record.payload, &block, sizeof(block));
    done = detail::kRecordDoneBlock;
  } else {
    size = std::min(size, detail::kRecordInlineBytes);
    encode(error, record.payload, size);
    record.size = static_cast<std::uint32_t>(size);
  }
  records_.complete(task, done | detail::kRecordIsError);
}

void Client::fail_as(Index task, Index cause) {
  const ValueView view = view_of(entry(cause));
  RemoteFailure error = detail::decode_failure({view.data, view.size});
  Entry& e = owned_.at(task);
  if (e.kind == EntryKind::kActor) error = detail::actor_died_of_constructor(error, function_name(e));
  complete_with_error(task, error);
}

void Client::fail_lost(Index task) {
  Entry& e = owned_.at(task);
  const std::string function = function_name(e);
  if (e.kind != EntryKind::kTask && actor_of_lane_[e.lane] != nullptr) {
    fail_call(*actor_of_lane_[e.lane], e);
    return;
  }
  RemoteFailure error;
  error.code = ErrorCode::kWorkerDied;
  std::string how = "its end was not reported";
  if (lost_elsewhere_index_ == task) {
    error = *lost_elsewhere_;
    how = error.message;
  } else if (dying_ != UINT32_MAX) {
    const shm::DeathNote& note = notes_.note(dying_);
    if (note.generation.load(std::memory_order_acquire) ==
        control_.slot(dying_).generation.load(std::memory_order_relaxed)) {
      error.pid = static_cast<std::uint32_t>(note.pid);
      how = "process " + std::to_string(error.pid) + " ";
      how.append(note.how, std::min<std::size_t>(note.how_bytes, sizeof(note.how)));
      error.stack.assign(note.stack, std::min<std::size_t>(note.stack_bytes, sizeof(note.stack)));
    }
  }
  if (e.cell.backend_word[1] == kWatched) {  // the owner, on another node, words the rest
    e.cell.backend_word[1] = kWatchedAndLost;
    error.message = how;
  } else {
    error.function = function;
    error.message =
        "rayx: the worker that ran " + function + " died: " + how +
        "\nIt was tried as often as TaskOptions::max_retries allows. Repair the cause, or allow more retries";
  }
  complete_with_error(task, error);
}

}  // namespace rayx::worker
