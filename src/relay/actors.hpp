// What a relay knows about actors that more than one node of the job uses. docs/design/relay.md tells their life.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "node/relay_news.hpp"
#include "registry/messages.hpp"
#include "relay/peer.hpp"
#include "shm/lane_puller.hpp"
#include "worker/entry.hpp"

namespace rayx::relay {

// With the lane (16 bits) and its generation (32): the tag of a constructor that runs on this node, for Client::task_is_done.
// Without it a tag is a TakenRow's index.
inline constexpr std::uint64_t kConstructorTag = std::uint64_t{1} << 63;

// A call that is made again if the actor dies before it is answered.
struct KeptCall {
  shm::LanePuller::Task task;
  std::uint32_t tries_left = 0;
};

// An actor that processes of this node have handles of, and that lives elsewhere or may: its lane here is served by the relay.
struct RemoteActor {
  base::ActorId id;      // of the row: this node's own number of it
  base::ActorId target;  // the actor's number in the cluster; another one only where it was found by its name
  node::LaneName lane;
  registry::ActorPhase phase = registry::ActorPhase::kPending;  // kPending, kAlive or kDead
  registry::Incarnation incarnation = 0;
  registry::Incarnation over = 0;    // so many are over, as their node has said: they get no call
  registry::Incarnation called = 0;  // which one has what is in `calls`
  base::NodeId node;                 // kAlive: where; the alias of `site`, if that is another program's
  base::SiteId site;
  bool has_home = false;          // it lives there for ever: it was made there, and no head knows of it
  std::string how;                // kDead: what happened, for the errors of its calls
  std::set<std::uint32_t> calls;  // rows of those that are there and not answered
  std::uint32_t max_restarts = 0;
  std::uint32_t max_task_retries = 0;
  std::map<std::uint64_t, KeptCall> kept_calls;  // by order; none if they are not made again
  std::set<std::uint64_t> again;                 // of these: to be sent before any other
  std::optional<shm::LanePuller::Task> claimed;  // out of the lane, and not sent: there were news to be heard before
  bool is_sending_stream = false;                // a call's frame waits for a stream: later calls must not overtake it
  bool has_asked_for_peer = false;               // and has no answer, or asks again at `ask_at_ns`
  int failed_ways = 0;                           // one after the other
  base::TimeNs ask_at_ns = base::kNever;
  std::uint32_t proxies = 0;  // of its handle
  // The head did not know it yet: its handle came here sooner than its creation came there, which waits for its arguments.
  base::NodeId maker;  // where its handle came from
  int unknown_times = 0;
  base::TimeNs watch_at_ns = base::kNever;
  // Made on this node:
  bool is_made_here = false;
  node::RelayNews made;                 // what it is to be
  bool is_begun = false;                // its constructor was taken from the lane
  std::uint64_t constructor = 0;        // the number of its row, until it is done
  std::vector<worker::RefCell*> named;  // inside its creation; one count each, until it cannot be started any more
  std::vector<std::uint64_t> kept;      // of these the exports, by key

  // What was heard of the way to its node counts no more.
  void may_ask_for_way() {
    has_asked_for_peer = false;
    failed_ways = 0;
    ask_at_ns = base::kNever;
  }
};

// An actor that lives on this node and that others call through the relay.
struct ActorHere {
  worker::RefCell* handle = nullptr;  // one count; nullptr: it is leaving
  node::LaneName lane;
  // The head has placed it; else it was made here, and lives as long as somebody has a handle.
  bool is_placed = false;
  registry::Incarnation incarnation = 0;
  bool is_leaving = false;  // its last handle is gone: it ends after what it does
  bool is_killed = false;
};

}  // namespace rayx::relay
