// Actors of the jobs on this node, and the links of their sites to other nodes.
#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "host/daemon.hpp"
#include "host/detached_site.hpp"
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

const registry::NodeView* Daemon::node_after(base::NodeId node) const {
  const auto& nodes = member_->member().nodes();
  for (auto at = nodes.upper_bound(node); at != nodes.end(); ++at)
    if (at->second.kind == registry::MemberKind::kNode && at->first != member_->member().identity().node)
      return &at->second;
  return nullptr;
}

void Daemon::node_changed(const registry::NodeView& node) {
  for (const auto& [key, server] : servers_) {
    if (!server->is_open()) continue;
    server->relay().node_changed(node);
    if (node.state == registry::NodeState::kDead) server->peers().node_is_gone(node.node, node.reason);
  }
}

void Daemon::need_peer(const base::SiteId& from, const base::SiteId& to) {
  HostedSite* const server = site_of(from.job, from.is_detached);
  if (server != nullptr && server->is_open()) server->peers().need(to);
}

void Daemon::start_actor(const registry::PlaceActor& place) {
  const Placement placement{place.actor, place.incarnation};
  Placed& placed = placed_[placement];
  placed.job = place.job.job;
  placed.is_detached = place.is_detached;
  HostedSite* const server = site_of(placed.job, placed.is_detached);
  if (place.is_detached) look_whether_needed(placed.job);
  if (server != nullptr && server->is_open()) return server->relay().start_actor(place);
  if (place.is_detached) {
    placed.waits = std::make_unique<registry::PlaceActor>(place);
    if (server == nullptr) begin_detached(place);
    return;
  }
  log("an actor waits for the program of job " + base::to_text(place.job.job) +
      ", which is not on this node at present");
  placed.waits = std::make_unique<registry::PlaceActor>(place);
  placed.timer = network_->loop().call_after(kDriverPatience, [this, placement] { program_is_late(placement, true); });
}

// Its job's driver may be gone; the node has the program, or had better have it.
void Daemon::begin_detached(const registry::PlaceActor& place) {
  Result<OpenSite> open = read_text_of_head(place.site);
  if (!open) return waiting_detached_fail(place.job.job, open.error().message);
  open->node = member_->member().identity().node;
  open->driver = {};
  open->job = place.job.job;
  const auto site = std::make_shared<DetachedSite>(*this);
  servers_.emplace(site.get(), site);
  site->begin(std::move(*open));
}

// Those of a site of this node: which wait for it, or which it has.
std::vector<Daemon::Placement> Daemon::placed_in(base::JobId job, bool is_detached, PlacedAs as) const {
  std::vector<Placement> found;
  for (const auto& [placement, placed] : placed_)
    if (placed.job == job && placed.is_detached == is_detached &&
        (placed.waits != nullptr) == (as == PlacedAs::kWaiting))
      found.push_back(placement);
  return found;
}

void Daemon::waiting_detached_fail(base::JobId job, const std::string& why) {
  for (const Placement& placement : placed_in(job, true, PlacedAs::kWaiting))
    report_ended(placement, registry::EndCause::kNoProcess, why);
}

// The site of a job's detached actors, after one has come or gone.
void Daemon::look_whether_needed(base::JobId job) {
  HostedSite* const site = site_of(job, true);
  if (site == nullptr) return;
  const bool is_needed = std::any_of(placed_.begin(), placed_.end(),
                                     [job](const auto& it) { return it.second.is_detached && it.second.job == job; });
  static_cast<DetachedSite*>(site)->is_needed(is_needed);
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

void Daemon::site_is_open(HostedSite& server) {
  for (const auto& [id, node] : member_->member().nodes()) server.relay().node_changed(node);
  for (auto& [placement, placed] : placed_) {
    if (placed.job != server.job() || placed.is_detached != server.is_detached() || placed.waits == nullptr) continue;
    network_->loop().cancel(std::exchange(placed.timer, 0));
    const auto place = std::exchange(placed.waits, nullptr);
    server.relay().start_actor(*place);
  }
}

void Daemon::end_actor(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause) {
  const auto found = placed_.find({actor, incarnation});
  if (found == placed_.end()) return;
  if (found->second.waits != nullptr) return report_ended(found->first, cause, "it had not begun");
  HostedSite* const server = site_of(found->second.job, found->second.is_detached);
  if (server != nullptr && server->is_open()) server->relay().end_actor(actor, incarnation, cause);
}

void Daemon::report_ended(Placement placement, registry::EndCause cause, const std::string& why) {
  forget_placed(placed_.find(placement));
  member_->member().actor_ended(placement.first, placement.second, cause, why);
}

// The relay says the rest itself.
void Daemon::actor_was_ended(base::ActorId actor, registry::Incarnation incarnation) {
  const auto found = placed_.find({actor, incarnation});
  if (found != placed_.end()) forget_placed(found);
}

void Daemon::forget_placed(std::map<Placement, Placed>::iterator found) {
  const Placed gone = std::move(found->second);
  network_->loop().cancel(gone.timer);
  placed_.erase(found);
  if (gone.is_detached) look_whether_needed(gone.job);
}

// The site has ended, and what it would have said of them is not heard any more.
void Daemon::actors_are_lost(const HostedSite& site, const std::string& why) {
  for (const Placement& placement : placed_in(site.job(), site.is_detached(), PlacedAs::kHandedOver))
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
