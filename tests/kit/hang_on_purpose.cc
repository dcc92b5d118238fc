// Started by watchdog_test.cc only: tests that hang, end, or crash, so that the watchdog can be watched.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "kit/child_process.hpp"

// Their names are looked for in the dump. The empty asm keeps the call from becoming a jump.
[[gnu::noinline]] void wait_for_ever_on_purpose() {
  while (true) {
    ::pause();
    asm volatile("");
  }
}

[[gnu::noinline]] int child_waits_on_purpose() {
  wait_for_ever_on_purpose();
  asm volatile("");
  return 0;
}

namespace {

// One line for each process that must be gone afterwards.
void announce(const char* role, pid_t pid) {
  std::printf("%s=%d\n", role, static_cast<int>(pid));
  std::fflush(stdout);
}

TEST(HangOnPurpose, WithChild) {
  rayx::kit::ChildProcess child(child_waits_on_purpose);
  announce("child", child.pid());
  announce("ready", ::getpid());
  wait_for_ever_on_purpose();
}

// The grandchild loses its parent and has a session of its own: only the mark in its environment tells whose it is.
TEST(HangOnPurpose, WithOrphan) {
  rayx::kit::ChildProcess parent([] {
    ::setsid();
    const pid_t orphan = ::fork();
    if (orphan == 0) {
      ::execl("/bin/sleep", "sleep", "1000", nullptr);
      ::_exit(127);
    }
    announce("orphan", orphan);
    return 0;
  });
  ASSERT_TRUE(parent.wait(std::chrono::seconds(10)));
  announce("ready", ::getpid());
  wait_for_ever_on_purpose();
}

TEST(HangOnPurpose, EndsAtOnce) {}

TEST(HangOnPurpose, Aborts) { std::abort(); }

TEST(HangOnPurpose, CallsExit) { std::exit(7); }

}  // namespace
