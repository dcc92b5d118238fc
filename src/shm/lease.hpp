// The word in a process's slot that says which lane its executor serves; the node writes it, the executor follows it.
//
// A lease that was taken back names its lane and the serial number of the lease still. The executor answers each one that it sees
// taken back, also one that it never saw given: a process that comes late (it was still starting, or had no CPU) would take
// "none, a lane, none" for nothing new, and the node would wait for ever for the CPUs of that lease.
#pragma once

#include <cstdint>

namespace rayx::shm {

// serial << 16 | taken back << 15 | lane + 1. 0: none yet. kLeaseLeave (process_slot.hpp) is none of these.
struct LeaseWord {
  static constexpr std::uint32_t kTakenBack = 0x8000;
  static constexpr std::uint32_t kMayLeave = 0x7fff;  // in place of a lane
  static constexpr std::uint32_t kSerials = 0x7fff;

  static constexpr std::uint32_t make(std::uint32_t serial, std::uint32_t lane) {
    return serial % kSerials << 16 | (lane + 1);
  }
  // No lease: the worker leaves unless others use what it owns.
  static constexpr std::uint32_t make_leave(std::uint32_t serial) { return serial % kSerials << 16 | kMayLeave; }
  static constexpr bool is_leave(std::uint32_t word) { return (word & 0xffff) == kMayLeave; }
  static constexpr bool is_taken_back(std::uint32_t word) { return (word & kTakenBack) != 0; }
  static constexpr std::uint32_t lane_plus_1(std::uint32_t word) { return word & (kTakenBack - 1); }
};

}  // namespace rayx::shm
