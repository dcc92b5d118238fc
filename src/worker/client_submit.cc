// From a call to a task in a queue.
#include <cstring>
#include <string>

#include "base/clock.hpp"
#include "base/where.hpp"
#include "worker/client.hpp"
#include "worker/cpus_text.hpp"
#include "worker/lent_cpu.hpp"
#include "worker/where_text.hpp"

namespace rayx::worker {

using detail::Dependency;
using detail::Encoded;
using detail::Failure;
using detail::TaskCall;
using shm::NodeAnswer;
using shm::NodeQuestion;

namespace {

constexpr std::uint64_t queued_at_word(std::uint32_t lane, std::uint64_t position) {
  return std::uint64_t{lane + 1} << 48 | (position & shm::CellWord::kPositionMask);
}
constexpr std::uint64_t kOneCpu = shm::kCpuUnits;
constexpr std::uint64_t kNameUnit_bytes = 64;  // see kRecordIsNamed

std::uint64_t units_of(double cpus) { return static_cast<std::uint64_t>(cpus * shm::kCpuUnits + 0.5); }

}  // namespace

void Client::give_back_arguments(const Encoded& arguments) noexcept {
  detail::Block block = arguments.block;
  abandon(block);
}

// ---- Classes

// A question with more than numbers. Nothing: there was no memory to ask.
std::optional<NodeAsker::Answer> Client::ask_with_block(NodeQuestion question, std::uint64_t argument,
                                                        std::string_view block, Failure& failure) {
  shm::Offset offset = shm::kNoOffset;
  {
    Lock lock(mutex_);
    if (!allocate(block.size(), false, nullptr, failure, offset)) return std::nullopt;
  }
  std::memcpy(arena_->writable(offset), block.data(), block.size());
  const NodeAsker::Answer answer = node_.ask(question, argument, offset, block.size());
  Lock lock(mutex_);
  free_block({offset, block.size()}, {me_, 0, 0});
  return answer;
}

std::shared_ptr<LaneUse> Client::find_class(std::uint64_t units, const std::string& where, Failure& failure) {
  {
    Lock lock(mutex_);
    const auto known = classes_.find({units, where});
    if (known != classes_.end()) return known->second;
  }
  const std::optional<NodeAsker::Answer> asked = where.empty()
                                                     ? node_.ask(NodeQuestion::kFindClass, units)
                                                     : ask_with_block(NodeQuestion::kFindClass, units, where, failure);
  if (!asked) return nullptr;
  const NodeAsker::Answer answer = *asked;
  switch (answer.answer) {
    case NodeAnswer::kOk: break;
    case NodeAnswer::kInfeasible: {  // in a cluster, whose nodes come and go
      const auto wanted = base::decode_where(where);
      const bool has_labels = wanted && !wanted->selectors.empty();
      const std::string of_labels = has_labels ? " with labels of which " + base::to_text(wanted->selectors) : "";
      const std::string why =
          answer.value == UINT64_MAX
              ? "rayx: a task may run only on a node" + of_labels +
                    ", and the cluster has none at present. Ask for less (TaskOptions::labels), or add such a node"
              : "rayx: a task needs " + cpus_text(units) + " CPUs, and the largest node of the cluster" + of_labels +
                    " gives " + cpus_text(answer.value) +
                    " at present. Ask for fewer (TaskOptions::num_cpus), or add a node";
      failure = std::make_unique<Error>(Error{ErrorCode::kInvalidArgument, why});
      return nullptr;
    }
    case NodeAnswer::kTooMany:
      failure = std::make_unique<Error>(
          Error{ErrorCode::kInvalidArgument,
                "rayx: tasks with 63 different num_cpus, labels and spread (TaskOptions) exist already, which is the "
                "limit. Use those of one of them"});
      return nullptr;
    default:
      failure = std::make_unique<Error>(
          Error{ErrorCode::kShuttingDown, "rayx: the runtime is shutting down; no new tasks run"});
      return nullptr;
  }
  Lock lock(mutex_);
  if (is_over()) {
    failure = shut_down_failure("remote");
    return nullptr;
  }
  std::shared_ptr<LaneUse>& use = classes_[{units, where}];
  if (use != nullptr) return use;
  use = open_lane(static_cast<std::uint32_t>(answer.value), kClassQueueCells, failure);
  const std::shared_ptr<LaneUse> fresh = use;
  if (fresh == nullptr) {
    classes_.erase({units, where});
  } else if (units == kOneCpu && where.empty()) {
    one_cpu_.store(fresh.get(), std::memory_order_release);
  }
  return fresh;
}

// A lane that is nobody's own, with a queue of this process; nullptr: no memory.
std::shared_ptr<LaneUse> Client::open_lane(std::uint32_t lane, std::uint32_t cells, Failure& failure) {
  auto fresh = std::make_shared<LaneUse>();
  fresh->lane = lane;
  fresh->shared = control_.lane(lane);
  if (!open_queue(*fresh, cells, failure)) return nullptr;
  if (lanes_.size() <= lane) lanes_.resize(lane + 1);
  lanes_[lane] = fresh;
  return fresh;
}

bool Client::open_queue(LaneUse& use, std::uint32_t cells, Failure& failure) {
  use.queue_extent = cells == kActorQueueCells ? take_retired_queue() : shm::kNoOffset;
  if (use.queue_extent == shm::kNoOffset) use.queue_extent = lease_table(shm::TaskQueue::bytes_for(cells), failure);
  if (use.queue_extent == shm::kNoOffset) return false;
  use.queue = shm::TaskQueue::create(arena_->writable(use.queue_extent), cells, me_);
  use.pushed.assign(cells, {});
  control_.publish_queue(me_, use.lane, use.queue_extent);
  return true;
}

// The memory of a queue to an actor whose process is gone, so that nobody looks at it any more.
shm::Offset Client::take_retired_queue() {
  for (std::size_t i = 0; i < retired_queues_.size(); ++i) {
    const RetiredQueue queue = retired_queues_[i];
    const shm::LaneState& lane = control_.lane(queue.lane).state();
    if (lane.generation.load(std::memory_order_acquire) == queue.generation &&
        lane.members.load(std::memory_order_acquire) != 0)
      continue;
    retired_queues_[i] = retired_queues_.back();
    retired_queues_.pop_back();
    return queue.extent;
  }
  return shm::kNoOffset;
}

// ---- Queues

// False: the queue is full.
bool Client::push_now(LaneUse& use, Index task) {
  Record& record = records_.at(task);
  record.queued_at.store(queued_at_word(use.lane, use.tail), std::memory_order_relaxed);
  const std::uint64_t position = use.tail;
  if (!use.queue.push(use.tail, owned_.at(task).body)) [[unlikely]] {
    record.queued_at.store(0, std::memory_order_relaxed);  // waiters must not look for it there
    return false;
  }
  use.pushed[position & (use.queue.capacity() - 1)] = {task, owned_.at(task).body.generation};
  use.shared.wake_after_publish();
  if (use.shared.state().is_served.load(std::memory_order_relaxed) == 0) [[unlikely]]
    ask_for_executors(use);
  return true;
}

// Somebody has to come back when a full queue has room: when half of what is in it is done.
void Client::ask_for_room(LaneUse& use) {
  const auto [half, generation] = use.pushed[(use.tail - use.queue.capacity() / 2) & (use.queue.capacity() - 1)];
  Record& record = records_.at(half);
  if (record.generation == generation) {
    const std::uint32_t before = record.state.fetch_or(detail::kRecordNotify, std::memory_order_acq_rel);
    if (!detail::is_done(before)) return;
  }
  // It is done, and the queue is full only because one executor is slow to give back a cell.
  records_.mark_completed(half);
  if (attendees_.load(std::memory_order_seq_cst) == 0) control_.call_service(me_);
}

void Client::push(LaneUse& use, Index task) {
  if (use.backlog.empty() && push_now(use, task)) [[likely]]
    return;
  use.backlog.push_back(task);
  ++backlogged_;
  if (use.backlog.size() == 1) ask_for_room(use);
}

void Client::flush(LaneUse& use) {
  if (use.backlog.empty()) return;
  while (!use.backlog.empty()) {
    if (!push_now(use, use.backlog.front())) return ask_for_room(use);
    use.backlog.pop_front();
    --backlogged_;
  }
}

void Client::flush_all() {
  if (backlogged_ == 0) return;
  for (const auto& use : lanes_)
    if (use != nullptr) flush(*use);
  for (const auto& [index, use] : actors_) flush(use->lane);
}

void Client::ask_for_executors(LaneUse& use) {
  if (use.shared.state().is_served.exchange(1, std::memory_order_seq_cst) != 0) return;
  node_.tell(NodeQuestion::kDemand, use.lane);
}

bool Client::wait_for_room(LaneUse& use, Lock& lock, Failure& failure) {
  if (use.backlog.size() < pending_max_) [[likely]]
    return true;
  const base::SteadyClock clock;
  const base::TimeNs deadline = base::deadline_ns(clock.now_ns(), submit_timeout_);
  // Inside a task the CPU that it holds may be the one on which the queue would be worked off.
  LentCpu lent(node_);
  shm::Backoff backoff;
  for (;;) {
    if (stopping_.load(std::memory_order_relaxed)) {
      failure = shut_down_failure("remote");
      break;
    }
    drive();
    if (use.backlog.size() < pending_max_) break;
    if (clock.now_ns() >= deadline) {
      failure = std::make_unique<Error>(
          Error{ErrorCode::kQueueFull,
                "rayx: " + std::to_string(use.backlog.size() + use.queue.capacity()) +
                    " tasks of this process are pending, which is the limit, and there was no room within " +
                    std::to_string(submit_timeout_.count() / 1'000'000) +
                    " ms. get() results before more is submitted, or raise Config::max_pending_tasks "
                    "(RAYX_MAX_PENDING_TASKS) or Config::submit_timeout (RAYX_SUBMIT_TIMEOUT_MS)"});
      break;
    }
    const std::uint32_t epoch = epoch_.load(std::memory_order_acquire);
    lock.unlock();
    bool is_vain = false;
    if (!backoff.wait_once()) {
      is_vain = in_executor() && !lent.lend(me_, LentCpu::kNoRecord);
      constexpr base::TimeNs kLook_ns = 1'000'000;
      epoch_sleepers_.fetch_add(1, std::memory_order_seq_cst);
      if (!is_vain) shm::futex_wait(epoch_, epoch, kLook_ns);
      epoch_sleepers_.fetch_sub(1, std::memory_order_relaxed);
    }
    lock.lock();
    if (is_vain) {
      failure = worker_limit_failure("remote", lent);
      break;
    }
  }
  lock.unlock();  // the node takes its time to give the CPU back
  lent.take_back();
  lock.lock();
  return failure == nullptr;
}

// Takes everything that is unclaimed out of a queue that nobody pulls from any more.
void Client::drain_queue(LaneUse& use) {
  std::vector<std::pair<Index, std::uint32_t>> left;
  while (auto claim = use.queue.claim_next(me_)) {
    left.emplace_back(claim->cell->body.record, claim->cell->body.generation);
    use.queue.release(*claim);
  }
  for (const Index task : use.backlog) left.emplace_back(task, owned_.at(task).body.generation);
  backlogged_ -= use.backlog.size();
  use.backlog.clear();
  for (const auto& [task, generation] : left)
    if (owned_.at(task).body.generation == generation) ledger_.lost(task, true);
}

// ---- Calls

// An entry with the call's body. Blocks of the arguments are the entry's from here on, also on failure.
Entry* Client::prepare_call(const TaskCall& call, EntryKind kind, Lock& lock, Failure& failure) {
  const FunctionNumber number = numbers_->number_of(call.function);
  if (number == 0) [[unlikely]] {
    failure = std::make_unique<Error>(
        Error{ErrorCode::kFunctionUnknown,
              "rayx: " + std::string(call.function->name()) +
                  " lies in a library that was loaded after rayx::init(), which the workers do not have. Load "
                  "it before init, or link it to the program"});
  } else if (stopping_.load(std::memory_order_relaxed)) [[unlikely]] {
    failure = std::make_unique<Error>(Error{ErrorCode::kShuttingDown, "rayx: " + std::string(call.function->name()) +
                                                                          " was called while the runtime shuts down"});
  }
  Entry* const e = failure != nullptr ? nullptr : take_entry(kind, failure);
  if (e == nullptr) [[unlikely]] {
    if (call.arguments.block.data != nullptr) {
      lock.unlock();
      give_back_arguments(call.arguments);
      lock.lock();
    }
    return nullptr;
  }
  fill_call(*e, call, number);
  return e;
}

// The body of the entry's call, and its record as a pending one.
void Client::fill_call(Entry& e, const TaskCall& call, FunctionNumber number) {
  Record& record = records_.at(e.index);
  e.body.record = e.index;
  e.body.generation = record.generation;
  std::uint64_t flags = 0;
  std::uint64_t inline_bytes = 0;
  bool wants_notice = false;
  if (call.arguments.block.data != nullptr) [[unlikely]] {
    const BlockRef block{call.arguments.block.backend_word, call.arguments.size};
    e.need_extra().arguments = block;
    std::memcpy(e.body.arguments, &block, sizeof(block));
    flags = shm::kTaskArgumentsInBlock;
    wants_notice = true;
  } else {
    inline_bytes = call.arguments.size;
    std::memcpy(e.body.arguments, call.arguments.small, inline_bytes);
  }
  e.body.function_and_flags = number << 16 | flags << 8 | inline_bytes;
  if (!call.dependencies.empty() || !call.arguments.refs.empty()) [[unlikely]] {
    if (!call.arguments.refs.empty()) e.body.function_and_flags |= shm::kArgumentsHaveRefs;
    Extra& extra = e.need_extra();
    for (const Dependency& dependency : call.dependencies) {
      detail::count_up(dependency.ref);
      extra.held.push_back(dependency.ref);
      extra.dependencies.push_back(dependency);
    }
    for (RefCell* ref : call.arguments.refs) {
      detail::count_up(ref);
      extra.held.push_back(ref);
    }
    wants_notice = true;
  }
  record.queued_at.store(0, std::memory_order_relaxed);
  record.state.store(detail::kRecordPending | (wants_notice ? std::uint32_t{detail::kRecordNotify} : 0u),
                     std::memory_order_relaxed);
  if (call.options != nullptr && !call.options->name.empty()) [[unlikely]]
    share_name(e, call.options->name);
}

// Puts the name of a task that was not queued yet where its executor finds it when the task throws: the error tells it then to
// whoever reads it. Without memory the error tells the function alone.
void Client::share_name(Entry& e, std::string_view name) {
  constexpr std::size_t kSharedNameMax_bytes = 1'000;
  Extra& extra = e.need_extra();
  extra.name = name;
  name = name.substr(0, kSharedNameMax_bytes);
  const auto length = static_cast<std::uint32_t>(name.size());
  const std::uint64_t size = sizeof(length) + length;
  Failure no_room;
  shm::Offset offset = shm::kNoOffset;
  if (!allocate(size, false, nullptr, no_room, offset)) return;
  extra.shared_name = {offset, size};
  if (offset % kNameUnit_bytes != 0 || offset / kNameUnit_bytes > UINT32_MAX) return;
  std::memcpy(arena_->writable(offset), &length, sizeof(length));
  std::memcpy(arena_->writable(offset) + sizeof(length), name.data(), length);
  Record& record = record_of(e);
  record.reserved = static_cast<std::uint32_t>(offset / kNameUnit_bytes);
  record.state.fetch_or(detail::kRecordIsNamed, std::memory_order_relaxed);  // published with the task's cell
}

std::string_view Client::task_name(const detail::ExecContext& context) const noexcept {
  const auto* const record =
      reinterpret_cast<const Record*>(context.inline_result - offsetof(Record, payload));  // see ExecutorLoop::run
  if ((record->state.load(std::memory_order_relaxed) & detail::kRecordIsNamed) == 0) return {};
  const std::uint64_t offset = std::uint64_t{record->reserved} * kNameUnit_bytes;
  std::uint32_t length = 0;
  if (!arena_->contains(offset, sizeof(length))) return {};
  std::memcpy(&length, arena_->address(offset), sizeof(length));
  if (!arena_->contains(offset + sizeof(length), length)) return {};
  return {reinterpret_cast<const char*>(arena_->address(offset)) + sizeof(length), length};
}

// Whether the call may be queued although values that it needs are not there: they are results of tasks that lie before it in
// the same lane. Its executor finds them done when it comes to it, most often because it has just made them itself; if not, it
// gives the call back. So a chain of tasks costs no message between its links.
bool Client::may_follow(const Entry& e) {
  constexpr std::size_t kNeedsMax = 4;
  if (e.extra->dependencies.size() > kNeedsMax) return false;
  // Where other nodes do all tasks of the lane, nobody makes one after the other.
  if (control_.lane(e.lane).state().cpu_units.load(std::memory_order_relaxed) == shm::kNobodyHere) return false;
  for (const Dependency& dependency : e.extra->dependencies) {
    const Entry& other = *resolve(dependency.ref);
    if (other.kind == EntryKind::kBorrowed) return false;
    const std::uint32_t word = record_of(other).state.load(std::memory_order_acquire);
    if (detail::is_done(word)) {
      if ((word & (detail::kRecordIsError | detail::kRecordHasRefs)) != 0) return false;
      continue;
    }
    if (other.kind != EntryKind::kTask || other.lane != e.lane || other.node.phase != owner::Phase::kQueued)
      return false;
  }
  return true;
}

// Tasks that an executor gave back, because what they need is not done.
void Client::take_returned(Entry& e) {
  // The attempt is over: if its executor dies before it has forgotten the task, nothing is to be taken back.
  e.body.function_and_flags = shm::next_attempt(e.body.function_and_flags);
  records_.at(e.index).state.fetch_and(~std::uint32_t{detail::kRecordReturned | detail::kRecordElsewhere},
                                       std::memory_order_acq_rel);
  need_lineage_again(e);
  std::vector<Index> needs = needs_of(e);
  listen_to(needs, e.kind == EntryKind::kTask);
  ledger_.returned(e.index, needs);
}

std::vector<Index> Client::needs_of(const Entry& e) {
  std::vector<Index> needs;
  if (e.extra != nullptr)
    for (const Dependency& dependency : e.extra->dependencies) needs.push_back(resolve(dependency.ref)->index);
  return needs;
}

// The ledger hears of the end of `need`; if it is done already, now. False: it need not be waited for by who `may_go` elsewhere.
bool Client::listen_to(Index need, bool may_go) {
  Entry& other = entry(need);
  if (other.node.phase == owner::Phase::kDone) return true;
  const bool is_foreign = other.kind == EntryKind::kBorrowed;
  const bool may_stay = may_go && may_stay_elsewhere(other);
  Record& record = record_of(other);
  std::uint32_t flags = is_foreign ? detail::kRecordForeign : detail::kRecordNotify;
  if (may_stay) flags |= detail::kRecordNeeded;
  std::uint32_t word = record.state.load(std::memory_order_acquire);
  if (!detail::is_done(word) && (word & flags) != flags) word = record.state.fetch_or(flags, std::memory_order_acq_rel);
  if (detail::is_done(word)) {
    on_completed(need);
    if (is_foreign) ledger_.done(need, (word & detail::kRecordIsError) != 0);
    return true;
  }
  if (is_foreign) foreign_watch_.push_back(need);
  if (other.node.phase == owner::Phase::kSpent) {
    begin_again(other);
  } else if (may_stay && (word & detail::kRecordElsewhere) != 0 && (word & detail::kRecordWanted) == 0) {
    keep_lineage_only(other);
    return false;
  }
  if (may_stay) return true;
  if (is_in_cluster_ && other.kind != EntryKind::kProxy) want(other);  // of a proxy its relay knows by itself
  return true;
}

void Client::listen_to(std::vector<Index>& needs, bool may_go) {
  std::erase_if(needs, [&](Index need) { return !listen_to(need, may_go); });
}

// Gives a prepared call to the ledger, which queues it as soon as what it needs is there.
void Client::hand_in(Entry& e, std::int32_t retries, Entry* unready_actor) {
  if (unready_actor == nullptr && (e.extra == nullptr || e.extra->dependencies.empty())) [[likely]] {
    ledger_.submit(e.index, retries);
    return;
  }
  if (unready_actor == nullptr && e.kind == EntryKind::kTask && may_follow(e)) {
    ledger_.submit(e.index, retries);
    return;
  }
  std::vector<Index> needs = needs_of(e);
  if (unready_actor != nullptr) needs.insert(needs.begin(), unready_actor->index);
  listen_to(needs, e.kind == EntryKind::kTask);
  ledger_.submit(e.index, retries, needs);
}

// The values of the dependencies, which are done, in a block of their own. False: no memory, and the call has failed.
bool Client::build_parts(Entry& e) {
  Extra& extra = *e.extra;
  if (extra.parts.size != 0) return true;
  const std::uint64_t size = sizeof(CallBlock) + extra.dependencies.size() * sizeof(CallPart);
  Failure failure;
  shm::Offset offset = shm::kNoOffset;
  if (!allocate(size, false, nullptr, failure, offset)) {
    detail::RemoteFailure error;
    error.code = failure->code;
    error.message = failure->message;
    error.function = function_name(e);
    complete_with_error(e.index, error);
    return false;
  }
  auto* block = reinterpret_cast<CallBlock*>(arena_->writable(offset));
  block->parts = static_cast<std::uint32_t>(extra.dependencies.size());
  block->inline_bytes = static_cast<std::uint16_t>(shm::inline_bytes_of(e.body.function_and_flags));
  block->has_refs = (e.body.function_and_flags & shm::kArgumentsHaveRefs) != 0 ? 1 : 0;
  block->block = extra.arguments;
  std::memcpy(block->inline_arguments, e.body.arguments, sizeof(block->inline_arguments));
  auto* part = reinterpret_cast<CallPart*>(block + 1);
  for (const Dependency& dependency : extra.dependencies) {
    Entry& value = *resolve(dependency.ref);
    value.node.is_lent = true;
    const Record& record = record_of(value);
    *part = {};
    part->position = dependency.position;
    const std::uint32_t word = record.state.load(std::memory_order_acquire);
    const std::uint32_t state = word & detail::kRecordStateMask;
    // It may have failed since may_follow() looked: then its executor finds the error in the record, and fails with it.
    part->form = (word & detail::kRecordIsError) != 0 ? PartForm::kPending
                 : state == detail::kRecordDoneInline ? PartForm::kInline
                 : state == detail::kRecordDoneBlock  ? PartForm::kBlock
                                                      : PartForm::kPending;
    part->key = name_of(value).words[0];
    if (part->form != PartForm::kPending) {
      part->size = record.size;
      std::memcpy(part->payload, record.payload, sizeof(part->payload));
    }
    ++part;
  }
  extra.parts = {offset, size};
  std::memcpy(e.body.arguments, &extra.parts, sizeof(extra.parts));
  e.body.function_and_flags =
      (e.body.function_and_flags & ~std::uint64_t{0x3ff}) | std::uint64_t{shm::kTaskArgumentsInParts} << 8;
  return true;
}

void Client::enqueue(Index task) {
  Entry& e = owned_.at(task);
  e.body.function_and_flags = shm::next_attempt(e.body.function_and_flags);
  if (e.extra != nullptr && !e.extra->dependencies.empty()) [[unlikely]] {
    for (const Dependency& dependency : e.extra->dependencies) {
      Entry& value = *resolve(dependency.ref);
      // Its result may hold references that this process has to adopt before it is passed on.
      if (value.kind != EntryKind::kBorrowed &&
          (record_of(value).state.load(std::memory_order_relaxed) & detail::kRecordHasRefs) != 0)
        adopt(value);
    }
    if (!build_parts(e)) {
      ledger_.done(task, true);
      return;
    }
  }
  if (e.kind == EntryKind::kTask) [[likely]] {
    push(*lanes_[e.lane], task);
    return;
  }
  ActorUse& use = *actor_of_lane_[e.lane];
  if (use.order.is_ended()) [[unlikely]] {
    fail_call(use, e);
    ledger_.done(task, true);
    return;
  }
  if (e.extra != nullptr && e.extra->is_held_back) [[unlikely]] {
    use.order.ready(e.extra->place, [&](actor::Call call) { hand_over(use, call); });
    return;
  }
  use.order.handed_over({task, e.body.generation});
  push(use.lane, task);
}

RefCell* Client::submit_task(const TaskCall& call, Failure& failure) {
  ensure_service();
  LaneUse* use = nullptr;
  std::int32_t retries = 3;
  const bool is_anywhere = call.options == nullptr || (call.options->labels.empty() && !call.options->spread);
  if (call.options == nullptr || (call.options->num_cpus == 1 && is_anywhere)) [[likely]]
    use = one_cpu_.load(std::memory_order_acquire);
  if (call.options != nullptr) retries = call.options->max_retries;
  if (use == nullptr) {
    const std::string where = is_anywhere ? std::string() : where_text(call.options->labels, call.options->spread);
    use = find_class(units_of(call.options == nullptr ? 1 : call.options->num_cpus), where, failure).get();
    if (use == nullptr) {
      give_back_arguments(call.arguments);
      return nullptr;
    }
  }
  Lock lock(mutex_);
  if (!wait_for_room(*use, lock, failure)) [[unlikely]] {
    lock.unlock();
    give_back_arguments(call.arguments);
    return nullptr;
  }
  Entry* const e = prepare_call(call, EntryKind::kTask, lock, failure);
  if (e == nullptr) [[unlikely]]
    return nullptr;
  e->lane = static_cast<std::uint16_t>(use->lane);
  hand_in(*e, retries);
  return &e->cell;
}

}  // namespace rayx::worker
