// What must hold between the parts of a cluster.
#include <algorithm>

#include "cluster.hpp"

namespace rayx::sim {

using registry::is_placed;
using registry::is_waiting;

// A node is asked to start an incarnation. From here on it may run it.
void Cluster::check_place_is_free(const MemberProcess& process, const registry::PlaceActor& place) {
  Resources sum = place.resources;
  for (const auto& [placement, body] : process.bodies()) sum += body.resources;
  if (!sum.fits_in(process.member().identity().resources)) fail("resources of a node were given twice");
  for (const auto& [id, other] : processes_) {
    for (const auto& [placement, body] : other->bodies()) {
      if (placement.first != place.actor) continue;
      // Only the earlier one of two may still run, or begin, on a node that was given up and has not heard of it.
      const MemberProcess& earlier = placement.second < place.incarnation ? *other : process;
      if (other.get() == &process) {
        fail("a node was given an actor that it has");
      } else if (!truth_.has("dead/" + base::to_text(earlier.member().identity().node))) {
        fail("an actor was handed out while it runs on a node that is a member: incarnation " +
             std::to_string(place.incarnation) + " to " + base::to_text(process.member().identity().node) +
             ", incarnation " + std::to_string(placement.second) + " runs on " +
             base::to_text(other->member().identity().node) + " state " + std::to_string(static_cast<int>(body.state)) +
             (other->member().is_joined() ? " joined" : " not joined"));
      }
    }
  }
  for (const auto& selector : place.creation.empty() ? std::vector<base::LabelSelector>{} : selectors_of(place.actor))
    if (!base::matches(process.member().identity().labels, selector))
      fail("an actor was placed on a node with other labels");
}

// The head gives up a member. It must have a reason that lies with the member, not with the head: neither its start, nor its own
// standing still, nor its disk.
void Cluster::check_death(NodeId node, const std::string& record) {
  constexpr TimeNs kLongAgo = 6 * kSecond;
  const std::string reason = registry::from_bytes<registry::DeadRecord>(record)->reason;
  if (!reason.starts_with("it was silent") && !reason.starts_with("its connection")) return;
  for (const auto& [id, process] : processes_)
    if (process->member().identity().node == node && !process->member().is_over() &&
        network_.disturbed_until(process->host()) < now() - kLongAgo && !network_.is_frozen(process->host()) &&
        !network_.is_cut(kHeadHost, process->host()))
      fail("a member was given up without a reason: " + reason + "; host " + std::to_string(process->host()) +
           " was left in peace for " +
           std::to_string((now() - network_.disturbed_until(process->host())) / kMillisecond) + " ms");
}

std::vector<base::LabelSelector> Cluster::selectors_of(ActorId actor) const {
  const auto found = truth_.pairs().find(registry::spec_key(actor));
  if (found == truth_.pairs().end()) return {};
  return registry::from_bytes<registry::ActorSpec>(found->second)->creation.selectors;
}

void Cluster::check_quiet() {
  if (!truth_.problem().empty()) return;
  check_members();
  check_actors();
  truth_.check_end();
}

void Cluster::check_members() {
  registry::Head& head = head_->head();
  std::map<NodeId, registry::NodeView> views;
  for (const auto& view : head.nodes()) views[view.node] = view;
  std::size_t members = 0;
  for (const auto& [id, process] : processes_) {
    const registry::Member& member = process->member();
    const std::string name = process->is_driver() ? "a driver" : "a node";
    if (!member.open_requests().empty())
      return fail("a request was never answered: kind " +
                  std::to_string(member.open_requests().begin()->second.index()) + " number " +
                  std::to_string(member.open_requests().begin()->first) +
                  (member.is_joined() ? " joined " : " not joined ") + name + " " + std::to_string(process->me()) +
                  " is over " + std::to_string(member.is_over()));
    if (!process->pending().empty()) return fail("a request was dropped without an answer");
    if (!member.is_joined()) return fail(name + " has not joined in the end");
    ++members;
    if (!views.contains(member.identity().node)) return fail("the head does not know " + name);
    if (member.nodes() != views) return fail(name + "'s view is not the head's");
    for (const JobId job : member.jobs()) {
      const auto record = truth_.pairs().find(registry::job_key(job));
      const bool is_alive =
          record != truth_.pairs().end() && !registry::from_bytes<registry::JobRecord>(record->second)->is_ended;
      const bool has_actor = std::any_of(process->bodies().begin(), process->bodies().end(),
                                         [&](const auto& it) { return it.second.job == job && it.second.is_detached; });
      if (!is_alive && !has_actor) return fail(name + " still serves a job that has ended");
    }
    for (const auto& [channel, position] : process->channels())
      if (position.last != "the last word" && member.is_subscribed(channel))
        return fail("a subscriber did not hear the last word of " + channel);
  }
  if (members != views.size()) return fail("the head counts members that are not there");
  for (const auto& [key, value] : truth_.pairs())
    if (key.starts_with("node/") && !views.contains(*base::parse_node_id(std::string_view(key).substr(5))))
      return fail("a record of a member is left");
}

void Cluster::check_actors() {
  registry::Head& head = head_->head();
  std::map<ActorId, registry::Head::ActorInfo> actors;
  for (const auto& info : head.actors()) actors[info.actor] = info;
  for (const auto& [id, process] : processes_) {
    for (const auto& [placement, body] : process->bodies()) {
      if (truth_.was_killed(placement.first, placement.second)) return fail("an actor runs whose end was acknowledged");
      const auto found = actors.find(placement.first);
      if (found == actors.end() || found->second.phase != ActorPhase::kAlive ||
          found->second.incarnation != placement.second || found->second.node != process->member().identity().node)
        return fail("an actor runs that the head does not have there: " +
                    std::string(found == actors.end() ? "unknown" : registry::to_text(found->second.phase)));
      if (body.state != MemberProcess::Body::State::kAlive) return fail("an actor is alive that is not");
      actors.erase(found);
    }
    for (const auto& [actor, state] : process->watched()) {
      if (!process->member().is_watching(actor)) continue;
      for (const auto& info : head.actors())
        if (info.actor == actor &&
            (info.phase != state.phase || info.incarnation != state.incarnation || info.node != state.node))
          return fail("a watcher does not know the state of an actor");
    }
  }
  for (const auto& [id, info] : actors) {
    if (is_placed(info.phase))
      return fail("an actor is placed and runs nowhere: " + std::string(registry::to_text(info.phase)));
    if (!is_waiting(info.phase)) continue;
    ++outcome_.counts.waited_for_ever;
    const auto spec = registry::from_bytes<registry::ActorSpec>(truth_.pairs().at(registry::spec_key(id)));
    for (const MemberProcess* node : living(false)) {
      Resources free = node->member().identity().resources;
      for (const auto& [placement, body] : node->bodies()) free -= body.resources;
      const auto& selectors = spec->creation.selectors;
      if (spec->creation.resources.fits_in(free) &&
          std::all_of(selectors.begin(), selectors.end(),
                      [&](const auto& it) { return base::matches(node->member().identity().labels, it); }))
        return fail("an actor waits although there is room for it");
    }
  }
}

// The drivers have ended their jobs: only detached actors are left, and they are.
void Cluster::check_after_end() {
  if (!truth_.problem().empty()) return;
  if (!head_->head().jobs().empty()) return fail("a job is left that has ended");
  check_members();
  check_actors();
  for (const auto& [id, process] : processes_)
    for (const auto& [placement, body] : process->bodies())
      if (!body.is_detached) return fail("an actor of a job is left that has ended");
  truth_.check_end();
}

}  // namespace rayx::sim
