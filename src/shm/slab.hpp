// Slabs: 256 KiB of the store that one process leases and cuts into small blocks of one size.
//
// The lessee allocates; its free lists are private, so an allocation is two stores. Any process may free a block by one
// atomic `or` of a bit into the slab. Nothing else is shared, and everything that matters after a `kill -9` is in the slab:
//
//   | SlabHeader | remote-free bits | one BlockHeader for each block | blocks, each on a multiple of 64 bytes |
//
// A block is free if its header says so, or its bit is set, or the record that its header names does not name the block.
// What makes this hold after a death between any two writes:
//   allocate  the header names the owner's record before the caller has the block
//   free      the bit is set (or the header cleared) BEFORE the record stops naming the block: see `free_block`
//   collect   the headers of freed blocks are cleared before their bits
//   format    the magic word goes first and comes last
// So a block that a live record names is never handed out, and one that none names is always found.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include "base/kill_point.hpp"
#include "shm/layout.hpp"

namespace rayx::shm {

inline constexpr std::uint64_t kSlabBytes = 256 * 1024;  // slabs lie on multiples of this in the arena
inline constexpr std::uint32_t kSlabPayloadMax_bytes = 32 * 1024;
inline constexpr std::uint64_t kSlabMagic = 0x3162'616c'7378'72ull;  // "rxslab1", little endian

// The record that a block belongs to: who may free it, and how the node finds out whether it is still needed.
struct BlockOwner {
  std::uint32_t slot = 0;
  std::uint32_t record = 0;
  std::uint32_t generation = 0;
  bool operator==(const BlockOwner&) const = default;
};

// Free -> held -> given or free; given -> free.
enum class BlockUse : std::uint32_t {
  kFree = 0,
  kHeld = 1,   // the lessee fills it and may still give it up
  kGiven = 2,  // from here on it belongs to the owner that the header names
};

struct BlockHeader {
  std::atomic<std::uint64_t> name;  // slot << 32 | record. Means something only while `use` is not kFree.
  std::atomic<std::uint64_t> use;   // generation << 32 | BlockUse. 0: free.
};
static_assert(sizeof(BlockHeader) == 16 && std::is_standard_layout_v<BlockHeader>);

struct alignas(kCacheLineBytes) SlabHeader {
  // Line 0: written by `format` only, so it stays shared in every core's cache.
  std::atomic<std::uint64_t> magic;  // kSlabMagic when the rest is in force
  std::uint64_t serial;              // of the node's lease
  std::uint32_t lessee;              // process slot
  std::uint32_t lessee_index;        // means something to the lessee only
  std::uint32_t block_bytes;
  std::uint32_t blocks;
  std::uint32_t reciprocal;     // ceil(2^31 / (block_bytes / 64)): divides without a division
  std::uint32_t headers_begin;  // from the slab's start
  std::uint32_t blocks_begin;   // from the slab's start
  std::uint32_t size_class;
};
static_assert(sizeof(SlabHeader) == kCacheLineBytes && std::is_standard_layout_v<SlabHeader>);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

// Steps of an eighth to a third: at most a quarter of a block is unused, but for the smallest.
inline constexpr std::array<std::uint32_t, 27> kSlabClassBytes = {
    64,   128,  192,  256,  320,  384,  448,  512,  640,   768,   896,   1024,  1280, 1536,
    1792, 2048, 2560, 3072, 4096, 5120, 6144, 8192, 10240, 12288, 16384, 24576, 32768};
inline constexpr std::uint32_t kSlabClasses = kSlabClassBytes.size();

namespace detail_slab {
inline constexpr auto kClassOfLines = [] {
  std::array<std::uint8_t, kSlabPayloadMax_bytes / 64 + 1> table{};
  std::uint8_t size_class = 0;
  for (std::uint32_t lines = 0; lines < table.size(); ++lines) {
    while (kSlabClassBytes[size_class] < lines * 64) ++size_class;
    table[lines] = size_class;
  }
  return table;
}();
}  // namespace detail_slab

// The class of blocks for `bytes` of payload, at most kSlabPayloadMax_bytes.
constexpr std::uint32_t slab_class_of(std::uint64_t bytes) { return detail_slab::kClassOfLines[(bytes + 63) / 64]; }

// A slab as any process sees it. Copyable; costs an address.
class Slab {
 public:
  // The slab in which `offset` lies.
  Slab(const Segment& segment, Offset offset) noexcept
      : base_(offset & ~(kSlabBytes - 1)), header_(segment.at<SlabHeader>(base_)) {}

  Offset base() const noexcept { return base_; }
  SlabHeader& header() const noexcept { return *header_; }
  // Whether the holder of lease `serial` has made a slab here that is in force.
  bool is_formatted(std::uint64_t serial) const noexcept {
    return header_->magic.load(std::memory_order_acquire) == kSlabMagic && header_->serial == serial;
  }

  std::uint32_t blocks() const noexcept { return header_->blocks; }
  std::uint32_t index_of(Offset block) const noexcept {
    const std::uint64_t lines = (block - base_ - header_->blocks_begin) / 64;
    return static_cast<std::uint32_t>(lines * header_->reciprocal >> 31);
  }
  Offset offset_of(std::uint32_t index) const noexcept {
    return base_ + header_->blocks_begin + std::uint64_t{index} * header_->block_bytes;
  }
  BlockHeader& block(std::uint32_t index) const noexcept {
    return reinterpret_cast<BlockHeader*>(bytes() + header_->headers_begin)[index];
  }
  std::atomic<std::uint64_t>& free_word(std::uint32_t index) const noexcept {
    return reinterpret_cast<std::atomic<std::uint64_t>*>(bytes() + sizeof(SlabHeader))[index / 64];
  }
  std::uint32_t free_words() const noexcept { return (header_->blocks + 63) / 64; }
  bool is_marked_free(std::uint32_t index) const noexcept {
    return (free_word(index).load(std::memory_order_acquire) >> index % 64 & 1) != 0;
  }

  BlockOwner owner_of(std::uint32_t index) const noexcept {
    const std::uint64_t name = block(index).name.load(std::memory_order_relaxed);
    const std::uint64_t use = block(index).use.load(std::memory_order_relaxed);
    return BlockOwner{static_cast<std::uint32_t>(name >> 32), static_cast<std::uint32_t>(name),
                      static_cast<std::uint32_t>(use >> 32)};
  }
  BlockUse use_of(std::uint32_t index) const noexcept {
    return static_cast<BlockUse>(static_cast<std::uint32_t>(block(index).use.load(std::memory_order_acquire)));
  }

  // Owner, from any process that is not the lessee: gives the block back. See `free_block`.
  void free_remote(Offset offset, [[maybe_unused]] const BlockOwner& owner) const noexcept {
    const std::uint32_t index = index_of(offset);
    RAYX_DCHECK(offset_of(index) == offset, "no block begins at this offset", offset);
    RAYX_DCHECK(owner_of(index) == owner && use_of(index) != BlockUse::kFree,
                "block is freed by one who does not own it, or twice", offset, owner.slot, owner.record,
                owner.generation);
    RAYX_KILL_POINT("slab.free_remote.before_bit");
    // Release: whoever takes the bit sees all that the owner and its readers did with the block as past.
    [[maybe_unused]] const std::uint64_t before =
        free_word(index).fetch_or(std::uint64_t{1} << index % 64, std::memory_order_acq_rel);
    RAYX_DCHECK((before >> index % 64 & 1) == 0, "block is freed twice", offset, owner.slot, owner.record,
                owner.generation);
    RAYX_KILL_POINT("slab.free_remote.after_bit");
  }

  // Node, after the lessee's death is confirmed, as often as it likes (so also after an owner's death): frees each block whose
  // record does not name it and returns how many are left. 0: nobody has or will ever have anything to do with the slab, and
  // its memory may be leased again. `is_live(owner, offset)` says whether the record, in that generation, is done and names
  // the block at `offset`; owners may go on freeing meanwhile.
  template <class IsLive>
  std::uint32_t reconcile(std::uint64_t serial, IsLive&& is_live) const {
    if (!is_formatted(serial)) return 0;
    std::uint32_t left = 0;
    for (std::uint32_t i = 0; i < blocks(); ++i) {
      if (use_of(i) == BlockUse::kFree || is_marked_free(i)) continue;
      if (is_live(owner_of(i), offset_of(i))) {
        ++left;
      } else {
        block(i).use.store(0, std::memory_order_relaxed);
        RAYX_KILL_POINT("slab.reconcile.cleared");
      }
    }
    return left;
  }

  // Node, after `reconcile`: the same count without asking the records. For looking now and then whether an orphan is empty.
  std::uint32_t count_left(std::uint64_t serial) const noexcept {
    if (!is_formatted(serial)) return 0;
    std::uint32_t left = 0;
    for (std::uint32_t i = 0; i < blocks(); ++i) left += use_of(i) != BlockUse::kFree && !is_marked_free(i);
    return left;
  }

 private:
  std::byte* bytes() const noexcept { return reinterpret_cast<std::byte*>(header_); }

  Offset base_;
  SlabHeader* header_;
};

// One process's slabs. One thread at a time: the caller's lock, or one allocator for each thread.
class SlabAllocator {
 public:
  // `me` is the process slot that leases.
  SlabAllocator(const Segment& segment, std::uint32_t me) : segment_(segment), me_(me) {}
  SlabAllocator(const SlabAllocator&) = delete;
  SlabAllocator& operator=(const SlabAllocator&) = delete;

  // A block of at least `bytes` (<= kSlabPayloadMax_bytes) on a multiple of 64, held for `owner`. kNoOffset: no slab has room;
  // lease one from the node, `add_slab`, and try again. About 5 ns.
  Offset allocate(std::uint64_t bytes, const BlockOwner& owner) noexcept {
    RAYX_DCHECK(bytes <= kSlabPayloadMax_bytes, "block is too large for a slab", bytes);
    const std::uint32_t size_class = slab_class_of(bytes);
    Leased* leased = classes_[size_class].current;
    if (leased == nullptr || leased->free_count == 0) [[unlikely]] {
      leased = find_slab(size_class);
      if (leased == nullptr) return kNoOffset;
    }
    const std::uint32_t index = leased->take_free();
    BlockHeader& block = leased->headers[index];
    RAYX_DCHECK(static_cast<std::uint32_t>(block.use.load(std::memory_order_relaxed)) == 0,
                "a block in use was handed out", index);
    RAYX_KILL_POINT("slab.allocate.before_name");
    block.name.store(std::uint64_t{owner.slot} << 32 | owner.record, std::memory_order_relaxed);
    RAYX_KILL_POINT("slab.allocate.before_use");
    block.use.store(word_of(owner.generation, BlockUse::kHeld), std::memory_order_release);
    RAYX_KILL_POINT("slab.allocate.after_use");
    return leased->first_block + std::uint64_t{index} * leased->block_bytes;
  }

  // Lessee: the block that it holds is for another record than was known when it was allocated.
  void rename(Offset offset, const BlockOwner& owner) noexcept {
    const Slab slab(segment_, offset);
    BlockHeader& block = slab.block(slab.index_of(offset));
    RAYX_DCHECK(slab.use_of(slab.index_of(offset)) == BlockUse::kHeld, "block is not held", offset);
    // After a kill in between the header names a record that does not name the block: it is freed.
    block.name.store(std::uint64_t{owner.slot} << 32 | owner.record, std::memory_order_relaxed);
    RAYX_KILL_POINT("slab.rename.before_use");
    block.use.store(word_of(owner.generation, BlockUse::kHeld), std::memory_order_release);
    RAYX_KILL_POINT("slab.rename.after_use");
  }

  // Right before the block is published in the record of another process: from here on that owner frees it, and so does
  // `free_owned_by` after that owner's death. Under the same lock as `free_owned_by`; if the owner is dead already, `free` it.
  void give(Offset offset) noexcept {
    const Slab slab(segment_, offset);
    BlockHeader& block = slab.block(slab.index_of(offset));
    const std::uint64_t use = block.use.load(std::memory_order_relaxed);
    RAYX_DCHECK(static_cast<BlockUse>(static_cast<std::uint32_t>(use)) == BlockUse::kHeld, "block is not held", offset);
    RAYX_KILL_POINT("slab.give.before_use");
    block.use.store(use >> 32 << 32 | static_cast<std::uint32_t>(BlockUse::kGiven), std::memory_order_release);
    RAYX_KILL_POINT("slab.give.after_use");
  }

  // Gives back a block of any slab, this process's or another's. The caller is its owner, or the lessee that still holds it.
  // ORDER: free the block first, and only then let the record stop naming it (raise its generation, or reuse it). The other way
  // round the node could find the block dead, lease the slab anew, and the late free would hit somebody else's block.
  void free_block(Offset offset, const BlockOwner& owner) noexcept {
    const Slab slab(segment_, offset);
    Leased* leased = leased_at(slab);
    if (leased == nullptr) return slab.free_remote(offset, owner);
    const std::uint32_t index = slab.index_of(offset);
    RAYX_DCHECK(slab.offset_of(index) == offset, "no block begins at this offset", offset);
    RAYX_DCHECK(slab.owner_of(index) == owner && slab.use_of(index) != BlockUse::kFree,
                "block is freed by one who does not own it, or twice", offset, owner.slot, owner.record,
                owner.generation);
    free_local(*leased, index);
  }

  // After the death of the process in `dead_slot`: frees every block given to it for which `decide(owner, offset)` is true (say,
  // because nobody else holds the object). Walks all slabs. Blocks still held here stay. Returns how many it freed.
  template <class Decide>
  std::uint32_t free_owned_by(std::uint32_t dead_slot, Decide&& decide) {
    std::uint32_t freed = 0;
    for (const std::unique_ptr<Leased>& leased : slabs_) {
      if (leased == nullptr || leased->size_class == kNoClass) continue;
      const Slab slab(segment_, leased->base);
      for (std::uint32_t i = 0; i < slab.blocks(); ++i) {
        if (slab.use_of(i) != BlockUse::kGiven || slab.is_marked_free(i)) continue;
        const BlockOwner owner = slab.owner_of(i);
        if (owner.slot != dead_slot || !decide(owner, slab.offset_of(i))) continue;
        free_local(*leased, i);
        ++freed;
      }
    }
    return freed;
  }

  // Memory that the node has leased to this process: 256 KiB at `base`, a multiple of kSlabBytes. `serial` names the lease and
  // is used once.
  void add_slab(Offset base, std::uint64_t serial);

  // Takes up what other processes have freed, in every slab.
  void collect_all() noexcept;

  // A slab with no block in use, to be handed back to the node; nothing if at most `keep` are empty. Call collect_all before to
  // find those that others have emptied. After this call the process must not touch it any more.
  std::optional<Offset> take_empty(std::uint32_t keep) noexcept;

  std::uint32_t slabs() const noexcept { return slab_count_; }
  // Blocks that are not on a private free list: those in use and those that others freed and nobody collected.
  std::uint64_t blocks_in_use() const noexcept;
  bool is_valid() const;

 private:
  static constexpr std::uint32_t kNoClass = UINT32_MAX;  // leased, not formatted yet
  // Slabs that a search looks through before it gives up. So the search is O(1), and what others have freed in slabs that were
  // not looked at yet stays below the memory of an eighth of the slabs.
  static constexpr std::uint32_t kSweepSlabsMax = 8;

  struct Leased {
    Offset base = kNoOffset;
    std::uint64_t serial = 0;
    std::uint32_t index = 0;  // in slabs_
    std::uint32_t size_class = kNoClass;
    std::uint32_t blocks = 0;
    std::uint32_t block_bytes = 0;
    Offset first_block = kNoOffset;
    BlockHeader* headers = nullptr;
    std::uint32_t free_count = 0;
    bool is_listed = false;                        // in its class's `partial`
    std::unique_ptr<std::uint16_t[]> free_blocks;  // the last freed is the first taken: it is warm

    std::uint32_t take_free() noexcept { return free_blocks[--free_count]; }
    void put_free(std::uint32_t block) noexcept { free_blocks[free_count++] = static_cast<std::uint16_t>(block); }
    bool is_empty() const noexcept { return free_count == blocks; }
  };
  struct SizeClass {
    Leased* current = nullptr;
    std::vector<Leased*> members;
    std::vector<Leased*> partial;  // members with room that are not current; may hold some that are full again
    std::size_t sweep_at = 0;
  };

  static constexpr std::uint64_t word_of(std::uint32_t generation, BlockUse use) noexcept {
    return std::uint64_t{generation} << 32 | static_cast<std::uint32_t>(use);
  }
  // A slab of a dead process that had this slot carries the same lessee, so the private table decides.
  Leased* leased_at(const Slab& slab) const noexcept {
    const std::uint32_t index = slab.header().lessee_index;
    if (slab.header().lessee != me_ || index >= slabs_.size() || slabs_[index] == nullptr) return nullptr;
    return slabs_[index]->base == slab.base() ? slabs_[index].get() : nullptr;
  }
  void free_local(Leased& leased, std::uint32_t index) noexcept {
    RAYX_KILL_POINT("slab.free_local.before_use");
    leased.headers[index].use.store(0, std::memory_order_relaxed);
    RAYX_KILL_POINT("slab.free_local.after_use");
    leased.put_free(index);
    if (leased.free_count == 1) [[unlikely]]
      note_room(leased);
  }

  Leased* find_slab(std::uint32_t size_class) noexcept;
  void note_room(Leased& leased) noexcept;
  std::uint32_t collect(Leased& leased) noexcept;
  void format(Leased& leased, std::uint32_t size_class) noexcept;
  void forget_class(Leased& leased) noexcept;
  Leased* find_empty() const noexcept;

  Segment segment_;
  std::uint32_t me_;
  std::uint32_t slab_count_ = 0;
  std::array<SizeClass, kSlabClasses> classes_;
  std::vector<std::unique_ptr<Leased>> slabs_;  // by lessee_index; null: given back
  std::vector<std::uint32_t> free_indices_;
  std::vector<Leased*> spare_;  // not formatted
};

}  // namespace rayx::shm
