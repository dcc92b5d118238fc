// How a process waits for another: pause, then give the core away, then sleep.
// Measured on two cores: pausing longer than about 2 us costs the whole budget whenever processes outnumber cores, yielding
// costs 0.5 us a turn and lets the other side run, and a sleep costs 25 us a round trip. So: pause for about 1 us, yield up
// to about 100 us, then the caller sleeps on a futex.
#pragma once

#include <sched.h>

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rayx::shm {

inline void cpu_relax() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

class Backoff {
 public:
  // `pauses_max` 0 yields at once: right after waking another process, which may have landed on this core.
  explicit Backoff(std::uint32_t pauses_max = kPausesMax, std::uint32_t yields_max = kYieldsMax) noexcept
      : pauses_max_(pauses_max), yields_max_(yields_max) {}

  // One turn of waiting. False: the budget is used up and the caller should sleep.
  bool wait_once() noexcept {
    if (turns_ < pauses_max_) {
      cpu_relax();
    } else if (turns_ < pauses_max_ + yields_max_) {
      ::sched_yield();
    } else {
      return false;
    }
    ++turns_;
    return true;
  }
  void reset() noexcept { turns_ = 0; }
  bool is_pausing() const noexcept { return turns_ < pauses_max_; }

#ifdef RAYX_SIMULATED  // nobody else goes on while one pauses
  static constexpr std::uint32_t kPausesMax = 0;
  static constexpr std::uint32_t kYieldsMax = 1;
#else
  static constexpr std::uint32_t kPausesMax = 40;   // about 1 us at 25 ns a pause
  static constexpr std::uint32_t kYieldsMax = 200;  // about 100 us at 0.5 us a yield
#endif

 private:
  std::uint32_t pauses_max_;
  std::uint32_t yields_max_;
  std::uint32_t turns_ = 0;
};

}  // namespace rayx::shm
