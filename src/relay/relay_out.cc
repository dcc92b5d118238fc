// Tasks of this node that others do.
#include <algorithm>
#include <cstring>

#include <rayx/detail/remote_failure.hpp>

#include "base/kill_point.hpp"
#include "base/planted_bug.hpp"
#include "relay/loopback.hpp"
#include "relay/relay.hpp"

namespace rayx::relay {

using worker::BlockRef;
using worker::Record;

namespace {

constexpr int kTasksPerTurn = 128;
constexpr base::TimeNs kStoreFullPause_ns = 100'000'000;
constexpr base::TimeNs kRuns_ns = 2'000'000'000;  // what a node has had so long it has not given back

}  // namespace

// ---- Rows of what is elsewhere

Relay::SentRow Relay::row_of(const shm::LanePuller::Task& task, std::uint32_t lane) {
  SentRow row;
  row.owner = task.owner;
  row.record = task.body.record;
  row.generation = task.body.generation;
  row.lane = lane;
  return row;
}

std::uint32_t Relay::take_row(const SentRow& row) {
  if (free_sent_.empty()) {
    free_sent_.push_back(static_cast<std::uint32_t>(sent_.size()));
    sent_.emplace_back();
  }
  const std::uint32_t index = free_sent_.back();
  free_sent_.pop_back();
  const std::uint32_t life = sent_[index].life;
  sent_[index] = row;
  sent_[index].life = life;
  sent_[index].is_used = true;
  return index;
}

TaskNumber Relay::number_of(const SentRow& row) const {
  return std::uint64_t{row.life} << 32 | static_cast<std::uint64_t>(&row - sent_.data());
}

// ---- Looking for tasks

void Relay::wake() {
  shm::ProcessSlot& slot = control().slot(me_);
  slot.run_word.store(0, std::memory_order_seq_cst);
  shm::futex_wake(slot.run_word, 1);
}

void Relay::pull() {
  shm::Backoff backoff;
  shm::ProcessSlot& slot = control().slot(me_);
  bool searches = true;
  while (!is_ending_.load(std::memory_order_acquire)) {
    if (take_turn()) {
      backoff.reset();
      searches = true;
      continue;
    }
    if (searches && backoff.wait_once()) continue;
    // Where workers want the CPU it searches only after it has found something.
    searches = sleep_until_work(slot) && cpu_units_ == 0;
    backoff.reset();
  }
}

// False: it was time to look again.
bool Relay::sleep_until_work(shm::ProcessSlot& slot) {
  std::vector<std::uint32_t> announced;
  bool stays_awake = false;
  base::TimeNs sleep_ns = base::kNever;
  {
    const Lock lock(mutex_);
    const base::TimeNs now = clock_.now_ns();
    puller_.refresh_all();
    slot.run_word.store(1, std::memory_order_seq_cst);
    // Here, where nobody else takes them: they may bring lanes, in which this thread has not said then that it sleeps.
    stays_awake = has_news_.load(std::memory_order_seq_cst);
    for (LaneServed& lane : lanes_served_) {
      if (cpu_units_ != 0 && lane.is_here) {
        // Full ones are looked at when it is time.
        if (others_.empty() || lane.cpu_units == 0 || lane.full_since_ns != base::kNever || now < lane.announce_at_ns)
          continue;
        lane.was_woken = true;
      } else if (choose_peer(lane, now) == nullptr && !is_left_alone() && !lane.is_hopeless) {
        continue;  // who makes room wakes
      }
      if (!RAYX_PLANTED_BUG(508)) puller_.announce_sleep(lane.lane);
      announced.push_back(lane.lane);
      stays_awake = stays_awake || puller_.has_work(lane.lane);
    }
    puller_.announce_sleep(shm::kServiceLane);
    announced.push_back(shm::kServiceLane);
    stays_awake = stays_awake || puller_.has_work(shm::kServiceLane);
    for (const auto& [id, actor] : remote_actors_) {
      if (!can_pull(actor)) continue;
      puller_.announce_sleep(actor.lane.lane);
      announced.push_back(actor.lane.lane);
      stays_awake = stays_awake || puller_.has_work(actor.lane.lane);
    }
    for (const auto& [id, peer] : peers_)
      if (peer->closed_until_ns > now) sleep_ns = std::min(sleep_ns, peer->closed_until_ns - now);
    const base::TimeNs again_ns =
        std::min({fetch_again_ns_, watch_again_ns_, overflow_at_ns_, recall_at_ns_, large_values_at_ns()});
    if (again_ns != base::kNever) sleep_ns = std::min(sleep_ns, std::max<base::TimeNs>(again_ns - now, 0));
  }
  RAYX_KILL_POINT("relay.sleep.before_look");
  stays_awake =
      stays_awake || has_sent_.load(std::memory_order_seq_cst) || (loopback_ != nullptr && loopback_->has_frames());
  if (!stays_awake && !is_ending_.load(std::memory_order_seq_cst)) shm::futex_wait(slot.run_word, 1, sleep_ns);
  const Lock lock(mutex_);
  const bool was_woken = stays_awake || slot.run_word.load(std::memory_order_relaxed) == 0;
  for (const std::uint32_t lane : announced) puller_.withdraw_sleep(lane);
  slot.run_word.store(0, std::memory_order_relaxed);
  puller_.refresh_all();
  return was_woken;
}

bool Relay::is_left_alone() const {
  return had_peers_ && !may_get_peers_ && peers_count_.load(std::memory_order_relaxed) == 0 && cpu_units_ == 0;
}

// What is queued while no node is left. It would wait for ever.
bool Relay::fail_queued() {
  const Lock lock(mutex_);
  if (!is_left_alone()) return false;
  bool any = false;
  shm::LanePuller::Task task;
  for (const LaneServed& lane : lanes_served_) {
    while (puller_.take(lane.lane, task)) {
      any = true;
      detail::RemoteFailure error;
      error.code = ErrorCode::kWorkerDied;
      error.message = "rayx: no node of the cluster is left to run the task: " + last_loss_ +
                      ". Start a node, and the program again";
      const std::vector<std::byte> bytes = bytes_of(error);
      complete_with_error(row_of(task, lane.lane), bytes);
    }
  }
  return any;
}

bool Relay::take_turn() {
  bool any = loopback_ != nullptr && loopback_->deliver();
  if (has_news_.load(std::memory_order_acquire) || has_sent_.load(std::memory_order_acquire)) {
    const Lock lock(mutex_);
    take_news();
    drop_sent();
    flush_all_peers();
    any = true;
  }
  if (peers_count_.load(std::memory_order_acquire) == 0 && fail_queued()) return true;
  const Lock lock(mutex_);
  if (has_work()) {
    drive();
    any = true;
  }
  fetch_again();
  watch_again();
  any = pull_calls() || any;
  any = answer_questions() || any;
  const base::TimeNs now = clock_.now_ns();
  if (look_at_large_values(now)) flush_all_peers();
  look_for_overflow(now);
  any = fail_hopeless() || any;
  for (const LaneServed& lane : lanes_served_) {
    shm::LanePuller::Task task;
    for (int i = 0; i < kTasksPerTurn; ++i) {
      Peer* const peer = choose_peer(lane, now);
      if (peer == nullptr || !puller_.take(lane.lane, task)) break;
      hand_out(task, lane, *peer, now);
      any = true;
    }
  }
  if (now >= recall_at_ns_) look_for_recall(now);
  if (any) flush_all_peers();
  return any;
}

// ---- Handing out

void Relay::hand_out(const shm::LanePuller::Task& task, const LaneServed& lane, Peer& chosen, base::TimeNs now) {
  const std::uint32_t index = take_row(row_of(task, lane.lane));
  SentRow& row = sent_[index];
  Needs needs;
  std::string problem;
  if (!read_task(task, needs, problem, true)) {
    if (problem.empty()) {
      give_back(row, detail::kRecordReturned);  // what it needs is not there yet
    } else {
      complete_with_problem(row, problem, needs.code);
    }
    return forget_sent(row);
  }
  Peer& peer = needs.parts.empty() ? chosen : choose_nearest(lane, needs, chosen, now);
  row.peer = peer.id;
  row.sent_ns = now;
  for (const auto& [position, piece] : needs.parts)
    if (piece.bytes_elsewhere != 0) row.elsewhere.push_back(piece.key.word);
  write_task(needs,
             {number_of(row), task.body.function_and_flags >> 16, static_cast<std::uint32_t>(lane.cpu_units), 0, 0},
             peer);
  peer.handed_out.insert(index);
  sched::Window& window = peer.windows[lane.lane];
  window.sent(now);
  if (window.surplus() != 0) recall_at_ns_ = std::min(recall_at_ns_, now + kRecallPause_ns);
  if (peer.tasks.bytes() >= kFrameBytes) flush(peer);
}

void Relay::write_task(Needs& needs, TaskHead head, Peer& peer) {
  const bool has_streams = needs.arguments.is_stream();
  head.parts = static_cast<std::uint32_t>(needs.parts.size());
  head.arguments_bytes = needs.arguments.length();
  Cargo cargo;
  cargo.subject = head.number;
  FrameWriter own;
  FrameWriter& writer = has_streams ? own : peer.tasks;
  writer.add(FrameKind::kTasks, head);
  put_value(writer, peer, needs.arguments, cargo);
  put_parts(writer, peer, needs.parts, cargo);
  send_cargo(peer, own, cargo);
}

// ---- Answers

Relay::SentRow* Relay::find_sent(TaskNumber number, PeerId peer) {
  const auto index = static_cast<std::uint32_t>(number);
  if (index >= sent_.size()) return nullptr;
  SentRow& row = sent_[index];
  return row.is_used && row.life == number >> 32 && row.peer == peer ? &row : nullptr;
}

void Relay::forget_sent(SentRow& row) {
  const auto index = static_cast<std::uint32_t>(&row - sent_.data());
  if (const auto peer = peers_.find(row.peer); peer != peers_.end()) peer->second->handed_out.erase(index);
  if (row.actor) {
    if (const auto actor = remote_actors_.find(row.actor); actor != remote_actors_.end()) {
      actor->second.calls.erase(index);
      actor->second.kept_calls.erase(row.order);
    }
  }
  row.is_used = false;
  ++row.life;
  free_sent_.push_back(index);
}

// The owner is alive, or has not been buried: this process has not said that it knows of its death.
void Relay::complete(const SentRow& row, Arrived& value, bool is_error) {
  const shm::Records records = control().records_of(row.owner);
  Record& record = records.at(row.record);
  if (shm::generation_of(record) != row.generation) return forget(value);
  const shm::BlockOwner owner{row.owner, row.record, row.generation};
  std::uint32_t done = is_error ? std::uint32_t{detail::kRecordIsError} : 0u;
  if (value.block.size != 0) {
    const BlockRef block = std::exchange(value.block, BlockRef{0, 0});
    hand_block_over(block, owner);
    std::memcpy(record.payload, &block, sizeof(block));
    done |= detail::kRecordDoneBlock;
  } else if (value.bytes.size() <= detail::kRecordInlineBytes) {
    if (!value.bytes.empty()) std::memcpy(record.payload, value.bytes.data(), value.bytes.size());
    record.size = static_cast<std::uint32_t>(value.bytes.size());
    done |= detail::kRecordDoneInline;
  } else {
    detail::Failure failure;
    const auto block = place_for(value.bytes, owner, failure);
    if (!block) {
      forget(value);
      return complete_without_memory(row, failure->message);
    }
    std::memcpy(record.payload, &*block, sizeof(*block));
    done |= detail::kRecordDoneBlock;
  }
  if (value.refs.empty()) return records.complete(row.record, done);
  // As an executor does: they are held here until the owner has taken its own counts.
  record.reserved = me_ + 1;
  pending_adoptions_.push_back(
      {shm::ObjectKey::make(row.owner, row.record, row.generation), std::exchange(value.refs, {})});
  records.complete(row.record, done | detail::kRecordHasRefs);
  records.mark_completed(row.record);
  records.call_owner();
}

void Relay::complete_with_problem(const SentRow& row, const std::string& problem, ErrorCode code) {
  detail::RemoteFailure error;
  error.code = code;
  error.message = problem;
  complete_with_error(row, bytes_of(error));
}

void Relay::complete_with_error(const SentRow& row, std::span<const std::byte> error) {
  Arrived value;
  value.bytes = error;
  complete(row, value, true);
}

std::vector<std::byte> Relay::bytes_of(const detail::RemoteFailure& error) {
  std::vector<std::byte> bytes(encoded_size(error));
  encode(error, bytes.data(), bytes.size());
  return bytes;
}

void Relay::complete_without_memory(const SentRow& row, const std::string& why) {
  detail::RemoteFailure error;
  error.code = ErrorCode::kStoreFull;
  error.message = why;
  std::byte bytes[detail::kRecordInlineBytes];
  const std::size_t size = std::min(encoded_size(error), sizeof(bytes));
  encode(error, bytes, size);
  complete_with_error(row, {bytes, size});
}

// It was offered, and has waited in vain.
void Relay::complete_without_room(const SentRow& row, std::uint64_t bytes) {
  complete_with_problem(
      row,
      "rayx: a result of " + std::to_string(bytes) +
          " bytes that another node has made found no room in the store of this node, of whose " +
          std::to_string(store_bytes_) + " bytes " + std::to_string(store_use_()) +
          " are in use, within Config::store_timeout. Drop references to earlier results, get() fewer at a "
          "time, or raise Config::store_bytes (RAYX_STORE_BYTES)",
      ErrorCode::kStoreFull);
}

// The owner hears of it, and queues the task again or lets it fail.
void Relay::give_back(const SentRow& row, std::uint32_t flags) {
  const shm::Records records = control().records_of(row.owner);
  Record& record = records.at(row.record);
  if (shm::generation_of(record) != row.generation) return;
  record.state.fetch_or(flags, std::memory_order_acq_rel);
  records.mark_completed(row.record);
  records.call_owner();
}

void Relay::on_result(Peer& peer, const ResultHead& result, const WireValue& value) {
  SentRow* const row = find_sent(result.number, peer.id);
  Arrived arrived = take_arrived(&peer, value);
  if (row == nullptr) return forget(arrived);  // given up meanwhile
  free_slot(peer, *row, clock_.now_ns());
  peer.full_since_ns = base::kNever;
  if (arrived.is_whole) {
    complete(*row, arrived, result.is_error != 0);
  } else if (row->is_spent) {
    give_back(*row, detail::kRecordReturned | detail::kRecordElsewhere);
  } else {
    complete_without_room(*row, value.bytes);
  }
  forget(arrived);
  forget_sent(*row);
}

void Relay::on_lost(Peer& peer, const ResultHead& result, std::span<const std::byte> error) {
  SentRow* const row = find_sent(result.number, peer.id);
  if (row == nullptr) return;
  peer.full_since_ns = base::kNever;
  if (!row->actor && row->has_slot) peer.windows[row->lane].forgotten();
  if (const auto actor = remote_actors_.find(row->actor); actor != remote_actors_.end())
    actor->second.over = std::max(actor->second.over, row->incarnation);
  lose(*row, error);
  forget_sent(*row);
}

void Relay::tell_lost(const SentRow& row, std::span<const std::byte> error) {
  const shm::Records records = control().records_of(row.owner);
  Record& record = records.at(row.record);
  if (shm::generation_of(record) != row.generation) return;
  detail::Failure no_room;
  BlockRef where{0, 0};
  if (const auto block = place_for(error, {row.owner, row.record, row.generation}, no_room)) where = *block;
  std::memcpy(record.payload, &where, sizeof(where));
  const std::uint32_t made = row.is_made ? std::uint32_t{detail::kRecordElsewhere} : 0u;
  give_back(row, detail::kRecordReturned | detail::kRecordLost | made);
}

// Every node that may do the task has been full for as long as a writer waits, and nothing of this job runs there that would make room.
bool Relay::is_full_everywhere(const SentRow& row, base::TimeNs now) const {
  const auto lane = std::find_if(lanes_served_.begin(), lanes_served_.end(),
                                 [&](const LaneServed& it) { return it.lane == row.lane; });
  if (lane == lanes_served_.end() || (cpu_units_ != 0 && lane->is_here)) return false;
  const auto runs = [&](std::uint32_t index) {
    const SentRow& other = sent_[index];
    return &other != &row && !other.is_made && now - other.sent_ns >= kRuns_ns;
  };
  for (const auto& [id, peer] : peers_) {
    if (peer->node == node_ || peer->is_retiring || !may_do(*lane, *peer)) continue;
    if (peer->cpu_units_of_node < lane->cpu_units) continue;
    if (now < base::deadline_ns(peer->full_since_ns, store_timeout_)) return false;
    if (std::any_of(peer->handed_out.begin(), peer->handed_out.end(), runs)) return false;
  }
  return true;
}

void Relay::on_returned(Peer& peer, const ReturnHead& task) {
  SentRow* const row = find_sent(task.number, peer.id);
  if (row == nullptr) return;
  if (!row->actor) {
    sched::Window& window = peer.windows[row->lane];
    task.reason == ReturnReason::kRecalled ? window.recalled() : window.forgotten();
  }
  if (task.reason == ReturnReason::kTooLarge) {
    complete_with_problem(
        *row,
        "rayx: the arguments of a task have no room in the store of " + peer.name +
            ", also if nothing else lies there. Pass less to one task, or start the node with a larger store "
            "(RAYX_STORE_BYTES)",
        ErrorCode::kStoreFull);
    return forget_sent(*row);
  }
  if (task.reason == ReturnReason::kRefused) want_what_was_elsewhere(*row);
  if (task.reason == ReturnReason::kStoreFull) {
    const base::TimeNs now = clock_.now_ns();
    peer.closed_until_ns = now + kStoreFullPause_ns;
    if (peer.full_since_ns == base::kNever) peer.full_since_ns = now;
    if (!row->actor && is_full_everywhere(*row, now)) {
      complete_with_problem(
          *row,
          "rayx: the arguments of a task found no room in the store of " + peer.name +
              ", nor on any other node that may run it, within Config::store_timeout, and no task ended there "
              "meanwhile. Drop references to what lies there, or start the nodes with larger stores "
              "(RAYX_STORE_BYTES)",
          ErrorCode::kStoreFull);
      return forget_sent(*row);
    }
  }
  if (!RAYX_PLANTED_BUG(507)) give_back(*row, detail::kRecordReturned);
  forget_sent(*row);
}

void Relay::process_has_died(std::uint32_t slot) {
  bool any = false;
  for (SentRow& row : sent_) {
    if (!row.is_used || row.owner != slot) continue;
    any = true;
    if (const auto peer = peers_.find(row.peer); peer != peers_.end()) {
      if (!row.actor && row.has_slot) peer->second->windows[row.lane].forgotten();
      peer->second->given_up.add(FrameKind::kGiveUp, ReturnHead{number_of(row), ReturnReason::kRefused, 0});
    }
    forget_sent(row);
  }
  forget_elsewhere_of(slot);
  subscriptions_.owner_has_died(slot);
  for (auto& row : remote_actors_) {
    RemoteActor& actor = row.second;
    if (actor.claimed && actor.claimed->owner == slot) actor.claimed.reset();
    std::erase_if(actor.again, [&](std::uint64_t order) { return actor.kept_calls.at(order).task.owner == slot; });
    std::erase_if(actor.kept_calls, [&](const auto& call) { return call.second.task.owner == slot; });
  }
  if (any) wake();  // there is room in windows
}

}  // namespace rayx::relay
