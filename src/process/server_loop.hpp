// The fork server's side, and what a new worker does before its entry.
#pragma once

#include <sys/types.h>

namespace rayx::process {

// Serves until the driver says shutdown or is gone, then kills what is left and exits. Static constructors have run.
[[noreturn]] void run_fork_server(int control, pid_t driver, int oom_score_adj);

// A worker that was exec'd because the program has threads before main.
[[noreturn]] void run_execed_worker(int control);

// SIGKILL when the thread that created us ends; ends at once if it has ended already. Only for children of the fork server,
// whose main thread lives as long as its process.
void die_with_parent(pid_t parent);

}  // namespace rayx::process
