// How many tasks of one class may be at another node unfinished. As many as it has CPUs for, and as many more as keep it busy
// during the way there and back: long tasks wait where they can still go elsewhere, short ones fill the link.
//
// The window is steered by the time that one windowful takes: below `kTurnShort_ns` it doubles, above `kTurnLong_ns` it halves,
// never below one task for each CPU. A task of 1 s has a window of one per CPU, one of 1 us one of `kWindowMax`.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/clock.hpp"

namespace rayx::sched {

class Window {
 public:
  static constexpr std::uint32_t kWindowMax = 1024;
  static constexpr base::TimeNs kTurnShort_ns = 1'000'000;
  static constexpr base::TimeNs kTurnLong_ns = 4'000'000;

  // The CPUs there allow `slots` tasks of the class at a time. 0: nothing is to be sent; what is there goes on.
  void set_slots(std::uint32_t slots) {
    slots_ = slots;
    size_ = std::clamp(size_, slots, std::max(slots, kWindowMax));
  }
  std::uint32_t slots() const { return slots_; }
  std::uint32_t size() const { return size_; }
  void begin_anew() { size_ = slots_; }
  std::uint32_t outstanding() const { return outstanding_; }
  // How many more may be sent now.
  std::uint32_t room() const { return slots_ == 0 || outstanding_ >= size_ ? 0 : size_ - outstanding_; }

  void sent(base::TimeNs now_ns) {
    if (outstanding_++ == 0) begin_turn(now_ns);
  }
  // A result came back. Not for tasks that were given back: those say nothing about their length.
  void finished(base::TimeNs now_ns) {
    forgotten();
    if (++finished_ < size_) return;
    const base::TimeNs turn_ns = now_ns - turn_began_ns_;
    if (turn_ns < kTurnShort_ns) {
      size_ = std::min(size_ * 2, std::max(slots_, kWindowMax));
    } else if (turn_ns > kTurnLong_ns) {
      size_ = std::max(size_ / 2, std::max(slots_, 1u));
    }
    begin_turn(now_ns);
  }
  // One was asked back, for others have nothing to do: its tasks are longer than those before it.
  void recalled() {
    forgotten();
    size_ = std::max(size_ / 2, std::max(slots_, 1u));
  }
  // Beyond what can be running there.
  std::uint32_t surplus() const { return outstanding_ > slots_ ? outstanding_ - slots_ : 0; }
  void forgotten() {
    if (outstanding_ > 0) --outstanding_;
  }

 private:
  void begin_turn(base::TimeNs now_ns) {
    turn_began_ns_ = now_ns;
    finished_ = 0;
  }

  std::uint32_t slots_ = 0;
  std::uint32_t size_ = 0;
  std::uint32_t outstanding_ = 0;
  std::uint32_t finished_ = 0;
  base::TimeNs turn_began_ns_ = 0;
};

}  // namespace rayx::sched
