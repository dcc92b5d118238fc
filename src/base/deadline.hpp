// The time-out of a wait that the operating system does: a poll() on a pipe or a pidfd. Real time, because the kernel's is.
#pragma once

#include <algorithm>
#include <chrono>

#include "base/clock.hpp"

namespace rayx::base {

class Deadline {
 public:
  explicit Deadline(std::chrono::milliseconds timeout) : at_ns_(SteadyClock().now_ns() + timeout.count() * 1'000'000) {}

  // What poll() takes: milliseconds that are left, rounded up, 0 when it has passed.
  int left_ms() const {
    const TimeNs left_ns = at_ns_ - SteadyClock().now_ns();
    return static_cast<int>(std::clamp<TimeNs>((left_ns + 999'999) / 1'000'000, 0, 1'000'000'000));
  }
  bool has_passed() const { return left_ms() == 0; }

 private:
  TimeNs at_ns_;
};

}  // namespace rayx::base
