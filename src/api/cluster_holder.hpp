// The driver's side of a keeper: starts it, hears from it, and takes its place if it dies.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/deadline.hpp"
#include "base/unique_fd.hpp"
#include "cluster/json_lines.hpp"
#include "cluster/spec.hpp"
#include "rayx/cluster.hpp"

namespace rayx::detail {

// What a cluster needs of this process besides its spec.
struct HolderConfig {
  cluster::Spec spec;
  std::shared_ptr<ClusterProvider> provider = {};  // that the keeper calls through us; nothing: it has its own
  // A provider to end submissions with when the keeper is dead. Nothing: the nodes end by themselves.
  std::function<Result<std::shared_ptr<ClusterProvider>>()> make_rescuer = {};
  std::function<void(const std::string&)> on_progress = {};
};

class ClusterHolder {
 public:
  // Returns when the cluster can be used; after an error nothing of it is left, or the error says what.
  static Result<std::shared_ptr<ClusterHolder>> start(HolderConfig config);
  ~ClusterHolder();
  ClusterHolder(const ClusterHolder&) = delete;
  ClusterHolder& operator=(const ClusterHolder&) = delete;

  std::string address() const;
  std::string token_hex() const;
  int nodes_ready() const;
  bool wait_for_nodes(int count, Duration timeout) const;
  // Idempotent. An error names what is left.
  Result<void> shutdown();

 private:
  explicit ClusterHolder(HolderConfig config) : config_(std::move(config)) {}

  struct Known {
    std::string address;
    std::string token;
    int ready_nodes = 0;
    bool is_ready = false;
    bool is_over = false;  // the keeper has said its last word, or is dead
    bool is_lost = false;  // it died
    std::optional<Error> failure;
    std::vector<std::string> left;
    std::set<std::string> submissions;
  };

  Result<void> spawn_keeper();
  Result<void> wait_for_start();
  void listen();
  void took(const cluster::Json& message);
  void keeper_is_lost();
  void progress(const std::string& line) const;
  void reap_keeper();
  void stop_listening();
  bool is_in_forked_child() const;

  const HolderConfig config_;
  std::unique_ptr<cluster::JsonLines> keeper_;
  pid_t keeper_pid_ = -1;
  pid_t owner_pid_ = -1;
  std::unique_ptr<std::thread> listener_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  Known known_;  // guarded by mutex_
  std::mutex ending_;
  bool has_ended_ = false;  // guarded by ending_
  Result<void> end_;        // likewise
};

}  // namespace rayx::detail
