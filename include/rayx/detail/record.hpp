// A record: 64 shared bytes in its owner's region that hold the state of one object or task result, and its value if that fits.
// Part of the door's detail so that get() of a ready value needs no call into the library. Standard library only.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace rayx::detail {

// The state word. The low four bits are the state, the rest are flags. It is also the futex word of whoever waits for it.
// Owner: kFree -> kPending (or a done state by put). Executor: kPending -> a done state, by one exchange. Owner: done -> kFree.
enum RecordState : std::uint32_t {
  kRecordFree = 0,
  kRecordPending = 1,
  kRecordDoneInline = 2,  // payload holds `size` encoded bytes
  kRecordDoneBlock = 3,   // payload is a BlockRef
  kRecordStateMask = 0xf,
  // Flags that a waiter or the owner sets while pending; the executor reads them from its exchange.
  kRecordWaiters = 0x10,       // a thread sleeps on this word: futex wake after completion
  kRecordNotify = 0x20,        // the owner's bookkeeping wants to hear of it: completion bitmap and doorbell
  kRecordForeign = 0x40,       // processes other than the owner wait for it
  kRecordContinuation = 0x80,  // a task waits for this value and may be run next by the executor
  // Flag of a pending record: its executor gave the task back, because what it needs is not done yet.
  kRecordReturned = 0x800,
  // Flag of a pending record: `reserved` is where the task's name lies, in units of 64 bytes from the start of the arena.
  kRecordIsNamed = 0x1000,
  // With kRecordReturned: it was at another node, may have had effects there, and its worker or the node died. The payload is a
  // BlockRef of the encoded error, of size 0 if there was no memory for it.
  kRecordLost = 0x2000,
  // Flag of a pending record that a relay owns: the value is on another node, and is sent for when somebody waits for it, who tells the
  // owner.
  kRecordIsProxy = 0x4000,
  // Flag of a pending record: somebody waits for it, or did. Set only where there are other nodes.
  kRecordWanted = 0x8000,
  // Flags of a pending record of a task, which mean something only where there are other nodes. Elsewhere: the value is made, and lies on
  // another node; `queued_at` names the proxy for it, whose owner is told when Wanted or Unwanted is set. Needed: a task waits for it that
  // may be given its name instead. Unwanted: nobody has a reference any more. With kRecordReturned, Elsewhere says that the value was made, and
  // is no more.
  kRecordElsewhere = 0x10000,
  kRecordNeeded = 0x20000,
  kRecordUnwanted = 0x40000,
  // Flags that go with a done state.
  kRecordIsError = 0x100,  // the payload is an encoded error, not a value
  kRecordHasRefs = 0x200,  // the value contains references that the owner has to adopt
  kRecordAdopted = 0x400,  // the owner has adopted them: the executor may let go
};

inline constexpr std::size_t kRecordInlineBytes = 40;

// Where a value lies that does not fit into the record.
struct BlockRef {
  std::uint64_t offset;  // from the start of the arena
  std::uint64_t size;    // bytes of encoded value
};

struct alignas(64) Record {
  std::atomic<std::uint32_t> state;
  std::uint32_t generation;  // raised when the record is freed: (index, generation) names one object for ever
  std::atomic<std::uint64_t> queued_at;  // lane and position of the task that makes it, so that a waiter may claim it
  std::uint32_t size;                    // encoded bytes in payload for kRecordDoneInline
  std::uint32_t reserved;  // pending: see kRecordIsNamed. Done with references: 1 + process slot of who keeps them
  alignas(8) std::byte payload[kRecordInlineBytes];
};
static_assert(sizeof(Record) == 64 && std::is_standard_layout_v<Record>);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free && std::atomic<std::uint64_t>::is_always_lock_free);

inline bool is_done(std::uint32_t state_word) noexcept { return (state_word & kRecordStateMask) >= kRecordDoneInline; }

}  // namespace rayx::detail
