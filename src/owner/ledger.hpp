// What a process decides about the tasks and objects that it owns: when a task may be queued, what becomes of it when its
// executor dies, what fails with it, and when an object may be freed. No I/O, no clock, no threads: the caller holds a lock, and
// the same code runs in the simulator.
//
// An object has an index: of its record, or of a reference that was borrowed from another owner. Phases of one:
//
//   kUnused --put, borrow done--> kDone --free--> kUnused
//   kUnused --submit--> kWaiting (for what it needs) --> kQueued (with the executors) --> kDone
//                          ^------ returned ----------------'  '--spent--> kSpent --again--> kWaiting
//   kUnused --borrow--> kBorrowed (somebody else makes it) --> kDone
//
// A World gives (all for an Index): node(i); enqueue(i): hand the task to the executors; fail_as(i, cause): complete i with the
// error of `cause`; fail_lost(i): complete i, its executor died and no retry is left; release_needs(i): let go of what the call
// held, which may call dropped(); is_held_elsewhere(i): another process uses it; free(i): nobody can name it any more.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/check.hpp"
#include "base/planted_bug.hpp"

namespace rayx::owner {

using Index = std::uint32_t;
inline constexpr std::int32_t kRetryForEver = -1;

// kSpent: the task has made its value, which nobody has read and nobody can name; it may be needed once more, to make another one again.
enum class Phase : std::uint8_t { kUnused, kWaiting, kQueued, kSpent, kBorrowed, kDone };

struct Node {
  Phase phase = Phase::kUnused;
  bool is_dropped = false;  // this process has no reference left
  bool is_parked = false;   // dropped and done, but another process holds it
  bool is_shared = false;   // its name was given out: other processes may hold it
  bool is_pinned = false;   // another task would be made of it again
  bool is_lent = false;     // an argument of a call: its executor holds it if it lies in a block, and may keep it
  bool is_error = false;
  std::int32_t retries_left = 0;
  std::uint32_t unready = 0;          // of what it needs
  std::uint32_t first_dependent = 0;  // edge number + 1
};

template <class World>
class Ledger {
 public:
  explicit Ledger(World& world) : world_(world) {}
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // A task that needs nothing: queued at once. The fast path.
  void submit(Index task, std::int32_t retries) {
    begin(task, Phase::kQueued, retries);
    world_.enqueue(task);
  }

  // A task that needs the values of others. `needs` may name one twice. False: one of them has failed and so has the task.
  bool submit(Index task, std::int32_t retries, std::span<const Index> needs) {
    begin(task, Phase::kWaiting, retries);
    return await(task, needs);
  }

  // A task was queued although something that it needs was not there yet, and its executor gave it back. It is queued again when
  // everything is there. Late news of a task that is done meanwhile are harmless.
  void returned(Index task, std::span<const Index> needs) {
    Node& node = world_.node(task);
    if (node.phase != Phase::kQueued) return;
    if (RAYX_PLANTED_BUG(111)) return world_.enqueue(task);
    node.phase = Phase::kWaiting;
    await(task, needs);
  }

  // A task that the caller completes itself.
  void accept(Index task) { begin(task, Phase::kQueued, 0); }

  // A value that is there from the beginning.
  void put(Index object) { begin(object, Phase::kDone, 0); }

  // A reference to an object of another owner.
  void borrow(Index object) { begin(object, Phase::kBorrowed, 0); }

  // The object's record is done. May be said more than once, and late.
  void done(Index object, bool is_error) {
    work_.push_back({object, is_error});
    if (is_working_) return;  // the loop below comes to it: a chain of failures is no recursion
    is_working_ = true;
    while (!work_.empty()) {
      const Work work = work_.back();
      work_.pop_back();
      settle(work.object, work.is_error);
    }
    is_working_ = false;
  }

  // The task has made its value, which lies elsewhere and is brought when somebody wants it. Who needs it waits for it no longer, if
  // `may_go` says so: it may be given the value's name.
  template <class MayGo>
  void made_elsewhere(Index task, MayGo&& may_go) {
    Node& node = world_.node(task);
    if (node.phase != Phase::kQueued) return;
    std::vector<Index> going;
    for (std::uint32_t* link = &node.first_dependent; *link != 0;) {
      const std::uint32_t edge = *link;
      Edge& here = edges_[edge - 1];
      if (may_go(here.dependent)) {
        going.push_back(here.dependent);
        *link = here.next;
        give_edge(edge - 1);
      } else {
        link = &here.next;
      }
    }
    for (const Index dependent : going) answer(dependent, task, false);
  }

  // Its value is gone, as nobody has a reference any more; but it is pinned.
  void spent(Index task) { world_.node(task).phase = Phase::kSpent; }

  // A task that is spent is needed after all, by one that has taken a reference. False: it has been tried as often as it may.
  bool again(Index task, std::span<const Index> needs) {
    Node& node = world_.node(task);
    RAYX_DCHECK(node.phase == Phase::kSpent, "a task is done again that is not over", task);
    node.phase = Phase::kWaiting;
    if (!use_retry(node)) return false;
    await(task, needs);
    return true;
  }

  // No other task would be made of it again.
  void unpinned(Index object) {
    Node& node = world_.node(object);
    node.is_pinned = false;
    if (node.phase == Phase::kDone && node.is_dropped) free_if_unused(object);
  }

  // This process has no reference to the object any more.
  void dropped(Index object) {
    Node& node = world_.node(object);
    RAYX_DCHECK(node.phase != Phase::kUnused && !node.is_dropped, "an object was dropped twice", object);
    node.is_dropped = true;
    if (node.phase == Phase::kDone || node.phase == Phase::kBorrowed || RAYX_PLANTED_BUG(110)) free_if_unused(object);
  }

  // The name of a dropped object came back while another process held it.
  void revived(Index object) {
    Node& node = world_.node(object);
    node.is_dropped = false;
    node.is_parked = false;
  }

  // Somewhere a hold was released, perhaps the last one.
  void released_elsewhere(Index object) {
    if (world_.node(object).is_parked) free_if_unused(object);
  }

  // The executor that had claimed the task is dead and the record is not done. `had_begun`: it may have had effects, so a retry
  // is used up.
  void lost(Index task, bool had_begun) {
    Node& node = world_.node(task);
    if (node.phase != Phase::kQueued && !RAYX_PLANTED_BUG(102)) return;
    if (had_begun && !RAYX_PLANTED_BUG(103) && !use_retry(node)) {
      world_.fail_lost(task);
      done(task, true);
      return;
    }
    world_.enqueue(task);
  }

 private:
  static bool use_retry(Node& node) {
    if (node.retries_left == 0) return false;
    if (node.retries_left != kRetryForEver && !RAYX_PLANTED_BUG(104)) --node.retries_left;
    return true;
  }

  struct Edge {
    Index dependent;
    std::uint32_t next;  // edge number + 1
  };
  struct Work {
    Index object;
    bool is_error;
  };

  Node& begin(Index object, Phase phase, std::int32_t retries) {
    Node& node = world_.node(object);
    RAYX_DCHECK(node.phase == Phase::kUnused, "an object's index is in use", object);
    node = Node{};
    node.phase = phase;
    node.retries_left = retries;
    return node;
  }

  bool await(Index task, std::span<const Index> needs) {
    Node& node = world_.node(task);
    for (const Index need : needs) {
      Node& other = world_.node(need);
      if (other.phase == Phase::kDone) {
        if (!other.is_error || RAYX_PLANTED_BUG(101)) continue;
        world_.fail_as(task, need);
        done(task, true);
        return false;
      }
      const std::uint32_t edge = take_edge();
      edges_[edge] = {task, other.first_dependent};
      other.first_dependent = edge + 1;
      ++node.unready;
    }
    if (node.unready == 0 && !RAYX_PLANTED_BUG(112)) queue(task);
    return true;
  }

  void queue(Index task) {
    world_.node(task).phase = Phase::kQueued;
    world_.enqueue(task);
  }

  void settle(Index object, bool is_error) {
    Node& node = world_.node(object);
    if (node.phase == Phase::kUnused || node.phase == Phase::kDone) return;
    const bool was_task = node.phase == Phase::kWaiting || node.phase == Phase::kQueued || node.phase == Phase::kSpent;
    node.phase = Phase::kDone;
    node.is_error = is_error;
    std::uint32_t edge = std::exchange(node.first_dependent, 0u);
    while (edge != 0) {
      const Edge here = edges_[edge - 1];
      give_edge(edge - 1);
      edge = RAYX_PLANTED_BUG(105) ? 0 : here.next;
      answer(here.dependent, object, is_error);
    }
    if (was_task && !RAYX_PLANTED_BUG(106)) world_.release_needs(object);
    if (world_.node(object).is_dropped) free_if_unused(object);
  }

  // `need` is done: one thing less for the dependent, which may have failed with another need meanwhile.
  void answer(Index dependent, Index need, bool is_error) {
    Node& node = world_.node(dependent);
    --node.unready;
    if (node.phase == Phase::kDone) {
      if (node.is_dropped) free_if_unused(dependent);
    } else if (node.is_error && !RAYX_PLANTED_BUG(113)) {
      // It has failed with another need, and `done` is about to come to it.
    } else if (is_error) {
      node.is_error = true;
      world_.fail_as(dependent, need);
      done(dependent, true);
    } else if (node.unready == 0 || RAYX_PLANTED_BUG(107)) {
      queue(dependent);
    }
  }

  void free_if_unused(Index object) {
    Node& node = world_.node(object);
    if (node.is_pinned) return;
    // It failed with one need, and others still name it as their dependent: the last of them comes back here.
    if (node.unready != 0 && !RAYX_PLANTED_BUG(109)) return;
    if (node.is_shared && !RAYX_PLANTED_BUG(108) && world_.is_held_elsewhere(object)) {
      node.is_parked = true;
      return;
    }
    // A borrowed object may go before it is done, when all that needed it have failed with something else. They must not wait to
    // be told.
    std::uint32_t edge = RAYX_PLANTED_BUG(114) ? 0 : node.first_dependent;
    node = Node{};
    world_.free(object);
    while (edge != 0) {
      const Edge here = edges_[edge - 1];
      give_edge(edge - 1);
      edge = here.next;
      Node& dependent = world_.node(here.dependent);
      RAYX_DCHECK(dependent.is_error, "an object was freed that a task waits for", object);
      --dependent.unready;
      if (dependent.phase == Phase::kDone && dependent.is_dropped) free_if_unused(here.dependent);
    }
  }

  std::uint32_t take_edge() {
    if (free_edge_ == 0) {
      edges_.push_back({});
      return static_cast<std::uint32_t>(edges_.size() - 1);
    }
    const std::uint32_t edge = free_edge_ - 1;
    free_edge_ = edges_[edge].next;
    return edge;
  }
  void give_edge(std::uint32_t edge) {
    edges_[edge].next = free_edge_;
    free_edge_ = edge + 1;
  }

  World& world_;
  std::vector<Edge> edges_;
  std::uint32_t free_edge_ = 0;  // edge number + 1
  std::vector<Work> work_;
  bool is_working_ = false;
};

}  // namespace rayx::owner
