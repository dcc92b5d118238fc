// Between the relay of a job on one node and the cluster: who decides where actors live, and who makes links to other nodes.
// What is said here is the registry's vocabulary; docs/design/relay.md tells the life of an actor.
//
// Without Places (no cluster, or one without a head) an actor lives on the node that made it, and a node talks to those it has
// links to.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "registry/messages.hpp"

namespace rayx::relay {

// The cluster, as a relay uses it. Any thread of the relay's, also under its lock: nothing here may wait, or call the relay back
// from inside. Lives longer than the relay.
class Places {
 public:
  virtual ~Places() = default;

  // `job` is the callee's to fill in. PlaceEvents::creation_answered follows, once.
  virtual void create_actor(registry::CreateActor request) = 0;
  // Of a living actor of the job. PlaceEvents::actor_looked_up follows, once, with the same `question`.
  virtual void look_up_actor(std::string name, std::uint64_t question) = 0;
  // For good. Nothing happens if it is dead already.
  virtual void kill_actor(registry::ActorId actor) = 0;
  // PlaceEvents::actor_changed follows at once with what is known, and for each change until the actor is dead. An actor whose
  // creation is not answered yet may be watched.
  virtual void watch_actor(registry::ActorId actor) = 0;
  virtual void unwatch_actor(registry::ActorId actor) = 0;

  // What became of PlaceEvents::start_actor and end_actor on this node: first alive, if its constructor was done, then ended.
  virtual void actor_alive(registry::ActorId actor, registry::Incarnation incarnation) = 0;
  virtual void actor_ended(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause,
                           std::string message) = 0;

  // What the head answers by itself. PlaceEvents::answered follows, once, with the same `question`.
  virtual void ask(registry::RequestBody request, std::uint64_t question) = 0;
  // PlaceEvents::subscribed follows, and then what is published, until unsubscribe. Again for the same channel: subscribed follows again.
  virtual void subscribe(std::string channel) = 0;
  virtual void unsubscribe(std::string channel) = 0;

  // A link to the job's site on that node. Relay::add_peer with that NodeId or PlaceEvents::peer_failed follows; asked again for
  // the same node before that, nothing happens.
  virtual void need_peer(registry::NodeId node) = 0;
  // The same for a site of another program: Relay::add_peer or peer_failed with its alias.
  virtual void need_site(const base::SiteId& site) = 0;
};

// What the cluster tells the relay, which implements it. Any thread; takes the relay's lock, and some ask the node's thread for
// a moment, so not by that thread.
class PlaceEvents {
 public:
  // kOk with the actor's number, which is another's where CreateActor::get_if_exists found one; or why there is no such actor: its
  // calls fail with the message.
  virtual void creation_answered(registry::ActorId actor, const registry::Answer& answer) = 0;
  virtual void actor_looked_up(std::uint64_t question, const registry::Answer& answer) = 0;
  virtual void actor_changed(const registry::ActorState& state) = 0;
  // The head has given it this node. Places::actor_alive and actor_ended say what becomes of it.
  virtual void start_actor(const registry::PlaceActor& place) = 0;
  // Its process is to go at once. actor_ended follows, unless it was said before.
  virtual void end_actor(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause) = 0;
  virtual void answered(std::uint64_t question, const registry::Answer& answer) = 0;
  // Refused: there are too many channels, and nothing comes.
  virtual void subscribed(const std::string& channel, bool is_refused) = 0;
  // On a channel that was subscribed to. Missed: behind what was published before; nothing: nobody knows how many.
  virtual void published(const registry::Published& message) = 0;
  virtual void missed(const std::string& channel, std::optional<std::uint64_t> count) = 0;
  // A node of the cluster is there, drains, or is dead. What is known is said at first.
  virtual void node_changed(const registry::NodeView& node) = 0;
  // The node that need_peer asked for cannot be reached, or has no site of the job and never will: `why`, for messages.
  virtual void peer_failed(registry::NodeId node, const std::string& why) = 0;

 protected:
  ~PlaceEvents() = default;
};

}  // namespace rayx::relay
