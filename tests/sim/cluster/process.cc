#include "process.hpp"

#include <algorithm>

#include "cluster.hpp"

namespace rayx::sim {

using registry::MemberKind;
using registry::NodeState;

MemberProcess::MemberProcess(Cluster& cluster, HostId host, registry::Identity identity)
    : MemberOnNetwork(cluster.events_, cluster.network_, host, std::move(identity)), cluster_(cluster) {}

void MemberProcess::begin() {
  attach();
  heard_ = cluster_.now();
  member_.start(cluster_.now());
  if (is_driver()) {
    ask(registry::StartJob{"bundle-" + std::to_string(++cluster_.last_value_), "program-" + std::to_string(me_),
                           cluster_.chance_.one_in(2) ? "shared" : ""});
  }
  arm();
}

// ---- Time

void MemberProcess::run(const std::function<void()>& what) {
  if (cluster_.network_.is_frozen(host_)) {
    deferred_.push_back(what);
    return;
  }
  what();
  arm();
  if (cluster_.now() > heard_ + registry::kLease_ns + kSecond && !member_.is_over())
    cluster_.fail("a member goes on without a head");
}

void MemberProcess::thaw(TimeNs frozen_for) {
  heard_ += frozen_for;
  const auto deferred = std::exchange(deferred_, {});
  for (const auto& what : deferred) run(what);
}

// ---- The network

EndpointId MemberProcess::head_at() const { return cluster_.head_at_; }

const registry::ToMember& MemberProcess::heard(const registry::ToMember& message) {
  cluster_.note(me_ * 64 + message.index());
  heard_ = cluster_.now();
  return message;
}

void MemberProcess::send(ConnectionId to, registry::ToHead message) {
  if (const auto* request = std::get_if<registry::Request>(&message)) {
    const auto found = pending_.find(request->number);
    if (found != pending_.end()) cluster_.outcome_.counts.repeated += std::exchange(found->second.is_sent, true);
  }
  MemberOnNetwork::send(to, std::move(message));
}

// ---- What the program does

void MemberProcess::ask(RequestBody body) {
  Pending pending{body, cluster_.now(), member_.is_joined(), cluster_.truth_.on_asked(body)};
  const registry::RequestNumber number = member_.request(std::move(body));
  if (number != 0) pending_[number] = std::move(pending);
}

void MemberProcess::act() {
  if (cluster_.is_quiet_) return;
  Chance& chance = cluster_.chance_;
  switch (chance.below(8)) {
    case 0:
    case 1: act_on_values(); break;
    case 2: act_on_channels(); break;
    case 3:
    case 4:
    case 5: act_on_actors(); break;
    case 6:
      if (is_driver()) {
        if (job_ && chance.one_in(12)) end_of_job();
      } else {
        registry::Load load;
        load.used_by_tasks.cpus = static_cast<base::Units>(chance.below(3)) * base::kUnitsOfOne / 2;
        load.queued.push_back({JobId{1}, load.used_by_tasks, chance.below(100)});
        member_.set_load(load);
      }
      break;
    default:
      if (is_driver() || cluster_.known_jobs_.empty()) {
        if (chance.one_in(40)) member_.leave("it has had enough");
      } else {
        ask(registry::LookUpJob{cluster_.known_jobs_[chance.below(cluster_.known_jobs_.size())]});
      }
  }
}

void MemberProcess::act_on_values() {
  Chance& chance = cluster_.chance_;
  const std::string key = std::string("key") + static_cast<char>('a' + chance.below(4));
  switch (chance.below(5)) {
    case 0:
    case 1:
      ++cluster_.outcome_.counts.puts;
      ask(registry::KvPut{"space", key, "value" + std::to_string(++cluster_.last_value_), chance.one_in(2)});
      break;
    case 2: ask(registry::KvDelete{"space", key}); break;
    case 3: ask(registry::KvKeys{"space", "key", ""}); break;
    default: ask(registry::KvGet{"space", key});
  }
}

void MemberProcess::act_on_actors() {
  Chance& chance = cluster_.chance_;
  const auto some_name = [&] { return std::string("actor") + static_cast<char>('a' + chance.below(5)); };
  const std::vector<JobId> jobs = member_.jobs();
  if (!jobs.empty() && chance.one_in(2) && actors_.size() < 8) {
    registry::CreateActor creation;
    creation.actor = {chance.bits() | 1};
    creation.job = is_driver() ? job_ : jobs[chance.below(jobs.size())];
    if (!creation.job) return;
    if (!chance.one_in(4)) creation.resources.cpus = static_cast<base::Units>(chance.below(4)) * base::kUnitsOfOne / 2;
    if (chance.one_in(6)) creation.resources.set("gpu", base::kUnitsOfOne);
    if (chance.one_in(40)) creation.resources.cpus = 100 * base::kUnitsOfOne;  // fits nowhere
    if (chance.one_in(6)) creation.selectors.push_back({"zone", chance.one_in(2), {"a"}});
    if (chance.one_in(2)) {
      creation.name = some_name();
      creation.name_space = "shared";
      creation.get_if_exists = chance.one_in(2);
    }
    if (creation.name.empty() && chance.one_in(10)) {
      creation.ended = registry::EndCause::kKilled;
      creation.how_it_ended = "before it began";
    }
    creation.is_detached = chance.one_in(4);
    creation.max_restarts = chance.one_in(2) ? 0 : static_cast<std::uint32_t>(1 + chance.below(3));
    creation.creation = "maker";
    ++cluster_.outcome_.counts.actors;
    const ActorId id = creation.actor;
    ask(std::move(creation));
    if (chance.one_in(2)) member_.watch(id);
    return;
  }
  if (chance.one_in(3)) {
    if (chance.one_in(4)) {
      ask(registry::ListNames{"shared", ""});
    } else {
      ask(registry::LookUpName{"shared", some_name()});
    }
    return;
  }
  if (actors_.empty()) return;
  const std::size_t at = chance.below(actors_.size());
  const ActorId actor = actors_[at];
  if (chance.one_in(3)) {
    member_.watch(actor);
  } else {
    const bool no_restart = chance.one_in(3);
    ask(registry::KillActor{actor, no_restart});
    if (no_restart) actors_.erase(actors_.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

void MemberProcess::act_on_channels() {
  Chance& chance = cluster_.chance_;
  const std::string channel = std::string("channel") + static_cast<char>('a' + chance.below(2));
  if (chance.one_in(6)) {
    member_.subscribe(channel);
  } else if (chance.one_in(12)) {
    member_.unsubscribe(channel);
    channels_.erase(channel);
  } else {
    const std::uint64_t burst = chance.one_in(8) ? 12 : 1;  // more than a subscriber's queue holds
    for (std::uint64_t i = 0; i < burst; ++i) {
      ++cluster_.outcome_.counts.published;
      ask(registry::Publish{channel, "payload" + std::to_string(++cluster_.last_value_)});
    }
  }
}

void MemberProcess::say_last_word(const std::string& channel) { ask(registry::Publish{channel, "the last word"}); }

void MemberProcess::ask_to_drain(NodeId node) {
  ask(registry::DrainNode{node, cluster_.chance_.between(kSecond / 10, 5 * kSecond), "it is to be repaired"});
}

void MemberProcess::end_of_job() {
  if (!job_) return;
  ask(registry::EndJob{job_, "it is done"});
  if (cluster_.chance_.one_in(2)) member_.leave("its program ended");
}

void MemberProcess::answered(const Answer& answer) {
  const auto found = pending_.find(answer.number);
  if (found == pending_.end()) return;  // one of Member's own
  const Pending pending = std::move(found->second);
  pending_.erase(found);
  cluster_.truth_.on_answered(pending, answer, cluster_.now());
  if (answer.status != Status::kOk) return;
  if (std::holds_alternative<registry::StartJob>(pending.body)) {
    job_ = std::get<registry::JobInfo>(answer.body).job;
    cluster_.known_jobs_.push_back(job_);
    ++cluster_.outcome_.counts.jobs;
  } else if (std::holds_alternative<registry::CreateActor>(pending.body) ||
             (std::holds_alternative<registry::LookUpName>(pending.body) && cluster_.chance_.one_in(3))) {
    actors_.push_back(std::get<ActorId>(answer.body));
  }
}

// ---- Actors

void MemberProcess::start_actor(const registry::PlaceActor& place) {
  cluster_.check_place_is_free(*this, place);
  cluster_.truth_.on_handed_out(place.actor, place.incarnation);
  cluster_.outcome_.counts.restarts += place.is_restart;
  const Placement placement{place.actor, place.incarnation};
  bodies_[placement] = {place.resources, Body::State::kForking, place.job.job, place.is_detached};
  after(cluster_.chance_.between(kMillisecond, 300 * kMillisecond), [this, placement] { fork(placement); });
}

void MemberProcess::fork(Placement placement) {
  const auto body = bodies_.find(placement);
  if (body == bodies_.end() || body->second.state != Body::State::kForking) return;
  if (!cluster_.is_quiet_ && cluster_.chance_.one_in(cluster_.trouble_one_in_)) {
    ++cluster_.outcome_.counts.failed_starts;
    return body_ended(placement, EndCause::kNoProcess, "no memory");
  }
  ++cluster_.outcome_.counts.starts;
  cluster_.truth_.on_started(placement.first, placement.second);
  body->second.state = Body::State::kConstructing;
  after(cluster_.chance_.between(kMillisecond, 500 * kMillisecond), [this, placement] { construct(placement); });
}

void MemberProcess::construct(Placement placement) {
  const auto body = bodies_.find(placement);
  if (body == bodies_.end() || body->second.state != Body::State::kConstructing) return;
  if (!cluster_.is_quiet_ && cluster_.chance_.one_in(cluster_.trouble_one_in_))
    return body_ended(placement, EndCause::kConstructorFailed, "it threw");
  body->second.state = Body::State::kAlive;
  cluster_.truth_.on_made(placement.first, placement.second, member_.identity().node);
  member_.actor_alive(placement.first, placement.second);
  after(cluster_.chance_.between(kSecond / 10, 60 * kSecond), [this, placement] { live(placement); });
}

// Its time has come, if there still is trouble in this world.
void MemberProcess::live(Placement placement) {
  const auto body = bodies_.find(placement);
  if (body == bodies_.end() || body->second.state != Body::State::kAlive || cluster_.is_quiet_) return;
  ++cluster_.outcome_.counts.crashes;
  body_ended(placement, EndCause::kCrashed, "signal 11");
}

void MemberProcess::end_actor(ActorId actor, Incarnation incarnation, EndCause cause) {
  const Placement placement{actor, incarnation};
  const auto body = bodies_.find(placement);
  if (body == bodies_.end()) return;
  body->second.state = Body::State::kEnding;
  after(cluster_.chance_.between(0, 400 * kMillisecond), [this, placement, cause] {
    if (bodies_.contains(placement)) body_ended(placement, cause, "as told");
  });
}

void MemberProcess::body_ended(Placement placement, EndCause cause, const std::string& message) {
  bodies_.erase(placement);
  member_.actor_ended(placement.first, placement.second, cause, message);
}

void MemberProcess::job_ended(JobId job, const std::string&) {
  if (job == job_) job_ = {};
}

void MemberProcess::job_over(JobId job) {
  for (const auto& [placement, body] : bodies_)
    if (body.job == job) cluster_.fail("a job was said to be over while an actor of it runs");
}

// ---- News

void MemberProcess::node_changed(const registry::NodeView& node) {
  if (node.state == NodeState::kDead) {
    dead_.insert(node.node);
    if (!cluster_.truth_.has("dead/" + base::to_text(node.node)))
      cluster_.fail("a node was said to be dead before that is durable");
  } else if (dead_.contains(node.node)) {
    cluster_.fail("a node that was said to be dead was said to live");
  }
}

void MemberProcess::actor_changed(const registry::ActorState& state) {
  cluster_.truth_.on_told(state);
  if (state.node && !member_.nodes().contains(state.node))
    cluster_.fail("news of an actor named a node that nobody had named before");
  registry::ActorState& known = watched_[state.actor];
  if (state.incarnation < known.incarnation && state.cause != EndCause::kNone)
    cluster_.fail("news of an actor went back to an earlier incarnation");
  known = state;
}

void MemberProcess::published(const registry::Published& message) {
  Channel& channel = channels_[message.channel];
  const auto [seen, is_new] = cluster_.seen_payloads_.try_emplace(message.payload, message.epoch, message.number);
  if (!is_new && message.payload != "the last word" && seen->second.first == message.epoch &&
      seen->second.second != message.number)
    cluster_.fail("one message was published twice");
  if (channel.epoch == message.epoch) {
    if (message.number != channel.number + message.missed + 1)
      cluster_.fail("messages of a channel are missing and nobody said so");
  } else if (channel.epoch > message.epoch) {
    cluster_.fail("a message of an earlier head came after one of a later head");
  }
  cluster_.outcome_.counts.missed += static_cast<int>(message.missed);
  channel = {message.epoch, message.number, message.payload};
}

void MemberProcess::missed(const std::string& channel, std::optional<std::uint64_t> count) {
  ++cluster_.outcome_.counts.missed;
  const auto found = channels_.find(channel);
  if (found == channels_.end()) return;
  if (count) {
    found->second.number += *count;
  } else {
    channels_.erase(found);  // numbers begin anew
  }
}

void MemberProcess::drain(TimeNs, const std::string&) {
  after(cluster_.chance_.between(kSecond / 10, 3 * kSecond), [this] {
    if (!member_.is_over()) member_.drain_done();
  });
}

void MemberProcess::left() {
  ++cluster_.outcome_.counts.left;
  cluster_.gone(*this);
}

void MemberProcess::start_anew(const std::string&) {
  ++cluster_.outcome_.counts.given_up;
  bodies_.clear();
  watched_.clear();
  channels_.clear();
  dead_.clear();
  actors_.clear();
  if (!pending_.empty()) cluster_.fail("a request of a member that was given up was never answered");
  if (is_driver()) return cluster_.gone(*this);
  const NodeId node = cluster_.new_node_id();
  after(cluster_.chance_.between(0, kSecond), [this, node] {
    heard_ = cluster_.now();
    member_.rejoin(node, cluster_.now());
  });
}

void MemberProcess::end_yourself(const std::string&) {
  ++cluster_.outcome_.counts.lease_ends;
  if (!pending_.empty()) cluster_.fail("a request of a member that ended itself was never answered");
  cluster_.gone(*this);
}

}  // namespace rayx::sim
