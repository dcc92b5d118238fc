#include "api/local_cluster.hpp"

#include <chrono>
#include <utility>
#include <variant>

#include "base/clock.hpp"
#include "relay/key_words.hpp"
#include "worker/encoded_value.hpp"

namespace rayx::detail {
namespace {

constexpr std::uint32_t kProcess = 0;  // the only one

}  // namespace

void LocalCluster::ask(ClusterQuestion question, std::span<const std::byte> argument, std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  const std::string problem = answer(question, argument, number);
  if (!problem.empty()) refuse(number, ErrorCode::kMalformed, problem);
  answered_.notify_all();
}

std::string LocalCluster::answer(ClusterQuestion question, std::span<const std::byte> argument, std::uint64_t number) {
  const auto give = [&](const auto& value) { answers_.give(number, worker::EncodedValue(value).bytes()); };
  if (question <= ClusterQuestion::kListKeys) {
    Result<KeyWords> words = worker::decode_value<KeyWords>(argument);
    if (!words) return words.error().message;
    give(answer_of_keys(question, *words));
  } else if (question <= ClusterQuestion::kSubscribe) {
    const Result<ChannelWords> words = worker::decode_value<ChannelWords>(argument);
    if (!words) return words.error().message;
    if (question == ClusterQuestion::kSubscribe) {
      subscriptions_.open(words->channel, kProcess, number);
    } else {
      subscriptions_.published(words->channel, words->payload, 0);
      give(ClusterAnswer{});
    }
  } else {
    const Result<ReadWords> words = worker::decode_value<ReadWords>(argument);
    if (!words) return words.error().message;
    if (question == ClusterQuestion::kRead) {
      subscriptions_.read(words->reader, kProcess, words->seen, number);
    } else {
      subscriptions_.close(words->reader, kProcess);
      give(ClusterAnswer{});
    }
  }
  return {};
}

ClusterAnswer LocalCluster::answer_of_keys(ClusterQuestion question, KeyWords& words) {
  const registry::RequestBody request = relay::request_of(question, std::move(words));
  return relay::words_of(std::visit(
      [this](const auto& it) -> registry::Answer {
        if constexpr (requires { values_.answer(it); }) return values_.answer(it);
        return {};  // request_of makes no other
      },
      request));
}

bool LocalCluster::wait(const std::function<bool()>& is_ready, DeadlineNs deadline) {
  std::unique_lock lock(mutex_);
  if (deadline == kNever) {
    answered_.wait(lock, is_ready);
    return true;
  }
  const auto left = std::chrono::nanoseconds(deadline == kPoll ? 0 : deadline - base::SteadyClock().now_ns());
  return answered_.wait_for(lock, left, is_ready);
}

void LocalCluster::reader_is_there(std::uint64_t question, std::uint64_t reader) {
  answers_.give(question, worker::EncodedValue(reader).bytes());
}
void LocalCluster::give_news(std::uint64_t question, const News& news) {
  answers_.give(question, worker::EncodedValue(news).bytes());
}
void LocalCluster::refuse(std::uint64_t question, ErrorCode code, const std::string& why) {
  answers_.refuse(question, code, why);
}

}  // namespace rayx::detail
