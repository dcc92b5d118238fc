// Time is handed in. steady_clock is read in clock.cc only; tests and the simulator move a ManualClock.
#pragma once

#include <chrono>
#include <cstdint>

namespace rayx::base {

using TimeNs = std::int64_t;  // Nanoseconds since an arbitrary start; never goes back.
inline constexpr TimeNs kNever = INT64_MAX;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimeNs now_ns() const = 0;
};

class SteadyClock final : public Clock {
 public:
  TimeNs now_ns() const override;
};

class ManualClock final : public Clock {
 public:
  TimeNs now_ns() const override { return now_ns_; }
  void advance_ns(TimeNs step_ns) { now_ns_ += step_ns; }

 private:
  TimeNs now_ns_ = 0;
};

}  // namespace rayx::base
