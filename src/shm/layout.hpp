// The nouns of the shared control area: limits, offsets, and how an offset becomes an address in this process.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/check.hpp"

namespace rayx::shm {

inline constexpr std::size_t kCacheLineBytes = 64;
inline constexpr std::uint32_t kProcessesMax = 1024;     // process slots of a node
inline constexpr std::uint32_t kLaneMembersMax = 64;     // executors of one lane: bits of one mask
inline constexpr std::uint32_t kServiceLane = 63;        // questions to the cluster, which the relay of a job answers
inline constexpr std::uint32_t kLanesMax = 1088;         // 64 scheduling classes and 1,024 actors
inline constexpr std::uint32_t kRunningDepthMax = 4096;  // tasks that wait below each other on one executor's stack
inline constexpr std::uint32_t kRecordsPerSlab = 1024;   // 64 KiB of records
inline constexpr std::uint32_t kRecordSlabsMax = 4096;   // 4 million records for each owner
inline constexpr std::uint32_t kQueueCellsMin = 64;
inline constexpr std::uint32_t kQueueCellsMax = 1u << 16;

// A place in the arena, from its start. 0 is the header and so never names anything else: it means "none".
using Offset = std::uint64_t;
inline constexpr Offset kNoOffset = 0;

// The arena as this process sees it: only offsets are shared, so each process may map it elsewhere.
class Segment {
 public:
  Segment() = default;
  Segment(std::byte* base, std::uint64_t bytes) : base_(base), bytes_(bytes) {}

  template <class T>
  T* at(Offset offset) const noexcept {
    RAYX_DCHECK(offset != kNoOffset && offset + sizeof(T) <= bytes_, "offset lies outside the arena", offset, bytes_);
    RAYX_DCHECK(offset % alignof(T) == 0, "offset is not aligned", offset, alignof(T));
    return reinterpret_cast<T*>(base_ + offset);
  }
  Offset offset_of(const void* address) const noexcept {
    return static_cast<Offset>(static_cast<const std::byte*>(address) - base_);
  }
  std::byte* base() const noexcept { return base_; }
  std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  std::byte* base_ = nullptr;
  std::uint64_t bytes_ = 0;
};

}  // namespace rayx::shm
