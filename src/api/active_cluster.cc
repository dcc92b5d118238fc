#include "api/active_cluster.hpp"

#include <cstdlib>
#include <mutex>
#include <string_view>
#include <vector>

namespace rayx::detail {
namespace {

struct Active {
  std::mutex mutex;
  std::vector<ActiveCluster> all;
};
Active& active() {
  static Active* const instance = new Active;  // never destroyed: static destructors may come here
  return *instance;
}

}  // namespace

std::optional<ActiveCluster> active_cluster() {
  const std::lock_guard lock(active().mutex);
  if (active().all.empty()) return std::nullopt;
  return active().all.back();
}

void add_active_cluster(const ActiveCluster& cluster) {
  const std::lock_guard lock(active().mutex);
  active().all.push_back(cluster);
}

void remove_active_cluster(const std::string& address) {
  const std::lock_guard lock(active().mutex);
  std::erase_if(active().all, [&address](const ActiveCluster& it) { return it.address == address; });
}

bool is_local_wanted() {
  const char* const local = std::getenv("RAYX_LOCAL");
  return local != nullptr && std::string_view(local) == "1";
}

}  // namespace rayx::detail
