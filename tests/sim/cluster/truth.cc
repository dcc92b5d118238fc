#include "truth.hpp"

#include <algorithm>

namespace rayx::sim {

using registry::ActorSpec;
using registry::ActorState;
using registry::ActorStateRecord;
using registry::CreateActor;
using registry::EndJob;
using registry::from_bytes;
using registry::job_key;
using registry::JobInfo;
using registry::JobRecord;
using registry::KillActor;
using registry::KvDelete;
using registry::KvGet;
using registry::KvKeys;
using registry::KvPut;
using registry::Listed;
using registry::LookUpName;
using registry::StartJob;
using registry::value_key;

// ---- The disk

void Truth::on_durable(const std::vector<Write>& writes, TimeNs now) {
  for (const Write& write : writes) {
    const std::string_view key = write.key;
    if (key.starts_with("actor/")) {
      on_actor(key.substr(6), write.value, now);
    } else if (key.starts_with("kv/")) {
      on_value(write.key, write.value, now);
    } else if (key.starts_with("job/") && write.value) {
      jobs_.try_emplace(*base::parse_job_id(key.substr(4)), now);
    } else if (key.starts_with("node/") && write.value && has("dead/" + write.key.substr(5))) {
      fail("a node that was declared dead is a member again");
    }
    if (write.value) {
      pairs_[write.key] = *write.value;
    } else {
      pairs_.erase(write.key);
    }
  }
  for (const Write& write : writes) {
    if (!write.key.starts_with("actor/") || !write.key.ends_with("state") || !write.value) continue;
    const auto state = *from_bytes<ActorStateRecord>(*write.value);
    if (state.phase != ActorPhase::kStarting) continue;
    const auto node = pairs_.find("node/" + base::to_text(state.node));
    if (node == pairs_.end()) {
      fail("an actor was placed on a node that is no member");
    } else if (state.to_kill != state.incarnation &&
               from_bytes<registry::NodeRecord>(node->second)->state == registry::NodeState::kDraining) {
      fail("an actor was placed on a node that is to be empty");
    }
  }
}

void Truth::on_actor(std::string_view rest, const std::optional<std::string>& value, TimeNs now) {
  const ActorId id = *base::parse_actor_id(rest.substr(0, 16));
  ActorFacts& facts = actors_[id];
  const auto dies = [&] {
    if (facts.dead != base::kNever) return;
    facts.dead = now;
    const auto name = living_names_.find({facts.spec.creation.name_space, facts.spec.creation.name});
    if (name != living_names_.end() && name->second == id) living_names_.erase(name);
  };
  if (!value) return dies();
  if (rest.ends_with("spec")) {
    facts.spec = *from_bytes<ActorSpec>(*value);
    facts.created = now;
    return;
  }
  const auto state = *from_bytes<ActorStateRecord>(*value);
  if (state.incarnation < facts.incarnation) fail("the incarnations of an actor went back");
  facts.incarnation = state.incarnation;
  const CreateActor& creation = facts.spec.creation;
  if (state.restarts > creation.max_restarts) fail("an actor was restarted more often than it may be");
  if (state.phase == ActorPhase::kDead) return dies();
  if (facts.dead != base::kNever) return fail("a dead actor came back");
  if (creation.name.empty()) return;
  const auto [holder, is_new] = living_names_.try_emplace({creation.name_space, creation.name}, id);
  if (holder->second != id) fail("two living actors have one name");
}

void Truth::on_value(const std::string& key, const std::optional<std::string>& value, TimeNs now) {
  KeyFacts& facts = keys_[key];
  if (value)
    for (const Change& change : facts.changes)
      if (change.value == value) return fail("a value was put twice");
  facts.changes.push_back({now, value});
  int erased = 0;
  for (const Change& change : facts.changes) erased += !change.value;
  if (erased > facts.deletes_asked) fail("a key was deleted more often than somebody asked for it");
}

bool Truth::was(const std::string& key, const std::optional<std::string>& value, TimeNs from, TimeNs to) const {
  const auto found = keys_.find(key);
  TimeNs begin = 0;
  std::optional<std::string> current;
  if (found != keys_.end())
    for (const Change& change : found->second.changes) {
      if (current == value && begin <= to && change.at >= from) return true;
      begin = change.at;
      current = change.value;
    }
  return current == value && begin <= to;
}

bool Truth::was_there(const std::string& key, TimeNs from, TimeNs to) const {
  const auto found = keys_.find(key);
  if (found == keys_.end()) return false;
  return std::any_of(found->second.changes.begin(), found->second.changes.end(),
                     [&](const Change& change) { return change.value && was(key, change.value, from, to); });
}

// ---- Requests

Incarnation Truth::on_asked(const RequestBody& body) {
  if (const auto* request = std::get_if<KvDelete>(&body))
    ++keys_[value_key(request->name_space, request->key)].deletes_asked;
  if (std::holds_alternative<StartJob>(body)) ++jobs_asked_;
  const auto* kill = std::get_if<KillActor>(&body);
  if (kill == nullptr || !actors_.contains(kill->actor)) return 0;
  return actors_.at(kill->actor).incarnation;
}

void Truth::on_answered(const Pending& pending, const Answer& answer, TimeNs now) {
  if (answer.status == Status::kLost) return;
  const bool is_ok = answer.status == Status::kOk;
  if (const auto* put = std::get_if<KvPut>(&pending.body)) {
    answered_put(*put, pending, answer, now);
  } else if (const auto* get = std::get_if<KvGet>(&pending.body)) {
    const auto* text = std::get_if<std::string>(&answer.body);
    const auto value = text != nullptr ? std::optional(*text) : std::nullopt;
    if (is_ok != value.has_value()) return fail("a value was found and not given");
    if (!was(value_key(get->name_space, get->key), value, pending.asked, now))
      fail("a get saw a value that the key did not have while it was asked: " + value.value_or("none"));
  } else if (const auto* request = std::get_if<KvDelete>(&pending.body)) {
    if (!was(value_key(request->name_space, request->key), std::nullopt, pending.asked, now))
      fail("a key was deleted, or not found, that was there all the time");
  } else if (const auto* keys = std::get_if<KvKeys>(&pending.body)) {
    answered_keys(*keys, pending, std::get<Listed>(answer.body).names, now);
  } else if (const auto* job = std::get_if<StartJob>(&pending.body)) {
    const auto* info = std::get_if<JobInfo>(&answer.body);
    if (!is_ok || info == nullptr) return fail("a job was not started: " + answer.message);
    if (!jobs_.contains(info->job)) fail("a job was acknowledged that is not durable");
    if (!told_jobs_.insert(info->job).second) fail("two drivers have one job");
    if (info->bundle != job->bundle || info->program != job->program) fail("a driver was given another driver's job");
  } else if (const auto* creation = std::get_if<CreateActor>(&pending.body)) {
    answered_create(*creation, answer);
  } else if (const auto* name = std::get_if<LookUpName>(&pending.body)) {
    answered_name(*name, pending, answer, now);
  } else if (const auto* kill = std::get_if<KillActor>(&pending.body)) {
    const auto facts = actors_.find(kill->actor);
    if (is_ok) killed_.insert({kill->actor, pending.incarnation});
    if (is_ok && kill->no_restart && (facts == actors_.end() || facts->second.dead > now))
      fail("the end of an actor was acknowledged that is not durable");
  } else if (const auto* end = std::get_if<EndJob>(&pending.body)) {
    const auto record = pairs_.find(job_key(end->job));
    if (record != pairs_.end() && !from_bytes<JobRecord>(record->second)->is_ended)
      fail("the end of a job was acknowledged that is not durable");
  }
}

void Truth::answered_keys(const KvKeys& wanted, const Pending& pending, const std::vector<std::string>& names,
                          TimeNs now) {
  const std::set<std::string> listed(names.begin(), names.end());
  for (const std::string& name : names)
    if (!was_there(value_key(wanted.name_space, name), pending.asked, now))
      return fail("a key was listed that was not there");
  const std::string prefix = value_key(wanted.name_space, wanted.prefix);
  for (const auto& [key, facts] : keys_)
    if (key.starts_with(prefix) && !was(key, std::nullopt, pending.asked, now) &&
        !listed.contains(key.substr(prefix.size() - wanted.prefix.size())))
      return fail("a key was not listed that was there all the time");
}

void Truth::answered_put(const KvPut& put, const Pending& pending, const Answer& answer, TimeNs now) {
  const std::string key = value_key(put.name_space, put.key);
  const auto& changes = keys_[key].changes;
  const auto mine =
      std::find_if(changes.begin(), changes.end(), [&](const Change& change) { return change.value == put.value; });
  if (answer.status == Status::kOk) {
    if (mine == changes.end()) return fail("a put was acknowledged that is not durable");
    if (mine->at < pending.asked) fail("a put was done before it was asked for");
  } else if (answer.status == Status::kExists) {
    if (mine != changes.end()) return fail("a put was refused that had been done");
    if (put.overwrite || !was_there(key, pending.asked, now)) fail("a put was refused for a key that was not there");
  } else {
    fail("a put was refused: " + answer.message);
  }
}

void Truth::answered_create(const CreateActor& creation, const Answer& answer) {
  const auto mine = actors_.find(creation.actor);
  const bool is_made = mine != actors_.end() && mine->second.created != 0;
  if (answer.status == Status::kExists) {
    if (is_made) fail("an actor was refused that had been created");
    if (creation.name.empty()) fail("an actor without a name was refused");
  } else if (answer.status == Status::kOk) {
    const auto* id = std::get_if<ActorId>(&answer.body);
    if (id == nullptr) return fail("a created actor was not named");
    if (*id == creation.actor && !is_made) fail("an actor was acknowledged that is not durable");
    if (*id != creation.actor && !creation.get_if_exists) fail("somebody else's actor was given");
    if (*id != creation.actor && !actors_.contains(*id)) fail("an actor was given that is not durable");
  } else if (answer.status == Status::kJobEnded) {
    const auto job = pairs_.find(job_key(creation.job));
    if (job != pairs_.end() && !from_bytes<JobRecord>(job->second)->is_ended)
      fail("an actor of a living job was refused");
  }
}

void Truth::answered_name(const LookUpName& wanted, const Pending& pending, const Answer& answer, TimeNs now) {
  if (answer.status == Status::kOk) {
    const auto found = actors_.find(*std::get_if<ActorId>(&answer.body));
    if (found == actors_.end() || found->second.created == 0) return fail("a name led to an actor that is not durable");
    const ActorFacts& facts = found->second;
    if (facts.spec.creation.name != wanted.name || facts.spec.creation.name_space != wanted.name_space)
      fail("a name led to an actor of another name");
    if (facts.dead < pending.asked) fail("a name led to an actor that was dead before it was asked for");
    return;
  }
  for (const auto& [id, facts] : actors_)
    if (facts.spec.creation.name == wanted.name && facts.spec.creation.name_space == wanted.name_space &&
        facts.created != 0 && facts.created <= pending.asked && facts.dead > now)
      fail("the name of a living actor was not found");
}

// ---- Actors

void Truth::on_handed_out(ActorId actor, Incarnation incarnation) {
  if (!handed_out_.insert({actor, incarnation}).second) fail("one incarnation of an actor was started twice");
  if (actors_[actor].incarnation < incarnation) fail("an incarnation was started that is not durable");
}

void Truth::on_started(ActorId actor, Incarnation) {
  ActorFacts& facts = actors_[actor];
  if (++facts.begun > facts.spec.creation.max_restarts + 1)
    fail("the constructor of an actor began more often than it may");
}

void Truth::on_told(const ActorState& state) {
  const auto facts = actors_.find(state.actor);
  if (state.phase == ActorPhase::kAlive) {
    const auto made = made_.find({state.actor, state.incarnation});
    if (made == made_.end() || made->second != state.node) fail("an actor was said to live where it was not made");
  } else if (state.phase == ActorPhase::kDead && facts != actors_.end() && facts->second.dead == base::kNever &&
             facts->second.created != 0) {
    fail("an actor was said to be dead that is not: " + state.message);
  }
}

void Truth::check_end() {
  if (jobs_.size() > jobs_asked_) fail("more jobs were started than somebody asked for");
  for (const auto& [key, value] : pairs_) {
    if (key.starts_with("answer/")) return fail("an answer that has arrived is kept: " + key);
    if (!key.starts_with("actor/")) continue;
    const ActorFacts& facts = actors_.at(*base::parse_actor_id(std::string_view(key).substr(6, 16)));
    if (!facts.spec.creation.is_detached && !has(job_key(facts.spec.creation.job)))
      return fail("a record of an actor is left whose job has ended");
  }
  for (const auto& [key, value] : pairs_) {
    if (!key.starts_with("job/")) continue;
    const auto job = *from_bytes<JobRecord>(value);
    if (!job.is_ended) continue;
    const bool is_needed = std::any_of(actors_.begin(), actors_.end(), [&](const auto& it) {
      return it.second.spec.creation.job == job.info.job && it.second.spec.creation.is_detached &&
             it.second.dead == base::kNever;
    });
    if (!is_needed) return fail("a record of a job is left that has ended");
  }
}

}  // namespace rayx::sim
