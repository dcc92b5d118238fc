// Why a hold could not be taken: the object may be gone, or there is no room to note one more.
#pragma once

#include "shm/control.hpp"

namespace rayx::worker {

inline constexpr const char* kNoRoomForHolds =
    "the table of what this process holds of others is full, and the object store has no room for more of it. Drop "
    "references, or raise Config::store_bytes (RAYX_STORE_BYTES)";

// Of a reference inside something.
inline constexpr const char* kNamesNobodysObject =
    " names an object whose owner has died, and nobody kept it. Keep the ObjectRef until the value was read, or put() "
    "in "
    "the driver what is to outlive a worker";

// The object that the key names, whatever else is missing. For keys that another process has written.
inline bool is_object_there(const shm::Control& control, shm::ObjectKey key) {
  if (key.owner() >= control.header().processes || key.record() >= shm::kRecordsPerSlab * shm::kRecordSlabsMax)
    return false;
  const shm::ProcessSlot& slot = control.slot(key.owner());
  if (slot.life.load(std::memory_order_acquire) == shm::ProcessLife::kFree) return false;
  if (slot.record_slabs[key.record() / shm::kRecordsPerSlab].load(std::memory_order_acquire) == shm::kNoOffset)
    return false;
  return shm::generation_of(control.records_of(key.owner()).at(key.record())) == key.generation();
}

}  // namespace rayx::worker
