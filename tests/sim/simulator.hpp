// A node in one thread: the real scheduler, and the real ledgers and call orders of a driver and its workers, with queues,
// processes, records and the node's table of actors played. Everything random comes from one seed; a seed replays exactly. After
// each step the invariants are checked from outside.
//
// What a process does about its own objects is in owner.cc (as in worker/client_*.cc), what the node and the executors do in
// processes.cc (as in node/node_*.cc and worker/executor_loop.cc), what a program does, and what must hold, in simulator.cc.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "actor/call_order.hpp"
#include "owner/ledger.hpp"
#include "sched/scheduler.hpp"

namespace rayx::sim {

struct Outcome {
  std::string problem;  // empty: every invariant held and every wait ended
  std::uint64_t trace = 0;
  std::uint64_t steps = 0;
  int kills = 0;
  int blocks = 0;
  int inline_runs = 0;
  int worker_limits = 0;
  int given_back = 0;
  int surplus_left = 0;
  int surplus_stayed = 0;  // for what they owned
  int shares = 0;          // changes of what other jobs leave of the node
  int owner_deaths = 0;    // of processes with tasks or actors of their own
  int actors = 0;
  int actor_ends = 0;  // other than by their last handle
  int calls_run = 0;
  int calls_held_back = 0;
  int calls_failed_at_end = 0;  // named by the call order
  int revived_handles = 0;
  int borrowed_handles = 0;
};

class Simulator final : private sched::Effects {
 public:
  explicit Simulator(std::uint64_t seed);
  ~Simulator() override;
  Outcome run();

 private:
  using Index = owner::Index;
  using ProcessId = std::uint32_t;
  using LaneId = sched::LaneId;
  static constexpr ProcessId kDriver = 0;

  // One attempt of a task, as it lies in a queue.
  struct TaskName {
    ProcessId owner = 0;
    Index index = 0;
    std::uint32_t generation = 0;
    std::uint32_t attempt = 0;
    auto operator<=>(const TaskName&) const = default;
  };
  enum class Kind : std::uint8_t { kTask, kValue, kActor, kCall, kHandle };
  // What an owner keeps beside the ledger's node, and the record of the object.
  struct Object {
    std::uint32_t generation = 1;
    std::uint32_t attempt = 0;
    Kind kind = Kind::kTask;
    LaneId lane = 0;
    int depth = 0;       // of children below it
    LaneId above = 0;    // it and its children call only actors whose lane is above: no two wait for each other
    int references = 0;  // this process's, and those of its calls
    bool is_in_use = false;
    bool is_held = false;  // another process uses it
    bool has_released = false;
    bool is_plain = false;  // no actor is needed for it: an actor's constructor may wait for it
    // The record.
    bool is_done = false;
    bool is_error = false;
    bool wants_notice = false;
    bool is_returned = false;
    // Queued although what it needs was not there: its executor looks.
    bool is_following = false;
    std::int32_t retries = 0;
    std::int32_t begun_losses = 0;
    std::vector<Index> needs;
    std::vector<Index> passes;  // handles that travel with it
    // Calls.
    actor::Caller caller = 0;
    std::uint32_t serial = 0;  // in the order of the caller
    actor::CallOrder::Place place{};
    bool is_held_back = false;
    bool has_begun = false;
  };
  struct Use {
    Index handle = 0;
    actor::CallOrder order;
    std::map<actor::Caller, std::uint32_t> made;  // calls
  };
  enum class Step : std::uint8_t { kPrepare, kRun, kReturned, kTold, kPublished };
  struct Frame {
    TaskName task;
    Kind kind = Kind::kTask;
    LaneId lane = 0;
    int depth = 0;
    LaneId above = 0;
    Step step = Step::kPrepare;
    actor::Caller caller = 0;
    std::vector<Index> children;  // of the executing process
    std::vector<Index> handles;   // likewise
    std::size_t waits_for = 0;
    int to_spawn = 0;
    bool has_failed_wait = false;
    bool fails = false;
  };
  // A process that is gone, until its slot is free again.
  struct Dead {
    ProcessId id = 0;
    std::vector<Frame> frames;
    std::set<ProcessId> unaware;  // owners that have not handled it
  };
  // A process's books and their world.
  struct Owner {
    Owner(Simulator& simulator, ProcessId process) : sim(simulator), me(process), ledger(*this) {}
    // owner::Ledger's world.
    owner::Node& node(Index i) { return nodes[i]; }
    void enqueue(Index task);
    void fail_as(Index task, Index cause);
    void fail_lost(Index task);
    void release_needs(Index task);
    bool is_held_elsewhere(Index object);
    void free(Index object);
    // The client.
    Index new_object(Kind kind);
    Index submit(LaneId lane, int depth, LaneId above, std::int32_t retries, std::vector<Index> needs,
                 std::vector<Index> passes);
    Index create_actor(LaneId lane, std::vector<Index> needs);
    Index call(LaneId lane, actor::Caller caller, int depth, LaneId above, std::vector<Index> needs,
               std::vector<Index> passes);
    std::optional<Index> import(LaneId lane);
    void prepare(Index index, std::vector<Index> needs, std::vector<Index> passes);
    void hand_in(Index index, std::int32_t retries, std::optional<Index> unready_actor);
    bool may_follow(const Object& object);
    void listen_to(const std::vector<Index>& needs);
    void take_returned(Index index);
    void push(Index task);
    void hand_over(actor::Call call);
    void complete(Index task, bool is_error);
    void complete_with_error(Index task);
    void on_completed(Index index);
    void drop(Index object);
    void handle_dropped(Index handle);
    void let_go(LaneId lane);
    void forget_actor(Index handle);
    bool is_call_done(actor::Call call);
    void look_at_actor_ends();
    void look_at_foreign();
    void take_back_from(const Dead& dead);
    bool is_done(Index i) const;
    bool is_error(Index i) const;
    bool has_ended_actor() const;
    bool has_foreign_news() const;
    bool has_news() const;

    Simulator& sim;
    ProcessId me;
    std::deque<owner::Node> nodes;
    std::deque<Object> objects;
    std::vector<Index> free_indices;
    std::vector<Index> notices;  // the completion bitmap
    std::vector<std::shared_ptr<Dead>> deaths;
    std::map<LaneId, Use> uses;
    owner::Ledger<Owner> ledger;
  };
  struct Process {
    bool is_started = false;
    bool is_revoked = false;
    bool is_dismissed = false;
    bool is_asked_to_leave = false;
    bool is_blocked = false;
    bool is_actor = false;
    std::optional<LaneId> lane;
    std::vector<Frame> stack;
    std::vector<Index> kept;  // handles that the actor keeps between calls
    std::unique_ptr<Owner> owner;
  };
  struct Lane {
    sched::Units units = 0;
    bool is_actor = false;
    bool is_served = false;
    bool is_ended = false;
    int grants_to_others = 0;  // while it had work and no executor
    std::deque<TaskName> queue;
  };
  // What the node knows of an actor, and what only the simulator does.
  struct ActorInfo {
    ProcessId creator = 0;
    TaskName constructor;
    bool is_released = false;
    bool was_killed = false;
    bool is_done = false;  // the record of its constructor
    bool is_error = false;
    int starts = 0;
    std::set<ProcessId> holders;  // processes with a hold on it, also dead ones until they are buried
    std::vector<Frame> last_frames;
    std::map<std::pair<ProcessId, actor::Caller>, std::uint32_t> made;
    std::map<std::pair<ProcessId, actor::Caller>, std::uint32_t> run;
  };

  // sched::Effects.
  bool has_work(LaneId lane) override { return !lanes_[lane].queue.empty(); }
  bool is_asleep(sched::WorkerId worker) override;
  std::optional<sched::WorkerId> start_worker() override;
  void grant(sched::WorkerId worker, LaneId lane) override;
  void revoke(sched::WorkerId worker) override;
  void dismiss(sched::WorkerId worker) override;
  bool ask_to_leave(sched::WorkerId worker) override;
  void set_served(LaneId lane, bool is_served) override { lanes_[lane].is_served = is_served; }
  void report_worker_limit(sched::WorkerId worker) override;
  void report_no_process(LaneId lane) override;

  // processes.cc: the node
  void end_lane(LaneId lane);
  void release_actor(LaneId lane);
  void kill_actor(LaneId lane);
  void process_gone(ProcessId id);
  void bury();
  void kill(ProcessId id);
  // and the executors
  bool work(ProcessId id);
  bool take_task(Process& process);
  bool run_frame(ProcessId id, Process& process);
  bool prepare_frame(Process& process);
  void begin_frame(Process& process);
  void spawn(Process& process);
  void finish(ProcessId id, Process& process);
  void wake_blocked(ProcessId id, Process& process);

  // simulator.cc
  bool driver_acts();
  static bool never(const Object&);
  static bool plain(const Object& object);
  static bool always(const Object&);
  std::vector<Index> some_held(std::uint32_t max, bool (*may)(const Object&));
  void driver_creates_actor();
  bool driver_handles();
  bool deliver(Owner& owner);
  void change_share();
  bool is_waiting_for_other_jobs() const;
  void check();
  void check_idle();
  bool all_done();
  void check_end();
  std::string state() const;

  std::uint32_t pick(std::size_t below) { return static_cast<std::uint32_t>(random_() % below); }
  void note(std::uint64_t what) { outcome_.trace = (outcome_.trace ^ what) * 0x100000001b3ull; }
  void fail(const std::string& problem) {
    if (outcome_.problem.empty()) outcome_.problem = problem;
  }
  Owner* owner_of(ProcessId process);
  Object* find(const TaskName& name);  // this attempt of it, or nothing
  std::vector<LaneId> callable(const Owner& owner, LaneId above) const;
  sched::Units units_of_actors() const;

  std::mt19937_64 random_;
  std::mt19937_64 shares_random_;  // so that programs without other jobs stay what they are
  base::TimeNs now_ = 0;
  std::unique_ptr<sched::Scheduler> scheduler_;
  std::deque<Lane> lanes_;  // classes first, then an actor each
  std::size_t classes_ = 0;
  std::map<LaneId, ActorInfo> actors_;
  std::map<ProcessId, Process> processes_;
  std::vector<std::shared_ptr<Dead>> dead_;
  ProcessId next_process_ = 1;
  Owner driver_{*this, kDriver};
  std::vector<Index> held_;     // the driver's references to results
  std::vector<Index> handles_;  // and to actors, each as often as it has references
  int to_submit_ = 0;
  int to_create_ = 0;
  int to_call_ = 0;
  int kills_left_ = 0;
  int actor_kills_left_ = 0;
  int actors_left_ = 0;  // that tasks may make
  int imports_left_ = 20;
  std::uint64_t tasks_begun_ = 0;
  bool starts_fail_often_ = false;
  bool shares_node_ = false;  // with jobs that are not played
  sched::Units ceiling_ = 0;
  bool keeps_actors_ = false;  // those with CPUs: others must get on beside them
  std::uint32_t workers_max_ = 64;
  std::size_t slots_max_ = 1'000;
  std::uint32_t rounds_to_burial_ = 50;
  Outcome outcome_;
};

}  // namespace rayx::sim
