// The cluster of a program that runs alone: a head of its own and one member, which is the program's node, in one thread of the process.
// So actors are found by their names and made anew as in a cluster, by the same code. The thread begins with the first that asks
// for it; a program that does not has none.
#pragma once

#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "registry/head.hpp"
#include "registry/member.hpp"
#include "relay/places.hpp"

namespace rayx::host {

class LocalPlaces final : public relay::Places, private registry::HeadEffects, private registry::MemberEffects {
 public:
  LocalPlaces(base::NodeId node, int cpus);
  ~LocalPlaces() override { stop(); }

  // Whom the cluster tells things, from now on until `stop`.
  void open(relay::PlaceEvents& events);
  void stop();

  // ---- relay::Places
  void create_actor(registry::CreateActor request) override;
  void look_up_actor(std::string name, std::uint64_t question) override;
  void kill_actor(registry::ActorId actor) override;
  void watch_actor(registry::ActorId actor) override;
  void unwatch_actor(registry::ActorId actor) override;
  void actor_alive(registry::ActorId actor, registry::Incarnation incarnation) override;
  void actor_ended(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause,
                   std::string message) override;
  void ask(registry::RequestBody request, std::uint64_t question) override;
  void subscribe(std::string channel) override;
  void unsubscribe(std::string channel) override;
  void need_peer(registry::NodeId node) override;
  void need_site(const base::SiteId& site) override { need_peer(base::alias_of(site)); }

 private:
  void post(std::function<void()> event);
  void run();
  void begin();
  void post_for_job(std::function<void()> event);  // as soon as there is one
  void request(registry::RequestBody body, std::function<void(const registry::Answer&)> then);
  base::TimeNs now() const { return clock_.now_ns(); }

  // ---- registry::HeadEffects
  void send(registry::ConnectionId to, registry::ToMember message) override;
  void persist(registry::BatchId batch, std::vector<registry::Write> writes) override;
  // ---- and of both sides
  void close(registry::ConnectionId) override {}
  // ---- registry::MemberEffects
  void connect(std::uint64_t session) override;
  void send(registry::ConnectionId to, registry::ToHead message) override;
  void answered(const registry::Answer& answer) override;
  void node_changed(const registry::NodeView&) override {}  // there is no other
  void start_actor(const registry::PlaceActor& place) override { events_->start_actor(place); }
  void end_actor(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause) override {
    events_->end_actor(actor, incarnation, cause);
  }
  void job_ended(registry::JobId, const std::string&) override {}
  void job_over(registry::JobId) override {}
  void actor_changed(const registry::ActorState& state) override { events_->actor_changed(state); }
  void subscribed(const std::string& channel, bool is_refused) override { events_->subscribed(channel, is_refused); }
  void published(const registry::Published& message) override { events_->published(message); }
  void missed(const std::string& channel, std::optional<std::uint64_t> count) override {
    events_->missed(channel, count);
  }
  void drain(base::TimeNs, const std::string&) override {}
  void left() override {}
  void start_anew(const std::string&) override {}
  void end_yourself(const std::string&) override {}

  const base::SteadyClock clock_;
  relay::PlaceEvents* events_ = nullptr;
  // Of the thread:
  registry::Head head_;
  registry::Member member_;
  base::JobId job_;
  std::map<registry::RequestNumber, std::function<void(const registry::Answer&)>> asked_;
  std::vector<std::function<void()>> for_the_job_;  // what waits for it
  // Of everybody:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> posted_;
  bool is_stopping_ = false;
  std::thread thread_;
  const pid_t pid_ = ::getpid();
};

}  // namespace rayx::host
