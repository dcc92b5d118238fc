// The one lock of a process's own books. Held for some ten nanoseconds on the fast path and taken twice for each task, so it is
// one exchange each way; a thread that finds it taken spins a little, then sleeps.
#pragma once

#include <atomic>
#include <cstdint>

#include "shm/backoff.hpp"
#include "shm/futex.hpp"

namespace rayx::worker {

class OwnerMutex {
 public:
  void lock() noexcept {
    std::uint32_t expected = kFree;
    if (word_.compare_exchange_strong(expected, kTaken, std::memory_order_acquire, std::memory_order_relaxed))
        [[likely]]
      return;
    lock_slowly();
  }
  bool try_lock() noexcept {
    std::uint32_t expected = kFree;
    return word_.compare_exchange_strong(expected, kTaken, std::memory_order_acquire, std::memory_order_relaxed);
  }
  void unlock() noexcept {
    if (word_.exchange(kFree, std::memory_order_release) == kWanted) [[unlikely]]
      shm::futex_wake(word_, 1);
  }

 private:
  enum : std::uint32_t { kFree, kTaken, kWanted };
  static constexpr std::uint32_t kYields = 20;

  void lock_slowly() noexcept {
    shm::Backoff backoff(shm::Backoff::kPausesMax, kYields);
    while (backoff.wait_once())
      if (word_.load(std::memory_order_relaxed) == kFree && try_lock()) return;
    while (word_.exchange(kWanted, std::memory_order_acquire) != kFree) shm::futex_wait(word_, kWanted, base::kNever);
  }

  std::atomic<std::uint32_t> word_{kFree};
};

}  // namespace rayx::worker
