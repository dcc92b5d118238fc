// Starts this program again, or one that another host sent: clean signals, a process group of its own, stdin from /dev/null, and
// no descriptor except stdout, stderr and one control socket.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include <rayx/result.hpp>

#include "base/unique_fd.hpp"

namespace rayx::process {

inline constexpr int kControlFd = 3;                                           // in the child
inline constexpr const char* kTakeOverVariable = "RAYX_INTERNAL_FORK_SERVER";  // "<fd>:<nonce in hex>"

inline constexpr const char* kLibraryPathVariable = "RAYX_INTERNAL_LIBRARY_PATH";  // Program::library_path

// Which part of a cluster the program is to be in place of its main; see register_role in take_over.hpp.
inline constexpr const char* kRoleVariable = "RAYX_INTERNAL_ROLE";

// What is started. Nothing set: this process's own file with its own arguments.
struct Program {
  std::string path;                    // absolute
  std::vector<std::string> arguments;  // argv, with argv[0]
  // Folders, with ':' between them, in which the loader looks before those of LD_LIBRARY_PATH. Of the program and of workers
  // that it execs only: the take-over takes it out of the environment, so that what the program itself starts (`system("ls")`)
  // does not meet a C library of another version. The loader has read it by then and keeps it for every dlopen.
  std::string library_path;
};

struct SpawnSelf {
  std::string role = {};  // empty: a worker or fork server, which the first message on its control socket says
  int in = -1;            // -1: /dev/null
  int control = -1;       // -1: none, for a role
  int out = -1;
  int err = -1;
  std::uint64_t nonce = 0;
  std::vector<std::string> env;  // "NAME=value", over those of this process
  Program program;
};

// Any thread. errno of the failed step is in `*error_number`, where the caller wants to word the message itself.
Result<pid_t> spawn_self(const SpawnSelf& request, int* error_number = nullptr);

// What a failed fork, pipe or exec means, and what to do about it.
Error describe_spawn_error(const char* tried, int error_number);

// Of a process that was started with a library path: keeps it for the workers that it execs, and takes it out of the
// environment. Once, before any thread of ours.
void take_library_path();

std::uint64_t random_word();

struct Pipe {
  base::UniqueFd read_end;   // non-blocking, close-on-exec
  base::UniqueFd write_end;  // blocking, close-on-exec
};
Result<Pipe> make_pipe(int* error_number = nullptr);

}  // namespace rayx::process
