// What a cluster has and what of it is free, as the master's web page tells it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rayx/result.hpp"

namespace rayx::spark {

struct WorkerCapacity {
  std::string id;
  std::string host;
  std::string state;  // ALIVE, DEAD, DECOMMISSIONED, UNKNOWN
  int cores = 0;
  int cores_free = 0;
  std::int64_t memory_mib = 0;
  std::int64_t memory_free_mib = 0;
  // That Spark knows of (spark.worker.resource.gpu.amount). Nothing: the page does not say, as that of Spark 2.
  std::optional<int> gpus = {};
  std::optional<int> gpus_free = {};
  bool is_alive() const { return state == "ALIVE"; }
};

struct Capacity {
  std::string master_url;  // spark://host:7077
  std::string status;      // ALIVE, STANDBY, RECOVERING, COMPLETING_RECOVERY
  std::vector<WorkerCapacity> workers;
  // Over the workers that are alive.
  int workers_alive = 0;
  int cores = 0;
  int cores_free = 0;
  std::int64_t memory_mib = 0;
  std::int64_t memory_free_mib = 0;
};

// The body of GET /json on the master's web port. kMalformed as parse_answer.
Result<Capacity> parse_capacity(std::string_view body, std::string_view content_type);

}  // namespace rayx::spark
