// Actors: where they live, which incarnation of them, and what becomes of them.
//
// An incarnation is handed to one node, once: a number that was handed out is never handed out again, whatever was lost on
// the way. The next one is handed out only when the node of the one before has said that it is gone or that it never had it,
// or was removed from the cluster. Whatever may have begun counts as a restart; what certainly has not does not.
#include <algorithm>

#include "base/check.hpp"
#include "base/planted_bug.hpp"
#include "registry/head.hpp"

namespace rayx::registry {
namespace {
Answer refused(Status status, std::string message) { return {0, status, std::move(message), {}}; }
}  // namespace

// The living actor of that name: in the space, or else, if that may be, the detached one of any program.
std::optional<ActorId> Head::find_name(const std::string& space, const std::string& name, bool or_detached) const {
  auto found = names_.find({space, name});
  if (found == names_.end() && or_detached) found = names_.find({kDetachedSpace, name});
  if (found == names_.end()) return std::nullopt;
  return found->second;
}

Answer Head::create_actor(NodeId owner, const CreateActor& request) {
  if (!request.actor || request.creation.size() > kCreationBytesMax || request.name.size() > kNameBytesMax ||
      request.name_space.size() > kNameBytesMax)
    return refused(Status::kInvalid, "an actor's creation may have " + std::to_string(kCreationBytesMax) +
                                         " bytes, its name " + std::to_string(kNameBytesMax));
  if (request.site.size() > kSiteBytesMax)
    return refused(Status::kInvalid, "what is said of a detached actor's program has " +
                                         std::to_string(request.site.size()) + " bytes; it may have " +
                                         std::to_string(kSiteBytesMax));
  const JobRecord* job = find_job(request.job);
  const bool may_follow = request.is_detached && request.is_owned && living_.contains(request.job);
  if (job == nullptr || (job->is_ended && !may_follow && !RAYX_PLANTED_BUG(419)))
    return refused(Status::kJobEnded, "job " + base::to_text(request.job) + " has ended");
  CreateActor creation = request;
  if (creation.name_space.empty() && job != nullptr) creation.name_space = job->info.name_space;
  if (!creation.name.empty()) {
    const bool or_detached = request.get_if_exists && request.name_space.empty();
    const std::optional<ActorId> taken = find_name(creation.name_space, creation.name, or_detached);
    if (taken && request.get_if_exists) return {0, Status::kOk, {}, *taken};
    if (taken && !RAYX_PLANTED_BUG(420))
      return refused(Status::kExists, "an actor called \"" + creation.name +
                                          "\" lives already: kill it, take another name, "
                                          "or ask for get_if_exists");
  }
  if (actors_.contains(request.actor))
    return refused(Status::kExists, "actor " + base::to_text(request.actor) + " is there already");
  if (request.ended == EndCause::kNone && actors_.size() - dead_actors_.size() >= kActorsMax)
    return refused(Status::kFull, "the cluster has " + std::to_string(kActorsMax) + " actors");

  Actor& actor = actors_[request.actor];
  if (!creation.name.empty()) names_[{creation.name_space, creation.name}] = request.actor;
  actor.spec = {std::move(creation), owner};
  actor.waits_since = ++last_waiting_;
  waiting_[actor.waits_since] = request.actor;
  index(request.actor, actor);
  write(spec_key(request.actor), to_bytes(actor.spec));
  write(state_key(request.actor), to_bytes(actor.state));
  may_place_ = true;
  if (request.ended != EndCause::kNone) end_actor(request.actor, actor, request.ended, request.how_it_ended);
  return {0, Status::kOk, {}, request.actor};
}

Answer Head::kill_actor(const KillActor& request) {
  const auto found = actors_.find(request.actor);
  if (found == actors_.end() || found->second.state.phase == ActorPhase::kDead)
    return refused(Status::kNotFound, "actor " + base::to_text(request.actor) + " is not alive");
  Actor& actor = found->second;
  if (request.no_restart) {
    end_actor(request.actor, actor, EndCause::kKilled, "it was killed");
  } else if (is_placed(actor.state.phase)) {
    // Its node may be away: then it hears of it when it comes back, also from the next head.
    actor.state.to_kill = actor.state.incarnation;
    if (!RAYX_PLANTED_BUG(421)) write(state_key(request.actor), to_bytes(actor.state));
    send_to(actor.state.node, EndActor{request.actor, actor.state.incarnation, EndCause::kKilled});
  }
  return {};
}

void Head::index(ActorId id, const Actor& actor) {
  const CreateActor& creation = actor.spec.creation;
  of_job_.insert({creation.job, id});
  if (actor.state.phase == ActorPhase::kDead) return;
  ++living_[creation.job];
  if (ends_with_its_owner(creation)) owned_.insert({actor.spec.owner, id});
  if (is_placed(actor.state.phase)) placed_.insert({actor.state.node, id});
}

std::vector<ActorId> Head::placed_on(NodeId node) const {
  std::vector<ActorId> here;
  for (auto at = placed_.lower_bound({node, {}}); at != placed_.end() && at->first == node; ++at)
    here.push_back(at->second);
  return here;
}

// ---- What nodes say

void Head::made(NodeId node, ActorId id, Incarnation incarnation) {
  const auto found = actors_.find(id);
  if (found == actors_.end()) return;
  Actor& actor = found->second;
  if (actor.state.incarnation != incarnation || actor.state.node != node || actor.state.phase != ActorPhase::kStarting)
    return;
  move(id, actor, ActorEvent::kMade);
}

void Head::died(NodeId node, ActorId id, Incarnation incarnation, EndCause cause, const std::string& message) {
  give_back(node, members_.at(node), {id, incarnation});
  const auto found = actors_.find(id);
  if (found == actors_.end() || !is_placed(found->second.state.phase)) return;
  Actor& actor = found->second;
  if (actor.state.incarnation != incarnation && !RAYX_PLANTED_BUG(422)) return;
  if (cause == EndCause::kConstructorFailed || cause == EndCause::kOwnerDied)
    return end_actor(id, actor, cause, message);
  if (cause == EndCause::kNoProcess && actor.state.phase == ActorPhase::kStarting) {
    actor.state.message = message.substr(0, kMessageBytesMax);
    actor.refused_by = node;
    if (++actor.state.failed_starts >= kStartsMax) return end_actor(id, actor, cause, message);
    return move(id, actor, actor.state.restarts == 0 ? ActorEvent::kReturned : ActorEvent::kReturnedAgain);
  }
  lost(id, actor, cause, message);
}

// This incarnation is over and may have begun.
void Head::lost(ActorId id, Actor& actor, EndCause cause, const std::string& message) {
  const std::uint32_t max = actor.spec.creation.max_restarts;
  if (actor.state.restarts >= max && max != kForEver && !RAYX_PLANTED_BUG(423))
    return end_actor(id, actor, cause, message);
  ++actor.state.restarts;
  actor.state.cause = cause;
  actor.state.message = message.substr(0, kMessageBytesMax);
  move(id, actor, ActorEvent::kLost);
}

// It has ended for good, whether or not its process knows it yet. What the process holds stays lent until it is gone.
void Head::end_actor(ActorId id, Actor& actor, EndCause cause, const std::string& message) {
  if (is_placed(actor.state.phase) && !RAYX_PLANTED_BUG(424)) {
    const auto node = members_.find(actor.state.node);
    if (node != members_.end() && node->second.lent.contains({id, actor.state.incarnation}))
      send_to(actor.state.node, EndActor{id, actor.state.incarnation, cause});
  }
  actor.state.cause = cause;
  actor.state.message = message.substr(0, kMessageBytesMax);
  move(id, actor, ActorEvent::kEnded);
}

void Head::move(ActorId id, Actor& actor, ActorEvent event) {
  const auto next = next_phase(actor.state.phase, event);
  RAYX_CHECK(next, "an actor's state does not know this event", to_text(actor.state.phase), static_cast<int>(event));
  if (is_placed(actor.state.phase)) placed_.erase({actor.state.node, id});
  actor.state.phase = *next;
  if (!is_placed(*next)) actor.state.node = {};
  if (is_placed(*next)) placed_.insert({actor.state.node, id});
  if (actor.waits_since != 0) {
    waiting_.erase(actor.waits_since);
    actor.waits_since = 0;
  }
  if (is_waiting(*next)) {
    actor.waits_since = ++last_waiting_;
    waiting_[actor.waits_since] = id;
    may_place_ = true;
  }
  const CreateActor& creation = actor.spec.creation;
  if (*next == ActorPhase::kDead) {
    if (!creation.name.empty() && !RAYX_PLANTED_BUG(425)) names_.erase({creation.name_space, creation.name});
    actor.state.dead_order = ++last_dead_actor_;
    dead_actors_[actor.state.dead_order] = id;
    owned_.erase({actor.spec.owner, id});
    if (--living_[creation.job] == 0) living_.erase(creation.job);
    channels_.publish(kActorsChannel, "actor " + base::to_text(id) + " is dead: " + actor.state.message);
  }
  write(state_key(id), to_bytes(actor.state));
  const auto watchers = watchers_.find(id);
  if (watchers != watchers_.end())
    for (const NodeId watcher : watchers->second) send_to(watcher, state_of(id));
  if (*next != ActorPhase::kDead) return;
  const JobId job = creation.job;
  if (dead_actors_.size() > options_.dead_actors_kept) forget_actor(dead_actors_.begin()->second);
  if (JobRecord* record = find_job(job); record != nullptr && record->is_ended) forget_job_if_over(job);
}

void Head::forget_actor(ActorId id) {
  const auto found = actors_.find(id);
  dead_actors_.erase(found->second.state.dead_order);
  of_job_.erase({found->second.spec.creation.job, id});
  actors_.erase(found);
  write(spec_key(id), std::nullopt);
  if (!RAYX_PLANTED_BUG(426)) write(state_key(id), std::nullopt);
}

// A node has joined again and says what it runs. What it does not name it does not have, and never will: it has heard all
// that it can hear of what was said to it before.
void Head::resume_actors(NodeId node, Member& member, const Resume& resume) {
  std::set<Placement> named;
  for (const RunningActor& it : resume.actors) {
    named.insert({it.actor, it.incarnation});
    if (it.is_ended) continue;  // the member's report of it follows
    lend(node, member, {it.actor, it.incarnation}, it.resources);
    const auto found = actors_.find(it.actor);
    const bool is_current = found != actors_.end() && is_placed(found->second.state.phase) &&
                            found->second.state.node == node && found->second.state.incarnation == it.incarnation;
    if (!is_current) {
      if (!RAYX_PLANTED_BUG(430)) send(member.connection, EndActor{it.actor, it.incarnation, EndCause::kKilled});
      continue;
    }
    if (found->second.state.to_kill == it.incarnation && !RAYX_PLANTED_BUG(431))
      send(member.connection, EndActor{it.actor, it.incarnation, EndCause::kKilled});
    if (it.is_alive) made(node, it.actor, it.incarnation);
  }
  for (const ActorId id : placed_on(node)) {
    Actor& actor = actors_.at(id);
    if (named.contains({id, actor.state.incarnation})) continue;
    if (actor.state.phase == ActorPhase::kAlive) {
      lost(id, actor, EndCause::kCrashed, "its node does not know it any more");
    } else if (!RAYX_PLANTED_BUG(433)) {
      move(id, actor, actor.state.restarts == 0 ? ActorEvent::kReturned : ActorEvent::kReturnedAgain);
    }
  }
}

// ---- Who wants to know

ActorState Head::state_of(ActorId id) const {
  const auto found = actors_.find(id);
  if (found == actors_.end())
    return {id, ActorPhase::kDead, 0, {}, EndCause::kNone, "the head does not know this actor"};
  const ActorStateRecord& state = found->second.state;
  const CreateActor& creation = found->second.spec.creation;
  return {id,           state.phase,         state.incarnation,     state.node,
          state.cause,  state.message,       creation.max_restarts, creation.max_task_retries,
          creation.job, creation.is_detached};
}

void Head::watch(NodeId node, Member& member, const Watch& watch) {
  if (!watch.is_on) {
    member.watched.erase(watch.actor);
    const auto watchers = watchers_.find(watch.actor);
    if (watchers == watchers_.end()) return;
    watchers->second.erase(node);
    if (watchers->second.empty()) watchers_.erase(watchers);
    return;
  }
  if (member.watched.size() < kWatchesMax && member.watched.insert(watch.actor).second)
    watchers_[watch.actor].insert(node);
  send_to(node, state_of(watch.actor));
}

}  // namespace rayx::registry
