#include "shm/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.hpp"

namespace rayx::shm {
namespace {

// The futex operations without FUTEX_PRIVATE_FLAG: the word is shared between processes.
long futex(const std::atomic<std::uint32_t>& word, int operation, std::uint32_t value, const timespec* timeout) {
  return ::syscall(SYS_futex, reinterpret_cast<const std::uint32_t*>(&word), operation, value, timeout, nullptr, 0);
}

}  // namespace

WaitOutcome futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, base::TimeNs timeout_ns) {
  timespec timeout{};
  const timespec* limit = nullptr;
  if (timeout_ns != base::kNever) {
    if (timeout_ns <= 0) return WaitOutcome::kTimedOut;
    timeout.tv_sec = timeout_ns / 1'000'000'000;
    timeout.tv_nsec = timeout_ns % 1'000'000'000;
    limit = &timeout;
  }
  if (futex(word, FUTEX_WAIT, expected, limit) == 0) return WaitOutcome::kWoken;
  switch (errno) {
    case EAGAIN: return WaitOutcome::kValueDiffers;
    case EINTR: return WaitOutcome::kWoken;
    case ETIMEDOUT: return WaitOutcome::kTimedOut;
    default: break;
  }
  RAYX_CHECK(false, "futex wait failed with errno", errno);
  return WaitOutcome::kWoken;
}

void futex_wake(const std::atomic<std::uint32_t>& word, int count) {
  futex(word, FUTEX_WAKE, static_cast<std::uint32_t>(count), nullptr);
}

}  // namespace rayx::shm
