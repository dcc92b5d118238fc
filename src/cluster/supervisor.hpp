// Supervisor: does what the planner wants with a provider, and tells the planner what comes of it. One thread; calls to the provider
// may wait.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <rayx/cluster_provider.hpp>
#include <rayx/result.hpp>

#include "base/clock.hpp"
#include "cluster/planner.hpp"

namespace rayx::cluster {

struct Member {
  std::string name;
  std::string id;
  bool is_busy = false;
};

// What is around it.
class Surroundings {
 public:
  virtual std::vector<Member> members() = 0;
  virtual int wanted_nodes() = 0;  // for work that has no room
  virtual NodeRequest request_of(const std::string& name) = 0;
  virtual void send_away(const Member& member) = 0;  // a second one with a name
  virtual void progress(const std::string& line) = 0;
  virtual void submitted(const std::string& id) = 0;
  virtual void gone(const std::string& id) = 0;
  virtual void nodes_ready(int count) = 0;

 protected:
  ~Surroundings() = default;
};

struct SupervisorConfig {
  PlannerLimits limits;
  std::string name_prefix = "node";  // "node-3"
  TimeNs start_timeout_ns = 45 * kSecondNs;
  bool is_strict = false;
  std::string collect_logs_to = {};
};

// For SupervisorConfig::collect_logs_to: makes the folder and all that lead to it, and sees that files can be made there.
Result<void> make_log_folder(const std::string& path);

inline constexpr int kStartFailuresMax = 3;                // in a row, before any node is ready: then it is hopeless
inline constexpr TimeNs kStatusPauseNs = 300'000'000;      // between questions about a node that is not there yet
inline constexpr TimeNs kEndStatusPauseNs = 50'000'000;    // while all are to end
inline constexpr TimeNs kKillRetryNs = 2 * kSecondNs;      // after one that failed
inline constexpr TimeNs kKillAgainNs = 10 * kSecondNs;     // after one that was heard
inline constexpr TimeNs kProgressPauseNs = 5 * kSecondNs;  // between lines with the same count, while it starts
inline constexpr TimeNs kReadyPauseNs = 60 * kSecondNs;    // and when it is ready: for what is missing and waits
inline constexpr TimeNs kSameTroublePauseNs = 300 * kSecondNs;  // between lines about trouble with the same reason
inline constexpr int kTroublesAMinute = 10;                     // lines about trouble; then only how many there were

class Supervisor final : private PlannerEffects {
 public:
  Supervisor(SupervisorConfig config, ClusterProvider& provider, Surroundings& around, const base::Clock& clock);

  // One round; to be called some times a second.
  void step();
  // Until then step() may find out that there will be no cluster.
  enum class Outcome : std::uint8_t { kStarting, kReady, kFailed };
  Outcome outcome() const { return outcome_; }
  const Error& failure() const { return failure_; }

  // Asks all nodes to end. step() goes on until is_over, or until then: after it nobody is asked any more.
  void end_all(TimeNs until);
  bool is_over() const { return is_ending_ && planner_.nodes().empty(); }
  // Submissions that may still be there, each with what is known of it.
  std::vector<std::string> left() const;

 private:
  struct Submitted {
    std::string id;
    TimeNs asked_at = 0;  // about its status
    TimeNs kill_at = -1;  // next attempt; -1: not wanted
    std::string last;     // what was heard of it
  };
  void submit(NodeNumber node) override;
  void end(NodeNumber node, const std::string& why) override;
  std::string name_of(NodeNumber node) const { return config_.name_prefix + '-' + std::to_string(node); }
  std::optional<NodeNumber> number_of(const std::string& name) const;
  void look_at_members();
  bool is_time_over() const { return is_ending_ && clock_.now_ns() >= end_by_; }
  void ask_for_status();
  void retry_kills();
  void kill(Submitted& submitted);
  void forget_gone();
  void keep_log(NodeNumber node, const std::string& id);
  void look_how_start_goes();
  void tell_progress();
  // `id` may stand in `why`, and makes no other reason of it.
  void tell_trouble(const std::string& what, const std::string& why, const std::string& id = {});
  std::string what_others_wait_for() const;
  void fail(ErrorCode code, std::string message);

  const SupervisorConfig config_;
  ClusterProvider& provider_;
  Surroundings& around_;
  const base::Clock& clock_;
  Planner planner_;
  std::map<NodeNumber, Submitted> submitted_;
  std::set<NodeNumber> is_member_;
  Outcome outcome_ = Outcome::kStarting;
  Error failure_;
  bool is_ending_ = false;
  TimeNs end_by_ = 0;  // of is_ending_
  int ready_told_ = -1;
  int most_ready_ = 0;
  TimeNs progress_at_ = 0;  // the last time that a node became ready
  TimeNs told_at_ = 0;
  std::string told_;
  // Of lines about trouble.
  std::string trouble_;  // the last reason
  TimeNs trouble_at_ = 0;
  TimeNs minute_at_ = 0;
  int troubles_ = 0;  // in this minute
  int untold_ = 0;    // since the last line
};

}  // namespace rayx::cluster
