// How much memory and how many CPUs this process may use: the machine's, its cgroup's (v1 and v2, every level above it too)
// and its affinity mask's, whichever is least.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <rayx/result.hpp>

namespace rayx::shm {

// What one cgroup in the chain from this process up to the mounted root allows.
struct CgroupMemory {
  std::string file;  // the file that holds the limit
  std::uint64_t limit_bytes = 0;
  std::uint64_t used_bytes = 0;  // without page cache that the kernel drops first (inactive_file)
  std::uint64_t free_bytes() const { return limit_bytes > used_bytes ? limit_bytes - used_bytes : 0; }
};

struct MachineLimits {
  std::uint64_t memory_total_bytes = 0;       // of the machine
  std::uint64_t memory_available_bytes = 0;   // MemAvailable of the machine
  std::optional<CgroupMemory> memory_cgroup;  // the one with the least free memory, if any has a limit
  std::uint32_t cpus = 1;                     // whole CPUs, a quota rounded up, at least 1
  std::string cpus_source;                    // what `cpus` was decided by: a file or "affinity mask"

  // The least of the machine's total and every cgroup's limit: what can be had with nothing else running.
  std::uint64_t memory_limit_bytes = 0;
  // What can still be had now.
  std::uint64_t memory_free_bytes() const;
  // "7.5 GiB are free (machine: 20.1 GiB of 23.5 GiB; cgroup limit: 7.5 GiB of 8.0 GiB, /sys/fs/cgroup/memory.max)".
  std::string memory_text() const;
};

// Reads /proc and the cgroup file systems below `root` ("" is the real one; tests give recorded trees). A file that is missing
// or makes no sense limits nothing. Some 50 small reads: call it at start, not in a loop.
MachineLimits read_machine_limits(const std::string& root = "");

// An error with all numbers if `bytes` of shared memory cannot be had: they would end in the OOM killer, not in an exception.
// `name` is the option that the user can change.
Result<void> check_memory_fits(const MachineLimits& limits, std::uint64_t bytes, const std::string& name);

// "1.5 GiB", "300.0 MiB", "17 bytes".
std::string bytes_text(std::uint64_t bytes);

}  // namespace rayx::shm
