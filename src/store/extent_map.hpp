// Which part of the store is leased to whom. The node's private books: no shared memory, no system call, no clock, no threads.
//
// Memory comes in granules of 64 KiB. A granule is warm when its pages exist, so that using it costs no page faults (warm
// 12 GiB/s, cold 1.5). Free memory is kept twice: as runs (adjacent free granules) and as segments (adjacent free granules of
// one temperature). A request takes the smallest warm segment that fits, else the smallest run, at the place with the most warm
// granules. Requests that do not fit wait in order; a later one may pass the first only as long as that one is not held up by
// more than `overtake_bytes_max` in all.
//
// Where other stores want the same memory, `Pages` says whether cold granules may become warm; a request waits if they may not. What is
// warm and free elsewhere in this store goes first.
//
// Every lease names its lessee, which fills it, and the record of the owner, which frees it. After a death the node asks for
// each lease whether it is still needed.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/check.hpp"
#include "base/clock.hpp"
#include "shm/arena.hpp"
#include "shm/slab.hpp"
#include "store/pages.hpp"

namespace rayx::store {

using shm::BlockOwner;
using shm::Offset;

inline constexpr std::uint64_t kGranuleBytes = shm::kStoreGranuleBytes;
inline constexpr std::uint32_t kNobody = UINT32_MAX;   // lessee of an extent that outlived its lessee
inline constexpr std::size_t kWaitersMax = 4096;       // requests that wait for memory
inline constexpr std::uint64_t kLargeBytes = 1 << 20;  // from here on page faults are worth avoiding ahead of time
inline constexpr std::uint64_t kPrefaultChunkBytes = 2 << 20;
inline constexpr base::TimeNs kDemandMemory_ns = 10'000'000'000;  // how long a large allocation foretells another one

struct Lease {
  Extent extent;
  std::uint64_t serial = 0;  // names this lease for ever
  std::uint32_t lessee = kNobody;
  BlockOwner owner;  // as the lessee has named it; means nothing for slabs
  bool is_slab = false;
};

struct LeaseRequest {
  std::uint64_t ticket = 0;  // given back with the answer
  std::uint32_t lessee = 0;
  std::uint64_t bytes = 0;
  BlockOwner owner;
  bool is_slab = false;  // exactly kSlabBytes on a multiple of it; `bytes` is ignored
  base::TimeNs deadline_ns = base::kNever;
};

enum class LeaseOutcome : std::uint8_t { kGranted, kTimedOut, kTooLarge, kTooManyWaiters };

struct LeaseAnswer {
  std::uint64_t ticket = 0;
  std::uint32_t lessee = 0;
  LeaseOutcome outcome = LeaseOutcome::kGranted;
  Lease lease;  // if granted
};

class ExtentMap {
 public:
  // The store of an arena. All of it is free and cold. `pages`: see above; it outlives the map.
  ExtentMap(Offset begin, std::uint64_t bytes, Pages* pages = nullptr);

  // Answers at once, or when memory is released, or at the deadline. Answers, here and below, are appended to `out`.
  // About 0.5 us.
  void request(const LeaseRequest& request, base::TimeNs now_ns, std::vector<LeaseAnswer>& out);

  // The owner, or for a slab the lessee, is done with it; its pages are warm from now on. False if no lease begins at `offset`:
  // the caller's peer is wrong and nothing changed.
  [[nodiscard]] bool release(Offset offset, base::TimeNs now_ns, std::vector<LeaseAnswer>& out);

  // After the lessee's death is confirmed: its requests are forgotten, and each lease for which `is_live(lease)` is false is
  // freed; the others belong to kNobody and wait for their owner's `release`. For a slab, `is_live` reconciles it.
  template <class IsLive>
  void release_all(std::uint32_t lessee, IsLive&& is_live, base::TimeNs now_ns, std::vector<LeaseAnswer>& out) {
    forget_waiters_of(lessee);
    sift(lessee, is_live, now_ns, out);
  }
  // The same for leases that nobody holds any more: to be called after an owner's death, and for slabs now and then.
  template <class IsLive>
  void release_orphans(IsLive&& is_live, base::TimeNs now_ns, std::vector<LeaseAnswer>& out) {
    sift(kNobody, is_live, now_ns, out);
  }
  bool has_orphans() const;

  // Answers requests whose time is over.
  void expire(base::TimeNs now_ns, std::vector<LeaseAnswer>& out);
  base::TimeNs next_deadline_ns() const;

  // Cold memory to be faulted in now, so that the next large object finds warm pages; nothing if enough is warm or nobody uses
  // large objects. The node faults it (Arena::prefault), on any thread, then says `mark_warm`; the memory may be leased meanwhile.
  std::optional<Extent> next_prefault(base::TimeNs now_ns);
  void mark_warm(const Extent& extent);
  void prefault_failed(const Extent& extent);  // no memory: not again before the next large allocation

  // Unused memory is made cold, so many bytes if there are as many; how many. About 0.1 ms/MiB for the pages.
  std::uint64_t drop_unused(std::uint64_t bytes);
  // There may be pages now for those who wait.
  void pages_came(base::TimeNs now_ns, std::vector<LeaseAnswer>& out) { serve(now_ns, out); }
  // The first that waits has a place, and waits for pages.
  bool waits_for_pages() const;
  std::uint64_t first_wanted_bytes() const;  // by the first that waits; 0: nobody does

  // The lease that begins at `offset`, or null.
  const Lease* find(Offset offset) const;
  template <class Visit>
  void visit_leases(Visit&& visit) const {
    for (const auto& [first, lease] : leases_) visit(lease);
  }

  std::uint64_t capacity_bytes() const { return std::uint64_t{granules_} * kGranuleBytes; }
  std::uint64_t leased_bytes() const { return capacity_bytes() - free_bytes(); }
  std::uint64_t free_bytes() const { return std::uint64_t{free_granules_} * kGranuleBytes; }
  std::uint64_t warm_free_bytes() const { return std::uint64_t{warm_free_granules_} * kGranuleBytes; }
  std::uint64_t largest_free_bytes() const;
  std::size_t leases() const { return leases_.size(); }
  std::size_t waiters() const { return waiters_.size(); }
  std::uint64_t overtake_bytes_max() const { return overtake_granules_max_ * kGranuleBytes; }

  // For OutOfMemory: "the object store is full: 1.0 GiB were asked for, 3.9 GiB of 4.0 GiB are in use by 41 leases, the largest
  // free piece is 64.0 MiB, and 3 requests wait".
  std::string full_text(std::uint64_t bytes) const;

  // Everything that must hold between two calls. O(granules): for tests and debug builds.
  bool is_valid() const;

 private:
  using Granule = std::uint32_t;
  struct Range {
    Granule begin = 0;
    Granule end = 0;
    Granule size() const { return end - begin; }
  };
  struct Segment {
    Granule end = 0;
    bool is_warm = false;
  };
  struct Waiter {
    LeaseRequest request;
    std::uint64_t overtaken_granules = 0;
  };
  struct Demand {
    base::TimeNs at_ns = 0;
    std::uint64_t bytes = 0;
  };
  using BySize = std::set<std::pair<Granule, Granule>>;  // (size, begin)

  static Granule granules_for(const LeaseRequest& request);
  static Granule alignment_of(const LeaseRequest& request);
  Offset offset_of(Granule granule) const { return begin_ + std::uint64_t{granule} * kGranuleBytes; }
  Range range_of(const Extent& extent) const;

  bool is_warm(Granule granule) const { return (warm_[granule / 64] >> granule % 64 & 1) != 0; }
  void set_warm(Range range);
  void set_cold(Range range);
  Granule count_warm(Range range) const;

  std::optional<Granule> choose(Granule size, Granule alignment) const;
  Granule best_place(Range run, Granule size, Granule alignment) const;
  bool take_pages(Range place);
  Granule make_cold(Granule wanted, Range but);
  bool try_grant(const LeaseRequest& request, base::TimeNs now_ns, std::vector<LeaseAnswer>& out);
  void serve(base::TimeNs now_ns, std::vector<LeaseAnswer>& out);
  void take(Range range);
  void give_back(Range range);
  void add_segment(Range range, bool warm);
  void remove_segment(std::map<Granule, Segment>::iterator it);
  void add_run(Range range);
  void remove_run(std::map<Granule, Granule>::iterator it);
  void free_lease(std::map<Granule, Lease>::iterator it);
  void forget_waiters_of(std::uint32_t lessee);
  void note_demand(std::uint64_t bytes, bool was_warm, base::TimeNs now_ns);

  template <class IsLive>
  void sift(std::uint32_t lessee, IsLive&& is_live, base::TimeNs now_ns, std::vector<LeaseAnswer>& out) {
    for (auto it = by_lessee_.lower_bound({lessee, 0}); it != by_lessee_.end() && it->first == lessee;) {
      const auto lease = leases_.find(it->second);
      ++it;  // free_lease erases the element before
      if (!is_live(std::as_const(lease->second))) {
        free_lease(lease);
      } else if (lessee != kNobody) {
        by_lessee_.erase({lessee, lease->first});
        by_lessee_.insert({kNobody, lease->first});
        lease->second.lessee = kNobody;
      }
    }
    serve(now_ns, out);
  }

  Offset begin_;
  Granule granules_;
  Pages* pages_;
  Granule free_granules_ = 0;
  Granule warm_free_granules_ = 0;
  std::uint64_t overtake_granules_max_;
  std::uint64_t next_serial_ = 1;

  std::vector<std::uint64_t> warm_;      // one bit for each granule, leased ones too
  std::map<Granule, Segment> segments_;  // free, by begin; neighbours of one temperature are one segment
  BySize warm_by_size_;
  std::map<Granule, Granule> runs_;  // free, begin -> end; no two touch
  BySize runs_by_size_;

  std::map<Granule, Lease> leases_;
  std::set<std::pair<std::uint32_t, Granule>> by_lessee_;
  std::deque<Waiter> waiters_;
  std::deque<Demand> demand_;  // large grants that had to take cold memory, the latest last
};

}  // namespace rayx::store
