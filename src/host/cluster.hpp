// A driver's part of a cluster: the links of its site to the nodes that work for it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <rayx/result.hpp>

#include "host/network.hpp"
#include "host/site_client.hpp"
#include "relay/site.hpp"

namespace rayx::host {

struct ClusterConfig {
  std::string address;  // "host:port" of a node, or of several with commas between them
  std::string modules;  // FunctionNumbers::encode
  std::chrono::nanoseconds submit_timeout = std::chrono::seconds(60);
  std::size_t pending_max = 1'000'000;
};

class Cluster {
 public:
  // The program is described, sent where it is missing, and started there: some 10 ms when the node has had it before. The token
  // is taken from the environment. `mine` outlives the cluster.
  static Result<std::unique_ptr<Cluster>> join(relay::Site& mine, const ClusterConfig& config);
  // Tasks that are elsewhere are lost to the relay of `mine`.
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

 private:
  explicit Cluster(std::unique_ptr<Network> network) : network_(std::move(network)) {}
  std::unique_ptr<Network> network_;
  std::vector<std::shared_ptr<SiteClient>> clients_;
};

}  // namespace rayx::host
