// Who does the tasks that are made on this node: its own workers, or which other node.
//
// A driver's node has no CPUs and gives everything away, and a node with CPUs what it may not do or is to spread. Of what it does itself
// the relay sends away what overflows: it is the last of a lane's members, so a submitter wakes it when no worker sleeps, and what still
// lies in the lane kPatience_ns later waits for CPUs. Then the relay asks the nodes that it has links to what they have idle, makes a link
// to one more as long as that is nothing, and gives each as many tasks as it has CPUs for. Such a node counts what it does for the asker
// as idle, so the next task follows each result. What came from another node stays: a task moves once.
#include <algorithm>
#include <bit>

#include "relay/relay.hpp"

namespace rayx::relay {
namespace {

constexpr base::TimeNs kAskPauseMin_ns = 5'000'000;
constexpr base::TimeNs kAskPauseMax_ns = 50'000'000;  // while nobody has anything idle
constexpr base::TimeNs kWayPause_ns = 1'000'000'000;  // after a node could not be reached, or was lost
constexpr base::TimeNs kLentPause_ns = 1'000'000;     // between two news of what workers have lent
constexpr base::TimeNs kVainPause_ns = 1'000'000;     // after a wake for what came from other nodes
// Tasks for each CPU in one turn of a window, which takes about 1 ms: shorter ones are done here sooner than they are sent.
constexpr std::uint32_t kWorthwhileMax = 64;
constexpr base::TimeNs kRest_ns = 100'000'000;  // of a lane whose tasks are too short
constexpr std::size_t kOverflowPeersMax = 64;
constexpr std::uint64_t kOfferedBytesMax = 64u << 20;  // arguments that wait for room there

}  // namespace

void Relay::node_changed(const registry::NodeView& view) {
  if (view.kind != registry::MemberKind::kNode || view.node == node_) return;
  {
    const Lock lock(mutex_);
    if (site_.is_detached) {  // what its actors make stays here
      if (view.state == registry::NodeState::kDead) {
        listed_.erase(view.node);
      } else if (view.node != site_.node) {
        listed_[view.node] = view;
      }
      return;
    }
    if (view.state == registry::NodeState::kAlive) {
      others_[view.node].view = view;
    } else {
      others_.erase(view.node);
      if (Peer* const peer = peer_on(view.node)) peer->is_retiring = true;
      for (LaneServed& lane : lanes_served_) lane.is_hopeless = lane.is_hopeless || is_hopeless(lane.where);
    }
  }
  wake();
}

// A driver's node has no CPUs, and is meant by no label: it is no node that others know. Without a head (no others_) peers are all there is.
node::ClassPlaces Relay::places_of_class(const base::Where& where) {
  const Lock lock(mutex_);
  node::ClassPlaces places;
  for (const auto& [node, other] : others_) {
    if (!base::matches(node, other.view.labels, where.selectors)) continue;
    places.is_elsewhere = true;
    places.largest = std::max(places.largest, other.cpu_units());
  }
  if (where.selectors.empty()) {
    for (const auto& [id, peer] : peers_) {
      if (peer->node == node_ || peer->is_foreign()) continue;
      places.is_elsewhere = true;
      places.largest = std::max(places.largest, peer->cpu_units_of_node);
    }
  }
  places.is_here = cpu_units_ == 0 ? where.selectors.empty() : base::matches(node_, labels_, where.selectors);
  // Those that are to spread are all given to nodes by the relay, this one included.
  if (where.spreads && places.is_here && cpu_units_ != 0) {
    places.is_elsewhere = !others_.empty() || places.is_elsewhere;
    places.is_here = !places.is_elsewhere;
    places.largest = std::max(places.largest, cpu_units_);
  }
  return places;
}

bool Relay::may_do(const LaneServed& lane, const Peer& peer) const {
  if (peer.is_foreign()) return false;
  if (peer.node == node_) {
    return lane.where.spreads && cpu_units_ != 0 && base::matches(node_, labels_, lane.where.selectors);
  }
  if (lane.where.selectors.empty()) return true;
  const auto other = others_.find(peer.node);
  return other != others_.end() && base::matches(peer.node, other->second.view.labels, lane.where.selectors);
}

bool Relay::gives_away(const LaneServed& lane, base::TimeNs now) const {
  if (cpu_units_ == 0 || !lane.is_here) return true;
  return lane.cpu_units != 0 && lane.full_since_ns != base::kNever && now - lane.full_since_ns >= patience_ns_ &&
         now >= lane.rest_until_ns;
}

bool Relay::has_room(const LaneServed& lane, Peer& peer, base::TimeNs now) const {
  return !peer.is_retiring && peer.closed_until_ns <= now && !peer.link->is_congested() &&
         peer.offered_task_bytes <= kOfferedBytesMax && may_do(lane, peer) && peer.windows[lane.lane].room() != 0;
}

// The one with the smallest part of its CPUs in use. Below half of them all are equal, and the first is taken: so others stay free for
// what is large, and for being sent away.
Peer* Relay::choose_peer(const LaneServed& lane, base::TimeNs now) {
  Peer* best = nullptr;
  if (!gives_away(lane, now)) return nullptr;
  double best_load = 2;
  for (auto& [id, peer] : peers_) {
    if (!has_room(lane, *peer, now)) continue;
    const sched::Window& window = peer->windows[lane.lane];
    constexpr double kHalf = 0.5;
    double load = static_cast<double>(window.outstanding()) / window.slots();
    if (load < kHalf && !lane.where.spreads) load = 0;
    if (best != nullptr && load >= best_load) continue;
    best = peer.get();
    best_load = load;
  }
  return best;
}

// Of the large values that a task needs, what lies on which other node.
std::vector<std::pair<Peer*, std::uint64_t>> Relay::bytes_at_peers(const Needs& needs) {
  std::vector<std::pair<Peer*, std::uint64_t>> held;
  const auto count = [&](Peer* peer, std::uint64_t bytes) {
    if (peer == nullptr) return;
    const auto known = std::find_if(held.begin(), held.end(), [&](const auto& it) { return it.first == peer; });
    if (known == held.end()) {
      held.emplace_back(peer, bytes);
    } else {
      known->second += bytes;
    }
  };
  for (const auto& [position, piece] : needs.parts) {
    if (!piece.is_stream() || piece.cell == nullptr) continue;
    if (is_proxy(piece.cell)) count(peer_on(proxies_.at(proxy_tag(piece.cell)).object.origin), piece.size());
    const auto exported = exported_index_.find(index_of(piece.cell));
    if (exported == exported_index_.end()) continue;
    const Export& here = exports_.at(exported->second);
    for (const auto& [id, times] : here.named)
      if (here.has_asked.contains(id)) count(find_peer(id), piece.size());
  }
  return held;
}

// Where most of what the task needs lies, if it may go there now; else the one that was chosen.
Peer& Relay::choose_nearest(const LaneServed& lane, const Needs& needs, Peer& chosen, base::TimeNs now) {
  if (lane.where.spreads) return chosen;
  Peer* best = &chosen;
  std::uint64_t most = 0;
  const std::vector<std::pair<Peer*, std::uint64_t>> held = bytes_at_peers(needs);
  for (const auto& [peer, bytes] : held)
    if (peer == &chosen) most = bytes;
  for (const auto& [peer, bytes] : held) {
    if (bytes <= most || !has_room(lane, *peer, now)) continue;
    best = peer;
    most = bytes;
  }
  return *best;
}

// Before each look for tasks.
void Relay::look_for_overflow(base::TimeNs now) {
  overflow_at_ns_ = base::kNever;
  say_what_is_lent(now);
  if (cpu_units_ == 0 || others_.empty()) return;
  bool any = false;
  bool any_without_peer = false;
  for (LaneServed& lane : lanes_served_) {
    if (lane.cpu_units == 0 && lane.is_here) continue;
    if (!puller_.has_work(lane.lane)) {
      if (lane.full_since_ns == base::kNever && lane.was_woken) {
        lane.announce_at_ns = now + kVainPause_ns;
        overflow_at_ns_ = std::min(overflow_at_ns_, lane.announce_at_ns);
      }
      lane.was_woken = false;
      lane.full_since_ns = base::kNever;
      continue;
    }
    lane.was_woken = false;
    lane.full_since_ns = std::min(lane.full_since_ns, now);
    if (gives_away(lane, now)) {
      any = true;
      any_without_peer = any_without_peer || choose_peer(lane, now) == nullptr;
    } else {
      overflow_at_ns_ = std::min(overflow_at_ns_, std::max(lane.full_since_ns + patience_ns_, lane.rest_until_ns));
    }
  }
  if (!any) return;
  if (now >= ask_at_ns_) ask_for_capacity(any_without_peer, now);
  overflow_at_ns_ = std::min(overflow_at_ns_, ask_at_ns_);
}

void Relay::ask_for_capacity(bool needs_more, base::TimeNs now) {
  std::size_t linked = 0;
  FrameWriter writer;
  writer.add(FrameKind::kAskCapacity, AskHead{});
  const std::vector<std::byte> question = writer.finish();
  for (auto& [id, peer] : peers_) {
    if (peer->node == node_ || peer->is_retiring || peer->cpu_units_of_node == 0) continue;
    ++linked;
    peer->link->send(question);
  }
  ask_pause_ns_ = needs_more ? std::clamp(2 * ask_pause_ns_, kAskPauseMin_ns, kAskPauseMax_ns) : kAskPauseMin_ns;
  ask_at_ns_ = now + ask_pause_ns_;
  if (!needs_more || linked >= kOverflowPeersMax || places_ == nullptr) return;
  if (find_way_to_another(now)) ask_at_ns_ = now + kAskPauseMin_ns;  // one more may help at once
}

// Of those that may do something that waits, one after the other, each node beginning at another place.
bool Relay::find_way_to_another(base::TimeNs now) {
  if (!last_way_) last_way_ = node_;
  auto at = others_.upper_bound(last_way_);
  for (std::size_t i = 0; i < others_.size(); ++i) {
    if (at == others_.end()) at = others_.begin();
    auto& [node, other] = *at++;
    if (now < other.way_at_ns || peer_on(node) != nullptr) continue;
    const auto may_help = [&, id = node, &view = other.view](const LaneServed& lane) {
      return lane.full_since_ns != base::kNever && static_cast<base::Units>(lane.cpu_units) <= view.total.cpus &&
             base::matches(id, view.labels, lane.where.selectors);
    };
    if (std::none_of(lanes_served_.begin(), lanes_served_.end(), may_help)) continue;
    last_way_ = node;
    other.way_at_ns = now + kWayPause_ns;
    places_->need_peer(node);
    return true;
  }
  return false;
}

// A class whose tasks are sent away is new.
void Relay::reach_all(const LaneServed& lane) {
  if (lane.where.spreads && peer_on(node_) == nullptr) link_to_itself();
  if (places_ == nullptr) return;
  const base::TimeNs now = clock_.now_ns();
  std::size_t reached = 0;
  for (auto& [node, other] : others_) {
    if (peer_on(node) != nullptr || !base::matches(node, other.view.labels, lane.where.selectors)) continue;
    if (++reached > kOverflowPeersMax) return;
    other.way_at_ns = now + kWayPause_ns;
    places_->need_peer(node);
  }
}

// A node that is gone does not come back under its number.
bool Relay::is_hopeless(const base::Where& where) const {
  return std::any_of(where.selectors.begin(), where.selectors.end(), [&](const base::LabelSelector& it) {
    if (it.key != base::kNodeIdLabel || it.is_negated) return false;
    return std::none_of(it.values.begin(), it.values.end(), [&](const std::string& value) {
      const auto node = base::parse_node_id(value);
      return node && (*node == node_ || others_.contains(*node));
    });
  });
}

bool Relay::fail_hopeless() {
  bool any = false;
  shm::LanePuller::Task task;
  for (const LaneServed& lane : lanes_served_) {
    for (; lane.is_hopeless && puller_.take(lane.lane, task); any = true) {
      detail::RemoteFailure error;
      error.code = ErrorCode::kWorkerDied;
      error.message = "rayx: the task may run only on a node with labels of which " +
                      base::to_text(lane.where.selectors) + ", and that node has left the cluster. Name another one";
      complete_with_error(row_of(task, lane.lane), bytes_of(error));
    }
  }
  return any;
}

// What no worker of this node uses.
std::uint64_t Relay::idle_units() {
  const shm::ControlHeader& header = control().header();
  auto busy = static_cast<std::int64_t>(header.actors_units.load(std::memory_order_relaxed)) -
              static_cast<std::int64_t>(header.lent_units.load(std::memory_order_relaxed));
  for (const LaneServed& lane : lanes_served_) {
    const shm::LaneState& state = control().lane(lane.lane).state();
    const std::uint64_t workers =
        state.members.load(std::memory_order_acquire) & ~(std::uint64_t{1} << shm::kRelayMember);
    const std::uint64_t awake = workers & ~state.sleeping.load(std::memory_order_acquire);
    busy += static_cast<std::int64_t>(static_cast<std::uint64_t>(std::popcount(awake)) * lane.cpu_units);
  }
  const auto share = static_cast<std::int64_t>(share_units());
  return static_cast<std::uint64_t>(std::clamp<std::int64_t>(share - busy, 0, share));
}

// Of this node's CPUs: other jobs use them too.
std::uint64_t Relay::share_units() const {
  return std::min(cpu_units_, control().header().share_units.load(std::memory_order_relaxed));
}

CapacityHead Relay::capacity_for(const Peer& peer) {
  if (peer.is_foreign()) return {0, 0, peer.known_as.value, 0, 0};
  const std::uint64_t share = share_units();
  return {share, cpu_units_, node_.value, std::min(share, idle_units() + peer.units_here),
          control().header().lent_units.load(std::memory_order_relaxed)};
}

// A task that waits inside may wait for one that its maker has not sent yet, as all CPUs here are said to be taken. So the peers hear that they
// are not, and when that is over.
void Relay::say_what_is_lent(base::TimeNs now) {
  if (!has_lent_news_) return;
  if (now < say_lent_at_ns_) {
    overflow_at_ns_ = std::min(overflow_at_ns_, say_lent_at_ns_);
    return;
  }
  has_lent_news_ = false;
  say_lent_at_ns_ = now + kLentPause_ns;
  for (auto& [id, peer] : peers_) say_capacity(*peer);
}

void Relay::say_capacity(Peer& peer) {
  FrameWriter writer;
  writer.add(FrameKind::kCapacity, capacity_for(peer));
  peer.link->send(writer.finish());
}

void Relay::on_capacity(Peer& peer, const CapacityHead& capacity) {
  if (!peer.node) peer_has_a_number(peer, base::NodeId{capacity.node});
  if (peer.is_foreign()) return;
  peer.cpu_units = capacity.cpu_units;
  peer.cpu_units_of_node = capacity.cpu_units_of_node;
  peer.idle_units = capacity.idle_units;
  peer.lent_units = capacity.lent_units;
  set_slots(peer);
}

void Relay::set_slots(Peer& peer) {
  for (const LaneServed& lane : lanes_served_) {
    const std::uint64_t units = std::max<std::uint64_t>(lane.cpu_units, 1);
    std::uint64_t slots = 0;
    if (lane.cpu_units > peer.cpu_units_of_node) {
    } else if (cpu_units_ == 0 || !lane.is_here) {
      slots = std::max<std::uint64_t>(1, (peer.cpu_units + peer.lent_units) / units);
    } else if (lane.cpu_units != 0) {
      slots = peer.idle_units / units;
    }
    peer.windows[lane.lane].set_slots(
        static_cast<std::uint32_t>(std::min<std::uint64_t>(slots, sched::Window::kWindowMax)));
  }
}

// After a result from the peer.
void Relay::look_whether_worthwhile(Peer& peer, std::uint32_t lane_index, base::TimeNs now) {
  if (cpu_units_ == 0) return;
  const sched::Window& window = peer.windows[lane_index];
  if (window.size() <= kWorthwhileMax * std::max(1u, window.slots())) return;
  for (LaneServed& lane : lanes_served_) {
    if (lane.lane != lane_index || !lane.is_here) continue;
    lane.rest_until_ns = now + kRest_ns;
    for (auto& [id, other] : peers_) other->windows[lane_index].begin_anew();
  }
}

}  // namespace rayx::relay
