#include "registry/channels.hpp"

#include <algorithm>
#include <utility>

#include "base/planted_bug.hpp"

namespace rayx::registry {

Channels::Channel* Channels::find(const std::string& channel) {
  const auto found = channels_.find(channel);
  if (found != channels_.end()) return &found->second;
  if (channel.empty() || channel.size() > kNameBytesMax) return nullptr;
  if (channels_.size() >= kChannelsMax) {
    if (unread_.empty()) return nullptr;
    const auto oldest = channels_.find(unread_.begin()->second);
    highest_forgotten_ = std::max(highest_forgotten_, oldest->second.number);
    channels_.erase(oldest);
    unread_.erase(unread_.begin());
  }
  Channel& made = channels_[channel];
  made.number = highest_forgotten_;
  was_used(channel, made);
  return &made;
}

void Channels::was_used(const std::string& name, Channel& channel) {
  if (channel.used != 0) unread_.erase(std::exchange(channel.used, 0));
  if (channel.readers.empty()) unread_.emplace(channel.used = ++last_use_, name);
}

void Channels::stop_reading(NodeId member, const std::string& name) {
  Channel& channel = channels_.at(name);
  channel.readers.erase(member);
  was_used(name, channel);
}

std::optional<std::uint64_t> Channels::subscribe(NodeId member, const std::string& channel) {
  Channel* it = find(channel);
  if (it == nullptr) return std::nullopt;
  it->readers.insert(member);
  was_used(channel, *it);
  readers_[member].sent[channel] = it->number;
  return it->number;
}

void Channels::unsubscribe(NodeId member, const std::string& channel) {
  const auto found = readers_.find(member);
  if (found == readers_.end() || found->second.sent.erase(channel) == 0) return;
  stop_reading(member, channel);
  std::erase_if(found->second.queue, [&](const Waiting& it) { return it.channel == channel; });
}

void Channels::drop(NodeId member) {
  const auto found = readers_.find(member);
  if (found == readers_.end()) return;
  for (const auto& [channel, number] : found->second.sent) stop_reading(member, channel);
  readers_.erase(found);
}

bool Channels::publish(const std::string& channel, std::string payload) {
  Channel* it = find(channel);
  if (it == nullptr) return false;
  ++it->number;
  if (it->readers.empty()) return was_used(channel, *it), true;
  const auto shared = std::make_shared<const std::string>(std::move(payload));
  for (const NodeId member : it->readers) {
    Reader& reader = readers_.at(member);
    reader.queue.push_back({channel, it->number, shared});
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
