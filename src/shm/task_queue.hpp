// One bounded queue of task cells for each (submitter, lane): one producer process, many consumers that claim.
//
// Contract: `push` is called by one thread of the producing process at a time (its own private lock). `claim_next`,
// `claim_at` and `release` may be called by any process of the lane, `take_claims_of` by the producer only, after the node
// has confirmed that the claimer is dead.
//
// Invariants. The word of the cell at index i holds (position, state, claimer) with position % cells == i. A cell goes
//   (p, empty) --push--> (p, full) --claim--> (p, claimed by w) --release--> (p + cells, empty)
// and only these moves exist. The producer pushes positions in order, so a consumer that meets (p, empty) at position p has
// seen everything. A consumer that is killed leaves a cell claimed under its name and nothing else: other consumers step over
// it, and the producer takes it back. No index is shared but `head`, which is a hint: it may lag or fall back, and a consumer
// that trusts an old one only looks at more cells.
#pragma once

#include <atomic>
#include <bit>
#include <cstring>
#include <optional>

#include "base/kill_point.hpp"
#include "shm/layout.hpp"

namespace rayx::shm {

inline constexpr std::size_t kCellInlineBytes = 40;

// What a task is, as its executor needs it. 48 bits of function name a thunk: module << 36 | offset in the module.
struct TaskBody {
  // function << 16 | attempt << 10 | flags (TaskFlags) << 8 | kArgumentsHaveRefs | inline argument bytes
  std::uint64_t function_and_flags;
  std::uint32_t record;      // index of the result's record in the submitter's region
  std::uint32_t generation;  // of that record
  std::byte arguments[kCellInlineBytes];
};

// How often its owner has queued the task, modulo 64. What a dead process had of an earlier attempt is not the owner's business
// any more: it has been taken back before.
inline constexpr std::uint32_t kAttemptShift = 10;
inline constexpr std::uint64_t kAttemptMask = 0x3f;
constexpr std::uint32_t attempt_of(std::uint64_t function_and_flags) noexcept {
  return static_cast<std::uint32_t>(function_and_flags >> kAttemptShift & kAttemptMask);
}
constexpr std::uint64_t next_attempt(std::uint64_t function_and_flags) noexcept {
  const std::uint64_t attempt = (attempt_of(function_and_flags) + 1) & kAttemptMask;
  return (function_and_flags & ~(kAttemptMask << kAttemptShift)) | attempt << kAttemptShift;
}

enum TaskFlags : std::uint8_t {
  kTaskArgumentsInBlock = 1,  // `arguments` holds a BlockRef
  kTaskArgumentsInParts = 2,  // the encoding starts with a table of parts: some arguments were references
};

// The arguments' encoding ends with where the references inside it stand.
inline constexpr std::uint64_t kArgumentsHaveRefs = 0x80;
constexpr std::size_t inline_bytes_of(std::uint64_t function_and_flags) noexcept {
  const std::size_t bytes = function_and_flags & 0x7f;
  return bytes < kCellInlineBytes ? bytes : kCellInlineBytes;
}

class CellWord {
 public:
  enum State : std::uint64_t { kEmpty = 0, kFull = 1, kClaimed = 2 };

  // Positions count modulo 2^48.
  static constexpr std::uint64_t kPositionMask = 0xffff'ffff'ffff;

  static constexpr std::uint64_t make(std::uint64_t position, State state, std::uint32_t claimer = 0) noexcept {
    return position << 16 | static_cast<std::uint64_t>(state) << 14 | claimer;
  }
  static constexpr std::uint64_t position(std::uint64_t word) noexcept { return word >> 16; }
  static constexpr State state(std::uint64_t word) noexcept { return static_cast<State>(word >> 14 & 3); }
  static constexpr std::uint32_t claimer(std::uint64_t word) noexcept { return word & 0x3fff; }
  // How many positions the word's cell is ahead of `position`; below 0: behind it. Right also where positions begin again at 0.
  static constexpr std::int64_t ahead(std::uint64_t word, std::uint64_t position) noexcept {
    return static_cast<std::int64_t>((word & ~std::uint64_t{0xffff}) - (position << 16)) >> 16;
  }
};
static_assert(kProcessesMax <= 0x4000);

struct alignas(kCacheLineBytes) TaskCell {
  std::atomic<std::uint64_t> word;
  TaskBody body;
};
static_assert(sizeof(TaskCell) == kCacheLineBytes && std::is_standard_layout_v<TaskCell>);

struct TaskQueueHeader {
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> head;  // hint: nothing before it is unclaimed
  alignas(kCacheLineBytes) std::uint32_t cells;              // power of two; constant after creation
  std::uint32_t producer;                                    // process slot; constant
};
static_assert(sizeof(TaskQueueHeader) == 2 * kCacheLineBytes);

// One process's view of a queue in shared memory. Copyable; the memory is the node's.
class TaskQueue {
 public:
  struct Claim {
    TaskCell* cell = nullptr;
    std::uint64_t position = 0;
  };

  static constexpr std::uint64_t bytes_for(std::uint32_t cells) {
    return sizeof(TaskQueueHeader) + std::uint64_t{cells} * sizeof(TaskCell);
  }

  TaskQueue() = default;
  explicit TaskQueue(void* memory)
      : header_(static_cast<TaskQueueHeader*>(memory)),
        cells_(reinterpret_cast<TaskCell*>(header_ + 1)),
        mask_(header_->cells - 1) {}

  // Makes an empty queue in `memory` (bytes_for(cells) bytes, cache-line aligned). Nobody else may know it yet.
  static TaskQueue create(void* memory, std::uint32_t cells, std::uint32_t producer) {
    RAYX_CHECK(std::has_single_bit(cells) && cells >= 2 && cells <= kQueueCellsMax, "queue size", cells);
    auto* header = new (memory) TaskQueueHeader{};
    header->cells = cells;
    header->producer = producer;
    auto* cell = reinterpret_cast<TaskCell*>(header + 1);
    for (std::uint32_t i = 0; i < cells; ++i)
      (new (&cell[i]) TaskCell)->word.store(CellWord::make(i, CellWord::kEmpty), std::memory_order_relaxed);
    return TaskQueue(memory);
  }

  bool is_open() const noexcept { return header_ != nullptr; }
  std::uint32_t producer() const noexcept { return header_->producer; }
  std::uint32_t capacity() const noexcept { return static_cast<std::uint32_t>(mask_ + 1); }

  // Producer. True and the task is visible to every consumer, or false: the queue is full and nothing changed.
  // `tail` is the producer's private count of pushes.
  bool push(std::uint64_t& tail, const TaskBody& body) noexcept {
    TaskCell& cell = cells_[tail & mask_];
    if (cell.word.load(std::memory_order_acquire) != CellWord::make(tail, CellWord::kEmpty)) return false;
    RAYX_KILL_POINT("queue.push.before_body");
    cell.body = body;
    RAYX_KILL_POINT("queue.push.before_full");
    cell.word.store(CellWord::make(tail, CellWord::kFull), std::memory_order_release);
    RAYX_KILL_POINT("queue.push.after_full");
    ++tail;
    return true;
  }

  // Consumer `me`. The oldest unclaimed task, or nothing. At most one lap of the queue is looked at.
  std::optional<Claim> claim_next(std::uint32_t me) noexcept {
    const std::uint64_t hint = header_->head.load(std::memory_order_relaxed);
    std::uint64_t position = hint;
    for (std::uint64_t looked = 0; looked <= mask_; ++looked) {
      TaskCell& cell = cells_[position & mask_];
      std::uint64_t word = cell.word.load(std::memory_order_acquire);
      if (is_before_push(word, position)) {
        if (position != hint) header_->head.store(position, std::memory_order_relaxed);
        return std::nullopt;
      }
      if (word == CellWord::make(position, CellWord::kFull)) {
        if (try_claim(cell, position, me)) {
          header_->head.store(position + 1, std::memory_order_relaxed);
          return Claim{&cell, position};
        }
        word = cell.word.load(std::memory_order_acquire);
      }
      position = next_position(position, word);
    }
    // A whole lap is gone: waiters have claimed it task by task. Without this the hint would stay there, and each search would
    // walk the lap again.
    header_->head.store(position, std::memory_order_relaxed);
    return std::nullopt;
  }

  // Consumer `me`. Claims the task at `position` if nobody has; for a waiter that runs what it waits for.
  std::optional<Claim> claim_at(std::uint64_t position, std::uint32_t me) noexcept {
    TaskCell& cell = cells_[position & mask_];
    if (cell.word.load(std::memory_order_relaxed) != CellWord::make(position, CellWord::kFull)) return std::nullopt;
    if (!try_claim(cell, position, me)) return std::nullopt;
    return Claim{&cell, position};
  }

  // Consumer. Gives the cell to the next lap; its body must have been copied, and the running slot written, before.
  void release(const Claim& claim) noexcept {
    claim.cell->word.store(CellWord::make(claim.position + mask_ + 1, CellWord::kEmpty), std::memory_order_release);
  }

  // Whether a task lies unclaimed at the hint. Cheap; may be wrong for a moment both ways.
  bool looks_ready() const noexcept {
    const std::uint64_t position = header_->head.load(std::memory_order_relaxed);
    const std::uint64_t word = cells_[position & mask_].word.load(std::memory_order_acquire);
    return !is_before_push(word, position);
  }

  // Producer, after the death of `claimer` is confirmed: hands each task that it had claimed and not released to `take`
  // (const TaskBody&) and frees the cell.
  template <class Take>
  void take_claims_of(std::uint32_t claimer, Take&& take) noexcept {
    for (std::uint64_t i = 0; i <= mask_; ++i) {
      const std::uint64_t word = cells_[i].word.load(std::memory_order_acquire);
      if (CellWord::state(word) != CellWord::kClaimed || CellWord::claimer(word) != claimer) continue;
      take(static_cast<const TaskBody&>(cells_[i].body));
      RAYX_KILL_POINT("queue.take_claims.before_release");
      release(Claim{&cells_[i], CellWord::position(word)});
    }
  }

  // Tasks that are pushed and unclaimed. For the node's decisions and for tests; walks the queue.
  std::uint32_t count_unclaimed() const noexcept {
    std::uint32_t count = 0;
    for (std::uint64_t i = 0; i <= mask_; ++i)
      count += CellWord::state(cells_[i].word.load(std::memory_order_relaxed)) == CellWord::kFull;
    return count;
  }

 private:
  static bool try_claim(TaskCell& cell, std::uint64_t position, std::uint32_t me) noexcept {
    std::uint64_t expected = CellWord::make(position, CellWord::kFull);
    RAYX_KILL_POINT("queue.claim.before");
    const bool claimed = cell.word.compare_exchange_strong(expected, CellWord::make(position, CellWord::kClaimed, me),
                                                           std::memory_order_acq_rel, std::memory_order_relaxed);
    if (claimed) RAYX_KILL_POINT("queue.claim.after");
    return claimed;
  }

  // Whether the producer has not pushed `position` yet: the cell waits for it, or still belongs to the lap before because its
  // claimer has not released it. Nothing lies behind it. Looking further all the same would let a consumer that is overtaken
  // by the producer claim a later position and leave the earlier ones behind the hint for ever.
  static bool is_before_push(std::uint64_t word, std::uint64_t position) noexcept {
    return CellWord::ahead(word, position) < 0 || word == CellWord::make(position, CellWord::kEmpty);
  }

  // Where to look after `position`, whose cell has `word` now. A cell that is laps ahead proves that the producer has passed the
  // position one lap before the cell's, so everything up to one more lap before that is gone.
  std::uint64_t next_position(std::uint64_t position, std::uint64_t word) const noexcept {
    const auto cells = static_cast<std::int64_t>(mask_ + 1);
    const std::int64_t ahead = CellWord::ahead(word, position);
    if (ahead >= 2 * cells) return position + static_cast<std::uint64_t>(ahead - 2 * cells + 1);
    return position + 1;
  }

  TaskQueueHeader* header_ = nullptr;
  TaskCell* cells_ = nullptr;
  std::uint64_t mask_ = 0;
};

}  // namespace rayx::shm
