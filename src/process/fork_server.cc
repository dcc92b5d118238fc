#include "process/fork_server.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/check.hpp"
#include "base/format.hpp"
#include "process/pidfd.hpp"
#include "process/spawn_self.hpp"

#include "base/deadline.hpp"

namespace rayx::process {
namespace {

constexpr int kMessagesPerTurnMax = 256;
// How long a killed process may take to vanish before we stop waiting in a destructor or without pidfds.
constexpr std::chrono::milliseconds kDeathTimeout{5000};

// A process whose threads have all ended: gone, or a zombie that its new parent has not reaped yet.
bool has_ended_by_proc(pid_t pid) {
  std::ifstream file(base::format("/proc/{}/stat", pid));
  std::string text;
  if (!std::getline(file, text)) return true;
  std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1)));  // the name may hold anything
  std::string state, skipped;
  long threads = 0;
  fields >> state;  // field 3
  for (int i = 4; i < 20; ++i) fields >> skipped;
  fields >> threads;  // field 20
  return state == "X" || (state == "Z" && threads <= 1);
}

// Without pidfds there is nothing to poll for the end of a process that is not our child. Its pid may be reused in theory; then
// we wait for the full time-out and no longer.
void wait_gone_without_pidfd(pid_t pid) {
  for (int i = 0; i < kDeathTimeout.count() && !has_ended_by_proc(pid); ++i) {
    const timespec step{.tv_sec = 0, .tv_nsec = 1'000'000};
    ::nanosleep(&step, nullptr);  // tidy: allow no-sleep: without pidfds there is no event to wait for
  }
}

// The status of a child, if it is one and has ended. A worker becomes our child when the fork server dies and we are init of a
// container or a subreaper.
std::optional<ExitStatus> reap(int pidfd, pid_t pid) {
  siginfo_t info{};
  int result = -1;
  // P_PIDFD: names this very process; disturbs no other child of the host.
  if (pidfd >= 0) result = ::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG);
  if (pidfd < 0 || (result != 0 && errno == EINVAL)) {
    result = ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG);
  }
  if (result != 0) return ExitStatus{};  // ECHILD: not ours, or the host reaped it
  if (info.si_pid == 0) return std::nullopt;
  return exit_status_of(info);
}

}  // namespace

ForkServer::~ForkServer() {
  if (owner_pid_ != ::getpid() || (state_ != State::kRunning && state_ != State::kOrphaned)) return;
  struct Ignore final : ForkServerEvents {
    void on_server_ready(pid_t, bool) override {}
    void on_worker_started(WorkerStarted) override {}
    void on_worker_failed(std::uint64_t, Error) override {}
    void on_worker_exit(const WorkerExit&) override {}
    void on_server_exit(const ServerExit&) override {}
  } ignore;
  shutdown(std::chrono::milliseconds(0), ignore);
}

Result<void> ForkServer::start(const ForkServerConfig& config) {
  RAYX_CHECK(state_ == State::kNew || state_ == State::kGone, "the fork server runs already", pid_);
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return describe_spawn_error("making the socket to the fork server", errno);
  }
  control_ = base::UniqueFd(ends[0]);
  const base::UniqueFd theirs(ends[1]);
  Result<Pipe> out = make_pipe();
  if (!out) return out.error();
  Result<Pipe> err = make_pipe();
  if (!err) return err.error();
  epoll_ = base::UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return describe_spawn_error("making an epoll descriptor for the fork server", errno);

  MessageHeader first{.kind = MessageKind::kServe};
  first.value = random_word();
  first.number = config.oom_score_adj;
  first.protocol = kProtocol;
  if (const int error = send_message(control_.get(), first, {}, {}, true)) {
    return describe_spawn_error("writing to the fork server's socket", error);
  }
  const Result<pid_t> pid = spawn_self({.control = theirs.get(),
                                        .out = out->write_end.get(),
                                        .err = err->write_end.get(),
                                        .nonce = first.value,
                                        .env = config.env,
                                        .program = config.program});
  if (!pid) return pid.error();

  owner_pid_ = ::getpid();
  pid_ = *pid;
  pidfd_ = open_pidfd(pid_);
  out_ = std::move(out->read_end);
  err_ = std::move(err->read_end);
  ready_ = expected_exit_ = control_closed_ = watching_writable_ = false;
  in_flight_ = 0;
  state_ = State::kRunning;
  epoll_event event{.events = EPOLLIN, .data = {.u64 = 0}};
  RAYX_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, control_.get(), &event) == 0, "epoll_ctl", errno);
  if (pidfd_) {
    RAYX_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, pidfd_.get(), &event) == 0, "epoll_ctl", errno);
  }
  return {};
}

Result<void> ForkServer::spawn_worker(const WorkerRequest& request) {
  if (state_ != State::kRunning || expected_exit_) {
    return Error{ErrorCode::kShuttingDown, "rayx: no worker can be started: the fork server does not run"};
  }
  RAYX_CHECK(!workers_.contains(request.slot), "slot is in use", request.slot);
  Outgoing message{.header = {.kind = MessageKind::kSpawn}, .payload = {}, .fds = {}};
  for (const std::string& entry : request.env) message.payload.append(entry).push_back('\0');
  if (message.payload.size() > kConfigBytesMax || request.config.size() > kConfigBytesMax ||
      request.fds.size() > kPassedFdsMax) {
    return Error{
        ErrorCode::kInvalidArgument,
        base::format("rayx: a worker's start does not fit: {} bytes of environment and {} of configuration (at most "
                     "{} each), {} descriptors (at most {})",
                     message.payload.size(), request.config.size(), kConfigBytesMax, request.fds.size(),
                     kPassedFdsMax)};
  }
  message.header.slot = request.slot;
  message.header.env_bytes = static_cast<std::uint32_t>(message.payload.size());
  message.header.config_bytes = static_cast<std::uint32_t>(request.config.size());
  message.header.omp_threads = request.omp_threads;
  message.payload.append(request.config);
  // Duplicates: the request may wait here after the caller has closed its own.
  for (const int fd : request.fds) {
    message.fds.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!message.fds.back()) return describe_spawn_error("passing descriptors to a worker", errno);
  }
  workers_.emplace(request.slot, Worker{});
  outgoing_.push_back(std::move(message));
  send_queued();
  return {};
}

void ForkServer::send_queued() {
  bool full = false;
  while (!outgoing_.empty() && !control_closed_) {
    Outgoing& next = outgoing_.front();
    const bool spawns = next.header.kind == MessageKind::kSpawn;
    if (spawns && in_flight_ >= kSpawnsInFlightMax) break;  // an answer will bring us back
    std::vector<int> fds;
    for (const base::UniqueFd& fd : next.fds) fds.push_back(fd.get());
    const int error = send_message(control_.get(), next.header, next.payload, fds, true);
    if (error == EAGAIN || error == EWOULDBLOCK || error == ETOOMANYREFS || error == ENOBUFS) {
      full = true;
      break;
    }
    if (error != 0) break;  // the fork server is gone: handle_readable() sees it
    if (spawns) {
      ++in_flight_;
      if (const auto found = workers_.find(next.header.slot); found != workers_.end()) found->second.sent = true;
    }
    outgoing_.pop_front();
  }
  watch_control(full);
}

void ForkServer::watch_control(bool writable) {
  if (writable == watching_writable_ || control_closed_) return;
  epoll_event event{.events = EPOLLIN | (writable ? EPOLLOUT : 0u), .data = {.u64 = 0}};
  RAYX_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, control_.get(), &event) == 0, "epoll_ctl", errno);
  watching_writable_ = writable;
}

void ForkServer::kill_worker(std::uint64_t slot) {
  const auto found = workers_.find(slot);
  if (found == workers_.end()) return;
  if (found->second.pid < 0) {
    found->second.kill_requested = true;
  } else {
    kill_now(slot, found->second);
  }
}

void ForkServer::kill_now(std::uint64_t slot, Worker& worker) {
  if (worker.pidfd) {
    kill_by_pidfd(worker.pidfd.get(), SIGKILL);
  } else if (state_ == State::kRunning) {
    outgoing_.push_front({.header = {.kind = MessageKind::kKill, .slot = slot}, .payload = {}, .fds = {}});
    send_queued();
  }
}

int ForkServer::worker_pidfd(std::uint64_t slot) const {
  const auto found = workers_.find(slot);
  return found == workers_.end() ? -1 : found->second.pidfd.get();
}

void ForkServer::handle_readable(ForkServerEvents& events) {
  if (state_ == State::kRunning) {
    // First the pidfd, then the messages: what it sent before it died is in the socket and counts.
    const bool ended = pidfd_ && has_ended(pidfd_.get());
    for (int i = 0; !control_closed_ && (ended || i < kMessagesPerTurnMax); ++i) {
      Message message;
      const MessageReader::Status status = reader_.receive(control_.get(), true, message);
      if (status == MessageReader::Status::kNothing) break;
      if (status == MessageReader::Status::kClosed) {
        control_closed_ = true;
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, control_.get(), nullptr);
        break;
      }
      handle_message(message, events);
    }
    send_queued();
    if (ended || server_has_ended(control_closed_)) orphan_workers(events);
  }
  if (state_ == State::kOrphaned) report_orphans(events);
}

bool ForkServer::server_has_ended(bool control_closed) {
  if (!control_closed || pidfd_) return false;  // the pidfd will tell
  // No pidfd: it closed its socket, so it ends. Wait for it here: there is nothing to poll.
  kill_server();
  return true;
}

void ForkServer::kill_server() {
  if (pidfd_) {
    kill_by_pidfd(pidfd_.get(), SIGKILL);
  } else if (state_ == State::kRunning) {
    ::kill(pid_, SIGKILL);  // we have not reaped it, so the pid is its own unless the host's wait(-1) took it
  }
}

void ForkServer::handle_message(Message& message, ForkServerEvents& events) {
  const MessageHeader& header = message.header;
  switch (header.kind) {
    case MessageKind::kReady:
      ready_ = true;
      events.on_server_ready(pid_, header.number != 0);
      return;
    case MessageKind::kStarted: --in_flight_; return on_started(message, events);
    case MessageKind::kSpawnFailed: {
      --in_flight_;
      workers_.erase(header.slot);
      const char* tried = "starting a worker";
      switch (static_cast<SpawnStep>(header.value)) {
        case SpawnStep::kReceive: tried = "receiving a new worker's descriptors in the fork server"; break;
        case SpawnStep::kPipes: tried = "making the pipes of a new worker in the fork server"; break;
        case SpawnStep::kFork: tried = "forking a worker"; break;
        case SpawnStep::kExec: tried = "starting the program again as a worker (/proc/self/exe)"; break;
      }
      return events.on_worker_failed(header.slot, describe_spawn_error(tried, header.number));
    }
    case MessageKind::kExited: {
      const auto found = workers_.find(header.slot);
      if (found == workers_.end()) return;
      siginfo_t info{};
      info.si_code = static_cast<int>(header.value);
      info.si_status = header.number;
      const WorkerExit exit{header.slot, header.pid, exit_status_of(info), header.flag == 0};
      const bool silent = found->second.abandoned;
      workers_.erase(found);
      if (!silent) events.on_worker_exit(exit);
      return;
    }
    default: RAYX_CHECK(false, "unexpected message from the fork server", static_cast<int>(header.kind));
  }
}

void ForkServer::on_started(Message& message, ForkServerEvents& events) {
  const auto found = workers_.find(message.header.slot);
  RAYX_CHECK(found != workers_.end(), "a worker started that nobody asked for", message.header.slot);
  Worker& worker = found->second;
  worker.pid = message.header.pid;
  if (message.fds_lost || message.fds.size() < 2) {
    // It runs, but its output and its death cannot be followed. Its slot stays taken until it is gone.
    worker.abandoned = true;
    worker.pidfd.reset();
    kill_now(message.header.slot, worker);
    return events.on_worker_failed(message.header.slot,
                                   describe_spawn_error("receiving a new worker's descriptors", EMFILE));
  }
  if (message.fds.size() > 2) worker.pidfd = std::move(message.fds[2]);
  const bool kill = worker.kill_requested;
  if (kill) kill_now(message.header.slot, worker);
  events.on_worker_started(
      {message.header.slot, message.header.pid, std::move(message.fds[0]), std::move(message.fds[1])});
}

ExitStatus ForkServer::reap_server() {
  for (int i = 0; i < 5000; ++i) {
    if (const std::optional<ExitStatus> status = reap(pidfd_.get(), pid_)) return *status;
    const timespec step{.tv_sec = 0, .tv_nsec = 1'000'000};  // only without pidfds: it is on its way out
    ::nanosleep(&step, nullptr);  // tidy: allow no-sleep: without pidfds there is no event to wait for
  }
  return {};
}

// The fork server is dead. The kernel has sent SIGKILL to its workers; the requests it never answered came to nothing.
void ForkServer::orphan_workers(ForkServerEvents& events) {
  server_status_ = reap_server();
  state_ = State::kOrphaned;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, pidfd_.get(), nullptr);
  pidfd_.reset();
  if (!control_closed_) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, control_.get(), nullptr);
  control_closed_ = true;
  control_.reset();
  outgoing_.clear();
  std::vector<std::uint64_t> failed;
  for (auto& [slot, worker] : workers_) {
    // What a worker has started itself is in its group, and the fork server is no longer there to end it. The kernel does not give
    // out a number again as long as a group has it; an empty group's comes back only after all others.
    if (worker.pid > 0) ::kill(-worker.pid, SIGKILL);
    if (worker.pid < 0) {
      failed.push_back(slot);
    } else if (worker.pidfd) {
      kill_by_pidfd(worker.pidfd.get(), SIGKILL);
      epoll_event event{.events = EPOLLIN, .data = {.u64 = 0}};
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, worker.pidfd.get(), &event);
    } else {
      ::kill(worker.pid, SIGKILL);
      wait_gone_without_pidfd(worker.pid);
    }
  }
  for (const std::uint64_t slot : failed) {
    workers_.erase(slot);
    events.on_worker_failed(
        slot, {ErrorCode::kWorkerDied,
               base::format("rayx: the worker was not started: the fork server (pid {}) {}{}", pid_,
                            describe(server_status_), ready_ ? "" : " before main, in a static constructor")});
  }
}

void ForkServer::report_orphans(ForkServerEvents& events) {
  std::vector<std::pair<WorkerExit, bool>> gone;
  for (auto& [slot, worker] : workers_) {
    if (worker.pidfd && !has_ended(worker.pidfd.get())) continue;
    ExitStatus status = reap(worker.pidfd.get(), worker.pid).value_or(ExitStatus{});
    gone.push_back({{slot, worker.pid, status, true}, worker.abandoned});
  }
  for (const auto& [exit, silent] : gone) {
    workers_.erase(exit.slot);  // closes its pidfd, and so takes it out of the epoll set
    if (!silent) events.on_worker_exit(exit);
  }
  if (workers_.empty() && state_ == State::kOrphaned) {
    state_ = State::kGone;
    events.on_server_exit({pid_, server_status_, ready_, expected_exit_});
  }
}

namespace {

// Handles events until `done` or the deadline.
template <class Done>
bool pump(ForkServer& server, ForkServerEvents& events, std::chrono::milliseconds timeout, Done done) {
  const base::Deadline deadline(timeout);
  while (!done()) {
    const int left_ms = deadline.left_ms();
    if (left_ms == 0) return false;
    pollfd entry{server.poll_fd(), POLLIN, 0};
    ::poll(&entry, 1, left_ms);
    server.handle_readable(events);
  }
  return true;
}

}  // namespace

Result<void> ForkServer::wait_ready(std::chrono::milliseconds timeout, ForkServerEvents& events) {
  if (!pump(*this, events, timeout, [&] { return ready_ || state_ != State::kRunning; })) {
    return Error{
        ErrorCode::kTimeout,
        base::format(
            "rayx: the fork server (pid {}) was not ready after {} ms: the program's static constructors still "
            "run there; look at the process with a debugger, or raise the time-out",
            pid_, timeout.count())};
  }
  if (state_ == State::kRunning) return {};
  return Error{
      ErrorCode::kSystemError,
      base::format(
          "rayx: the fork server (pid {}) {} before main: a static constructor of the program or of one of its "
          "libraries ended it, or the loader failed; its last lines are on stderr",
          pid_, describe(server_status_))};
}

void ForkServer::shutdown(std::chrono::milliseconds grace, ForkServerEvents& events) {
  if (state_ == State::kNew || state_ == State::kGone) return;
  expected_exit_ = true;
  if (state_ == State::kRunning) {
    MessageHeader header{.kind = MessageKind::kShutdown};
    header.value = static_cast<std::uint64_t>(std::max<std::int64_t>(grace.count(), 0));
    outgoing_.push_front({.header = header, .payload = {}, .fds = {}});
    send_queued();
  }
  const auto gone = [&] { return state_ == State::kGone; };
  // A fork server that is still in static constructors, or stopped, does not answer: it gets no more time than this.
  if (pump(*this, events, grace + std::chrono::milliseconds(ready_ ? 2000 : 100), gone)) return;
  kill_server();
  pump(*this, events, kDeathTimeout, gone);
}

}  // namespace rayx::process
