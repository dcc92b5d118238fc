#include "spark/node_sizes.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/format.hpp"

namespace rayx::spark {
namespace {

std::vector<WorkerCapacity> alive_workers(const Capacity& capacity) {
  std::vector<WorkerCapacity> workers;
  for (const WorkerCapacity& worker : capacity.workers)
    if (worker.is_alive()) workers.push_back(worker);
  return workers;
}

// Where Spark does not say how many there are, there may be enough.
bool has_gpus(const std::optional<int>& there, int wanted) { return wanted == 0 || there.value_or(wanted) >= wanted; }

std::string gpus_text(int gpus) { return base::format("{} GPU{}", gpus, gpus == 1 ? "" : "s"); }

// "4 cores and 8192 MiB", "4 cores, 8192 MiB and 1 GPU"
std::string to_text(const NodeSize& size) {
  if (size.gpus == 0) return base::format("{} cores and {} MiB", size.cores, size.memory_mib);
  return base::format("{} cores, {} MiB and {}", size.cores, size.memory_mib, gpus_text(size.gpus));
}

Error unfit(std::string message) { return {ErrorCode::kInvalidConfig, "rayx: Spark: " + std::move(message)}; }

Error no_worker(const Capacity& capacity) {
  return {ErrorCode::kSystemError, "rayx: Spark: the cluster of " + capacity.master_url +
                                       " has no worker that is alive; start one, or wait until they have "
                                       "registered with the master"};
}

}  // namespace

Error without_capacity(const Error& why, const std::string& instead) {
  return {why.code,
          why.message +
              ". It says how large the workers are: give its address as SparkConfig::web (RAYX_SPARK_WEB), or " +
              instead};
}

Result<int> count_workers(const Result<Capacity>& capacity) {
  if (!capacity) return without_capacity(capacity.error(), "a number of nodes in place of -1");
  if (capacity->workers_alive == 0) return no_worker(*capacity);
  return capacity->workers_alive;
}

Result<void> check_size(const Capacity& capacity, const NodeSize& asked) {
  const std::vector<WorkerCapacity> workers = alive_workers(capacity);
  if (workers.empty()) return no_worker(capacity);
  int cores_max = 0;
  std::int64_t memory_max_mib = 0;
  int gpus_max = 0;
  bool has_one_that_fits = false;
  for (const WorkerCapacity& worker : workers) {
    cores_max = std::max(cores_max, worker.cores);
    memory_max_mib = std::max(memory_max_mib, worker.memory_mib);
    gpus_max = std::max(gpus_max, worker.gpus.value_or(asked.gpus));
    has_one_that_fits |=
        worker.cores >= asked.cores && worker.memory_mib >= asked.memory_mib && has_gpus(worker.gpus, asked.gpus);
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
  if (asked.gpus > gpus_max)
    return unfit(base::format(
        "a node of {} was asked for, and {}; set SparkConfig::num_gpus to at most {}, or have the operator "
        "give Spark's workers GPUs (spark.worker.resource.gpu.amount and a discovery script)",
        gpus_text(asked.gpus),
        gpus_max == 0 ? "Spark knows of none on any worker" : base::format("the largest worker has {}", gpus_max),
        gpus_max));
  if (!has_one_that_fits)
    return unfit(base::format(
        "no worker has {} {}; set SparkConfig::num_cpus{} to less", asked.gpus == 0 ? "both" : "all of", to_text(asked),
        asked.gpus == 0 ? " or SparkConfig::memory_bytes" : ", SparkConfig::memory_bytes or SparkConfig::num_gpus"));
  return {};
}

std::string doubt_about(const NodeSize& size, std::uint64_t store_bytes) {
  if (size.memory_mib < kNodeMemorySmallMib)
    return base::format(
        "a node has only {} MiB, which the launcher's JVM, the node, its workers and its object store share; set "
        "SparkConfig::memory_bytes to {} MiB or more, or ask for fewer nodes",
        size.memory_mib, kNodeMemorySmallMib);
  const std::uint64_t memory_bytes = static_cast<std::uint64_t>(size.memory_mib) << 20;
  if (store_bytes > memory_bytes)
    return base::format(
        "SparkConfig::store_bytes asks for an object store of {} MiB, and a node has {} MiB, to which its store is "
        "lowered; set it to less, or SparkConfig::memory_bytes to more",
        store_bytes >> 20, size.memory_mib);
  return {};
}

std::vector<NodeSize> share_workers(const Capacity& capacity, int nodes_max, int gpus) {
  std::vector<NodeSize> shares;
  const auto share = [&shares](int cores, std::int64_t memory_mib, int parts) {
    for (int i = 0; i < parts; ++i)
      shares.push_back({std::max(1, cores / parts), std::max(kNodeMemoryMinMib, memory_mib / parts)});
  };
  std::vector<WorkerCapacity> workers = alive_workers(capacity);
  std::erase_if(workers, [gpus](const WorkerCapacity& worker) { return !has_gpus(worker.gpus, gpus); });
  const auto parts_of = [nodes_max](std::size_t count) {
    const int all = static_cast<int>(std::max<std::size_t>(count, 1));
    return std::max(1, (nodes_max + all - 1) / all);
  };
  std::vector<WorkerCapacity> free;
  for (const WorkerCapacity& worker : workers)
    if (worker.cores_free > 0 && worker.memory_free_mib >= kNodeMemoryMinMib && has_gpus(worker.gpus_free, gpus))
      free.push_back(worker);
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
  size.gpus = asked.gpus;
  return size;
}

std::string describe_wait(const Capacity& capacity, const NodeSize& size) {
  const std::vector<WorkerCapacity> workers = alive_workers(capacity);
  if (workers.empty()) return "the cluster has no worker that is alive";
  int cores_max = 0;
  std::int64_t memory_max_mib = 0;
  int gpus_max = 0;
  for (const WorkerCapacity& worker : workers) {
    if (worker.cores_free >= size.cores && worker.memory_free_mib >= size.memory_mib &&
        has_gpus(worker.gpus_free, size.gpus))
      return "Spark has not placed it yet";
    cores_max = std::max(cores_max, worker.cores_free);
    memory_max_mib = std::max(memory_max_mib, worker.memory_free_mib);
    gpus_max = std::max(gpus_max, worker.gpus_free.value_or(size.gpus));
  }
  return base::format(
      "no worker has {} free (the most that one has free is {} cores, {} MiB{}); set SparkConfig::num_cpus{} and "
      "SparkConfig::memory_bytes to less, or fewer nodes",
      to_text(size), cores_max, memory_max_mib, size.gpus == 0 ? "" : ", " + gpus_text(gpus_max),
      size.gpus == 0 ? "" : ", SparkConfig::num_gpus (spark.worker.resource.gpu.amount says what workers have)");
}

}  // namespace rayx::spark
