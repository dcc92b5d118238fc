// Ends a test program that hangs, and says where: a process of its own, so it works however stuck the program is.
//
// After the time-out it writes a stack of every process of the program's tree to stderr (through gdb if that is there,
// and from /proc) and kills the whole tree. It holds nothing and leaves nothing behind: it ends when the program ends,
// however that happens. To the program it is no child in the sense of wait(): waitpid(-1) and SIGCHLD do not see it.
#pragma once

#include <sys/types.h>

namespace rayx::kit {

inline constexpr int kTestTimeoutDefault_s = 100;

// For a test that finds out by itself that a program hangs: where its threads are, on stderr (through gdb, if that is there).
void write_stacks(pid_t pid);

class Watchdog {
 public:
  // Starts the watchdog for the calling process. Call it first in main, while there is one thread. 0 s: no watchdog.
  explicit Watchdog(int timeout_s);
  // Ends the watchdog, unless this is a forked copy of the process that started it.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // RAYX_TEST_TIMEOUT_S, or the default. A value that is no number ends the program with status 2.
  static int timeout_from_environment_s();

 private:
  pid_t guarded_ = -1;
  pid_t pid_ = -1;
};

}  // namespace rayx::kit
