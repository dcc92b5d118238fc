// Who looks after what is completed for a process, and how its service thread is called. One word in shared memory:
// bit 0: a thread is awake and looks at the completion bitmap again before it goes; above it a count of calls, so that a call that
// comes just before the service thread sleeps is not lost.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/clock.hpp"
#include "base/kill_point.hpp"
#include "shm/futex.hpp"

namespace rayx::shm {

class Attendance {
 public:
  static bool is_attended(std::uint32_t word) noexcept { return (word & kAttended) != 0; }
  static bool was_called(std::uint32_t before, std::uint32_t now) noexcept { return before / kCall != now / kCall; }

  // The process's own threads.
  void reset() noexcept { word_.store(kAttended, std::memory_order_seq_cst); }
  void begin() noexcept { word_.fetch_or(kAttended, std::memory_order_seq_cst); }
  // The word that a service thread may sleep on.
  std::uint32_t end() noexcept { return word_.fetch_and(~kAttended, std::memory_order_seq_cst) & ~kAttended; }
  std::uint32_t word() const noexcept { return word_.load(std::memory_order_seq_cst); }
  void sleep(std::uint32_t word) noexcept { futex_wait(word_, word, base::kNever); }

  // Whoever leaves work in the completion bitmap: the service thread is woken if nobody attends, once.
  void call_if_unattended() noexcept {
    if (is_attended(word())) return;
    if (is_attended(word_.fetch_or(kAttended, std::memory_order_seq_cst))) return;
    RAYX_KILL_POINT("owner.call.before_futex");
    futex_wake(word_, INT32_MAX);
  }
  // The service thread looks once more, whatever it does now.
  void call() noexcept {
    word_.fetch_add(kCall, std::memory_order_seq_cst);
    RAYX_KILL_POINT("attendance.call.before_futex");
    futex_wake(word_, INT32_MAX);
  }

 private:
  static constexpr std::uint32_t kAttended = 1;
  static constexpr std::uint32_t kCall = 2;
  std::atomic<std::uint32_t> word_;
};

}  // namespace rayx::shm
