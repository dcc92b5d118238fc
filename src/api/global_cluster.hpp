// One cluster for all programs of a user on this machine: who holds the lock has it, and a file of mode 0600 says where it is.
#pragma once

#include <string>

#include "api/active_cluster.hpp"
#include "base/unique_fd.hpp"
#include "rayx/result.hpp"

namespace rayx::detail {

inline constexpr const char* kGlobalAddress = "global";  // RAYX_ADDRESS, Config::address

// Held by the keeper. Its end, also by a kill, frees the lock.
class GlobalCluster {
 public:
  // An error if another process holds it, or if the folder is not safe.
  static Result<GlobalCluster> claim();
  GlobalCluster(GlobalCluster&&) noexcept = default;
  GlobalCluster& operator=(GlobalCluster&&) noexcept = default;
  ~GlobalCluster();

  Result<void> announce(const ActiveCluster& cluster);

 private:
  GlobalCluster(std::string folder, base::UniqueFd lock) : folder_(std::move(folder)), lock_(std::move(lock)) {}
  std::string folder_;
  base::UniqueFd lock_;
};

// kNotFound: nobody has one.
Result<ActiveCluster> find_global_cluster();

}  // namespace rayx::detail
