// Tasks of other nodes that this one does.
#include <algorithm>
#include <cstring>

#include <rayx/detail/ref_count.hpp>
#include <rayx/detail/remote_failure.hpp>

#include "base/planted_bug.hpp"
#include "relay/relay.hpp"

namespace rayx::relay {

using worker::RefCell;

// ---- Tasks

std::vector<detail::Dependency> Relay::take_parts(Peer& peer, std::span<const Part> parts, bool& is_whole,
                                                  detail::Failure& failure, ArgumentsOf& arguments) {
  std::vector<detail::Dependency> dependencies;
  dependencies.reserve(parts.size());
  for (const Part& part : parts) {
    if (part.is_named) {
      RefCell* const named = take_named_part(peer, part, arguments);
      if (named != nullptr) dependencies.push_back({named, part.position});
      is_whole = is_whole && named != nullptr;
      continue;
    }
    Arrived value = take_arrived(&peer, part.value);
    RefCell* const cell = is_whole ? keep_value(value, failure) : nullptr;
    if (cell != nullptr) dependencies.push_back({cell, part.position});
    is_whole = is_whole && cell != nullptr;
    forget(value);
  }
  return dependencies;
}

// Puts the task into this node's lane, as a task of the relay's own that is not tried again: its owner decides about that.
RefCell* Relay::submit(Peer& peer, const TaskHead& task, const WireValue& arguments, std::span<const Part> parts,
                       std::uint64_t tag, ReturnReason& reason) {
  detail::Failure failure;
  const std::shared_ptr<worker::LaneUse> use = find_class(task.cpu_units, {}, failure);
  reason = ReturnReason::kStoreFull;
  if (use == nullptr)
    reason = failure->code == ErrorCode::kShuttingDown ? ReturnReason::kClosing : ReturnReason::kRefused;
  Lock lock(mutex_);
  Arrived arrived = take_arrived(&peer, arguments);
  bool is_whole = use != nullptr && arrived.is_whole;
  ArgumentsOf large;
  const std::vector<detail::Dependency> dependencies = take_parts(peer, parts, is_whole, failure, large);
  RefCell* cell = nullptr;
  if (large.bytes > store_bytes_) {
    reason = ReturnReason::kTooLarge;
  } else if (is_whole) {
    worker::NumberedCall call;
    call.function = task.function;
    call.tag = tag;
    call.arguments = arrived.bytes;
    call.block = std::exchange(arrived.block, worker::BlockRef{0, 0});
    call.refs = arrived.refs;
    call.dependencies = dependencies;
    cell = submit_numbered(*use, call, failure);
    if (cell != nullptr && !large.tags.empty()) want_arguments(static_cast<std::uint32_t>(tag), std::move(large), true);
  }
  forget(arrived);
  for (const detail::Dependency& dependency : dependencies)
    if (!RAYX_PLANTED_BUG(523)) drop_locked(dependency.ref);
  return cell;
}

void Relay::on_task(Peer& peer, const TaskHead& task, const WireValue& arguments, std::span<const Part> parts) {
  std::uint32_t index = 0;
  {
    const Lock lock(mutex_);
    index = take_taken({task.number, peer.id, nullptr, task.cpu_units});
    peer.units_here += task.cpu_units;
  }
  ReturnReason reason = ReturnReason::kRefused;
  RefCell* const cell = submit(peer, task, arguments, parts, index, reason);
  if (cell != nullptr) return;
  const Lock lock(mutex_);
  forget_taken(index);
  refuse(peer, task.number, reason);
}

void Relay::refuse(Peer& peer, TaskNumber number, ReturnReason reason) {
  peer.returned.add(FrameKind::kReturned, ReturnHead{number, reason, 0});
}

std::uint32_t Relay::take_taken(const TakenRow& row) {
  if (free_taken_.empty()) {
    free_taken_.push_back(static_cast<std::uint32_t>(taken_.size()));
    taken_.emplace_back();
  }
  const std::uint32_t index = free_taken_.back();
  free_taken_.pop_back();
  taken_[index] = row;
  return index;
}

void Relay::task_is_done(std::uint64_t tag, RefCell* cell, bool is_lost) {
  if ((tag & kConstructorTag) != 0) {
    const node::LaneName lane{static_cast<std::uint32_t>(tag & 0xffff), static_cast<std::uint32_t>(tag >> 16)};
    return constructor_is_done(lane, cell, is_lost);
  }
  const auto index = static_cast<std::uint32_t>(tag);
  taken_[index].cell = cell;
  const auto found = peers_.find(taken_[index].peer);
  if (found == peers_.end() && RAYX_PLANTED_BUG(522)) return;
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
  if (row.returned && value.is_error) return refuse(peer, row.number, *row.returned);  // it has not begun
  if (is_lost) {
    const std::size_t bytes = std::min<std::size_t>(value.size, kStreamBytesMin);  // an error may be cut anywhere
    peer.lost.add(FrameKind::kLost, ResultHead{row.number, 1, 0, bytes});
    peer.lost.put_bytes({value.data, bytes});
    return;
  }
  Piece piece;
  piece.bytes = {value.data, value.size};
  ResultHead head{row.number, value.is_error ? 1u : 0u, 0, 0};
  std::vector<std::byte> error;
  if (const auto unreadable = read_names(piece.bytes, value.has_refs, piece.names, "a result")) {
    error = bytes_of(*unreadable);
    piece.bytes = error;
    head.is_error = 1;
  }
  if (piece.is_stream()) {
    detail::count_up(row.cell);
    piece.keep = keep_while_sent({row.cell});
  }
  Cargo cargo;
  cargo.what = OfferedFor::kResult;
  cargo.subject = row.number;
  if (piece.is_stream()) cargo.key = name_export(peer, row.cell);
  FrameWriter own;
  FrameWriter& writer = piece.is_stream() ? own : peer.results;
  head.bytes = piece.length();
  writer.add(FrameKind::kResults, head);
  put_value(writer, peer, piece, cargo);
  send_cargo(peer, own, cargo);
  if (peer.results.bytes() >= kFrameBytes) flush(peer);
}

void Relay::forget_taken(std::uint32_t index) {
  TakenRow& row = taken_[index];
  if (const auto peer = peers_.find(row.peer); peer != peers_.end()) peer->second->units_here -= row.cpu_units;
  RefCell* const cell = std::exchange(row, {}).cell;
  free_taken_.push_back(index);
  if (cell != nullptr) drop_locked(cell);
}

}  // namespace rayx::relay
