// A cluster that a program sets up for itself, and gives back.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rayx/cluster_provider.hpp>
#include <rayx/options.hpp>

#pragma GCC visibility push(default)
namespace rayx {

// How large, and how to behave. All that is 0 or empty has the default that stands here.
struct ClusterConfig {
  // num_nodes, or min_nodes and max_nodes: with min_nodes < max_nodes tasks and actors that find no room start nodes, and idle ones go.
  int num_nodes = 0;
  int min_nodes = 0;
  int max_nodes = 0;  // at most 1,000
  // Of each node. CPUs by default all of the place where it starts; the store 30 % of its memory.
  int num_cpus = 0;
  int num_gpus = 0;  // 0 on this machine, whose nodes share its GPUs
  std::uint64_t memory_bytes = 0;
  std::uint64_t store_bytes = 0;
  // Of the head, which runs on this machine: no task runs there by default, and then it has no store.
  int head_num_cpus = 0;
  std::uint64_t head_store_bytes = 0;
  // What the head listens on, as a number; by default loopback, or on Spark the address from which this machine reaches the master.
  // Off loopback all links are encrypted.
  std::string listen = {};
  // Host by which the nodes reach this machine, if it is another one; without a port.
  std::string advertise = {};
  std::vector<std::pair<std::string, std::string>> environment = {};  // of the nodes and of the workers there
  std::string temp_directory = {};  // where nodes keep the programs that they were sent; an absolute path
  std::string collect_logs_to =
      {};  // a folder here that gets the last lines of each node's log when the node ends; is made
  // What is a warning else is an error: fewer nodes than asked for; on Spark also nodes of less than 512 MiB, or smaller than store_bytes.
  bool strict_mode = false;
  // The one cluster of this user on this machine: a second global one is refused, and other programs use it with RAYX_ADDRESS=global.
  bool is_global = false;
  // Without a further node in this time the set-up is over: with those that there are, or, if there are fewer than min_nodes and
  // strict_mode is on, or none at all, with an error.
  Duration start_timeout = std::chrono::seconds(45);
  // Autoscaling: a node that had neither task nor actor for so long goes, as long as more than min_nodes are left.
  Duration idle_timeout = std::chrono::seconds(60);
  // Nodes that may be starting at a time: this times those that there are, but at least 5.
  double upscaling_speed = 1.0;
  // A line each, "3 of 5 nodes ready"; by default they go to stderr with "rayx: " before them. A thread of rayx's, on which the cluster
  // cannot be shut down. An exception is caught, and told on stderr with the line.
  std::function<void(const std::string& line)> on_progress = {};
};

// Holds a cluster: its destructor shuts it down. Moves; a moved-from one holds nothing. The head and all that watches over the nodes run
// in a process of their own, the keeper: a program that is stopped in a debugger is no dead cluster, and one that is killed leaves
// nothing behind. Any thread.
class [[nodiscard]] Cluster {
 public:
  Cluster() noexcept;
  Cluster(Cluster&&) noexcept;
  Cluster& operator=(Cluster&&) noexcept;
  ~Cluster();

  // "host:port" of the head. Empty: there is no cluster, because RAYX_LOCAL is set and all runs in this process.
  std::string address() const;
  // What another program needs to use the cluster: RAYX_ADDRESS and RAYX_TOKEN. The token is a secret. Programs that this one starts do
  // not have these variables by themselves.
  std::vector<std::pair<std::string, std::string>> environment() const;
  // That are members now.
  int nodes_ready() const;
  // Whether at least so many are, within the time.
  bool wait_for_nodes(int count, Duration timeout) const;
  // Ends all nodes and returns when each of them is confirmed gone. After 60 s SystemError names those that are not, or, if the keeper
  // does not answer any more, after 2 minutes at the latest. Waits for a call of a provider of one's own. Idempotent. Not in on_progress, nor
  // in a provider. End the Runtime before.
  void shutdown();

 private:
  friend Cluster setup_cluster(std::shared_ptr<ClusterProvider>, const ClusterConfig&);
  friend struct ClusterAccess;
  struct State;
  std::shared_ptr<State> state_;
};

// Starts a head and as many nodes as asked for, and returns when they are ready, or some of them and start_timeout is over. After it
// init() finds the cluster (before RAYX_ADDRESS, unless Config::address is set). If it cannot be done, what was started is ended again
// and ConfigError, SystemError or TimeoutError says why and what to change. With RAYX_LOCAL=1 nothing is started.
// `provider` is called by a thread of this process until the cluster's end.
Cluster setup_cluster(std::shared_ptr<ClusterProvider> provider, const ClusterConfig& config);

namespace local {
// The same with nodes that are processes of this machine. By default they share its CPUs and its memory; each has one CPU at least.
Cluster setup_cluster(const ClusterConfig& config);
Cluster setup_cluster(int num_nodes, ClusterConfig config = {});
// The one of this user on this machine: with ClusterConfig::is_global.
inline Cluster setup_global_cluster(int num_nodes, ClusterConfig config = {}) {
  config.is_global = true;
  return setup_cluster(num_nodes, std::move(config));
}
}  // namespace local

// Shuts down every cluster that this process has set up. Nothing happens if there is none.
void shutdown_cluster();

}  // namespace rayx
#pragma GCC visibility pop
