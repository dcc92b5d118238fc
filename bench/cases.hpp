// The nouns of the bench cases: a case is a function that starts its own runtime, measures for about a second, checks all its
// results and reports one figure or two. Everything goes through the public header.
#pragma once

#include <rayx/rayx.hpp>

#include <unistd.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kit.hpp"

namespace bench {

struct Case {
  std::string_view name;
  void (*run)();
};
std::span<const Case> call_cases();      // cases_calls.cc
std::span<const Case> object_cases();    // cases_objects.cc
std::span<const Case> cluster_cases();   // cases_cluster.cc
std::span<const Case> node_cases();      // cases_nodes.cc
std::span<const Case> fault_cases();     // cases_faults.cc
std::span<const Case> head_cases();      // cases_head.cc
std::span<const Case> transfer_cases();  // cases_transfers.cc
std::span<const Case> spark_cases();     // cases_spark.cc

inline constexpr int kBatch = 1000;

// --same-process: the work may run in this process, as it does with RAYX_LOCAL=1. For smoke tests; no figure then counts.
inline bool same_process_allowed = false;

// Of this process. Read once: the system call would be most of a small task.
inline std::uint32_t own_pid() {
  static const std::uint32_t pid = static_cast<std::uint32_t>(::getpid());
  return pid;
}

// A task's result with the process that made it in the upper half, so that each result tells where it ran. 8 bytes.
inline std::uint64_t stamp(std::uint64_t value) { return std::uint64_t{own_pid()} << 32 | (value & 0xffffffff); }
inline std::uint32_t pid_of(std::uint64_t stamped) { return static_cast<std::uint32_t>(stamped >> 32); }
inline void check_elsewhere(std::uint32_t pid) {
  check(same_process_allowed || pid != own_pid(), "the work ran in the driver's process");
}
// The value of a result that was made in another process.
inline std::uint64_t value_of(std::uint64_t stamped) {
  check_elsewhere(pid_of(stamped));
  return stamped & 0xffffffff;
}
// 1 + 2 + … + count: what `count` results of next_number(0 …) add up to.
inline std::uint64_t sum_to(std::uint64_t count) { return count * (count + 1) / 2; }
inline void check_sum(std::uint64_t sum, std::uint64_t expected, const char* what) {
  check(sum == expected, what, std::to_string(sum) + " instead of " + std::to_string(expected));
}

// The task that most cases run.
inline std::uint64_t next_number(std::uint64_t x) { return stamp(x + 1); }

}  // namespace bench
