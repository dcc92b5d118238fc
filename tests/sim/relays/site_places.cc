#include "site_places.hpp"

#include "story.hpp"

#include <utility>
#include <variant>

namespace rayx::sim {

SitePlaces::SitePlaces(SiteHost& site, Events& events, Network& network, Job& job,
                       std::function<void(base::NodeId)> need_peer, std::function<void()> given_up)
    : MemberOnNetwork(events, network, site.host(), identity(site)),
      site_(site),
      job_(job),
      need_peer_(std::move(need_peer)),
      given_up_(std::move(given_up)) {}

registry::Identity SitePlaces::identity(const SiteHost& site) {
  registry::Identity identity;
  identity.node = site.node_id();
  identity.kind = site.host() == 0 ? registry::MemberKind::kDriver : registry::MemberKind::kNode;
  identity.name = "site " + std::to_string(site.host());
  identity.resources.cpus = site.options().cpus * base::kUnitsOfOne;
  identity.labels = site.options().labels;
  return identity;
}

void SitePlaces::begin() {
  attach();
  member_.start(events_.now());
  if (site_.host() == 0 && !std::exchange(job_.is_asked_for, true))
    member_.request(registry::StartJob{"bundle", "program", "space"});
  arm();
}

void SitePlaces::end() {
  is_over_ = true;
  if (me() != 0) network_.detach(me(), true);
}

void SitePlaces::run(const std::function<void()>& what) {
  if (is_over_) return;
  if (network_.is_frozen(host())) {
    deferred_.push_back(what);
    return;
  }
  what();
  arm();
}

void SitePlaces::thaw() {
  for (const auto& what : std::exchange(deferred_, {})) run(what);
}

// ---- What the relay says

void SitePlaces::create_actor(registry::CreateActor request) {
  request.job = job_.id;
  const registry::ActorId actor = request.actor;
  creating_[member_.request(std::move(request))] = actor;
  arm();
}
void SitePlaces::look_up_actor(std::string name, std::uint64_t question) {
  site_.machine().log("site %u looks up '%s'", site_.host(), name.c_str());
  looking_up_[member_.request(registry::LookUpName{{}, std::move(name), job_.id})] = question;
  arm();
}
void SitePlaces::kill_actor(registry::ActorId actor) {
  member_.request(registry::KillActor{actor});
  arm();
}
void SitePlaces::watch_actor(registry::ActorId actor) {
  site_.machine().log("site %u watches actor %llx", site_.host(), static_cast<unsigned long long>(actor.value));
  member_.watch(actor);
  arm();
}
void SitePlaces::unwatch_actor(registry::ActorId actor) {
  site_.machine().log("site %u watches actor %llx no more", site_.host(), static_cast<unsigned long long>(actor.value));
  member_.unwatch(actor);
  arm();
}
void SitePlaces::actor_alive(registry::ActorId actor, registry::Incarnation incarnation) {
  member_.actor_alive(actor, incarnation);
  arm();
}
void SitePlaces::actor_ended(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause,
                             std::string message) {
  member_.actor_ended(actor, incarnation, cause, std::move(message));
  arm();
}
void SitePlaces::ask(registry::RequestBody request, std::uint64_t question) {
  asked_[member_.request(std::move(request))] = question;
  arm();
}
void SitePlaces::subscribe(std::string channel) {
  if (member_.is_confirmed(channel)) return tell([channel](relay::Relay& relay) { relay.subscribed(channel, false); });
  member_.subscribe(channel);
  arm();
}
void SitePlaces::unsubscribe(std::string channel) {
  member_.unsubscribe(channel);
  arm();
}

// ---- What the relay is told

template <class Tell>
void SitePlaces::tell(Tell&& what) {
  site_.post([&site = site_, what = std::forward<Tell>(what)] { what(site.relay()); });
}

void SitePlaces::answered(const registry::Answer& answer) {
  site_.machine().log("site %u is answered %llu: code %d", site_.host(), static_cast<unsigned long long>(answer.number),
                      static_cast<int>(answer.status));
  if (const auto* const job = std::get_if<registry::JobInfo>(&answer.body)) {
    job_.id = job->job;
    return;
  }
  if (const auto found = looking_up_.find(answer.number); found != looking_up_.end()) {
    tell([question = found->second, answer](relay::Relay& relay) { relay.actor_looked_up(question, answer); });
    looking_up_.erase(found);
  } else if (const auto asked = asked_.find(answer.number); asked != asked_.end()) {
    tell([question = asked->second, answer](relay::Relay& relay) { relay.answered(question, answer); });
    asked_.erase(asked);
  } else if (const auto made = creating_.find(answer.number); made != creating_.end()) {
    tell([actor = made->second, answer](relay::Relay& relay) { relay.creation_answered(actor, answer); });
    creating_.erase(made);
  }
}
void SitePlaces::node_changed(const registry::NodeView& node) {
  site_.machine().log("site %u hears that node %s is %d", site_.host(), node.name.c_str(),
                      static_cast<int>(node.state));
  // What was placed there before the head had noticed is lost now.
  if (node.state == registry::NodeState::kDead) g_scene->story.loss();
  tell([node](relay::Relay& relay) { relay.node_changed(node); });
}
void SitePlaces::start_actor(const registry::PlaceActor& place) {
  site_.machine().log("site %u is to start actor %llx", site_.host(),
                      static_cast<unsigned long long>(place.actor.value));
  tell([place](relay::Relay& relay) { relay.start_actor(place); });
}
void SitePlaces::end_actor(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause) {
  tell([=](relay::Relay& relay) { relay.end_actor(actor, incarnation, cause); });
}
void SitePlaces::actor_changed(const registry::ActorState& state) {
  site_.machine().log("site %u hears that actor %llx is %d", site_.host(),
                      static_cast<unsigned long long>(state.actor.value), static_cast<int>(state.phase));
  if (state.phase == registry::ActorPhase::kRestarting || state.cause == registry::EndCause::kNodeDied)
    g_scene->story.loss();
  tell([state](relay::Relay& relay) { relay.actor_changed(state); });
}
void SitePlaces::subscribed(const std::string& channel, bool is_refused) {
  tell([=](relay::Relay& relay) { relay.subscribed(channel, is_refused); });
}
void SitePlaces::published(const registry::Published& message) {
  tell([message](relay::Relay& relay) { relay.published(message); });
}
void SitePlaces::missed(const std::string& channel, std::optional<std::uint64_t> count) {
  tell([=](relay::Relay& relay) { relay.missed(channel, count); });
}

}  // namespace rayx::sim
