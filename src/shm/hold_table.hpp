// Holds: which objects of other owners a process uses. One word for each, in the process's own table: it alone writes, owners
// look, and after its death the node wipes the table. So no count can be left wrong by a kill.
//
// The table is a list of chunks. A key lives within `kHoldWindow` words of its hash in one of the chunks; a look-up reads that
// window in every chunk, so a release is a plain store of zero and needs no tombstone.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/kill_point.hpp"
#include "shm/layout.hpp"

namespace rayx::shm {

// Names one object for ever: owner's process slot (10 bits), record index (22 bits), generation of the record (32 bits).
struct ObjectKey {
  std::uint64_t word = 0;

  static constexpr ObjectKey make(std::uint32_t owner, std::uint32_t record, std::uint32_t generation) noexcept {
    return {std::uint64_t{owner} << 54 | std::uint64_t{record} << 32 | generation};
  }
  constexpr std::uint32_t owner() const noexcept { return static_cast<std::uint32_t>(word >> 54); }
  constexpr std::uint32_t record() const noexcept { return static_cast<std::uint32_t>(word >> 32) & 0x3fffff; }
  constexpr std::uint32_t generation() const noexcept { return static_cast<std::uint32_t>(word); }
  friend constexpr bool operator==(ObjectKey, ObjectKey) = default;
};
static_assert(kProcessesMax <= 1u << 10 && kRecordsPerSlab * kRecordSlabsMax <= 1u << 22);

inline constexpr std::uint32_t kHoldChunkWords = 4096;  // 32 KiB
inline constexpr std::uint32_t kHoldWindow = 16;
inline constexpr std::uint32_t kHoldChunksMax = 256;  // about a million borrowed references for each process

struct alignas(kCacheLineBytes) HoldChunk {
  std::atomic<std::uint64_t> words[kHoldChunkWords];
};

// Lies in shared memory, zeroed at first.
struct HoldTableState {
  std::atomic<std::uint64_t> adds;  // raised after each hold that is taken: see `adds()`
  std::atomic<std::uint64_t>
      releasing;  // the key of the hold that is being released and whose owner is not told yet, or 0
  std::atomic<std::uint32_t> chunks;
  std::atomic<Offset> chunk[kHoldChunksMax];
};

class HoldTable {
 public:
  HoldTable(const Segment& segment, HoldTableState& state) : segment_(segment), state_(&state) {}

  // The process itself, under its private lock. False: no room; `add_chunk` and try again. The object must be protected by
  // another hold until this returns: the task's lineage, or the object that contains the reference.
  bool add(ObjectKey key) noexcept {
    RAYX_DCHECK(key.word != 0, "a hold on nothing");
    const std::uint32_t chunks = state_->chunks.load(std::memory_order_relaxed);
    for (std::uint32_t c = 0; c < chunks; ++c) {
      for (std::uint32_t i = 0; i < kHoldWindow; ++i) {
        std::atomic<std::uint64_t>& word = word_at(c, key, i);
        if (word.load(std::memory_order_relaxed) != 0) continue;
        RAYX_KILL_POINT("hold.add.before");
        word.store(key.word, std::memory_order_release);
        RAYX_KILL_POINT("hold.add.after");
        state_->adds.store(state_->adds.load(std::memory_order_relaxed) + 1, std::memory_order_release);
        return true;
      }
    }
    return false;
  }

  // The process itself. Lets go of a hold and calls `tell()`, which makes the object's owner look again. Killed anywhere in between,
  // the table still names the object, so that the node can make its owner look (Control::free_process); and while it is named
  // nobody takes the owner's memory away from under `tell`.
  template <class Tell>
  void release(ObjectKey key, Tell&& tell) {
    RAYX_KILL_POINT("hold.release.before_word");
    state_->releasing.store(key.word, std::memory_order_relaxed);
    remove(key);
    tell();
    RAYX_KILL_POINT("hold.release.told");
    state_->releasing.store(0, std::memory_order_release);
  }

  // The process itself. The hold must be there: one `add`, one `remove`. Nobody hears of it: see `release`.
  void remove(ObjectKey key) noexcept {
    std::atomic<std::uint64_t>* word = find(key);
    RAYX_CHECK(word != nullptr, "a hold is released that was not taken", key.owner(), key.record(), key.generation());
    RAYX_KILL_POINT("hold.remove.before_word");
    word->store(0, std::memory_order_release);
    RAYX_KILL_POINT("hold.remove.after_word");
  }

  // The process itself: `memory` (a zeroed HoldChunk) becomes part of the table. False: the limit of chunks is reached.
  bool add_chunk(Offset memory) noexcept {
    const std::uint32_t chunks = state_->chunks.load(std::memory_order_relaxed);
    if (chunks == kHoldChunksMax) return false;
    RAYX_KILL_POINT("hold.add_chunk.before_place");
    state_->chunk[chunks].store(memory, std::memory_order_relaxed);
    RAYX_KILL_POINT("hold.add_chunk.before_count");
    state_->chunks.store(chunks + 1, std::memory_order_release);
    return true;
  }

  // How often a hold was taken. A hold may move from one process to another while an owner looks through the tables one after
  // the other; if no table's count has changed when it is through, it has seen every hold that there was.
  std::uint64_t adds() const noexcept { return state_->adds.load(std::memory_order_acquire); }

  // Any process. Two cache lines for each chunk.
  bool contains(ObjectKey key) const noexcept { return find(key) != nullptr; }

  // Node, after the process's death and burial: the table has no hold and no chunk any more. The chunks' words are zero again.
  void wipe() noexcept {
    const std::uint32_t chunks = state_->chunks.load(std::memory_order_acquire);
    for (std::uint32_t c = 0; c < chunks; ++c)
      for (std::atomic<std::uint64_t>& word : chunk(c).words)
        if (word.load(std::memory_order_relaxed) != 0) word.store(0, std::memory_order_release);
    RAYX_KILL_POINT("hold.wipe.before_releasing");
    state_->releasing.store(0, std::memory_order_release);
    RAYX_KILL_POINT("hold.wipe.before_chunks");
    state_->chunks.store(0, std::memory_order_release);
  }

  // The hold whose release was begun and not ended, or a key of 0. Look at the holds first, then here: so none is missed.
  ObjectKey releasing() const noexcept { return {state_->releasing.load(std::memory_order_acquire)}; }

  // Calls visit(ObjectKey) for each hold. For the node, and for tests.
  template <class Visit>
  void for_each(Visit&& visit) const {
    const std::uint32_t chunks = state_->chunks.load(std::memory_order_acquire);
    for (std::uint32_t c = 0; c < chunks; ++c)
      for (const std::atomic<std::uint64_t>& word : chunk(c).words)
        if (const std::uint64_t key = word.load(std::memory_order_acquire); key != 0) visit(ObjectKey{key});
  }

 private:
  static std::uint32_t hash(ObjectKey key) noexcept {
    const std::uint64_t mixed = (key.word ^ key.word >> 29) * 0x9e3779b97f4a7c15ull;
    // Windows start at cache lines, so that a look-up touches two lines and not three.
    return static_cast<std::uint32_t>(mixed >> 40) % (kHoldChunkWords / 8) * 8;
  }
  HoldChunk& chunk(std::uint32_t c) const noexcept {
    return *segment_.at<HoldChunk>(state_->chunk[c].load(std::memory_order_relaxed));
  }
  std::atomic<std::uint64_t>& word_at(std::uint32_t c, ObjectKey key, std::uint32_t i) const noexcept {
    return chunk(c).words[(hash(key) + i) % kHoldChunkWords];
  }
  std::atomic<std::uint64_t>* find(ObjectKey key) const noexcept {
    const std::uint32_t chunks = state_->chunks.load(std::memory_order_acquire);
    for (std::uint32_t c = 0; c < chunks; ++c)
      for (std::uint32_t i = 0; i < kHoldWindow; ++i)
        if (word_at(c, key, i).load(std::memory_order_acquire) == key.word) return &word_at(c, key, i);
    return nullptr;
  }

  Segment segment_;
  HoldTableState* state_;
};

}  // namespace rayx::shm
