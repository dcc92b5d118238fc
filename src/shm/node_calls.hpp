// How a process asks its node for something: memory, a scheduling class, an actor; or tells it something: "I wait, lend my CPU".
//
// Each process has a few call cells of its own in shared memory; the node is the one who answers. A cell goes
//   free -> asked (process) -> answered (node) -> free (process)          for questions, and
//   free -> asked (process) -> free (node)                                for notices.
// The node finds askers by one bit for each process. It is woken through an eventfd only when it says that it sleeps; a
// process killed before it could ring is itself an event (its pidfd) that wakes the node, so no call waits for ever.
// Cells are taken under the process's private lock; a killed process's cells are simply forgotten by the node.
#pragma once

#include <unistd.h>

#include <atomic>
#include <bit>
#include <cstdint>

#include "base/kill_point.hpp"
#include "shm/backoff.hpp"
#include "shm/futex.hpp"
#include "shm/layout.hpp"

namespace rayx::shm {

inline constexpr std::uint32_t kNodeCallsMax =
    16;  // threads of one process that ask at the same time; further ones wait

struct alignas(kCacheLineBytes) NodeCall {
  enum State : std::uint32_t { kFree, kAsked, kAnswered };
  std::atomic<std::uint32_t> state;  // futex word of the asker
  std::uint32_t kind;                // the node room's enum
  std::uint64_t arguments[4];
  std::uint64_t results[2];
};
static_assert(sizeof(NodeCall) == kCacheLineBytes);

struct NodeCallCells {
  NodeCall cells[kNodeCallsMax];
};

// Lies in the control header: who asks, and whether the node sleeps.
struct NodeCallBoard {
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> askers[kProcessesMax / 64];
  std::atomic<std::uint32_t> node_sleeps;
};

// The asking side. One for each process; `ask` and `tell` by one thread at a time for each cell.
class NodeCaller {
 public:
  NodeCaller(NodeCallBoard& board, NodeCallCells& cells, std::uint32_t me, int node_eventfd)
      : board_(&board), cells_(&cells), me_(me), eventfd_(node_eventfd) {}

  NodeCall& cell(std::uint32_t index) const noexcept { return cells_->cells[index]; }

  // Publishes the call that was filled into `cell` and rings. Does not wait.
  void send(NodeCall& cell) const noexcept {
    RAYX_KILL_POINT("node_call.before_asked");
    cell.state.store(NodeCall::kAsked, std::memory_order_release);
    RAYX_KILL_POINT("node_call.before_bit");
    board_->askers[me_ / 64].fetch_or(std::uint64_t{1} << me_ % 64, std::memory_order_seq_cst);
    RAYX_KILL_POINT("node_call.after_bit");
    ring();
  }

  // Waits until the node has answered the call in `cell`; false after `timeout_ns`. Pauses a little first: a node that is awake
  // answers within microseconds.
  bool wait_answered(const NodeCall& cell, base::TimeNs timeout_ns) const noexcept {
    Backoff backoff;
    for (;;) {
      const std::uint32_t state = cell.state.load(std::memory_order_acquire);
      if (state == NodeCall::kAnswered) return true;
      if (backoff.wait_once()) continue;
      if (futex_wait(cell.state, state, timeout_ns) == WaitOutcome::kTimedOut)
        return cell.state.load() == NodeCall::kAnswered;
    }
  }

  void ring() const noexcept {
    if (board_->node_sleeps.load(std::memory_order_seq_cst) == 0) return;
    if (board_->node_sleeps.exchange(0, std::memory_order_seq_cst) == 0) return;
    RAYX_KILL_POINT("node_call.before_ring");
    const std::uint64_t one = 1;
    // Can only fail if the counter is at its limit, and then the node is being woken anyway.
    [[maybe_unused]] const ssize_t written = ::write(eventfd_, &one, sizeof(one));
  }

 private:
  NodeCallBoard* board_;
  NodeCallCells* cells_;
  std::uint32_t me_;
  int eventfd_;
};

// The answering side: the node's loop.
class NodeAnswerer {
 public:
  explicit NodeAnswerer(NodeCallBoard& board) : board_(&board) {}

  // Calls visit(process) for each process that has asked since the last time.
  template <class Visit>
  void take_askers(Visit&& visit) const {
    for (std::uint32_t group = 0; group < kProcessesMax / 64; ++group) {
      if (board_->askers[group].load(std::memory_order_relaxed) == 0) continue;
      std::uint64_t bits = board_->askers[group].exchange(0, std::memory_order_seq_cst);
      for (; bits != 0; bits &= bits - 1) visit(group * 64 + static_cast<std::uint32_t>(std::countr_zero(bits)));
    }
  }

  // Calls visit(NodeCall&) for each asked cell of one process. The visitor answers, or leaves it for later.
  template <class Visit>
  static void visit_asked(NodeCallCells& cells, Visit&& visit) {
    for (NodeCall& cell : cells.cells)
      if (cell.state.load(std::memory_order_acquire) == NodeCall::kAsked) visit(cell);
  }

  static void answer(NodeCall& cell) noexcept {
    cell.state.store(NodeCall::kAnswered, std::memory_order_release);
    RAYX_KILL_POINT("node_call.answer.before_futex");
    futex_wake(cell.state, 1);
  }
  static void forget(NodeCall& cell) noexcept { cell.state.store(NodeCall::kFree, std::memory_order_release); }

  // Before the node sleeps. False: somebody has asked meanwhile, do not sleep.
  bool announce_sleep() const noexcept {
    board_->node_sleeps.store(1, std::memory_order_seq_cst);
    for (const auto& group : board_->askers)
      if (group.load(std::memory_order_seq_cst) != 0) {
        board_->node_sleeps.store(0, std::memory_order_seq_cst);
        return false;
      }
    return true;
  }
  void awake() const noexcept { board_->node_sleeps.store(0, std::memory_order_relaxed); }

 private:
  NodeCallBoard* board_;
};

}  // namespace rayx::shm
