// How a process ended, as the kernel told it to the one who reaped it.
#pragma once

#include <csignal>
#include <string>

namespace rayx::process {

struct ExitStatus {
  // kUnknown: the process is gone for sure, but somebody else took its status (a host's wait(-1), or init after the fork
  // server was killed).
  enum class Kind { kUnknown, kExited, kSignaled };
  Kind kind = Kind::kUnknown;
  int value = 0;  // the exit code, or the signal
  bool core_dumped = false;

  bool clean() const { return kind == Kind::kExited && value == 0; }
};

ExitStatus exit_status_of(const siginfo_t& info);

// "exited with code 3", "was killed by signal 11 (SIGSEGV, Segmentation fault)", "ended; nobody knows how: …".
std::string describe(const ExitStatus& status);

}  // namespace rayx::process
