// A node's or a driver's process: the real registry::Member, with the processes of its actors played, and a program that asks
// for whatever can be asked for.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "member_on_network.hpp"
#include "truth.hpp"

namespace rayx::sim {

class Cluster;

class MemberProcess final : public MemberOnNetwork {
 public:
  using Placement = std::pair<ActorId, Incarnation>;
  struct Body {  // the process of an actor
    enum class State : std::uint8_t { kForking, kConstructing, kAlive, kEnding };
    Resources resources;
    State state = State::kForking;
    JobId job;
    bool is_detached = false;
  };
  struct Channel {
    std::uint64_t epoch = 0;
    std::uint64_t number = 0;
    std::string last;
  };

  MemberProcess(Cluster& cluster, HostId host, registry::Identity identity);

  void begin();
  void act();         // something that its program does
  void end_of_job();  // a driver's last act
  void ask_to_drain(NodeId node);
  void ask_to_restart(ActorId actor) { ask(registry::KillActor{actor, false}); }
  void say_last_word(const std::string& channel);
  void run(const std::function<void()>& what) override;  // now, or when the host thaws
  void thaw(TimeNs frozen_for);

  const std::map<Placement, Body>& bodies() const { return bodies_; }
  const std::map<registry::RequestNumber, Pending>& pending() const { return pending_; }
  const std::map<ActorId, registry::ActorState>& watched() const { return watched_; }
  const std::map<std::string, Channel>& channels() const { return channels_; }
  JobId job() const { return job_; }

 private:
  EndpointId head_at() const override;
  const registry::ToMember& heard(const registry::ToMember& message) override;
  // MemberEffects
  void send(ConnectionId to, registry::ToHead message) override;
  void answered(const Answer& answer) override;
  void node_changed(const registry::NodeView& node) override;
  void start_actor(const registry::PlaceActor& place) override;
  void end_actor(ActorId actor, Incarnation incarnation, EndCause cause) override;
  void job_ended(JobId job, const std::string& why) override;
  void job_over(JobId job) override;
  void actor_changed(const registry::ActorState& state) override;
  void published(const registry::Published& message) override;
  void missed(const std::string& channel, std::optional<std::uint64_t> count) override;
  void drain(TimeNs within_ns, const std::string& reason) override;
  void left() override;
  void start_anew(const std::string& message) override;
  void end_yourself(const std::string& message) override;

  void ask(RequestBody body);
  void act_on_values();
  void act_on_actors();
  void act_on_channels();
  void fork(Placement placement);
  void construct(Placement placement);
  void live(Placement placement);
  void body_ended(Placement placement, EndCause cause, const std::string& message);

  Cluster& cluster_;
  TimeNs heard_ = 0;  // the head, in time in which it was not frozen
  std::vector<std::function<void()>> deferred_;

  std::map<Placement, Body> bodies_;
  std::map<registry::RequestNumber, Pending> pending_;
  std::set<NodeId> dead_;
  std::map<ActorId, registry::ActorState> watched_;
  std::map<std::string, Channel> channels_;
  JobId job_;                    // a driver's own
  std::vector<ActorId> actors_;  // that it has made or found
};

}  // namespace rayx::sim
