// Actors as their callers see them: creation, order of calls, end.
#include <cstring>
#include <functional>
#include <string>
#include <utility>

#include "worker/client.hpp"
#include "worker/cpus_text.hpp"
#include "worker/where_text.hpp"

namespace rayx::worker {

using detail::Failure;
using detail::RemoteFailure;
using detail::TaskCall;
using shm::NodeAnswer;
using shm::NodeQuestion;

namespace {

constexpr std::uint32_t times_of(int times) { return times < 0 ? UINT32_MAX : static_cast<std::uint32_t>(times); }

shm::ActorWish wish_of(const ActorOptions* options) {
  shm::ActorWish wish;
  if (options == nullptr) return wish;
  wish.max_restarts = times_of(options->max_restarts);
  wish.max_task_retries = times_of(options->max_task_retries);
  if (!options->name.empty()) wish.flags |= shm::ActorWish::kIsNamed;
  if (options->get_if_exists) wish.flags |= shm::ActorWish::kGetIfExists;
  if (options->detached) wish.flags |= shm::ActorWish::kIsDetached;
  return wish;
}

constexpr actor::Caller kConstructor = 0;  // a thread with the same number would only wait for what it waits for anyhow

}  // namespace

// A task that a worker runs while another one waits, or after it, must not stand behind that one's calls: one of them may wait for
// it.
actor::Caller Client::this_caller() const {
  return in_executor() ? runner_->caller() : std::hash<base::ThreadId>()(base::this_thread_id());
}

// A lane for an actor that this process makes, or that the cluster has given to this node. A failure: there was no memory to ask.
NodeAsker::Answer Client::open_actor_lane(std::uint64_t cpu_units, shm::ActorWish wish, std::string_view name,
                                          const std::string& where, Failure& failure) {
  name = name.substr(0, shm::kActorNameBytesMax);
  wish.name_bytes = static_cast<std::uint32_t>(name.size());
  wish.where_bytes = static_cast<std::uint32_t>(where.size());
  std::string block(reinterpret_cast<const char*>(&wish), sizeof(wish));
  block += name;
  block += where;
  return ask_with_block(NodeQuestion::kCreateActor, cpu_units, block, failure).value_or(NodeAsker::Answer{});
}

RefCell* Client::create_actor(const TaskCall& call, const ActorOptions* options, Failure& failure) {
  ensure_service();
  const std::string name =
      options != nullptr && !options->name.empty() ? options->name : std::string(call.function->name());
  const double cpus = options == nullptr ? 0 : options->num_cpus;
  const auto units = static_cast<std::uint64_t>(cpus * shm::kCpuUnits + 0.5);
  const std::string where = options == nullptr ? std::string() : where_text(options->labels, false);
  const NodeAsker::Answer answer = open_actor_lane(units, wish_of(options), name, where, failure);
  if (failure != nullptr) {
    give_back_arguments(call.arguments);
    return nullptr;
  }
  if (answer.answer != NodeAnswer::kOk) {
    give_back_arguments(call.arguments);
    Error error{ErrorCode::kShuttingDown, "rayx: actor<" + name + ">: the runtime is shutting down"};
    if (answer.answer == NodeAnswer::kTooMany) {
      error = {ErrorCode::kInvalidArgument,
               "rayx: actor<" + name + ">: " + std::to_string(shm::kLanesMax - shm::kLaneMembersMax) +
                   " actors are alive, which is the limit of a node. Drop handles that are not needed"};
    } else if (answer.answer == NodeAnswer::kNoCluster) {
      error = {
          ErrorCode::kUnsupported,
          "rayx: actor<" + name +
              ">: it is to be found by its name, started again, or on a node with certain labels (ActorOptions), and "
              "there is no head of a cluster, which would do it. Start one with rayx start --head"};
    } else if (answer.answer ==
               NodeAnswer::kInfeasible) {  // of a cluster whose nodes make no room for actors of others
      error = {ErrorCode::kInvalidArgument, "rayx: actor<" + name + ">: it needs " + cpus_text(units) +
                                                " CPUs, and the node on which it would live gives " +
                                                cpus_text(answer.value) + ". Ask for fewer (ActorOptions::num_cpus)"};
    }
    failure = std::make_unique<Error>(std::move(error));
    return nullptr;
  }
  auto use = std::make_shared<ActorUse>();
  use->lane.lane = static_cast<std::uint32_t>(answer.value);
  use->lane.generation = static_cast<std::uint32_t>(answer.value >> 32);
  use->lane.shared = control_.lane(use->lane.lane);
  const std::uint32_t lane = use->lane.lane;
  const std::uint32_t generation = use->lane.generation;

  Lock lock(mutex_);
  Entry* e = nullptr;
  if (is_over()) {
    failure = shut_down_failure("actor");
    lock.unlock();
    give_back_arguments(call.arguments);
    lock.lock();
  } else if (!open_queue(use->lane, kActorQueueCells, failure)) {
    lock.unlock();
    give_back_arguments(call.arguments);
    lock.lock();
  } else {
    e = prepare_call(call, EntryKind::kActor, lock, failure);
  }
  if (e == nullptr) {
    lock.unlock();
    node_.tell(NodeQuestion::kReleaseActor, lane, generation);
    return nullptr;
  }
  e->lane = static_cast<std::uint16_t>(lane);
  if (options != nullptr && !options->name.empty()) e->need_extra().name = options->name;
  record_of(*e).state.fetch_or(detail::kRecordNotify, std::memory_order_relaxed);
  hand_in_constructor(std::move(use), *e);
  return &e->cell;
}

void Client::hand_in_constructor(std::shared_ptr<ActorUse> use, Entry& e) {
  use->handles = {e.index};
  if (e.extra != nullptr && !e.extra->dependencies.empty()) {
    // The constructor is a call like others: as long as it waits the handle is not let go.
    e.extra->is_held_back = true;
    e.extra->place = use->order.hold(kConstructor, {e.index, e.body.generation});
  }
  actor_of_lane_[e.lane] = use.get();
  actors_[e.index] = std::move(use);
  hand_in(e, 0);
}

// What this process knows about the actor behind a handle; opens a queue to it at the first call.
ActorUse* Client::actor_use(Entry& actor, Failure& failure) {
  if (is_over()) {
    failure = shut_down_failure("call");
    return nullptr;
  }
  const auto known = actors_.find(actor.index);
  if (known != actors_.end()) return known->second.get();
  RAYX_CHECK(actor.kind == EntryKind::kBorrowed, "the reference is not an actor's", actor.index);
  const auto lane = static_cast<std::uint32_t>(actor.cell.backend_word[1] >> 16 & 0xffff);
  if (lane >= control_.header().lanes) {
    failure = std::make_unique<Error>(Error{ErrorCode::kMalformed, "rayx: an actor handle was damaged on its way"});
    return nullptr;
  }
  ActorUse& use = join_actor(actor.index, lane, static_cast<std::uint32_t>(actor.cell.backend_word[1] >> 32));
  if (!use.order.is_ended() && !use.lane.queue.is_open() && !open_queue(use.lane, kActorQueueCells, failure)) {
    forget_actor(actor);
    return nullptr;
  }
  look_at_actor_ends();  // it may have ended before this process had a queue to it, and then nobody comes to say so
  return &use;
}

// One more handle of the actor in the lane. All that lead there share what is known: a process has one queue in a lane, and the calls
// of a caller have one order.
ActorUse& Client::join_actor(Index handle, std::uint32_t lane, std::uint32_t generation) {
  ActorUse* const known = actor_of_lane_[lane];
  std::shared_ptr<ActorUse> use;
  if (known != nullptr && known->lane.generation == generation) {
    use = actors_.at(known->handles.front());
  } else {
    use = std::make_shared<ActorUse>();
    use->lane.lane = lane;
    use->lane.generation = generation;
    use->lane.shared = control_.lane(lane);
    if (use->lane.shared.state().generation.load(std::memory_order_acquire) == generation) {
      actor_of_lane_[lane] = use.get();
    } else {
      use->order.end();
      RAYX_CHECK(!use->order.take_failed(), "an actor that was not called has calls", lane);
    }
  }
  use->handles.push_back(handle);
  return *actors_.emplace(handle, std::move(use)).first->second;
}

RefCell* Client::call_actor(RefCell* cell, const TaskCall& call, Failure& failure) {
  ensure_service();
  Lock lock(mutex_);
  Entry& actor = *resolve(cell);
  ActorUse* const use = actor_use(actor, failure);
  if (use == nullptr || !wait_for_room(use->lane, lock, failure)) [[unlikely]] {
    lock.unlock();
    give_back_arguments(call.arguments);
    return nullptr;
  }
  Entry* const e = prepare_call(call, EntryKind::kActorCall, lock, failure);
  if (e == nullptr) [[unlikely]]
    return nullptr;
  hand_in_call(*use, actor, *e, nullptr);
  return &e->cell;
}

// `caller`: nullptr: the one of this thread, which is looked for only where it matters.
void Client::hand_in_call(ActorUse& use, Entry& actor, Entry& e, const actor::Caller* named_caller) {
  e.lane = static_cast<std::uint16_t>(use.lane.lane);
  if (use.order.is_ended()) [[unlikely]] {
    ledger_.accept(e.index);
    fail_call(use, e);
    ledger_.done(e.index, true);
    return;
  }
  // An actor that is not there yet: its constructor waits for an argument, or it is another process's and in a queue that we
  // cannot get behind. Or one that will never be there, because an argument of its constructor has failed.
  const owner::Phase phase = actor.node.phase;
  const bool has_failed = phase == owner::Phase::kDone && actor.node.is_error;
  const bool is_unready = has_failed || (actor.kind == EntryKind::kBorrowed ? phase != owner::Phase::kDone
                                                                            : phase == owner::Phase::kWaiting);
  const bool must_wait = is_unready || (e.extra != nullptr && !e.extra->dependencies.empty());
  if (must_wait || !use.order.is_clear()) [[unlikely]] {
    const actor::Caller caller = named_caller != nullptr ? *named_caller : this_caller();
    if (must_wait || !use.order.is_clear(caller)) {
      Extra& extra = e.need_extra();
      record_of(e).state.fetch_or(detail::kRecordNotify, std::memory_order_relaxed);
      extra.is_held_back = true;
      extra.place = use.order.hold(caller, {e.index, e.body.generation});
    }
  }
  hand_in(e, 0, is_unready ? &actor : nullptr);
}

// A call that was held back goes to the actor.
void Client::hand_over(ActorUse& use, actor::Call call) {
  owned_.at(call.index).extra->is_held_back = false;
  push(use.lane, call.index);
}

// The call is done, in whatever way. If it was still held back nobody waits for it any more, and if it was the last one, the
// handle may go.
void Client::actor_call_settled(Entry& e) {
  ActorUse* const use = actor_of_lane_[e.lane];
  if (use == nullptr) return;
  if (e.extra != nullptr && e.extra->is_held_back) {
    e.extra->is_held_back = false;
    use->order.failed(e.extra->place, [&](actor::Call call) { hand_over(*use, call); });
  }
  if (use->order.is_dropping()) let_go(*use);
}

bool Client::kill_actor(RefCell* cell, Failure& failure) {
  std::uint32_t lane = 0;
  std::uint32_t generation = 0;
  {
    Lock lock(mutex_);
    ActorUse* const use = actor_use(*resolve(cell), failure);
    if (use == nullptr) return false;
    if (use->order.is_ended()) return true;
    lane = use->lane.lane;
    generation = use->lane.generation;
  }
  node_.ask(NodeQuestion::kKillActor, lane, generation);
  attend_now();
  return true;
}

// Actors whose lane has ended: every call that is not done fails.
void Client::look_at_actor_ends() {
  for (auto& [index, known] : actors_) {
    ActorUse& use = *known;
    if (use.order.is_ended() || !use.lane.queue.is_open()) continue;
    const shm::LaneState& lane = use.lane.shared.state();
    const bool is_other = lane.generation.load(std::memory_order_acquire) != use.lane.generation;
    if (!is_other && lane.end.load(std::memory_order_acquire) == 0) continue;
    // Until all are named the handle is not let go, so `use` stays, whatever the calls that fail here held.
    use.order.end();
    // What the dead process had claimed or begun. Its death may be handled before or after this, and finds nothing more to do;
    // but the handle may go as soon as all is told here, and with it what is known about the end.
    const std::uint32_t executor = lane.executor.load(std::memory_order_acquire);
    if (!is_other && executor != 0) {
      std::vector<Index> taken;
      use.lane.queue.take_claims_of(executor - 1, [&](const shm::TaskBody& body) { taken.push_back(body.record); });
      shm::RunningStack(control_.slot(executor - 1)).visit(me_, [&](const shm::RunningEntry& running) {
        const Entry& call = owned_.at(running.record);
        if (call.kind != EntryKind::kTask && call.lane == use.lane.lane && call.body.generation == running.generation &&
            !detail::is_done(record_of(call).state.load(std::memory_order_acquire)))
          taken.push_back(running.record);
      });
      for (const Index call : taken) ledger_.lost(call, true);
    }
    drain_queue(use.lane);
    while (const auto call = use.order.take_failed()) {
      fail_call(use, owned_.at(call->index));
      ledger_.done(call->index, true);
    }
    let_go(use);
    return look_at_actor_ends();  // what failed may have changed the map
  }
}

// What became of the actor that has had the lane: the message says how, and nothing else.
RemoteFailure Client::end_of_lane(std::uint32_t lane_index, std::uint32_t generation) {
  RemoteFailure error;
  error.code = ErrorCode::kActorDied;
  std::string how = "its process is gone";
  const shm::LaneState& lane = control_.lane(lane_index).state();
  const bool is_mine = lane.generation.load(std::memory_order_acquire) == generation;
  const auto end = static_cast<shm::LaneEnd>(lane.end.load(std::memory_order_acquire));
  if (is_mine && end == shm::LaneEnd::kKilled) {
    how = "rayx::kill() ended it";
  } else if (is_mine && end == shm::LaneEnd::kNoProcess) {
    how = "no process could be started for it";
  } else if (is_mine && end == shm::LaneEnd::kMakerGone) {
    how =
        "the process that made it has ended, and an actor ends with that. Make it in the driver if it is to live "
        "longer";
  } else if (const std::uint32_t executor = lane.executor.load(std::memory_order_acquire); is_mine && executor != 0) {
    const shm::DeathNote& note = notes_.note(executor - 1);
    error.pid = static_cast<std::uint32_t>(note.pid);
    how = "process " + std::to_string(note.pid) + " " +
          std::string(note.how, std::min<std::size_t>(note.how_bytes, sizeof(note.how)));
    error.stack.assign(note.stack, std::min<std::size_t>(note.stack_bytes, sizeof(note.stack)));
  }
  error.message = std::move(how);
  return error;
}

// Ends `call` of the actor, or its constructor.
void Client::fail_call(const ActorUse& use, Entry& call) {
  RemoteFailure error =
      lost_elsewhere_index_ == call.index ? *lost_elsewhere_ : end_of_lane(use.lane.lane, use.lane.generation);
  if (call.cell.backend_word[1] == kWatched) {  // the caller, on another node, words the rest
    call.cell.backend_word[1] = kWatchedAndLost;
    return complete_with_error(call.index, error);
  }
  error.code = ErrorCode::kActorDied;
  error.function = function_name(call);
  std::string name = error.function;
  if (call.kind == EntryKind::kActorCall) name.erase(std::min(name.rfind("::"), name.size()));
  const Entry& actor = entry(use.handles.front());
  if (actor.extra != nullptr && !actor.extra->name.empty()) name = actor.extra->name;
  const bool is_made_anew = lost_elsewhere_index_ == call.index && lost_elsewhere_->code == ErrorCode::kWorkerDied;
  error.message =
      "rayx: actor " + name + " died: " + error.message +
      (is_made_anew ? "\nIt is made anew (ActorOptions::max_restarts), and this call was at it. It is tried again as "
                      "often as ActorOptions::max_task_retries allows"
                    : "\nIts calls are not tried again; make a new one with rayx::actor<T>()");
  complete_with_error(call.index, error);
}

// Whether the call that was handed over is done; if not, its end comes to actor_call_settled.
bool Client::is_call_done(actor::Call call) {
  const Entry& e = owned_.at(call.index);
  Record& record = records_.at(call.index);
  if (e.node.phase == owner::Phase::kUnused || record.generation != call.generation) return true;
  if (detail::is_done(record.state.load(std::memory_order_acquire))) return true;
  return detail::is_done(record.state.fetch_or(detail::kRecordNotify, std::memory_order_acq_rel));
}

// Nobody here has a reference to the handle any more. The calls that were made before are still to run.
void Client::actor_handle_dropped(Entry& actor) {
  ActorUse& use = *actors_.at(actor.index);
  if (!use.order.is_dropping()) ++actors_dropping_;
  use.dropping.push_back(actor.index);
  if (use.order.drop([&](actor::Call call) { return is_call_done(call); })) are_let_go(use);
}

void Client::let_go(ActorUse& use) {
  if (use.order.may_let_go([&](actor::Call call) { return is_call_done(call); })) are_let_go(use);
}

// `use` goes with the last of them.
void Client::are_let_go(ActorUse& use) {
  --actors_dropping_;
  for (const Index handle : std::exchange(use.dropping, {})) ledger_.dropped(handle);
}

// There is a reference to it again.
void Client::actor_handle_revived(Index handle) {
  const auto found = actors_.find(handle);
  if (found == actors_.end()) return;
  ActorUse& use = *found->second;
  if (std::erase(use.dropping, handle) == 0 || !use.dropping.empty()) return;
  use.order.revive();
  --actors_dropping_;
}

// The handle's record is free: nobody on this node has one, or this process was a borrower.
void Client::forget_actor(Entry& actor) {
  const auto found = actors_.find(actor.index);
  if (found == actors_.end()) return;
  const std::shared_ptr<ActorUse> use = std::move(found->second);
  actors_.erase(found);
  std::erase(use->handles, actor.index);
  if (use->handles.empty()) {
    if (use->lane.queue_extent != shm::kNoOffset) {
      control_.slot(me_).queue_of_lane[use->lane.lane].store(shm::kNoOffset, std::memory_order_release);
      use->lane.shared.remove_submitter(me_);
      retired_queues_.push_back({use->lane.queue_extent, use->lane.lane, use->lane.generation});
    }
    if (actor_of_lane_[use->lane.lane] == use.get()) actor_of_lane_[use->lane.lane] = nullptr;
  }
  if (actor.kind == EntryKind::kActor) {
    node_.tell(NodeQuestion::kReleaseActor, use->lane.lane, use->lane.generation);
    // A relay lets go of a handle whose constructor may not have been told of: the next life of the entry is another's.
    actor.cell.backend_word[1] = 0;
  }
}

}  // namespace rayx::worker
