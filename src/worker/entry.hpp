// What a process keeps in private memory about each object that it owns or uses. Pooled and never unmapped: a reference may
// outlive its runtime.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include <rayx/detail/backend.hpp>

#include "actor/call_order.hpp"
#include "owner/ledger.hpp"
#include "shm/control.hpp"
#include "shm/hold_table.hpp"
#include "shm/task_queue.hpp"

namespace rayx::worker {

using detail::BlockRef;
using detail::Record;
using detail::RefCell;
using owner::Index;

enum class EntryKind : std::uint8_t {
  kTask,       // owned: a task's result
  kActorCall,  // owned: an actor call's result
  kObject,     // owned: put
  kActor,      // owned: the record of its constructor
  kProxy,      // owned: stands for an object of another node; see client_proxies.cc
  kBorrowed,   // another process's
  kAlias,      // a second cell for an entry of this process: a cell's count is raised only by those who hold it
};

struct ActorUse;

// What few entries have.
struct Extra {
  std::vector<RefCell*>
      held;  // one count each until the call is done: references among its arguments, what it waits for
  std::vector<RefCell*> contained;               // one count each as long as the value lives: the references inside it
  std::vector<detail::Dependency> dependencies;  // of `held`
  BlockRef arguments{};                          // freed when the call is done; size 0: none
  BlockRef parts{};                              // likewise
  BlockRef shared_name{};                        // likewise; see Client::share_name
  std::string name;                              // for errors and logs; empty: the function's
  bool is_adopted = false;                       // `contained` is complete
  bool is_held_back = false;                     // an actor call that is in its caller's line
  actor::CallOrder::Place place{};               // there
  // Of tasks whose value was made on another node; see client_elsewhere.cc. Instead of holding them, what it would be made of again:
  std::vector<Index> lineage;
  std::uint32_t pins = 0;   // in how many others' lineage it is
  std::uint32_t depth = 0;  // of its lineage
};

struct alignas(64) Entry {
  RefCell cell;  // first: the cell's address is the entry's
  shm::TaskBody body{};
  owner::Node node;
  Index index = 0;
  Extra* extra = nullptr;
  std::uint16_t lane = 0;
  EntryKind kind = EntryKind::kTask;
  bool is_cell_dropped = false;
  std::uint32_t aliases = 0;

  static Entry* of(RefCell* cell) noexcept { return reinterpret_cast<Entry*>(cell); }
  // kBorrowed: which object. kAlias: of which entry.
  shm::ObjectKey key() const noexcept { return {cell.backend_word[0]}; }
  Entry* target() const noexcept { return reinterpret_cast<Entry*>(cell.backend_word[0]); }
  Extra& need_extra() {
    if (extra == nullptr) extra = new Extra;
    return *extra;
  }
};
static_assert(sizeof(Entry) == 128);

// The second word of a name: 1, whether it is an actor's, the mark of the arena in which it means something, and of an actor its
// lane and the lane's generation.
inline constexpr std::uint64_t kIsName = 1;
inline constexpr std::uint64_t kIsActorName = 2;
inline constexpr int kArenaMarkShift = 2;
inline constexpr std::uint64_t kNameMarkMask = kIsName | std::uint64_t{shm::kArenaMarkMask} << kArenaMarkShift;

// backend_word[1] of a task that a relay has submitted; backend_word[0] is the relay's tag. Else 0.
inline constexpr std::uint64_t kWatched = 1;
inline constexpr std::uint64_t kWatchedAndLost = 2;  // its worker died

// Owned entries have the index of their record; borrowed ones have this bit.
// Keys of one process slot's lives differ: each life begins its generations elsewhere.
constexpr std::uint32_t generation_base(std::uint32_t slot_generation) { return slot_generation << 20 | 1; }

inline constexpr Index kBorrowedBit = 1u << 31;
inline constexpr Index kNoIndex = UINT32_MAX;
inline constexpr std::size_t kEntriesPerBlock = 1024;

// Entries whose addresses stay for ever.
class EntryPool {
 public:
  Entry& at(std::size_t i) noexcept { return blocks_[i / kEntriesPerBlock][i % kEntriesPerBlock]; }
  std::size_t size() const noexcept { return blocks_.size() * kEntriesPerBlock; }
  // The block stays when the pool goes: references of the program may still point there.
  void grow() { blocks_.push_back(new Entry[kEntriesPerBlock]); }
  // Nobody outside has references: the blocks go with the pool.
  void free_at_end() noexcept { frees_blocks_ = true; }

  EntryPool() = default;
  EntryPool(const EntryPool&) = delete;
  EntryPool& operator=(const EntryPool&) = delete;
  ~EntryPool() {
    if (!frees_blocks_) return;
    for (Entry* const block : blocks_) {
      for (std::size_t i = 0; i < kEntriesPerBlock; ++i) delete block[i].extra;  // of those that were in use to the end
      delete[] block;
    }
  }

 private:
  bool frees_blocks_ = false;
  std::vector<Entry*> blocks_;
};

// How a value that is an argument reaches its executor when other arguments are references: this, then `parts` CallParts.
struct CallBlock {
  std::uint32_t parts;
  std::uint16_t inline_bytes;  // of arguments; else they are in `block`
  std::uint16_t has_refs;      // their encoding ends with where the references inside it stand
  BlockRef block;              // size 0: none
  alignas(8) std::byte inline_arguments[shm::kCellInlineBytes];
};
enum class PartForm : std::uint32_t {
  kInline = 0,
  kBlock = 1,
  kPending = 2,  // was not done when the call was queued: the executor reads the record that `key` names
};
struct CallPart {
  std::uint32_t position;
  PartForm form;
  std::uint64_t size;                                        // inline bytes
  std::uint64_t key;                                         // of the object, for a hold while its block is in use
  alignas(8) std::byte payload[detail::kRecordInlineBytes];  // bytes, or a BlockRef
};

}  // namespace rayx::worker
