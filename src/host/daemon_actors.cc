// Actors of the jobs on this node, and the links of their sites to other nodes.
#include <chrono>
#include <utility>
#include <vector>

#include "host/daemon.hpp"
#include "host/site_server.hpp"

namespace rayx::host {
namespace {

// A driver has links to all nodes that it can reach. Where the cluster's head reaches one that it does not, another node is better.
constexpr std::chrono::seconds kDriverPatience{3};
constexpr std::chrono::seconds kProgramPatience{30};  // it is being sent

}  // namespace

const registry::NodeView* Daemon::find_node(base::NodeId node) const {
  const auto found = member_->member().nodes().find(node);
  return found == member_->member().nodes().end() ? nullptr : &found->second;
}

void Daemon::node_changed(const registry::NodeView& node) {
  for (const auto& [key, server] : servers_) {
    if (!server->is_open()) continue;
    server->relay().node_changed(node);
    if (node.state == registry::NodeState::kDead) server->peers().node_is_gone(node.node, node.reason);
  }
}

void Daemon::need_peer(base::JobId job, base::NodeId node) {
  SiteServer* const server = server_of(job);
  if (server != nullptr && server->is_open()) server->peers().need(node);
}

void Daemon::start_actor(const registry::PlaceActor& place) {
  const Placement placement{place.actor, place.incarnation};
  Placed& placed = placed_[placement];
  placed.job = place.job.job;
  SiteServer* const server = server_of(place.job.job);
  if (server != nullptr && server->is_open()) return server->relay().start_actor(place);
  log("an actor waits for the program of job " + base::to_text(place.job.job) +
      ", which is not on this node at present");
  placed.waits = std::make_unique<registry::PlaceActor>(place);
  placed.timer = network_->loop().call_after(kDriverPatience, [this, placement] { program_is_late(placement, true); });
}

void Daemon::program_is_late(Placement placement, bool may_be_sent) {
  const auto found = placed_.find(placement);
  if (found == placed_.end()) return;
  if (may_be_sent && server_of(found->second.job) != nullptr) {
    found->second.timer =
        network_->loop().call_after(kProgramPatience, [this, placement] { program_is_late(placement, false); });
  } else {
    report_ended(placement, registry::EndCause::kNoProcess,
                 "the program of its job did not come to this node: its driver cannot reach it, or is gone");
  }
}

void Daemon::site_is_open(SiteServer& server) {
  for (const auto& [id, node] : member_->member().nodes()) server.relay().node_changed(node);
  for (auto& [placement, placed] : placed_) {
    if (placed.job != server.job() || placed.waits == nullptr) continue;
    network_->loop().cancel(std::exchange(placed.timer, 0));
    const auto place = std::exchange(placed.waits, nullptr);
    server.relay().start_actor(*place);
  }
}

void Daemon::end_actor(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause) {
  const auto found = placed_.find({actor, incarnation});
  if (found == placed_.end()) return;
  if (found->second.waits != nullptr) return report_ended(found->first, cause, "it had not begun");
  SiteServer* const server = server_of(found->second.job);
  if (server != nullptr && server->is_open()) server->relay().end_actor(actor, incarnation, cause);
}

void Daemon::report_ended(Placement placement, registry::EndCause cause, const std::string& why) {
  const auto found = placed_.find(placement);
  network_->loop().cancel(found->second.timer);
  placed_.erase(found);
  member_->member().actor_ended(placement.first, placement.second, cause, why);
}

// The relay says the rest itself.
void Daemon::actor_was_ended(base::ActorId actor, registry::Incarnation incarnation) {
  placed_.erase({actor, incarnation});
}

// The site has ended, and what it would have said of them is not heard any more.
void Daemon::actors_are_lost(base::JobId job, const std::string& why) {
  std::vector<Placement> lost;
  for (const auto& [placement, placed] : placed_)
    if (placed.job == job && placed.waits == nullptr) lost.push_back(placement);
  for (const Placement& placement : lost)
    report_ended(placement, registry::EndCause::kCrashed, "its site has ended: " + why);
}

void Daemon::actor_changed(const registry::ActorState& state) {
  for (const auto& [key, server] : servers_) {
    if (!server->is_open() || !server->places().watches(state.actor)) continue;
    if (state.phase == registry::ActorPhase::kDead) server->places().forget(state.actor);
    server->relay().actor_changed(state);
  }
}

}  // namespace rayx::host
