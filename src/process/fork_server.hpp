// The driver's side of the fork server: starts it, asks it for workers, hears of their deaths. Never blocks except in
// wait_ready() and shutdown(). start() may be called in any thread; everything else by one thread at a time.
//
// Promises, also when the fork server is killed at any moment:
//   - each spawn_worker() ends in exactly one of on_worker_started and on_worker_failed; after on_worker_failed the worker's
//     entry has not run and will not;
//   - each started worker ends in exactly one on_worker_exit, and by then no thread of it runs any more;
//   - on_server_exit comes last and once.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <rayx/result.hpp>

#include "base/unique_fd.hpp"
#include "process/exit_status.hpp"
#include "process/message.hpp"
#include "process/spawn_self.hpp"

namespace rayx::process {

struct WorkerStarted {
  std::uint64_t slot;
  pid_t pid;
  base::UniqueFd out;  // non-blocking read ends of its stdout and stderr
  base::UniqueFd err;
};

struct WorkerExit {
  std::uint64_t slot;
  pid_t pid;
  ExitStatus status;
  bool entered;  // false: it ended in a static constructor (exec'd workers only: forked ones have these behind them)
};

struct ServerExit {
  pid_t pid;
  ExitStatus status;
  bool was_ready;  // false: it ended in a static constructor or in the loader
  bool expected;   // after shutdown()
};

class ForkServerEvents {
 public:
  virtual ~ForkServerEvents() = default;
  // `forks` is false if workers are exec'd, because the program has threads before main.
  virtual void on_server_ready(pid_t pid, bool forks) = 0;
  virtual void on_worker_started(WorkerStarted worker) = 0;
  virtual void on_worker_failed(std::uint64_t slot, Error error) = 0;
  virtual void on_worker_exit(const WorkerExit& exit) = 0;
  virtual void on_server_exit(const ServerExit& exit) = 0;
};

struct ForkServerConfig {
  std::vector<std::string> env;  // "NAME=value", for the fork server and so for all workers
  int oom_score_adj = 300;       // added to each worker's score, of 1000; 0 leaves it
  Program program = {};          // which file; nothing set: that of this process
};

struct WorkerRequest {
  std::uint64_t slot = 0;            // the caller's name for it; unique among those that have not ended
  std::span<const int> fds;          // the worker gets duplicates; at most kPassedFdsMax
  std::span<const std::string> env;  // "NAME=value"
  std::string_view config;           // opaque bytes for the worker's entry, at most kConfigBytesMax
  int omp_threads = 0;               // OMP_NUM_THREADS, unless the user has set it; 0 leaves it
};

class ForkServer {
 public:
  static constexpr int kSpawnsInFlightMax = 64;  // asked of the fork server and not answered; further ones wait here

  ForkServer() = default;
  ForkServer(const ForkServer&) = delete;
  ForkServer& operator=(const ForkServer&) = delete;
  // Kills and reaps what still runs. In a child that the user's program forked it only closes descriptors.
  ~ForkServer();

  // Returns when the exec has succeeded (about 1 ms); on_server_ready follows when static constructors have run.
  Result<void> start(const ForkServerConfig& config);

  // Read ends of the fork server's own stdout and stderr (what static constructors print, and our notes). Non-blocking. The
  // caller reads them until on_server_exit; drained then, they hold the reason.
  base::UniqueFd take_out() { return std::move(out_); }
  base::UniqueFd take_err() { return std::move(err_); }

  // Readable when handle_readable() has something to do. An epoll descriptor: level-triggered, may be nested.
  int poll_fd() const { return epoll_.get(); }
  void handle_readable(ForkServerEvents& events);

  // Queues the request; the answer is an event. An error (bad arguments, no fork server) means that no event will come.
  Result<void> spawn_worker(const WorkerRequest& request);
  // SIGKILL, at once if it has started, else as soon as it has. Does nothing for an unknown slot: it has just ended.
  void kill_worker(std::uint64_t slot);
  // Of a worker that runs: -1 where the kernel has no pidfd.
  int worker_pidfd(std::uint64_t slot) const;

  bool running() const { return state_ == State::kRunning; }
  pid_t pid() const { return pid_; }
  std::size_t workers() const { return workers_.size(); }

  // Handles events until the fork server is ready; an error if it ends first or the time-out passes.
  Result<void> wait_ready(std::chrono::milliseconds timeout, ForkServerEvents& events);
  // Workers may take `grace` to leave by themselves (somebody has told them to); then they are killed. Blocks, handling events,
  // until nothing is left. Fast when workers are gone already.
  void shutdown(std::chrono::milliseconds grace, ForkServerEvents& events);

 private:
  enum class State {
    kNew,
    kRunning,
    kOrphaned,
    kGone
  };  // kOrphaned: the server is dead, some workers are not reported yet
  struct Worker {
    bool sent = false;  // the fork server has the request
    pid_t pid = -1;     // -1: not started yet
    base::UniqueFd pidfd;
    bool kill_requested = false;
    bool abandoned = false;  // reported as failed; its exit is not reported
  };
  struct Outgoing {
    MessageHeader header;
    std::string payload;
    std::vector<base::UniqueFd> fds;
  };

  void handle_message(Message& message, ForkServerEvents& events);
  void on_started(Message& message, ForkServerEvents& events);
  void send_queued();
  void watch_control(bool writable);
  void kill_server();
  void kill_now(std::uint64_t slot, Worker& worker);
  bool server_has_ended(bool control_closed);
  ExitStatus reap_server();
  void orphan_workers(ForkServerEvents& events);
  void report_orphans(ForkServerEvents& events);

  State state_ = State::kNew;
  pid_t owner_pid_ = -1;
  pid_t pid_ = -1;
  bool ready_ = false;
  bool expected_exit_ = false;
  bool control_closed_ = false;
  bool watching_writable_ = false;
  int in_flight_ = 0;
  ExitStatus server_status_;
  base::UniqueFd epoll_, control_, pidfd_, out_, err_;
  std::unordered_map<std::uint64_t, Worker> workers_;
  std::deque<Outgoing> outgoing_;
  MessageReader reader_;
};

}  // namespace rayx::process
