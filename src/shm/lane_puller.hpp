// The relay's side of lanes: one process slot that serves many lanes at once and holds as many tasks as it likes. It lives in the
// process of the node, so with it the arena ends: it needs no running stack. What it holds of an owner it must forget before it
// says that it has handled that owner's death; so every call is made under the lock under which it handles deaths.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "shm/backoff.hpp"
#include "shm/control.hpp"

namespace rayx::shm {

class LanePuller {
 public:
  struct Task {
    TaskBody body;
    std::uint32_t owner;  // process slot of the submitter
  };

  LanePuller(const Control& control, std::uint32_t me) : control_(control), me_(me) {}

  // The node has made this process the relay of the lane. Once for each life of a lane. `skips_own`: what this process has queued there
  // itself is for others.
  void join(std::uint32_t lane, bool skips_own = false) {
    if (place_of_.size() <= lane) place_of_.resize(lane + 1, 0);
    lanes_.push_back({control_.lane(lane), lane, UINT64_MAX, {}, 0, skips_own});
    place_of_[lane] = static_cast<std::uint32_t>(lanes_.size());
  }
  // Nothing of the lane is looked at any more; the node may be told.
  void leave(std::uint32_t lane) {
    Served* const served = find(lane);
    if (served == nullptr) return;
    served->lane.withdraw_sleep(kRelayMember, control_.slot(me_));
    place_of_[lanes_.back().index] = place_of_[lane];
    std::swap(*served, lanes_.back());
    lanes_.pop_back();
    place_of_[lane] = 0;
  }

  // The next task of the lane, claimed and copied; false: there is none.
  bool take(std::uint32_t lane_index, Task& task) {
    Served* const served = find(lane_index);
    if (served == nullptr) return false;
    refresh(*served);
    for (std::size_t turn = 0; turn < served->queues.size(); ++turn) {
      Source& source = served->queues[served->next];
      if (++served->next == served->queues.size()) served->next = 0;
      if (const auto claim = source.queue.claim_next(me_)) {
        task.body = claim->cell->body;
        task.owner = source.owner;
        source.queue.release(*claim);
        return true;
      }
    }
    return false;
  }

  bool has_work(std::uint32_t lane_index) {
    Served* const served = find(lane_index);
    if (served == nullptr) return false;
    refresh(*served);
    for (const Source& source : served->queues)
      if (source.queue.looks_ready()) return true;
    return false;
  }

  // So that the node may take back the memory of queues that were removed.
  void refresh_all() {
    for (Served& served : lanes_) refresh(served);
  }

  // Around a sleep on the slot's run_word, which the caller has set to 1: which lanes may wake it. Between them the caller looks for work
  // once more.
  void announce_sleep(std::uint32_t lane_index) {
    if (Served* const served = find(lane_index)) served->lane.announce_one_more(kRelayMember);
  }
  void withdraw_sleep(std::uint32_t lane_index) {
    if (Served* const served = find(lane_index)) served->lane.withdraw_sleep(kRelayMember, control_.slot(me_));
  }

 private:
  struct Source {
    TaskQueue queue;
    std::uint32_t owner;
  };
  struct Served {
    Lane lane;
    std::uint32_t index;
    std::uint64_t version_seen;
    std::vector<Source> queues;
    std::size_t next;
    bool skips_own;
  };

  Served* find(std::uint32_t lane_index) {
    const std::uint32_t place = lane_index < place_of_.size() ? place_of_[lane_index] : 0;
    return place == 0 ? nullptr : &lanes_[place - 1];
  }

  void refresh(Served& served) {
    LaneState& state = served.lane.state();
    const std::uint64_t version = state.version.load(std::memory_order_acquire);
    if (version == served.version_seen) [[likely]]
      return;
    served.queues.clear();
    served.next = 0;
    const std::uint32_t used = control_.header().processes_used.load(std::memory_order_acquire);
    for (std::uint32_t group = 0; group <= (used - 1) / 64; ++group) {
      std::uint64_t bits = state.submitters[group].load(std::memory_order_acquire);
      for (; bits != 0; bits &= bits - 1) {
        const std::uint32_t owner = group * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
        const TaskQueue queue = control_.queue(owner, served.index);
        if (queue.is_open() && !(served.skips_own && owner == me_)) served.queues.push_back({queue, owner});
      }
    }
    served.version_seen = version;
    state.relay_version_seen.store(version, std::memory_order_release);
  }

  Control control_;
  std::uint32_t me_;
  std::vector<Served> lanes_;
  std::vector<std::uint32_t> place_of_;  // by lane: place in `lanes_` + 1, 0: not joined
};

}  // namespace rayx::shm
