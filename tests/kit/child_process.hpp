// A child process that runs a function, for tests that kill, crash or fork. Never outlives the test.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <optional>
#include <string>

namespace rayx::kit {

// How a process ended.
class ExitStatus {
 public:
  explicit ExitStatus(int wait_status) : wait_status_(wait_status) {}

  bool exited_with(int code) const;
  bool killed_by(int signal_number) const;
  // "exited with 3", "killed by signal 9 (Killed)": for failure messages.
  std::string text() const;

 private:
  int wait_status_;
};

class ChildProcess {
 public:
  using Body = std::function<int()>;

  // The child's status when the body threw, and when a gtest expectation failed in it. Both are printed by the child.
  static constexpr int kExitException = 70;
  static constexpr int kExitExpectation = 71;

  // Forks. The child runs `body` and ends with `_exit` of what it returns: no destructors, no atexit, no gtest summary.
  // The kernel kills the child when the *thread* that called this ends, so call it from one that stays. Fork before you
  // start threads wherever a sanitizer build is to run the test.
  explicit ChildProcess(const Body& body);
  ~ChildProcess();  // kills it if it still runs
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;

  pid_t pid() const { return pid_; }

  // Sends the signal. False if the child has been waited for already.
  bool kill(int signal_number = SIGKILL);

  // Waits until the child has ended and reaps it; nothing if it still runs after `limit`. Asking again gives the same.
  std::optional<ExitStatus> wait(std::chrono::milliseconds limit);

  // "pid 17 still runs", "pid 17 exited with 0".
  std::string text() const;

 private:
  pid_t pid_ = -1;
  int pidfd_ = -1;
  std::optional<ExitStatus> status_;
};

}  // namespace rayx::kit
