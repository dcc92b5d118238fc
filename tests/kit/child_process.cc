#include "kit/child_process.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <utility>

#include "base/check.hpp"
#include "base/clock.hpp"

namespace rayx::kit {
namespace {

// Failures that the child inherited from its parent's test are not the child's.
int count_failures() {
  const ::testing::TestInfo* test = ::testing::UnitTest::GetInstance()->current_test_info();
  if (test == nullptr) return 0;
  int failures = 0;
  for (int i = 0; i < test->result()->total_part_count(); ++i)
    failures += test->result()->GetTestPartResult(i).failed();
  return failures;
}

[[noreturn]] void run_child(const ChildProcess::Body& body, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(0);  // The parent died before the line above took effect.
  const int failures_before = count_failures();
  int code = ChildProcess::kExitException;
  try {
    code = body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rayx: child process %d ended with an exception: %s\n", static_cast<int>(::getpid()),
                 error.what());
  } catch (...) {
    std::fprintf(stderr, "rayx: child process %d ended with an exception that is no std::exception\n",
                 static_cast<int>(::getpid()));
  }
  if (count_failures() != failures_before) code = ChildProcess::kExitExpectation;
  std::fflush(nullptr);
  ::_exit(code);
}

}  // namespace

bool ExitStatus::exited_with(int code) const { return WIFEXITED(wait_status_) && WEXITSTATUS(wait_status_) == code; }

bool ExitStatus::killed_by(int signal_number) const {
  return WIFSIGNALED(wait_status_) && WTERMSIG(wait_status_) == signal_number;
}

std::string ExitStatus::text() const {
  if (WIFEXITED(wait_status_)) return "exited with " + std::to_string(WEXITSTATUS(wait_status_));
  const int number = WTERMSIG(wait_status_);
  return "killed by signal " + std::to_string(number) + " (" + ::strsignal(number) + ")";
}

ChildProcess::ChildProcess(const Body& body) {
  std::fflush(nullptr);  // Or the child would print the parent's buffered lines once more.
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  RAYX_CHECK(pid_ >= 0, "fork failed in a test:", std::strerror(errno));
  if (pid_ == 0) run_child(body, parent);
  pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  RAYX_CHECK(pidfd_ >= 0, "pidfd_open failed for a test's child:", pid_, std::strerror(errno));
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::exchange(other.pidfd_, -1)), status_(other.status_) {}

ChildProcess::~ChildProcess() {
  if (pidfd_ < 0) return;
  kill(SIGKILL);
  if (!wait(std::chrono::seconds(10))) {
    std::fprintf(stderr, "rayx: child process %d does not end 10 s after SIGKILL; it hangs in the kernel\n", pid_);
  }
  ::close(pidfd_);
}

bool ChildProcess::kill(int signal_number) { return !status_ && ::kill(pid_, signal_number) == 0; }

std::optional<ExitStatus> ChildProcess::wait(std::chrono::milliseconds limit) {
  if (status_) return status_;
  const base::SteadyClock clock;
  const base::TimeNs deadline_ns = clock.now_ns() + std::chrono::nanoseconds(limit).count();
  while (true) {
    const base::TimeNs left_ns = deadline_ns - clock.now_ns();
    pollfd ended{.fd = pidfd_, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&ended, 1, left_ns > 0 ? static_cast<int>((left_ns + 999'999) / 1'000'000) : 0);
    if (ready > 0) break;
    RAYX_CHECK(ready == 0 || errno == EINTR, "poll on a pidfd failed:", std::strerror(errno));
    if (left_ns <= 0) return std::nullopt;
  }
  int wait_status = 0;
  pid_t reaped = 0;
  do {
    reaped = ::waitpid(pid_, &wait_status, 0);
  } while (reaped < 0 && errno == EINTR);
  RAYX_CHECK(reaped == pid_, "somebody else waited for the test's child", pid_, std::strerror(errno));
  status_ = ExitStatus(wait_status);
  return status_;
}

std::string ChildProcess::text() const {
  return "pid " + std::to_string(pid_) + " " + (status_ ? status_->text() : "still runs");
}

}  // namespace rayx::kit
