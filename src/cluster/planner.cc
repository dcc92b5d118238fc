#include "cluster/planner.hpp"

#include <algorithm>
#include <cmath>

#include "base/check.hpp"
#include "base/format.hpp"

namespace rayx::cluster {
namespace {

std::string in_brackets(const std::string& text) { return text.empty() ? "" : " (" + text + ')'; }

// What is known of a node that runs and is no member.
std::string why_no_member(const Planner::Node& node) {
  return base::format(
      "it ran for {} s{} and did not become a member of the cluster{}. Look for a firewall between there and the head "
      "on the program's machine, and whether nodes reach that machine by the address that they are given (set "
      "SparkConfig::advertise or ClusterConfig::advertise)",
      kJoinPatienceNs / kSecondNs, node.host.empty() ? "" : " on " + node.host, in_brackets(node.waits_for));
}

std::string why_not_fetched(const Planner::Node& node) {
  return base::format(
      "the program did not reach its place{} within {} s{}. Look at the network between there and the program's "
      "machine, "
      "and at the size of the program and its libraries",
      node.host.empty() ? "" : " on " + node.host, kFetchPatienceNs / kSecondNs, in_brackets(node.waits_for));
}

}  // namespace

int nodes_for(const std::vector<WaitingWork>& work, base::Units cpus_of_node) {
  double nodes = 0;
  for (const WaitingWork& waiting : work) {
    const base::Units each = std::max<base::Units>(waiting.cpus, 1);
    if (each <= cpus_of_node) nodes += static_cast<double>(waiting.count) / static_cast<double>(cpus_of_node / each);
  }
  constexpr double kMost = 1'000'000;  // more than any cluster has
  return static_cast<int>(std::ceil(std::min(nodes, kMost) - 1e-6));
}

void Planner::move_to(NodeNumber number, Node& node, Phase phase, TimeNs now) {
  RAYX_CHECK(may_follow(node.phase, phase), "a node cannot go there", number, static_cast<int>(node.phase),
             static_cast<int>(phase));
  node.phase = phase;
  node.since = now;
}

int Planner::count(Phase phase) const {
  return static_cast<int>(
      std::count_if(nodes_.begin(), nodes_.end(), [phase](const auto& it) { return it.second.phase == phase; }));
}

int Planner::live() const { return static_cast<int>(nodes_.size()) - count(Phase::kLeaving); }

// ---- What happened

void Planner::submitted(NodeNumber number, TimeNs now) {
  const auto found = nodes_.find(number);
  if (found != nodes_.end() && found->second.phase == Phase::kSubmitting)
    move_to(number, found->second, Phase::kWaiting, now);
}

void Planner::not_submitted(NodeNumber number, const std::string& why, TimeNs now) {
  if (nodes_.erase(number) != 0) failed("", why, now);
}

void Planner::status(NodeNumber number, const NodeStatus& status, TimeNs now) {
  const auto found = nodes_.find(number);
  if (found == nodes_.end()) return;
  Node& node = found->second;
  if (!status.host.empty()) hosts_seen_.insert(node.host = status.host);
  node.waits_for = status.reason;
  if (status.state == NodeState::kEnded) return gone(number, status.reason, now);
  const bool is_on_its_way = node.phase >= Phase::kWaiting && node.phase <= Phase::kRunning;
  if (status.state == NodeState::kWaiting || !is_on_its_way) return;
  const Phase next = status.state == NodeState::kFetching ? Phase::kFetching : Phase::kRunning;
  if (node.phase != next) move_to(number, node, next, now);
}

void Planner::joined(NodeNumber number, TimeNs now) {
  const auto found = nodes_.find(number);
  if (found == nodes_.end()) return;
  Node& node = found->second;
  // While the provider's answer is under way the node may be there already: it counts when the answer has come.
  if (node.phase == Phase::kJoined || node.phase == Phase::kLeaving || node.phase == Phase::kSubmitting) return;
  move_to(number, node, Phase::kJoined, now);
  if (node.joined_at < 0) node.joined_at = now;
  node.idle_since = -1;
  failures_ = 0;
  last_failure_.clear();
  not_before_ = 0;
}

void Planner::lost(NodeNumber number, TimeNs now) {
  const auto found = nodes_.find(number);
  if (found != nodes_.end() && found->second.phase == Phase::kJoined) move_to(number, found->second, Phase::kLost, now);
}

void Planner::busy(NodeNumber number, bool is_busy, TimeNs now) {
  const auto found = nodes_.find(number);
  if (found == nodes_.end() || found->second.phase != Phase::kJoined) return;
  if (is_busy) {
    found->second.idle_since = -1;
  } else if (found->second.idle_since < 0) {
    found->second.idle_since = now;
  }
}

void Planner::wanted_nodes(int count, TimeNs now) {
  wanted_ = count;
  if (count == 0) {
    wanted_since_ = -1;
  } else if (wanted_since_ < 0) {
    wanted_since_ = now;
  }
}

void Planner::failed(const std::string& host, const std::string& why, TimeNs now) {
  ++failures_;
  last_failure_ = why;
  const TimeNs pause = kBackOffMinNs << std::min(failures_ - 1, 10);
  not_before_ = now + std::min(pause, kBackOffMaxNs);
  if (host.empty()) return;
  ++hosts_[host].failures;
  hosts_[host].last_at = now;
}

void Planner::gone(NodeNumber number, const std::string& why, TimeNs now) {
  const Node node = nodes_.at(number);
  nodes_.erase(number);
  if (node.phase == Phase::kLeaving) return;  // as it was asked to
  const bool was_young = node.joined_at < 0 || now - node.joined_at < kYoungNs;
  if (was_young) return failed(node.host, why, now);
  hosts_.erase(node.host);
}

std::vector<std::string> Planner::avoided_hosts(TimeNs now) const {
  std::vector<std::string> hosts;
  for (const auto& [name, host] : hosts_)
    if (host.failures >= kHostFailuresMax && now - host.last_at < kAvoidHostNs) hosts.push_back(name);
  if (hosts.size() >= hosts_seen_.size()) hosts.clear();  // there is no better one
  return hosts;
}

// ---- What to do

int Planner::target(TimeNs now) const {
  int starting = 0;
  for (const auto& [number, node] : nodes_)
    if (node.phase <= Phase::kRunning) ++starting;
  const int there = live() - starting;
  const bool is_lasting = wanted_since_ >= 0 && now - wanted_since_ >= kDemandPatienceNs;
  int target = std::max(there + (is_lasting ? wanted_ : 0), limits_.nodes_min);
  const int speed = std::max(kStartingFloor, static_cast<int>(std::lround(limits_.upscaling_speed * there)));
  // The least is asked for at once: its places are free in Spark's queue as soon as somebody gives them up.
  target = std::min(target, std::max(there + speed, limits_.nodes_min));
  return std::min(target, limits_.nodes_max);
}

void Planner::leave(NodeNumber number, Node& node, const std::string& why, TimeNs now, PlannerEffects& effects) {
  move_to(number, node, Phase::kLeaving, now);
  node.why_leaving = why;
  effects.end(number, why);
}

void Planner::end_those_that_hang(TimeNs now, PlannerEffects& effects) {
  const std::vector<std::string> avoided = avoided_hosts(now);
  for (auto& [number, node] : nodes_) {
    const TimeNs age = now - node.since;
    const bool is_there = node.phase == Phase::kFetching || node.phase == Phase::kRunning;
    const bool hangs = is_there && age >= (node.phase == Phase::kRunning ? kJoinPatienceNs : kFetchPatienceNs);
    if (hangs) {
      const std::string why = node.phase == Phase::kRunning ? why_no_member(node) : why_not_fetched(node);
      failed(node.host, why, now);
      leave(number, node, why, now, effects);
    } else if (is_there && std::count(avoided.begin(), avoided.end(), node.host) != 0) {
      const std::string why = "it was started on " + node.host + ", where nodes have failed lately";
      failed("", why, now);
      leave(number, node, why, now, effects);
    } else if (node.phase == Phase::kLost && age >= kRejoinPatienceNs) {
      leave(number, node, "it is no member any more", now, effects);
    } else if (node.phase == Phase::kLeaving && age >= kLeavePatienceNs) {
      node.since = now;
      effects.end(number, node.why_leaving);
    }
  }
}

void Planner::end_idle(TimeNs now, PlannerEffects& effects) {
  if (wanted_ > 0) return;
  int spare = live() - limits_.nodes_min;
  for (auto& [number, node] : nodes_) {
    if (spare <= 0) return;
    // What was asked for and is not needed any more: it has not begun, so nothing is lost.
    const bool is_unneeded = node.phase == Phase::kWaiting;
    const bool is_idle =
        node.phase == Phase::kJoined && node.idle_since >= 0 && now - node.idle_since >= limits_.idle_timeout_ns;
    if (!is_unneeded && !is_idle) continue;
    leave(number, node, is_idle ? "it had nothing to do" : "it is not needed any more", now, effects);
    --spare;
  }
}

void Planner::tick(TimeNs now, PlannerEffects& effects) {
  if (is_ending_) return;
  end_those_that_hang(now, effects);
  end_idle(now, effects);
  for (int missing = target(now) - live(); missing > 0 && now >= not_before_; --missing) {
    const NodeNumber number = ++last_number_;
    nodes_[number] = {.phase = Phase::kSubmitting,
                      .since = now,
                      .joined_at = -1,
                      .idle_since = -1,
                      .host = {},
                      .waits_for = {},
                      .why_leaving = {}};
    effects.submit(number);  // may tell at once what came of it
  }
  RAYX_DCHECK(is_valid(), "more nodes than allowed");
}

void Planner::end_all(TimeNs now, PlannerEffects& effects) {
  is_ending_ = true;
  for (auto& [number, node] : nodes_)
    if (node.phase != Phase::kLeaving) leave(number, node, "the cluster ends", now, effects);
}

bool Planner::is_valid() const {
  return live() <= limits_.nodes_max && static_cast<NodeNumber>(live()) <= last_number_;
}

}  // namespace rayx::cluster
