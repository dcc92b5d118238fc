// Real crashes of real processes; the report is read in the parent.
#include "observe/crash_report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "kit/sanitized.hpp"

// A user's functions: not in a namespace of ours, which would be left out, and not inlined.
namespace shop {

[[gnu::noinline]] void crash_by_null(volatile int* where) { *where = 1; }
[[gnu::noinline]] void crash_by_abort() { std::abort(); }
[[gnu::noinline]] void crash_by_throw() { throw std::runtime_error("nobody catches this"); }
[[gnu::noinline]] void crash_by_trap() { __builtin_trap(); }
[[gnu::noinline]] void crash_by_breakpoint() { asm volatile("int3"); }
volatile int number = 0;
volatile int forever = 1;
__attribute__((noinline, no_sanitize("undefined"))) void crash_by_division() { number = 100 / number; }
[[gnu::noinline]] int crash_by_overflow(int depth) {
  volatile char room[1024];
  room[0] = static_cast<char>(depth);
  return (forever ? crash_by_overflow(depth + 1) : 0) + room[0];
}
[[gnu::noinline]] void outer_function(void (*crash)()) {
  crash();
  asm volatile("");  // no tail call
}
}  // namespace shop

namespace rayx::observe {
namespace {

using namespace shop;  // NOLINT: the tests read as the reports do

using ::testing::HasSubstr;
using ::testing::Not;

struct Outcome {
  int status = 0;
  std::optional<Crash> crash;
  std::string text;
};

CrashReport* shared_report() {
  void* page = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return static_cast<CrashReport*>(page);
}

Outcome run(void (*crash)(), bool in_thread = false) {
  CrashReport* report = shared_report();
  const pid_t pid = ::fork();
  if (pid == 0) {
    rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    ::alarm(20);
    install_crash_handler(report, 42);
    if (in_thread) {
      std::thread([&] {
        use_alternate_signal_stack();
        outer_function(crash);
      }).join();
    } else {
      outer_function(crash);
    }
    ::_exit(0);
  }
  Outcome outcome;
  ::waitpid(pid, &outcome.status, 0);
  outcome.crash = read_crash_report(*report, 42);
  EXPECT_FALSE(read_crash_report(*report, 43)) << "an older generation's report was taken";
  if (outcome.crash) {
    EXPECT_EQ(outcome.crash->pid, pid);
    outcome.text = describe(*outcome.crash);
  }
  ::munmap(report, 8192);
  return outcome;
}

void expect_crash(const Outcome& outcome, int signal, const char* function) {
  if (!kit::kIsSanitized) {  // sanitizers end the process their own way after our report
    EXPECT_TRUE(WIFSIGNALED(outcome.status) && WTERMSIG(outcome.status) == signal) << outcome.status;
  }
  ASSERT_TRUE(outcome.crash);
  EXPECT_EQ(outcome.crash->signal, signal);
  EXPECT_THAT(outcome.text, HasSubstr(function));
  EXPECT_THAT(outcome.text, Not(HasSubstr("handle_crash")));
  EXPECT_THAT(outcome.text, Not(HasSubstr("restore_rt")));
}

TEST(CrashReport, NullPointer) {
  const Outcome outcome = run([] { crash_by_null(reinterpret_cast<int*>(16)); });
  expect_crash(outcome, SIGSEGV, "   1. shop::crash_by_null");
  EXPECT_THAT(outcome.text, HasSubstr("null pointer (address 0x10)"));
  EXPECT_THAT(outcome.text, HasSubstr("outer_function"));
#ifdef RAYX_TEST_EXPECT_LINES
  EXPECT_THAT(outcome.text, HasSubstr("crash_report_test.cc:"));
#endif
}

TEST(CrashReport, Abort) { expect_crash(run(crash_by_abort), SIGABRT, "   1. shop::crash_by_abort"); }
TEST(CrashReport, UncaughtException) {
  expect_crash(run([] { std::thread(crash_by_throw).join(); }), SIGABRT, "crash_by_throw");
}
TEST(CrashReport, IllegalInstruction) { expect_crash(run(crash_by_trap), SIGILL, "crash_by_trap"); }
TEST(CrashReport, Breakpoint) { expect_crash(run(crash_by_breakpoint), SIGTRAP, "crash_by_breakpoint"); }
TEST(CrashReport, Division) {
  const Outcome outcome = run([] { crash_by_division(); });
  expect_crash(outcome, SIGFPE, "crash_by_division");
  EXPECT_THAT(outcome.text, HasSubstr("integer division by zero"));
}
TEST(CrashReport, StackOverflow) {
  if (kit::kIsSanitized) GTEST_SKIP() << "TSan's handler has no stack of its own";
  const Outcome outcome = run([] { crash_by_overflow(0); });
  expect_crash(outcome, SIGSEGV, "crash_by_overflow");
  EXPECT_THAT(outcome.text, HasSubstr("more"));
}
TEST(CrashReport, StackOverflowInAThread) {
  if (kit::kIsSanitized) GTEST_SKIP() << "TSan's handler has no stack of its own";
  expect_crash(run([] { crash_by_overflow(0); }, true), SIGSEGV, "crash_by_overflow");
}
TEST(CrashReport, CallOfAWildPointer) {
  const Outcome outcome = run([] {
    volatile std::uintptr_t nowhere = 64;
    reinterpret_cast<void (*)()>(nowhere)();
    asm volatile("");
  });
  expect_crash(outcome, SIGSEGV, "outer_function");
}
TEST(CrashReport, RaisedByAnotherProcess) {
  const Outcome outcome = run([] {
    ::kill(::getpid(), SIGSEGV);
    asm volatile("");
  });
  expect_crash(outcome, SIGSEGV, "outer_function");
  EXPECT_THAT(outcome.text, Not(HasSubstr("address")));
}

TEST(CrashReport, SigkillLeavesNone) {
  const Outcome outcome = run([] { ::kill(::getpid(), SIGKILL); });
  EXPECT_TRUE(WIFSIGNALED(outcome.status));
  EXPECT_FALSE(outcome.crash);
}

TEST(CrashReport, TheUsersLaterHandlerWins) {
  const Outcome outcome = run([] {
    ::signal(SIGSEGV, [](int) { ::_exit(33); });
    crash_by_null(nullptr);
  });
  EXPECT_TRUE(WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 33);
  EXPECT_FALSE(outcome.crash);
}

TEST(CrashReport, AnEarlierHandlerRunsAfterTheReport) {
  CrashReport* report = shared_report();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::signal(SIGSEGV, [](int) { ::_exit(34); });
    install_crash_handler(report, 1);
    crash_by_null(nullptr);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 34) << status;
  EXPECT_TRUE(read_crash_report(*report, 1));
  ::munmap(report, 8192);
}

TEST(CrashReport, TwoThreadsAtOnce) {
  const Outcome outcome = run([] {
    std::thread other([] { crash_by_null(nullptr); });
    crash_by_null(nullptr);
    other.join();
  });
  expect_crash(outcome, SIGSEGV, "crash_by_null");
}

TEST(CrashReport, DamagedReportsAreSurvived) {
  CrashReport* report = shared_report();
  std::memset(static_cast<void*>(report), 0xff, sizeof(*report));
  EXPECT_FALSE(read_crash_report(*report, ~0u));
  report->version = kCrashReportVersion;
  report->stage.store(CrashReport::kFramesKnown);
  const std::optional<Crash> crash = read_crash_report(*report, ~0u);
  ASSERT_TRUE(crash);
  EXPECT_EQ(crash->frames.size(), static_cast<std::size_t>(kCrashFramesMax));
  EXPECT_FALSE(describe(*crash).empty());
  ::munmap(report, 8192);
}

}  // namespace
}  // namespace rayx::observe
