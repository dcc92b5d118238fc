// What the node does about processes and actors, and what executors do with tasks.
#include <algorithm>

#include "simulator.hpp"

namespace rayx::sim {

namespace {

// So often others may be given a lease while a lane with work, that could have one, has no executor at all.
constexpr int kGrantsMax = 16;

}  // namespace

Simulator::Owner* Simulator::owner_of(ProcessId process) {
  if (process == kDriver) return &driver_;
  const auto found = processes_.find(process);
  return found == processes_.end() ? nullptr : found->second.owner.get();
}

Simulator::Object* Simulator::find(const TaskName& name) {
  Owner* const owner = owner_of(name.owner);
  if (owner == nullptr) return nullptr;
  Object& object = owner->objects[name.index];
  return object.generation == name.generation && object.attempt == name.attempt ? &object : nullptr;
}

// CPUs that no lane gets by waiting.
sched::Units Simulator::units_of_actors() const {
  sched::Units units = 0;
  for (const auto& [id, process] : processes_)
    if (process.is_actor && process.lane && !process.is_blocked) units += lanes_[*process.lane].units;
  return units;
}

// ---- sched::Effects

bool Simulator::is_asleep(sched::WorkerId worker) {
  const auto found = processes_.find(worker);
  if (found == processes_.end()) return false;
  const Process& process = found->second;
  return process.is_started && process.stack.empty() && process.lane && lanes_[*process.lane].queue.empty();
}

std::optional<sched::WorkerId> Simulator::start_worker() {
  if (processes_.size() + dead_.size() >= slots_max_) return std::nullopt;
  const ProcessId id = next_process_++;
  processes_[id].owner = std::make_unique<Owner>(*this, id);
  return id;
}

void Simulator::grant(sched::WorkerId worker, LaneId lane) {
  const auto found = processes_.find(worker);
  if (found == processes_.end()) return fail("a lease was given to a dead process");
  Process& process = found->second;
  if (process.lane) return fail("a lease was given to a process that has one");
  if (process.is_asked_to_leave) return fail("a lease was given to a worker that was asked to leave");
  process.lane = lane;
  process.is_actor = lanes_[lane].is_actor;
  if (process.is_actor) {
    ActorInfo& info = actors_.at(lane);
    if (info.is_released || info.was_killed) return fail("a process was started for an actor that nobody can call");
    if (lanes_[lane].is_ended) return fail("a process was started for an actor that has ended");
    if (++info.starts > sched::kStartsMax) return fail("an actor was started more often than it may be");
  } else {
    const auto pullers =
        std::count_if(processes_.begin(), processes_.end(), [](const auto& p) { return !p.second.is_actor; });
    if (static_cast<std::size_t>(pullers) > workers_max_) fail("more workers were started than there may be");
  }
  lanes_[lane].grants_to_others = 0;
  for (std::size_t other = 0; other < classes_; ++other) {
    Lane& waiting = lanes_[other];
    if (other == lane || lanes_[lane].units == 0 || waiting.queue.empty() || waiting.units == 0) continue;
    if (waiting.units > std::min(scheduler_->limit(), ceiling_) - units_of_actors()) continue;
    const bool is_served = std::any_of(processes_.begin(), processes_.end(),
                                       [&](const auto& p) { return p.second.lane == other && !p.second.is_blocked; });
    if (!is_served && ++waiting.grants_to_others > kGrantsMax) fail("a lane starves");
  }
  // Only a worker that goes on after waiting may take more than there is.
  if (scheduler_->free_units() < 0 && lanes_[lane].units > 0) fail("CPUs were given twice");
}

void Simulator::revoke(sched::WorkerId worker) {
  const auto found = processes_.find(worker);
  if (found == processes_.end() || !found->second.lane) return fail("a lease was taken back that nobody has");
  if (found->second.is_actor) return fail("an actor's lease was taken back");
  found->second.is_revoked = true;
}

void Simulator::dismiss(sched::WorkerId worker) { processes_.at(worker).is_dismissed = true; }

bool Simulator::ask_to_leave(sched::WorkerId worker) {
  Process& process = processes_.at(worker);
  if (process.lane || process.is_actor || !process.stack.empty() || process.is_asked_to_leave)
    return fail("a worker was asked to leave that is at work, or was asked before"), false;
  const auto staying = std::count_if(processes_.begin(), processes_.end(),
                                     [](const auto& p) { return !p.second.is_actor && !p.second.is_asked_to_leave; });
  if (staying <= scheduler_->total() / sched::kUnitsOfOneCpu) fail("a worker was asked to leave that is no surplus");
  process.is_asked_to_leave = true;
  return true;
}

void Simulator::report_worker_limit(sched::WorkerId worker) {
  ++outcome_.worker_limits;
  Process& process = processes_.at(worker);
  if (!process.is_blocked) return fail("the worker limit was reported for one that does not wait");
  for (const auto& [id, other] : processes_) {
    if (!other.is_actor || other.is_blocked || other.is_dismissed) continue;
    if (!other.stack.empty() || !lanes_[*other.lane].queue.empty())
      return fail("the worker limit was reported while an actor is at work");
  }
  process.stack.back().has_failed_wait = true;
  process.is_blocked = false;
  scheduler_->resumed(worker, now_);
}

void Simulator::report_no_process(LaneId lane) { end_lane(lane); }

// ---- The node

// Nobody will execute there any more. Everybody who has calls there hears of it at some time.
void Simulator::end_lane(LaneId lane) {
  if (!lanes_[lane].is_ended && !actors_.at(lane).is_released) ++outcome_.actor_ends;
  lanes_[lane].is_ended = true;
}

void Simulator::release_actor(LaneId lane) {
  ActorInfo& info = actors_.at(lane);
  if (std::exchange(info.is_released, true)) return;
  if (!scheduler_->worker_of_actor(lane)) end_lane(lane);
  scheduler_->remove_actor(lane, now_);
}

void Simulator::kill_actor(LaneId lane) {
  ActorInfo& info = actors_.at(lane);
  if (info.is_released || lanes_[lane].is_ended) return;
  info.was_killed = true;
  if (const std::optional<sched::WorkerId> worker = scheduler_->worker_of_actor(lane)) return kill(*worker);
  end_lane(lane);
  scheduler_->remove_actor(lane, now_);
}

// What the node does when it hears of a death.
void Simulator::process_gone(ProcessId id) {
  const auto found = processes_.find(id);
  Process gone = std::move(found->second);
  processes_.erase(found);
  for (Lane& lane : lanes_) std::erase_if(lane.queue, [&](const TaskName& name) { return name.owner == id; });
  for (const Object& object : gone.owner->objects)
    if (object.is_in_use) {
      ++outcome_.owner_deaths;
      break;
    }
  bool may_replace = !gone.is_started;
  if (gone.is_actor) {
    ActorInfo& info = actors_.at(*gone.lane);
    may_replace = may_replace && !info.was_killed && !info.is_released;
    if (!may_replace) {
      info.last_frames = gone.stack;
      end_lane(*gone.lane);
    }
  }
  auto dead = std::make_shared<Dead>();
  dead->id = id;
  dead->frames = std::move(gone.stack);
  dead_.push_back(dead);
  const auto tell = [&](Owner& owner) {
    owner.deaths.push_back(dead);
    dead->unaware.insert(owner.me);
  };
  tell(driver_);
  for (auto& [other_id, other] : processes_) tell(*other.owner);
  for (const auto& other : dead_) other->unaware.erase(id);
  scheduler_->died(id, may_replace, now_);
  // Actors end with the process that made them.
  for (auto& [lane, info] : actors_)
    if (info.creator == id && !info.is_released) release_actor(lane);
}

// The slots of the dead are free again, and what they held is looked at.
void Simulator::bury() {
  std::erase_if(dead_, [&](const std::shared_ptr<Dead>& dead) {
    if (!dead->unaware.empty()) return false;
    for (auto& [lane, info] : actors_) {
      if (info.holders.erase(dead->id) == 0) continue;
      if (Owner* const creator = owner_of(info.creator)) creator->notices.push_back(info.constructor.index);
    }
    return true;
  });
}

void Simulator::kill(ProcessId id) {
  ++outcome_.kills;
  process_gone(id);
}

// ---- Executors

void Simulator::wake_blocked(ProcessId id, Process& process) {
  if (!process.is_blocked) return;
  process.is_blocked = false;
  scheduler_->resumed(id, now_);
}

// One step of one process. False: it can do nothing.
bool Simulator::work(ProcessId id) {
  Process& process = processes_.at(id);
  if (!process.is_started) {
    if (pick(starts_fail_often_ && process.is_actor ? 2 : 20) == 0) {
      process_gone(id);
    } else {
      process.is_started = true;
    }
    return true;
  }
  if (process.owner->has_news() && pick(2) == 0) return deliver(*process.owner);
  if (!process.stack.empty()) return run_frame(id, process);
  if (process.is_dismissed) {
    process_gone(id);
    return true;
  }
  if (process.is_asked_to_leave) {
    const auto& objects = process.owner->objects;
    if (std::none_of(objects.begin(), objects.end(), [](const Object& object) { return object.is_in_use; })) {
      ++outcome_.surplus_left;
      process_gone(id);
      return true;
    }
    ++outcome_.surplus_stayed;
    process.is_asked_to_leave = false;
    scheduler_->stays(id, now_);
    return false;  // for ever, if what it owns is used for ever
  }
  if (process.is_revoked) {
    process.is_revoked = false;
    process.lane.reset();
    scheduler_->left(id, now_);
    return true;
  }
  if (process.lane && !lanes_[*process.lane].is_ended && !lanes_[*process.lane].queue.empty())
    return take_task(process);
  if (process.owner->has_news()) return deliver(*process.owner);
  if (!process.kept.empty() && pick(30) == 0) {
    const std::size_t at = pick(process.kept.size());
    const Index handle = process.kept[at];
    process.kept.erase(process.kept.begin() + static_cast<std::ptrdiff_t>(at));
    process.owner->drop(handle);
    return true;
  }
  return false;
}

// The next task of the lane: of one of its submitters, and of him the first.
bool Simulator::take_task(Process& process) {
  Lane& lane = lanes_[*process.lane];
  const ProcessId submitter = lane.queue[pick(lane.queue.size())].owner;
  const auto at =
      std::find_if(lane.queue.begin(), lane.queue.end(), [&](const TaskName& name) { return name.owner == submitter; });
  Frame frame;
  frame.task = *at;
  lane.queue.erase(at);
  const Object* const object = find(frame.task);
  if (object == nullptr || !object->is_in_use) return fail("a task was taken that its owner has taken back"), true;
  frame.kind = object->kind;
  frame.lane = object->lane;
  frame.depth = object->depth;
  frame.above = object->above;
  process.stack.push_back(std::move(frame));
  return true;
}

// Before a task is begun: whether what it needs is there. True: that was this step.
bool Simulator::prepare_frame(Process& process) {
  Frame& frame = process.stack.back();
  Object* const object = find(frame.task);
  if (object == nullptr || owner_of(frame.task.owner) == nullptr) {  // its owner is dead
    frame.step = Step::kRun;
    return true;
  }
  Owner& owner = *owner_of(frame.task.owner);
  for (const Index need : object->needs) {
    Object& other = owner.objects[need];
    if (owner.is_done(need)) continue;
    if (!object->is_following) return fail("a task was begun before what it needs was there"), true;
    // It lies before this one: it runs elsewhere, or is taken here, or this one is given back.
    Lane& lane = lanes_[other.lane];
    const auto queued =
        std::find(lane.queue.begin(), lane.queue.end(), TaskName{owner.me, need, other.generation, other.attempt});
    if (queued != lane.queue.end() && other.lane == frame.lane && pick(2) == 0) {
      Frame first;
      first.task = *queued;
      first.kind = other.kind;
      first.lane = other.lane;
      first.depth = other.depth;
      first.above = other.above;
      lane.queue.erase(queued);
      process.stack.push_back(std::move(first));
    } else if (pick(3) == 0) {
      ++outcome_.given_back;
      object->is_returned = true;
      frame.step = Step::kReturned;
    }
    return true;
  }
  for (const Index need : object->needs) frame.fails = frame.fails || owner.is_error(need);
  frame.step = Step::kRun;
  if (!frame.fails) begin_frame(process);
  return true;
}

void Simulator::begin_frame(Process& process) {
  Frame& frame = process.stack.back();
  Object& object = *find(frame.task);
  Owner& owner = *owner_of(frame.task.owner);
  if (frame.kind == Kind::kCall) {
    ActorInfo& info = actors_.at(frame.lane);
    ++outcome_.calls_run;
    if (!info.is_done) fail("a call was begun before its actor was made");
    if (std::exchange(object.has_begun, true)) fail("a call was begun twice");
    std::uint32_t& last = info.run[{frame.task.owner, object.caller}];
    if (object.serial <= last) fail("the calls of one caller were begun out of order");
    last = object.serial;
    frame.fails = info.is_error;
    if (frame.fails) return;
  }
  // Each task is a caller, and so is each actor, over all its calls; both may have a second thread.
  frame.caller = 2 * (frame.kind == Kind::kTask ? ++tasks_begun_ : 0);
  if (frame.depth > 0) frame.to_spawn = static_cast<int>(pick(4));
  if (frame.kind == Kind::kActor) frame.fails = pick(8) == 0;
  for (const Index passed : object.passes) {
    const std::optional<Index> handle = process.owner->import(owner.objects[passed].lane);
    if (handle) frame.handles.push_back(*handle);
  }
}

std::vector<Simulator::LaneId> Simulator::callable(const Owner& owner, LaneId above) const {
  std::vector<LaneId> lanes;
  for (const auto& [lane, use] : owner.uses)
    if (lane > above && lanes_[lane].units == 0 && owner.objects[use.handle].references > 0) lanes.push_back(lane);
  return lanes;
}

// A task makes something: another task, an actor, a call.
void Simulator::spawn(Process& process) {
  Frame& frame = process.stack.back();
  Owner& owner = *process.owner;
  const int depth = std::max(0, frame.depth - 1);
  // What it may call: it was passed the handle, made the actor, or is an actor that kept the handle.
  std::vector<LaneId> lanes = callable(owner, frame.above);
  std::erase_if(lanes, [&](LaneId lane) {
    const auto has = [&](const std::vector<Index>& handles) {
      return std::any_of(handles.begin(), handles.end(), [&](Index h) { return owner.objects[h].lane == lane; });
    };
    return !has(frame.handles) && (frame.kind == Kind::kTask || !has(process.kept));
  });
  std::vector<Index> needs;
  if (!frame.children.empty() && pick(3) == 0) needs.push_back(frame.children[pick(frame.children.size())]);
  std::vector<Index> passes;
  if (!lanes.empty() && pick(3) == 0) passes.push_back(owner.uses.at(lanes[pick(lanes.size())]).handle);
  if (actors_left_ > 0 && pick(5) == 0) {
    --actors_left_;
    ++outcome_.actors;
    const auto lane = static_cast<LaneId>(lanes_.size());
    lanes_.push_back(
        {.units = 0, .is_actor = true, .is_served = true, .is_ended = false, .grants_to_others = 0, .queue = {}});
    actors_[lane];
    scheduler_->add_actor(lane, 0, now_);
    std::erase_if(needs, [&](Index i) { return !owner.objects[i].is_plain; });
    const Index handle = owner.create_actor(lane, std::move(needs));
    process.stack.back().handles.push_back(handle);
    return;
  }
  if (!lanes.empty() && pick(2) == 0) {
    const LaneId lane = lanes[pick(lanes.size())];
    std::erase_if(passes, [&](Index handle) { return owner.objects[handle].lane <= lane; });
    const Index call =
        owner.call(lane, frame.caller + pick(2), depth, frame.above, std::move(needs), std::move(passes));
    process.stack.back().children.push_back(call);
    return;
  }
  const std::int32_t retries = pick(5) == 0 ? 0 : static_cast<std::int32_t>(pick(4)) - 1;
  const Index task = owner.submit(pick(classes_), depth, frame.above, retries, std::move(needs), std::move(passes));
  process.stack.back().children.push_back(task);
}

bool Simulator::run_frame(ProcessId id, Process& process) {
  Frame& frame = process.stack.back();
  switch (frame.step) {
    case Step::kPrepare: return prepare_frame(process);
    case Step::kReturned:
      if (Owner* const owner = owner_of(frame.task.owner)) owner->notices.push_back(frame.task.index);
      frame.step = Step::kTold;
      return true;
    case Step::kPublished:
      if (Owner* const owner = owner_of(frame.task.owner)) owner->notices.push_back(frame.task.index);
      [[fallthrough]];
    case Step::kTold: process.stack.pop_back(); return true;
    case Step::kRun: break;
  }
  if (frame.to_spawn > 0) {
    --frame.to_spawn;
    spawn(process);
    return true;
  }
  if (frame.has_failed_wait) {  // the worker limit: the task goes on with an error
    finish(id, process);
    return true;
  }
  if (frame.waits_for < frame.children.size()) {
    const Index child = frame.children[frame.waits_for];
    Object& object = process.owner->objects[child];
    if (object.is_done) {
      wake_blocked(id, process);
      ++process.stack.back().waits_for;
      return true;
    }
    Lane& lane = lanes_[object.lane];
    const auto queued =
        std::find(lane.queue.begin(), lane.queue.end(), TaskName{id, child, object.generation, object.attempt});
    if (!process.is_blocked && queued != lane.queue.end() && !lane.is_actor &&
        lane.units <= lanes_[*process.lane].units) {
      ++outcome_.inline_runs;
      Frame inner;
      inner.task = *queued;
      inner.kind = object.kind;
      inner.lane = object.lane;
      inner.depth = object.depth;
      inner.above = object.above;
      lane.queue.erase(queued);
      process.stack.push_back(std::move(inner));
      return true;
    }
    if (process.is_blocked) return false;
    ++outcome_.blocks;
    process.is_blocked = true;
    scheduler_->blocked(id, now_);
    return true;
  }
  finish(id, process);
  return true;
}

// Publishes the result. In a step of its own the owner is told: in between the process may be killed.
void Simulator::finish(ProcessId id, Process& process) {
  note(process.stack.back().task.index * 31 + id);
  Owner& mine = *process.owner;
  const Frame frame = process.stack.back();
  bool is_told = false;
  if (Owner* const owner = owner_of(frame.task.owner)) {
    Object* const object = find(frame.task);
    if (object == nullptr) return fail("a task ran that its owner had taken back");
    owner->complete(frame.task.index, frame.fails);
    is_told = object->wants_notice;
  }
  process.stack.back().step = is_told ? Step::kPublished : Step::kTold;
  process.stack.back().children.clear();
  process.stack.back().handles.clear();
  for (const Index child : frame.children) mine.drop(child);
  for (const Index handle : frame.handles) {
    if (process.is_actor && process.stack.size() == 1 && mine.objects[handle].lane > *process.lane && pick(3) == 0) {
      process.kept.push_back(handle);
    } else {
      mine.drop(handle);
    }
  }
}

}  // namespace rayx::sim
