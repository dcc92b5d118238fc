// Asks the node, from any thread of this process.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>

#include "shm/node_calls.hpp"
#include "shm/node_protocol.hpp"

namespace rayx::worker {

class NodeAsker {
 public:
  struct Answer {
    shm::NodeAnswer answer = shm::NodeAnswer::kRefused;
    std::uint64_t serial = 0;
    std::uint64_t value = 0;
  };
  // A question that is on its way, or none.
  using Pending = shm::NodeCall*;

  NodeAsker(shm::NodeCallBoard& board, shm::NodeCallCells& cells, std::uint32_t me, int node_eventfd)
      : caller_(board, cells, me, node_eventfd) {}

  // Some 10 us while the node is awake, 50 when it sleeps; leases of memory wait until there is room.
  Answer ask(shm::NodeQuestion question, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0,
             std::uint64_t d = 0) {
    const Pending call = begin(question, a, b, c, d);
    if (call == nullptr) return {shm::NodeAnswer::kShuttingDown, 0, 0};
    caller_.wait_answered(*call, base::kNever);
    return end(call);
  }
  // nullptr: closed.
  Pending begin(shm::NodeQuestion question, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0,
                std::uint64_t d = 0) {
    const Sending sending(*this);
    if (!sending) return nullptr;
    const std::uint32_t cell = take();
    return cell == kNoCell ? nullptr : send(cell, question, a, b, c, d);
  }
  static bool is_answered(Pending call) {
    return call->state.load(std::memory_order_acquire) == shm::NodeCall::kAnswered;
  }
  Answer end(Pending call) {
    if (is_closed_.load(std::memory_order_acquire)) return {shm::NodeAnswer::kShuttingDown, 0, 0};
    const Answer answer{static_cast<shm::NodeAnswer>(call->results[0] & 0xff), call->results[0] >> 8, call->results[1]};
    call->state.store(shm::NodeCall::kFree, std::memory_order_release);
    give_back(static_cast<std::uint32_t>(call - &caller_.cell(0)));
    return answer;
  }
  // A notice: about 0.1 us, and 2 us more when the node sleeps.
  void tell(shm::NodeQuestion question, std::uint64_t a = 0, std::uint64_t b = 0) {
    const Sending sending(*this);
    const std::uint32_t cell = sending ? take() : kNoCell;
    if (cell == kNoCell) return;
    send(cell, question, a, b, 0, 0);
    give_back(cell);  // it is free again when the node has read it
  }
  // In the process of the node, before that ends: whatever is asked, or was and has no answer, is answered with kShuttingDown.
  // Nobody rings when this returns.
  void close() {
    is_closed_.store(true, std::memory_order_seq_cst);
    shm::Backoff backoff;
    while (sending_.load(std::memory_order_seq_cst) != 0) backoff.wait_once();
    for (std::uint32_t i = 0; i < shm::kNodeCallsMax; ++i) {
      std::uint32_t asked = shm::NodeCall::kAsked;
      if (caller_.cell(i).state.compare_exchange_strong(asked, shm::NodeCall::kAnswered, std::memory_order_acq_rel))
        shm::futex_wake(caller_.cell(i).state, INT32_MAX);
    }
  }

 private:
  // While one of these lives and is true, close() waits.
  class Sending {
   public:
    explicit Sending(NodeAsker& asker) : asker_(asker) { asker_.sending_.fetch_add(1, std::memory_order_seq_cst); }
    ~Sending() { asker_.sending_.fetch_sub(1, std::memory_order_release); }
    Sending(const Sending&) = delete;
    Sending& operator=(const Sending&) = delete;
    explicit operator bool() const noexcept { return !asker_.is_closed_.load(std::memory_order_seq_cst); }

   private:
    NodeAsker& asker_;
  };
  static constexpr std::uint32_t kNoCell = UINT32_MAX;
  static constexpr base::TimeNs kFullPoll_ns = 1'000'000;

  shm::NodeCall* send(std::uint32_t cell, shm::NodeQuestion question, std::uint64_t a, std::uint64_t b, std::uint64_t c,
                      std::uint64_t d) {
    shm::NodeCall& call = caller_.cell(cell);
    call.kind = static_cast<std::uint32_t>(question);
    call.arguments[0] = a;
    call.arguments[1] = b;
    call.arguments[2] = c;
    call.arguments[3] = d;
    caller_.send(call);
    return &call;
  }

  // A cell that neither a thread of ours nor the node uses; none when this is closed meanwhile.
  std::uint32_t take() {
    shm::Backoff backoff;
    for (;;) {
      for (std::uint32_t i = 0; i < shm::kNodeCallsMax; ++i) {
        const std::uint32_t bit = 1u << i;
        if ((taken_.load(std::memory_order_relaxed) & bit) != 0) continue;
        if ((taken_.fetch_or(bit, std::memory_order_acquire) & bit) != 0) continue;
        if (caller_.cell(i).state.load(std::memory_order_acquire) == shm::NodeCall::kFree) return i;
        give_back(i);
      }
      if (is_closed_.load(std::memory_order_relaxed)) return kNoCell;
      // All in use: notices that the node has not read yet, or threads that wait. Nobody wakes us for this, so look again.
      if (!backoff.wait_once()) shm::futex_wait(caller_.cell(0).state, shm::NodeCall::kAsked, kFullPoll_ns);
    }
  }
  void give_back(std::uint32_t cell) { taken_.fetch_and(~(1u << cell), std::memory_order_release); }

  shm::NodeCaller caller_;
  std::atomic<std::uint32_t> taken_{0};
  std::atomic<std::uint32_t> sending_{0};
  std::atomic<bool> is_closed_{false};
};

}  // namespace rayx::worker
