// Short messages to whoever in the cluster wants them.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include <rayx/detail/cluster_words.hpp>
#include <rayx/objects.hpp>
#include <rayx/options.hpp>

#pragma GCC visibility push(default)
namespace rayx {

// To all that are subscribed to the channel now, in any program of the cluster, in one order for all. Nobody keeps it for those who
// come later. Returns when the cluster's head has it. InvalidArgument: the channel's name is empty or has more than 1,024 bytes, or the
// payload more than 256 KiB; OutOfMemory: the cluster has 10,000 channels; SystemError: the cluster is gone. Any thread, also inside a task.
void publish(const std::string& channel, const std::string& payload);

// Reads a channel, of which a process may have several. What is published after the constructor has returned arrives, each message
// once and in order; or the next one says how many did not: a reader has at most 1,000 messages and 16 MiB that wait for it on its
// node, then the oldest is dropped. The head itself publishes who joins and leaves on "rayx.nodes", and which actors die on
// "rayx.actors", in words. One thread at a time; not after a fork.
class [[nodiscard]] Subscription {
 public:
  // Asks the head once. Errors as publish(); OutOfMemory also when the program has 1,000 subscriptions on this node.
  explicit Subscription(std::string channel);
  ~Subscription();
  Subscription(Subscription&& other) noexcept;
  Subscription& operator=(Subscription&& other) noexcept;

  // The next message; waits for it. Nothing: the time is over, and nothing is lost. Messages are fetched from the node many at a time.
  std::optional<Message> next(Duration timeout = kForever);
  const std::string& channel() const noexcept { return channel_; }

 private:
  void end() noexcept;

  std::string channel_;
  std::uint64_t reader_ = 0;      // 0: moved from
  std::uint32_t runtime_ = 0;     // in which it was made
  std::uint64_t seen_ = 0;        // the number of the last message that has arrived here
  std::deque<Message> here_;      // and was not asked for yet
  ObjectRef<detail::News> more_;  // asked for, unless null
};

}  // namespace rayx
#pragma GCC visibility pop
