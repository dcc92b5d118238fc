// What a process does about the tasks, calls and handles that it has: worker::Client without threads and memory.
#include <algorithm>

#include "simulator.hpp"

namespace rayx::sim {

using owner::Phase;

// ---- owner::Ledger's world

void Simulator::Owner::enqueue(Index task) {
  Object& object = objects[task];
  if (nodes[task].phase != Phase::kQueued) sim.fail("a task was queued that is not ready");
  if (!object.is_following) {
    for (const Index need : object.needs)
      if (!is_done(need)) {
        sim.fail("a task was queued before what it needs was there");
      } else if (is_error(need)) {
        sim.fail("a task was queued though what it needs has failed");
      }
  }
  if (object.retries >= 0 && object.begun_losses > object.retries)
    sim.fail("a task was tried more often than it may be");
  if (object.is_done) return sim.fail("a task was queued that is done");
  ++object.attempt;
  if (object.kind == Kind::kTask) return push(task);
  const auto found = uses.find(object.lane);
  if (found == uses.end()) return sim.fail("a call was queued whose actor is forgotten");
  Use& use = found->second;
  if (use.order.is_ended()) {
    complete(task, true);
    ledger.done(task, true);
  } else if (object.is_held_back) {
    use.order.ready(object.place, [&](actor::Call call) { hand_over(call); });
  } else {
    use.order.handed_over({task, object.generation});
    push(task);
  }
}

void Simulator::Owner::fail_as(Index task, Index cause) {
  if (!is_error(cause)) sim.fail("a task failed as something that has not failed");
  complete(task, true);
}

void Simulator::Owner::fail_lost(Index task) {
  const Object& object = objects[task];
  if (object.kind != Kind::kTask && !sim.lanes_[object.lane].is_ended)
    sim.fail("a call was given up although its actor has not ended");
  complete(task, true);
}

void Simulator::Owner::release_needs(Index task) {
  Object& object = objects[task];
  if (object.has_released) sim.fail("what a task needs was released twice");
  object.has_released = true;
  for (const Index need : std::exchange(object.needs, {})) drop(need);
  for (const Index handle : std::exchange(object.passes, {})) drop(handle);
  if (object.kind == Kind::kTask) return;
  const auto found = uses.find(object.lane);
  if (found == uses.end()) return;
  if (std::exchange(object.is_held_back, false))
    found->second.order.failed(object.place, [&](actor::Call call) { hand_over(call); });
  if (found->second.order.is_dropping()) let_go(object.lane);
}

bool Simulator::Owner::is_held_elsewhere(Index object) {
  const Object& it = objects[object];
  return it.is_held || (it.kind == Kind::kActor && !sim.actors_.at(it.lane).holders.empty());
}

void Simulator::Owner::free(Index object) {
  Object& it = objects[object];
  if (!it.is_in_use) return sim.fail("an object was freed twice");
  if (it.references > 0) sim.fail("an object was freed that is referenced");
  if (it.kind != Kind::kHandle && is_held_elsewhere(object)) sim.fail("an object was freed that another process holds");
  if (it.kind != Kind::kHandle && !it.is_done) sim.fail("an object was freed that is not done");
  if (!it.needs.empty() || !it.passes.empty()) sim.fail("an object was freed with what it needs");
  forget_actor(object);
  const std::uint32_t generation = it.generation + 1;
  it = Object{};
  it.generation = generation;
  free_indices.push_back(object);
}

// ---- From a call to a queue

Simulator::Index Simulator::Owner::new_object(Kind kind) {
  if (free_indices.empty()) {
    nodes.emplace_back();
    objects.emplace_back();
    free_indices.push_back(static_cast<Index>(nodes.size() - 1));
  }
  const Index index = free_indices.back();
  free_indices.pop_back();
  objects[index].kind = kind;
  objects[index].is_in_use = true;
  objects[index].references = 1;
  return index;
}

void Simulator::Owner::prepare(Index index, std::vector<Index> needs, std::vector<Index> passes) {
  for (const Index need : needs) ++objects[need].references;
  for (const Index handle : passes) ++objects[handle].references;
  objects[index].wants_notice = !needs.empty() || !passes.empty();
  objects[index].is_plain = objects[index].kind == Kind::kTask && passes.empty() &&
                            std::all_of(needs.begin(), needs.end(), [&](Index i) { return objects[i].is_plain; });
  objects[index].needs = std::move(needs);
  objects[index].passes = std::move(passes);
}

Simulator::Index Simulator::Owner::submit(LaneId lane, int depth, LaneId above, std::int32_t retries,
                                          std::vector<Index> needs, std::vector<Index> passes) {
  const Index index = new_object(Kind::kTask);
  Object& object = objects[index];
  object.lane = lane;
  object.depth = depth;
  object.above = above;
  object.retries = retries;
  prepare(index, std::move(needs), std::move(passes));
  hand_in(index, retries, std::nullopt);
  return index;
}

Simulator::Index Simulator::Owner::create_actor(LaneId lane, std::vector<Index> needs) {
  const Index index = new_object(Kind::kActor);
  Object& object = objects[index];
  object.lane = lane;
  object.above = lane;
  prepare(index, std::move(needs), {});
  object.wants_notice = true;
  ActorInfo& info = sim.actors_.at(lane);
  info.creator = me;
  info.constructor = {me, index, object.generation, 0};
  Use& use = uses[lane];
  use.handle = index;
  if (!object.needs.empty()) {
    object.is_held_back = true;
    object.place = use.order.hold(0, {index, object.generation});
  }
  hand_in(index, 0, std::nullopt);
  return index;
}

Simulator::Index Simulator::Owner::call(LaneId lane, actor::Caller caller, int depth, LaneId above,
                                        std::vector<Index> needs, std::vector<Index> passes) {
  Use& use = uses.at(lane);
  const Index index = new_object(Kind::kCall);
  Object& object = objects[index];
  object.lane = lane;
  object.depth = depth;
  object.above = std::max(above, lane);
  object.caller = caller;
  object.serial = ++sim.actors_.at(lane).made[{me, caller}];
  prepare(index, std::move(needs), std::move(passes));
  if (use.order.is_ended()) {
    ledger.accept(index);
    complete(index, true);
    ledger.done(index, true);
    return index;
  }
  const owner::Node& handle = nodes[use.handle];
  const bool is_unready = objects[use.handle].kind == Kind::kHandle
                              ? handle.phase != Phase::kDone || handle.is_error
                              : handle.phase == Phase::kWaiting || (handle.phase == Phase::kDone && handle.is_error);
  const bool must_wait = is_unready || !object.needs.empty();
  if ((must_wait || !use.order.is_clear()) && (must_wait || !use.order.is_clear(caller))) {
    ++sim.outcome_.calls_held_back;
    object.wants_notice = object.is_held_back = true;
    object.place = use.order.hold(caller, {index, object.generation});
  }
  hand_in(index, 0, is_unready ? std::optional(use.handle) : std::nullopt);
  return index;
}

bool Simulator::Owner::may_follow(const Object& object) {
  constexpr std::size_t kNeedsMax = 4;
  if (object.kind != Kind::kTask || object.needs.size() > kNeedsMax) return false;
  for (const Index need : object.needs) {
    const Object& other = objects[need];
    if (other.kind == Kind::kHandle) return false;
    if (other.is_done) {
      if (other.is_error) return false;
    } else if (other.kind != Kind::kTask || other.lane != object.lane || nodes[need].phase != Phase::kQueued) {
      return false;
    }
  }
  return true;
}

void Simulator::Owner::hand_in(Index index, std::int32_t retries, std::optional<Index> unready_actor) {
  Object& object = objects[index];
  if (!unready_actor && object.needs.empty()) return ledger.submit(index, retries);
  if (!unready_actor && may_follow(object)) {
    object.is_following = true;
    return ledger.submit(index, retries);
  }
  std::vector<Index> needs = object.needs;
  if (unready_actor) needs.insert(needs.begin(), *unready_actor);
  listen_to(needs);
  ledger.submit(index, retries, needs);
}

void Simulator::Owner::listen_to(const std::vector<Index>& needs) {
  for (const Index need : needs) {
    if (nodes[need].phase == Phase::kDone) continue;
    if (!is_done(need)) {
      objects[need].wants_notice = true;  // of other owners' records: look_at_foreign
    } else if (objects[need].kind == Kind::kHandle) {
      ledger.done(need, is_error(need));
    } else {
      on_completed(need);
    }
  }
}

void Simulator::Owner::take_returned(Index index) {
  Object& object = objects[index];
  ++object.attempt;
  object.is_returned = object.is_following = false;
  const std::vector<Index> needs = object.needs;
  listen_to(needs);
  ledger.returned(index, needs);
}

void Simulator::Owner::push(Index task) {
  Object& object = objects[task];
  Lane& lane = sim.lanes_[object.lane];
  for (const TaskName& other : lane.queue)
    if (other.owner == me && other.index == task && other.generation == object.generation)
      sim.fail("a task is queued twice");
  lane.queue.push_back({me, task, object.generation, object.attempt});
  if (lane.is_actor) return;
  const auto is_looking = [&] {
    return std::any_of(sim.processes_.begin(), sim.processes_.end(), [&](const auto& p) {
      return p.second.lane == object.lane && !p.second.is_revoked && p.second.stack.empty() && p.second.is_started;
    });
  };
  if (!lane.is_served && !is_looking()) {
    lane.is_served = true;
    sim.scheduler_->demand(object.lane, sim.now_);
  }
}

void Simulator::Owner::hand_over(actor::Call call) {
  Object& object = objects[call.index];
  if (!object.is_in_use || object.generation != call.generation || !object.is_held_back)
    return sim.fail("a call was handed over that is not held back");
  object.is_held_back = false;
  push(call.index);
}

// ---- What is done, and what of it is heard

bool Simulator::Owner::is_done(Index i) const {
  const Object& object = objects[i];
  return object.is_done || (object.kind == Kind::kHandle && sim.actors_.at(object.lane).is_done);
}
bool Simulator::Owner::is_error(Index i) const {
  const Object& object = objects[i];
  return object.is_error || (object.kind == Kind::kHandle && sim.actors_.at(object.lane).is_error);
}

void Simulator::Owner::complete(Index task, bool is_error) {
  Object& object = objects[task];
  if (object.is_done) return sim.fail("a task was completed twice");
  object.is_done = true;
  object.is_error = is_error;
  if (object.kind != Kind::kActor) return;
  ActorInfo& info = sim.actors_.at(object.lane);
  info.is_done = true;
  info.is_error = is_error;
}

void Simulator::Owner::on_completed(Index index) {
  Object& object = objects[index];
  if (object.kind == Kind::kHandle || nodes[index].phase == Phase::kUnused) return;
  if (!object.is_done) {
    if (object.is_returned && nodes[index].phase == Phase::kQueued) take_returned(index);
  } else if (nodes[index].phase == Phase::kDone) {
    ledger.released_elsewhere(index);
  } else {
    ledger.done(index, object.is_error);
  }
}

void Simulator::Owner::look_at_foreign() {
  for (Index i = 0; i < objects.size(); ++i)
    if (objects[i].is_in_use && objects[i].kind == Kind::kHandle && nodes[i].phase == Phase::kBorrowed && is_done(i))
      ledger.done(i, is_error(i));
}
bool Simulator::Owner::has_foreign_news() const {
  for (Index i = 0; i < objects.size(); ++i)
    if (objects[i].is_in_use && objects[i].kind == Kind::kHandle && nodes[i].phase == Phase::kBorrowed && is_done(i))
      return true;
  return false;
}
bool Simulator::Owner::has_ended_actor() const {
  return std::any_of(uses.begin(), uses.end(),
                     [&](const auto& use) { return !use.second.order.is_ended() && sim.lanes_[use.first].is_ended; });
}
bool Simulator::Owner::has_news() const {
  return !notices.empty() || !deaths.empty() || has_ended_actor() || has_foreign_news();
}

// ---- References

void Simulator::Owner::drop(Index object) {
  Object& it = objects[object];
  if (it.references <= 0) return sim.fail("an object was dropped more often than it was referenced");
  if (--it.references > 0 || nodes[object].is_dropped) return;
  if (it.kind != Kind::kHandle && nodes[object].phase != Phase::kDone) {
    // The books may not have heard that it is done; if it is not, they have to hear.
    if (it.is_done) {
      on_completed(object);
    } else {
      it.wants_notice = true;
    }
  }
  if (it.kind == Kind::kActor || it.kind == Kind::kHandle) return handle_dropped(object);
  ledger.dropped(object);
}

void Simulator::Owner::handle_dropped(Index handle) {
  const auto found = uses.find(objects[handle].lane);
  if (found == uses.end()) return sim.fail("a handle was dropped whose actor is forgotten");
  if (found->second.order.drop([&](actor::Call call) { return is_call_done(call); })) ledger.dropped(handle);
}

bool Simulator::Owner::is_call_done(actor::Call call) {
  Object& object = objects[call.index];
  if (!object.is_in_use || object.generation != call.generation || object.is_done) return true;
  object.wants_notice = true;
  return false;
}

void Simulator::Owner::let_go(LaneId lane) {
  Use& use = uses.at(lane);
  if (use.order.may_let_go([&](actor::Call call) { return is_call_done(call); })) ledger.dropped(use.handle);
}

// Its record is free: nobody on this node has a handle, or this process was a borrower.
void Simulator::Owner::forget_actor(Index handle) {
  const Object& object = objects[handle];
  if (object.kind != Kind::kActor && object.kind != Kind::kHandle) return;
  for (const Object& call : objects)
    if (call.is_in_use && call.kind == Kind::kCall && call.lane == object.lane && !call.is_done)
      sim.fail("a handle was let go before its calls were done");
  uses.erase(object.lane);
  if (object.kind == Kind::kActor) return sim.release_actor(object.lane);
  ActorInfo& info = sim.actors_.at(object.lane);
  info.holders.erase(me);
  if (Owner* const creator = sim.owner_of(info.creator)) creator->notices.push_back(info.constructor.index);
}

// A handle that came in a value: something protects the actor at this moment.
std::optional<Simulator::Index> Simulator::Owner::import(LaneId lane) {
  ActorInfo& info = sim.actors_.at(lane);
  const auto known = uses.find(lane);
  if (known != uses.end()) {
    const Index handle = known->second.handle;
    if (objects[handle].references++ == 0) ++sim.outcome_.revived_handles;
    if (nodes[handle].is_dropped) ledger.revived(handle);
    if (known->second.order.is_dropping()) known->second.order.revive();
    return handle;
  }
  Owner* const creator = sim.owner_of(info.creator);
  if (info.is_released || creator == nullptr || creator == this) return std::nullopt;
  ++sim.outcome_.borrowed_handles;
  info.holders.insert(me);
  creator->nodes[info.constructor.index].is_shared = true;
  const Index handle = new_object(Kind::kHandle);
  objects[handle].lane = lane;
  Use& use = uses[lane];
  use.handle = handle;
  if (sim.lanes_[lane].is_ended && sim.pick(2) == 0) {
    use.order.end();
    if (use.order.take_failed()) sim.fail("an actor that was not called has calls");
  }
  ledger.borrow(handle);
  if (is_done(handle)) ledger.done(handle, is_error(handle));
  return handle;
}

// ---- Ends

void Simulator::Owner::look_at_actor_ends() {
  for (auto& [lane_id, use] : uses) {
    Lane& lane = sim.lanes_[lane_id];
    if (use.order.is_ended() || !lane.is_ended) continue;
    const LaneId id = lane_id;
    use.order.end();
    for (const Frame& frame : sim.actors_.at(id).last_frames) {
      if (frame.task.owner != me || frame.lane != id) continue;
      const Object* const object = sim.find(frame.task);
      if (object != nullptr && !object->is_done) ledger.lost(frame.task.index, true);
    }
    std::vector<TaskName> left;
    std::erase_if(lane.queue, [&](const TaskName& name) {
      if (name.owner != me) return false;
      left.push_back(name);
      return true;
    });
    for (const TaskName& name : left)
      if (objects[name.index].generation == name.generation) ledger.lost(name.index, true);
    if (!uses.contains(id)) return sim.fail("an actor was forgotten while its end was told");
    // The handle is not let go before all are told.
    while (const auto call = use.order.take_failed()) {
      ++sim.outcome_.calls_failed_at_end;
      if (!objects[call->index].is_in_use || objects[call->index].generation != call->generation ||
          objects[call->index].is_done)
        return sim.fail("a call was named at the actor's end that is done");
      complete(call->index, true);
      ledger.done(call->index, true);
      if (!uses.contains(id)) return sim.fail("an actor was forgotten while its end was told");
    }
    for (const Object& object : objects)
      if (object.is_in_use && object.kind == Kind::kCall && object.lane == id && !object.is_done)
        sim.fail("a call outlives its actor");
    if (use.order.is_dropping()) let_go(id);
    return look_at_actor_ends();  // the map may be another one
  }
}

void Simulator::Owner::take_back_from(const Dead& dead) {
  for (const Frame& frame : dead.frames) {
    const Index index = frame.task.index;
    if (frame.task.owner != me) continue;
    Object* const object = sim.find(frame.task);
    if (object == nullptr) continue;
    if (object->is_returned) {
      on_completed(index);  // it was giving the task back
    } else if (object->is_done) {
      on_completed(index);  // it was published; perhaps nobody was told
      if (objects[index].is_in_use) ledger.lost(index, true);
    } else {
      const bool had_begun = frame.step != Step::kPrepare || sim.pick(2) == 0;
      if (had_begun) ++object->begun_losses;
      ledger.lost(index, had_begun);
    }
  }
  for (Index i = 0; i < objects.size(); ++i) {
    Object& object = objects[i];
    if (!object.is_in_use || object.kind != Kind::kHandle || sim.actors_.at(object.lane).creator != dead.id) continue;
    if (!is_done(i)) object.is_done = object.is_error = true;  // nobody will complete it
    ledger.done(i, is_error(i));
  }
}

}  // namespace rayx::sim
