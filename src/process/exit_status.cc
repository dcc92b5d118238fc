#include "process/exit_status.hpp"

#include <sys/wait.h>

#include <cstring>

#include "base/format.hpp"

namespace rayx::process {

ExitStatus exit_status_of(const siginfo_t& info) {
  switch (info.si_code) {
    case CLD_EXITED: return {.kind = ExitStatus::Kind::kExited, .value = info.si_status};
    case CLD_KILLED: return {.kind = ExitStatus::Kind::kSignaled, .value = info.si_status};
    case CLD_DUMPED: return {.kind = ExitStatus::Kind::kSignaled, .value = info.si_status, .core_dumped = true};
    default: return {};
  }
}

std::string describe(const ExitStatus& status) {
  switch (status.kind) {
    case ExitStatus::Kind::kExited: return base::format("exited with code {}", status.value);
    case ExitStatus::Kind::kSignaled: {
      const char* name = ::sigabbrev_np(status.value);
      const char* text = ::sigdescr_np(status.value);
      return base::format("was killed by signal {} (SIG{}, {}){}", status.value, name ? name : "?", text ? text : "?",
                          status.core_dumped ? ", core dumped" : "");
    }
    case ExitStatus::Kind::kUnknown: break;
  }
  return "ended; its exit status was taken by someone else";
}

}  // namespace rayx::process
