// What a simulated site sees of its cluster: the real registry::Member on the simulated network, as relay::Places.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "head_host.hpp"
#include "member_on_network.hpp"
#include "relay/places.hpp"
#include "site_host.hpp"

namespace rayx::sim {

class SitePlaces final : public relay::Places, private MemberOnNetwork {
 public:
  // What the sites of a job share.
  struct Job {
    HeadHost& head;
    base::JobId id = {};
    bool is_asked_for = false;
  };
  // `need_peer`: makes a link. `given_up`: the head has no use for this life of the site any more.
  SitePlaces(SiteHost& site, Events& events, Network& network, Job& job, std::function<void(base::NodeId)> need_peer,
             std::function<void()> given_up);

  // When the site is there.
  void begin();
  bool is_ready() const { return member_.is_joined() && job_.id; }
  void thaw();
  void end();  // the host has lost its power

  // ---- Places; any thread of the site
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
  void need_peer(registry::NodeId node) override { need_peer_(node); }
  void need_site(const base::SiteId& site) override { need_peer_(base::alias_of(site)); }  // there is no other program

 private:
  static registry::Identity identity(const SiteHost& site);
  void run(const std::function<void()>& what) override;
  EndpointId head_at() const override { return job_.head.at(); }
  // By the site's network thread, as all that the relay hears.
  template <class Tell>
  void tell(Tell&& what);

  void answered(const registry::Answer& answer) override;
  void node_changed(const registry::NodeView& node) override;
  void start_actor(const registry::PlaceActor& place) override;
  void end_actor(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause) override;
  void job_ended(registry::JobId, const std::string&) override {}
  void job_over(registry::JobId) override {}
  void actor_changed(const registry::ActorState& state) override;
  void subscribed(const std::string& channel, bool is_refused) override;
  void published(const registry::Published& message) override;
  void missed(const std::string& channel, std::optional<std::uint64_t> count) override;
  void drain(TimeNs, const std::string&) override {}
  void left() override {}
  void start_anew(const std::string&) override { given_up_(); }
  void end_yourself(const std::string&) override { given_up_(); }

  SiteHost& site_;
  Job& job_;
  const std::function<void(base::NodeId)> need_peer_;
  const std::function<void()> given_up_;
  std::vector<std::function<void()>> deferred_;
  bool is_over_ = false;
  std::map<registry::RequestNumber, registry::ActorId> creating_;
  std::map<registry::RequestNumber, std::uint64_t> looking_up_;
  std::map<registry::RequestNumber, std::uint64_t> asked_;
};

}  // namespace rayx::sim
