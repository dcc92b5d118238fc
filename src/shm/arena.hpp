// The arena: the one piece of memory that all processes of a node share. An unnamed memfd, so nothing is left behind.
//
//   0              control_bytes                control_bytes + store_bytes
//   | control area | store: extents and slabs   | arena header (one page) |
//
// The header lies behind everything that an offset may name, so no write by a wrong offset can damage it, and offset 0 is the
// start of the control area. Each process maps the file twice: read-only for objects, so that a stray write into somebody
// else's object is a crash at the culprit, and writable for the control area and for memory that it has leased.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <rayx/result.hpp>

#include "shm/layout.hpp"
#include "shm/machine_limits.hpp"

namespace rayx::shm {

inline constexpr std::uint64_t kArenaMagic = 0x31616e657261'7872ull;  // "rxarena1", little endian
inline constexpr std::uint32_t kArenaLayoutVersion = 1;
inline constexpr std::uint64_t kPageBytes = 4096;
// The store starts and ends on a multiple of this: the unit of leases, and 32 times that is one huge page.
inline constexpr std::uint64_t kStoreGranuleBytes = 64 * 1024;
inline constexpr std::uint64_t kStoreAlignBytes = 2 * 1024 * 1024;

struct ArenaHeader {
  std::uint64_t magic;
  std::uint32_t layout_version;
  std::uint32_t header_bytes;
  std::uint64_t control_bytes;
  std::uint64_t store_bytes;
};
static_assert(sizeof(ArenaHeader) == 32);

struct ArenaConfig {
  std::uint64_t control_bytes = 0;  // rounded up to kStoreAlignBytes; pages that nobody touches cost nothing
  std::uint64_t store_bytes = 0;    // rounded up to kStoreGranuleBytes
  // Refuse a size that does not fit into the memory that is free. Without it the machine overcommits.
  std::optional<MachineLimits> refuse_beyond;
};

// One process's two mappings. Moves; unmaps and closes in its destructor. Reading its addresses: any thread.
class Arena {
 public:
  // A new arena, all zero. Costs two system calls a mapping, no memory.
  static Result<Arena> create(const ArenaConfig& config);
  // The arena behind a descriptor that came from `fd()` of another process. Owns `fd` from here on, also on error.
  static Result<Arena> attach(int fd);

  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena other) noexcept;
  ~Arena();

  // For reading. Any offset that does not come from a checked place must pass `contains` first.
  const std::byte* address(Offset offset) const noexcept {
    RAYX_DCHECK(offset < bytes_, "offset lies outside the arena", offset, bytes_);
    return read_base_ + offset;
  }
  // For writing: the control area, and memory that this process has leased. A store anywhere else is a bug.
  std::byte* writable(Offset offset) const noexcept {
    RAYX_DCHECK(offset < bytes_, "offset lies outside the arena", offset, bytes_);
    return write_base_ + offset;
  }
  // Where an address of either mapping lies.
  Offset offset_of(const void* address) const noexcept;
  // Whether [offset, offset + bytes) lies in the store. For offsets that another process has written.
  bool contains(Offset offset, std::uint64_t bytes) const noexcept {
    return offset >= control_bytes_ && offset <= bytes_ && bytes <= bytes_ - offset;
  }

  // The mappings stay; nobody can attach any more. For a process that keeps reading after its runtime has ended.
  void close_fd() noexcept;
  // Gives the store's memory back to the system, but for the pages of `kept`; what was elsewhere reads as zeros. The control area
  // stays: somebody may still sleep on a word of it.
  struct Piece {
    Offset offset;
    std::uint64_t bytes;
  };
  void release_store(std::vector<Piece> kept) const noexcept;

  // The writable mapping from offset 0 to the end of the store.
  Segment segment() const noexcept { return Segment(write_base_, bytes_); }
  int fd() const noexcept { return fd_; }
  std::uint64_t control_bytes() const noexcept { return control_bytes_; }
  std::uint64_t store_bytes() const noexcept { return bytes_ - control_bytes_; }
  Offset store_begin() const noexcept { return control_bytes_; }

  // Makes the pages of a range exist and maps them writable here, in steps of at most 2 MiB, without changing what they hold.
  // About 0.6 ms/MiB for pages that are new, 0.2 for pages that are there and only new to this process.
  // An error where plain use would raise SIGBUS. Any thread, also while others use the range.
  Result<void> prefault(Offset offset, std::uint64_t bytes) const;
  // The opposite: whole pages of the range go back to the system, and read as zeros from now on. About 0.1 ms/MiB. Any thread, of a range
  // that nobody uses.
  void drop_pages(Offset offset, std::uint64_t bytes) const noexcept;
  // prefault for the read-only mapping of pages that exist, at 0.06 ms/MiB. A reader's own faults cost about as much (the kernel
  // maps 16 pages at each), so this is worth it on another thread, or before a latency that matters.
  void prefault_for_reading(Offset offset, std::uint64_t bytes) const noexcept;

 private:
  Arena() = default;
  Result<void> map(const ArenaHeader& header);

  int fd_ = -1;
  std::byte* read_base_ = nullptr;
  std::byte* write_base_ = nullptr;
  std::uint64_t control_bytes_ = 0;
  std::uint64_t bytes_ = 0;  // control area and store, without the header page
};

}  // namespace rayx::shm
