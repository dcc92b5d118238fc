// Starts this program again: the same file, the same arguments, clean signals, a process group of its own, stdin from
// /dev/null, and no descriptor except stdout, stderr and one control socket.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include <rayx/result.hpp>

#include "process/unique_fd.hpp"

namespace rayx::process {

inline constexpr int kControlFd = 3;                                           // in the child
inline constexpr const char* kTakeOverVariable = "RAYX_INTERNAL_FORK_SERVER";  // "<fd>:<nonce in hex>"

struct SpawnSelf {
  int control = -1;
  int out = -1;
  int err = -1;
  std::uint64_t nonce = 0;
  std::vector<std::string> env;  // "NAME=value", over those of this process
};

// Any thread. errno of the failed step is in `*error_number`, where the caller wants to word the message itself.
Result<pid_t> spawn_self(const SpawnSelf& request, int* error_number = nullptr);

// What a failed fork, pipe or exec means, and what to do about it.
Error describe_spawn_error(const char* tried, int error_number);

std::uint64_t random_word();

struct Pipe {
  UniqueFd read_end;   // non-blocking, close-on-exec
  UniqueFd write_end;  // blocking, close-on-exec
};
Result<Pipe> make_pipe(int* error_number = nullptr);

}  // namespace rayx::process
