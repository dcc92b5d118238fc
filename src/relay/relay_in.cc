// Tasks of other nodes that this one does.
#include <algorithm>
#include <cstring>

#include <rayx/detail/remote_failure.hpp>

#include "relay/relay.hpp"

namespace rayx::relay {

using worker::RefCell;

// Puts the task into this node's lane, as a task of the relay's own that is not tried again: its owner decides about that.
RefCell* Relay::submit(const TaskHead& task, std::span<const std::byte> arguments, std::span<const Part> parts,
                       std::uint64_t tag, ReturnReason& reason) {
  detail::Failure failure;
  worker::LaneUse* const use = find_class_of(task.cpu_units, failure);
  if (use == nullptr) {
    reason = failure->code == ErrorCode::kShuttingDown ? ReturnReason::kClosing : ReturnReason::kRefused;
    return nullptr;
  }
  Lock lock(mutex_);
  reason = ReturnReason::kStoreFull;
  std::vector<detail::Dependency> dependencies;
  dependencies.reserve(parts.size());
  const auto drop_dependencies = [&] {
    for (const detail::Dependency& dependency : dependencies) drop_locked(dependency.ref);
  };
  for (const Part& part : parts) {
    RefCell* const cell = keep_copy(part.bytes, failure);
    if (cell == nullptr) {
      drop_dependencies();
      return nullptr;
    }
    dependencies.push_back({cell, part.position});
  }
  worker::NumberedCall call;
  call.function = task.function;
  call.arguments = arguments;
  call.dependencies = dependencies;
  call.tag = tag;
  RefCell* const cell = submit_numbered(*use, call, failure);
  drop_dependencies();
  return cell;
}

void Relay::on_task(Peer& peer, const TaskHead& task, std::span<const std::byte> arguments,
                    std::span<const Part> parts) {
  std::uint32_t index = 0;
  {
    const Lock lock(mutex_);
    if (free_taken_.empty()) {
      free_taken_.push_back(static_cast<std::uint32_t>(taken_.size()));
      taken_.emplace_back();
    }
    index = free_taken_.back();
    free_taken_.pop_back();
    taken_[index] = {task.number, peer.id, nullptr};
    peer.taken_in.insert(index);
  }
  ReturnReason reason = ReturnReason::kRefused;
  RefCell* const cell = submit(task, arguments, parts, index, reason);
  if (cell != nullptr) return;
  const Lock lock(mutex_);
  peer.taken_in.erase(index);
  free_taken_.push_back(index);
  refuse(peer, task.number, reason);
}

void Relay::refuse(Peer& peer, TaskNumber number, ReturnReason reason) {
  peer.returned.add(FrameKind::kReturned, ReturnHead{number, reason, 0});
}

void Relay::task_is_done(std::uint64_t tag, RefCell* cell, bool is_lost) {
  const auto index = static_cast<std::uint32_t>(tag);
  taken_[index].cell = cell;
  const auto found = peers_.find(taken_[index].peer);
  if (found == peers_.end()) return forget_taken(index);  // nobody wants it any more
  Peer& peer = *found->second;
  peer.done.emplace_back(index, is_lost);
  if (!peer.link->is_congested()) send_done(peer);
}

// What waits here stays in the store, where it has a limit.
void Relay::send_done(Peer& peer) {
  while (!peer.done.empty() && !peer.link->is_congested()) {
    const auto [index, is_lost] = peer.done.front();
    peer.done.pop_front();
    answer(peer, taken_[index], is_lost);
    forget_taken(index);
  }
}

void Relay::answer(Peer& peer, const TakenRow& row, bool is_lost) {
  const detail::ValueView value = view_of_cell(row.cell);
  const FrameKind kind = is_lost ? FrameKind::kLost : FrameKind::kResults;
  FrameWriter& writer = is_lost ? peer.lost : peer.results;
  std::vector<std::byte> too_large;
  std::span<const std::byte> bytes{value.data, value.size};
  if (value.size > kFrameBytesMax) {
    detail::RemoteFailure error;
    error.code = ErrorCode::kUnsupported;
    error.message = "rayx: a task on another node returned " + std::to_string(value.size) + " bytes; " +
                    std::to_string(kFrameBytesMax) + " can cross at present";
    too_large.resize(encoded_size(error));
    encode(error, too_large.data(), too_large.size());
    bytes = too_large;
  }
  writer.add(kind, ResultHead{row.number, value.is_error || !too_large.empty() ? 1u : 0u, 0, bytes.size()});
  writer.put_bytes(bytes);
  if (writer.bytes() >= kFrameBytes) flush(peer);
}

void Relay::forget_taken(std::uint32_t index) {
  TakenRow& row = taken_[index];
  if (const auto peer = peers_.find(row.peer); peer != peers_.end()) peer->second->taken_in.erase(index);
  RefCell* const cell = std::exchange(row, {}).cell;
  free_taken_.push_back(index);
  if (cell != nullptr) drop_locked(cell);
}

}  // namespace rayx::relay
