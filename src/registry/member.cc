#include "registry/member.hpp"

#include <algorithm>
#include <variant>

#include "base/planted_bug.hpp"

namespace rayx::registry {

// ---- The link

void Member::begin(TimeNs now_ns) {
  now_ns_ = now_ns;
  // This process stood still, not the head: what the head said meanwhile lies unread. It may also have given this process up;
  // then it says so when it is asked.
  const TimeNs late_ns = deadline_ns_ == base::kNever ? 0 : now_ns - deadline_ns_;
  if (late_ns <= kLateHead_ns) return;
  heard_ns_ += late_ns;
  head_ns_ += late_ns;
}

void Member::start(TimeNs now_ns) {
  now_ns_ = head_ns_ = now_ns;
  pause_ns_ = kReconnectPauseMin_ns;
  link_ = Link::kPause;
  pause_until_ns_ = now_ns;
  deadline_ns_ = base::kNever;
  tick(now_ns);
}

void Member::rejoin(NodeId node, TimeNs now_ns) {
  identity_.node = node;
  has_joined_ = false;
  start(now_ns);
}

void Member::pause() {
  link_ = Link::kPause;
  // Not all at the same time, when it is the head that is gone.
  pause_until_ns_ =
      now_ns_ + pause_ns_ + static_cast<TimeNs>(identity_.node.value % static_cast<std::uint64_t>(pause_ns_ / 2));
  pause_ns_ = std::min(2 * pause_ns_, kReconnectPauseMax_ns);
}

void Member::drop_connection() {
  if (connection_ != 0) effects_.close(connection_);
  connection_ = 0;
  pause();
}

void Member::tick(TimeNs now_ns) {
  begin(now_ns);
  if (link_ == Link::kOver || link_ == Link::kGivenUp) {
    deadline_ns_ = base::kNever;
    return;
  }
  if (now_ns >= head_ns_ + lease_ns_ && !RAYX_PLANTED_BUG(441)) {
    finish_life(
        "the head was not heard for " + std::to_string(lease_ns_ / 1'000'000'000) +
        " s, and what it decided meanwhile is not known: this process ends. Start the head again, then this node");
    return;
  }
  if (link_ == Link::kPause && now_ns >= pause_until_ns_) {
    link_ = Link::kConnecting;
    attempt_until_ns_ = now_ns + kConnectTimeout_ns;
    effects_.connect(++session_);
  } else if (link_ == Link::kConnecting && now_ns >= attempt_until_ns_) {
    pause();
  } else if (link_ == Link::kJoining || link_ == Link::kJoined) {
    if (now_ns >= heard_ns_ + silence_ns_) {
      drop_connection();
    } else if (now_ns >= heartbeat_due_ns_) {
      send_heartbeat();
    }
  }
  compute_deadline();
}

void Member::compute_deadline() {
  if (link_ == Link::kOver || link_ == Link::kGivenUp) {
    deadline_ns_ = base::kNever;
    return;
  }
  deadline_ns_ = RAYX_PLANTED_BUG(441) ? base::kNever : head_ns_ + lease_ns_;
  if (link_ == Link::kPause) {
    deadline_ns_ = std::min(deadline_ns_, pause_until_ns_);
  } else if (link_ == Link::kConnecting) {
    deadline_ns_ = std::min(deadline_ns_, attempt_until_ns_);
  } else {
    deadline_ns_ = std::min({deadline_ns_, heard_ns_ + silence_ns_, heartbeat_due_ns_});
  }
}

void Member::on_connected(std::uint64_t session, ConnectionId connection, TimeNs now_ns) {
  begin(now_ns);
  if (link_ != Link::kConnecting || session != session_) {
    effects_.close(connection);  // it was given up before it came
    return;
  }
  link_ = Link::kJoining;
  connection_ = connection;
  heard_ns_ = now_ns;
  published_ = 0;
  view_version_ = 0;  // another head counts anew
  named_.clear();
  heartbeat_due_ns_ = now_ns + heartbeat_ns_;
  send_join();
  compute_deadline();
}

void Member::on_connect_failed(std::uint64_t session, TimeNs now_ns) {
  begin(now_ns);
  if (link_ == Link::kConnecting && session == session_) pause();
  compute_deadline();
}

void Member::on_closed(ConnectionId connection, TimeNs now_ns) {
  begin(now_ns);
  if (connection == connection_) {
    connection_ = 0;
    if (link_ == Link::kJoining || link_ == Link::kJoined) pause();
  }
  compute_deadline();
}

void Member::send_join() {
  Join join;
  join.protocol = kProtocolVersion;
  join.build = identity_.build;
  join.node = identity_.node;
  join.session = session_;
  join.is_first = !has_joined_;
  join.kind = identity_.kind;
  join.name = identity_.name;
  join.address = identity_.address;
  join.pid = identity_.pid;
  join.resources = identity_.resources;
  join.labels = identity_.labels;
  join.resume.cluster = cluster_;
  for (const auto& [job, is_ended] : jobs_) join.resume.jobs.push_back(job);
  for (const auto& [placement, running] : actors_)
    if (!RAYX_PLANTED_BUG(442) || !running.it.is_ended) join.resume.actors.push_back(running.it);
  // One whose creation the head may not have heard of would be called unknown: it is asked after the answer.
  for (const ActorId actor : watched_)
    if (!creating_.contains(actor) || RAYX_PLANTED_BUG(443)) join.resume.watched.push_back(actor);
  for (const auto& [channel, position] : channels_) join.resume.channels.push_back(channel);
  effects_.send(connection_, std::move(join));
}

void Member::send_heartbeat() {
  heartbeat_due_ns_ = now_ns_ + heartbeat_ns_;
  effects_.send(connection_, Heartbeat{load_, view_version_, published_, answered_below()});
}

void Member::on_message(ConnectionId connection, const ToMember& message, TimeNs now_ns) {
  begin(now_ns);
  if (connection != connection_) return compute_deadline();
  heard_ns_ = head_ns_ = now_ns;
  std::visit(
      [&]<class Message>(const Message& it) {
        if constexpr (std::is_same_v<Message, Drain>) {
          effects_.drain(it.within_ns, it.reason);
        } else if constexpr (!std::is_same_v<Message, HeartbeatSeen>) {
          take(it);
        }
      },
      message);
  compute_deadline();
}

void Member::take(const Joined& joined) {
  link_ = Link::kJoined;
  has_joined_ = true;
  pause_ns_ = kReconnectPauseMin_ns;
  cluster_ = joined.cluster;
  heartbeat_ns_ = joined.heartbeat_ns;
  silence_ns_ = joined.silence_ns;
  lease_ns_ = joined.lease_ns;
  if (RAYX_PLANTED_BUG(445)) return;
  for (const auto& [number, body] : open_) send_request(number, body);
}

void Member::take(const Refused& refused) {
  connection_ = 0;  // the head closes it
  if (is_leaving_) {
    link_ = Link::kOver;
    lose_everything(refused.message);
    effects_.left();
  } else if (refused.why == RefusedWhy::kProtocol || refused.why == RefusedWhy::kFull) {
    finish_life("the head does not take this process: " + refused.message);
  } else {
    link_ = Link::kGivenUp;
    lose_everything(refused.message);
    effects_.start_anew(refused.message);
  }
}

void Member::take(const View& view) {
  if (view.is_full)
    for (const NodeView& node : view.nodes) named_.insert(node.node);
  std::vector<NodeView> gone;
  if (view.is_full && view.is_last && !RAYX_PLANTED_BUG(446)) {
    const std::set<NodeId> named = std::exchange(named_, {});
    for (auto& [node, known] : nodes_) {
      if (named.contains(node)) continue;
      known.state = NodeState::kDead;
      known.reason = "it is gone since the last view";
      gone.push_back(known);
    }
  }
  for (const NodeView& dead : gone) {
    nodes_.erase(dead.node);
    effects_.node_changed(dead);
  }
  if (view.is_last) view_version_ = view.version;
  for (const NodeView& node : view.nodes) {
    if (node.state == NodeState::kDead) {
      if (nodes_.erase(node.node) > 0) effects_.node_changed(node);
      continue;
    }
    NodeView& known = nodes_[node.node];
    if (known == node) continue;
    known = node;
    effects_.node_changed(node);
  }
  // The head waits for this before it sends others theirs.
  const bool is_large = view.is_full || view.nodes.size() > kLargeView;
  if (is_large && view.is_last && link_ == Link::kJoined) send_heartbeat();
}

void Member::lose_everything(const std::string& message) {
  const auto open = std::exchange(open_, {});
  creating_.clear();
  jobs_.clear();
  actors_.clear();
  watched_.clear();
  channels_.clear();
  nodes_.clear();
  view_version_ = 0;
  for (const auto& [number, body] : open)
    if (!std::holds_alternative<ActorPlaced>(body) && !std::holds_alternative<ActorDied>(body) &&
        !RAYX_PLANTED_BUG(447))
      effects_.answered({number, Status::kLost, message, {}});
}

void Member::finish_life(const std::string& message) {
  if (connection_ != 0) effects_.close(connection_);
  connection_ = 0;
  link_ = Link::kOver;
  deadline_ns_ = base::kNever;
  lose_everything(message);
  effects_.end_yourself(message);
}

}  // namespace rayx::registry
