#include "relay/subscriptions.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace rayx::relay {
namespace {

std::uint64_t sum_of_missed(std::uint64_t a, std::uint64_t b) {
  return a >= kMissedUnknown - b ? kMissedUnknown : a + b;
}

}  // namespace

void Subscriptions::open(const std::string& channel, std::uint32_t owner, std::uint64_t question) {
  if (readers_.size() >= kReadersMax)
    return sink_.refuse(question, ErrorCode::kStoreFull,
                        "rayx: Subscription: the program has " + std::to_string(kReadersMax) +
                            " subscriptions on this node. End some of them");
  const auto [known, is_new] = channels_.try_emplace(channel);
  ++known->second.readers;
  Reader& reader = readers_[++last_reader_];
  reader.channel = channel;
  reader.owner = owner;
  if (known->second.is_confirmed) return sink_.reader_is_there(question, last_reader_);
  reader.opening = question;
  if (is_new) sink_.begin_reading(channel);
}

void Subscriptions::confirmed(const std::string& channel, bool is_refused) {
  const auto known = channels_.find(channel);
  if (known == channels_.end()) return;
  known->second.is_confirmed = !is_refused;
  for (auto it = readers_.begin(); it != readers_.end();) {
    Reader& reader = it->second;
    if (reader.channel != channel || (!is_refused && reader.opening == 0)) {
      ++it;
      continue;
    }
    const std::uint64_t opening = std::exchange(reader.opening, 0);
    if (!is_refused) {
      sink_.reader_is_there(opening, it->first);
      ++it;
      continue;
    }
    const std::string why = "rayx: Subscription: the cluster has " + std::to_string(registry::kChannelsMax) +
                            " channels, as many as it can have. Use fewer names";
    for (const std::uint64_t question : {opening, reader.asking})
      if (question != 0) sink_.refuse(question, ErrorCode::kStoreFull, why);
    it = forget(it);
  }
}

Subscriptions::Reader* Subscriptions::find(std::uint64_t reader, std::uint32_t owner) {
  const auto found = readers_.find(reader);
  return found == readers_.end() || found->second.owner != owner ? nullptr : &found->second;
}

void Subscriptions::read(std::uint64_t number, std::uint32_t owner, std::uint64_t seen, std::uint64_t question) {
  Reader* const reader = find(number, owner);
  if (reader == nullptr)
    return sink_.refuse(question, ErrorCode::kNotFound, "rayx: Subscription: the node does not know it any more");
  if (reader->asking != 0)
    return sink_.refuse(question, ErrorCode::kInvalidArgument, "rayx: Subscription: two threads read it at once");
  while (!reader->waiting.empty() && reader->first <= seen) drop_first(*reader);
  // What was dropped may have arrived before: only now it is known.
  reader->seen = std::max(reader->seen, std::min(seen, reader->first - 1));
  while (!reader->dropped.empty() && reader->dropped.front().first <= reader->seen) reader->dropped.pop_front();
  reader->asking = question;
  answer(*reader);
}

void Subscriptions::drop_first(Reader& reader) {
  reader.waiting_bytes -= reader.waiting.front().payload->size();
  reader.waiting.pop_front();
  ++reader.first;
}

void Subscriptions::drop_oldest(Reader& reader) {
  constexpr std::size_t kRemembered = 1'000;
  const std::uint64_t missed = reader.waiting.front().missed;
  if (missed > 0 && reader.dropped.size() < kRemembered) {
    reader.dropped.emplace_back(reader.first, missed);
  } else if (missed > 0) {
    reader.dropped.back().second = sum_of_missed(reader.dropped.back().second, missed);
  }
  drop_first(reader);
}

std::uint64_t Subscriptions::missed_before_first(const Reader& reader) {
  std::uint64_t missed = reader.first - 1 - reader.seen;
  for (const auto& [number, more] : reader.dropped) missed = sum_of_missed(missed, more);
  return missed;
}

void Subscriptions::answer(Reader& reader) {
  if (reader.asking == 0 || reader.waiting.empty()) return;
  detail::News news;
  news.first = reader.first;
  std::size_t bytes = 0;
  for (const Waiting& it : reader.waiting) {
    bytes += it.payload->size();
    if (!news.messages.empty() && bytes > kGivenBytesMax) break;
    news.messages.push_back({*it.payload, it.missed});
  }
  news.messages[0].missed = sum_of_missed(news.messages[0].missed, missed_before_first(reader));
  sink_.give_news(std::exchange(reader.asking, 0), news);
}

void Subscriptions::published(const std::string& channel, const std::string& payload, std::uint64_t missed) {
  if (!channels_.contains(channel)) return;
  const auto shared = std::make_shared<const std::string>(payload);
  for (auto& [number, reader] : readers_) {
    if (reader.channel != channel || reader.opening != 0) continue;
    reader.waiting.push_back({shared, sum_of_missed(std::exchange(reader.missed, 0), missed)});
    reader.waiting_bytes += payload.size();
    while (reader.waiting.size() > kWaitingMax || reader.waiting_bytes > kWaitingBytesMax) drop_oldest(reader);
    answer(reader);
  }
}

void Subscriptions::missed(const std::string& channel, std::optional<std::uint64_t> count) {
  for (auto& [number, reader] : readers_)
    if (reader.channel == channel && reader.opening == 0)
      reader.missed = sum_of_missed(reader.missed, count.value_or(kMissedUnknown));
}

Subscriptions::Readers::iterator Subscriptions::forget(Readers::iterator reader) {
  const auto channel = channels_.find(reader->second.channel);
  if (--channel->second.readers == 0) {
    sink_.end_reading(channel->first);
    channels_.erase(channel);
  }
  return readers_.erase(reader);
}

void Subscriptions::close(std::uint64_t number, std::uint32_t owner) {
  Reader* const reader = find(number, owner);
  if (reader == nullptr) return;
  if (reader->asking != 0) sink_.refuse(reader->asking, ErrorCode::kCancelled, "rayx: Subscription: it has ended");
  forget(readers_.find(number));
}

void Subscriptions::owner_has_died(std::uint32_t owner) {
  for (auto it = readers_.begin(); it != readers_.end();) it = it->second.owner == owner ? forget(it) : std::next(it);
}

}  // namespace rayx::relay
