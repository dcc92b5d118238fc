// From Config, environment and machine to the values that a runtime starts with.
#pragma once

#include <cstdint>

#include "rayx/options.hpp"
#include "rayx/result.hpp"

namespace rayx::detail {

// Every field is set and within its range, or the error names the field or variable, its value and what it may be.
Result<Config> resolve_config(const Config& config);

// What this process may use: affinity and cgroup quota, at least 1; physical memory and cgroup limit.
int usable_cpus();
std::uint64_t usable_memory_bytes();

}  // namespace rayx::detail
