#include "kit/watchdog.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.hpp"
#include "base/clock.hpp"
#include "kit/process_tree.hpp"

namespace rayx::kit {
namespace {

// Within the 120 s that a test has in meson: 100 s for the test, then this long for all stacks together.
constexpr std::int64_t kDumpBudget_ms = 15'000;
constexpr std::int64_t kGdbLimit_ms = 8'000;  // for one process

int open_pidfd(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

std::int64_t now_ms() { return base::SteadyClock().now_ns() / 1'000'000; }

// True if the process has ended within the time. `parent` is asked where the kernel has no pidfd.
bool wait_for_end(int pidfd, pid_t parent, std::int64_t limit_ms) {
  const std::int64_t deadline_ms = now_ms() + limit_ms;
  while (true) {
    const std::int64_t left_ms = deadline_ms - now_ms();
    if (left_ms <= 0) return false;
    if (pidfd >= 0) {
      pollfd ended{.fd = pidfd, .events = POLLIN, .revents = 0};
      if (::poll(&ended, 1, static_cast<int>(left_ms)) > 0) return true;
    } else {
      ::poll(nullptr, 0, static_cast<int>(left_ms < 100 ? left_ms : 100));
      if (::getppid() != parent) return true;
    }
  }
}

const char* find_gdb() {
  for (const char* path : {"/usr/bin/gdb", "/usr/local/bin/gdb"}) {
    if (::access(path, X_OK) == 0) return path;
  }
  return nullptr;
}

// gdb's own output goes to our stderr. A gdb that hangs (a process in uninterruptible sleep) is killed.
void dump_stacks(const char* gdb, pid_t pid, std::int64_t limit_ms) {
  const std::string target = std::to_string(pid);
  std::vector<const char*> arguments = {gdb,
                                        "-batch",
                                        "-nx",
                                        "-iex",
                                        "set debuginfod enabled off",
                                        "-iex",
                                        "set pagination off",
                                        "-p",
                                        target.c_str(),
                                        "-ex",
                                        "thread apply all bt 60",
                                        nullptr};
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
  pid_t child = -1;
  const int error = ::posix_spawn(&child, gdb, &files, nullptr, const_cast<char* const*>(arguments.data()), ::environ);
  ::posix_spawn_file_actions_destroy(&files);
  if (error != 0) {
    std::fprintf(stderr, "rayx: watchdog could not start %s: %s\n", gdb, std::strerror(error));
    return;
  }
  const int pidfd = open_pidfd(child);
  if (pidfd >= 0 && !wait_for_end(pidfd, -1, limit_ms)) {
    std::fprintf(stderr, "rayx: watchdog: gdb did not finish with process %d in time\n", static_cast<int>(pid));
    ::kill(child, SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  if (pidfd >= 0) ::close(pidfd);
}

void dump_tree(pid_t root, const std::string& mark, int timeout_s) {
  const std::vector<ProcessInfo> tree = list_tree(root, mark);
  std::fprintf(stderr,
               "\nrayx: watchdog: test process %d still runs after %d s, so it is taken to hang. "
               "Its %zu processes follow, then all are killed. (RAYX_TEST_TIMEOUT_S=N gives it N s, 0 no limit.)\n",
               static_cast<int>(root), timeout_s, tree.size());
  // What /proc tells comes first for all, because it cannot block.
  for (const ProcessInfo& process : tree) {
    std::fprintf(stderr, "rayx: watchdog: process %d (%s), parent %d\n", static_cast<int>(process.pid),
                 process.name.c_str(), static_cast<int>(process.parent));
    dump_proc(process, STDERR_FILENO);
  }
  const char* gdb = find_gdb();
  if (gdb == nullptr) {
    std::fputs("rayx: watchdog: no gdb on this machine, so there are no stacks; './dev setup' installs it\n", stderr);
    return;
  }
  const std::int64_t deadline_ms = now_ms() + kDumpBudget_ms;
  for (const ProcessInfo& process : tree) {
    const std::int64_t left_ms = deadline_ms - now_ms();
    if (left_ms <= 0) {
      std::fputs("rayx: watchdog: no time left for the stacks of the other processes\n", stderr);
      return;
    }
    std::fprintf(stderr, "rayx: watchdog: stacks of process %d (%s)\n", static_cast<int>(process.pid),
                 process.name.c_str());
    dump_stacks(gdb, process.pid, left_ms < kGdbLimit_ms ? left_ms : kGdbLimit_ms);
  }
}

[[noreturn]] void run_watchdog(pid_t guarded, int pidfd, int timeout_s, const std::string& mark) {
  ::setpgid(0,
            0);  // A signal to the test's group (Ctrl-C, a test of it) must not end us; the pidfd tells what matters.
  ::prctl(PR_SET_NAME, "rayx-watchdog");
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // Second to the pidfd, for kernels and filters without it.
  if (::getppid() != guarded) ::_exit(0);
  for (int fd = 3; fd < 256; ++fd) {
    if (fd != pidfd) ::close(fd);
  }
  if (wait_for_end(pidfd, guarded, std::int64_t{timeout_s} * 1000)) ::_exit(0);

  ::prctl(PR_SET_PDEATHSIG, 0);  // From here on the test's death must not stop us from ending its descendants.
  dump_tree(guarded, mark, timeout_s);
  kill_tree(guarded, mark);
  std::fprintf(stderr, "rayx: watchdog: killed test process %d and all that it had started\n",
               static_cast<int>(guarded));
  ::_exit(1);
}

}  // namespace

void write_stacks(pid_t pid) {
  std::fprintf(stderr, "rayx: stacks of process %d\n", static_cast<int>(pid));
  if (const char* const gdb = find_gdb()) dump_stacks(gdb, pid, kGdbLimit_ms);
}

int Watchdog::timeout_from_environment_s() {
  const char* text = std::getenv("RAYX_TEST_TIMEOUT_S");
  if (text == nullptr || *text == '\0') return kTestTimeoutDefault_s;
  const std::string_view view = text;
  int value = 0;
  auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  if (error != std::errc{} || end != view.data() + view.size() || value < 0) {
    std::fprintf(stderr, "rayx: RAYX_TEST_TIMEOUT_S is '%s'; give whole seconds, or 0 for no limit\n", text);
    std::exit(2);
  }
  return value;
}

Watchdog::Watchdog(int timeout_s) {
  if (timeout_s == 0) return;
  guarded_ = ::getpid();
  const std::string mark = std::to_string(guarded_) + "." + std::to_string(base::SteadyClock().now_ns());
  ::setenv(kTreeVariable, mark.c_str(), 1);
  ::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);  // gdb is no ancestor of ours; yama would refuse it. Fails without yama.
  std::fflush(nullptr);
  // Opened before the fork: whatever happens to us afterwards, the watchdog cannot take another process for us.
  const int pidfd = open_pidfd(guarded_);
  // A plain fork but for the exit signal, which is none: wait() for any child and SIGCHLD are the test's own.
  pid_ = static_cast<pid_t>(::syscall(SYS_clone, 0, nullptr, nullptr, nullptr, nullptr));
  RAYX_CHECK(pid_ >= 0, "clone failed for the watchdog:", std::strerror(errno));
  if (pid_ == 0) run_watchdog(guarded_, pidfd, timeout_s, mark);
  if (pidfd >= 0) ::close(pidfd);
}

Watchdog::~Watchdog() {
  if (pid_ <= 0 || ::getpid() != guarded_) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, __WCLONE);
}

}  // namespace rayx::kit
