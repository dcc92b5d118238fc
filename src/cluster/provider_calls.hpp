// A ClusterProvider that a user wrote lives in the driver; the keeper, which is another process, calls it by messages.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <rayx/cluster_provider.hpp>

#include "cluster/json_lines.hpp"

namespace rayx::cluster {

// The keeper's side. `ask` sends a call and waits for its answer.
class CalledProvider final : public ClusterProvider {
 public:
  using Ask = std::function<Result<Json>(Json call)>;
  CalledProvider(std::string name, ProviderAbilities abilities, Ask ask)
      : name_(std::move(name)), abilities_(abilities), ask_(std::move(ask)) {}

  std::string name() const override { return name_; }
  ProviderAbilities abilities() const override { return abilities_; }
  Result<NodeSubmission> submit(const NodeRequest& request) override;
  Result<NodeStatus> status(const std::string& id) override;
  Result<void> kill(const std::string& id) override;
  Result<ProviderCapacity> capacity() override;
  Result<std::string> logs(const std::string& id) override;
  void forget(const std::string& id) override;

 private:
  const std::string name_;
  const ProviderAbilities abilities_;
  const Ask ask_;
};

// The driver's side: makes the call and gives its answer, {"ok": …} or {"error": …}. Exceptions become errors.
Json answer_call(ClusterProvider& provider, const Json& call);

}  // namespace rayx::cluster
