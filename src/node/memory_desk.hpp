// The store's books behind a lock: whoever in the driver's process needs memory asks here at once, workers ask by node calls
// that the node's loop brings here. The books themselves are store::ExtentMap.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include <rayx/result.hpp>

#include "base/clock.hpp"
#include "node/shared_memory.hpp"
#include "store/extent_map.hpp"

namespace rayx::node {

class MemoryDesk {
 public:
  // `shared`: others use the same memory. The caller's, as long as the desk is.
  MemoryDesk(shm::Offset begin, std::uint64_t bytes, const base::Clock& clock, SharedMemory::Member* shared = nullptr)
      : clock_(clock), shared_(shared), books_(begin, bytes, shared) {}

  // A thread of the driver's process: waits for room until the deadline of the request; `ticket` is set here.
  Result<store::Lease> lease(store::LeaseRequest request);

  // The node's loop, for a worker: answers that are ready, also of earlier requests, are handed to `answer`
  // (const store::LeaseAnswer&). `ticket` must have its top bit clear.
  template <class Answer>
  void request(const store::LeaseRequest& request, Answer&& answer) {
    std::vector<store::LeaseAnswer> out;
    {
      std::lock_guard lock(mutex_);
      books_.request(request, clock_.now_ns(), out);
      keep_local(out);
    }
    for (const store::LeaseAnswer& each : out) answer(each);
  }

  // Threads of this process that wait for memory get an error, now and later.
  void close();

  // Whoever owns the extent or has emptied the slab. False: no lease begins there. Answers of workers that waited for memory
  // are kept until the node's loop asks for them by `take_answers`; true in `wake_node` says that there are some.
  bool release(shm::Offset offset, bool& wake_node);

  // The node's loop: answers to workers that became ready by a release or by time.
  std::vector<store::LeaseAnswer> take_answers();
  base::TimeNs next_deadline_ns();

  // The node's loop, after a death.
  template <class IsLive>
  void release_all(std::uint32_t lessee, IsLive&& is_live) {
    std::lock_guard lock(mutex_);
    std::vector<store::LeaseAnswer> out;
    books_.release_all(lessee, is_live, clock_.now_ns(), out);
    books_.release_orphans(is_live, clock_.now_ns(), out);
    keep_local(out);
    answers_.insert(answers_.end(), out.begin(), out.end());
  }

  // The same for leases that outlived their lessee, now and then.
  template <class IsLive>
  void release_orphans(IsLive&& is_live) {
    std::lock_guard lock(mutex_);
    if (!books_.has_orphans()) return;
    std::vector<store::LeaseAnswer> out;
    books_.release_orphans(is_live, clock_.now_ns(), out);
    keep_local(out);
    answers_.insert(answers_.end(), out.begin(), out.end());
  }
  // Whether something is leased to `lessee` for which `predicate(lease)` is true. Looks at all leases.
  template <class Predicate>
  bool has_lease(std::uint32_t lessee, Predicate&& predicate) {
    std::lock_guard lock(mutex_);
    bool has = false;
    books_.visit_leases([&](const store::Lease& lease) { has = has || (lease.lessee == lessee && predicate(lease)); });
    return has;
  }
  bool has_orphans() {
    std::lock_guard lock(mutex_);
    return books_.has_orphans();
  }

  // The node's loop, where others use the same memory: gives back what is unused and they wait for, and takes what there is for those who
  // wait here.
  void follow_others();

  // Cold memory that is worth faulting in now; see store::ExtentMap.
  std::optional<store::Extent> next_prefault() {
    std::lock_guard lock(mutex_);
    return books_.next_prefault(clock_.now_ns());
  }
  void prefaulted(const store::Extent& extent, bool worked) {
    std::lock_guard lock(mutex_);
    if (worked) {
      books_.mark_warm(extent);
    } else {
      books_.prefault_failed(extent);
    }
  }

  std::uint64_t leased_bytes();
  // What is not to be had: what is leased, and what the others leave no room for.
  std::uint64_t used_bytes();
  std::uint64_t used_by_others() { return shared_ == nullptr ? 0 : shared_->used_by_others(); }
  std::string full_text(std::uint64_t bytes);

 private:
  static constexpr std::uint64_t kLocalTicket = std::uint64_t{1} << 63;

  std::string text_of_others();
  // Takes the answers for this process's own threads out of `out` and wakes them.
  void keep_local(std::vector<store::LeaseAnswer>& out);

  const base::Clock& clock_;
  SharedMemory::Member* const shared_;
  std::mutex mutex_;
  std::condition_variable answered_;
  store::ExtentMap books_;
  std::uint64_t next_ticket_ = 0;
  std::map<std::uint64_t, store::LeaseAnswer> local_answers_;
  std::vector<store::LeaseAnswer> answers_;
  base::TimeNs ask_again_ns_ = 0;  // for pages
  bool is_closed_ = false;
};

}  // namespace rayx::node
