// The CPUs of a machine that several nodes of this process use, one for each job: sched::Shares behind a lock, and a bell for each.
// A node's thread says here how its job is and hears what it may use; nothing on the path of a task comes by.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>

#include "sched/shares.hpp"

namespace rayx::node {

class SharedCpus {
 public:
  explicit SharedCpus(sched::Units total) : shares_(total) {}

  class Member {
   public:
    // `ring`: has something new for its thread, which is to report. Any thread; must not wait, and not come back here.
    Member(SharedCpus& cpus, std::function<void()> ring);
    // Nothing of its job uses a CPU any more.
    ~Member();
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;
    bool is_called() const { return is_called_.load(std::memory_order_acquire); }
    sched::Share report(const sched::Wish& wish, base::TimeNs now_ns);

   private:
    friend class SharedCpus;
    SharedCpus& cpus_;
    const std::function<void()> ring_;
    sched::JobNumber number_ = 0;
    std::atomic<bool> is_called_{true};  // at first
  };

  sched::Units total() const { return shares_.total(); }

 private:
  void ring_called();

  const base::SteadyClock clock_;  // as the nodes'
  std::mutex mutex_;
  sched::Shares shares_;
  std::map<sched::JobNumber, Member*> members_;
  sched::JobNumber last_number_ = 0;
};

}  // namespace rayx::node
