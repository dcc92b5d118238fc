// Room for values that come as streams: a value of 256 KiB or more is offered first, and is sent when the receiver has room for it.
//
// All values of one frame are let in together, so nothing that is on its way holds room that another one needs: what is let in always arrives,
// or its link is closed. Those that somebody waits for come first. A result that nobody waits for yet stays where it was made as long as it
// would take the room of the others.
#include <algorithm>
#include <utility>

#include "base/planted_bug.hpp"
#include "relay/relay.hpp"

namespace rayx::relay {

using worker::BlockRef;

namespace {

// Of the store: bytes that are on their way at one time, from all peers and from one. A larger value comes alone.
constexpr std::uint64_t kIncomingShare = 2;
constexpr std::uint64_t kIncomingShareOfPeer = 8;
// What nobody waits for leaves so much of the store free, and room for one more like it.
constexpr std::uint64_t kFreeShare = 4;
// And all large ones leave this for small values, which do not wait, unless they are nearly as large as the store.
constexpr std::uint64_t kSmallShare = 16;
constexpr std::uint64_t kSmallBytesMax = 16u << 20;
// As in store::ExtentMap: others may pass the one that finds no room with so many bytes in all.
constexpr std::uint64_t kPassShare = 16;
constexpr std::uint64_t kPassBytesMin = 4u << 20;
constexpr std::size_t kOffersMax = 1u << 17;  // of one peer; beyond that they are refused
constexpr base::TimeNs kLookPauseMin_ns = 1'000'000;
constexpr base::TimeNs kLookPauseMax_ns = 8'000'000;
constexpr base::TimeNs kTaskPatience_ns = 1'000'000'000;  // then another node may have room for its arguments
constexpr base::TimeNs kUnwantedPause_ns =
    10'000'000;  // first: a task that needs it where it is may be about to be submitted

}  // namespace

// ---- Out

void Relay::on_admit(Peer& peer, const AdmitHead& answer) {
  const auto found = peer.offered.find(answer.number);
  if (found == peer.offered.end()) return;
  Peer::Offered offered = std::move(found->second);
  peer.offered.erase(found);
  peer.offered_task_bytes -= offered.task_bytes;
  if (answer.has_room != 0) {
    peer.link->send_after(std::move(offered.values), std::move(offered.frame));
  } else {
    peer.link->send(std::move(offered.frame));  // before what keeps the values goes: that lets go of names inside it
  }
}

// ---- In

void Relay::on_offer(Peer& peer, const OfferHead& head, std::span<const ValueHead> values) {
  if (peer.offers >= kOffersMax) {
    if (head.key != 0) peer.released.add(FrameKind::kRelease, CountHead{head.key, 1});
    return peer.admitted.add(FrameKind::kAdmit, AdmitHead{head.number, 0});
  }
  Offer offer;
  offer.peer = peer.id;
  offer.head = head;
  offer.values.assign(values.begin(), values.end());
  for (const ValueHead& value : values) offer.bytes += value.bytes;
  offer.since_ns = clock_.now_ns();
  ++peer.offers;
  has_offers_to_look_at_ = true;
  const auto place = offers_.insert(offers_.end(), std::move(offer));
  if (head.what != OfferedFor::kResult) return;
  peer.is_store_full = head.is_store_full != 0;
  if (head.key != 0) place->name = cell_for(&peer, NameEntry{0, peer.node.value, head.key, 0, 0});
  SentRow* const row = find_sent(head.subject, peer.id);
  if (row == nullptr) return;
  row->is_made = !row->actor;
  free_slot(peer, *row, place->since_ns);  // its CPU is free
  stays_elsewhere(place, *row);
}

void Relay::free_slot(Peer& peer, SentRow& row, base::TimeNs now) {
  if (row.actor || !std::exchange(row.has_slot, false) || RAYX_PLANTED_BUG(510)) return;
  peer.windows[row.lane].finished(now);
  look_whether_worthwhile(peer, row.lane, now);
}

Relay::Offers::iterator Relay::answer_offer(Offers::iterator offer, bool has_room) {
  Peer& peer = *peers_.at(offer->peer);
  is_elsewhere_no_longer(*offer);
  if (has_room || !RAYX_PLANTED_BUG(511))
    peer.admitted.add(FrameKind::kAdmit, AdmitHead{offer->head.number, has_room ? 1u : 0u});
  --peer.offers;
  return (offer->is_staying ? staying_ : offers_).erase(offer);
}

// It is not let in any more: nobody wants it, or it has waited as long as it may.
bool Relay::is_over(const Offer& offer, base::TimeNs now) {
  const Peer& peer = *peers_.at(offer.peer);
  if (offer.bytes > store_bytes_ && !may_stay(offer, now)) return true;
  if (std::any_of(offer.values.begin(), offer.values.end(),
                  [&](const ValueHead& value) { return peer.incoming.contains(value.stream); }))
    return true;  // it has been used already
  if (offer.head.what == OfferedFor::kResult && (state_of_result(offer) & detail::kRecordUnwanted) != 0) {
    if (SentRow* const row = find_sent(offer.head.subject, offer.peer)) row->is_spent = true;
    return true;
  }
  if (offer.wanted_since_ns == base::kNever) return false;
  const base::TimeNs until = base::deadline_ns(offer.wanted_since_ns, store_timeout_);
  const bool may_go_elsewhere = offer.head.what == OfferedFor::kTask || is_argument(offer);
  return now >= (may_go_elsewhere ? std::min(until, offer.wanted_since_ns + kTaskPatience_ns) : until);
}

// Tasks of the peer's wait for it, and nobody else.
bool Relay::is_argument(const Offer& offer) {
  if (offer.head.what != OfferedFor::kObject) return false;
  const Proxy* const proxy = find_proxy({peers_.at(offer.peer)->node, offer.head.subject});
  if (proxy == nullptr || proxy->tasks.empty() || proxy->index == worker::kNoIndex) return false;
  constexpr std::uint32_t kWaitedFor = detail::kRecordWaiters | detail::kRecordForeign | detail::kRecordWanted;
  return (control().records_of(me_).at(proxy->index).state.load(std::memory_order_acquire) & kWaitedFor) == 0;
}

bool Relay::is_wanted(const Offer& offer) {
  if (offer.head.what != OfferedFor::kResult) return true;
  constexpr std::uint32_t kWaitedFor = detail::kRecordWaiters | detail::kRecordForeign | detail::kRecordWanted;
  return (state_of_result(offer) & kWaitedFor) != 0;
}

// Of the record that waits for it. One that nobody completes any more says kRecordUnwanted.
std::uint32_t Relay::state_of_result(const Offer& offer) {
  const SentRow* const row = find_sent(offer.head.subject, offer.peer);
  return row == nullptr ? std::uint32_t{detail::kRecordUnwanted}
                        : control().records_of(row->owner).at(row->record).state.load(std::memory_order_acquire);
}

// Results that are read one after the other must not be kept out by those that are to be read later.
bool Relay::may_come_unwanted(const Offer& offer, std::uint64_t largest, base::TimeNs now) {
  const Peer& peer = *peers_.at(offer.peer);
  if (now - offer.since_ns >= kUnwantedPatience_ns || peer.is_retiring) return true;
  if (now - offer.since_ns < kUnwantedPause_ns && !peer.is_store_full) return false;
  const std::uint64_t used = std::min(store_use_(), store_bytes_);
  return store_bytes_ - used >= offer.bytes + std::max(largest, store_bytes_ / kFreeShare);
}

Relay::Room Relay::make_room(Peer& peer, const Offer& offer) {
  if (peer.incoming_bytes != 0 && peer.incoming_bytes + offer.bytes > store_bytes_ / kIncomingShareOfPeer)
    return Room::kIsBusy;
  if (incoming_bytes_ != 0 && incoming_bytes_ + offer.bytes > store_bytes_ / kIncomingShare) return Room::kIsBusy;
  const std::uint64_t for_small = std::min(store_bytes_ / kSmallShare, kSmallBytesMax);
  const std::uint64_t limit = offer.bytes > store_bytes_ - 2 * for_small ? store_bytes_ : store_bytes_ - for_small;
  if (store_use_() + offer.bytes > limit && (!drop_all_kept() || store_use_() + offer.bytes > limit))
    return Room::kNone;
  std::vector<std::uint64_t> made;
  for (const ValueHead& value : offer.values) {
    const auto [place, is_new] = peer.incoming.try_emplace(value.stream);
    if (!is_new) continue;  // named twice
    detail::Failure no_room;
    if (allocate(value.bytes, false, nullptr, no_room, place->second.offset) ||
        (drop_all_kept() && allocate(value.bytes, false, nullptr, no_room, place->second.offset))) {
      place->second.bytes = value.bytes;
      made.push_back(value.stream);
      continue;
    }
    peer.incoming.erase(place);
    for (const std::uint64_t stream : made) {
      const auto other = peer.incoming.find(stream);
      free_block({other->second.offset, other->second.bytes}, {me_, 0, 0});
      peer.incoming.erase(other);
    }
    return Room::kNone;
  }
  for (const std::uint64_t stream : made) peer.incoming_bytes += peer.incoming.at(stream).bytes;
  for (const std::uint64_t stream : made) incoming_bytes_ += peer.incoming.at(stream).bytes;
  return Room::kIs;
}

void Relay::look_at_offers(base::TimeNs now) {
  has_offers_to_look_at_ = false;
  offers_at_ns_ = base::kNever;
  std::uint64_t largest = 0;
  for (auto offer = offers_.begin(); offer != offers_.end();) {
    if (is_over(*offer, now)) {
      offer = answer_offer(offer, false);
      continue;
    }
    if (offer->wanted_since_ns == base::kNever && is_wanted(*offer)) offer->wanted_since_ns = now;
    const auto here = offer++;
    if (may_stay(*here, now)) {
      set_aside(here, now);
    } else {
      largest = std::max(largest, here->bytes);
    }
  }
  bool any = false;
  const std::uint64_t pass_bytes_max = std::max(store_bytes_ / kPassShare, kPassBytesMin);
  std::vector<Offer*> passed;
  bool may_pass = true;
  for (auto offer = offers_.begin(); may_pass && offer != offers_.end();) {
    const Room room =
        offer->wanted_since_ns == base::kNever ? Room::kIsBusy : make_room(*peers_.at(offer->peer), *offer);
    if (room == Room::kIs) {
      any = true;
      for (Offer* const other : passed) other->passed_bytes += offer->bytes;
      offer = answer_offer(offer, true);
    } else if (room == Room::kNone && offer->head.what == OfferedFor::kTask) {
      offer = answer_offer(offer, false);  // another node may have room
    } else {
      if (room == Room::kNone) {
        may_pass = offer->passed_bytes < pass_bytes_max;
        passed.push_back(&*offer);
      }
      ++offer;
    }
  }
  for (auto offer = offers_.begin(); passed.empty() && offer != offers_.end();) {
    const bool may_come = offer->wanted_since_ns == base::kNever && may_come_unwanted(*offer, largest, now) &&
                          make_room(*peers_.at(offer->peer), *offer) == Room::kIs;
    any = any || may_come;
    offer = may_come ? answer_offer(offer, true) : std::next(offer);
  }
  offers_pause_ns_ = any ? kLookPauseMin_ns : std::clamp(2 * offers_pause_ns_, kLookPauseMin_ns, kLookPauseMax_ns);
  if (!offers_.empty()) offers_at_ns_ = now + offers_pause_ns_;
}

std::span<std::byte> Relay::place_for_value(PeerId id, std::uint64_t stream, std::uint64_t offset,
                                            std::uint64_t bytes) {
  const Lock lock(mutex_);
  const auto peer = peers_.find(id);
  if (peer == peers_.end()) return {};
  const auto found = peer->second->incoming.find(stream);
  if (found == peer->second->incoming.end()) return {};
  const Peer::Incoming& value = found->second;
  if (offset != value.arrived || bytes > value.bytes - value.arrived) return {};
  return {arena().writable(value.offset) + (RAYX_PLANTED_BUG(512) ? 0 : offset), bytes};
}

void Relay::value_arrived(PeerId id, std::uint64_t stream, std::uint64_t bytes) {
  const Lock lock(mutex_);
  const auto peer = peers_.find(id);
  if (peer == peers_.end()) return;
  const auto found = peer->second->incoming.find(stream);
  if (found != peer->second->incoming.end()) found->second.arrived += bytes;
}

BlockRef Relay::take_value(Peer& peer, std::uint64_t stream) {
  const auto found = peer.incoming.find(stream);
  if (found == peer.incoming.end()) return {0, 0};
  const Peer::Incoming value = found->second;
  peer.incoming.erase(found);
  peer.incoming_bytes -= value.bytes;
  incoming_bytes_ -= value.bytes;
  has_offers_to_look_at_ = has_offers_to_look_at_ || !offers_.empty();
  if (value.arrived == value.bytes) return {value.offset, value.bytes};
  free_block({value.offset, value.bytes}, {me_, 0, 0});
  return {0, 0};
}

// The link is closed.
void Relay::forget_transfers_of(Peer& peer) {
  for (const auto& [stream, value] : peer.incoming) free_block({value.offset, value.bytes}, {me_, 0, 0});
  peer.incoming.clear();
  incoming_bytes_ -= std::exchange(peer.incoming_bytes, 0);
  for (Offers* const list : {&offers_, &staying_}) {
    std::erase_if(*list, [&](Offer& offer) {
      if (offer.peer != peer.id) return false;
      is_elsewhere_no_longer(offer);
      return true;
    });
  }
  if (!offers_.empty()) offers_at_ns_ = 0;  // there is room again
}

}  // namespace rayx::relay
