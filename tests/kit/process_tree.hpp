// Which processes belong to a test, what they do, and how to end them all. Used by the watchdog; reads /proc only.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace rayx::kit {

// A variable whose value marks the programs that a test starts, so that they are found after their parent has died.
inline constexpr const char* kTreeVariable = "RAYX_KIT_TREE";

struct ProcessInfo {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  char state = '?';
  std::string name;
};

// Every process that the caller may see.
std::vector<ProcessInfo> list_processes();

// `root`; its descendants; the members of its group and session if it leads them; and whoever carries `mark` as the value
// of kTreeVariable. Without the calling process. Zombies are left out.
std::vector<ProcessInfo> list_tree(pid_t root, const std::string& mark);

// Stops them all until no new one appears, then kills them all, so that nobody can fork past it.
void kill_tree(pid_t root, const std::string& mark);

// Writes what /proc tells about the process and its threads: status, wchan, system call.
void dump_proc(const ProcessInfo& process, int fd);

}  // namespace rayx::kit
