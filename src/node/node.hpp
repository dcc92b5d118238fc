// The node: one background thread of the driver's process that starts workers, gives them leases and memory, shows what they
// write, and cleans up after them. It shares with them what lies in the arena, and they call it through node_calls.
#pragma once

#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include <rayx/result.hpp>

#include "base/clock.hpp"
#include "base/thread.hpp"
#include "node/memory_desk.hpp"
#include "node/relay_news.hpp"
#include "node/shared_cpus.hpp"
#include "node/shared_memory.hpp"
#include "node/worker_process.hpp"
#include "observe/output_writer.hpp"
#include "process/fork_server.hpp"
#include "sched/scheduler.hpp"
#include "shm/arena.hpp"
#include "shm/control.hpp"
#include "shm/death_note.hpp"
#include "shm/node_protocol.hpp"

namespace rayx::node {

struct NodeConfig {
  int cpus = 1;
  std::uint64_t store_bytes = 0;
  int max_workers = 64;
  std::shared_ptr<SharedCpus> shared_cpus = {};      // `cpus` are not this node's alone
  std::shared_ptr<SharedMemory> shared_memory = {};  // nor is the memory of the store
  std::chrono::nanoseconds store_timeout = std::chrono::seconds(10);
  process::Program program = {};  // of the workers; nothing set: this process's
  // Where what they print goes. The caller's, and open as long as the node lives.
  int out_fd = 1;
  int err_fd = 2;
  std::string modules;  // for the workers, as they understand it
  // Of a node of a cluster: a process slot for the relay, which becomes a member of every class; what it is to hear of, told by the
  // node's thread, which must not wait for it; and who may do tasks of a class.
  bool has_relay = false;
  std::function<void(RelayNews)> tell_relay;
  std::function<ClassPlaces(const base::Where&)> places_of_class;
  // Where the generations of its process slots begin, and so of the names of its objects: a node's second site of a job is to give
  // none of the names of its first one again.
  std::uint32_t first_generation = 0;
  bool has_places = false;   // actors that are made here get their place from the relay
  bool is_all_here = false;  // there is no other node: only those that are found by name, or made anew
  // The bytes that a worker in this process slot starts with, given where `modules` lies.
  std::function<std::string(std::uint32_t slot, shm::Offset modules, std::uint64_t bytes)> worker_config;
};

class Node final : private process::ForkServerEvents, private sched::Effects {
 public:
  static constexpr std::uint32_t kProcesses = shm::kProcessesMax;
  static constexpr std::uint32_t kLanes = shm::kLanesMax;
  static constexpr std::uint32_t kClassLanes = shm::kLaneMembersMax;
  static constexpr std::size_t kLabelBytesMax = 24;

  // Makes the arena, starts the fork server and the thread. An error says what is missing.
  static Result<std::unique_ptr<Node>> start(NodeConfig config);
  ~Node() override;
  // Workers end after what they run, or are killed when they take too long. Nothing of theirs is left when it returns.
  void stop();

  const shm::Arena& arena() const { return *arena_; }
  std::shared_ptr<const shm::Arena> share_arena() const { return arena_; }
  std::uint32_t driver_slot() const { return driver_; }
  std::uint32_t relay_slot() const { return relay_; }
  int eventfd() const { return eventfd_.get(); }
  MemoryDesk& desk() { return *desk_; }
  void ring();
  // Lines of other nodes' workers, beside those of this one's. Any thread; `done` is called by the node's when the text was taken,
  // which is when the reader of this process's output keeps up.
  void show(bool is_err, std::string text, std::function<void()> done);

 private:
  explicit Node(NodeConfig config) : config_(std::move(config)), out_(config_.out_fd), err_(config_.err_fd) {}
  Result<void> open();

  // node.cc: the loop
  void run();
  void loop_once();
  void watch(int fd, std::uint64_t tag);
  base::TimeNs next_deadline_ns();
  void on_readable(std::uint64_t tag);
  void publish_load();
  void follow_share();
  void publish_prospect(sched::Units prospect, base::TimeNs now);

  // node_answers.cc
  void answer_calls();
  void answer(std::uint32_t asker, shm::NodeCall& call);
  void reply(shm::NodeCall& call, shm::NodeAnswer answer, std::uint64_t value = 0, std::uint64_t serial = 0);
  void find_class(shm::NodeCall& call);
  void create_actor(std::uint32_t asker, shm::NodeCall& call);
  bool read_text(shm::Offset offset, std::uint64_t bytes, std::string& text) const;
  bool read_wish(shm::Offset offset, std::uint64_t bytes, shm::ActorWish& wish, std::string& name,
                 std::string& where) const;
  void release_actor(std::uint32_t lane, std::uint32_t generation);
  void leave_to_relay(std::uint32_t lane, bool is_maker_gone);
  void free_lane_of_relay(std::uint32_t lane, std::uint32_t generation);
  void kill_actor(shm::NodeCall& call, bool is_question);
  void lease(std::uint32_t asker, shm::NodeCall& call, bool is_slab);
  void answer_leases();
  bool answer_lease(const store::LeaseAnswer& given);
  void end_actor_lane(std::uint32_t lane, shm::LaneEnd end);

  // node_workers.cc
  bool start_fork_server();
  void spawn(std::uint32_t slot);
  void start_failed(const Error& error);
  void drain_rest(WorkerProcess& worker);
  void take_shown();
  void flush_output();
  void listen_to_workers();
  void bury();
  bool can_bury(std::uint32_t slot, WorkerProcess& worker);
  bool is_live(const store::Lease& lease);
  bool is_record_live(const shm::BlockOwner& owner, shm::Offset offset);
  void write_note(std::uint32_t slot, const WorkerProcess& worker, const std::string& how);
  void announce_death(std::uint32_t slot, WorkerProcess& worker);

  void on_server_ready(pid_t pid, bool forks) override;
  void on_worker_started(process::WorkerStarted worker) override;
  void on_worker_failed(std::uint64_t slot, Error error) override;
  void on_worker_exit(const process::WorkerExit& exit) override;
  void on_server_exit(const process::ServerExit& exit) override;

  bool has_work(sched::LaneId lane) override;
  std::uint64_t count_work(sched::LaneId lane) override;
  bool is_asleep(sched::WorkerId worker) override;
  std::optional<sched::WorkerId> start_worker() override;
  void grant(sched::WorkerId worker, sched::LaneId lane) override;
  void revoke(sched::WorkerId worker) override;
  void dismiss(sched::WorkerId worker) override;
  bool ask_to_leave(sched::WorkerId worker) override;
  void set_served(sched::LaneId lane, bool is_served) override;
  void report_worker_limit(sched::WorkerId worker) override;
  void report_no_process(sched::LaneId lane) override;

  NodeConfig config_;
  base::SteadyClock clock_;
  std::unique_ptr<SharedMemory::Member> memory_member_;  // longer than the arena, whose pages it counts
  std::shared_ptr<shm::Arena> arena_;
  shm::Control control_;
  shm::DeathNotes notes_;
  std::unique_ptr<MemoryDesk> desk_;
  std::unique_ptr<sched::Scheduler> scheduler_;
  std::unique_ptr<SharedCpus::Member> share_member_;  // while there is a thread, if others use the CPUs too
  sched::Share share_;
  sched::Wish told_wish_;
  base::TimeNs share_again_ns_ = base::kNever;
  base::TimeNs prospect_at_ns_ = 0;  // when the relay may hear of another one
  std::unique_ptr<process::ForkServer> fork_server_;
  std::unique_ptr<process::ForkServer> ended_fork_server_;  // until its last event has returned
  base::UniqueFd server_out_;
  base::UniqueFd server_err_;
  std::unique_ptr<observe::LinePrefixer> server_out_lines_;
  std::unique_ptr<observe::LinePrefixer> server_err_lines_;
  base::UniqueFd eventfd_;
  std::mutex ring_mutex_;  // a thread of the driver may ring while stop() closes it
  base::UniqueFd epoll_;
  observe::OutputWriter out_;
  observe::OutputWriter err_;
  struct Shown {
    bool is_err;
    std::string text;
    std::function<void()> done;
  };
  std::mutex shown_mutex_;
  std::deque<Shown> shown_;  // bounded by those who wait for `done`
  std::uint32_t driver_ = 0;
  std::uint32_t relay_ = 0;
  shm::Offset modules_ = shm::kNoOffset;
  std::map<std::uint32_t, WorkerProcess> workers_;
  std::map<std::pair<std::uint64_t, std::string>, std::uint32_t> classes_;  // cpu units and where -> lane
  std::array<ActorLane, kLanes> actors_;
  std::uint64_t next_ticket_ = 1;
  std::unordered_map<std::uint64_t, shm::NodeCall*> leases_asked_;  // by ticket
  base::TimeNs look_again_ns_ = base::kNever;
  base::TimeNs flush_partial_ns_ = base::kNever;
  bool is_out_paused_ = false;  // its reader is slow, so the workers' pipes are not read
  bool is_err_paused_ = false;
  base::TimeNs start_again_ns_ = base::kNever;
  int failed_starts_ = 0;
  bool is_short_of_processes_ = false;  // said so on stderr
  bool server_is_ready_ = false;
  std::string start_error_;
  base::Thread thread_;
  std::atomic<bool> stopping_{false};
  const pid_t pid_ = ::getpid();
};

}  // namespace rayx::node
