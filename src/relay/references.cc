// Objects that more than one node of the job uses. docs/design/relay.md, "References", has the rules.
#include <algorithm>

#include <rayx/detail/remote_failure.hpp>

#include "base/planted_bug.hpp"
#include "relay/relay.hpp"

namespace rayx::relay {

using worker::Index;
using worker::kNoIndex;
using worker::RefCell;

namespace {

constexpr base::TimeNs kFetchAgainPause_ns = 100'000'000;
constexpr int kFetchTriesMax = 100;  // with the pause: as long as a writer waits for room in a full store

// Its value found no room, and somebody here still has it. Who names it now is to have another chance: there may be room again.
bool is_worth_another(const Proxy& proxy) {
  return proxy.is_done && proxy.failed == ReturnReason::kStoreFull && !proxy.is_asking && proxy.lent.empty();
}

void forget_asker(Export& exported, PeerId peer) {
  std::erase_if(exported.waiting, [&](const Export::Waiting& waiting) { return waiting.peer == peer; });
  std::erase_if(exported.copies, [&](const Export::Copy& copy) { return copy.peer == peer; });
}

}  // namespace

detail::RemoteFailure Relay::owner_died(const std::string& how) {
  detail::RemoteFailure error;
  error.code = ErrorCode::kOwnerDied;
  error.message = "rayx: the object lived on another node and is lost: " + how +
                  "\nMake it again, or put() in the driver what is to outlive a node";
  return error;
}

Peer* Relay::find_peer(PeerId id) {
  const auto found = peers_.find(id);
  return found == peers_.end() ? nullptr : found->second.get();
}

Peer* Relay::peer_on(base::NodeId node) {
  for (const auto& [id, peer] : peers_)
    if (peer->node == node) return peer.get();
  return nullptr;
}

Proxy* Relay::find_proxy(const RemoteKey& object) {
  const auto found = proxy_of_.find(object);
  return found == proxy_of_.end() ? nullptr : &proxies_.at(found->second);
}

Relay::References Relay::references() {
  const Lock lock(mutex_);
  return {exports_.size(), proxies_.size(), remote_actors_.size() + actors_here_.size()};
}

// ---- Names, out

NameEntry Relay::name_for(Peer& peer, const Named& named) {
  NameEntry entry{named.position, 0, 0, 0, 0};
  name_actor(entry, named.cell, peer.node);
  if (is_proxy(named.cell)) {
    Proxy& proxy = proxies_.at(proxy_tag(named.cell));
    const bool goes_home = proxy.object.origin == peer.node && !proxy.is_cut_off;
    // Where nobody makes links between the others, as between two programs, this one stands in for the origin.
    const bool may_go_there = places_ != nullptr && !proxy.is_cut_off && !proxy.is_foreign && !peer.is_foreign();
    if (goes_home || may_go_there) {
      entry.origin = proxy.object.origin.value;
      entry.key = proxy.object.key;
      if (goes_home) return entry;
      if (proxy.lent_cell == nullptr) proxy.lent_cell = another_cell(proxy.index);
      ++proxy.lent[peer.id];
      return entry;
    }
  }
  entry.origin = me_for(peer).value;
  entry.key = name_export(peer, named.cell);
  return entry;
}

// As an object of this node, once more; its key.
std::uint64_t Relay::name_export(Peer& peer, RefCell* cell) {
  std::uint64_t key = 0;
  ++export_of(cell, key).named[peer.id];
  return key;
}

Export& Relay::export_of(RefCell* cell, std::uint64_t& key) {
  key = name_in_values(cell).words[0];
  Export& exported = exports_[key];
  if (exported.cell == nullptr) {
    exported.index = index_of(cell);
    exported.cell = another_cell(exported.index);
    exported_index_[exported.index] = key;
  }
  return exported;
}

void Relay::give_back_name(std::uint64_t key, PeerId peer, std::uint64_t count) {
  const auto found = exports_.find(key);
  if (found == exports_.end()) return;
  const auto named = found->second.named.find(peer);
  if (named == found->second.named.end()) return;
  if (named->second > count && !RAYX_PLANTED_BUG(520)) {
    named->second -= count;
    return;
  }
  found->second.named.erase(named);
  forget_asker(found->second, peer);
  forget_export(key);
}

// If nobody holds it any more.
void Relay::forget_export(std::uint64_t key) {
  const auto found = exports_.find(key);
  if (found == exports_.end() || !found->second.named.empty() || found->second.kept != 0) return;
  const Export exported = found->second;
  exported_index_.erase(exported.index);
  exports_.erase(found);
  if (const auto actor = actors_here_.find(exported.actor); actor != actors_here_.end()) {
    RefCell* const handle = actor->second.handle;
    actors_here_.erase(actor);
    drop_locked(handle);
  }
  drop_locked(exported.cell);
}

// ---- Names, in

// A cell for what a peer has named, with one count; nullptr: no memory, or it is gone.
RefCell* Relay::cell_for(Peer* peer, const NameEntry& name) {
  const RemoteKey object{base::NodeId{name.origin}, name.key};
  if (object.origin == (peer == nullptr ? node_ : me_for(*peer))) {  // it comes home
    const auto exported = exports_.find(name.key);
    if (exported != exports_.end()) {
      RefCell* const cell = another_cell(exported->second.index);
      if (peer != nullptr && peer->node == node_) give_back_name(name.key, peer->id, 1);  // it was not away
      return cell;
    }
    return lost_cell(object, "the node that held it was lost before this one heard of it again");
  }
  const bool from_origin = peer != nullptr && peer->node == object.origin;
  if (peer != nullptr && peer->is_foreign() && !from_origin)
    return lost_cell(object, "another program has named what is not its own");
  auto [found, is_new] = proxy_of_.try_emplace(object, next_tag_);
  if (!is_new && is_worth_another(proxies_.at(found->second))) {
    found->second = next_tag_;
    is_new = true;
  }
  const std::uint64_t tag = found->second;
  if (is_new) {
    ++next_tag_;
    proxies_[tag].object = object;
    proxies_[tag].is_foreign = from_origin && peer->is_foreign();
  }
  Proxy& proxy = proxies_.at(tag);
  if (from_origin) {
    ++proxy.named[peer->id];
  } else if (proxy.named.empty()) {
    if (peer != nullptr) proxy.lenders.push_back(peer->id);
    ask_for_hold(proxy);
  } else if (peer != nullptr) {
    peer->lent_back.add(FrameKind::kLentBack, LentHead{name.origin, name.key});
  }
  RefCell* cell = nullptr;
  if (proxy.index == kNoIndex) {
    detail::Failure no_room;
    proxy.index = make_proxy(tag, no_room);
    if (proxy.index != kNoIndex) cell = first_cell(proxy.index);
    if (cell != nullptr && name.actor != 0 &&
        !make_handle(proxy, name, peer == nullptr ? lanes_of_start_ : peer->lanes)) {
      drop_locked(cell);  // the row goes with it
      return nullptr;
    }
  } else {
    cell = another_cell(proxy.index);
  }
  if (cell == nullptr) forget_row(tag);
  return cell;
}

// A reference to what is gone.
RefCell* Relay::lost_cell(const RemoteKey& object, const std::string& why) {
  const std::uint64_t tag = next_tag_++;
  detail::Failure no_room;
  const Index index = make_proxy(tag, no_room);
  if (index == kNoIndex) return nullptr;
  Proxy& proxy = proxies_[tag];
  proxy.object = object;
  proxy.index = index;
  proxy.is_cut_off = proxy.is_done = true;
  RefCell* const cell = first_cell(index);
  fail_proxy(index, owner_died(why));
  return cell;
}

// Nothing here uses the proxy: what its origin has counted for it is given back, as soon as all of it is known.
void Relay::proxy_is_freed(std::uint64_t tag) {
  Proxy& proxy = proxies_.at(tag);
  proxy.index = kNoIndex;
  serve_copies(proxy.object, std::exchange(proxy.copies_wanted, {}));
  argument_is_settled(proxy, {});
  if (std::exchange(proxy.has_handle, false)) handle_is_freed(proxy);
  forget_row(tag);
}

void Relay::forget_row(std::uint64_t tag) {
  Proxy& proxy = proxies_.at(tag);
  if (proxy.index != kNoIndex || proxy.is_asking) return;
  return_to_lenders(proxy);
  for (const auto& [id, count] : proxy.named)
    if (Peer* const peer = find_peer(id)) peer->released.add(FrameKind::kRelease, CountHead{proxy.object.key, count});
  if (const auto known = proxy_of_.find(proxy.object); known != proxy_of_.end() && known->second == tag)
    proxy_of_.erase(known);
  proxies_.erase(tag);
}

void Relay::return_to_lenders(Proxy& proxy) {
  for (const PeerId id : std::exchange(proxy.lenders, {}))
    if (Peer* const peer = find_peer(id))
      peer->lent_back.add(FrameKind::kLentBack, LentHead{proxy.object.origin.value, proxy.object.key});
}

// ---- Holds of objects that a third node has named

void Relay::ask_for_hold(Proxy& proxy) {
  if (proxy.is_asking) return;
  proxy.is_asking = true;
  if (Peer* const origin = peer_on(proxy.object.origin)) {
    origin->holds_asked.add(FrameKind::kAskHold, KeyHead{proxy.object.key});
  } else if (places_ != nullptr) {
    places_->need_peer(proxy.object.origin);
  }
}

void Relay::on_ask_hold(Peer& peer, const KeyHead& object) {
  const auto found = exports_.find(object.key);
  if (found != exports_.end()) ++found->second.named[peer.id];
  peer.holds_answered.add(FrameKind::kHoldAnswer, CountHead{object.key, found == exports_.end() ? 0u : 1u});
}

void Relay::on_hold_answer(Peer& peer, const CountHead& object) {
  const auto found = proxy_of_.find({peer.node, object.key});
  if (found == proxy_of_.end()) return;
  const std::uint64_t tag = found->second;
  Proxy& proxy = proxies_.at(tag);
  if (object.count == 0) return hold_is_refused(tag, "the node that passed it on was lost before it arrived here");
  if (!RAYX_PLANTED_BUG(517)) ++proxy.named[peer.id];
  proxy.is_asking = false;
  return_to_lenders(proxy);
  if (proxy.index == kNoIndex) return forget_row(tag);
  if (proxy.is_wanted && !RAYX_PLANTED_BUG(521)) send_for(proxy);
}

void Relay::hold_is_refused(std::uint64_t tag, const std::string& why) {
  Proxy& proxy = proxies_.at(tag);
  proxy.is_asking = false;
  return_to_lenders(proxy);
  if (!proxy.named.empty()) return;  // its origin has named it itself meanwhile
  cut_off(proxy, why);
  if (proxies_.contains(tag)) forget_row(tag);
}

void Relay::on_lent_back(Peer& peer, const LentHead& object) {
  Proxy* const proxy = find_proxy({base::NodeId{object.origin}, object.key});
  if (proxy == nullptr) return;
  const auto lent = proxy->lent.find(peer.id);
  if (lent == proxy->lent.end()) return;
  if (RAYX_PLANTED_BUG(518)) return;
  if (--lent->second == 0) proxy->lent.erase(lent);
  if (proxy->lent.empty()) drop_locked(std::exchange(proxy->lent_cell, nullptr));
}

void Relay::on_release(Peer& peer, const CountHead& object) {
  give_back_name(object.key, peer.id, RAYX_PLANTED_BUG(516) ? 1 : object.count);
}

// ---- Values

void Relay::proxy_is_wanted(std::uint64_t tag) {
  Proxy& proxy = proxies_.at(tag);
  proxy.is_wanted = true;
  send_for(proxy);
}

void Relay::send_for(Proxy& proxy) {
  if (proxy.is_fetching || proxy.is_done || use_kept(proxy)) return;
  if (proxy.named.empty() || proxy.fetch_at_ns != base::kNever) return;
  Peer* const origin = find_peer(proxy.named.begin()->first);
  if (origin == nullptr) return;
  proxy.is_fetching = true;
  origin->fetches.add(FrameKind::kFetch, FetchHead{proxy.object.key, 0});
}

void Relay::on_fetch(Peer& peer, const FetchHead& object) {
  const auto found = exports_.find(object.key);
  if (found == exports_.end() || !found->second.named.contains(peer.id)) return;  // it has let go of it meanwhile
  Export& exported = found->second;
  if (is_proxy(exported.cell)) {
    Proxy& proxy = proxies_.at(proxy_tag(exported.cell));
    if (proxy.is_done) return send_value(peer, object.key);
    exported.waiting.push_back({peer.id, object.is_direct != 0});
    proxy.is_wanted = true;
    return send_for(proxy);
  }
  if (is_done_or_listen(exported.index)) return serve(peer, object.key, object.is_direct != 0);
  exported.waiting.push_back({peer.id, object.is_direct != 0});
}

// The value of an object is there that others may have asked for.
void Relay::value_is_there(Index index) {
  const auto exported = exported_index_.find(index);
  if (exported == exported_index_.end()) return;
  const std::uint64_t key = exported->second;
  for (const auto& [id, is_direct] : std::exchange(exports_.at(key).waiting, {}))
    if (Peer* const peer = find_peer(id)) serve(*peer, key, is_direct);
}

void Relay::send_value(Peer& peer, std::uint64_t key) {
  if (peer.link->is_congested()) return peer.due.push_back(key);
  const Export& exported = exports_.at(key);
  const detail::ValueView view = view_of_cell(exported.cell);
  Piece piece;
  piece.bytes = {view.data, view.size};
  FetchedHead head{key, view.is_error ? 1u : 0u, 0, 0};
  std::vector<std::byte> error;
  if (const auto unreadable = read_names(piece.bytes, view.has_refs, piece.names, "a value")) {
    error = bytes_of(*unreadable);
    piece.bytes = error;
    head.is_error = 1;
  }
  Cargo cargo;
  cargo.what = OfferedFor::kObject;
  cargo.subject = key;
  FrameWriter own;
  FrameWriter& writer = piece.is_stream() ? own : peer.fetched;
  if (piece.is_stream()) piece.keep = keep_while_sent({another_cell(exported.index)});
  head.bytes = piece.length();
  writer.add(FrameKind::kFetched, head);
  put_value(writer, peer, piece, cargo);
  send_cargo(peer, own, cargo);
  if (peer.fetched.bytes() >= kFrameBytes) flush(peer);
}

void Relay::send_due(Peer& peer) {
  while (!peer.due.empty() && !peer.link->is_congested()) {
    const std::uint64_t key = peer.due.front();
    peer.due.pop_front();
    const auto found = exports_.find(key);
    if (found != exports_.end() && found->second.named.contains(peer.id)) send_value(peer, key);
  }
}

void Relay::on_fetched(Peer& peer, const FetchedHead& object, const WireValue& value) {
  Arrived arrived = take_arrived(&peer, value);
  Proxy* const proxy = find_proxy({peer.node, object.key});
  if (proxy != nullptr && proxy->is_fetching && proxy->index != kNoIndex) {
    // It was there when it was named as an argument, so it was lost on the way: whose tasks it is decides about that.
    if (object.is_error != 0) argument_is_settled(*proxy, ReturnReason::kRefused);
    has_come(*proxy, arrived, value.stream != 0, object.is_error != 0);
  }
  forget(arrived);
}

void Relay::has_come(Proxy& proxy, Arrived& value, bool is_stream, bool is_error) {
  if (!value.is_whole && is_stream) proxy.tries = kFetchTriesMax;  // it has waited for room already
  const RemoteKey object = proxy.object;
  const std::vector<PeerId> others = std::exchange(proxy.copies_wanted, {});
  RefCell* const kept = others.empty() ? nullptr : another_cell(proxy.index);
  proxy.copy_from = {};
  complete_fetched(proxy, value, is_error);
  serve_copies(object, others);
  if (kept != nullptr) drop_locked(kept);
}

void Relay::complete_fetched(Proxy& proxy, Arrived& value, bool is_error) {
  const Index index = proxy.index;
  proxy.is_fetching = false;
  detail::Failure failure;
  // What is completed may be freed at once, and the row with it.
  if (value.is_whole && value.block.size != 0) {
    proxy.is_done = true;
    argument_is_settled(proxy, {});
    complete_proxy(index, std::exchange(value.block, worker::BlockRef{0, 0}), value.refs, is_error);
    return value_is_there(index);
  }
  if (value.is_whole) {
    proxy.is_done = true;
    argument_is_settled(proxy, {});
    if (complete_proxy(index, value.bytes, value.refs, is_error, failure)) return value_is_there(index);
    proxy.is_done = false;
  }
  // No memory, in all likelihood.
  if (++proxy.tries < kFetchTriesMax) {
    proxy.fetch_at_ns = clock_.now_ns() + kFetchAgainPause_ns;
    fetch_again_ns_ = std::min(fetch_again_ns_, proxy.fetch_at_ns);
    return;
  }
  detail::RemoteFailure error;
  error.code = ErrorCode::kStoreFull;
  error.message =
      "rayx: the value of an object of another node was sent for, and the store of this node has no room for it. Drop "
      "references, or raise Config::store_bytes (RAYX_STORE_BYTES)";
  proxy.is_done = true;
  argument_is_settled(proxy, ReturnReason::kStoreFull);
  fail_proxy(index, error);
  value_is_there(index);
}

// Pull's thread: what found no memory some time ago.
void Relay::fetch_again() {
  const base::TimeNs now = clock_.now_ns();
  if (now < fetch_again_ns_) return;
  fetch_again_ns_ = base::kNever;
  std::vector<std::uint64_t> due;  // what is sent for may be completed, and its row go
  for (auto& [tag, proxy] : proxies_) {
    if (proxy.fetch_at_ns > now) {
      fetch_again_ns_ = std::min(fetch_again_ns_, proxy.fetch_at_ns);
      continue;
    }
    proxy.fetch_at_ns = base::kNever;
    due.push_back(tag);
  }
  for (const std::uint64_t tag : due)
    if (const auto found = proxies_.find(tag); found != proxies_.end()) send_for(found->second);
  flush_all_peers();
}

// ---- Nodes that come and go

void Relay::peer_has_a_number(Peer& peer, base::NodeId node) {
  peer.node = node;
  for (auto& [id, actor] : remote_actors_)
    if (actor.node == node) actor.may_ask_for_way();
  ask_for_copies(peer);
  for (auto& [tag, proxy] : proxies_)
    if (proxy.is_asking && proxy.object.origin == node)
      peer.holds_asked.add(FrameKind::kAskHold, KeyHead{proxy.object.key});
}

// The origin is gone for this node. A value that is here stays.
void Relay::cut_off(Proxy& proxy, const std::string& why) {
  proxy.is_cut_off = true;
  proxy_of_.erase(proxy.object);
  // What was lent protects nothing any more. Nobody can say that it is given back: the row has no name now.
  proxy.lent.clear();
  RefCell* const lent = std::exchange(proxy.lent_cell, nullptr);
  if (proxy.index != kNoIndex && !proxy.is_done) {
    const Index index = proxy.index;
    proxy.is_done = true;
    proxy.is_fetching = false;
    argument_is_settled(proxy, ReturnReason::kRefused);
    const std::vector<PeerId> others = std::exchange(proxy.copies_wanted, {});
    const RemoteKey object = proxy.object;
    fail_proxy(index, owner_died(why));
    value_is_there(index);
    serve_copies(object, others);
  }
  if (lent != nullptr) drop_locked(lent);
}

void Relay::peer_failed(base::NodeId node, const std::string& why) {
  {
    const Lock lock(mutex_);
    std::vector<std::uint64_t> tags;
    for (const auto& [tag, proxy] : proxies_)
      if (proxy.is_asking && proxy.object.origin == node) tags.push_back(tag);
    for (const std::uint64_t tag : tags) hold_is_refused(tag, why);
    node_has_no_copies(node);
    actors_without_way(node, why);
    flush_all_peers();
  }
  wake();  // lanes that may be pulled again
}

void Relay::forget_references_of(const Peer& peer, const std::string& why) {
  const PeerId id = peer.id;
  node_has_no_copies(peer.node);
  std::vector<std::uint64_t> keys;
  for (auto& [key, exported] : exports_) {
    forget_asker(exported, id);
    exported.has_asked.erase(id);
    if (exported.named.erase(id) != 0) keys.push_back(key);
  }
  for (const std::uint64_t key : keys) forget_export(key);
  std::vector<std::uint64_t> tags;
  for (auto& [tag, proxy] : proxies_) tags.push_back(tag);
  for (const std::uint64_t tag : tags) {
    const auto found = proxies_.find(tag);
    if (found == proxies_.end()) continue;
    Proxy& proxy = found->second;
    std::erase(proxy.lenders, id);
    if (proxy.is_asking && proxy.object.origin == peer.node) {
      proxy.named.erase(id);
      hold_is_refused(tag, why);
      continue;
    }
    const bool was_named = proxy.named.erase(id) != 0;
    if (was_named) proxy.is_fetching = false, proxy.copy_from = {};
    std::erase(proxy.copies_wanted, id);
    if (was_named && proxy.named.empty() && !proxy.is_asking) cut_off(proxy, why);
    const auto again = proxies_.find(tag);
    if (again == proxies_.end()) continue;
    if (again->second.lent.erase(id) != 0 && again->second.lent.empty())
      drop_locked(std::exchange(again->second.lent_cell, nullptr));
  }
}

}  // namespace rayx::relay
