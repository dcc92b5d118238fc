// How large a node on Spark is: what a worker has, or its share of it. No sockets, no clock.
#pragma once

#include <string>
#include <vector>

#include <rayx/result.hpp>

#include "spark/capacity.hpp"

namespace rayx::spark {

struct NodeSize {
  int cores = 0;
  std::int64_t memory_mib = 0;
  bool operator==(const NodeSize&) const = default;
};

inline constexpr std::int64_t kNodeMemoryMinMib = 256;  // below it neither the JVM nor a store has room

// An error says why no worker could ever take such a node, and which setting to change. 0 of `asked`: any.
Result<void> check_size(const Capacity& capacity, const NodeSize& asked);

// What is free now in so many shares that `nodes_max` nodes have one each, the largest first. A node gets all that a worker has free where
// there are as many workers as nodes. Where nothing is free, of what the workers have: such nodes wait.
std::vector<NodeSize> share_workers(const Capacity& capacity, int nodes_max);
// The largest share that no node has; `asked` instead, where it is not 0.
NodeSize choose_size(const std::vector<NodeSize>& shares, const NodeSize& asked, const std::vector<NodeSize>& used);

// "no worker has 4 cores and 8192 MiB free"
std::string describe_wait(const Capacity& capacity, const NodeSize& size);

}  // namespace rayx::spark
