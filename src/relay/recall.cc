// Tasks that lie at another node while CPUs elsewhere are idle.
//
// Short tasks fill a window, and those that come behind them may be long, or a node may join when all is handed out. So as long as more of a
// class are at a peer than can run there, the relay looks now and then whether another peer, or its own workers, could do some, and asks
// for so many. What nobody there has begun comes back as a task that was returned, uses no retry, and is handed out anew. A task that
// needs large values stays: it was sent to where they are.
#include <algorithm>
#include <string>

#include "relay/relay.hpp"

namespace rayx::relay {
namespace {

constexpr base::TimeNs kAnswerPause_ns = 20'000'000;  // after a question, which may have been in vain

}  // namespace

// How many more tasks of the class could begin now.
std::uint64_t Relay::room_elsewhere(const LaneServed& lane, base::TimeNs now) {
  std::uint64_t room = 0;
  if (cpu_units_ != 0 && lane.is_here) room += idle_units() / lane.cpu_units;
  for (auto& [id, peer] : peers_) {
    const sched::Window& window = peer->windows[lane.lane];
    if (window.outstanding() >= window.slots() || !has_room(lane, *peer, now)) continue;
    // Other classes may use its CPUs.
    std::uint64_t used = 0;
    for (const LaneServed& other : lanes_served_) {
      const sched::Window& there = peer->windows[other.lane];
      used += std::uint64_t{std::min(there.outstanding(), there.slots())} * other.cpu_units;
    }
    if (used + lane.cpu_units <= peer->cpu_units + peer->lent_units) room += window.room();
  }
  return room;
}

void Relay::look_for_recall(base::TimeNs now) {
  recall_at_ns_ = base::kNever;
  for (const LaneServed& lane : lanes_served_) {
    if (lane.cpu_units == 0 || lane.where.spreads) continue;
    const auto surplus_of = [&](Peer& peer) { return std::uint64_t{peer.windows[lane.lane].surplus()}; };
    const bool any = std::any_of(peers_.begin(), peers_.end(), [&](auto& it) { return surplus_of(*it.second) != 0; });
    if (!any) continue;
    recall_at_ns_ = now + kRecallPause_ns;
    if (puller_.has_work(lane.lane)) continue;
    std::uint64_t room = room_elsewhere(lane, now);
    for (auto& [id, peer] : peers_) {
      const std::uint64_t surplus = surplus_of(*peer);
      if (room == 0) break;
      if (surplus == 0 || now < peer->recalls_at_ns) continue;
      const std::uint64_t tasks = std::min(room, (surplus + 1) / 2);
      room -= tasks;
      peer->recalls_at_ns = now + kAnswerPause_ns;
      FrameWriter writer;
      writer.add(FrameKind::kRecall, RecallHead{lane.cpu_units, tasks});
      peer->link->send(writer.finish());
    }
  }
}

// Whoever of the class has not begun goes back to where it came from, which may be another node than the one that asks.
void Relay::on_recall(const RecallHead& asked) {
  const auto found = classes_.find({asked.cpu_units, std::string()});
  if (found == classes_.end() || !found->second->queue.is_open()) return;
  worker::LaneUse& use = *found->second;
  // Each is looked at once.
  for (std::uint64_t looked = 0, taken = 0; looked < use.queue.capacity() && taken < asked.tasks; ++looked) {
    const auto claim = use.queue.claim_next(me_);
    if (!claim) return;
    const shm::LanePuller::Task task{claim->cell->body, me_};
    use.queue.release(*claim);
    const worker::Index index = task.body.record;
    const std::vector<worker::Index> needs = needs_of(entry(index));
    if (std::any_of(needs.begin(), needs.end(), [&](worker::Index need) { return is_proxy(first_cell(need)); })) {
      push(use, index);
      continue;
    }
    ++taken;
    taken_[static_cast<std::uint32_t>(entry(index).cell.backend_word[0])].returned = ReturnReason::kRecalled;
    complete_with_error(row_of(task, use.lane), {});
  }
}

}  // namespace rayx::relay
