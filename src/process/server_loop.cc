#include "process/server_loop.hpp"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <new>
#include <string>
#include <unordered_map>

#include <dlfcn.h>

#include "base/check.hpp"
#include "process/message.hpp"
#include "process/pidfd.hpp"
#include "process/spawn_self.hpp"
#include "process/take_over.hpp"
#include "process/worker_setup.hpp"

#include "base/clock.hpp"

namespace rayx::process {

void die_with_parent(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::getppid() != parent) ::_exit(1);  // it ended before the line above
}

namespace {

using Go = std::atomic<std::uint32_t>;
static_assert(Go::is_always_lock_free && sizeof(Go) == 4);

std::int64_t now_ms() { return base::SteadyClock().now_ns() / 1'000'000; }

int child_event = -1;  // for the handler

void on_child_signal(int) {
  const int saved_errno = errno;
  ::eventfd_write(child_event, 1);
  errno = saved_errno;
}

// Threads that a fork would lose. ThreadSanitizer's own background thread survives a fork and is not counted.
bool has_other_threads() {
  struct stat info {};
  if (::stat("/proc/self/task", &info) != 0) return true;  // cannot know: exec is right in any case
  const bool tsan = ::dlsym(RTLD_DEFAULT, "__tsan_init") != nullptr;
  return info.st_nlink > 2u + 1u + (tsan ? 1u : 0u);
}

// A GPU's driver cannot be used after a fork once its device is open. (Merely linking it is harmless.)
bool has_open_gpu() {
  for (const int fd : open_descriptors()) {
    char path[64], target[64] = {};
    std::snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (::readlink(path, target, sizeof(target) - 1) <= 0) continue;
    if (std::strncmp(target, "/dev/nvidia", 11) == 0 || std::strcmp(target, "/dev/kfd") == 0) return true;
  }
  return false;
}

[[noreturn]] void enter_worker(const WorkerStart& start, int oom_score_adj, int omp_threads, std::string_view env) {
  set_process_name("rayx:worker");
  raise_oom_score(oom_score_adj);
  apply_environment(env);
  apply_omp_threads(omp_threads);
  // Each line reaches the driver when it is complete, as on a terminal; a pipe would be fully buffered.
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  internal::run_worker_start_hooks();
  finish_worker(internal::worker_main(start));
}

class Server {
 public:
  Server(int control, pid_t driver, int oom_score_adj)
      : control_(control), pid_(::getpid()), oom_score_adj_(oom_score_adj) {
    constructor_fds_ = open_descriptors();
    std::erase(constructor_fds_, control);
    // A handler and not a signalfd: a constructor's thread does not block the signal, and would swallow it.
    children_ = base::UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    child_event = children_.get();
    struct sigaction tell_loop {};
    tell_loop.sa_handler = on_child_signal;
    tell_loop.sa_flags = SA_RESTART | SA_NOCLDSTOP;
    ::sigaction(SIGCHLD, &tell_loop, &sigchld_before_);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    ::sigprocmask(SIG_UNBLOCK, &child, &mask_before_);
    ::fcntl(control, F_SETFD, FD_CLOEXEC);
    set_process_name("rayx:forkserver");

    driver_pidfd_ = open_pidfd(driver);
    if (::getppid() != driver) ::_exit(1);
    void* page = ::mmap(nullptr, sizeof(Go), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!children_ || page == MAP_FAILED) {
      std::fprintf(stderr, "rayx: the fork server cannot start: %s; raise `ulimit -n` or free memory\n",
                   std::strerror(errno));
      std::fflush(stderr);
      ::_exit(1);
    }
    announced_ = new (page) Go(0);
    forks_ = can_fork();
  }

  [[noreturn]] void run() {
    MessageHeader ready{.kind = MessageKind::kReady};
    ready.number = forks_ ? 1 : 0;
    ready.pid = pid_;
    if (send_message(control_, ready, {}, {}, false) != 0) end();
    for (;;) {
      pollfd entries[3] = {{control_, POLLIN, 0}, {children_.get(), POLLIN, 0}, {driver_pidfd_.get(), POLLIN, 0}};
      int timeout_ms = -1;
      if (deadline_ms_ >= 0) {
        if (workers_.empty() || now_ms() >= deadline_ms_) end();
        timeout_ms = static_cast<int>(std::min<std::int64_t>(deadline_ms_ - now_ms(), 1000));
        timeout_ms = std::max(timeout_ms, 0);
      }
      if (::poll(entries, 3, timeout_ms) < 0 && errno != EINTR) end();
      if (entries[2].revents != 0) end();
      if (entries[1].revents != 0) reap();
      if (entries[0].revents != 0) serve_one();
    }
  }

 private:
  struct Worker {
    std::uint64_t slot;
    base::UniqueFd control;  // of an exec'd worker: our end
  };

  bool can_fork() {
    if (!has_other_threads() && !has_open_gpu()) return true;
    if (!said_exec_) {
      said_exec_ = true;
      std::fprintf(
          stderr,
          "rayx: this program starts threads or opens a GPU before main, so each worker is started by exec instead "
          "of fork (slower: its static constructors run again); start threads in main to avoid it\n");
      std::fflush(stderr);
    }
    return false;
  }

  void serve_one() {
    Message message;
    switch (reader_.receive(control_, true, message)) {
      case MessageReader::Status::kNothing: return;
      case MessageReader::Status::kClosed: end();
      case MessageReader::Status::kMessage: break;
    }
    switch (message.header.kind) {
      case MessageKind::kSpawn: spawn(message); break;
      case MessageKind::kKill:
        for (const auto& [pid, worker] : workers_) {
          if (worker.slot == message.header.slot) ::kill(pid, SIGKILL);
        }
        break;
      case MessageKind::kShutdown:
        deadline_ms_ =
            now_ms() + static_cast<std::int64_t>(std::min<std::uint64_t>(message.header.value, 1'000'000'000));
        break;
      default: RAYX_CHECK(false, "unexpected message", static_cast<int>(message.header.kind));
    }
  }

  void fail(std::uint64_t slot, SpawnStep step, int error) {
    MessageHeader reply{.kind = MessageKind::kSpawnFailed};
    reply.slot = slot;
    reply.value = static_cast<std::uint64_t>(step);
    reply.number = error;
    tell(reply, {});
  }

  void spawn(Message& message) {
    const MessageHeader& header = message.header;
    if (message.fds_lost) return fail(header.slot, SpawnStep::kReceive, EMFILE);
    int error = 0;
    Result<Pipe> out = make_pipe(&error);
    if (!out) return fail(header.slot, SpawnStep::kPipes, error);
    Result<Pipe> err = make_pipe(&error);
    if (!err) return fail(header.slot, SpawnStep::kPipes, error);
    forks_ = forks_ && can_fork();
    Worker worker{header.slot, {}};
    pid_t pid = -1;
    const std::uint32_t turn = announced_->load(std::memory_order_relaxed) + 1;
    if (forks_) {
      flush_streams();
      pid = ::fork();
      if (pid == 0) run_forked(message, out->write_end.get(), err->write_end.get(), turn);
      if (pid < 0) return fail(header.slot, SpawnStep::kFork, errno);
    } else {
      pid = exec_worker(message, out->write_end.get(), err->write_end.get(), worker.control, error);
      if (pid < 0) return fail(header.slot, SpawnStep::kExec, error);
    }
    const base::UniqueFd pidfd = open_pidfd(pid);  // no race: nobody but us can reap it
    const int control = worker.control.get();
    workers_.emplace(pid, std::move(worker));

    MessageHeader reply{.kind = MessageKind::kStarted};
    reply.slot = header.slot;
    reply.pid = pid;
    const int fds[3] = {out->read_end.get(), err->read_end.get(), pidfd.get()};
    tell(reply, {fds, pidfd ? 3u : 2u});

    // Only now may the worker run: if we die here or earlier, either the driver knows it or it has done nothing.
    if (control >= 0) {
      std::vector<int> passed;
      for (const base::UniqueFd& fd : message.fds) passed.push_back(fd.get());
      MessageHeader work = header;
      work.number = oom_score_adj_;
      // An error means that it died in a static constructor: reap() reports it.
      (void)send_message(control, work, message.payload, passed, true);
    } else {
      announced_->store(turn, std::memory_order_release);
      ::syscall(SYS_futex, announced_, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
    }
  }

  pid_t exec_worker(const Message& message, int out, int err, base::UniqueFd& control, int& error) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return error = errno, -1;
    const base::UniqueFd theirs(ends[1]);
    control = base::UniqueFd(ends[0]);
    MessageHeader first{.kind = MessageKind::kWork};
    first.value = random_word();
    first.protocol = kProtocol;
    if (const int failed = send_message(control.get(), first, {}, {}, true)) return error = failed, -1;
    SpawnSelf request{.control = theirs.get(), .out = out, .err = err, .nonce = first.value, .env = {}, .program = {}};
    std::string_view env = message.payload.substr(0, message.header.env_bytes);
    while (!env.empty()) {  // before the exec, so that libraries which read it when they are loaded see it
      const std::size_t end = std::min(env.find('\0'), env.size());
      request.env.emplace_back(env.substr(0, end));
      env.remove_prefix(std::min(end + 1, env.size()));
    }
    if (message.header.omp_threads > 0 && std::getenv("OMP_NUM_THREADS") == nullptr) {
      request.env.push_back("OMP_NUM_THREADS=" + std::to_string(message.header.omp_threads));
    }
    const Result<pid_t> pid = spawn_self(request, &error);
    return pid ? *pid : -1;
  }

  [[noreturn]] void run_forked(Message& message, int out, int err, std::uint32_t turn) {
    die_with_parent(pid_);
    ::setpgid(0, 0);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(err, STDERR_FILENO);
    std::vector<int> passed;
    for (base::UniqueFd& fd : message.fds) passed.push_back(fd.release());
    std::vector<int> keep = constructor_fds_;
    keep.insert(keep.end(), passed.begin(), passed.end());
    std::sort(keep.begin(), keep.end());
    close_all_but(keep);
    ::sigaction(SIGCHLD, &sigchld_before_, nullptr);
    ::sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
    reseed_generators();
    for (;;) {
      const std::uint32_t seen = announced_->load(std::memory_order_acquire);
      if (static_cast<std::int32_t>(seen - turn) >= 0) break;
      ::syscall(SYS_futex, announced_, FUTEX_WAIT, seen, nullptr, nullptr, 0);
    }
    ::munmap(static_cast<void*>(announced_), sizeof(Go));
    const std::string_view env = message.payload.substr(0, message.header.env_bytes);
    const std::string_view config = message.payload.substr(env.size(), message.header.config_bytes);
    enter_worker({.slot = message.header.slot, .fds = passed, .config = config, .forked = true}, oom_score_adj_,
                 message.header.omp_threads, env);
  }

  void reap() {
    eventfd_t ignored;
    ::eventfd_read(children_.get(), &ignored);
    for (;;) {
      siginfo_t info{};
      // Peek first: until it is reaped its pid, and so its process group, cannot belong to anyone else.
      if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
      const pid_t pid = info.si_pid;
      const auto found = workers_.find(pid);
      if (found != workers_.end()) ::kill(-pid, SIGKILL);  // what it started and left behind
      info = {};
      ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG);
      if (found == workers_.end()) continue;  // a child of a static constructor
      MessageHeader report{.kind = MessageKind::kExited};
      report.slot = found->second.slot;
      report.pid = pid;
      report.value = static_cast<std::uint64_t>(info.si_code);
      report.number = info.si_status;
      if (found->second.control) {
        Message entered;
        report.flag =
            reader_for_workers_.receive(found->second.control.get(), true, entered) != MessageReader::Status::kMessage;
      }
      workers_.erase(found);
      tell(report, {});
    }
  }

  void tell(const MessageHeader& header, std::span<const int> fds) {
    for (;;) {
      const int error = send_message(control_, header, {}, fds, false);
      if (error == 0) return;
      if (error != ETOOMANYREFS) end();
      pollfd entry{driver_pidfd_.get(), POLLIN, 0};  // until the driver has taken some descriptors out of the socket
      if (::poll(&entry, 1, 1) == 1) end();
    }
  }

  // Nothing may be left behind: every worker is killed with its process group, and reaped.
  [[noreturn]] void end() {
    for (const auto& [pid, worker] : workers_) {
      ::kill(pid, SIGKILL);
    }
    for (const auto& [pid, worker] : workers_) {
      siginfo_t info{};
      while (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
      }
      ::kill(-pid, SIGKILL);
      ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG);
      // The driver may still listen (a shutdown past its deadline), or not; both are fine.
      MessageHeader report{.kind = MessageKind::kExited};
      report.slot = worker.slot;
      report.pid = pid;
      report.value = static_cast<std::uint64_t>(info.si_code);
      report.number = info.si_status;
      (void)send_message(control_, report, {}, {}, true);
    }
    flush_streams();
    ::_exit(0);
  }

  const int control_;
  const pid_t pid_;
  const int oom_score_adj_;
  std::vector<int> constructor_fds_;
  sigset_t mask_before_{};
  struct sigaction sigchld_before_ {};
  base::UniqueFd children_;
  base::UniqueFd driver_pidfd_;
  Go* announced_ = nullptr;  // in shared memory: how many workers the driver was told of; a worker waits for its number
  bool forks_ = true;
  bool said_exec_ = false;
  std::int64_t deadline_ms_ = -1;
  std::unordered_map<pid_t, Worker> workers_;
  MessageReader reader_;
  MessageReader reader_for_workers_;
};

}  // namespace

void run_fork_server(int control, pid_t driver, int oom_score_adj) {
  ::prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);  // the thread that started this may end; the driver's end closes the socket
  // Never destroyed: both the server and its forked workers leave by _exit.
  static Server* server = new Server(control, driver, oom_score_adj);
  server->run();
}

void run_execed_worker(int control) {
  ::fcntl(control, F_SETFD, FD_CLOEXEC);
  static MessageReader reader;
  static Message message;
  if (reader.receive(control, false, message) != MessageReader::Status::kMessage || message.fds_lost ||
      message.header.kind != MessageKind::kSpawn) {
    std::fprintf(stderr, "rayx: a worker got no work from its fork server%s\n",
                 message.fds_lost ? ": too many open files; raise `ulimit -n`" : "");
    finish_worker(1);
  }
  (void)send_message(control, {.kind = MessageKind::kEntered}, {}, {}, true);
  static std::vector<int> passed;
  for (base::UniqueFd& fd : message.fds) passed.push_back(fd.release());
  ::close(control);
  const std::string_view config = message.payload.substr(message.header.env_bytes, message.header.config_bytes);
  enter_worker({.slot = message.header.slot, .fds = passed, .config = config, .forked = false}, message.header.number,
               message.header.omp_threads, message.payload.substr(0, message.header.env_bytes));
}

}  // namespace rayx::process
