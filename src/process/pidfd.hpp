// System calls that the C library may not wrap, or that a seccomp filter may refuse.
#pragma once

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>

#include "base/unique_fd.hpp"

namespace rayx::process {

// Empty (errno: ENOSYS or EPERM) where the kernel or a seccomp filter has no pidfd; ESRCH if there is no such process.
inline base::UniqueFd open_pidfd(pid_t pid) {
  return base::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

inline bool kill_by_pidfd(int pidfd, int signal) {
  return ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0;
}

// True when the process behind the pidfd has ended: no thread of it runs any more and its memory is released.
bool has_ended(int pidfd);

}  // namespace rayx::process
