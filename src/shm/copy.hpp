// Copying large values into the store past the caches.
#pragma once

#include <cstddef>

namespace rayx::shm {

// From here on `copy_bulk` uses non-temporal stores. Below, a reader that follows soon loses more by finding nothing in the
// caches than the writer gains (figures: docs/design/store.md).
inline constexpr std::size_t kBulkCopyBytesMin = 12 << 20;

// memcpy for ranges that do not overlap; large ones at 1.4 to 2 times its speed, by stores that do not read the destination
// into the caches first. After it returns the bytes may be published by a release store as after memcpy (it ends in a store
// fence). Any thread.
void copy_bulk(void* to, const void* from, std::size_t bytes) noexcept;

// The non-temporal way whatever the size: for the bench that chooses the threshold. Tests compare each way that the CPU has.
enum class CopyWay { kSse2, kAvx2 };
bool has_copy_way(CopyWay way) noexcept;
void copy_past_caches(CopyWay way, void* to, const void* from, std::size_t bytes) noexcept;

}  // namespace rayx::shm
