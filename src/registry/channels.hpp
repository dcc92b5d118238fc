// Who is told what is published. Each subscriber has a bounded queue; what is dropped from it is counted for it, so that it
// always knows how much it missed. Nothing here is durable: after a start of the head subscribers begin anew. Where there are too many
// channels, the one without subscribers is forgotten that was used longest ago.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "registry/limits.hpp"
#include "registry/messages.hpp"

namespace rayx::registry {

// What the head itself publishes, in words.
inline const std::string kNodesChannel = "rayx.nodes";
inline const std::string kActorsChannel = "rayx.actors";
// For whoever collects output of workers.
inline const std::string kLogsChannel = "rayx.logs";

class Channels {
 public:
  using Send = std::function<void(NodeId, Published)>;

  Channels(Send send, std::size_t unseen_max, std::size_t queue_max)
      : send_(std::move(send)), unseen_max_(unseen_max), queue_max_(queue_max) {}

  // The number of what was published last; what comes after it will be sent. Nothing: too many channels, or the name is too long.
  std::optional<std::uint64_t> subscribe(NodeId member, const std::string& channel);
  void unsubscribe(NodeId member, const std::string& channel);
  // Its connection is gone, and what was on its way.
  void drop(NodeId member);
  // False: too many channels, or the name is too long.
  bool publish(const std::string& channel, std::string payload);
  // The member has had so many since it joined.
  void seen(NodeId member, std::uint64_t count);

 private:
  struct Waiting {
    std::string channel;
    std::uint64_t number = 0;
    std::shared_ptr<const std::string> payload;
  };
  struct Reader {
    std::map<std::string, std::uint64_t> sent;  // the last number of each channel
    std::deque<Waiting> queue;
    std::uint64_t sent_count = 0;
    std::uint64_t seen_count = 0;
  };

  struct Channel {
    std::uint64_t number = 0;  // of what was published last
    std::set<NodeId> readers;
    std::uint64_t used = 0;  // the place in unread_; 0: it has readers
  };

  Channel* find(const std::string& channel);
  void was_used(const std::string& name, Channel& channel);
  void stop_reading(NodeId member, const std::string& name);
  void pump(NodeId member, Reader& reader);

  Send send_;
  const std::size_t unseen_max_;  // messages of one member on their way
  const std::size_t queue_max_;   // and behind them
  std::map<std::string, Channel> channels_;
  std::map<std::uint64_t, std::string> unread_;  // without readers, the one that was used longest ago first
  std::uint64_t last_use_ = 0;
  std::uint64_t highest_forgotten_ = 0;  // a channel that is made again goes on from there: numbers never fall
  std::map<NodeId, Reader> readers_;
};

}  // namespace rayx::registry
