// From what a user asks for to a cluster; shared by the providers' doors.
#pragma once

#include <memory>
#include <string>

#include "api/cluster_holder.hpp"
#include "rayx/cluster.hpp"

namespace rayx {

struct Cluster::State {
  std::shared_ptr<detail::ClusterHolder> holder;  // nothing: RAYX_LOCAL
};

struct ClusterAccess {
  static Cluster make(std::shared_ptr<detail::ClusterHolder> holder);
};

namespace detail {

// Checks the fields and gives them to the spec. `who` is how messages name the structure: "ClusterConfig".
Result<cluster::Spec> spec_of(const ClusterConfig& config, const std::string& who);
// What setup_cluster does when all is known. Throws.
Cluster start_cluster(HolderConfig config);
// A process that is about to be something else than the user's program; or one that wants no other process.
bool wants_no_cluster();

}  // namespace detail
}  // namespace rayx
