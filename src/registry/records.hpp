// What survives a kill of the head: the records, and the keys under which they lie.
//
//   cluster                      ClusterRecord
//   node/<NodeId>                NodeRecord: members that are not dead
//   dead/<NodeId>                DeadRecord: ids that were declared dead and may not come back
//   job/<JobId>                  JobRecord: also an ended one, while a detached actor of it lives
//   actor/<ActorId>/spec         ActorSpec, written once
//   actor/<ActorId>/state        ActorStateRecord, at each change
//   kv/<namespace>\0<key>        the value itself
//   answer/<NodeId>/<number>     Answer to a request that changed something, until the member has it
#pragma once

#include <cstdint>
#include <string>

#include "base/cluster_ids.hpp"
#include "registry/messages.hpp"
#include "registry/record.hpp"

namespace rayx::registry {

inline constexpr std::uint8_t kRecordFormat = 4;

struct ClusterRecord {
  std::uint8_t format = kRecordFormat;
  std::uint64_t cluster = 0;
  std::uint64_t epoch = 0;  // starts of a head
  std::uint32_t last_job = 0;
};
struct NodeRecord {
  MemberKind kind = MemberKind::kNode;
  std::string name;
  std::string address;
  std::uint32_t pid = 0;
  Resources resources;
  Labels labels;
  NodeState state = NodeState::kAlive;
  std::string reason;
  TimeNs drain_within_ns = 0;  // begins again with a new head: its clock is another one
};
struct DeadRecord {
  std::uint64_t order = 0;  // the oldest are forgotten first
  std::string reason;
};
struct JobRecord {
  JobInfo info;
  bool is_ended = false;
};
struct ActorSpec {
  CreateActor creation;
  NodeId owner;  // whose request it was
};
struct ActorStateRecord {
  ActorPhase phase = ActorPhase::kPending;
  Incarnation incarnation = 0;
  std::uint32_t restarts = 0;       // of those that may have begun
  std::uint32_t failed_starts = 0;  // of processes in which nothing ran
  NodeId node;                      // of kStarting and kAlive
  Incarnation to_kill = 0;          // this one was to be killed, and restarted
  EndCause cause = EndCause::kNone;
  std::string message;
  std::uint64_t dead_order = 0;
};

// Sums of all that a cluster may have stay far from the ends of the type.
inline constexpr std::int64_t kAmountMax = std::int64_t{1} << 52;
inline bool is_sound(const Reader&, const Resources& it) {
  const auto is_in_range = [](std::int64_t amount) { return amount >= -kAmountMax && amount <= kAmountMax; };
  bool is_good = is_in_range(it.cpus) && is_in_range(it.memory_bytes);
  for (std::size_t i = 0; i < it.others.size(); ++i)
    is_good = is_good && is_in_range(it.others[i].second) && it.others[i].second != 0 &&
              (i == 0 || it.others[i - 1].first < it.others[i].first);
  return is_good;
}
// What somebody has or wants, in contrast to what is left.
inline bool is_amount(const Resources& it) {
  bool is_good = it.cpus >= 0 && it.memory_bytes >= 0;
  for (const auto& [name, units] : it.others) is_good = is_good && units > 0;
  return is_good;
}
inline bool are_sorted(const Labels& labels) {
  for (std::size_t i = 1; i < labels.size(); ++i)
    if (labels[i - 1].first >= labels[i].first) return false;
  return true;
}
inline bool is_sound(const Reader&, const NodeRecord& it) { return is_amount(it.resources) && are_sorted(it.labels); }
inline bool is_sound(const Reader&, const CreateActor& it) { return is_amount(it.resources); }

RAYX_FIELDS(Resources, it.cpus, it.memory_bytes, it.others)
RAYX_FIELDS(ClusterRecord, it.format, it.cluster, it.epoch, it.last_job)
RAYX_FIELDS(LabelSelector, it.key, it.is_negated, it.values)
RAYX_FIELDS(NodeRecord, it.kind, it.name, it.address, it.pid, it.resources, it.labels, it.state, it.reason,
            it.drain_within_ns)
RAYX_FIELDS(DeadRecord, it.order, it.reason)
RAYX_FIELDS(JobInfo, it.job, it.driver, it.bundle, it.program, it.name_space)
RAYX_FIELDS(JobRecord, it.info, it.is_ended)
RAYX_FIELDS(CreateActor, it.actor, it.job, it.resources, it.selectors, it.name, it.name_space, it.get_if_exists,
            it.is_detached, it.is_owned, it.max_restarts, it.max_task_retries, it.creation, it.site, it.ended,
            it.how_it_ended)
RAYX_FIELDS(ActorSpec, it.creation, it.owner)
RAYX_FIELDS(ActorStateRecord, it.phase, it.incarnation, it.restarts, it.failed_starts, it.node, it.to_kill, it.cause,
            it.message, it.dead_order)
RAYX_FIELDS(Listed, it.names, it.is_cut)
RAYX_FIELDS(Answer, it.number, it.status, it.message, it.body)
inline const std::string kClusterKey = "cluster";
inline std::string node_key(NodeId id) { return "node/" + base::to_text(id); }
inline std::string dead_key(NodeId id) { return "dead/" + base::to_text(id); }
inline std::string job_key(JobId id) { return "job/" + base::to_text(id); }
inline std::string spec_key(ActorId id) { return "actor/" + base::to_text(id) + "/spec"; }
inline std::string state_key(ActorId id) { return "actor/" + base::to_text(id) + "/state"; }
inline std::string value_key(const std::string& name_space, const std::string& key) {
  return "kv/" + name_space + '\0' + key;
}
inline std::string answer_key(NodeId id, RequestNumber number) {
  return "answer/" + base::to_text(id) + "/" + base::to_text(NodeId{number});
}

}  // namespace rayx::registry
