#include "kit/program.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>

#include "base/check.hpp"
#include "base/clock.hpp"
#include "base/deadline.hpp"
#include "kit/eventually.hpp"
#include "kit/network_namespace.hpp"
#include "kit/process_tree.hpp"

extern char** environ;

namespace rayx::kit {
namespace {

std::string make_mark() {
  static int count = 0;
  return "RAYX_KIT_PROGRAM=" + std::to_string(::getpid()) + "-" + std::to_string(base::SteadyClock().now_ns()) + "-" +
         std::to_string(++count);
}

bool carries(pid_t pid, const std::string& mark) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/environ", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return text.find(mark) != std::string::npos;
}

// Of this process, those that still exist as objects: what they have started is theirs, even if they themselves have ended.
std::set<const Program*>& live_programs() {
  static std::set<const Program*> programs;
  return programs;
}

}  // namespace

struct Program::Pipes {
  int out[2];
  int err[2];
  Pipes() {
    RAYX_CHECK(::pipe2(out, O_CLOEXEC) == 0 && ::pipe2(err, O_CLOEXEC) == 0,
               "pipe failed in a test:", std::strerror(errno));
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  }
};

Program::Program(const std::string& path, const Options& options) : Program(path, options, Pipes()) {}

Program::Program(const std::string& path, const Options& options, const Pipes& pipes)
    : mark_(make_mark()), patience_(options.patience), child_([&]() -> int {
        ::setpgid(0, 0);
        if (options.network >= 0) NetworkNamespace::enter(options.network);
        const int nothing = ::open("/dev/null", O_RDONLY);
        ::dup2(nothing, 0);
        ::dup2(pipes.out[1], 1);
        ::dup2(pipes.err[1], 2);
        std::vector<std::string> environment = options.environment;
        environment.push_back(mark_);
        for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
        std::vector<std::string> arguments = {path};
        arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
        std::vector<char*> argv;
        std::vector<char*> envp;
        for (std::string& argument : arguments) argv.push_back(argument.data());
        for (std::string& entry : environment) envp.push_back(entry.data());
        argv.push_back(nullptr);
        envp.push_back(nullptr);
        ::execve(path.c_str(), argv.data(), envp.data());
        std::fprintf(stderr, "cannot start %s: %s\n", path.c_str(), std::strerror(errno));
        return 127;
      }) {
  live_programs().insert(this);
  ::setpgid(child_.pid(), child_.pid());  // both do it: neither can be late
  ::close(pipes.out[1]);
  ::close(pipes.err[1]);
  out_.fd = pipes.out[0];
  err_.fd = pipes.err[0];
}

Program::~Program() {
  child_.kill(SIGKILL);
  child_.wait(patience_);
  for (const pid_t pid : descendants()) ::kill(pid, SIGKILL);
  everything_is_gone();
  live_programs().erase(this);
  if (out_.fd >= 0) ::close(out_.fd);
  if (err_.fd >= 0) ::close(err_.fd);
}

void Program::kill_group(int signal_number) { ::kill(-child_.pid(), signal_number); }

template <class Done>
bool Program::read_while(Done done) {
  const base::Deadline deadline(patience_);
  while (!done()) {
    if (deadline.has_passed() || (out_.fd < 0 && err_.fd < 0)) return false;
    pollfd entries[2] = {{out_.fd, POLLIN, 0}, {err_.fd, POLLIN, 0}};
    ::poll(entries, 2, deadline.left_ms());
    Stream* const streams[2] = {&out_, &err_};
    for (int i = 0; i < 2; ++i) {
      if (entries[i].revents == 0) continue;
      char buffer[1 << 16];
      const ssize_t bytes = ::read(streams[i]->fd, buffer, sizeof(buffer));
      if (bytes > 0) streams[i]->text.append(buffer, static_cast<std::size_t>(bytes));
      if (bytes == 0) ::close(std::exchange(streams[i]->fd, -1));
    }
  }
  return true;
}

bool Program::read_until(const std::string& text) {
  return read_while([&] { return out_.text.find(text) != std::string::npos; });
}

bool Program::read_errors_until(const std::string& text) {
  return read_while([&] { return err_.text.find(text) != std::string::npos; });
}

void Program::read_what_is_there() {
  read_while([this] {
    pollfd entries[2] = {{out_.fd, POLLIN, 0}, {err_.fd, POLLIN, 0}};
    return ::poll(entries, 2, 0) <= 0;
  });
}

std::optional<ExitStatus> Program::wait() {
  const bool is_closed = read_while([&] { return out_.fd < 0 && err_.fd < 0; });
  // Not closed: it still runs, or it has ended and something that it started holds its output.
  const std::optional<ExitStatus> status = child_.wait(is_closed ? patience_ : std::chrono::milliseconds(0));
  if (status) read_what_is_there();
  return status;
}

bool Program::has_started(pid_t process) const {
  return process != pid() && process != ::getpid() && carries(process, mark_);
}

std::vector<pid_t> Program::descendants() const {
  std::vector<pid_t> found;
  for (const ProcessInfo& process : list_processes())
    if (has_started(process.pid)) found.push_back(process.pid);
  return found;
}

std::vector<pid_t> Program::descendants(const std::string& name) const {
  std::vector<pid_t> found;
  for (const ProcessInfo& process : list_processes())
    if (process.name == name && has_started(process.pid)) found.push_back(process.pid);
  return found;
}

bool Program::is_alone() const {
  return eventually([this] { return descendants().empty(); }, patience_);
}

bool Program::belongs_to_another(pid_t pid) const {
  return std::any_of(live_programs().begin(), live_programs().end(), [this, pid](const Program* program) {
    return program != this && (program->pid() == pid || carries(pid, program->mark_));
  });
}

bool Program::everything_is_gone() {
  return eventually(
      [this] {
        // Orphans are children of this process now, and those of the test's other programs too, which are not meant.
        for (const ProcessInfo& process : list_processes()) {
          if (process.parent != ::getpid() || process.pid == pid() || belongs_to_another(process.pid)) continue;
          siginfo_t info{};
          if (::waitid(P_PID, static_cast<id_t>(process.pid), &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0)
            return false;
        }
        return descendants().empty();
      },
      patience_);
}

}  // namespace rayx::kit
