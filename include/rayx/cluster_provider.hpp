// ClusterProvider: where a cluster's nodes come from. rayx has two, processes of this machine (rayx/cluster.hpp) and Spark
// (rayx/spark.hpp); examples/own_provider.cc writes a third.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rayx/result.hpp>

#pragma GCC visibility push(default)
namespace rayx {

// A node is this program, started again: before its main it becomes a node and joins the cluster. What a provider does for one:
// start `program`, or a copy of it on another machine, with these variables in its environment and `input` as the first bytes at its
// standard input. The input must stay open as long as the node is to live: when it ends, the node ends at once. SIGTERM is the gentle
// way: the node's work goes elsewhere, then it ends.
struct NodeRequest {
  std::string name;                // "node-3"; no two of a cluster, ever
  int num_cpus = 0;                // 0: all that the place has where it starts
  std::uint64_t memory_bytes = 0;  // to reserve; 0: the provider's choice
  int num_gpus = 0;
  std::vector<std::string> avoid_hosts;  // nodes there have failed lately; a wish
  std::string program;                   // absolute path of this program's file, on this machine
  std::vector<std::pair<std::string, std::string>> environment;
  std::string input;  // a line with the cluster's token in it: for a pipe, never for a command line, a file or a log
};

// What came of a request to start a node.
struct NodeSubmission {
  std::string id;  // the provider's; not empty
};

enum class NodeState : std::uint8_t {
  kWaiting,   // for a place: it may take for ever
  kFetching,  // it has a place, and the program is on its way there: that may take minutes
  kRunning,  // its process was started; whether it is ready, the cluster's head knows. One that is not within a minute is ended
  kEnded,  // it does not run, and will not
};

struct NodeStatus {
  NodeState state = NodeState::kWaiting;
  std::string host = {};    // where it is; empty: nobody knows
  std::string reason = {};  // what it waits for, or why it has ended, with the setting to change
};

struct ProviderCapacity {
  struct Host {
    std::string name;
    int num_cpus = 0;
    int num_cpus_free = 0;
    std::uint64_t memory_bytes = 0;
    std::uint64_t memory_bytes_free = 0;
  };
  std::vector<Host> hosts;
};

// What a provider can do beyond the least.
struct ProviderAbilities {
  bool has_capacity = false;  // capacity() says something
  bool has_logs = false;      // logs() says something
};

// Called by one thread, one call at a time; a call that takes longer than 60 s counts as failed. An exception that leaves a
// function counts as its Error.
class ClusterProvider {
 public:
  virtual ~ClusterProvider();
  virtual std::string name() const = 0;  // for messages: "spark"
  virtual ProviderAbilities abilities() const { return {}; }

  // Does not wait for the node. An Error means that nothing was started and nothing will be. A provider that cannot know whether its
  // request arrived may submit again: of two nodes with one name the second one is sent away.
  virtual Result<NodeSubmission> submit(const NodeRequest& request) = 0;
  // kNotFound: it ended so long ago that nobody remembers. Any other Error: nobody knows at present, and it is asked again.
  virtual Result<NodeStatus> status(const std::string& id) = 0;
  // Asks it to end, and does not wait. Idempotent; an id that nobody knows is no error.
  virtual Result<void> kill(const std::string& id) = 0;
  // What hosts there are and what of them is free.
  virtual Result<ProviderCapacity> capacity();
  // The last lines that the node has printed. Of one that has ended they are asked for once, before forget().
  virtual Result<std::string> logs(const std::string& id);
  // It has ended, and nobody asks for it again: what is known of it can go.
  virtual void forget(const std::string& /*id*/) {}
};

}  // namespace rayx
#pragma GCC visibility pop
