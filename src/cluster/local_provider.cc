#include "cluster/local_provider.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/format.hpp"
#include "process/spawn_self.hpp"

namespace rayx::cluster {

LocalProvider::~LocalProvider() {
  for (auto& [id, process] : processes_) process.input.reset();
  for (auto& [id, process] : processes_) {
    look(process);
    if (process.pid < 0) continue;
    ::kill(process.pid, SIGKILL);
    ::waitpid(process.pid, nullptr, 0);
  }
}

Result<NodeSubmission> LocalProvider::submit(const NodeRequest& request) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return process::describe_spawn_error("making a pipe for a node", errno);
  base::UniqueFd theirs(ends[0]);
  base::UniqueFd ours(ends[1]);
  base::UniqueFd log(::memfd_create("rayx-node-log", MFD_CLOEXEC));
  if (!log) return process::describe_spawn_error("making room for a node's log", errno);
  ::fcntl(log.get(), F_SETFL, O_APPEND);
  // All of it fits into an empty pipe.
  if (request.input.size() > 4096 ||
      ::write(ours.get(), request.input.data(), request.input.size()) != static_cast<ssize_t>(request.input.size()))
    return Error{ErrorCode::kSystemError, "rayx: a node could not be given its input"};
  process::SpawnSelf spawn{.role = {},
                           .in = theirs.get(),
                           .control = -1,
                           .out = log.get(),
                           .err = log.get(),
                           .nonce = 0,
                           .env = {},
                           .program = {}};
  for (const auto& [name, value] : request.environment) {
    if (name == process::kRoleVariable) {
      spawn.role = value;
    } else {
      spawn.env.push_back(name + '=' + value);
    }
  }
  const Result<pid_t> pid = process::spawn_self(spawn);
  if (!pid) return pid.error();
  const std::string id = base::format("{}.{}", *pid, ++started_);
  processes_[id] = {*pid, std::move(ours), std::move(log), -1, {}};
  return NodeSubmission{id};
}

void LocalProvider::look(Process& process) {
  if (process.pid < 0) return;
  int status = 0;
  const pid_t ended = ::waitpid(process.pid, &status, WNOHANG);
  if (ended == 0 || (ended < 0 && errno == EINTR)) {
    if (process.killed_at >= 0 && clock_.now_ns() - process.killed_at >= kKillPatienceNs) ::kill(process.pid, SIGKILL);
    return;
  }
  process.pid = -1;
  process.input.reset();
  process.how_it_ended = WIFSIGNALED(status) ? base::format("its process was ended by signal {}", WTERMSIG(status))
                                             : base::format("its process ended with {}", WEXITSTATUS(status));
  constexpr std::size_t kShown = 2'000;
  const std::string tail = tail_of(process, kShown);
  if (!tail.empty()) process.how_it_ended += "; it said last: " + tail;
}

Result<NodeStatus> LocalProvider::status(const std::string& id) {
  const auto found = processes_.find(id);
  if (found == processes_.end()) return Error{ErrorCode::kNotFound, "rayx: there is no such node: " + id};
  look(found->second);
  struct stat log {};
  if (::fstat(found->second.log.get(), &log) == 0 && log.st_size > static_cast<off_t>(kLogBytesMax))
    static_cast<void>(!::ftruncate(found->second.log.get(), 0));
  if (found->second.pid < 0) return NodeStatus{NodeState::kEnded, "", found->second.how_it_ended};
  return NodeStatus{NodeState::kRunning, "", "its process has to start"};
}

Result<void> LocalProvider::kill(const std::string& id) {
  const auto found = processes_.find(id);
  if (found == processes_.end() || found->second.pid < 0) return {};
  Process& process = found->second;
  if (process.killed_at < 0) {
    process.killed_at = clock_.now_ns();
    ::kill(process.pid, SIGTERM);
  }
  return {};
}

std::string LocalProvider::tail_of(const Process& process, std::size_t bytes_max) {
  struct stat status {};
  if (::fstat(process.log.get(), &status) != 0 || status.st_size <= 0) return "";
  const off_t from = std::max<off_t>(0, status.st_size - static_cast<off_t>(bytes_max));
  std::string text(static_cast<std::size_t>(status.st_size - from), '\0');
  const ssize_t got = ::pread(process.log.get(), text.data(), text.size(), from);
  text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

Result<std::string> LocalProvider::logs(const std::string& id) {
  const auto found = processes_.find(id);
  if (found == processes_.end()) return Error{ErrorCode::kNotFound, "rayx: there is no such node: " + id};
  return tail_of(found->second, kLogBytesMax);
}

void LocalProvider::forget(const std::string& id) {
  const auto found = processes_.find(id);
  if (found != processes_.end() && found->second.pid < 0) processes_.erase(found);
}

}  // namespace rayx::cluster
