// What this thread has used of a CPU: other processes of the machine do not count.
#pragma once

#include <time.h>

#include <algorithm>

#include "base/clock.hpp"

namespace rayx::sim {

inline base::TimeNs thread_cpu_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);  // tidy: allow no-clock: measures, decides nothing
  return static_cast<base::TimeNs>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

// What reading the clock twice costs, to be taken off each measurement.
inline base::TimeNs cpu_clock_cost_ns() {
  static const base::TimeNs cost_ns = [] {
    base::TimeNs least = 1'000'000;
    for (int i = 0; i < 10'000; ++i) {
      const base::TimeNs before = thread_cpu_ns();
      least = std::min(least, thread_cpu_ns() - before);
    }
    return least;
  }();
  return cost_ns;
}

}  // namespace rayx::sim
