// Running a cluster rather than using one: what the `rayx` command line is made of, for programs that want to do the same.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#pragma GCC visibility push(default)
namespace rayx {

struct NodeOptions {
  // What it listens on, as numbers; nothing listens beyond this machine unless asked to ("0.0.0.0", "::", or one address).
  std::string listen = "127.0.0.1";
  std::uint16_t port = 0;  // 0: any that is free
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
};

// A node of a cluster in this process: any program that has the token may run its tasks here. Its destructor ends all jobs.
class ClusterNode {
 public:
  // Throws ConfigError and SystemError, with what to change.
  explicit ClusterNode(NodeOptions options);
  ~ClusterNode();
  ClusterNode(ClusterNode&&) noexcept;
  ClusterNode& operator=(ClusterNode&&) noexcept;

  std::string address() const;  // "host:port", for RAYX_ADDRESS
  int num_cpus() const;
  std::uint64_t store_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rayx
#pragma GCC visibility pop
