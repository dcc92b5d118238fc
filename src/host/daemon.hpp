// A node of a cluster as a process of its own: listens, and serves each job that opens a site here.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include <rayx/result.hpp>

#include "bundle/cache.hpp"
#include "host/job.hpp"
#include "host/network.hpp"
#include "wire/listener.hpp"

namespace rayx::host {

struct DaemonConfig {
  std::string address = "127.0.0.1";  // that it listens on; numbers
  std::uint16_t port = 0;             // 0: any
  wire::Token token = wire::Token::make_random();
  wire::TlsPolicy tls = wire::TlsPolicy::kOffLoopback;
  NodeResources resources;
  bundle::CacheConfig cache;
  std::function<void(const std::string&)> log;  // one line; the loop's thread
};

class SiteServer;

class Daemon {
 public:
  static Result<std::unique_ptr<Daemon>> start(DaemonConfig config);
  // Ends every job, and returns when nothing of them is left.
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  wire::Endpoint endpoint() const { return endpoint_; }

 private:
  friend class SiteServer;
  explicit Daemon(DaemonConfig config, bundle::Cache cache, std::unique_ptr<Network> network)
      : config_(std::move(config)), cache_(std::move(cache)), network_(std::move(network)) {}
  Result<void> listen();
  void on_link(std::unique_ptr<wire::Link> link);
  void log(const std::string& line) const {
    if (config_.log) config_.log(line);
  }
  void forget(SiteServer* server);

  const DaemonConfig config_;
  bundle::Cache cache_;
  std::unique_ptr<Network> network_;
  std::unique_ptr<Workbench> bench_ = std::make_unique<Workbench>();
  wire::Endpoint endpoint_;
  // The loop's thread.
  std::unique_ptr<wire::Listener> listener_;
  std::map<SiteServer*, std::shared_ptr<SiteServer>> servers_;
};

}  // namespace rayx::host
