#include "host/site_load.hpp"

#include <algorithm>
#include <bit>

#include "node/node.hpp"
#include "registry/limits.hpp"
#include "shm/control.hpp"

namespace rayx::host {

void add_used(const shm::Arena& arena, registry::Load& load) {
  const shm::Control control(arena.segment());
  base::Units used = 0;
  for (std::uint32_t index = 0; index < node::Node::kClassLanes; ++index) {
    const shm::LaneState& lane = control.lane(index).state();
    const std::uint64_t workers =
        lane.members.load(std::memory_order_acquire) & ~(std::uint64_t{1} << shm::kRelayMember);
    const int awake = std::popcount(workers & ~lane.sleeping.load(std::memory_order_acquire));
    // A task of no CPU is work all the same.
    used += awake * std::max<base::Units>(1, lane.cpu_units.load(std::memory_order_relaxed));
  }
  used -= static_cast<base::Units>(control.header().lent_units.load(std::memory_order_relaxed));
  load.used_by_tasks.cpus += std::max<base::Units>(0, used);
}

void add_queued(const shm::Arena& arena, base::JobId job, registry::Load& load) {
  const shm::Control control(arena.segment());
  for (std::uint32_t index = 0; index < node::Node::kClassLanes; ++index) {
    if (index == shm::kServiceLane) continue;
    const shm::LaneState& lane = control.lane(index).state();
    std::uint64_t count = 0;
    for (std::uint32_t group = 0; group < shm::kProcessesMax / 64; ++group) {
      std::uint64_t bits = lane.submitters[group].load(std::memory_order_acquire);
      for (; bits != 0; bits &= bits - 1) {
        const shm::TaskQueue queue =
            control.queue(group * 64 + static_cast<std::uint32_t>(std::countr_zero(bits)), index);
        if (queue.is_open()) count += queue.count_unclaimed();
      }
    }
    if (count == 0 || load.queued.size() >= registry::kDemandsMax) continue;
    registry::Demand demand;
    demand.job = job;
    demand.each.cpus = lane.task_units.load(std::memory_order_relaxed);
    demand.count = count;
    load.queued.push_back(demand);
  }
}

}  // namespace rayx::host
