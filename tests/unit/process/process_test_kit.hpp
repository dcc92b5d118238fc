// What the tests of processes share: events that are recorded, waits with a deadline, and a look at /proc.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "process/fork_server.hpp"
#include "process/pidfd.hpp"

#include "base/deadline.hpp"

namespace rayx::process::test {

using namespace std::chrono_literals;
inline constexpr auto kPatience = 10s;  // for things that take milliseconds, on a busy machine

struct Recorder final : ForkServerEvents {
  bool ready = false;
  bool forks = false;
  std::map<std::uint64_t, WorkerStarted> started;
  std::map<std::uint64_t, std::string> failed;
  std::map<std::uint64_t, WorkerExit> exited;
  std::vector<ServerExit> server_exits;

  void on_server_ready(pid_t, bool server_forks) override { ready = true, forks = server_forks; }
  void on_worker_started(WorkerStarted worker) override {
    const std::uint64_t slot = worker.slot;
    started.insert_or_assign(slot, std::move(worker));
  }
  void on_worker_failed(std::uint64_t slot, Error error) override { failed[slot] = error.message; }
  void on_worker_exit(const WorkerExit& exit) override { exited.insert_or_assign(exit.slot, exit); }
  void on_server_exit(const ServerExit& exit) override { server_exits.push_back(exit); }
};

template <class Done>
bool pump(ForkServer& server, Recorder& events, Done done, std::chrono::milliseconds timeout = kPatience) {
  const base::Deadline deadline(timeout);
  while (!done()) {
    const int left = deadline.left_ms();
    if (left == 0) return false;
    pollfd entry{server.poll_fd(), POLLIN, 0};
    ::poll(&entry, 1, left);
    server.handle_readable(events);
  }
  return true;
}

// Until end of file, or until `until` was read.
inline std::string read_text(int fd, const std::string& until = {}) {
  std::string text;
  const base::Deadline deadline(kPatience);
  while (!deadline.has_passed()) {
    pollfd entry{fd, POLLIN, 0};
    ::poll(&entry, 1, 1000);
    char buffer[4096];
    const ssize_t bytes = ::read(fd, buffer, sizeof(buffer));
    if (bytes == 0) return text;
    if (bytes < 0 && errno != EAGAIN && errno != EINTR) return text;
    if (bytes > 0) text.append(buffer, static_cast<std::size_t>(bytes));
    if (!until.empty() && text.find(until) != std::string::npos) return text;
  }
  return text + "<read_text: time-out>";
}

inline bool wait_for_end(int pidfd, std::chrono::milliseconds timeout = kPatience) {
  pollfd entry{pidfd, POLLIN, 0};
  return ::poll(&entry, 1, static_cast<int>(timeout.count())) == 1;
}

inline std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Processes whose environment holds `marker`. A zombie has no environment: look for those with waitid.
inline std::set<pid_t> marked_processes(const std::string& marker) {
  std::set<pid_t> found;
  DIR* proc = ::opendir("/proc");
  while (const dirent* entry = ::readdir(proc)) {
    const pid_t pid = std::atoi(entry->d_name);
    if (pid > 0 && slurp("/proc/" + std::string(entry->d_name) + "/environ").find(marker) != std::string::npos) {
      found.insert(pid);
    }
  }
  ::closedir(proc);
  return found;
}

// True when none of `pids` is left. Each wait is on a pidfd.
inline bool all_end(const std::set<pid_t>& pids) {
  for (const pid_t pid : pids) {
    const base::UniqueFd pidfd = open_pidfd(pid);
    if (pidfd && !wait_for_end(pidfd.get())) return false;
  }
  return true;
}

inline bool has_children() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

inline std::string unique_marker() {
  return "RAYX_TEST_MARKER=" + std::to_string(::getpid()) + "-" + std::to_string(base::SteadyClock().now_ns());
}

}  // namespace rayx::process::test
