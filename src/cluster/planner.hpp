// Planner: how many nodes a cluster should have, which are to be started and which are to end. A decider: no sockets, no clock.
//
// Told of everything that happens to a node, and asked on each tick what to do. A node has a number that is never used twice.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <rayx/cluster_provider.hpp>

#include "base/clock.hpp"
#include "base/cluster_ids.hpp"

namespace rayx::cluster {

using base::TimeNs;
using NodeNumber = std::uint32_t;  // from 1

inline constexpr TimeNs kSecondNs = 1'000'000'000;
inline constexpr TimeNs kBackOffMinNs = kSecondNs;  // after a node that failed; doubled with each further one
inline constexpr TimeNs kBackOffMaxNs = 60 * kSecondNs;
inline constexpr TimeNs kFetchPatienceNs = 600 * kSecondNs;  // for the program's way to its place: then it is ended
inline constexpr TimeNs kJoinPatienceNs = 60 * kSecondNs;    // from a running process to a member: likewise
inline constexpr TimeNs kRejoinPatienceNs =
    10 * kSecondNs;  // a member that was lost and whose process runs: then it is ended
inline constexpr TimeNs kLeavePatienceNs = 30 * kSecondNs;  // from the wish to end it: then it is asked again
inline constexpr TimeNs kYoungNs = 30 * kSecondNs;          // a member that ends earlier has failed
inline constexpr int kHostFailuresMax = 2;                  // in a row: then the host is avoided
inline constexpr TimeNs kAvoidHostNs = 600 * kSecondNs;
inline constexpr TimeNs kDemandPatienceNs =
    kSecondNs;                            // a demand that is shorter is served by the nodes that there are
inline constexpr int kStartingFloor = 5;  // nodes that may always be starting at a time

struct PlannerLimits {
  int nodes_min = 1;
  int nodes_max = 1;
  TimeNs idle_timeout_ns = 60 * kSecondNs;
  double upscaling_speed = 1.0;
};

enum class Phase : std::uint8_t {
  kSubmitting,  // the provider is asked
  kWaiting,     // for a place
  kFetching,    // the program, to its place
  kRunning,     // as a process
  kJoined,      // a member
  kLost,        // was a member; its process may still run
  kLeaving,     // was asked to end
};
constexpr bool may_follow(Phase from, Phase to) {
  switch (from) {
    case Phase::kSubmitting: return to == Phase::kWaiting || to == Phase::kLeaving;
    case Phase::kWaiting:
      return to == Phase::kFetching || to == Phase::kRunning || to == Phase::kJoined || to == Phase::kLeaving;
    case Phase::kFetching: return to == Phase::kRunning || to == Phase::kJoined || to == Phase::kLeaving;
    // A launcher runs before it fetches.
    case Phase::kRunning: return to == Phase::kFetching || to == Phase::kJoined || to == Phase::kLeaving;
    case Phase::kJoined: return to == Phase::kLost || to == Phase::kLeaving;
    case Phase::kLost: return to == Phase::kJoined || to == Phase::kLeaving;
    case Phase::kLeaving: return false;
  }
  return false;
}

// Work that has no room: so many pieces that need so much of a node each.
struct WaitingWork {
  base::Units cpus = 0;
  std::uint64_t count = 0;
};
// Nodes of that size for it. What is larger than a node is left out: no further one would help it.
int nodes_for(const std::vector<WaitingWork>& work, base::Units cpus_of_node);

class PlannerEffects {
 public:
  virtual void submit(NodeNumber node) = 0;
  virtual void end(NodeNumber node, const std::string& why) = 0;

 protected:
  ~PlannerEffects() = default;
};

class Planner {
 public:
  explicit Planner(const PlannerLimits& limits) : limits_(limits) {}

  // What happened. Of a node that is gone already nothing is heard any more.
  void submitted(NodeNumber node, TimeNs now);
  void not_submitted(NodeNumber node, const std::string& why, TimeNs now);
  void status(NodeNumber node, const NodeStatus& status, TimeNs now);
  void joined(NodeNumber node, TimeNs now);
  void lost(NodeNumber node, TimeNs now);  // it is no member any more
  void busy(NodeNumber node, bool is_busy, TimeNs now);
  // Of nodes of the size that is submitted, so many more would be busy.
  void wanted_nodes(int count, TimeNs now);

  void tick(TimeNs now, PlannerEffects& effects);
  // From now on only ends.
  void end_all(TimeNs now, PlannerEffects& effects);

  struct Node {
    Phase phase = Phase::kSubmitting;
    TimeNs since = 0;        // in this phase
    TimeNs joined_at = -1;   // -1: never
    TimeNs idle_since = -1;  // -1: busy, or not known
    std::string host;
    std::string waits_for;
    std::string why_leaving;
  };
  const std::map<NodeNumber, Node>& nodes() const { return nodes_; }
  int count(Phase phase) const;
  int failures() const { return failures_; }                         // since the last node that became a member
  const std::string& last_failure() const { return last_failure_; }  // likewise; empty: there is none
  std::vector<std::string> avoided_hosts(TimeNs now) const;
  int target(TimeNs now) const;  // nodes there should be now
  bool is_valid() const;

 private:
  struct Host {
    int failures = 0;  // in a row
    TimeNs last_at = 0;
  };
  void move_to(NodeNumber number, Node& node, Phase phase, TimeNs now);
  void failed(const std::string& host, const std::string& why, TimeNs now);
  void gone(NodeNumber number, const std::string& why, TimeNs now);
  void leave(NodeNumber number, Node& node, const std::string& why, TimeNs now, PlannerEffects& effects);
  void end_those_that_hang(TimeNs now, PlannerEffects& effects);
  void end_idle(TimeNs now, PlannerEffects& effects);
  int live() const;  // that are there, or are to be

  PlannerLimits limits_;
  std::map<NodeNumber, Node> nodes_;
  std::map<std::string, Host> hosts_;  // that have failed
  std::set<std::string> hosts_seen_;
  NodeNumber last_number_ = 0;
  int wanted_ = 0;
  TimeNs wanted_since_ = -1;  // -1: nothing is wanted
  int failures_ = 0;
  TimeNs not_before_ = 0;  // the next submission
  std::string last_failure_;
  bool is_ending_ = false;
};

}  // namespace rayx::cluster
