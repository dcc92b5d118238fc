#include "relay/relay.hpp"
#include "base/planted_bug.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <rayx/detail/remote_failure.hpp>

namespace rayx::relay {

class Relay::Incoming final : public FrameHandler {
 public:
  Incoming(Relay& relay, Peer& peer) : relay_(relay), peer_(peer) {}
  void on_task(const TaskHead& task, const WireValue& arguments, Parts parts) override {
    relay_.on_task(peer_, task, arguments, parts);
  }
  void on_call(const CallHead& call, const WireValue& arguments, Parts parts) override {
    relay_.on_call(peer_, call, arguments, parts);
  }
  void on_result(const ResultHead& result, const WireValue& value) override { relay_.on_result(peer_, result, value); }
  void on_offer(const OfferHead& offer, std::span<const ValueHead> values) override {
    relay_.on_offer(peer_, offer, values);
  }
  void on_admit(const AdmitHead& answer) override { relay_.on_admit(peer_, answer); }
  void on_lost(const ResultHead& result, std::span<const std::byte> error) override {
    relay_.on_lost(peer_, result, error);
  }
  void on_returned(const ReturnHead& task) override { relay_.on_returned(peer_, task); }
  void on_ask_capacity(const AskHead&) override { relay_.say_capacity(peer_); }
  void on_recall(const RecallHead& asked) override { relay_.on_recall(asked); }
  // On kGiveUp: what has begun goes on, and its result is dropped where it arrives.
  void on_capacity(const CapacityHead& capacity) override { relay_.on_capacity(peer_, capacity); }
  void on_modules(std::span<const std::byte> text) override { relay_.on_modules(peer_, text); }
  void on_fetch(const FetchHead& object) override { relay_.on_fetch(peer_, object); }
  void on_fetch_from(const LentHead& where) override { relay_.on_fetch_from(peer_, where); }
  void on_fetch_copy(const LentHead& object) override { relay_.on_fetch_copy(peer_, object); }
  void on_copied(const CopiedHead& object, const WireValue& value) override { relay_.on_copied(peer_, object, value); }
  void on_fetched(const FetchedHead& object, const WireValue& value) override {
    relay_.on_fetched(peer_, object, value);
  }
  void on_release(const CountHead& object) override { relay_.on_release(peer_, object); }
  void on_ask_hold(const KeyHead& object) override { relay_.on_ask_hold(peer_, object); }
  void on_hold_answer(const CountHead& object) override { relay_.on_hold_answer(peer_, object); }
  void on_lent_back(const LentHead& object) override { relay_.on_lent_back(peer_, object); }
  void on_kill_actor(const ActorHead& actor) override { relay_.on_kill_actor(peer_, actor); }
  void on_release_actor(const ActorHead& actor) override { relay_.on_release_actor(peer_, actor); }
  void on_actor_released(const ActorHead& actor) override { relay_.on_actor_released(peer_, actor); }

 private:
  Relay& relay_;
  Peer& peer_;
};

Relay::Relay(const RelayConfig& config)
    : Client(config.client),
      shared_arena_(config.arena),
      life_(std::make_shared<Life>()),
      cpu_units_(config.cpu_units),
      node_(config.node),
      site_(config.site),
      name_(config.name),
      labels_(config.labels),
      places_(config.places),
      patience_ns_(config.patience_ns),
      store_timeout_(config.store_timeout),
      puller_(control(), config.client.me),
      store_bytes_(config.client.arena->store_bytes()),
      store_use_(config.store_use) {
  RAYX_CHECK(node_, "a relay has no node", config.client.me);
  life_->relay = this;
  free_entries_at_end();  // a node outlives many jobs
  puller_.join(shm::kServiceLane);
  ensure_service();  // from here on no death is buried without this process's word
  thread_ = base::Thread([this] { pull(); });
}

Relay::~Relay() { shutdown(); }

void Relay::shutdown() noexcept {
  if (is_in_forked_child()) {  // there is no such thread, and who holds a lock there never will let it go
    is_ending_.store(true, std::memory_order_relaxed);
    if (thread_.joinable()) thread_.detach();
  } else if (!is_ending_.exchange(true, std::memory_order_acq_rel)) {
    wake();
    if (thread_.joinable()) thread_.join();
    {
      const std::lock_guard lock(life_->mutex);
      life_->relay = nullptr;
    }
    const Lock lock(mutex_);
    elsewhere_.clear();
    offers_.clear();
    staying_.clear();
    peers_.clear();
    peers_count_.store(0, std::memory_order_release);
  }
  Client::shutdown();
}

void Relay::belongs_to(const base::SiteId& site) {
  const Lock lock(mutex_);
  site_ = site;
}

PeerId Relay::add_peer(std::string name, std::shared_ptr<PeerLink> link, base::NodeId node, base::NodeId known_as) {
  PeerId id = 0;
  {
    const Lock lock(mutex_);
    id = add_peer_locked(std::move(name), std::move(link), node, known_as);
    had_peers_ = had_peers_ || !known_as;
  }
  wake();
  return id;
}

void Relay::retire_peer(PeerId id) {
  const Lock lock(mutex_);
  if (const auto found = peers_.find(id); found != peers_.end()) found->second->is_retiring = true;
}

bool Relay::is_peer_idle(PeerId id) {
  const Lock lock(mutex_);
  const auto found = peers_.find(id);
  if (found == peers_.end()) return true;
  return found->second->handed_out.empty() &&
         std::none_of(remote_actors_.begin(), remote_actors_.end(), [&](const auto& actor) {
           return actor.second.phase == registry::ActorPhase::kAlive && actor.second.node == found->second->node;
         });
}

void Relay::expect_peers(bool may_come, const std::string& why) {
  {
    const Lock lock(mutex_);
    may_get_peers_ = may_come;
    if (!may_come) had_peers_ = true, last_loss_ = why;
  }
  wake();
}

PeerId Relay::add_peer_locked(std::string name, std::shared_ptr<PeerLink> link, base::NodeId node,
                              base::NodeId known_as) {
  const PeerId id = next_peer_++;
  auto peer = std::make_unique<Peer>();
  peer->id = id;
  peer->name = std::move(name);
  peer->link = std::move(link);
  peer->known_as = known_as;
  Peer& added = *peers_.emplace(id, std::move(peer)).first->second;
  say_capacity(added);
  if (added.is_foreign()) say_modules(added);
  if (node) peer_has_a_number(added, node);
  flush(added);
  count_peers();
  return id;
}

// This node is none.
void Relay::count_peers() {
  const auto others = std::count_if(peers_.begin(), peers_.end(), [this](const auto& it) {
    return it.second->node != node_ && !it.second->is_foreign();
  });
  peers_count_.store(static_cast<std::uint32_t>(others), std::memory_order_release);
}

Result<void> Relay::receive(PeerId id, std::span<const std::byte> frame) {
  Peer* peer = nullptr;
  {
    const Lock lock(mutex_);
    const auto found = peers_.find(id);
    if (found == peers_.end()) return {};
    peer = found->second.get();
  }
  const FrameKind kind = kind_of(frame);
  if (!peer->node && kind != FrameKind::kCapacity)
    return Error{ErrorCode::kMalformed, "rayx: " + peer->name + " sent something before it had said which node it is"};
  if (peer->is_foreign() && !may_cross_programs(kind))
    return Error{ErrorCode::kMalformed,
                 "rayx: " + peer->name + " is another program's, and sent what only one's own may"};
  std::vector<NameEntry> handles;
  const std::string problem = check_frame(frame, &handles);
  if (!problem.empty())
    return Error{ErrorCode::kMalformed, "rayx: " + peer->name + " sent what cannot be read: " + problem};
  if (!handles.empty()) prepare_lanes(handles, me_for(*peer), peer->lanes);
  Incoming incoming(*this, *peer);
  if (kind == FrameKind::kTasks) {
    apply_frame(frame, incoming);  // each task takes the lock where it needs it
    const Lock lock(mutex_);
    look_at_large_values(clock_.now_ns());
    flush_all_peers();
  } else {
    const Lock lock(mutex_);
    take_news();
    apply_frame(frame, incoming);
    look_at_large_values(clock_.now_ns());
    flush_all_peers();
  }
  give_back_lanes(peer->lanes);
  wake();
  return {};
}

void Relay::remove_peer(PeerId id, const std::string& how) {
  {
    const Lock lock(mutex_);
    const auto found = peers_.find(id);
    if (found == peers_.end()) return;
    const std::unique_ptr<Peer> peer = std::move(found->second);
    peers_.erase(found);  // from here on nothing is sent there
    count_peers();
    last_loss_ = peer->name + ": " + how;
    detail::RemoteFailure error;
    error.code = ErrorCode::kWorkerDied;
    error.node = peer->name;
    error.message = "it was on " + peer->name + ", which is gone: " + how;
    const std::vector<std::byte> bytes = bytes_of(error);
    for (const auto& [row, is_lost] : peer->done) forget_taken(row);
    forget_transfers_of(*peer);
    if (!RAYX_PLANTED_BUG(503)) forget_references_of(*peer, peer->name + " is gone: " + how);
    for (const std::uint32_t index : std::exchange(peer->handed_out, {})) {
      if (!RAYX_PLANTED_BUG(501)) lose(sent_[index], bytes);
      forget_sent(sent_[index]);
    }
    forget_actors_of(*peer, how);
    flush_all_peers();
  }
  wake();
}

std::uint64_t Relay::total_units() {
  const Lock lock(mutex_);
  std::uint64_t total = 0;
  for (const auto& [id, peer] : peers_)
    if (peer->node != node_) total += peer->cpu_units_of_node;
  return total;
}

std::uint64_t Relay::units_for_job() {
  const Lock lock(mutex_);
  std::uint64_t units = 0;
  for (const auto& [id, peer] : peers_)
    if (peer->node != node_) units += peer->cpu_units;
  return units;
}

// What is due of them, and what news let hope for room.
bool Relay::look_at_large_values(base::TimeNs now) {
  const base::TimeNs before_ns = large_values_at_ns();
  if (now < before_ns && !has_offers_to_look_at_ && !has_wants_to_look_at_) return false;
  if (now >= staying_at_ns_) look_at_staying(now);  // first: it finds more offers to look at
  if (has_offers_to_look_at_ || now >= offers_at_ns_) look_at_offers(now);
  if (has_wants_to_look_at_ || now >= wants_at_ns_) look_at_wants(now);
  if (now >= kept_at_ns_) look_at_kept(now);
  if (large_values_at_ns() < before_ns) wake();
  return true;
}

void Relay::flush(Peer& peer) {
  for (FrameWriter* writer :
       {&peer.calls,     &peer.tasks,         &peer.results,         &peer.fetched,     &peer.offering,
        &peer.admitted,  &peer.lost,          &peer.returned,        &peer.given_up,    &peer.fetches,
        &peer.elsewhere, &peer.copies_asked,  &peer.copies,          &peer.holds_asked, &peer.holds_answered,
        &peer.lent_back, &peer.actors_killed, &peer.actors_released, &peer.actors_gone, &peer.released}) {
    if (writer->is_empty()) continue;
    peer.link->send(writer->finish());  // a link that is closed is removed by its owner
  }
}

void Relay::peer_is_writable(PeerId id) {
  {
    const Lock lock(mutex_);
    const auto found = peers_.find(id);
    if (found == peers_.end()) return;
    send_done(*found->second);
    send_due(*found->second);
    flush_all_peers();
  }
  wake();
}

void Relay::flush_all_peers() {
  for (auto& [id, peer] : peers_) flush(*peer);
}

}  // namespace rayx::relay
