// A worker is the user's own program started again. This is where it stops being the user's program: after static
// constructors, before main.
//
// The shared library exports __libc_start_main (libc_start_main.cc) and gives the C library another main. Where that cannot
// be (static links, dlopen), init() calls take_over_if_requested(), and what main did before init is repeated.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace rayx::process {

struct WorkerStart {
  std::uint64_t slot = 0;
  std::span<const int> fds;  // in the order in which they were passed; close-on-exec; the worker owns them
  std::string_view config;   // lives until the worker ends
  bool forked = true;        // false: exec'd, because the program has threads before main
};

// Runs in the worker; its result is the exit code. stdio is flushed after it, static destructors do not run.
using WorkerMain = int (*)(const WorkerStart&);
// Called by a static constructor of the library, once.
void register_worker_main(WorkerMain worker_main);

// What the program is in place of its main when it was started with this name in the environment (kRoleVariable): a node of a cluster,
// or the keeper of one. Runs after static constructors, in the main thread; its result is the exit code. Called by a static constructor
// of the library, once for each name; at most 8.
using RoleMain = int (*)();
void register_role(const char* name, RoleMain role_main);

// Called in each worker before its entry, in the order of registration, e.g. to reseed a generator that was seeded by a static
// constructor and so would be the same in all forked workers. Before main or in the driver's main thread; at most 64.
void on_worker_start(void (*hook)(void*), void* context);

// True in a process that was started as fork server, worker, or in a role. The first call looks at the environment, removes the variable,
// and says on stderr if it holds something that rayx did not write. Cheap afterwards.
bool take_over_requested();
// Never returns where take_over_requested().
void take_over_if_requested();
// True in such a process before that, if it happens in place of main, so that static constructors run to their end first.
bool take_over_replaces_main() noexcept;

namespace internal {
extern WorkerMain worker_main;
extern bool is_main_replaced;
void run_worker_start_hooks();
}  // namespace internal

}  // namespace rayx::process
