// The door to what the cluster's head keeps for all: keys and values, and channels.
#include <string>
#include <utility>

#include "rayx/channel.hpp"
#include "rayx/detail/ref_count.hpp"
#include "rayx/detail/values.hpp"
#include "rayx/errors.hpp"
#include "rayx/key_values.hpp"
#include "registry/limits.hpp"
#include "worker/encoded_value.hpp"

namespace rayx {
namespace {

using detail::ClusterAnswer;
using detail::ClusterQuestion;
using detail::throw_error;

[[noreturn]] void refuse(const char* what, const std::string& why) {
  throw_error({ErrorCode::kInvalidArgument, std::string("rayx: ") + what + ": " + why});
}

void check_bytes(const char* what, const char* part, const std::string& text, std::size_t min, std::size_t max) {
  if (text.size() >= min && text.size() <= max) return;
  refuse(what, std::string(part) + " has " + std::to_string(text.size()) + " bytes; it may have " +
                   std::to_string(min) + " to " + std::to_string(max));
}

template <class T, class Words>
ObjectRef<T> ask(ClusterQuestion question, const Words& words, const char* what) {
  const worker::EncodedValue argument(words);
  detail::Failure failure;
  detail::RefCell* const cell = detail::require_backend(what).ask_cluster(question, argument.bytes(), failure);
  if (cell == nullptr) detail::throw_failure(std::move(failure), what);
  return detail::RefAccess::adopt<ObjectRef<T>>(cell);
}

// As get(). The door's own get() keeps arrays where they lie; an instance of it in here would be a symbol that is unique in the whole
// program, and the library could never be unloaded.
template <class T>
T result_of(const ObjectRef<T>& ref, const char* what) {
  const detail::ValueView view = detail::await_value(detail::RefAccess::cell(ref), detail::kNever, kForever, what);
  Result<T> value = worker::decode_value<T>({view.data, view.size});
  if (!value) throw_error(value.error());
  return std::move(*value);
}

// kNotFound is the caller's; every other error is thrown.
template <class Words>
ClusterAnswer answer(ClusterQuestion question, const Words& words, const char* what) {
  ClusterAnswer answer = result_of(ask<ClusterAnswer>(question, words, what), what);
  switch (answer.code) {
    case ErrorCode::kOk:
    case ErrorCode::kNotFound: return answer;
    case ErrorCode::kStoreFull:
      throw_error({answer.code, std::string("rayx: ") + what + ": the cluster has no room for it: " + answer.message +
                                    ". Remove what is not needed any more"});
    case ErrorCode::kSystemError:
      throw_error({answer.code, std::string("rayx: ") + what +
                                    ": the cluster is gone, and whether it was done is not known: " + answer.message});
    default: throw_error({answer.code, std::string("rayx: ") + what + ": " + answer.message});
  }
}

void check_key(const char* what, const std::string& key) {
  check_bytes(what, "the key", key, 1, registry::kKeyBytesMax);
}
void check_channel(const char* what, const std::string& channel) {
  check_bytes(what, "the channel's name", channel, 1, registry::kNameBytesMax);
}

}  // namespace

// ---- Keys and values

KeyValues::KeyValues(std::string name_space) : name_space_(std::move(name_space)) {
  check_bytes("KeyValues", "the namespace", name_space_, 0, registry::kNameBytesMax);
  if (name_space_.find('\0') != std::string::npos) refuse("KeyValues", "the namespace has a zero byte");
}

void KeyValues::put(const std::string& key, const std::string& value) const {
  check_key("KeyValues::put", key);
  check_bytes("KeyValues::put", "the value", value, 0, registry::kValueBytesMax);
  answer(ClusterQuestion::kPutKey, detail::KeyWords{name_space_, key, value, true}, "KeyValues::put");
}

bool KeyValues::put_if_absent(const std::string& key, const std::string& value) const {
  constexpr const char* kWhat = "KeyValues::put_if_absent";
  check_key(kWhat, key);
  check_bytes(kWhat, "the value", value, 0, registry::kValueBytesMax);
  return !answer(ClusterQuestion::kPutKey, detail::KeyWords{name_space_, key, value, false}, kWhat).is_taken;
}

std::optional<std::string> KeyValues::get(const std::string& key) const {
  check_key("KeyValues::get", key);
  ClusterAnswer found =
      answer(ClusterQuestion::kGetKey, detail::KeyWords{name_space_, key, {}, false}, "KeyValues::get");
  if (found.code == ErrorCode::kNotFound) return std::nullopt;
  return std::move(found.value);
}

bool KeyValues::erase(const std::string& key) const {
  check_key("KeyValues::erase", key);
  return answer(ClusterQuestion::kEraseKey, detail::KeyWords{name_space_, key, {}, false}, "KeyValues::erase").code ==
         ErrorCode::kOk;
}

std::vector<std::string> KeyValues::keys(const std::string& prefix) const {
  check_bytes("KeyValues::keys", "the prefix", prefix, 0, registry::kKeyBytesMax);
  std::vector<std::string> all;
  for (;;) {
    ClusterAnswer page = answer(ClusterQuestion::kListKeys,
                                detail::KeyWords{name_space_, prefix, all.empty() ? std::string() : all.back(), false},
                                "KeyValues::keys");
    all.insert(all.end(), std::make_move_iterator(page.names.begin()), std::make_move_iterator(page.names.end()));
    if (!page.is_cut) return all;
  }
}

// ---- Channels

void publish(const std::string& channel, const std::string& payload) {
  check_channel("publish", channel);
  check_bytes("publish", "the payload", payload, 0, registry::kPublishedBytesMax);
  answer(ClusterQuestion::kPublish, detail::ChannelWords{channel, payload}, "publish");
}

Subscription::Subscription(std::string channel) : channel_(std::move(channel)) {
  check_channel("Subscription", channel_);
  runtime_ = detail::require_backend("Subscription").runtime();
  reader_ =
      result_of(ask<std::uint64_t>(ClusterQuestion::kSubscribe, detail::ChannelWords{channel_, {}}, "Subscription"),
                "Subscription");
}

Subscription::~Subscription() { end(); }

Subscription::Subscription(Subscription&& other) noexcept
    : channel_(std::move(other.channel_)),
      reader_(std::exchange(other.reader_, 0)),
      runtime_(other.runtime_),
      seen_(other.seen_),
      here_(std::move(other.here_)),
      more_(std::move(other.more_)) {}

Subscription& Subscription::operator=(Subscription&& other) noexcept {
  if (this == &other) return *this;
  end();
  channel_ = std::move(other.channel_);
  reader_ = std::exchange(other.reader_, 0);
  runtime_ = other.runtime_;
  seen_ = other.seen_;
  here_ = std::move(other.here_);
  more_ = std::move(other.more_);
  return *this;
}

void Subscription::end() noexcept {
  const std::uint64_t reader = std::exchange(reader_, 0);
  detail::Backend* const backend = detail::current_backend();
  if (reader == 0 || backend == nullptr || backend->runtime() != runtime_) return;
  const worker::EncodedValue argument(detail::ReadWords{reader, seen_});
  detail::Failure failure;  // then the runtime ends, and the reader with it
  if (detail::RefCell* const said = backend->ask_cluster(ClusterQuestion::kUnsubscribe, argument.bytes(), failure))
    detail::RefAccess::adopt<ObjectRef<ClusterAnswer>>(said) = {};
}

std::optional<Message> Subscription::next(Duration timeout) {
  constexpr const char* kWhat = "Subscription::next";
  if (reader_ == 0) refuse(kWhat, "it was moved from. Use the one that it was moved to");
  if (detail::require_backend(kWhat).runtime() != runtime_)
    throw_error({ErrorCode::kNotInitialized,
                 "rayx: Subscription::next: it belongs to a runtime that was shut down. Subscribe again"});
  if (here_.empty()) {
    if (!more_) more_ = ask<detail::News>(ClusterQuestion::kRead, detail::ReadWords{reader_, seen_}, kWhat);
    if (!more_.is_ready() && wait(std::vector{more_}, {.count = 1, .timeout = timeout}).ready.empty())
      return std::nullopt;
    detail::News news = result_of(std::exchange(more_, {}), kWhat);
    seen_ = news.first + news.messages.size() - 1;
    here_.assign(std::make_move_iterator(news.messages.begin()), std::make_move_iterator(news.messages.end()));
  }
  std::optional<Message> message(std::move(here_.front()));
  here_.pop_front();
  return message;
}

}  // namespace rayx
