// The keys and channels of a cluster that is one process: RAYX_LOCAL.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>

#include "rayx/detail/backend.hpp"
#include "registry/key_values.hpp"
#include "relay/subscriptions.hpp"

namespace rayx::detail {

struct KeyWords;

class LocalCluster final : private relay::Subscriptions::Sink {
 public:
  // Whom the answers are given to, by the thread that asks or one that publishes.
  struct Answers {
    std::function<void(std::uint64_t question, std::span<const std::byte> value)> give;
    std::function<void(std::uint64_t question, ErrorCode code, const std::string& why)> refuse;
  };
  explicit LocalCluster(Answers answers) : answers_(std::move(answers)) {}

  static bool knows(ClusterQuestion question) { return question >= ClusterQuestion::kPutKey; }
  // Any thread. Answered at once, but for kRead.
  void ask(ClusterQuestion question, std::span<const std::byte> argument, std::uint64_t number);
  // Until an answer makes it true, or the deadline. False: the deadline.
  bool wait(const std::function<bool()>& is_ready, DeadlineNs deadline);

 private:
  std::string answer(ClusterQuestion question, std::span<const std::byte> argument, std::uint64_t number);
  ClusterAnswer answer_of_keys(ClusterQuestion question, KeyWords& words);

  void begin_reading(const std::string& channel) override { subscriptions_.confirmed(channel, false); }
  void end_reading(const std::string&) override {}
  void reader_is_there(std::uint64_t question, std::uint64_t reader) override;
  void give_news(std::uint64_t question, const News& news) override;
  void refuse(std::uint64_t question, ErrorCode code, const std::string& why) override;

  const Answers answers_;
  std::mutex mutex_;
  std::condition_variable answered_;
  registry::KeyValues values_;
  relay::Subscriptions subscriptions_{*this};
};

}  // namespace rayx::detail
