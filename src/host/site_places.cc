#include "host/site_places.hpp"

#include <utility>

namespace rayx::host {

void SitePlaces::with_member(std::function<void(const std::shared_ptr<State>&, head::MemberLink&)> work) {
  loop_.post([state = state_, work = std::move(work)] {
    if (state->events == nullptr) return;
    if (head::MemberLink* const member = state->host.member()) work(state, *member);
  });
}

void SitePlaces::create_actor(registry::CreateActor request) {
  with_member([request = std::move(request)](const std::shared_ptr<State>& state, head::MemberLink& member) mutable {
    const base::ActorId actor = request.actor;
    request.job = state->me.job;
    if (request.is_detached) request.site = state->program;
    member.request(std::move(request), [state, actor](const registry::Answer& answer) {
      if (state->events != nullptr) state->events->creation_answered(actor, answer);
    });
  });
}

void SitePlaces::look_up_actor(std::string name, std::uint64_t question) {
  with_member(
      [name = std::move(name), question](const std::shared_ptr<State>& state, head::MemberLink& member) mutable {
        member.request(registry::LookUpName{{}, std::move(name), state->me.job},
                       [state, question](const registry::Answer& answer) {
                         if (state->events != nullptr) state->events->actor_looked_up(question, answer);
                       });
      });
}

void SitePlaces::kill_actor(registry::ActorId actor) {
  with_member([actor](const std::shared_ptr<State>&, head::MemberLink& member) {
    member.request(registry::KillActor{actor, true}, [](const registry::Answer&) {});
  });
}

void SitePlaces::watch_actor(registry::ActorId actor) {
  with_member([actor](const std::shared_ptr<State>& state, head::MemberLink& member) {
    state->watched.insert(actor);
    member.member().watch(actor);
  });
}

void SitePlaces::unwatch_actor(registry::ActorId actor) {
  with_member([actor](const std::shared_ptr<State>& state, head::MemberLink& member) {
    if (state->watched.erase(actor) > 0) member.member().unwatch(actor);
  });
}

void SitePlaces::actor_alive(registry::ActorId actor, registry::Incarnation incarnation) {
  with_member([actor, incarnation](const std::shared_ptr<State>&, head::MemberLink& member) {
    member.member().actor_alive(actor, incarnation);
  });
}

void SitePlaces::actor_ended(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause,
                             std::string message) {
  with_member([actor, incarnation, cause, message = std::move(message)](const std::shared_ptr<State>& state,
                                                                        head::MemberLink& member) {
    state->host.actor_was_ended(actor, incarnation);
    member.member().actor_ended(actor, incarnation, cause, message);
  });
}

void SitePlaces::ask(registry::RequestBody request, std::uint64_t question) {
  with_member(
      [request = std::move(request), question](const std::shared_ptr<State>& state, head::MemberLink& member) mutable {
        member.request(std::move(request), [state, question](const registry::Answer& answer) {
          if (state->events != nullptr) state->events->answered(question, answer);
        });
      });
}

void SitePlaces::subscribe(std::string channel) {
  with_member([channel = std::move(channel)](const std::shared_ptr<State>& state, head::MemberLink& member) {
    state->channels.insert(channel);
    if (member.member().is_confirmed(channel)) return state->events->subscribed(channel, false);
    member.member().subscribe(channel);
  });
}

void SitePlaces::unsubscribe(std::string channel) {
  with_member([channel = std::move(channel)](const std::shared_ptr<State>& state, head::MemberLink&) {
    stop_reading(*state, channel);
  });
}

// The process goes on reading it if another site does.
void SitePlaces::stop_reading(State& state, const std::string& channel) {
  if (state.channels.erase(channel) == 0 || state.host.reads(channel)) return;
  if (head::MemberLink* const member = state.host.member()) member->member().unsubscribe(channel);
}

void SitePlaces::close() {
  state_->events = nullptr;
  state_->watched.clear();
  while (!state_->channels.empty()) stop_reading(*state_, std::string(*state_->channels.begin()));
}

void SitePlaces::need_peer(registry::NodeId node) {
  with_member([node](const std::shared_ptr<State>& state, head::MemberLink&) {
    state->host.need_peer(state->me, {node, state->me.job});
  });
}

void SitePlaces::need_site(const base::SiteId& site) {
  with_member(
      [site](const std::shared_ptr<State>& state, head::MemberLink&) { state->host.need_peer(state->me, site); });
}

}  // namespace rayx::host
