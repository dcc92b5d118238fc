// How large a node on Spark is: what a worker has, or its share of it. No sockets, no clock.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <rayx/result.hpp>

#include "spark/capacity.hpp"

namespace rayx::spark {

struct NodeSize {
  int cores = 0;
  std::int64_t memory_mib = 0;
  int gpus = 0;
  bool operator==(const NodeSize&) const = default;
};

inline constexpr std::int64_t kNodeMemoryMinMib = 256;    // below it neither the JVM nor a store has room
inline constexpr std::int64_t kNodeMemorySmallMib = 512;  // below it there is little for anything else

// Workers that are alive, for one node each. An error says what to start or to set, also where `capacity` is one.
Result<int> count_workers(const Result<Capacity>& capacity);
// Why nothing is known of the workers, and that `instead` need not know.
Error without_capacity(const Error& why, const std::string& instead);

// An error says why no worker could ever take such a node, and which setting to change. 0 of `asked`: any.
Result<void> check_size(const Capacity& capacity, const NodeSize& asked);

// What is wrong with a node of that size though it can be had, with the setting to change; empty: nothing. `store_bytes` as asked for.
std::string doubt_about(const NodeSize& size, std::uint64_t store_bytes);

// What is free now in so many shares that `nodes_max` nodes have one each, the largest first. A node gets all that a worker has free where
// there are as many workers as nodes. Where nothing is free, of what the workers have: such nodes wait. Only of workers with so many GPUs.
std::vector<NodeSize> share_workers(const Capacity& capacity, int nodes_max, int gpus = 0);
// The largest share that no node has; `asked` instead, where it is not 0.
NodeSize choose_size(const std::vector<NodeSize>& shares, const NodeSize& asked, const std::vector<NodeSize>& used);

// "no worker has 4 cores and 8192 MiB free"
std::string describe_wait(const Capacity& capacity, const NodeSize& size);

}  // namespace rayx::spark
