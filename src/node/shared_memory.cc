#include "node/shared_memory.hpp"

#include <utility>

namespace rayx::node {

// As the stores round it.
SharedMemory::SharedMemory(std::uint64_t total_bytes)
    : shares_((total_bytes + shm::kStoreGranuleBytes - 1) / shm::kStoreGranuleBytes * shm::kStoreGranuleBytes) {}

SharedMemory::Member::Member(SharedMemory& memory, std::function<void()> ring,
                             std::function<void(const store::Extent&)> drop_pages)
    : memory_(memory), ring_(std::move(ring)), drop_pages_(std::move(drop_pages)) {
  const std::lock_guard lock(memory_.mutex_);
  number_ = ++memory_.last_number_;
  memory_.members_.emplace(number_, this);
  memory_.shares_.join(number_);
}

SharedMemory::Member::~Member() {
  const std::lock_guard lock(memory_.mutex_);
  memory_.members_.erase(number_);
  memory_.shares_.leave(number_);
  memory_.changed();
}

bool SharedMemory::Member::take(std::uint64_t bytes) {
  const std::lock_guard lock(memory_.mutex_);
  const bool is_taken = memory_.shares_.take(number_, bytes, memory_.clock_.now_ns());
  memory_.changed();
  return is_taken;
}

void SharedMemory::Member::give(std::uint64_t bytes) {
  const std::lock_guard lock(memory_.mutex_);
  memory_.shares_.give(number_, bytes);
  memory_.changed();
}

void SharedMemory::Member::drop(const store::Extent& extent) {
  drop_pages_(extent);
  give(extent.bytes);
}

void SharedMemory::Member::call() {
  if (!is_called_.exchange(true, std::memory_order_acq_rel)) ring_();
}

std::uint64_t SharedMemory::Member::owed() {
  const std::lock_guard lock(memory_.mutex_);
  memory_.changed();  // a claim may be over
  return memory_.shares_.owed(number_, memory_.clock_.now_ns());
}

std::uint64_t SharedMemory::Member::left() {
  const std::lock_guard lock(memory_.mutex_);
  return memory_.shares_.left(number_, memory_.clock_.now_ns());
}

std::uint64_t SharedMemory::Member::used_by_others() {
  const std::lock_guard lock(memory_.mutex_);
  return memory_.shares_.used_bytes() - memory_.shares_.used_bytes(number_);
}

void SharedMemory::changed() {
  is_short_.store(shares_.is_short(clock_.now_ns()), std::memory_order_relaxed);
  for (const store::JobNumber number : shares_.take_called()) members_.at(number)->call();
}

}  // namespace rayx::node
