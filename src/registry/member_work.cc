// What a member asks the head, and what the head asks of it.
#include <algorithm>
#include <variant>

#include "base/planted_bug.hpp"
#include "registry/member.hpp"

namespace rayx::registry {

// ---- Requests

void Member::send_request(RequestNumber number, const RequestBody& body) {
  effects_.send(connection_, Request{number, answered_below(), body});
}

RequestNumber Member::make_request(RequestBody body) {
  const RequestNumber number = ++last_request_;
  const RequestBody& kept = open_[number] = std::move(body);
  if (const auto* creation = std::get_if<CreateActor>(&kept)) creating_[creation->actor] = number;
  if (link_ == Link::kJoined) send_request(number, kept);
  return number;
}

RequestNumber Member::request(RequestBody body) {
  if (open_.size() >= kOpenRequestsMax || link_ == Link::kOver || link_ == Link::kGivenUp) return 0;
  return make_request(std::move(body));
}

void Member::leave(std::string why) {
  is_leaving_ = true;
  make_request(Leave{std::move(why)});
}

void Member::drain_done() {
  is_leaving_ = true;
  make_request(DrainDone{});
}

void Member::take(const Answer& answer) {
  const auto found = open_.find(answer.number);
  if (found == open_.end()) return;  // repeated, and answered twice
  const RequestBody body = std::move(found->second);
  open_.erase(found);
  if (const auto* report = std::get_if<ActorDied>(&body)) {
    const auto running = actors_.find({report->actor, report->incarnation});
    const JobId job = running == actors_.end() ? JobId{} : running->second.job;
    if (running != actors_.end()) actors_.erase(running);
    return look_whether_over(job);
  }
  if (std::holds_alternative<ActorPlaced>(body)) return;
  if (const auto* creation = std::get_if<CreateActor>(&body)) {
    creating_.erase(creation->actor);
    if (watched_.contains(creation->actor)) effects_.send(connection_, Watch{creation->actor, true});
  } else if (const auto* job = std::get_if<JobInfo>(&answer.body)) {
    jobs_.try_emplace(job->job, false);  // from here on it hears of the job's end
  }
  effects_.answered(answer);
  if (!std::holds_alternative<Leave>(body) && !std::holds_alternative<DrainDone>(body)) return;
  if (connection_ != 0) effects_.close(connection_);
  connection_ = 0;
  link_ = Link::kOver;
  lose_everything("this process left the cluster");
  effects_.left();
}

// ---- Jobs and actors

std::vector<JobId> Member::jobs() const {
  std::vector<JobId> all;
  for (const auto& [job, is_ended] : jobs_) all.push_back(job);
  return all;
}

void Member::take(const JobEnded& ended) {
  const auto found = jobs_.find(ended.job);
  if (found == jobs_.end()) return;
  const bool was_told = std::exchange(found->second, true);
  if (!was_told) effects_.job_ended(ended.job, ended.why);
  look_whether_over(ended.job);
}

void Member::look_whether_over(JobId job) {
  const auto found = jobs_.find(job);
  if (found == jobs_.end() || !found->second) return;
  for (const auto& [placement, running] : actors_)
    if (running.job == job) return;
  jobs_.erase(found);
  effects_.job_over(job);
}

void Member::take(const PlaceActor& place) {
  const auto [running, is_new] = actors_.try_emplace({place.actor, place.incarnation});
  if (!is_new) return;
  running->second.it = {place.actor, place.incarnation, place.resources, false, false};
  running->second.job = place.job.job;
  jobs_.try_emplace(place.job.job, place.is_job_ended);
  effects_.start_actor(place);
}

void Member::take(const EndActor& end) {
  const auto found = actors_.find({end.actor, end.incarnation});
  if (found == actors_.end() || found->second.it.is_ended) return;
  effects_.end_actor(end.actor, end.incarnation, end.cause);
}

void Member::actor_alive(ActorId actor, Incarnation incarnation) {
  const auto found = actors_.find({actor, incarnation});
  if (found == actors_.end() || found->second.it.is_ended) return;
  found->second.it.is_alive = true;
  make_request(ActorPlaced{actor, incarnation});
}

void Member::actor_ended(ActorId actor, Incarnation incarnation, EndCause cause, std::string message) {
  const auto found = actors_.find({actor, incarnation});
  if (found == actors_.end() || found->second.it.is_ended) return;
  found->second.it.is_ended = true;
  make_request(ActorDied{actor, incarnation, cause, message.substr(0, kMessageBytesMax)});
}

// ---- Who wants to know

void Member::watch(ActorId actor) {
  if (watched_.size() >= kWatchesMax || !watched_.insert(actor).second) return;
  if (has_said_join() && !creating_.contains(actor)) effects_.send(connection_, Watch{actor, true});
}

void Member::unwatch(ActorId actor) {
  if (watched_.erase(actor) > 0 && has_said_join()) effects_.send(connection_, Watch{actor, false});
}

void Member::take(const ActorState& state) {
  if (!watched_.contains(state.actor)) return;
  if (state.phase == ActorPhase::kDead) watched_.erase(state.actor);
  effects_.actor_changed(state);
}

void Member::subscribe(const std::string& channel) {
  if (channels_.contains(channel)) return;
  if (channels_.size() >= kChannelsMax) return effects_.subscribed(channel, true);
  channels_.try_emplace(channel);
  if (has_said_join()) effects_.send(connection_, Subscribe{channel, true});
}

void Member::unsubscribe(const std::string& channel) {
  if (channels_.erase(channel) > 0 && has_said_join()) effects_.send(connection_, Subscribe{channel, false});
}

void Member::take(const Subscribed& subscribed) {
  const std::string& channel = subscribed.position.channel;
  const auto found = channels_.find(channel);
  if (found == channels_.end()) return;
  if (subscribed.is_refused) {
    channels_.erase(found);
    return effects_.subscribed(channel, true);
  }
  const std::optional<ChannelPosition> before = std::exchange(found->second, subscribed.position);
  if (before && before->epoch != subscribed.position.epoch) {
    effects_.missed(channel, std::nullopt);
  } else if (before && subscribed.position.number > before->number && !RAYX_PLANTED_BUG(449)) {
    effects_.missed(channel, subscribed.position.number - before->number);
  }
  effects_.subscribed(channel, false);
}

void Member::take(const Published& message) {
  constexpr std::uint64_t kSeenEach = kUnseenMax / 4;
  if (++published_ % kSeenEach == 0) effects_.send(connection_, PublishedSeen{published_});
  const auto found = channels_.find(message.channel);
  if (found == channels_.end() || !found->second) return;
  found->second->number = message.number;
  effects_.published(message);
}

}  // namespace rayx::registry
