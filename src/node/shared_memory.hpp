// The memory of a machine that several nodes of this process use, one for each job: store::MemoryShares behind a lock, and a bell for each.
// Only pages that are about to exist come by, or to go: memory that is warm is used again without a word.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>

#include "store/memory_shares.hpp"
#include "store/pages.hpp"

namespace rayx::node {

class SharedMemory {
 public:
  explicit SharedMemory(std::uint64_t total_bytes);

  class Member final : public store::Pages {
   public:
    // `ring`: there is something new for the node's thread, which asks is_called. `drop_pages` gives memory back to the system. Any thread;
    // they must not come back here, and `ring` must not wait.
    Member(SharedMemory& memory, std::function<void()> ring, std::function<void(const store::Extent&)> drop_pages);
    // All its pages are gone.
    ~Member() override;
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;

    bool take(std::uint64_t bytes) override;
    std::uint64_t left() override;
    void give(std::uint64_t bytes) override;
    void drop(const store::Extent& extent) override;

    // True once for all that is new.
    bool is_called() { return is_called_.exchange(false, std::memory_order_acq_rel); }
    // The node's thread is to look.
    void call();
    bool is_short() const { return memory_.is_short(); }
    std::uint64_t owed();
    std::uint64_t used_by_others();

   private:
    friend class SharedMemory;
    SharedMemory& memory_;
    const std::function<void()> ring_;
    const std::function<void(const store::Extent&)> drop_pages_;
    store::JobNumber number_ = 0;
    std::atomic<bool> is_called_{false};
  };

  // Somebody waits for memory. At once, and may be a little late.
  bool is_short() const { return is_short_.load(std::memory_order_relaxed); }
  std::uint64_t total_bytes() const { return shares_.total_bytes(); }

 private:
  void changed();

  const base::SteadyClock clock_;
  std::mutex mutex_;
  store::MemoryShares shares_;
  std::map<store::JobNumber, Member*> members_;
  store::JobNumber last_number_ = 0;
  std::atomic<bool> is_short_{false};
};

}  // namespace rayx::node
