// A node of the cluster, as a program sees it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace rayx {

struct NodeInfo {
  std::string id;                                           // 16 hex digits; the value of the label kNodeIdLabel
  std::string name;                                         // for people: `rayx start --name`, else the host's
  double num_cpus = 0;                                      // that it gives to tasks and actors
  std::uint64_t store_bytes = 0;                            // of its object store
  std::vector<std::pair<std::string, std::string>> labels;  // sorted by key
  bool is_here = false;  // whoever asks runs on it. A driver of a cluster runs on none
};

}  // namespace rayx
