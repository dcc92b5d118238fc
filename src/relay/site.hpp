// One job on one node: its arena with the node that serves it, and the relay between it and the job's other sites.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <rayx/result.hpp>

#include "node/node.hpp"
#include "relay/desk_memory.hpp"
#include "relay/relay.hpp"
#include "worker/modules.hpp"
#include "worker/node_asker.hpp"

namespace rayx::relay {

struct SiteConfig {
  node::NodeConfig node;  // without what concerns the relay and the workers' configuration
  std::chrono::nanoseconds submit_timeout = std::chrono::seconds(60);
  std::size_t pending_max = 1'000'000;
  base::NodeId node_id = {};  // by which the other nodes of the job know this one; not set: it draws one
  base::SiteId site = {};     // which it is, if that is known; instead of `node_id`
  std::string name = {};      // of this node, for people
  base::Labels labels = {};
  Places* places = nullptr;  // of the cluster; lives longer than the site
  bool is_alone = false;     // there is no other site, and never will be
  base::TimeNs patience_ns = kPatience_ns;
};

// What the node tells each worker that it starts, for NodeConfig::worker_config.
std::function<std::string(std::uint32_t slot, shm::Offset modules, std::uint64_t bytes)> worker_config(
    double cpus, bool is_alone, std::chrono::nanoseconds submit_timeout, std::size_t pending_max);

class Site {
 public:
  static Result<std::unique_ptr<Site>> start(SiteConfig config);
  ~Site() { stop(); }
  Site(const Site&) = delete;
  Site& operator=(const Site&) = delete;

  node::Node& node() { return *node_; }
  Relay& relay() { return *relay_; }
  // The relay first, then everything else; what the job had here is gone.
  void stop() noexcept;

 private:
  Site() = default;
  // In this order: each stands on those before it.
  std::unique_ptr<node::Node> node_;
  std::unique_ptr<worker::FunctionNumbers> numbers_;
  std::unique_ptr<DeskMemory> memory_;
  std::unique_ptr<worker::NodeAsker> asker_;
  std::unique_ptr<Relay> relay_;
  std::atomic<Relay*> hears_{nullptr};  // the same, for the node's thread
  bool is_stopped_ = false;
};

}  // namespace rayx::relay
