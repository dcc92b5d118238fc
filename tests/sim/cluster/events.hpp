// Simulated time: what happens, in the order of its time; what happens at one time, in the order in which it was asked for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "base/clock.hpp"

namespace rayx::sim {

using base::TimeNs;

inline constexpr TimeNs kMillisecond = 1'000'000;
inline constexpr TimeNs kSecond = 1'000'000'000;

// The one source of chance of a run.
class Chance {
 public:
  explicit Chance(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ull + 0x1234567) {}
  std::uint64_t bits() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t end) { return bits() % end; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  TimeNs between(TimeNs from, TimeNs to) {
    return from + static_cast<TimeNs>(below(static_cast<std::uint64_t>(to - from) + 1));
  }

 private:
  std::uint64_t state_;
};

class Events {
 public:
  TimeNs now() const { return now_; }
  void at(TimeNs when, std::function<void()> what) {
    heap_.push_back({std::max(when, now_), ++count_, std::move(what)});
    std::push_heap(heap_.begin(), heap_.end(), is_later);
  }
  void after(TimeNs delay, std::function<void()> what) { at(now_ + delay, std::move(what)); }
  // Runs the next one, unless it lies behind `until`. False: there was none; the time is `until` then.
  bool step(TimeNs until) {
    if (heap_.empty() || heap_.front().when > until) {
      now_ = until;
      return false;
    }
    std::pop_heap(heap_.begin(), heap_.end(), is_later);
    Event event = std::move(heap_.back());
    heap_.pop_back();
    now_ = event.when;
    event.what();
    return true;
  }

 private:
  struct Event {
    TimeNs when;
    std::uint64_t order;
    std::function<void()> what;
  };
  static bool is_later(const Event& a, const Event& b) {
    return a.when != b.when ? a.when > b.when : a.order > b.order;
  }

  TimeNs now_ = kSecond;  // not 0, which could pass for "never set"
  std::uint64_t count_ = 0;
  std::vector<Event> heap_;
};

}  // namespace rayx::sim
