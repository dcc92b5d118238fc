// The CPU of a task that waits: the node gives it to another worker meanwhile, and to this one again when the wait is over.
#pragma once

#include <cstdint>
#include <utility>

#include <rayx/detail/backend.hpp>

#include "base/kill_point.hpp"
#include "shm/backoff.hpp"
#include "worker/node_asker.hpp"

namespace rayx::worker {

// Of the executor's thread; nothing happens before lend().
class LentCpu {
 public:
  static constexpr std::uint32_t kNoRecord = UINT32_MAX;

  explicit LentCpu(NodeAsker& node) : node_(node) {}
  ~LentCpu() { take_back(); }
  LentCpu(const LentCpu&) = delete;
  LentCpu& operator=(const LentCpu&) = delete;

  // Lends it; again: nothing happens. False: the node says that the wait is in vain, because all workers wait and no further one may
  // be started; then the CPU is this task's again. The node wakes whoever sleeps on the record `owner` has at `record`; with
  // kNoRecord it calls the service thread of `owner`.
  bool lend(std::uint32_t owner, std::uint32_t record) {
    if (call_ == nullptr) {
      RAYX_KILL_POINT("cpu.lend");
      call_ = node_.begin(shm::NodeQuestion::kBlocked, owner, record);
      return true;
    }
    if (!NodeAsker::is_answered(call_)) return true;
    const NodeAsker::Answer answer = node_.end(std::exchange(call_, nullptr));
    if (answer.answer != shm::NodeAnswer::kWorkerLimit) return true;
    workers_max_ = answer.value;
    RAYX_KILL_POINT("cpu.taken_back");
    return false;
  }
  // The next lend() may say that the wait is in vain: not the time to fall asleep.
  bool has_news() const { return call_ != nullptr && NodeAsker::is_answered(call_); }
  std::uint64_t workers_max() const { return workers_max_; }

  void take_back() {
    if (call_ == nullptr) return;
    // The node answers a question about waiting only when the wait is in vain, or when it is told that it is over.
    node_.tell(shm::NodeQuestion::kResumed);
    shm::Backoff backoff;
    while (!NodeAsker::is_answered(call_))
      if (!backoff.wait_once()) shm::futex_wait(call_->state, shm::NodeCall::kAsked, base::kNever);
    node_.end(std::exchange(call_, nullptr));
    RAYX_KILL_POINT("cpu.taken_back");
  }

 private:
  NodeAsker& node_;
  NodeAsker::Pending call_ = nullptr;
  std::uint64_t workers_max_ = 0;
};

// For a wait whose lend() said that it is in vain; `what` is the function that the user called.
detail::Failure worker_limit_failure(const char* what, const LentCpu& lent);

}  // namespace rayx::worker
