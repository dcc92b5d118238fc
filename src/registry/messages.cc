#include "registry/messages.hpp"

namespace rayx::registry {

const char* to_text(ActorPhase phase) {
  switch (phase) {
    case ActorPhase::kPending: return "PENDING";
    case ActorPhase::kStarting: return "STARTING";
    case ActorPhase::kAlive: return "ALIVE";
    case ActorPhase::kRestarting: return "RESTARTING";
    case ActorPhase::kDead: return "DEAD";
  }
  return "unknown";
}

const char* to_text(EndCause cause) {
  switch (cause) {
    case EndCause::kNone: return "none";
    case EndCause::kKilled: return "killed";
    case EndCause::kCrashed: return "crashed";
    case EndCause::kConstructorFailed: return "its constructor failed";
    case EndCause::kNoProcess: return "its process could not be started";
    case EndCause::kNodeDied: return "its node is gone";
    case EndCause::kOwnerDied: return "the process that made it is gone";
    case EndCause::kJobEnded: return "its job has ended";
  }
  return "unknown";
}

}  // namespace rayx::registry
