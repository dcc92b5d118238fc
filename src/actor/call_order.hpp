// The order of one actor's calls as one process makes them: which call may be handed to the actor now, which stands behind
// another, and when the handle may be let go. Each caller (a thread of this process) has a line of its own: a call whose
// argument is not there holds back the later ones of its caller and nobody else's. No I/O, no clock, no threads: whoever calls
// holds a lock, and the same code runs in the simulator. The actor's constructor is a call like others, of a caller of its own.
//
// A call that is held back leaves its line in one of three ways, and is named once in each case:
//
//   waiting --ready--> ready --all before it have left--> handed over
//      |                 |
//      |                 +--end of the actor--> take_failed
//      +--failed: an argument, no memory--> gone   (likewise take_failed, at the actor's end)
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/check.hpp"
#include "base/planted_bug.hpp"

namespace rayx::actor {

struct Call {
  std::uint32_t index = 0;
  std::uint32_t generation = 0;  // an index is used again
  bool operator==(const Call&) const = default;
};
using Caller = std::uint64_t;

class CallOrder {
 public:
  // Where a call stands that is held back. Its world keeps this until the call has left.
  struct Place {
    Caller caller = 0;
    std::uint64_t number = 0;
  };

  // Nothing is held back: a call that is ready is handed over with `handed_over` alone. The fast path.
  bool is_clear() const noexcept { return lines_.empty(); }
  // A call of this caller that is ready stands behind nobody.
  bool is_clear(Caller caller) const { return !lines_.contains(caller) || RAYX_PLANTED_BUG(301); }

  // The caller of this has handed `call` to the actor: it was ready, and its line was clear.
  void handed_over(Call call) noexcept { last_ = call; }

  // `call` waits, for an argument or behind one that does. `ready` or `failed` follows for it.
  Place hold(Caller caller, Call call) {
    RAYX_DCHECK(!is_ended_, "a call is held back for an actor that has ended", call.index);
    Line& line = lines_[caller];
    line.calls.push_back({call, State::kWaiting});
    return {caller, line.first + line.calls.size() - 1};
  }

  // Nothing that the call needs is missing. `hand_over(Call)` is called for it and for those that stood behind it, in order, as
  // far as they are ready; it must not come back here.
  template <class HandOver>
  void ready(const Place& place, HandOver&& hand_over) {
    settle(place, State::kReady, hand_over);
  }

  // The call has been completed otherwise: nobody waits for it any more. Harmless for one that has left.
  template <class HandOver>
  void failed(const Place& place, HandOver&& hand_over) {
    settle(place, State::kGone, hand_over);
  }

  // The actor's end is known. Nothing is handed over any more; `take_failed` names each call that was held back, to be failed,
  // until it names none. The calls that were handed over are their queue's.
  void end() {
    is_ended_ = true;
    is_telling_ = true;
  }
  bool is_ended() const noexcept { return is_ended_; }
  std::optional<Call> take_failed() {
    while (!lines_.empty()) {
      const auto at = lines_.begin();
      Line& line = at->second;
      while (!line.calls.empty()) {
        const Held held = line.calls.front();
        line.pop();
        if (held.state == State::kGone || (held.state == State::kWaiting && RAYX_PLANTED_BUG(302))) continue;
        if (line.calls.empty()) lines_.erase(at);
        return held.call;
      }
      lines_.erase(at);
    }
    is_telling_ = false;
    return std::nullopt;
  }

  // Nobody has a reference to a handle any more. True: it may be let go, else `may_let_go` is asked again whenever a call is done.
  // `is_done(Call)` is asked about the last call that was made before; the actor runs them in order, so all are done then. If
  // it says no, it has to see to it that the end of that call is heard of. Calls by other handles of the actor may follow.
  template <class IsDone>
  bool drop(IsDone&& is_done) {
    is_dropping_ = true;
    knows_last_before_ = false;
    return may_let_go(is_done);
  }
  template <class IsDone>
  bool may_let_go(IsDone&& is_done) {
    if (!is_dropping_ || (is_telling_ && !RAYX_PLANTED_BUG(303))) return false;
    if (!lines_.empty() && !RAYX_PLANTED_BUG(304)) return false;
    if (!std::exchange(knows_last_before_, true)) last_before_ = last_;
    if (!is_ended_ && last_before_ && !RAYX_PLANTED_BUG(305) && !is_done(*last_before_)) return false;
    is_dropping_ = false;
    return true;
  }
  // A handle came back (its name was in a result) before or after it was let go.
  void revive() noexcept {
    if (!RAYX_PLANTED_BUG(306)) is_dropping_ = false;
  }
  bool is_dropping() const noexcept { return is_dropping_; }

 private:
  enum class State : std::uint8_t { kWaiting, kReady, kGone };
  struct Held {
    Call call;
    State state;
  };
  // Never empty between two calls; so a clear actor has no line at all.
  struct Line {
    std::deque<Held> calls;
    std::uint64_t first = 0;  // number of the call in front
    void pop() {
      calls.pop_front();
      ++first;
    }
  };

  template <class HandOver>
  void settle(const Place& place, State state, HandOver&& hand_over) {
    const auto found = lines_.find(place.caller);
    if (found == lines_.end() || place.number < found->second.first) return;  // it has left
    Line& line = found->second;
    line.calls[place.number - line.first].state = state;
    if (is_ended_) return;  // `take_failed` comes by
    if (RAYX_PLANTED_BUG(307) && state == State::kGone) return;
    while (!line.calls.empty() && line.calls.front().state != State::kWaiting) {
      const Held held = line.calls.front();
      line.pop();
      if (held.state == State::kGone) continue;
      last_ = held.call;
      hand_over(held.call);
      if (RAYX_PLANTED_BUG(308)) break;
    }
    if (line.calls.empty()) lines_.erase(found);
  }

  std::unordered_map<Caller, Line> lines_;
  std::optional<Call> last_;         // handed over
  std::optional<Call> last_before_;  // the same when the handle was dropped and nothing was held back
  bool knows_last_before_ = false;
  bool is_ended_ = false;
  bool is_telling_ = false;   // `take_failed` has not named all yet: whoever fails them still needs the handle
  bool is_dropping_ = false;  // a handle has no reference left, and calls are not done
};

}  // namespace rayx::actor
