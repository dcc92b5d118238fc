// When a decider is to be called next: at its deadline, which each of its events may move.
#pragma once

#include <functional>
#include <utility>

#include "base/clock.hpp"
#include "wire/loop.hpp"

namespace rayx::head {

// Loop's thread.
class DeciderTimer {
 public:
  DeciderTimer(wire::Loop& loop, std::function<base::TimeNs()> deadline, std::function<void(base::TimeNs now_ns)> tick)
      : loop_(loop), deadline_(std::move(deadline)), tick_(std::move(tick)) {}
  ~DeciderTimer() { loop_.cancel(timer_); }
  DeciderTimer(const DeciderTimer&) = delete;
  DeciderTimer& operator=(const DeciderTimer&) = delete;

  // After each event of the decider. A deadline that moved away costs nothing: it is looked at when the old one comes.
  void set() {
    const base::TimeNs at_ns = deadline_();
    if (timer_ != 0 && timer_at_ns_ <= at_ns) return;
    loop_.cancel(std::exchange(timer_, 0));
    if (at_ns == base::kNever) return;
    timer_at_ns_ = at_ns;
    timer_ = loop_.call_at(at_ns, [this] {
      timer_ = 0;
      if (loop_.now_ns() >= deadline_()) tick_(loop_.now_ns());
      set();
    });
  }

 private:
  wire::Loop& loop_;
  const std::function<base::TimeNs()> deadline_;
  const std::function<void(base::TimeNs)> tick_;
  wire::TimerId timer_ = 0;
  base::TimeNs timer_at_ns_ = base::kNever;
};

}  // namespace rayx::head
