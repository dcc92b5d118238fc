// What an outside observer knows: what became durable and when, what was asked and answered, and what ran. It looks at no
// decider; what it holds against them is written at each check.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "events.hpp"
#include "registry/head.hpp"
#include "registry/records.hpp"

namespace rayx::sim {

using registry::ActorId;
using registry::ActorPhase;
using registry::Answer;
using registry::EndCause;
using registry::Incarnation;
using registry::JobId;
using registry::NodeId;
using registry::RequestBody;
using registry::Resources;
using registry::Status;
using registry::Write;

struct Pending {
  RequestBody body;
  TimeNs asked = 0;
  bool is_sent = false;
  Incarnation incarnation = 0;  // on_asked
};

class Truth {
 public:
  // ---- The disk
  void on_durable(const std::vector<Write>& writes, TimeNs now);
  const std::map<std::string, std::string>& pairs() const { return pairs_; }
  bool has(const std::string& key) const { return pairs_.contains(key); }

  // ---- Requests
  Incarnation on_asked(const RequestBody& body);  // of the actor that it is about, as far as one is durable
  void on_answered(const Pending& pending, const Answer& answer, TimeNs now);

  // ---- Actors
  void on_started(ActorId actor, Incarnation incarnation);  // its constructor begins
  void on_made(ActorId actor, Incarnation incarnation, NodeId node) { made_[{actor, incarnation}] = node; }
  void on_handed_out(ActorId actor, Incarnation incarnation);
  void on_told(const registry::ActorState& state);

  bool was_killed(ActorId actor, Incarnation incarnation) const { return killed_.contains({actor, incarnation}); }

  void check_end();  // when nothing is on its way any more

  const std::string& problem() const { return problem_; }
  void fail(const std::string& problem) {
    if (problem_.empty()) problem_ = problem;
  }

 private:
  struct ActorFacts {
    registry::ActorSpec spec;
    TimeNs created = 0;  // durable
    TimeNs dead = base::kNever;
    Incarnation incarnation = 0;
    std::uint32_t begun = 0;
  };
  struct Change {
    TimeNs at = 0;
    std::optional<std::string> value;
  };
  struct KeyFacts {
    std::vector<Change> changes;
    int deletes_asked = 0;
  };

  void on_actor(std::string_view rest, const std::optional<std::string>& value, TimeNs now);
  void on_value(const std::string& key, const std::optional<std::string>& value, TimeNs now);
  void answered_keys(const registry::KvKeys& wanted, const Pending& pending, const std::vector<std::string>& names,
                     TimeNs now);
  void answered_put(const registry::KvPut& put, const Pending& pending, const Answer& answer, TimeNs now);
  void answered_create(const registry::CreateActor& creation, const Answer& answer);
  void answered_name(const registry::LookUpName& wanted, const Pending& pending, const Answer& answer, TimeNs now);
  // It was so at some time between the two, both included. Nothing: the key was absent.
  bool was(const std::string& key, const std::optional<std::string>& value, TimeNs from, TimeNs to) const;
  bool was_there(const std::string& key, TimeNs from, TimeNs to) const;

  std::string problem_;
  std::map<std::string, std::string> pairs_;
  std::map<ActorId, ActorFacts> actors_;
  std::map<std::pair<std::string, std::string>, ActorId> living_names_;
  std::map<JobId, TimeNs> jobs_;  // created
  std::set<JobId> told_jobs_;
  std::map<std::string, KeyFacts> keys_;
  std::set<std::pair<ActorId, Incarnation>> handed_out_;
  std::map<std::pair<ActorId, Incarnation>, NodeId> made_;
  std::set<std::pair<ActorId, Incarnation>> killed_;  // acknowledged: it, or a later one
  std::size_t jobs_asked_ = 0;
};

}  // namespace rayx::sim
