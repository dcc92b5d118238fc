// Where a process gets parts of the store from: the driver from the node's books in its own process, a worker by asking.
#pragma once

#include <cstdint>

#include <rayx/result.hpp>

#include "base/clock.hpp"
#include "shm/layout.hpp"
#include "shm/slab.hpp"

namespace rayx::worker {

struct LeasedMemory {
  shm::Offset offset = shm::kNoOffset;
  std::uint64_t serial = 0;  // of slabs
};

class MemorySource {
 public:
  virtual ~MemorySource() = default;
  // Waits for room until the node's time-out, or not at all. Any thread.
  virtual Result<LeasedMemory> lease_extent(std::uint64_t bytes, bool may_wait) = 0;
  virtual Result<LeasedMemory> lease_slab(bool may_wait) = 0;
  // Of either. Any thread; never waits for long.
  virtual void release(shm::Offset offset) = 0;
};

// An extent begins with this: the record that its value belongs to, as the header of a slab's block says it. The value follows.
using ExtentHeader = shm::BlockHeader;
inline constexpr std::uint64_t kExtentHeaderBytes = 64;
// Owner of extents with tables of the process itself: they go with the process.
inline constexpr std::uint32_t kTableRecord = UINT32_MAX;

// Values above this size lie in extents of their own.
constexpr bool is_in_slab(std::uint64_t bytes) noexcept { return bytes <= shm::kSlabPayloadMax_bytes; }

}  // namespace rayx::worker
