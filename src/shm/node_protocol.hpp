// What a process may ask its node, or tell it, through the cells of node_calls.hpp.
#pragma once

#include <cstdint>

namespace rayx::shm {

// "-> a, b" are results of a question; the others are notices. Result 0 of a question is its NodeAnswer.
enum class NodeQuestion : std::uint32_t {
  kFindClass = 1,  // cpu units (1/10000), offset and bytes of an encoded base::Where -> answer, lane
  kCreateActor,    // cpu units, offset and bytes of an ActorWish -> answer, generation << 32 | lane
  kReleaseActor,   // lane, generation: nobody can call it any more. Of a relay: it has left the lane
  kKillActor,      // lane, generation                     -> answer (when the process is gone)
  kLeaseExtent,    // bytes                                -> answer, offset
  kLeaseSlab,      //                                      -> answer | serial << 8, offset
  kRelease,        // offset of an extent or slab
  kDemand,         // lane: there is work and nobody free to do it
  kBlocked,        // owner slot, record: the executor waits inside a task. -> answer, only if it is in vain
  kResumed,        // it runs again
  kLeftLane,       // lane + 1 that the executor served before
  kStays,          // it was asked to leave, and others use what it owns
  kOpenActorLane,  // relay: a lane for an actor that lives elsewhere -> answer, generation << 32 | lane
  kEndActor,       // lane, generation: as kKillActor, and nobody waits
};

enum class NodeAnswer : std::uint64_t {
  kOk = 0,
  kInfeasible =
      1,  // more CPUs than any node has that may do it; result 1: cpu units of the largest, UINT64_MAX: there is none
  kTooMany = 2,      // the limit of classes or actors is reached
  kStoreFull = 3,    // not within the time-out; result 1: bytes leased
  kGone = 4,         // no such actor any more
  kWorkerLimit = 5,  // all workers wait for each other
  kShuttingDown = 6,
  kRefused = 7,    // the arguments make no sense
  kNoCluster = 8,  // there is nobody who would find it by its name, or start it again
};

// What an actor is to be, in a block of the asker's; its name follows, and where it may be.
struct ActorWish {
  static constexpr std::uint32_t kIsNamed = 1;      // others may ask for it by its name; else that is for people
  static constexpr std::uint32_t kGetIfExists = 2;  // one that has the name already is as good
  static constexpr std::uint32_t kIsDetached = 4;   // it outlives this program; named
  std::uint32_t max_restarts = 0;                   // UINT32_MAX: for ever. So below
  std::uint32_t max_task_retries = 0;
  std::uint32_t flags = 0;
  std::uint32_t name_bytes = 0;
  std::uint32_t where_bytes = 0;  // of an encoded base::Where, behind the name
  std::uint32_t reserved = 0;
};
inline constexpr std::uint32_t kActorNameBytesMax = 255;

inline constexpr std::uint32_t kCpuUnits = 10'000;  // of one CPU

}  // namespace rayx::shm
