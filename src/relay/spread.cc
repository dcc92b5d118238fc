// One object that many nodes want spreads from node to node: its own node sends two copies, and names to who asks later one that has a copy
// or is getting it. Whoever is disappointed there comes back.
#include <algorithm>

#include "relay/relay.hpp"

namespace rayx::relay {

using worker::RefCell;

namespace {

constexpr std::uint64_t kSpreadBytesMin = 1u << 20;
constexpr std::size_t kCopiesOfOrigin = 2;

}  // namespace

// ---- The origin

// The value of an export is there, and the peer wants it.
void Relay::serve(Peer& peer, std::uint64_t key, bool is_direct) {
  Export& exported = exports_.at(key);
  const detail::ValueView view = view_of_cell(exported.cell);
  // References inside are named by the origin alone, and without Places other nodes may not reach each other. Who asks again is not sent
  // elsewhere: else two might wait for each other.
  is_direct = is_direct || exported.has_asked.contains(peer.id);
  exported.has_asked.insert(peer.id);
  const bool spreads = places_ != nullptr && !peer.is_foreign() && !is_direct && !view.is_error && !view.has_refs &&
                       view.size >= kSpreadBytesMin && !is_proxy(exported.cell);
  if (!spreads) return send_value(peer, key);
  std::vector<Export::Copy>& copies = exported.copies;
  if (copies.size() < kCopiesOfOrigin) {
    copies.push_back({peer.id, 0, 0});
    return send_value(peer, key);
  }
  // Where the copy will be there first: each is sent to one after the other.
  const auto best = std::min_element(copies.begin(), copies.end(), [](const Export::Copy& a, const Export::Copy& b) {
    return a.level + a.followers < b.level + b.followers;
  });
  const std::uint32_t level = best->level + ++best->followers;
  peer.elsewhere.add(FrameKind::kFetchFrom, LentHead{peers_.at(best->peer)->node.value, key});
  copies.push_back({peer.id, level, 0});
}

// ---- Who wants it

void Relay::on_fetch_from(Peer& peer, const LentHead& where) {
  Proxy* const proxy = find_proxy({peer.node, where.key});
  if (proxy == nullptr || !proxy->is_fetching || proxy->index == worker::kNoIndex) return;
  proxy->copy_from = base::NodeId{where.origin};
  if (Peer* const other = peer_on(proxy->copy_from)) {
    other->copies_asked.add(FrameKind::kFetchCopy, LentHead{peer.node.value, where.key});
  } else if (places_ != nullptr && proxy->copy_from != node_) {
    places_->need_peer(proxy->copy_from);
  } else {
    fetch_directly(*proxy);
  }
}

// The other node has no copy, or cannot be reached.
void Relay::fetch_directly(Proxy& proxy) {
  proxy.copy_from = {};
  if (!proxy.is_fetching || proxy.named.empty()) return;
  if (Peer* const origin = find_peer(proxy.named.begin()->first))
    origin->fetches.add(FrameKind::kFetch, FetchHead{proxy.object.key, 1});
}

void Relay::node_has_no_copies(base::NodeId node) {
  if (!node) return;
  for (auto& [tag, proxy] : proxies_)
    if (proxy.copy_from == node) fetch_directly(proxy);
}

// There is a link to it now.
void Relay::ask_for_copies(Peer& peer) {
  for (auto& [tag, proxy] : proxies_)
    if (proxy.copy_from == peer.node)
      peer.copies_asked.add(FrameKind::kFetchCopy, LentHead{proxy.object.origin.value, proxy.object.key});
}

void Relay::on_copied(Peer& peer, const CopiedHead& object, const WireValue& value) {
  Arrived arrived = take_arrived(&peer, value);
  Proxy* const proxy = find_proxy({base::NodeId{object.origin}, object.key});
  if (proxy != nullptr && proxy->is_fetching && proxy->copy_from == peer.node && proxy->index != worker::kNoIndex) {
    if (object.has_copy == 0) {
      fetch_directly(*proxy);
    } else {
      has_come(*proxy, arrived, value.stream != 0, false);
    }
  }
  forget(arrived);
}

// ---- Who has it

void Relay::on_fetch_copy(Peer& peer, const LentHead& object) {
  const RemoteKey key{base::NodeId{object.origin}, object.key};
  Proxy* const proxy = find_proxy(key);
  if (proxy == nullptr || proxy->index == worker::kNoIndex || (!proxy->is_done && !proxy->is_wanted)) {
    peer.copies.add(FrameKind::kCopied, CopiedHead{object.origin, object.key, 0, 0});
  } else if (proxy->is_done) {
    send_copy(peer, *proxy);
  } else {
    proxy->copies_wanted.push_back(peer.id);
  }
}

void Relay::send_copy(Peer& peer, const Proxy& proxy) {
  RefCell* const cell = another_cell(proxy.index);
  const detail::ValueView view = view_of_cell(cell);
  CopiedHead head{proxy.object.origin.value, proxy.object.key, 0, 0};
  if (view.is_error || view.has_refs || view.size < kStreamBytesMin) {
    peer.copies.add(FrameKind::kCopied, head);
    return drop_locked(cell);
  }
  Piece piece;
  piece.bytes = {view.data, view.size};
  piece.keep = keep_while_sent({cell});
  head.has_copy = 1;
  head.bytes = piece.length();
  Cargo cargo;
  cargo.what = OfferedFor::kCopy;
  cargo.subject = proxy.object.key;
  FrameWriter own;
  own.add(FrameKind::kCopied, head);
  put_value(own, peer, piece, cargo);
  send_cargo(peer, own, cargo);
}

// The value of the proxy has come, or never will.
void Relay::serve_copies(const RemoteKey& object, const std::vector<PeerId>& peers) {
  for (const PeerId id : peers)
    if (Peer* const peer = find_peer(id)) on_fetch_copy(*peer, {object.origin.value, object.key});
}

}  // namespace rayx::relay
