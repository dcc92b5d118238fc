// What a relay knows about objects that more than one node of the job uses. docs/design/relay.md has the rules.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/cluster_ids.hpp"
#include "relay/peer.hpp"
#include "worker/entry.hpp"

namespace rayx::relay {

// An object by the name that holds on every node of the job.
struct RemoteKey {
  base::NodeId origin;
  std::uint64_t key = 0;  // ObjectKey there
  auto operator<=>(const RemoteKey&) const = default;
};

// An object of this node that others know. It has a hold as long as one of them does.
struct Export {
  worker::Index index = worker::kNoIndex;
  worker::RefCell* cell = nullptr;        // one count
  std::map<PeerId, std::uint64_t> named;  // how often it was named there, less what was given back. Never 0
  struct Waiting {
    PeerId peer;
    bool is_direct;  // see FetchHead
  };
  std::vector<Waiting> waiting;  // have asked for its value
  // Who has a copy of its value, or is getting one. See spread.cc.
  struct Copy {
    PeerId peer;
    std::uint32_t level;      // so many copies are sent one after the other until it has its own
    std::uint32_t followers;  // who get theirs from it
  };
  std::vector<Copy> copies;
  std::set<PeerId> has_asked;  // for its value, ever
  std::uint32_t kept = 0;      // how often it is named in creations of actors that may still be started
  base::ActorId actor;         // of a handle of an actor that lives here, and that no head knows
};

// An object of another node, as this one knows it. The entry is freed when nothing here uses it; then what was named to this node is
// given back, and the row goes.
struct Proxy {
  RemoteKey object;
  worker::Index index = worker::kNoIndex;  // kNoIndex: freed, and the row waits for the answer to its question
  std::map<PeerId, std::uint64_t> named;   // how often its origin has named it, by the link. Empty: no hold there yet
  bool is_asking = false;                  // the origin, for a hold of this node's own
  std::vector<PeerId> lenders;             // who have named it and hold it until then
  std::map<PeerId, std::uint64_t> lent;    // named to nodes that have not got a hold of their own yet
  worker::RefCell* lent_cell = nullptr;    // one count as long as `lent` has any
  bool is_wanted = false;
  bool is_fetching = false;
  bool is_done = false;
  bool is_cut_off = false;  // its origin is gone for this node
  bool is_foreign = false;  // its origin is another program's: others know it as this site's object
  bool has_handle = false;  // it is an actor's
  base::ActorId actor;      // see NameEntry
  base::NodeId home;
  // An argument of tasks, which came by name:
  struct Task {
    std::uint32_t row;
    std::uint64_t number;
    PeerId peer;
  };
  std::uint64_t bytes = 0;             // of its value; 0: it is none
  std::uint64_t result_of = 0;         // ObjectKey of the record that waits for its value; see Relay::elsewhere_
  std::uint64_t coming_bytes = 0;      // as `bytes`, while it was sent for and has not come
  std::vector<Task> tasks;             // that wait for it
  std::optional<ReturnReason> failed;  // it could not come, and is an error
  base::NodeId copy_from;              // who was asked for it instead of the origin
  std::vector<PeerId> copies_wanted;   // who have asked this node for it
  int tries = 0;                       // of the fetch, that found no memory
  base::TimeNs fetch_at_ns = base::kNever;
};

}  // namespace rayx::relay
