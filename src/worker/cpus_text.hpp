// CPUs in messages.
#pragma once

#include <cstdint>
#include <string>

#include "shm/node_protocol.hpp"

namespace rayx::worker {

// 10000: "1", 5000: "0.5".
inline std::string cpus_text(std::uint64_t units) {
  std::string text = std::to_string(units / shm::kCpuUnits);
  if (units % shm::kCpuUnits == 0) return text;
  std::string fraction = std::to_string(shm::kCpuUnits + units % shm::kCpuUnits).substr(1);
  fraction.erase(fraction.find_last_not_of('0') + 1);
  return text + '.' + fraction;
}

}  // namespace rayx::worker
