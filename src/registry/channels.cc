#include "registry/channels.hpp"

#include <algorithm>

#include "base/planted_bug.hpp"

namespace rayx::registry {

std::uint64_t* Channels::number_of(const std::string& channel) {
  const auto found = numbers_.find(channel);
  if (found != numbers_.end()) return &found->second;
  if (channel.empty() || channel.size() > kNameBytesMax || numbers_.size() >= kChannelsMax) return nullptr;
  return &numbers_[channel];
}

std::optional<std::uint64_t> Channels::subscribe(NodeId member, const std::string& channel) {
  const std::uint64_t* number = number_of(channel);
  if (number == nullptr) return std::nullopt;
  readers_[member].sent[channel] = *number;
  return *number;
}

void Channels::unsubscribe(NodeId member, const std::string& channel) {
  const auto found = readers_.find(member);
  if (found == readers_.end()) return;
  found->second.sent.erase(channel);
  std::erase_if(found->second.queue, [&](const Waiting& it) { return it.channel == channel; });
}

bool Channels::publish(const std::string& channel, std::string payload) {
  std::uint64_t* number = number_of(channel);
  if (number == nullptr) return false;
  ++*number;
  const auto shared = std::make_shared<const std::string>(std::move(payload));
  for (auto& [member, reader] : readers_) {
    if (!reader.sent.contains(channel)) continue;
    reader.queue.push_back({channel, *number, shared});
    if (reader.queue.size() > queue_max_) reader.queue.pop_front();
    pump(member, reader);
  }
  return true;
}

void Channels::seen(NodeId member, std::uint64_t count) {
  const auto found = readers_.find(member);
  if (found == readers_.end()) return;
  found->second.seen_count = std::clamp(count, found->second.seen_count, found->second.sent_count);
  pump(member, found->second);
}

void Channels::pump(NodeId member, Reader& reader) {
  while (!reader.queue.empty() && reader.sent_count - reader.seen_count < unseen_max_) {
    const Waiting next = std::move(reader.queue.front());
    reader.queue.pop_front();
    std::uint64_t& last = reader.sent[next.channel];
    const std::uint64_t missed = RAYX_PLANTED_BUG(403) ? 0 : next.number - last - 1;
    last = next.number;
    ++reader.sent_count;
    send_(member, Published{next.channel, 0, next.number, missed, *next.payload});
  }
}

}  // namespace rayx::registry
