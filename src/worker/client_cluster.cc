// Questions to the cluster: they lie in a lane of which the relay of the job is the only executor, and are answered as a task is.
#include <cstring>
#include <string>

#include "worker/client.hpp"

namespace rayx::worker {

using detail::Failure;

// A queue to the lane, opened with the first question.
LaneUse* Client::service_lane(Failure& failure) {
  if (lanes_.size() <= shm::kServiceLane) lanes_.resize(shm::kServiceLane + 1);
  std::shared_ptr<LaneUse>& use = lanes_[shm::kServiceLane];
  if (use != nullptr) return use.get();
  auto fresh = std::make_shared<LaneUse>();
  fresh->lane = shm::kServiceLane;
  fresh->shared = control_.lane(fresh->lane);
  if (!open_queue(*fresh, kServiceQueueCells, failure)) return nullptr;
  use = std::move(fresh);
  return use.get();
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
  call.arguments.size = argument.size();
  call.arguments.small = argument.data();
  if (argument.size() > shm::kCellInlineBytes) {
    shm::Offset offset = shm::kNoOffset;
    if (!allocate(argument.size(), true, &lock, failure, offset)) return nullptr;
    std::memcpy(arena_->writable(offset), argument.data(), argument.size());
    call.arguments.small = nullptr;
    call.arguments.block = {arena_->writable(offset), argument.size(), offset};
  }
  Entry* const e = take_entry(EntryKind::kTask, failure);
  if (e == nullptr) {
    if (call.arguments.block.data != nullptr)
      free_block({call.arguments.block.backend_word, argument.size()}, {me_, 0, 0});
    return nullptr;
  }
  fill_call(*e, call, static_cast<FunctionNumber>(question));
  e->lane = static_cast<std::uint16_t>(use->lane);
  hand_in(*e, 0);
  return &e->cell;
}

}  // namespace rayx::worker
