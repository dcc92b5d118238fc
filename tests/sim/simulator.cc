#include "simulator.hpp"

#include <algorithm>

namespace rayx::sim {

using owner::Index;
using owner::Phase;

namespace {

constexpr std::uint64_t kStepsMax = 200'000;
// So often others may be given a lease while a lane with work has no executor at all.
constexpr int kGrantsMax = 16;
constexpr sched::Units kOne = sched::kUnitsOfOneCpu;

}  // namespace

Simulator::Simulator(std::uint64_t seed) : random_(seed) {
  const sched::Units cpus = 1 + pick(2);
  workers_max_ = pick(4) == 0 ? 2 + pick(3) : 64;
  sched::Effects& effects = *this;
  scheduler_ = std::make_unique<sched::Scheduler>(cpus * kOne, workers_max_, effects);
  lanes_.push_back(Lane{kOne, false, false, 0, {}});
  scheduler_->add_class(0, kOne);
  if (pick(2) == 0) {
    const sched::Units units = pick(3) == 0 ? 0 : pick(2) == 0 ? kOne / 2 : cpus * kOne;
    lanes_.push_back(Lane{units, false, false, 0, {}});
    scheduler_->add_class(1, units);
  }
  to_submit_ = 5 + static_cast<int>(pick(pick(4) == 0 ? 200 : 40));
  kills_left_ = static_cast<int>(pick(6));
}

// ---- Owners

void Simulator::Owner::enqueue(Index task) {
  Object& object = objects[task];
  if (nodes[task].phase != Phase::kQueued) sim.fail("a task was queued that is not ready");
  for (const Index need : object.needs)
    if (!objects[need].is_done) {
      sim.fail("a task was queued before what it needs was there");
    } else if (objects[need].is_error) {
      sim.fail("a task was queued though what it needs has failed");
    }
  if (object.retries >= 0 && object.begun_losses > object.retries)
    sim.fail("a task was tried more often than it may be");
  if (object.is_done) sim.fail("a task was queued that is done");
  const TaskName name{me, task, object.generation, ++object.attempt};
  for (const TaskName& other : sim.lanes_[object.lane].queue)
    if (other.owner == me && other.index == task && other.generation == object.generation)
      sim.fail("a task is queued twice");
  Lane& lane = sim.lanes_[object.lane];
  lane.queue.push_back(name);
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
void Simulator::Owner::fail_as(Index task, Index cause) {
  if (!objects[cause].is_error) sim.fail("a task failed as something that has not failed");
  objects[task].is_done = objects[task].is_error = true;
}
void Simulator::Owner::fail_lost(Index task) {
  if (objects[task].is_done) sim.fail("a task was given up that is done");
  objects[task].is_done = objects[task].is_error = true;
}
void Simulator::Owner::release_needs(Index task) {
  objects[task].has_released = true;
  for (const Index need : std::exchange(objects[task].needs, {})) drop(need);
}
void Simulator::Owner::drop(Index object) {
  if (--objects[object].references > 0) return;
  // The owner asks the record: the ledger may not have heard.
  if (objects[object].is_done) ledger.done(object, objects[object].is_error);
  ledger.dropped(object);
}
void Simulator::Owner::free(Index object) {
  Object& it = objects[object];
  if (!it.is_in_use) sim.fail("an object was freed twice");
  if (it.references > 0) sim.fail("an object was freed that is referenced");
  if (it.is_held) sim.fail("an object was freed that another process holds");
  if (!it.is_done) sim.fail("an object was freed that is not done");
  if (!it.needs.empty()) sim.fail("an object was freed with what it needs");
  const std::uint32_t generation = it.generation + 1;
  it = Object{};
  it.generation = generation;
  free_indices.push_back(object);
}

Simulator::Owner* Simulator::owner_of(std::uint32_t process) {
  if (process == kDriver) return &driver_;
  const auto found = processes_.find(process);
  return found == processes_.end() ? nullptr : found->second.owner.get();
}

Index Simulator::new_object(Owner& owner) {
  if (owner.free_indices.empty()) {
    owner.nodes.emplace_back();
    owner.objects.emplace_back();
    owner.free_indices.push_back(static_cast<Index>(owner.nodes.size() - 1));
  }
  const Index index = owner.free_indices.back();
  owner.free_indices.pop_back();
  owner.objects[index].is_in_use = true;
  owner.objects[index].references = 1;
  return index;
}

Index Simulator::submit(Owner& owner, int depth, bool may_need) {
  const Index index = new_object(owner);
  Object& object = owner.objects[index];
  object.lane = pick(static_cast<std::uint32_t>(lanes_.size()));
  object.depth = depth;
  const std::int32_t retries = pick(5) == 0 ? 0 : static_cast<std::int32_t>(pick(4)) - 1;
  object.retries = retries;
  std::vector<Index> needs;
  if (may_need && !held_.empty()) {
    for (std::uint32_t n = pick(4); n > 0; --n) needs.push_back(held_[pick(static_cast<std::uint32_t>(held_.size()))]);
  }
  object.needs = needs;
  for (const Index need : needs) {
    ++owner.objects[need].references;
    if (owner.objects[need].is_done) owner.ledger.done(need, owner.objects[need].is_error);
  }
  if (needs.empty()) {
    owner.ledger.submit(index, retries);
  } else {
    owner.ledger.submit(index, retries, needs);
  }
  return index;
}

// ---- Processes

bool Simulator::is_asleep(sched::WorkerId worker) {
  const Process& process = processes_.at(worker);
  return process.stack.empty() && process.lane && lanes_[*process.lane].queue.empty();
}
std::optional<sched::WorkerId> Simulator::start_worker() {
  if (processes_.size() >= workers_max_) fail("more workers were started than there may be");
  const std::uint32_t id = next_process_++;
  Process& process = processes_[id];
  process.owner = std::make_unique<Owner>(*this, id);
  return id;
}
void Simulator::grant(sched::WorkerId worker, sched::LaneId lane) {
  const auto found = processes_.find(worker);
  if (found == processes_.end()) return fail("a lease was given to a dead process");
  if (found->second.lane) fail("a lease was given to a process that has one");
  found->second.lane = lane;
  lanes_[lane].grants_to_others = 0;
  for (std::size_t other = 0; other < lanes_.size(); ++other) {
    if (other == lane || lanes_[lane].units == 0 || lanes_[other].queue.empty() || lanes_[other].units == 0) continue;
    const bool is_served = std::any_of(processes_.begin(), processes_.end(),
                                       [&](const auto& p) { return p.second.lane == other && !p.second.is_blocked; });
    if (!is_served && ++lanes_[other].grants_to_others > kGrantsMax) fail("a lane starves");
  }
  // Only a worker that goes on after waiting may take more than there is.
  if (scheduler_->free_units() < 0 && lanes_[lane].units > 0) fail("CPUs were given twice");
}
void Simulator::revoke(sched::WorkerId worker) {
  const auto found = processes_.find(worker);
  if (found == processes_.end() || !found->second.lane) return fail("a lease was taken back that nobody has");
  found->second.is_revoked = true;
}
void Simulator::dismiss(sched::WorkerId worker) { processes_.at(worker).is_dismissed = true; }

void Simulator::report_worker_limit(sched::WorkerId worker) {
  ++outcome_.worker_limits;
  Process& process = processes_.at(worker);
  if (!process.is_blocked) return fail("the worker limit was reported for one that does not wait");
  process.stack.back().has_failed_wait = true;
}

// Removes a reference of the process itself.
void Simulator::let_go(Owner& owner, Index object) { owner.drop(object); }

void Simulator::finish(std::uint32_t id, Process& process) {
  const Frame frame = process.stack.back();
  process.stack.pop_back();
  process.last_finished = frame.task;
  for (const Index child : frame.children) let_go(*process.owner, child);
  Owner* const owner = owner_of(frame.task.owner);
  note(frame.task.index * 31 + id);
  if (owner == nullptr) return;
  Object& object = owner->objects[frame.task.index];
  if (object.generation != frame.task.generation || object.attempt != frame.task.attempt)
    return fail("a task ran that its owner had taken back");
  if (object.is_done) return fail("a task was completed twice");
  object.is_done = true;
  owner->notices.push_back(frame.task.index);
}

void Simulator::wake_blocked(std::uint32_t id, Process& process) {
  if (!process.is_blocked) return;
  process.is_blocked = false;
  scheduler_->resumed(id, now_);
}

bool Simulator::run_frame(std::uint32_t id, Process& process) {
  Frame& frame = process.stack.back();
  if (frame.to_spawn > 0) {
    --frame.to_spawn;
    const Object* mine = nullptr;
    int depth = 0;
    if (Owner* const owner = owner_of(frame.task.owner)) mine = &owner->objects[frame.task.index];
    if (mine != nullptr) depth = std::max(0, mine->depth - 1);
    const Index child = submit(*process.owner, depth, false);
    processes_.at(id).stack.back().children.push_back(child);
    return true;
  }
  if (frame.has_failed_wait) {  // the worker limit: the task goes on with an error
    wake_blocked(id, process);
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
    if (!process.is_blocked && queued != lane.queue.end() && lane.units <= lanes_[*process.lane].units) {
      ++outcome_.inline_runs;
      const TaskName name = *queued;
      lane.queue.erase(queued);
      process.stack.push_back(
          {.task = name, .children = {}, .to_spawn = object.depth > 0 ? static_cast<int>(pick(3)) : 0});
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

// One step of one process. False: it can do nothing.
bool Simulator::work(std::uint32_t id) {
  Process& process = processes_.at(id);
  if (!process.is_started) {
    if (pick(20) == 0) {
      processes_.erase(id);
      scheduler_->died(id, false, now_);
      return true;
    }
    process.is_started = true;
    return true;
  }
  if (!process.owner->notices.empty() && pick(2) == 0) {
    deliver(*process.owner);
    return true;
  }
  if (!process.stack.empty()) return run_frame(id, process);
  if (process.is_revoked) {
    process.is_revoked = false;
    process.lane.reset();
    scheduler_->left(id, now_);
    return true;
  }
  if (!process.lane || lanes_[*process.lane].queue.empty())
    return !process.owner->notices.empty() ? (deliver(*process.owner), true) : false;
  Lane& lane = lanes_[*process.lane];
  const TaskName name = lane.queue.front();
  lane.queue.pop_front();
  int to_spawn = 0;
  if (const Owner* const owner = owner_of(name.owner))
    if (owner->objects[name.index].depth > 0) to_spawn = static_cast<int>(pick(4));
  process.stack.push_back({.task = name, .children = {}, .to_spawn = to_spawn});
  return true;
}

void Simulator::deliver(Owner& owner) {
  const std::size_t at = pick(static_cast<std::uint32_t>(owner.notices.size()));
  const Index index = owner.notices[at];
  owner.notices.erase(owner.notices.begin() + static_cast<std::ptrdiff_t>(at));
  const Object& object = owner.objects[index];
  if (object.is_in_use && object.is_done) {
    owner.ledger.done(index, object.is_error);
    if (pick(4) == 0 && owner.objects[index].is_in_use && owner.objects[index].is_done)
      owner.ledger.done(index, owner.objects[index].is_error);
  }
}

void Simulator::kill(std::uint32_t id) {
  ++outcome_.kills;
  const auto found = processes_.find(id);
  Process dead = std::move(found->second);
  processes_.erase(found);
  for (Lane& lane : lanes_) std::erase_if(lane.queue, [&](const TaskName& name) { return name.owner == id; });
  scheduler_->died(id, dead.is_started, now_);
  // Killed after it had published its last result and before it had forgotten the task.
  if (dead.last_finished && pick(2) == 0) {
    Frame published;
    published.task = *dead.last_finished;
    dead.stack.push_back(published);
  }
  for (const Frame& frame : dead.stack) {
    Owner* const owner = owner_of(frame.task.owner);
    if (owner == nullptr) continue;
    Object& object = owner->objects[frame.task.index];
    if (object.generation != frame.task.generation || object.attempt != frame.task.attempt) continue;
    if (object.is_done) {  // published, and perhaps nobody was told; then the news of the death comes late
      if (object.is_in_use) owner->ledger.done(frame.task.index, object.is_error);
      owner->ledger.lost(frame.task.index, true);
      continue;
    }
    const bool had_begun = pick(4) != 0;
    if (had_begun) ++object.begun_losses;
    owner->ledger.lost(frame.task.index, had_begun);
  }
}

bool Simulator::driver_acts() {
  if (to_submit_ > 0 && pick(3) == 0) {
    --to_submit_;
    if (pick(6) == 0) {
      const Index value = new_object(driver_);
      driver_.objects[value].is_done = true;
      driver_.ledger.put(value);
      held_.push_back(value);
    } else {
      held_.push_back(submit(driver_, static_cast<int>(pick(4)), true));
    }
    return true;
  }
  if (!driver_.notices.empty() && pick(2) == 0) {
    deliver(driver_);
    return true;
  }
  if (held_.empty()) return false;
  const std::size_t at = pick(static_cast<std::uint32_t>(held_.size()));
  const Index index = held_[at];
  if (pick(8) == 0) {  // another process begins or ends to hold it
    Object& object = driver_.objects[index];
    if (!object.is_held) {
      driver_.nodes[index].is_shared = object.is_held = true;
      return true;
    }
  }
  if (pick(6) == 0) {
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(at));
    let_go(driver_, index);
    return true;
  }
  return false;
}

void Simulator::check() {
  if (!scheduler_->is_valid()) fail("the scheduler's sum of CPUs is wrong");
  sched::Units used = 0;
  for (const auto& [id, process] : processes_)
    if (process.lane && !process.is_blocked) used += lanes_[*process.lane].units;
  if (used != scheduler_->total() - scheduler_->free_units())
    fail("CPUs are counted that nobody uses, or used that nobody counts");
}

// For a failure's message.
std::string Simulator::state() const {
  std::string text = "free " + std::to_string(scheduler_->free_units());
  for (std::size_t i = 0; i < lanes_.size(); ++i)
    text += "; lane " + std::to_string(i) + " units " + std::to_string(lanes_[i].units) + " queued " +
            std::to_string(lanes_[i].queue.size()) + (lanes_[i].is_served ? " served" : "");
  for (const auto& [id, process] : processes_) {
    text += "; process " + std::to_string(id) + (process.is_started ? "" : " starting") +
            (process.is_revoked ? " revoked" : "") + (process.is_blocked ? " blocked" : "") + " lane " +
            (process.lane ? std::to_string(*process.lane) : "-") + " depth " + std::to_string(process.stack.size());
  }
  for (Index i = 0; i < driver_.objects.size(); ++i)
    if (driver_.objects[i].is_in_use && !driver_.objects[i].is_done)
      text += "; task " + std::to_string(i) + " phase " + std::to_string(static_cast<int>(driver_.nodes[i].phase)) +
              " unready " + std::to_string(driver_.nodes[i].unready) + " lane " +
              std::to_string(driver_.objects[i].lane);
  return text;
}

Outcome Simulator::run() {
  std::uint64_t idle_rounds = 0;
  while (outcome_.problem.empty() && outcome_.steps < kStepsMax) {
    ++outcome_.steps;
    now_ += pick(1'000'000);
    if (now_ >= scheduler_->next_deadline_ns()) scheduler_->tick(now_);
    bool any = driver_acts();
    if (!processes_.empty()) {
      auto at = processes_.begin();
      std::advance(at, pick(static_cast<std::uint32_t>(processes_.size())));
      const std::uint32_t id = at->first;
      if (kills_left_ > 0 && pick(60) == 0) {
        --kills_left_;
        kill(id);
        any = true;
      } else {
        any = work(id) || any;
      }
      note(id);
    }
    if (pick(16) == 0) {  // holds of other processes end
      for (Index i = 0; i < driver_.objects.size(); ++i) {
        if (!driver_.objects[i].is_held) continue;
        driver_.objects[i].is_held = false;
        driver_.ledger.released_elsewhere(i);
        break;
      }
    }
    check();
    idle_rounds = any ? 0 : idle_rounds + 1;
    if (idle_rounds < 400) continue;
    // Nothing moves: everything must be done.
    bool all_done = to_submit_ == 0 && driver_.notices.empty();
    for (const Object& object : driver_.objects) all_done = all_done && (!object.is_in_use || object.is_done);
    if (all_done) break;
    if (scheduler_->next_deadline_ns() != base::kNever) {
      now_ = std::max(now_, scheduler_->next_deadline_ns());
      scheduler_->tick(now_);
      if (idle_rounds < 4'000) continue;
    }
    if (to_submit_ == 0) fail("a wait never ends: " + state());
  }
  if (outcome_.steps >= kStepsMax) fail("it does not come to an end");
  if (!outcome_.problem.empty()) return outcome_;
  for (const Index index : std::exchange(held_, {})) let_go(driver_, index);
  for (Index i = 0; i < driver_.objects.size(); ++i) {
    if (!driver_.objects[i].is_held) continue;
    driver_.objects[i].is_held = false;
    driver_.ledger.released_elsewhere(i);
  }
  for (Index i = 0; i < driver_.objects.size(); ++i)
    if (driver_.objects[i].is_in_use) fail("an object was never freed");
  for (const Lane& lane : lanes_)
    if (!lane.queue.empty()) {
      for (const TaskName& name : lane.queue)
        if (name.owner == kDriver) fail("a task was left in its queue");
    }
  note(outcome_.steps);
  return outcome_;
}

}  // namespace rayx::sim
