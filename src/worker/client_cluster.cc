// Questions to the cluster: they lie in a lane of which the relay of the job is the only executor, and are answered as a task is.
#include <string>

#include "worker/client.hpp"

namespace rayx::worker {

using detail::Failure;

// A queue to the lane, opened with the first question.
LaneUse* Client::service_lane(Failure& failure) {
  if (lanes_.size() > shm::kServiceLane && lanes_[shm::kServiceLane] != nullptr) return lanes_[shm::kServiceLane].get();
  return open_lane(shm::kServiceLane, kServiceQueueCells, failure).get();
}

RefCell* Client::ask_cluster(detail::ClusterQuestion question, std::span<const std::byte> argument, Failure& failure) {
  ensure_service();
  Lock lock(mutex_);
  if (is_over()) {
    failure = shut_down_failure("get_actor");
    return nullptr;
  }
  LaneUse* const use = service_lane(failure);
  if (use == nullptr || !wait_for_room(*use, lock, failure)) return nullptr;
  detail::TaskCall call{};
  BlockRef block{};
  if (!place_arguments(argument, &lock, failure, block)) return nullptr;
  Entry* const e = fill_bytes(EntryKind::kTask, call, static_cast<FunctionNumber>(question), argument, block, failure);
  if (e == nullptr) return nullptr;
  e->lane = static_cast<std::uint16_t>(use->lane);
  hand_in(*e, 0);
  return &e->cell;
}

}  // namespace rayx::worker
