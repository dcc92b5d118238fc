// What a provider does that says nothing else: rayx/cluster_provider.hpp.
#include <rayx/cluster_provider.hpp>

namespace rayx {

ClusterProvider::~ClusterProvider() = default;

Result<ProviderCapacity> ClusterProvider::capacity() {
  return Error{ErrorCode::kUnsupported, "rayx: the provider " + name() + " does not know what its hosts have"};
}

Result<std::string> ClusterProvider::logs(const std::string&) {
  return Error{ErrorCode::kUnsupported, "rayx: the provider " + name() + " has no logs of its nodes"};
}

}  // namespace rayx
