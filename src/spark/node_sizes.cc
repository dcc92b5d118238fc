#include "spark/node_sizes.hpp"

#include <algorithm>

#include "base/format.hpp"

namespace rayx::spark {
namespace {

std::vector<WorkerCapacity> alive_workers(const Capacity& capacity) {
  std::vector<WorkerCapacity> workers;
  for (const WorkerCapacity& worker : capacity.workers)
    if (worker.is_alive()) workers.push_back(worker);
  return workers;
}

Error unfit(std::string message) { return {ErrorCode::kInvalidConfig, "rayx: Spark: " + std::move(message)}; }

}  // namespace

Result<void> check_size(const Capacity& capacity, const NodeSize& asked) {
  const std::vector<WorkerCapacity> workers = alive_workers(capacity);
  if (workers.empty())
    return Error{ErrorCode::kSystemError, "rayx: Spark: the cluster of " + capacity.master_url +
                                              " has no worker that is alive; start one, or wait until they have "
                                              "registered with the master"};
  int cores_max = 0;
  std::int64_t memory_max_mib = 0;
  bool has_one_that_fits = false;
  for (const WorkerCapacity& worker : workers) {
    cores_max = std::max(cores_max, worker.cores);
    memory_max_mib = std::max(memory_max_mib, worker.memory_mib);
    has_one_that_fits |= worker.cores >= asked.cores && worker.memory_mib >= asked.memory_mib;
  }
  if (asked.cores > cores_max)
    return unfit(
        base::format("a node of {} cores was asked for, and the largest worker has {}; set "
                     "SparkConfig::num_cpus to at most {}",
                     asked.cores, cores_max, cores_max));
  if (asked.memory_mib > memory_max_mib)
    return unfit(
        base::format("a node of {} MiB was asked for, and the largest worker has {} MiB; set "
                     "SparkConfig::memory_bytes to less, or give Spark's workers more (SPARK_WORKER_MEMORY)",
                     asked.memory_mib, memory_max_mib));
  if (!has_one_that_fits)
    return unfit(
        base::format("no worker has both {} cores and {} MiB; set SparkConfig::num_cpus or "
                     "SparkConfig::memory_bytes to less",
                     asked.cores, asked.memory_mib));
  return {};
}

std::vector<NodeSize> share_workers(const Capacity& capacity, int nodes_max) {
  std::vector<NodeSize> shares;
  const auto share = [&shares](int cores, std::int64_t memory_mib, int parts) {
    for (int i = 0; i < parts; ++i)
      shares.push_back({std::max(1, cores / parts), std::max(kNodeMemoryMinMib, memory_mib / parts)});
  };
  const std::vector<WorkerCapacity> workers = alive_workers(capacity);
  const auto parts_of = [nodes_max](std::size_t count) {
    const int all = static_cast<int>(std::max<std::size_t>(count, 1));
    return std::max(1, (nodes_max + all - 1) / all);
  };
  std::vector<WorkerCapacity> free;
  for (const WorkerCapacity& worker : workers)
    if (worker.cores_free > 0 && worker.memory_free_mib >= kNodeMemoryMinMib) free.push_back(worker);
  for (const WorkerCapacity& worker : free) share(worker.cores_free, worker.memory_free_mib, parts_of(free.size()));
  if (free.empty())
    for (const WorkerCapacity& worker : workers) share(worker.cores, worker.memory_mib, parts_of(workers.size()));
  std::sort(shares.begin(), shares.end(), [](const NodeSize& a, const NodeSize& b) {
    return a.cores != b.cores ? a.cores > b.cores : a.memory_mib > b.memory_mib;
  });
  return shares;
}

NodeSize choose_size(const std::vector<NodeSize>& shares, const NodeSize& asked, const std::vector<NodeSize>& used) {
  std::vector<NodeSize> left = shares;
  for (const NodeSize& taken : used) {
    const auto found = std::find_if(left.begin(), left.end(), [&](const NodeSize& it) {
      return (asked.cores > 0 || it.cores == taken.cores) &&
             (asked.memory_mib > 0 || it.memory_mib == taken.memory_mib);
    });
    if (found != left.end() && left.size() > 1) left.erase(found);
  }
  NodeSize size = left.empty() ? NodeSize{1, kNodeMemoryMinMib} : left.front();
  if (asked.cores > 0) size.cores = asked.cores;
  if (asked.memory_mib > 0) size.memory_mib = asked.memory_mib;
  return size;
}

std::string describe_wait(const Capacity& capacity, const NodeSize& size) {
  const std::vector<WorkerCapacity> workers = alive_workers(capacity);
  if (workers.empty()) return "the cluster has no worker that is alive";
  int cores_max = 0;
  std::int64_t memory_max_mib = 0;
  for (const WorkerCapacity& worker : workers) {
    if (worker.cores_free >= size.cores && worker.memory_free_mib >= size.memory_mib)
      return "Spark has not placed it yet";
    cores_max = std::max(cores_max, worker.cores_free);
    memory_max_mib = std::max(memory_max_mib, worker.memory_free_mib);
  }
  return base::format(
      "no worker has {} cores and {} MiB free (the most that one has free is {} cores, {} MiB); set "
      "SparkConfig::num_cpus and SparkConfig::memory_bytes to less, or fewer nodes",
      size.cores, size.memory_mib, cores_max, memory_max_mib);
}

}  // namespace rayx::spark
