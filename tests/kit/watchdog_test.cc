// The watchdog: a program that hangs is ended with a dump, and nothing is left behind in any case.
#include "kit/watchdog.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include "base/check.hpp"
#include "base/clock.hpp"
#include "kit/child_process.hpp"

namespace rayx::kit {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr std::int64_t kPatience_ms = 60'000;  // gdb under load takes seconds

// Runs one test of the program hang_on_purpose and reads all that it and its processes print.
class HangProgram {
 public:
  HangProgram(const std::string& test, int timeout_s)
      : program_(require_program()), pipe_(), child_([&] {
          ::dup2(pipe_.fds[1], STDOUT_FILENO);
          ::dup2(pipe_.fds[1], STDERR_FILENO);
          ::setenv("RAYX_TEST_TIMEOUT_S", std::to_string(timeout_s).c_str(), 1);
          const std::string filter = "--gtest_filter=HangOnPurpose." + test;
          ::execl(program_.c_str(), program_.c_str(), filter.c_str(), nullptr);
          return 127;
        }) {
    ::close(pipe_.fds[1]);
  }
  ~HangProgram() { ::close(pipe_.fds[0]); }

  ChildProcess& process() { return child_; }
  const std::string& output() const { return output_; }

  // Reads until `text` appears in the output.
  bool read_until(const std::string& text) {
    return read([&] { return output_.find(text) != std::string::npos; }) && output_.find(text) != std::string::npos;
  }

  // Reads to the end, which comes when the last process that holds the program's output is gone: watchdog included.
  bool read_to_end() {
    return read([] { return false; });
  }

  // The pid that the program printed as `role=pid`.
  pid_t announced(const std::string& role) const {
    const std::size_t at = output_.find(role + "=");
    return at == std::string::npos ? -1 : std::atoi(output_.c_str() + at + role.size() + 1);
  }

 private:
  struct Pipe {
    Pipe() { RAYX_CHECK(::pipe2(fds, O_CLOEXEC) == 0, "no pipe for a test", errno); }
    int fds[2];
  };

  static std::string require_program() {
    const char* program = std::getenv("RAYX_KIT_HANG");
    RAYX_CHECK(program != nullptr, "RAYX_KIT_HANG must name the program hang_on_purpose; run this through meson test");
    return program;
  }

  template <class Done>
  bool read(Done done) {
    const base::SteadyClock clock;
    const std::int64_t deadline_ms = clock.now_ns() / 1'000'000 + kPatience_ms;
    while (!done()) {
      const std::int64_t left_ms = deadline_ms - clock.now_ns() / 1'000'000;
      if (left_ms <= 0) return false;
      pollfd readable{.fd = pipe_.fds[0], .events = POLLIN, .revents = 0};
      if (::poll(&readable, 1, static_cast<int>(left_ms)) <= 0) continue;
      char buffer[4096];
      const ssize_t count = ::read(pipe_.fds[0], buffer, sizeof buffer);
      if (count <= 0) return true;
      output_.append(buffer, static_cast<std::size_t>(count));
    }
    return true;
  }

  std::string program_;
  Pipe pipe_;
  ChildProcess child_;
  std::string output_;
};

// True if the process has died, be it a zombie. Its files are closed a moment before that, so this waits.
bool is_gone(pid_t pid) {
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) return errno == ESRCH;
  pollfd ended{.fd = pidfd, .events = POLLIN, .revents = 0};
  const bool gone = ::poll(&ended, 1, 10'000) > 0;
  ::close(pidfd);
  return gone;
}

TEST(Watchdog, EndsAHangingTestWithItsStacks) {
  HangProgram program("WithChild", 1);
  ASSERT_TRUE(program.read_to_end()) << "somebody still holds the output:\n" << program.output();
  const auto status = program.process().wait(seconds(10));
  ASSERT_TRUE(status);
  EXPECT_TRUE(status->killed_by(SIGKILL)) << status->text();
  const pid_t child = program.announced("child");
  ASSERT_GT(child, 0) << program.output();
  EXPECT_TRUE(is_gone(child));
  EXPECT_THAT(program.output(), HasSubstr("still runs after 1 s"));
  EXPECT_THAT(program.output(), HasSubstr("process " + std::to_string(program.process().pid()) + " (kit_hang)"));
  EXPECT_THAT(program.output(), HasSubstr("process " + std::to_string(child) + " (kit_hang)"));
  EXPECT_THAT(program.output(), HasSubstr("waits in "));
  if (::access("/usr/bin/gdb", X_OK) != 0 && ::access("/usr/local/bin/gdb", X_OK) != 0) {
    GTEST_SKIP() << "no gdb here, so the dump has no stacks; ./dev setup installs it";
  }
  EXPECT_THAT(program.output(), HasSubstr("wait_for_ever_on_purpose"));
  EXPECT_THAT(program.output(), HasSubstr("child_waits_on_purpose")) << "the child's stack is missing";
}

TEST(Watchdog, KillsAnOrphanByItsMark) {
  HangProgram program("WithOrphan", 1);
  ASSERT_TRUE(program.read_to_end()) << "somebody still holds the output:\n" << program.output();
  const pid_t orphan = program.announced("orphan");
  ASSERT_GT(orphan, 0) << program.output();
  EXPECT_TRUE(is_gone(orphan));
}

TEST(Watchdog, IsGoneWhenTheProgramEnds) {
  struct Case {
    const char* test;
    int exit_code;
    int signal;
  };
  for (const Case& expected : {Case{"EndsAtOnce", 0, 0}, Case{"Aborts", -1, SIGABRT}, Case{"CallsExit", 7, 0}}) {
    SCOPED_TRACE(expected.test);
    HangProgram program(expected.test, 1000);
    ASSERT_TRUE(program.read_to_end()) << "the watchdog still holds the output:\n" << program.output();
    const auto status = program.process().wait(seconds(10));
    ASSERT_TRUE(status);
    EXPECT_TRUE(expected.signal != 0 ? status->killed_by(expected.signal) : status->exited_with(expected.exit_code))
        << status->text() << "\n"
        << program.output();
    EXPECT_THAT(program.output(), Not(HasSubstr("watchdog")));
  }
}

TEST(Watchdog, IsGoneWhenTheProgramIsKilled) {
  HangProgram program("WithChild", 1000);
  ASSERT_TRUE(program.read_until("ready=")) << program.output();
  ASSERT_TRUE(program.process().kill(SIGKILL));
  EXPECT_TRUE(program.read_to_end()) << "the watchdog or the child outlived the program:\n" << program.output();
  EXPECT_TRUE(is_gone(program.announced("child")));
}

TEST(Watchdog, IsNoChildForWait) {
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD) << "this program has a watchdog, but no child that wait() sees";
}

TEST(WatchdogDeathTest, RefusesATimeoutThatIsNoNumber) {
  EXPECT_EXIT(
      {
        ::setenv("RAYX_TEST_TIMEOUT_S", "soon", 1);
        Watchdog::timeout_from_environment_s();
      },
      ::testing::ExitedWithCode(2), "rayx: RAYX_TEST_TIMEOUT_S is 'soon'");
}

}  // namespace
}  // namespace rayx::kit
