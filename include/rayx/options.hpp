// What can be set: for the runtime, for a task, for an actor. Nothing here is accepted and ignored.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rayx {

using Duration = std::chrono::nanoseconds;
// "However long it takes." Adding to it is not needed: everything that takes a Duration knows it.
inline constexpr Duration kForever = Duration::max();

// For init(). A field that is set wins over its environment variable, which wins over the default. A value outside its range
// is refused by init() with ConfigError, from either source.
struct Config {
  // RAYX_LOCAL (0 or 1), default 0. Everything runs inside the calling process at the moment it is submitted, in order: for
  // breakpoints and sanitizers. Results, errors and encodings are the same as with processes.
  std::optional<bool> local = {};
  // RAYX_ADDRESS, "host:port" of a cluster's head ("[v6]:port"), or "global" (ClusterConfig::is_global); default: the cluster that this
  // program has set up, else none. The token that lets it in is in RAYX_TOKEN, or in the file that RAYX_TOKEN_FILE names.
  std::optional<std::string> address = {};
  // RAYX_NUM_CPUS, 1 to 1024. Default: the CPUs that this process may use (affinity and cgroup quota).
  std::optional<int> num_cpus = {};
  // RAYX_STORE_BYTES, at least 1 MiB; the variable takes the suffixes K, M, G, T (powers of 1024). Default: 30 % of the memory
  // that the machine or the cgroup allows. Memory is used when objects fill it, not before.
  std::optional<std::uint64_t> store_bytes = {};
  // RAYX_MAX_WORKERS, 1 to 64. Default 64. Processes that run tasks, those that wait for others included. Actors do not count.
  std::optional<int> max_workers = {};
  // RAYX_MAX_PENDING_TASKS, 1 to 100,000,000. Default 1,000,000. The queue that workers pull from holds 4,096 tasks (512 calls of an
  // actor); those beyond wait in the process that submitted them, so many for each value of num_cpus and for each actor.
  std::optional<int> max_pending_tasks = {};
  // RAYX_SUBMIT_TIMEOUT_MS, default 60,000. How long a call waits when the queue of pending tasks is full; then QueueFull.
  std::optional<Duration> submit_timeout = {};
  // RAYX_STORE_TIMEOUT_MS, default 10,000. How long a writer waits when the object store is full; then OutOfMemory.
  std::optional<Duration> store_timeout = {};
};

// A condition on the labels of a node (`rayx start --label zone=a`, NodeOptions::labels): the value of `key` is one of `values`.
struct LabelSelector {
  std::string key;                  // 1 to 255 bytes
  std::vector<std::string> values;  // 1 to 255 of them, of at most 255 bytes each
  bool is_negated = false;          // it is none of them; so is that of a node without the key
};
// Every node has it as a label: its value is the node's id, NodeInfo::id. So a task goes to one node, or to any other.
inline constexpr const char* kNodeIdLabel = "rayx/node-id";

// For one task: the optional first argument of remote().
struct TaskOptions {
  double num_cpus = 1;    // 0 to 1024, in steps of 0.0001; 0: the task only waits or coordinates
  int max_retries = 3;    // after a crash of its worker. -1: for ever. Exceptions are results and not retried
  std::string name = {};  // in errors about the task, behind its function's: fit "fold 3"
  // Only on nodes that fulfil all of these. InvalidArgument if no node of the cluster does; later it waits until one does. All selectors
  // together have at most 4,000 bytes. Tasks of at most 63 different num_cpus, labels and spread can exist in one program.
  std::vector<LabelSelector> labels = {};
  // true: to the node that has the least to do. Else a task that a task makes stays on its node as long as that has CPUs for it.
  bool spread = false;
};

// For one actor: the optional first argument of actor<T>().
struct ActorOptions {
  double num_cpus = 0;  // held while the actor lives, as for a task
  // At most 255 bytes. In errors, logs and lists; and get_actor() finds the actor by it as long as it lives, in every process of the
  // program. So no two that live have the same. Empty: the class's name in errors, and nobody finds it.
  std::string name = {};
  // true: where get_actor() would find one with the name, the handle is that one's, and the arguments are not used.
  bool get_if_exists = false;
  // true: it lives on when its last handle is gone and when this program ends (which waits until it lives, for 10 s at most), until
  // kill(), or until it has died more often than max_restarts. It needs a name, which is then the cluster's: a later run of the program, or
  // another one with the same code, gets it with get_actor(). Its constructor takes values, no references and handles: they would end
  // with this program. What it prints is printed by its node. What it makes stays on its node, and ends with it. Without a cluster (and in
  // RAYX_LOCAL), and in a cluster that this program has set up, it ends with the program, or with that cluster.
  bool detached = false;
  // How often it is made anew, from the same arguments, when its process or its node dies; with a cluster perhaps on another node. -1: for
  // ever. What it had in memory is lost. Not after kill(), and not when its constructor throws. Calls wait meanwhile.
  int max_restarts = 0;
  // How often a call that was at the actor when that died is made again, in the order in which the calls were made. -1: for ever.
  // A call may then have run in part, or whole, before. 0: it fails with ActorDied.
  int max_task_retries = 0;
  // Only on nodes that fulfil all of these, as for a task; while none does, its calls wait.
  std::vector<LabelSelector> labels = {};
};

}  // namespace rayx
