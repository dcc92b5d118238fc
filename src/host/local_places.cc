#include "host/local_places.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>
#include <variant>

#include "base/check.hpp"

namespace rayx::host {
namespace {

constexpr registry::ConnectionId kConnection = 1;

registry::HeadOptions options() {
  registry::HeadOptions options;
  options.cluster = 1;
  // Neither is ever silent: they are one thread. And a program that was stopped for a while has lost nobody.
  constexpr base::TimeNs kNeverSilent_ns = std::numeric_limits<base::TimeNs>::max() / 4;
  options.heartbeat_ns = options.silence_ns = options.driver_silence_ns = options.reconnect_ns = options.rejoin_ns =
      options.lease_ns = kNeverSilent_ns;
  return options;
}

registry::Identity identity(base::NodeId node, int cpus) {
  registry::Identity identity;
  identity.node = node;
  identity.kind = registry::MemberKind::kDriver;  // one that brings CPUs
  identity.name = "this program";
  identity.resources.cpus = cpus * base::kUnitsOfOne;
  return identity;
}

}  // namespace

LocalPlaces::LocalPlaces(base::NodeId node, int cpus)
    : head_(options(), static_cast<registry::HeadEffects&>(*this)),
      member_(identity(node, cpus), static_cast<registry::MemberEffects&>(*this)) {}

void LocalPlaces::open(relay::PlaceEvents& events) {
  const std::lock_guard lock(mutex_);  // before anything is posted
  events_ = &events;
}

void LocalPlaces::stop() {
  if (::getpid() != pid_) {  // a child that the user's program has forked has no such thread
    if (thread_.joinable()) thread_.detach();
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
    ready_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void LocalPlaces::post(std::function<void()> event) {
  const std::lock_guard lock(mutex_);
  if (is_stopping_) return;
  posted_.push_back(std::move(event));
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  ready_.notify_one();
}

void LocalPlaces::run() {
  begin();
  for (;;) {
    std::function<void()> event;
    {
      constexpr base::TimeNs kLongest_ns = 3'600'000'000'000;
      const base::TimeNs deadline = std::min(head_.next_deadline_ns(), member_.next_deadline_ns());
      const std::chrono::nanoseconds left(std::clamp<base::TimeNs>(deadline - now(), 0, kLongest_ns));
      std::unique_lock lock(mutex_);
      ready_.wait_for(lock, left, [this] { return is_stopping_ || !posted_.empty(); });
      if (is_stopping_) return;
      if (!posted_.empty()) {
        event = std::move(posted_.front());
        posted_.pop_front();
      }
    }
    if (event) event();
    if (head_.next_deadline_ns() <= now()) head_.tick(now());
    if (member_.next_deadline_ns() <= now()) member_.tick(now());
  }
}

void LocalPlaces::begin() {
  const Result<void> restored = head_.restore({}, now());
  RAYX_CHECK(restored, "a head begins from nothing", kConnection);
  member_.start(now());
  request(registry::StartJob{"", "", ""}, [this](const registry::Answer& answer) {
    const auto* const job = std::get_if<registry::JobInfo>(&answer.body);
    RAYX_CHECK(job != nullptr, "the only job is refused", static_cast<int>(answer.status));
    job_ = job->job;
    for (const auto& event : std::exchange(for_the_job_, {})) event();
  });
}

void LocalPlaces::post_for_job(std::function<void()> event) {
  post([this, event = std::move(event)] {
    if (job_) return event();
    for_the_job_.push_back(event);
  });
}

void LocalPlaces::request(registry::RequestBody body, std::function<void(const registry::Answer&)> then) {
  const registry::RequestNumber number = member_.request(std::move(body));
  if (number == 0) return then({0, registry::Status::kFull, "too many questions are open", {}});
  asked_[number] = std::move(then);
}

// ---- relay::Places

void LocalPlaces::create_actor(registry::CreateActor request) {
  post_for_job([this, request = std::move(request)]() mutable {
    const registry::ActorId actor = request.actor;
    request.job = job_;
    this->request(std::move(request),
                  [this, actor](const registry::Answer& answer) { events_->creation_answered(actor, answer); });
  });
}
void LocalPlaces::look_up_actor(std::string name, std::uint64_t question) {
  post_for_job([this, name = std::move(name), question] {
    request(registry::LookUpName{{}, name, job_},
            [this, question](const registry::Answer& answer) { events_->actor_looked_up(question, answer); });
  });
}
void LocalPlaces::kill_actor(registry::ActorId actor) {
  post_for_job([this, actor] { request(registry::KillActor{actor, true}, [](const registry::Answer&) {}); });
}
void LocalPlaces::watch_actor(registry::ActorId actor) {
  post_for_job([this, actor] { member_.watch(actor); });
}
void LocalPlaces::unwatch_actor(registry::ActorId actor) {
  post_for_job([this, actor] { member_.unwatch(actor); });
}
void LocalPlaces::actor_alive(registry::ActorId actor, registry::Incarnation incarnation) {
  post([this, actor, incarnation] { member_.actor_alive(actor, incarnation); });
}
void LocalPlaces::actor_ended(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause,
                              std::string message) {
  post([this, actor, incarnation, cause, message = std::move(message)] {
    member_.actor_ended(actor, incarnation, cause, message);
  });
}
void LocalPlaces::ask(registry::RequestBody body, std::uint64_t question) {
  post([this, body = std::move(body), question] {
    request(body, [this, question](const registry::Answer& answer) { events_->answered(question, answer); });
  });
}
void LocalPlaces::subscribe(std::string channel) {
  post([this, channel = std::move(channel)] {
    if (member_.is_confirmed(channel)) return events_->subscribed(channel, false);
    member_.subscribe(channel);
  });
}
void LocalPlaces::unsubscribe(std::string channel) {
  post([this, channel = std::move(channel)] { member_.unsubscribe(channel); });
}
void LocalPlaces::need_peer(registry::NodeId node) {
  post([this, node] { events_->peer_failed(node, "the program has no cluster"); });
}

// ---- The two sides

void LocalPlaces::connect(std::uint64_t session) {
  post([this, session] {
    head_.on_opened(kConnection, now());
    member_.on_connected(session, kConnection, now());
  });
}
void LocalPlaces::send(registry::ConnectionId to, registry::ToHead message) {
  post([this, to, message = std::move(message)] { head_.on_message(to, message, now()); });
}
void LocalPlaces::send(registry::ConnectionId to, registry::ToMember message) {
  post([this, to, message = std::move(message)] { member_.on_message(to, message, now()); });
}
void LocalPlaces::persist(registry::BatchId batch, std::vector<registry::Write>) { head_.on_persisted(batch, now()); }

void LocalPlaces::answered(const registry::Answer& answer) {
  const auto found = asked_.find(answer.number);
  if (found == asked_.end()) return;
  const auto then = std::move(found->second);
  asked_.erase(found);
  then(answer);
}

}  // namespace rayx::host
