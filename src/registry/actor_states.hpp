// The states of an actor, as the head knows it, and what leads from one to the next.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "registry/messages.hpp"

namespace rayx::registry {

enum class ActorEvent : std::uint8_t {
  kHandedOut,      // a node has room for it: the next incarnation goes there
  kMade,           // the node says that its constructor is done
  kReturned,       // the node never had this incarnation, or could not start its process: nothing of it ran
  kReturnedAgain,  // the same, for an actor that had run before
  kLost,           // its process or its node is gone, it may have begun, and it has restarts left
  kEnded,          // for good
};

// Nothing where an event cannot happen: the caller has a bug.
constexpr std::optional<ActorPhase> next_phase(ActorPhase phase, ActorEvent event) {
  using enum ActorPhase;
  constexpr auto kNo = static_cast<ActorPhase>(0xff);
  constexpr std::array<std::array<ActorPhase, 6>, 5> kNext = {{
      //                 kHandedOut  kMade   kReturned  kReturnedAgain  kLost        kEnded
      /* kPending    */ {kStarting, kNo, kNo, kNo, kNo, kDead},
      /* kStarting   */ {kNo, kAlive, kPending, kRestarting, kRestarting, kDead},
      /* kAlive      */ {kNo, kNo, kNo, kNo, kRestarting, kDead},
      /* kRestarting */ {kStarting, kNo, kNo, kNo, kNo, kDead},
      /* kDead       */ {kNo, kNo, kNo, kNo, kNo, kNo},
  }};
  const ActorPhase next = kNext[static_cast<std::size_t>(phase)][static_cast<std::size_t>(event)];
  return next == kNo ? std::nullopt : std::optional(next);
}

// It has a place on a node.
constexpr bool is_placed(ActorPhase phase) { return phase == ActorPhase::kStarting || phase == ActorPhase::kAlive; }
// It waits for one.
constexpr bool is_waiting(ActorPhase phase) {
  return phase == ActorPhase::kPending || phase == ActorPhase::kRestarting;
}

}  // namespace rayx::registry
