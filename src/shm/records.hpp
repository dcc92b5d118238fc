// The records of one owner, by index, and how an executor of any process completes them.
//
// A record is published by one exchange of its state word; the word that comes back says who has to hear of it. Nothing
// else is shared between the executor and the owner, so there is no ring to drain or to overflow. `kRecordNotify` sets one bit
// in the owner's completion bitmap (slab word, then slab summary, then top), bottom up; the owner clears top down. Each step
// is idempotent: after the death of an executor the owner repeats what it may have left out.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <new>

#include <rayx/detail/record.hpp>

#include "base/kill_point.hpp"
#include "shm/futex.hpp"
#include "shm/hold_table.hpp"
#include "shm/layout.hpp"
#include "shm/process_slot.hpp"

namespace rayx::shm {

using detail::Record;

struct alignas(kCacheLineBytes) RecordSlab {
  Record records[kRecordsPerSlab];
  std::atomic<std::uint64_t> completed[kRecordsPerSlab / 64];
};

// Record::queued_at of a task whose value lies on another node: which record of which process stands for that. No lane has this number.
inline constexpr std::uint64_t kQueuedNowhere = std::uint64_t{0xffff} << 48;
constexpr std::uint64_t queued_at_of(ObjectKey proxy) noexcept { return kQueuedNowhere | proxy.word >> 32; }
constexpr bool names_proxy(std::uint64_t queued_at) noexcept { return (queued_at & kQueuedNowhere) == kQueuedNowhere; }
constexpr ObjectKey proxy_at(std::uint64_t queued_at) noexcept { return {queued_at << 32}; }  // without a generation

// Makes a slab of free records in zeroed or used memory; generations go on from `first_generation`.
inline RecordSlab* create_record_slab(void* memory, std::uint32_t first_generation = 1) {
  auto* slab = new (memory) RecordSlab;
  for (Record& record : slab->records) {
    record.state.store(detail::kRecordFree, std::memory_order_relaxed);
    record.generation = first_generation;
    record.queued_at.store(0, std::memory_order_relaxed);
    record.size = 0;
    record.reserved = 0;
  }
  for (auto& word : slab->completed) word.store(0, std::memory_order_relaxed);
  return slab;
}

// Another process may look at a record that its owner gives a new life at the same moment: then it sees one or the other number.
inline std::uint32_t generation_of(const Record& record) noexcept {
  return std::atomic_ref<std::uint32_t>(const_cast<std::uint32_t&>(record.generation)).load(std::memory_order_acquire);
}
// Owner: the life of the record is over; nobody holds it. 0 is left out: in record 0 of process 0 it would name nothing.
inline void raise_generation(Record& record) noexcept {
  const std::uint32_t next = record.generation + 1;
  std::atomic_ref<std::uint32_t>(record.generation).store(next == 0 ? 1 : next, std::memory_order_release);
}

// The records of the process in `slot`, as any process of the node sees them.
class Records {
 public:
  Records() = default;
  Records(const Segment& segment, ProcessSlot& slot, ProcessSlot* all_slots,
          const std::atomic<std::uint32_t>& slots_used)
      : segment_(segment), slot_(&slot), all_slots_(all_slots), slots_used_(&slots_used) {}

  Record& at(std::uint32_t index) const noexcept {
    return slab(index / kRecordsPerSlab).records[index % kRecordsPerSlab];
  }
  ProcessSlot& slot() const noexcept { return *slot_; }

  // Executor: publishes the result that it has written into the record. `done` is a done state with its flags.
  // A record is completed once: by the one live process that holds its task, or by its owner when nobody does.
  void complete(std::uint32_t index, std::uint32_t done) const noexcept {
    Record& record = at(index);
    RAYX_KILL_POINT("record.complete.before_exchange");
    const std::uint32_t before = record.state.exchange(done, std::memory_order_acq_rel);
    RAYX_CHECK((before & detail::kRecordStateMask) == detail::kRecordPending, "a record was completed twice", index,
               before);
    RAYX_KILL_POINT("record.complete.after_exchange");
    if ((before & kWantsToHear) != 0) [[unlikely]]
      tell(index, before);
  }

  // Says to everybody who may wait for the record that it is done. For `complete`, and for the owner that repairs after a death.
  void tell(std::uint32_t index, std::uint32_t before) const noexcept {
    if ((before & detail::kRecordWaiters) != 0) futex_wake(at(index).state, INT32_MAX);
    if ((before & detail::kRecordNotify) != 0) {
      mark_completed(index);
      call_owner();
    }
    if ((before & detail::kRecordForeign) != 0) call_everybody();
  }

  // Sets the record's bit in the completion bitmap.
  void mark_completed(std::uint32_t index) const noexcept {
    const std::uint32_t slab_index = index / kRecordsPerSlab;
    const std::uint32_t in_slab = index % kRecordsPerSlab;
    // Who lets go of an object may be late: then the owner's row has another process, with fewer records.
    if (!has_slab(slab_index)) return;
    RAYX_KILL_POINT("completion.before_slab_word");
    slab(slab_index).completed[in_slab / 64].fetch_or(bit_of(in_slab), std::memory_order_seq_cst);
    RAYX_KILL_POINT("completion.after_slab_word");
    slot_->completed_slabs[slab_index / 64].fetch_or(bit_of(slab_index), std::memory_order_seq_cst);
    RAYX_KILL_POINT("completion.after_summary");
    slot_->completed_top.fetch_or(bit_of(slab_index / 64), std::memory_order_seq_cst);
    RAYX_KILL_POINT("completion.after_top");
  }

  // Wakes the owner's service thread if nobody attends.
  void call_owner() const noexcept { slot_->attendance.call_if_unattended(); }

  // Owner: hands each completed record's index to `visit` and clears its bit. One thread of the owner at a time.
  template <class Visit>
  void take_completed(Visit&& visit) const {
    std::uint64_t groups = slot_->completed_top.exchange(0, std::memory_order_seq_cst);
    RAYX_KILL_POINT("completion.take.after_top");
    for (; groups != 0; groups &= groups - 1) {
      const auto group = static_cast<std::uint32_t>(std::countr_zero(groups));
      std::uint64_t slabs = slot_->completed_slabs[group].exchange(0, std::memory_order_seq_cst);
      RAYX_KILL_POINT("completion.take.after_summary");
      for (; slabs != 0; slabs &= slabs - 1) {
        const std::uint32_t slab_index = group * 64 + static_cast<std::uint32_t>(std::countr_zero(slabs));
        if (!has_slab(slab_index)) continue;
        for (std::uint32_t word = 0; word < kRecordsPerSlab / 64; ++word) {
          if (slab(slab_index).completed[word].load(std::memory_order_relaxed) == 0) continue;
          std::uint64_t bits = slab(slab_index).completed[word].exchange(0, std::memory_order_seq_cst);
          for (; bits != 0; bits &= bits - 1)
            visit(slab_index * kRecordsPerSlab + word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits)));
        }
      }
    }
  }
  bool has_completed() const noexcept { return slot_->completed_top.load(std::memory_order_seq_cst) != 0; }

  // Node, after the owner's burial: the next process in its row begins with no completion.
  void forget_completed() const noexcept {
    for (auto& slabs : slot_->completed_slabs)
      if (slabs.load(std::memory_order_relaxed) != 0) slabs.store(0, std::memory_order_relaxed);
    RAYX_KILL_POINT("completion.forget.before_top");
    slot_->completed_top.store(0, std::memory_order_relaxed);
  }

  // Any process: sleeps until the record is done or `timeout_ns` has passed. The caller has spun before.
  // Returns the state word seen last.
  std::uint32_t sleep_until_done(std::uint32_t index, base::TimeNs timeout_ns) const noexcept {
    Record& record = at(index);
    std::uint32_t word = record.state.load(std::memory_order_acquire);
    if (detail::is_done(word)) return word;
    if ((word & detail::kRecordWaiters) == 0 &&
        !record.state.compare_exchange_strong(word, word | detail::kRecordWaiters, std::memory_order_acq_rel,
                                              std::memory_order_acquire))
      return word;
    RAYX_KILL_POINT("record.sleep.before_futex");
    futex_wait(record.state, word | detail::kRecordWaiters, timeout_ns);
    return record.state.load(std::memory_order_acquire);
  }

 private:
  static constexpr std::uint32_t kWantsToHear = detail::kRecordWaiters | detail::kRecordNotify | detail::kRecordForeign;

  // Others than the owner wait, and nobody knows who: rare, so each process is called.
  void call_everybody() const noexcept {
    const std::uint32_t used = slots_used_->load(std::memory_order_acquire);
    for (std::uint32_t i = 0; i < used; ++i) {
      if (all_slots_[i].life.load(std::memory_order_acquire) != ProcessLife::kLive) continue;
      all_slots_[i].attendance.call();
    }
  }

  static constexpr std::uint64_t bit_of(std::uint32_t i) noexcept { return std::uint64_t{1} << i % 64; }
  bool has_slab(std::uint32_t slab_index) const noexcept {
    return slot_->record_slabs[slab_index].load(std::memory_order_relaxed) != kNoOffset;
  }
  RecordSlab& slab(std::uint32_t slab_index) const noexcept {
    return *segment_.at<RecordSlab>(slot_->record_slabs[slab_index].load(std::memory_order_acquire));
  }

  Segment segment_;
  ProcessSlot* slot_ = nullptr;
  ProcessSlot* all_slots_ = nullptr;
  const std::atomic<std::uint32_t>* slots_used_ = nullptr;
};

}  // namespace rayx::shm
