// A node or a driver of a large cluster: its member, and what is played around it: actors that take their time to start, a
// load that changes, and a program that is told by the run what to ask for.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

#include "../cluster/member_on_network.hpp"

namespace rayx::sim {

class Run;

class Process final : public MemberOnNetwork {
 public:
  using Placement = std::pair<registry::ActorId, registry::Incarnation>;

  Process(Run& run, HostId host, registry::Identity identity, bool keeps_views);
  void begin();
  void run(const std::function<void()>& what) override {
    what();
    arm();
  }

  // What its program does.
  void ask(registry::RequestBody body);
  void create_actor(registry::CreateActor creation);
  void leave() {
    is_leaving_ = true;
    member_.leave("it is not needed any more");
  }

  bool keeps_views() const { return keeps_views_; }
  registry::JobId job() const { return job_; }
  const std::string& channel() const { return channel_; }
  const std::map<Placement, registry::Resources>& bodies() const { return bodies_; }

 private:
  EndpointId head_at() const override;
  const registry::ToMember& heard(const registry::ToMember& message) override;
  // MemberEffects
  void answered(const registry::Answer& answer) override;
  void node_changed(const registry::NodeView&) override {}
  void start_actor(const registry::PlaceActor& place) override;
  void end_actor(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause) override;
  void job_ended(registry::JobId job, const std::string& why) override;
  void job_over(registry::JobId) override {}
  void actor_changed(const registry::ActorState& state) override;
  void published(const registry::Published&) override {}
  void missed(const std::string&, std::optional<std::uint64_t>) override {}
  void drain(TimeNs, const std::string&) override {}
  void left() override;
  void start_anew(const std::string& message) override;
  void end_yourself(const std::string& message) override;

  void change_load();

  Run& run_;
  const bool keeps_views_;
  registry::ToMember forgotten_;  // a view as a member hears it that keeps none
  std::map<Placement, registry::Resources> bodies_;
  std::map<registry::RequestNumber, std::size_t> open_;  // kinds of what its program has asked
  registry::JobId job_;                                  // a driver's own
  std::string channel_;
  bool is_leaving_ = false;
};

}  // namespace rayx::sim
