#include "worker/owner_mutex.hpp"

#include <linux/membarrier.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <thread>

#include "base/check.hpp"

namespace rayx::worker {
namespace {

bool membarrier(int command) noexcept { return ::syscall(SYS_membarrier, command, 0, 0) == 0; }

// ThreadSanitizer knows nothing of membarrier and would report each meeting.
#if defined(__SANITIZE_THREAD__)
constexpr bool kIsPossible = false;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
constexpr bool kIsPossible = false;
#else
constexpr bool kIsPossible = true;
#endif
#else
constexpr bool kIsPossible = true;
#endif

}  // namespace

std::atomic<bool> OwnerMutex::is_bias_allowed_{false};

void OwnerMutex::allow_bias() noexcept {
  static std::atomic<bool> is_asked{false};
  if (!kIsPossible || is_asked.exchange(true)) return;
  const auto ask = [] {
    if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
      is_bias_allowed_.store(true, std::memory_order_relaxed);
  };
  if (__libc_single_threaded != 0) return ask();
  try {
    std::thread(ask).detach();
  } catch (const std::system_error&) {  // no thread to be had: an ordinary mutex then
  }
}

void OwnerMutex::withdraw_bias() noexcept {
  bias_.store(kNobody, std::memory_order_relaxed);
  RAYX_CHECK(
      membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED),
      "membarrier(2) was allowed when the runtime started and is refused now: a seccomp filter that is set later must "
      "allow it",
      errno);
  shm::Backoff backoff;
  while (inside_.load(std::memory_order_acquire))
    if (!backoff.wait_once()) backoff.reset();
  run_needed_ = std::min(run_needed_ * 2, kRunMax);
  run_ = 0;
}

void OwnerMutex::lock_slowly() noexcept {
  shm::Backoff backoff(shm::Backoff::kPausesMax, kYields);
  while (backoff.wait_once()) {
    std::uint32_t expected = kFree;
    if (word_.load(std::memory_order_relaxed) == kFree &&
        word_.compare_exchange_strong(expected, kTaken, std::memory_order_acquire, std::memory_order_relaxed))
      return;
  }
  while (word_.exchange(kWanted, std::memory_order_acquire) != kFree) shm::futex_wait(word_, kWanted, base::kNever);
}

}  // namespace rayx::worker
