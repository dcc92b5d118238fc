// A cluster in one thread: the real registry::Head and registry::Members on a simulated network, clock and disk, with every
// fault that they are made for, all from one seed. After each event and when everything has become quiet it is held against
// what an outside observer knows (truth.hpp).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "events.hpp"
#include "network.hpp"
#include "process.hpp"
#include "registry/head.hpp"
#include "truth.hpp"

namespace rayx::sim {

// How often each thing happened. What is listed here is what a run must be able to reach.
#define RAYX_SIM_COUNTS(X) \
  X(heads_killed)          \
  X(heads_frozen)          \
  X(long_absences)         \
  X(writes_lost)           \
  X(slow_disks)            \
  X(nodes_killed)          \
  X(powers_lost)           \
  X(hosts_frozen)          \
  X(hosts_cut)             \
  X(drivers_killed)        \
  X(drains)                \
  X(given_up)              \
  X(lease_ends)            \
  X(left)                  \
  X(repeated)              \
  X(jobs)                  \
  X(actors)                \
  X(starts)                \
  X(restarts)              \
  X(failed_starts)         \
  X(crashes)               \
  X(puts)                  \
  X(published)             \
  X(missed)                \
  X(waited_for_ever)       \
  X(connections_broken)    \
  X(messages_lost)         \
  X(messages_late)         \
  X(late_after_close)      \
  X(stalled)               \
  X(connects_failed)

struct Counts {
#define RAYX_SIM_COUNT(name) int name = 0;
  RAYX_SIM_COUNTS(RAYX_SIM_COUNT)
#undef RAYX_SIM_COUNT
  void add(const Counts& more);
  std::string text() const;
};

struct Outcome {
  std::string problem;
  std::uint64_t trace = 0;
  std::uint64_t events = 0;
  Counts counts;
};

class Cluster;

class HeadProcess final : public EndpointOf<registry::ToHead>, private registry::HeadEffects {
 public:
  HeadProcess(Cluster& cluster, std::uint64_t life);
  void begin();
  void run(const std::function<void()>& what);
  void thaw();
  registry::Head& head() { return head_; }
  EndpointId me() const { return me_; }

 private:
  void on_accepted(ConnectionId connection) override;
  void on_connected(std::uint64_t, ConnectionId) override {}
  void on_connect_failed(std::uint64_t) override {}
  void on_closed(ConnectionId connection) override;
  void on_message(ConnectionId connection, registry::ToHead message) override;
  void send(ConnectionId to, registry::ToMember message) override;
  void send_shared(ConnectionId to, const registry::SharedMessage& message) override;
  void close(ConnectionId connection) override;
  void persist(registry::BatchId batch, std::vector<Write> writes) override;
  void after_event();

  Cluster& cluster_;
  const std::uint64_t life_;
  EndpointId me_ = 0;
  registry::Head head_;
  TimeNs armed_ = base::kNever;
  std::vector<std::function<void()>> deferred_;
};

class Cluster {
 public:
  explicit Cluster(std::uint64_t seed);
  Outcome run();

 private:
  friend class HeadProcess;
  friend class MemberProcess;
  static constexpr HostId kHeadHost = 0;
  static constexpr TimeNs kQuiet = 18 * kSecond;  // rejoin grace, silence, a connect that hangs, and room

  enum class Fault : std::uint8_t {
    kBreak,
    kCut,
    kFreeze,
    kFreezeHead,
    kKillHead,
    kKillNode,
    kPowerOff,
    kKillDriver,
    kSlowDisk,
    kDrain,
    kNumber
  };
  struct Batch {
    registry::BatchId id = 0;
    std::vector<Write> writes;
    TimeNs due = 0;
  };
  struct HostPlan {
    bool is_driver = false;
    Resources resources;
    base::Labels labels;
  };

  // cluster.cc
  void start_head();
  void start_member(HostId host);
  void kill_member(MemberProcess& process, bool is_silent);
  void gone(MemberProcess& process);  // of its own will
  void next_fault();
  bool inject(Fault fault);
  bool wound_before_kill(HostId host);
  void kill_head();
  void freeze(HostId host, TimeNs time);
  void write(std::uint64_t life, registry::BatchId id, std::vector<Write> writes);
  void write_done(std::uint64_t life);
  void act_later(EndpointId process);
  MemberProcess* find(EndpointId process);
  std::vector<MemberProcess*> living(bool drivers);
  void run_until(TimeNs when);
  // checks.cc
  void check_quiet();
  void check_members();
  void check_actors();
  void check_after_end();
  void check_death(NodeId node, const std::string& record);
  void check_place_is_free(const MemberProcess& process, const registry::PlaceActor& place);

  std::vector<base::LabelSelector> selectors_of(ActorId actor) const;

  TimeNs now() const { return events_.now(); }
  void fail(const std::string& problem) { truth_.fail(problem); }
  void note(std::uint64_t what) { outcome_.trace = (outcome_.trace ^ what) * 0x100000001b3ull; }
  NodeId new_node_id() { return {chance_.bits() | 1}; }

  Chance chance_;
  Events events_;
  Network network_;
  Truth truth_;
  Outcome outcome_;
  bool is_quiet_ = false;
  std::vector<Fault> faults_;  // that this seed has
  TimeNs fault_pause_ = 0;
  std::uint64_t trouble_one_in_ = 20;  // starts that fail
  TimeNs disk_delay_ = kMillisecond;
  bool is_disk_slow_ = false;

  std::uint64_t head_life_ = 0;
  std::unique_ptr<HeadProcess> head_;
  EndpointId head_at_ = 0;  // 0: it is not there
  std::deque<Batch> disk_queue_;
  TimeNs disk_due_ = 0;

  std::vector<HostPlan> hosts_;  // [0] is the head's
  std::map<EndpointId, std::unique_ptr<MemberProcess>> processes_;
  std::vector<std::unique_ptr<MemberProcess>> buried_;  // until the event is over
  std::vector<JobId> known_jobs_;
  std::map<HostId, TimeNs> frozen_since_;
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> seen_payloads_;  // epoch and number
  std::uint64_t last_value_ = 0;
};

}  // namespace rayx::sim
