// Large arguments: they cross to a node by their name, and once for all tasks there that need them. When nothing uses such a value any more, the
// node keeps it for a moment, for the next task with the same argument; its owner does not know, and keeps nothing for it.
#include <algorithm>
#include <cstring>

#include "relay/relay.hpp"

namespace rayx::relay {

using worker::BlockRef;
using worker::RefCell;

namespace {

// Of the store: arguments that were sent for and have not come. What one task needs is sent for together, if need be alone: a task that
// has some of its arguments does not wait for room that others of its kind have taken.
constexpr std::uint64_t kComingShare = 4;
constexpr base::TimeNs kComingPatience_ns = 1'000'000'000;  // one that is on its way so long holds up nobody else
constexpr std::uint64_t kKeptShare = 4;                     // of the store: values that nothing uses
constexpr base::TimeNs kKept_ns = 1'000'000'000;
constexpr base::TimeNs kLookAtKeptPause_ns = 20'000'000;
constexpr std::uint64_t kFullShare = 8;  // where less of the store is free, nothing is kept

}  // namespace

// ---- Out

void Relay::put_parts(FrameWriter& writer, Peer& peer, std::vector<std::pair<std::uint32_t, Piece>>& parts,
                      Cargo& cargo) {
  for (auto& [position, piece] : parts) {
    if (piece.is_stream()) {
      put_by_name(writer, peer, position, piece, cargo);
    } else {
      writer.put(PartHead{position, 0, piece.length()});
      put_value(writer, peer, piece, cargo);
    }
  }
}

// Its bytes are sent when the other node asks for them: see send_value.
void Relay::put_by_name(FrameWriter& writer, Peer& peer, std::uint32_t position, Piece& piece, Cargo& cargo) {
  RefCell* const cell = another_cell(index_of(piece.cell));
  std::byte place[kNamedPartBytes] = {};
  const std::uint64_t bytes = piece.size();
  std::memcpy(place + kNameBytes, &bytes, sizeof(bytes));
  writer.put(PartHead{position, 1, kNamedPartBytes | kHasNames});
  writer.put_bytes(place);
  writer.put(std::uint64_t{1});
  writer.put(name_of_argument(peer, cell));
  cargo.named.push_back(cell);
  drop_names(piece.names);
  piece.keep.reset();
}

// What a third node has need not come from there if it is here, too: this node stands in for it.
NameEntry Relay::name_of_argument(Peer& peer, RefCell* cell) {
  const Proxy* const proxy = is_proxy(cell) ? &proxies_.at(proxy_tag(cell)) : nullptr;
  if (proxy == nullptr || !proxy->is_done || proxy->object.origin == peer.node) return name_for(peer, {0, cell});
  return {0, me_for(peer).value, name_export(peer, cell), 0, 0};
}

// ---- In

RefCell* Relay::take_named_part(Peer& peer, const Part& part, ArgumentsOf& arguments) {
  RefCell* const cell = cell_for(&peer, part.value.names.at(0));
  if (cell == nullptr || !is_proxy(cell)) return cell;  // gone, or this node's own
  Proxy& proxy = proxies_.at(proxy_tag(cell));
  std::memcpy(&proxy.bytes, part.value.here.data() + kNameBytes, sizeof(proxy.bytes));
  arguments.bytes += proxy.bytes;
  arguments.tags.push_back(proxy_tag(cell));
  return cell;
}

// What waits for them has been submitted, and begins when they are there. A task is given back if they cannot come; a call, which later ones
// of its caller wait for, is an error then.
void Relay::want_arguments(std::uint32_t row, ArgumentsOf arguments, bool may_be_given_back) {
  for (const std::uint64_t tag : arguments.tags) {
    if (!may_be_given_back) break;
    Proxy& proxy = proxies_.at(tag);
    if (!proxy.is_done) proxy.tasks.push_back({row, taken_[row].number, taken_[row].peer});
    if (proxy.failed) taken_[row].returned = proxy.failed;
  }
  arguments.since_ns = clock_.now_ns();
  wants_.push_back(std::move(arguments));
  has_wants_to_look_at_ = true;
}

void Relay::look_at_wants(base::TimeNs now) {
  has_wants_to_look_at_ = false;
  wants_at_ns_ = base::kNever;
  std::vector<std::uint64_t> tags;
  while (!wants_.empty()) {
    const ArgumentsOf& first = wants_.front();
    tags.clear();
    std::uint64_t bytes = 0;
    for (const std::uint64_t tag : first.tags) {
      const auto found = proxies_.find(tag);
      if (found == proxies_.end() || found->second.is_done || found->second.coming_bytes != 0) continue;
      if (std::find(tags.begin(), tags.end(), tag) != tags.end()) continue;
      tags.push_back(tag);
      bytes += found->second.bytes;
    }
    const bool has_room = coming_bytes_ == 0 || coming_bytes_ + bytes <= store_bytes_ / kComingShare;
    if (!tags.empty() && !has_room && now < first.since_ns + kComingPatience_ns) {
      wants_at_ns_ = first.since_ns + kComingPatience_ns;
      return;
    }
    wants_.pop_front();
    if (!wants_.empty()) wants_.front().since_ns = std::max(wants_.front().since_ns, now);
    for (const std::uint64_t tag : tags) {
      Proxy& proxy = proxies_.at(tag);
      proxy.coming_bytes = proxy.bytes;
      coming_bytes_ += proxy.bytes;
      proxy.is_wanted = true;
    }
    for (const std::uint64_t tag : tags)
      if (const auto found = proxies_.find(tag); found != proxies_.end()) send_for(found->second);
  }
}

// It is there, or will not come.
void Relay::argument_is_settled(Proxy& proxy, std::optional<ReturnReason> failed) {
  if (proxy.coming_bytes != 0) {
    coming_bytes_ -= std::exchange(proxy.coming_bytes, 0);
    has_wants_to_look_at_ = has_wants_to_look_at_ || !wants_.empty();
  }
  if (failed) proxy.failed = failed;
  for (const Proxy::Task& task : std::exchange(proxy.tasks, {})) {
    TakenRow& row = taken_[task.row];
    if (failed && row.number == task.number && row.peer == task.peer) row.returned = failed;
  }
}

// ---- What is kept

// Nothing uses the proxy any more, whose value lies in the block. True: the block is the relay's from now on.
bool Relay::takes_block_of_proxy(std::uint64_t tag, const BlockRef& block) {
  const auto found = proxies_.find(tag);
  if (found == proxies_.end() || found->second.bytes == 0 || block.size > store_bytes_ / kKeptShare) return false;
  const base::TimeNs now = clock_.now_ns();
  const RemoteKey object = found->second.object;
  if (is_store_full() || kept_.contains(object)) return false;
  kept_[object] = {block, now + kKept_ns};
  kept_in_order_.push_back({now + kKept_ns, object});
  kept_bytes_ += block.size;
  while (kept_bytes_ > store_bytes_ / kKeptShare) drop_oldest_kept();
  if (kept_at_ns_ == base::kNever) {
    kept_at_ns_ = now + kLookAtKeptPause_ns;
    wake();
  }
  return true;
}

bool Relay::use_kept(Proxy& proxy) {
  const auto found = kept_.find(proxy.object);
  if (found == kept_.end() || proxy.index == worker::kNoIndex) return false;
  const BlockRef block = found->second.block;
  kept_.erase(found);
  kept_bytes_ -= block.size;
  proxy.is_done = true;
  argument_is_settled(proxy, {});
  const worker::Index index = proxy.index;  // what is completed may be freed at once
  complete_proxy(index, block, {}, false);
  value_is_there(index);
  return true;
}

void Relay::drop_oldest_kept() {
  const auto [until_ns, object] = kept_in_order_.front();
  kept_in_order_.pop_front();
  const auto found = kept_.find(object);
  if (found == kept_.end() || found->second.until_ns != until_ns) return;  // it was used meanwhile
  kept_bytes_ -= found->second.block.size;
  free_block(found->second.block, {me_, 0, 0});
  kept_.erase(found);
}

// Whether there was anything.
bool Relay::drop_all_kept() {
  const bool any = !kept_.empty();
  while (!kept_in_order_.empty()) drop_oldest_kept();
  return any;
}

bool Relay::is_store_full() const { return store_use_() + store_bytes_ / kFullShare > store_bytes_; }

void Relay::look_at_kept(base::TimeNs now) {
  if (is_store_full()) drop_all_kept();
  while (!kept_in_order_.empty() && kept_in_order_.front().first <= now) drop_oldest_kept();
  kept_at_ns_ = kept_in_order_.empty() ? base::kNever : now + kLookAtKeptPause_ns;
}

}  // namespace rayx::relay
