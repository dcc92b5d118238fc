// Nodes as submissions to Spark, one each. For one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rayx/cluster_provider.hpp>

#include "base/clock.hpp"
#include "spark/node_sizes.hpp"
#include "spark/program_server.hpp"
#include "spark/rest_client.hpp"

namespace rayx::spark {

struct NodeProviderConfig {
  std::string app_name = "rayx";
  std::vector<std::pair<std::string, std::string>> properties = {};  // of each submission, over rayx's own
  std::string launcher_cache = {};  // folder on the workers for what they are sent; empty: the launcher's default
  int nodes_max = 1;                // that there will be at a time: how many share a worker
  std::uint64_t store_bytes = 0;    // of each node, as asked for
  bool is_strict = false;           // a node that is too small for its work is refused, and not only spoken of
  std::function<void(const std::string&)> log = {};  // a line at a time
};

// A property that would take another reservation than rayx counts with is an error that names the field to use.
Result<void> check_properties(const std::vector<std::pair<std::string, std::string>>& properties);

class NodeProvider final : public ClusterProvider {
 public:
  // Without a server it can only ask for and end what others have submitted.
  NodeProvider(NodeProviderConfig config, SparkRestClient client, std::unique_ptr<ProgramServer> server,
               const base::Clock& clock)
      : config_(std::move(config)), client_(std::move(client)), server_(std::move(server)), clock_(clock) {}

  std::string name() const override { return "spark"; }
  ProviderAbilities abilities() const override { return {.has_capacity = true, .has_logs = true}; }
  Result<NodeSubmission> submit(const NodeRequest& request) override;
  Result<NodeStatus> status(const std::string& id) override;
  Result<void> kill(const std::string& id) override;
  Result<ProviderCapacity> capacity() override;
  Result<std::string> logs(const std::string& id) override;
  void forget(const std::string& id) override;

  static constexpr base::TimeNs kCapacityAgeMaxNs = 2'000'000'000;  // of what is told about nodes that wait

 private:
  struct Node {
    std::string name;
    NodeSize size;
    bool is_over = false;
  };
  Result<NodeSize> size_of(const NodeRequest& request);
  Result<void> judge(const NodeSize& size);
  Result<NodeSubmission> create(const NodeRequest& request, const NodeSize& size);
  std::string what_it_waits_for(const NodeSize& size);

  const NodeProviderConfig config_;
  const SparkRestClient client_;
  const std::unique_ptr<ProgramServer> server_;
  const base::Clock& clock_;
  std::map<std::string, Node> nodes_;  // by id
  std::vector<NodeSize> shares_;
  std::string doubt_told_;
  std::optional<Capacity> known_;
  base::TimeNs known_at_ = 0;
};

}  // namespace rayx::spark
