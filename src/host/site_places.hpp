// What the relay of a site needs of its cluster, over this process's membership: places for actors, and links to other nodes.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "head/member_link.hpp"
#include "host/network.hpp"
#include "relay/places.hpp"

namespace rayx::host {

class SitePlaces final : public relay::Places {
 public:
  // Who has the membership and makes links. Loop's thread.
  class Host {
   public:
    virtual head::MemberLink* member() = 0;  // nullptr: no member any more
    virtual void need_peer(const base::SiteId& from, const base::SiteId& to) = 0;
    virtual void actor_was_ended(base::ActorId actor, registry::Incarnation incarnation) = 0;
    virtual bool reads(const std::string& channel) = 0;  // some site of this process does

   protected:
    ~Host() = default;
  };

  SitePlaces(wire::Loop& loop, Host& host) : loop_(loop), state_(std::make_shared<State>(host)) {}
  ~SitePlaces() override { state_->events = nullptr; }

  // Loop's thread. Between the two the relay hears of things, and `events` lives. `program`: what the head is to know of it for its
  // detached actors.
  void open(const base::SiteId& me, relay::PlaceEvents& events, std::string program) {
    state_->me = me;
    state_->events = &events;
    state_->program = std::move(program);
  }
  void close();
  bool watches(base::ActorId actor) const { return state_->watched.contains(actor); }
  void forget(base::ActorId actor) { state_->watched.erase(actor); }
  bool reads(const std::string& channel) const { return state_->channels.contains(channel); }

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
  void need_site(const base::SiteId& site) override;

 private:
  // Touched on the loop's thread only.
  struct State {
    explicit State(Host& whose) : host(whose) {}
    Host& host;
    base::SiteId me;
    std::string program;
    relay::PlaceEvents* events = nullptr;
    std::set<base::ActorId> watched;
    std::set<std::string> channels;
  };
  // On the loop's thread, if the site is still open and this process a member.
  void with_member(std::function<void(const std::shared_ptr<State>&, head::MemberLink&)> work);
  static void stop_reading(State& state, const std::string& channel);

  wire::Loop& loop_;
  const std::shared_ptr<State> state_;
};

}  // namespace rayx::host
