// Blocks, records and entries of a Client.
#include <cstring>
#include <string>

#include "worker/client.hpp"
#include "worker/lent_cpu.hpp"

namespace rayx::worker {

using detail::Block;
using detail::Failure;

namespace {

constexpr std::uint32_t kSlabsKeptEmpty = 4;
// Record tables: the first is small, for a quick start; further ones hold many slabs.
constexpr std::uint32_t kRecordSlabsStep = 32;
constexpr std::uint64_t kSlab = 0;

}  // namespace

// A slab, or an extent of so many bytes. Inside a task that may wait, the CPU is lent: those who would free memory may need it.
Result<LeasedMemory> Client::lease(std::uint64_t slab_or_bytes, bool may_wait) {
  const auto ask = [&](bool waits) {
    return slab_or_bytes == kSlab ? memory_->lease_slab(waits) : memory_->lease_extent(slab_or_bytes, waits);
  };
  if (!may_wait || !in_executor()) return ask(may_wait);
  Result<LeasedMemory> leased = ask(false);
  if (leased || leased.error().code != ErrorCode::kStoreFull) return leased;
  LentCpu lent(node_);
  lent.lend(me_, LentCpu::kNoRecord);
  return ask(true);
}

bool Client::allocate(std::uint64_t size, bool may_wait, Lock* lock, Failure& failure, shm::Offset& offset) {
  const shm::BlockOwner nobody{me_, 0, 0};
  if (is_in_slab(size)) {
    for (;;) {
      offset = slabs_.allocate(size, nobody);
      if (offset != shm::kNoOffset) [[likely]]
        return true;
      // While it waits for memory, others must be able to free some.
      if (lock != nullptr && may_wait) lock->unlock();
      Result<LeasedMemory> leased = lease(kSlab, may_wait);
      if (lock != nullptr && may_wait) lock->lock();
      if (!leased) {
        failure = std::make_unique<Error>(std::move(leased).error());
        return false;
      }
      slabs_.add_slab(leased->offset, leased->serial);
    }
  }
  if (lock != nullptr && may_wait) lock->unlock();
  Result<LeasedMemory> leased = lease(size + kExtentHeaderBytes, may_wait);
  if (lock != nullptr && may_wait) lock->lock();
  if (!leased) {
    failure = std::make_unique<Error>(std::move(leased).error());
    return false;
  }
  offset = leased->offset + kExtentHeaderBytes;
  rename_block({offset, size}, nobody);
  return true;
}

void Client::rename_block(const BlockRef& block, const shm::BlockOwner& owner) {
  if (is_in_slab(block.size)) {
    slabs_.rename(block.offset, owner);
    return;
  }
  auto* header = reinterpret_cast<ExtentHeader*>(arena_->writable(block.offset - kExtentHeaderBytes));
  header->name.store(std::uint64_t{owner.slot} << 32 | owner.record, std::memory_order_relaxed);
  header->use.store(std::uint64_t{owner.generation} << 32 | static_cast<std::uint32_t>(shm::BlockUse::kHeld),
                    std::memory_order_release);
}

void Client::free_block(const BlockRef& block, const shm::BlockOwner& owner) {
  if (is_in_slab(block.size)) {
    slabs_.free_block(block.offset, owner);
  } else {
    memory_->release(block.offset - kExtentHeaderBytes);
  }
}

bool Client::reserve(std::uint64_t size, Block& block, Failure& failure) {
  ensure_service();
  shm::Offset offset = shm::kNoOffset;
  Lock lock(mutex_);
  if (is_over()) {
    failure = shut_down_failure("put");
    return false;
  }
  if (!allocate(size, true, &lock, failure, offset)) {
    failure->message += ". Drop references, or raise Config::store_bytes (RAYX_STORE_BYTES)";
    return false;
  }
  block = {arena_->writable(offset), size, offset};
  return true;
}

void Client::abandon(Block& block) noexcept {
  if (block.data == nullptr) return;
  Lock lock(mutex_);
  if (!is_over()) free_block({block.backend_word, block.size}, {me_, 0, 0});
  block = {};
}

bool Client::give_block(const Block& block, const shm::BlockOwner& owner) {
  Lock lock(mutex_);
  const BlockRef ref{block.backend_word, block.size};
  if (control_.slot(owner.slot).life.load(std::memory_order_acquire) != shm::ProcessLife::kLive) {
    free_block(ref, {me_, 0, 0});
    return false;
  }
  rename_block(ref, owner);
  if (is_in_slab(ref.size) && owner.slot != me_) slabs_.give(ref.offset);
  return true;
}

// Memory that goes with this process, zeroed.
shm::Offset Client::lease_table(std::uint64_t bytes, Failure& failure) {
  Result<LeasedMemory> leased = memory_->lease_extent(bytes + kExtentHeaderBytes, false);
  if (!leased) {
    failure = std::make_unique<Error>(std::move(leased).error());
    failure->message +=
        ". rayx could not keep its own tables there. Drop references, or raise Config::store_bytes (RAYX_STORE_BYTES)";
    return shm::kNoOffset;
  }
  const shm::Offset offset = leased->offset + kExtentHeaderBytes;
  std::memset(arena_->writable(leased->offset), 0, bytes + kExtentHeaderBytes);
  rename_block({offset, shm::kSlabPayloadMax_bytes + 1}, {me_, kTableRecord, 0});
  return offset;
}

bool Client::add_records(Failure& failure) {
  const std::uint32_t slabs = record_slabs_ == 0 ? 1 : std::min(kRecordSlabsStep, shm::kRecordSlabsMax - record_slabs_);
  if (slabs == 0) {
    failure = std::make_unique<Error>(
        Error{ErrorCode::kQueueFull, "rayx: this process owns " +
                                         std::to_string(std::uint64_t{record_slabs_} * shm::kRecordsPerSlab) +
                                         " objects and pending tasks, which is the limit. Drop references, or get() "
                                         "results before more is submitted"});
    return false;
  }
  const shm::Offset table = lease_table(slabs * sizeof(shm::RecordSlab), failure);
  if (table == shm::kNoOffset) return false;
  for (std::uint32_t s = 0; s < slabs; ++s) {
    const shm::Offset offset = table + s * sizeof(shm::RecordSlab);
    shm::create_record_slab(arena_->writable(offset), first_generation_);
    control_.slot(me_).record_slabs[record_slabs_].store(offset, std::memory_order_release);
    owned_.grow();
    const Index first = record_slabs_ * shm::kRecordsPerSlab;
    for (std::uint32_t i = shm::kRecordsPerSlab; i-- > 0;) {
      Entry& e = owned_.at(first + i);
      e.index = first + i;
      e.cell.runtime = runtime();
      e.cell.record.store(&records_.at(first + i), std::memory_order_relaxed);
      free_owned_.push_back(first + i);
    }
    ++record_slabs_;
  }
  return true;
}

Entry* Client::take_entry(EntryKind kind, Failure& failure) {
  if (free_owned_.empty() && !add_records(failure)) [[unlikely]]
    return nullptr;
  Entry& e = owned_.at(free_owned_.back());
  free_owned_.pop_back();
  e.cell.refs.store(1, std::memory_order_relaxed);
  e.kind = kind;
  e.is_cell_dropped = false;
  return &e;
}

bool Client::leave_if_unused() {
  Lock lock(mutex_);
  drive();
  release_adopted();
  slabs_.collect_all();
  const bool owns_objects = free_owned_.size() != std::size_t{record_slabs_} * shm::kRecordsPerSlab;
  // Small results that it made for others lie in its slabs.
  if (owns_objects || !pending_adoptions_.empty() || slabs_.blocks_in_use() != 0) return false;
  stopping_.store(true, std::memory_order_seq_cst);
  lock.unlock();
  const std::lock_guard no_other(service_mutex_);
  if (service_.joinable()) {
    control_.call_service(me_);
    service_.join();
  }
  return true;
}

Client::Books Client::books() {
  Lock lock(mutex_);
  return {std::size_t{record_slabs_} * shm::kRecordsPerSlab - free_owned_.size(), borrowed_by_key_.size(),
          pending_adoptions_.size()};
}

void Client::give_back_slabs() {
  if (slabs_.slabs() <= kSlabsKeptEmpty) return;
  slabs_.collect_all();
  while (const auto slab = slabs_.take_empty(kSlabsKeptEmpty)) memory_->release(*slab);
}

}  // namespace rayx::worker
