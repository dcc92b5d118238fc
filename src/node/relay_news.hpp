// What a node tells the relay of its job, by the node's thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/where.hpp"
#include "shm/node_protocol.hpp"

namespace rayx::node {

// A lane of a node and the actor that has it: lanes are used again.
struct LaneName {
  std::uint32_t lane = 0;
  std::uint32_t generation = 0;
  bool operator==(const LaneName&) const = default;
};

// Who may do the tasks of a class.
struct ClassPlaces {
  bool is_here = true;        // this node too, of its own accord
  bool is_elsewhere = false;  // others, of which
  std::uint64_t largest = 0;  // the largest has so many CPUs
};

struct RelayNews {
  enum class Kind : std::uint8_t {
    kClass,          // the relay is a member of this class's lane
    kActorMade,      // likewise of this actor's lane, and has to find a place for it
    kActorReleased,  // nobody on this node has a handle of it: the relay leaves the lane, and answers with kReleaseActor
    kMakerGone,      // the same, because the process that made it is gone
    kActorKilled,    // rayx::kill, of an actor whose lane the relay serves
    kActorEnded,     // the process of an actor of this node is gone, and no other one comes
    kLent,           // ControlHeader::lent_units or share_units has changed
  };
  Kind kind = Kind::kClass;
  LaneName lane = {};
  std::uint64_t cpu_units = 0;
  std::string name = {};     // before the lines that its process prints, and perhaps for others to find it by
  shm::ActorWish wish = {};  // of kActorMade
  base::Where where = {};    // of kActorMade and kClass
  bool is_here = true;       // of kClass: see ClassPlaces
};

}  // namespace rayx::node
