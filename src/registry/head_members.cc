// Who is a member: join, heartbeat, silence, draining, death; and the view of all members that each of them has.
#include <algorithm>

#include "base/check.hpp"
#include "base/planted_bug.hpp"
#include "registry/head.hpp"

namespace rayx::registry {
namespace {
constexpr int kViewsUnseenMax = 8;  // deltas of loads to one member that it has not confirmed

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
  member.deadline_ns = now_ns_ + options_.silence_ns;
  member.view_sent = RAYX_PLANTED_BUG(432) ? member.view_sent : 0;
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
  touch(member, true);
  send(connection,
       Joined{cluster_.cluster, cluster_.epoch, options_.heartbeat_ns, options_.silence_ns, options_.lease_ns});
  if (!RAYX_PLANTED_BUG(440)) send_view(member);  // before anything that names a node
  resume_actors(join.node, member, join.resume);
  for (const JobId job : join.resume.jobs) {
    const JobRecord* record = find_job(job);
    if ((record == nullptr || record->is_ended) && !RAYX_PLANTED_BUG(408))
      send(connection, JobEnded{job, "it has ended"});
  }
  for (const ActorId actor : join.resume.watched) watch(join.node, member, {actor, true});
  for (const std::string& channel : join.resume.channels)
    if (const auto number = channels_.subscribe(join.node, channel))
      send(connection, Subscribed{{channel, cluster_.epoch, *number}});
  if (member.record.state == NodeState::kDraining)
    send(connection, Drain{std::max<TimeNs>(0, member.drain_ns - now_ns_), member.record.reason});
  may_place_ = true;
}

void Head::heartbeat(NodeId node, Member& member, const Heartbeat& heartbeat) {
  // Not behind the disk: a member is not to lose its head because a disk is slow, and this tells nothing.
  effects_.send(member.connection, HeartbeatSeen{});
  if (member.load.used_by_tasks != heartbeat.load.used_by_tasks) touch(member, false);
  member.load = heartbeat.load;
  if (member.load.queued.size() > kDemandsMax) member.load.queued.resize(kDemandsMax);
  if (heartbeat.view_seen >= member.view_sent) member.views_unseen = 0;
  if (member.view_sent < version_) views_due_ns_ = std::min(views_due_ns_, now_ns_ + view_pause_ns());
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
  NodeView view = view_of(node, member);
  members_.erase(found);
  channels_.drop(node);
  view.state = NodeState::kDead;
  view.reason = reason;
  if (!RAYX_PLANTED_BUG(409)) gone_.emplace_back(++version_, std::move(view));
  views_due_ns_ = now_ns_;
  views_are_urgent_ = true;

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

  std::vector<JobId> ended;
  for (const auto& [id, job] : jobs_)
    if (job.info.driver == node && !job.is_ended) ended.push_back(id);
  for (const JobId job : ended)
    if (!RAYX_PLANTED_BUG(411)) end_job(job, "its driver is gone: " + reason);
  std::vector<ActorId> concerned;
  for (const auto& [id, actor] : actors_) concerned.push_back(id);
  for (const ActorId id : concerned) {
    const auto it = actors_.find(id);
    if (it == actors_.end() || it->second.state.phase == ActorPhase::kDead) continue;
    Actor& actor = it->second;
    const bool was_here = is_placed(actor.state.phase) && actor.state.node == node;
    if (actor.spec.owner == node && !actor.spec.creation.is_detached) {
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
  write(node_key(node), to_bytes(member.record));
  touch(member, true);
  send_to(node, Drain{within_ns, member.record.reason});
}

void Head::look_at_deadlines() {
  std::vector<ConnectionId> strangers;
  for (const auto& [connection, until_ns] : strangers_)
    if (until_ns <= now_ns_) strangers.push_back(connection);
  for (const ConnectionId connection : strangers) close(connection);

  std::vector<std::pair<NodeId, std::string>> gone;
  for (const auto& [node, member] : members_) {
    if (member.deadline_ns <= now_ns_) {
      gone.emplace_back(node, member.connection != 0 ? "it was silent for too long"
                                                     : "its connection broke and it did not come back");
    } else if (member.drain_ns <= now_ns_) {
      gone.emplace_back(node, "it was drained: " + member.record.reason);
    }
  }
  for (const auto& [node, reason] : gone) remove_member(node, reason, false);
}

// ---- Views

// What all of them say to all of them is not to grow with the square of their number.
TimeNs Head::view_pause_ns() const {
  return kViewPause_ns * static_cast<TimeNs>(1 + members_.size() / kMembersOfOneViewPause);
}

void Head::touch(Member& member, bool is_urgent) {
  member.changed = ++version_;
  views_due_ns_ = std::min(views_due_ns_, is_urgent ? now_ns_ : now_ns_ + view_pause_ns());
  views_are_urgent_ = views_are_urgent_ || is_urgent;
}

NodeView Head::view_of(NodeId node, const Member& member) const {
  NodeView view{node,
                member.record.state,
                member.record.kind,
                member.record.name,
                member.record.address,
                member.record.resources,
                member.record.resources,
                member.record.labels,
                member.record.reason};
  view.free -= member.given;
  view.free -= member.load.used_by_tasks;
  return view;
}

// All that it does not know yet.
void Head::send_view(Member& member) {
  const bool is_full = member.view_sent == 0;
  std::vector<NodeView> nodes;
  for (const auto& [node, other] : members_)
    if (is_full || other.changed > member.view_sent) nodes.push_back(view_of(node, other));
  for (const auto& [version, dead] : gone_)
    if (!is_full && version > member.view_sent) nodes.push_back(dead);
  for (std::size_t at = 0; at < nodes.size(); at += options_.view_nodes_max) {
    const auto end = std::min(nodes.size(), at + options_.view_nodes_max);
    View view{version_, is_full, end == nodes.size(), {}};
    for (std::size_t i = at; i < end; ++i) view.nodes.push_back(std::move(nodes[i]));
    send(member.connection, std::move(view));
  }
  member.view_sent = version_;
  ++member.views_unseen;
}

void Head::send_views() {
  std::uint64_t all_have = version_;
  bool is_left = false;
  for (auto& [to, member] : members_) {
    if (member.connection == 0) continue;  // it gets a full one when it comes back
    const bool is_full = member.view_sent == 0;
    if (!is_full && member.view_sent == version_) continue;
    if (!is_full && !views_are_urgent_ && member.views_unseen >= kViewsUnseenMax) {
      all_have = std::min(all_have, member.view_sent);
      is_left = true;  // its next heartbeat brings it back here
      continue;
    }
    send_view(member);
  }
  while (!gone_.empty() && (!is_left || gone_.front().first <= all_have)) gone_.pop_front();
  views_due_ns_ = base::kNever;
  views_are_urgent_ = false;
}

}  // namespace rayx::registry
