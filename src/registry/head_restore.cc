// A head that begins: from nothing, or from what the one before had made durable.
#include <algorithm>

#include "base/planted_bug.hpp"
#include "registry/head.hpp"

namespace rayx::registry {

Result<void> Head::restore(const std::vector<std::pair<std::string, std::string>>& pairs, TimeNs now_ns) {
  now_ns_ = now_ns;
  const auto damaged = [](const std::string& key) {
    return Error{ErrorCode::kMalformed,
                 "the head's record \"" + key +
                     "\" cannot be read: it is damaged, or another version of rayx wrote it. Start the "
                     "head with that version, or with an empty folder for a new cluster"};
  };
  std::vector<std::pair<NodeId, Answer>> answers;
  for (const auto& [key, value] : pairs) {
    const std::string_view name = key;
    const auto rest = [&](std::string_view prefix) { return name.substr(prefix.size()); };
    bool is_read = false;
    if (key == kClusterKey) {
      const auto record = from_bytes<ClusterRecord>(value);
      if ((is_read = record && record->format == kRecordFormat)) cluster_ = *record;
    } else if (name.starts_with("node/")) {
      const auto id = base::parse_node_id(rest("node/"));
      const auto record = from_bytes<NodeRecord>(value);
      if ((is_read = id && record)) {
        Member& member = members_[*id];
        member.record = *record;
        member.deadline_ns = RAYX_PLANTED_BUG(434) ? now_ns : now_ns + options_.rejoin_ns;
        if (record->state == NodeState::kDraining)
          member.drain_ns = base::deadline_ns(now_ns, std::chrono::nanoseconds(record->drain_within_ns));
        expect(std::min(member.deadline_ns, member.drain_ns));
      }
    } else if (name.starts_with("dead/")) {
      const auto id = base::parse_node_id(rest("dead/"));
      const auto record = from_bytes<DeadRecord>(value);
      if ((is_read = id && record)) {
        dead_[*id] = *record;
        dead_order_[record->order] = *id;
        last_dead_ = std::max(last_dead_, record->order);
      }
    } else if (name.starts_with("job/")) {
      const auto id = base::parse_job_id(rest("job/"));
      const auto record = from_bytes<JobRecord>(value);
      if ((is_read = id && record)) jobs_[*id] = *record;
    } else if (name.starts_with("actor/")) {
      const auto id = base::parse_actor_id(rest("actor/").substr(0, 16));
      if (id && key == spec_key(*id)) {
        const auto spec = from_bytes<ActorSpec>(value);
        if ((is_read = spec.has_value())) actors_[*id].spec = *spec;
      } else if (id && key == state_key(*id)) {
        const auto state = from_bytes<ActorStateRecord>(value);
        if ((is_read = state.has_value())) actors_[*id].state = *state;
      }
    } else if (name.starts_with("kv/")) {
      const std::size_t end = name.find('\0');
      if ((is_read = end != std::string_view::npos))
        values_.put({key.substr(3, end - 3), key.substr(end + 1), value, true});
    } else if (name.starts_with("answer/")) {
      const auto id = base::parse_node_id(rest("answer/").substr(0, 16));
      const auto answer = from_bytes<Answer>(value);
      if ((is_read = id && answer)) answers.emplace_back(*id, *answer);
    }
    if (!is_read) return damaged(key);
  }
  if (!pairs.empty() && cluster_.cluster == 0) return damaged(kClusterKey);

  for (const auto& [node, answer] : answers) {
    if (RAYX_PLANTED_BUG(439)) break;
    const auto member = members_.find(node);
    if (member != members_.end()) member->second.answers[answer.number] = answer;
  }
  for (auto& [id, actor] : actors_) {
    const CreateActor& creation = actor.spec.creation;
    if (creation.actor != id) return damaged(spec_key(id));
    index(id, actor);
    if (actor.state.phase == ActorPhase::kDead) {
      dead_actors_[actor.state.dead_order] = id;
      last_dead_actor_ = std::max(last_dead_actor_, actor.state.dead_order);
      continue;
    }
    if (!jobs_.contains(creation.job)) return damaged(job_key(creation.job));
    if (!creation.name.empty() && !RAYX_PLANTED_BUG(435)) names_[{creation.name_space, creation.name}] = id;
    if (is_waiting(actor.state.phase)) {
      actor.waits_since = ++last_waiting_;
      waiting_[actor.waits_since] = id;
    }
  }
  if (cluster_.cluster == 0) cluster_.cluster = options_.cluster;
  ++cluster_.epoch;
  write(kClusterKey, to_bytes(cluster_));
  finish();
  return {};
}

}  // namespace rayx::registry
