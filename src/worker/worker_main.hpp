// What the node tells a new worker, and the worker's entry.
#pragma once

#include <cstdint>

#include "process/take_over.hpp"
#include "shm/layout.hpp"

namespace rayx::worker {

// The bytes of process::WorkerRequest::config.
struct WorkerConfig {
  std::uint32_t slot = 0;
  std::uint32_t processes = 0;
  std::uint32_t lanes = 0;
  std::uint32_t is_alone = 1;
  double cpus = 1;
  std::int64_t submit_timeout_ns = 0;
  std::uint64_t pending_max = 0;
  shm::Offset modules = shm::kNoOffset;  // FunctionNumbers::encode
  std::uint64_t modules_bytes = 0;
};

// The descriptors that come with it, in this order.
enum WorkerFd : std::size_t { kArenaFd = 0, kNodeEventFd = 1 };

// Never returns before the node tells the worker to leave. Registered before main.
int worker_main(const process::WorkerStart& start);

}  // namespace rayx::worker
