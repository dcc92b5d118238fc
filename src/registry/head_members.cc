// Who is a member: join, heartbeat, silence, draining, death.
#include <algorithm>

#include "base/check.hpp"
#include "base/planted_bug.hpp"
#include "registry/head.hpp"

namespace rayx::registry {
namespace {
std::string cut(const std::string& message) { return message.substr(0, kMessageBytesMax); }
}  // namespace

void Head::refuse(ConnectionId connection, RefusedWhy why, std::string message) {
  send(connection, Refused{why, std::move(message)});
  close(connection);
}

void Head::join(ConnectionId connection, const Join& join) {
  if (join.protocol != kProtocolVersion)
    return refuse(connection, RefusedWhy::kProtocol,
                  "the head speaks version " + std::to_string(kProtocolVersion) +
                      " of the protocol, this process version " + std::to_string(join.protocol) +
                      ": install the same rayx on both");
  const auto dead = dead_.find(join.node);
  if (dead != dead_.end() && !RAYX_PLANTED_BUG(406))
    return refuse(connection, RefusedWhy::kDeclaredDead,
                  "node " + base::to_text(join.node) + " was given up: " + dead->second.reason);
  const auto found = members_.find(join.node);
  const bool is_known = found != members_.end();
  if (!join.node || (!is_known && !join.is_first && !RAYX_PLANTED_BUG(406)) ||
      (!join.is_first && join.resume.cluster != cluster_.cluster))
    return refuse(connection, RefusedWhy::kUnknown, "this head does not know node " + base::to_text(join.node));
  if (!is_known && members_.size() >= kMembersMax)
    return refuse(connection, RefusedWhy::kFull, "the cluster has " + std::to_string(kMembersMax) + " members already");
  Member& member = members_[join.node];
  if (is_known && join.session <= member.session && !RAYX_PLANTED_BUG(407)) return close(connection);  // overtaken
  if (member.connection != 0 && !RAYX_PLANTED_BUG(427)) {
    channels_.drop(join.node);
    close(member.connection);
  }
  member.connection = connection;
  member.session = join.session;
  is_heard(member, join.kind);
  landed(member);
  if (!RAYX_PLANTED_BUG(432)) member.view_sent = 0;
  member.views_unseen = 0;
  if (!RAYX_PLANTED_BUG(436)) {
    member.lent.clear();  // what it holds it says itself
    member.given = {};
  }
  strangers_.erase(connection);
  joined_[connection] = join.node;
  if (!is_known) {
    member.record = {join.kind,   join.name,         join.address, join.pid, join.resources,
                     join.labels, NodeState::kAlive, {},           0};
    write(node_key(join.node), to_bytes(member.record));
    channels_.publish(kNodesChannel, "node " + base::to_text(join.node) + " (" + join.name + ") has joined");
  }
  // Who comes back was never gone for the others.
  if (is_known) {
    has_load(join.node, member);
  } else {
    has_news(join.node, member);
  }
  send(connection,
       Joined{cluster_.cluster, cluster_.epoch, options_.heartbeat_ns, options_.silence_ns, options_.lease_ns});
  if (member.view_sent == 0 && !RAYX_PLANTED_BUG(440)) viewless_.push_back(join.node);
  send_full_views();
  resume_actors(join.node, member, join.resume);
  for (const JobId job : join.resume.jobs) {
    const JobRecord* record = find_job(job);
    if (record != nullptr && !record->is_ended) {
      serves(join.node, member, job);
    } else if (!RAYX_PLANTED_BUG(408)) {
      send(connection, JobEnded{job, "it has ended"});
    }
  }
  for (const ActorId actor : join.resume.watched) watch(join.node, member, {actor, true});
  for (const std::string& channel : join.resume.channels) subscribe(join.node, connection, channel);
  if (member.record.state == NodeState::kDraining)
    send(connection, Drain{std::max<TimeNs>(0, member.drain_ns - now_ns_), member.record.reason});
  may_place_ = true;
}

void Head::is_heard(Member& member, MemberKind kind) {
  member.deadline_ns = now_ns_ + (kind == MemberKind::kDriver ? options_.driver_silence_ns : options_.silence_ns);
  expect(member.deadline_ns);
}

void Head::subscribe(NodeId node, ConnectionId connection, const std::string& channel) {
  const auto number = channels_.subscribe(node, channel);
  send(connection, Subscribed{{channel, cluster_.epoch, number.value_or(0)}, !number});
}

void Head::heartbeat(NodeId node, Member& member, const Heartbeat& heartbeat) {
  // Not behind the disk: a member is not to lose its head because a disk is slow, and this tells nothing.
  effects_.send(member.connection, HeartbeatSeen{});
  const bool is_changed = member.load.used_by_tasks != heartbeat.load.used_by_tasks ||
                          member.load.has_objects != heartbeat.load.has_objects;
  member.load = heartbeat.load;
  if (member.load.queued.size() > kDemandsMax) member.load.queued.resize(kDemandsMax);
  if (is_changed) has_load(node, member);
  if (heartbeat.view_seen >= member.view_sent) member.views_unseen = 0;
  if (heartbeat.view_seen >= member.large_view && !RAYX_PLANTED_BUG(453)) landed(member);
  expect_loads_for(member);
  channels_.seen(node, heartbeat.published_seen);
  has_answers_below(node, member, heartbeat.answered_below);
}

// From here on it is dead for everybody, whatever its process does. It may not come back under this id.
void Head::remove_member(NodeId node, const std::string& reason, bool is_told) {
  const auto found = members_.find(node);
  RAYX_CHECK(found != members_.end(), "only a member can be removed", base::to_text(node));
  Member member = std::move(found->second);
  if (member.connection != 0) {
    if (!is_told) send(member.connection, Refused{RefusedWhy::kDeclaredDead, "this process was given up: " + reason});
    close(member.connection);
  }
  landed(member);
  unrank(node, member);
  is_gone(node, member, reason);
  members_.erase(found);
  channels_.drop(node);

  write(node_key(node), std::nullopt);
  for (const auto& [number, answer] : member.answers) write(answer_key(node, number), std::nullopt);
  const DeadRecord record{++last_dead_, cut(reason)};
  dead_[node] = record;
  dead_order_[record.order] = node;
  if (!RAYX_PLANTED_BUG(410)) write(dead_key(node), to_bytes(record));
  if (dead_.size() > kDeadRemembered) {
    write(dead_key(dead_order_.begin()->second), std::nullopt);
    dead_.erase(dead_order_.begin()->second);
    dead_order_.erase(dead_order_.begin());
  }
  channels_.publish(kNodesChannel, "node " + base::to_text(node) + " (" + member.record.name + ") is gone: " + reason);
  for (const ActorId actor : member.watched) {
    const auto watchers = watchers_.find(actor);
    watchers->second.erase(node);
    if (watchers->second.empty()) watchers_.erase(watchers);
  }

  for (const JobId job : member.jobs) serving_.erase({job, node});
  std::vector<JobId> ended;
  for (const auto& [id, job] : jobs_)
    if (job.info.driver == node && !job.is_ended) ended.push_back(id);
  for (const JobId job : ended)
    if (!RAYX_PLANTED_BUG(411)) end_job(job, "its driver is gone: " + reason);
  const std::vector<ActorId> here = placed_on(node);
  std::set<ActorId> concerned(here.begin(), here.end());
  for (auto at = owned_.lower_bound({node, {}}); at != owned_.end() && at->first == node; ++at)
    concerned.insert(at->second);
  for (const ActorId id : concerned) {
    const auto it = actors_.find(id);
    if (it == actors_.end() || it->second.state.phase == ActorPhase::kDead) continue;
    Actor& actor = it->second;
    const bool was_here = is_placed(actor.state.phase) && actor.state.node == node;
    if (actor.spec.owner == node && ends_with_its_owner(actor.spec.creation)) {
      end_actor(id, actor, EndCause::kOwnerDied, "the process that made it is gone: " + reason);
    } else if (was_here) {
      lost(id, actor, EndCause::kNodeDied, "node " + base::to_text(node) + " is gone: " + reason);
    }
  }
  may_place_ = true;
}

void Head::start_drain(NodeId node, Member& member, TimeNs within_ns, const std::string& reason) {
  member.record.state = NodeState::kDraining;
  member.record.reason = cut(reason);
  member.record.drain_within_ns = within_ns;
  member.drain_ns = base::deadline_ns(now_ns_, std::chrono::nanoseconds(within_ns));
  expect(member.drain_ns);
  write(node_key(node), to_bytes(member.record));
  has_news(node, member);
  full_view_ = {};  // who comes back is not to hear that it does not drain
  send_to(node, Drain{within_ns, member.record.reason});
}

void Head::look_at_deadlines() {
  if (now_ns_ < earliest_ns_) return;
  std::vector<ConnectionId> strangers;
  for (const auto& [connection, until_ns] : strangers_)
    if (until_ns <= now_ns_) strangers.push_back(connection);
  for (const ConnectionId connection : strangers) close(connection);

  std::vector<std::pair<NodeId, std::string>> gone;
  earliest_ns_ = base::kNever;
  for (const auto& [connection, until_ns] : strangers_) expect(until_ns);
  for (const auto& [node, member] : members_) {
    if (member.deadline_ns <= now_ns_) {
      gone.emplace_back(node, member.connection != 0 ? "it was silent for too long"
                                                     : "its connection broke and it did not come back");
    } else if (member.drain_ns <= now_ns_) {
      gone.emplace_back(node, "it was drained: " + member.record.reason);
    } else {
      expect(std::min(member.deadline_ns, member.drain_ns));
    }
  }
  for (const auto& [node, reason] : gone) remove_member(node, reason, false);
}

}  // namespace rayx::registry
