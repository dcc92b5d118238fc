// Results that stay where they were made. A large result is offered by its node (transfers.cc), and named with the offer. As long as
// only tasks need it that may run on other nodes, it does not come: they are given its name, and the one that runs where it lies reads it
// there. The task that has made it counts as not done meanwhile, so it is done again if its node is lost: worker/client_elsewhere.cc.
#include "relay/relay.hpp"

namespace rayx::relay {

using worker::RefCell;

namespace {

constexpr base::TimeNs kLookAtStayingPause_ns = 1'000'000'000;

}  // namespace

// An offer of the result of the task in `row` has come. Who needs the value, and may run elsewhere, need not wait for more than that.
void Relay::stays_elsewhere(Offers::iterator offer, const SentRow& row) {
  if (offer->name == nullptr || !is_proxy(offer->name) || row.actor) return;
  const shm::Records records = control().records_of(row.owner);
  worker::Record& record = records.at(row.record);
  if (shm::generation_of(record) != row.generation) return;
  offer->record = shm::ObjectKey::make(row.owner, row.record, row.generation);
  elsewhere_[offer->record.word] = offer;
  const std::uint64_t tag = proxy_tag(offer->name);
  proxies_.at(tag).result_of = offer->record.word;
  record.queued_at.store(shm::queued_at_of({name_in_values(offer->name).words[0]}), std::memory_order_relaxed);
  const std::uint32_t before = record.state.fetch_or(detail::kRecordElsewhere, std::memory_order_acq_rel);
  if ((before & detail::kRecordNeeded) == 0) return;
  records.mark_completed(row.record);
  records.call_owner();
}

// It comes, or is lost.
void Relay::is_elsewhere_no_longer(Offer& offer) {
  const shm::ObjectKey key = std::exchange(offer.record, shm::ObjectKey{});
  if (key.word != 0) {
    elsewhere_.erase(key.word);
    worker::Record& record = control().records_of(key.owner()).at(key.record());
    record.state.fetch_and(~std::uint32_t{detail::kRecordElsewhere}, std::memory_order_acq_rel);
    record.queued_at.store(0, std::memory_order_relaxed);
  }
  RefCell* const name = std::exchange(offer.name, nullptr);
  if (name == nullptr) return;
  if (is_proxy(name)) proxies_.at(proxy_tag(name)).result_of = 0;
  drop_locked(name);
}

// Its owner is dead: nobody has the record, and its row is another process's soon.
void Relay::forget_elsewhere_of(std::uint32_t owner) {
  std::vector<Offers::iterator> over;
  for (const auto& [key, offer] : elsewhere_)
    if (shm::ObjectKey{key}.owner() == owner) over.push_back(offer);
  for (const auto offer : over) {
    elsewhere_.erase(std::exchange(offer->record, shm::ObjectKey{}).word);
    take_up(offer);
  }
}

// Only tasks need it that may run elsewhere.
bool Relay::may_stay(const Offer& offer, base::TimeNs now) {
  if (offer.record.word == 0 || offer.wanted_since_ns != base::kNever) return false;
  if ((state_of_result(offer) & detail::kRecordNeeded) == 0) return false;
  const Peer& peer = *peers_.at(offer.peer);
  if (peer.is_retiring) return false;
  return offer.bytes > store_bytes_ || (!peer.is_store_full && now - offer.since_ns < kUnwantedPatience_ns);
}

void Relay::set_aside(Offers::iterator offer, base::TimeNs now) {
  offer->is_staying = true;
  staying_.splice(staying_.end(), offers_, offer);
  if (staying_at_ns_ == base::kNever) staying_at_ns_ = now + kLookAtStayingPause_ns;
}

// It is to be looked at, wherever it lies. The offer after it.
Relay::Offers::iterator Relay::take_up(Offers::iterator offer) {
  const auto next = std::next(offer);
  if (std::exchange(offer->is_staying, false)) offers_.splice(offers_.end(), staying_, offer);
  has_offers_to_look_at_ = true;
  wake();  // pull's thread looks, and this may be another one
  return next;
}

// Those of nodes that are drained, or full, or that have stayed very long. Of those that are wanted this relay is told (result_is_looked_for), unless
// who wants them died between what it said in the record and that word.
void Relay::look_at_staying(base::TimeNs now) {
  for (auto offer = staying_.begin(); offer != staying_.end();)
    offer = may_stay(*offer, now) && !is_wanted(*offer) ? std::next(offer) : take_up(offer);
  staying_at_ns_ = staying_.empty() ? base::kNever : now + kLookAtStayingPause_ns;
}

void Relay::result_is_looked_for(std::uint64_t tag) {
  const auto proxy = proxies_.find(tag);
  if (proxy == proxies_.end() || proxy->second.result_of == 0) return;
  const auto offer = elsewhere_.find(proxy->second.result_of);
  if (offer != elsewhere_.end()) take_up(offer->second);
}

// A task that was given names could not get what they name, where it was. Then the values come here, and from here go to where it is tried next.
void Relay::want_what_was_elsewhere(const SentRow& row) {
  for (const std::uint64_t key : row.elsewhere) {
    const auto offer = elsewhere_.find(key);
    if (offer == elsewhere_.end()) continue;
    const shm::ObjectKey record = offer->second->record;
    control()
        .records_of(record.owner())
        .at(record.record())
        .state.fetch_or(detail::kRecordWanted, std::memory_order_acq_rel);
    take_up(offer->second);
  }
}

}  // namespace rayx::relay
