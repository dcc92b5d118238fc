// The cluster that this process has set up and that init() uses. Not in the environment: setenv beside other threads is no safe thing.
#pragma once

#include <optional>
#include <string>

#include "wire/token.hpp"

namespace rayx::detail {

struct ActiveCluster {
  std::string address;
  wire::Token token;
};

// The one that was set up last and is not shut down.
std::optional<ActiveCluster> active_cluster();
void add_active_cluster(const ActiveCluster& cluster);
void remove_active_cluster(const std::string& address);

// RAYX_LOCAL=1: nothing is started outside the process.
bool is_local_wanted();

}  // namespace rayx::detail
