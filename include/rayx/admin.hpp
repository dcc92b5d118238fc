// Running a cluster rather than using one: what the `rayx` command line is made of, for programs that want to do the same.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#pragma GCC visibility push(default)
namespace rayx {

struct NodeOptions {
  // One node of a cluster has the head in it, which knows the members, places actors and keeps names; the others name it.
  bool has_head = false;
  bool is_head_only = false;      // with has_head: no node, nothing runs here
  std::string head_address = {};  // "host:port", unless has_head
  // Of has_head: where the head's durable state lies. A head that is started again with the same folder goes on: nodes and programs
  // come back, running tasks finish, named actors are found. Empty: nothing is kept, and the cluster ends with its head.
  std::string state_folder = {};

  std::string name = {};  // for people; default: the host's
  std::vector<std::pair<std::string, std::string>> labels = {};
  // What it listens on, as numbers; nothing listens beyond this machine unless asked to ("0.0.0.0", "::", or one address).
  std::string listen = "127.0.0.1";
  std::uint16_t port = 0;  // 0: any that is free
  // The host, or "host:port", by which others reach it. Default: `listen`, or where that is all of the machine's addresses, the one that the head sees.
  std::string advertise = {};
  // The cluster's token: in this file, which is made (mode 0600, a random token) if it does not exist. Empty: from RAYX_TOKEN or
  // RAYX_TOKEN_FILE.
  std::string token_file = {};
  // What jobs may use. Default: the CPUs and 30 % of the memory that this process may use.
  std::optional<int> num_cpus = {};
  std::optional<std::uint64_t> store_bytes = {};
  // Where programs are kept that have run here. Default: $XDG_CACHE_HOME/rayx, else /tmp/rayx-<uid>.
  std::string cache_folder = {};
  // What happens, a line each: jobs that begin and end, peers that were refused. Called by one thread of the node's.
  std::function<void(const std::string& line)> log = {};
  // The node has no further use: it was drained, as somebody had asked, or its cluster has ended, as when the head is gone for good. The
  // same thread, once; end the ClusterNode elsewhere.
  std::function<void(const std::string& why, bool was_asked)> is_over = {};
};

// A node of a cluster in this process: any program that has the token may run its tasks here. Its destructor leaves the cluster and
// ends all jobs.
class ClusterNode {
 public:
  // Returns when the node is a member of its cluster. Throws ConfigError and SystemError, with what to change.
  explicit ClusterNode(NodeOptions options);
  ~ClusterNode();
  ClusterNode(ClusterNode&&) noexcept;
  ClusterNode& operator=(ClusterNode&&) noexcept;

  std::string address() const;       // "host:port" that it listens on
  std::string head_address() const;  // for RAYX_ADDRESS, and for further nodes
  int num_cpus() const;
  std::uint64_t store_bytes() const;
  // Gives it no more work; what it has goes on. is_over follows when its jobs have no use for it any more, at the latest after
  // `within`, when the cluster gives it up.
  void drain(std::chrono::milliseconds within);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// How a cluster is, as its head sees it.
struct ClusterStatus {
  struct Node {
    std::string id;     // 16 hex digits
    std::string state;  // "alive" or "draining"
    std::string name;
    std::string address;
    double num_cpus = 0;
    double free_cpus = 0;  // beside actors and what its last report said of tasks
    std::uint64_t store_bytes = 0;
    std::vector<std::pair<std::string, std::string>> labels;
    std::string reason;  // of a node that is drained
  };
  struct Job {
    std::string id;  // 8 hex digits
    std::string program;
    std::string driver_host;
  };
  struct Actor {
    std::string id;     // 16 hex digits
    std::string state;  // PENDING, STARTING, ALIVE, RESTARTING
    std::string name;
    std::string node;  // where it is; empty: nowhere
    std::string job;
    std::uint32_t restarts = 0;
    bool is_feasible = true;   // some node could hold it if it were empty
    bool is_detached = false;  // it outlives its job
  };
  std::string cluster;               // 16 hex digits
  std::uint64_t starts_of_head = 0;  // with this state
  std::vector<Node> nodes;
  std::vector<Job> jobs;
  std::uint64_t actors_total = 0;
  std::vector<Actor> actors;  // the first 10,000
};

// Asks the head. `token_file` empty: RAYX_TOKEN or RAYX_TOKEN_FILE. Throws ConfigError, SystemError and TimeoutError.
ClusterStatus cluster_status(const std::string& head_address, const std::string& token_file = {},
                             std::chrono::milliseconds timeout = std::chrono::seconds(5));
// Asks the head to drain the node with this id, or the only one of this name. Throws like cluster_status, and ConfigError if there is no
// such node.
void drain_node(const std::string& head_address, const std::string& node, std::chrono::milliseconds within,
                const std::string& token_file = {}, std::chrono::milliseconds timeout = std::chrono::seconds(5));

}  // namespace rayx
#pragma GCC visibility pop
