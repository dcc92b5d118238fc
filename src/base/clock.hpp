// Time is handed in. steady_clock is read in clock.cc only; tests and the simulator move a ManualClock.
#pragma once

#include <chrono>
#include <cstdint>

namespace rayx::base {

using TimeNs = std::int64_t;  // Nanoseconds since an arbitrary start; never goes back.
inline constexpr TimeNs kNever = INT64_MAX;

// When a wait that begins at `now` and may take `timeout` is over. kNever for a time-out that lies beyond what can be counted.
constexpr TimeNs deadline_ns(TimeNs now, std::chrono::nanoseconds timeout) {
  return timeout.count() > kNever - now ? kNever : now + timeout.count();
}

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
