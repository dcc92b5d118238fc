// What the program does, what happens to it, and what must hold.
#include "simulator.hpp"

#include <algorithm>

namespace rayx::sim {

using owner::Phase;

namespace {

constexpr std::uint64_t kStepsMax = 200'000;
constexpr std::uint64_t kIdleRounds = 400;
constexpr sched::Units kOne = sched::kUnitsOfOneCpu;

}  // namespace

Simulator::Simulator(std::uint64_t seed) : random_(seed), shares_random_(seed) {
  const sched::Units cpus = 1 + pick(2);
  workers_max_ = pick(4) == 0 ? 2 + pick(3) : 64;
  sched::Effects& effects = *this;
  scheduler_ = std::make_unique<sched::Scheduler>(cpus * kOne, workers_max_, effects);
  ceiling_ = cpus * kOne;
  const auto add_class = [&](sched::Units units) {
    scheduler_->add_class(static_cast<LaneId>(lanes_.size()), units);
    lanes_.push_back(
        {.units = units, .is_actor = false, .is_served = false, .is_ended = false, .grants_to_others = 0, .queue = {}});
  };
  add_class(kOne);
  if (pick(2) == 0) add_class(pick(4) == 0 ? 0 : pick(3) == 0 ? kOne / 2 : cpus * kOne);
  classes_ = lanes_.size();
  to_submit_ = 5 + static_cast<int>(pick(pick(4) == 0 ? 200 : 40));
  kills_left_ = static_cast<int>(pick(6));
  if (pick(3) != 0) {
    to_create_ = 1 + static_cast<int>(pick(4));
    to_call_ = static_cast<int>(pick(pick(4) == 0 ? 100 : 30));
    actors_left_ = static_cast<int>(pick(4));
    actor_kills_left_ = static_cast<int>(pick(3));
    keeps_actors_ = pick(2) == 0;
    starts_fail_often_ = pick(8) == 0;
  }
  shares_node_ = seed % 4 == 0;
  // There is room for all, but the dead take some until they are buried.
  if (workers_max_ < 64 && pick(4) != 0) {
    slots_max_ = workers_max_ + static_cast<std::size_t>(to_create_ + actors_left_);
    rounds_to_burial_ = 1'000;
  }
}

Simulator::~Simulator() = default;

// Other jobs of the node want more or less of it.
void Simulator::change_share() {
  ++outcome_.shares;
  const sched::Units total = scheduler_->total();
  const auto some_units = [&] { return std::min(total, static_cast<sched::Units>(shares_random_() % 4) * kOne / 2); };
  ceiling_ = shares_random_() % 3 == 0 ? some_units() : total;
  scheduler_->set_share(std::min(ceiling_, shares_random_() % 2 == 0 ? some_units() : total), ceiling_, now_);
}

// ---- The program

// What is done may always be needed. What is not: an actor that holds CPUs while its call waits for a task that wants them would
// wait for ever, and so would a constructor for a call that waits for the actor. That would be the program's fault.
bool Simulator::never(const Object&) { return false; }
bool Simulator::plain(const Object& object) { return object.is_plain; }
bool Simulator::always(const Object&) { return true; }

std::vector<Simulator::Index> Simulator::some_held(std::uint32_t max, bool (*may)(const Object&)) {
  std::vector<Index> some;
  if (held_.empty()) return some;
  for (std::uint32_t n = pick(max + 1); n > 0; --n) {
    const Index one = held_[pick(held_.size())];
    if (driver_.objects[one].is_done || may(driver_.objects[one])) some.push_back(one);
  }
  return some;
}

void Simulator::driver_creates_actor() {
  ++outcome_.actors;
  const auto lane = static_cast<LaneId>(lanes_.size());
  // Those with CPUs are called by the driver alone: a task that keeps the handle of one while it waits for the CPUs of another
  // would wait for ever, and that would be the program's fault.
  const sched::Units units = pick(2) != 0 ? 0 : pick(3) != 0 ? kOne : scheduler_->total();
  lanes_.push_back(
      {.units = units, .is_actor = true, .is_served = true, .is_ended = false, .grants_to_others = 0, .queue = {}});
  actors_[lane];
  scheduler_->add_actor(lane, units, now_);
  handles_.push_back(driver_.create_actor(lane, some_held(1, units > 0 ? never : plain)));
}

// Something about actors. False: nothing to do, or not this time.
bool Simulator::driver_handles() {
  if (to_create_ > 0 && pick(8) == 0) {
    --to_create_;
    driver_creates_actor();
    return true;
  }
  if (imports_left_ > 0 && pick(20) == 0) {  // a handle comes back from somebody who has it
    std::vector<LaneId> lanes;
    for (const auto& [lane, info] : actors_)
      if (lanes_[lane].units == 0 && !info.is_released && owner_of(info.creator) != nullptr &&
          std::any_of(info.holders.begin(), info.holders.end(), [&](ProcessId p) { return processes_.contains(p); }))
        lanes.push_back(lane);
    if (!lanes.empty()) {
      --imports_left_;
      if (const auto handle = driver_.import(lanes[pick(lanes.size())])) handles_.push_back(*handle);
      return true;
    }
  }
  if (handles_.empty()) return false;
  const std::size_t at = pick(handles_.size());
  const Index handle = handles_[at];
  const LaneId lane = driver_.objects[handle].lane;
  if (to_call_ > 0 && pick(4) == 0) {
    --to_call_;
    std::vector<Index> needs = some_held(2, lanes_[lane].units > 0 ? never : always);
    std::vector<Index> passes;
    const std::vector<LaneId> lanes = callable(driver_, lane);
    if (!lanes.empty() && pick(3) == 0) passes.push_back(driver_.uses.at(lanes[pick(lanes.size())]).handle);
    held_.push_back(driver_.call(lane, pick(3), static_cast<int>(pick(3)), 0, std::move(needs), std::move(passes)));
    return true;
  }
  if (pick(60) == 0 && !(keeps_actors_ && lanes_[lane].units > 0)) {
    handles_.erase(handles_.begin() + static_cast<std::ptrdiff_t>(at));
    driver_.drop(handle);
    return true;
  }
  if (actor_kills_left_ > 0 && pick(40) == 0) {
    --actor_kills_left_;
    kill_actor(lane);
    return true;
  }
  return false;
}

bool Simulator::driver_acts() {
  if (to_submit_ > 0 && pick(3) == 0) {
    --to_submit_;
    if (pick(6) == 0) {
      const Index value = driver_.new_object(Kind::kValue);
      driver_.objects[value].is_done = true;
      driver_.ledger.put(value);
      held_.push_back(value);
      return true;
    }
    std::vector<Index> needs = some_held(3, always);
    std::vector<Index> passes;
    const std::vector<LaneId> lanes = callable(driver_, 0);
    if (!lanes.empty() && pick(2) == 0) passes.push_back(driver_.uses.at(lanes[pick(lanes.size())]).handle);
    const std::int32_t retries = pick(5) == 0 ? 0 : static_cast<std::int32_t>(pick(4)) - 1;
    held_.push_back(
        driver_.submit(pick(classes_), static_cast<int>(pick(4)), 0, retries, std::move(needs), std::move(passes)));
    return true;
  }
  if (driver_handles()) return true;
  if (driver_.has_news() && pick(2) == 0) return deliver(driver_);
  if (held_.empty()) return false;
  const std::size_t at = pick(held_.size());
  const Index index = held_[at];
  if (pick(8) == 0) {  // another process begins to hold it
    Object& object = driver_.objects[index];
    if (!object.is_held) {
      driver_.nodes[index].is_shared = object.is_held = true;
      return true;
    }
  }
  if (pick(6) == 0) {
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(at));
    driver_.drop(index);
    return true;
  }
  return false;
}

// One piece of news reaches a process. The kinds come in any order, but for what a client does under one lock.
bool Simulator::deliver(Owner& owner) {
  switch (pick(8)) {
    case 0:
    case 1:
    case 2:
    case 3: {
      if (owner.notices.empty()) break;
      const std::size_t at = pick(owner.notices.size());
      const Index index = owner.notices[at];
      owner.notices.erase(owner.notices.begin() + static_cast<std::ptrdiff_t>(at));
      owner.on_completed(index);
      if (pick(4) == 0) owner.on_completed(index);
      break;
    }
    case 4:
      for (const auto& dead : std::exchange(owner.deaths, {})) {
        owner.take_back_from(*dead);
        dead->unaware.erase(owner.me);
      }
      owner.look_at_actor_ends();
      break;
    case 5: owner.look_at_actor_ends(); break;
    default: owner.look_at_foreign();
  }
  return true;
}

// ---- What must hold

void Simulator::check() {
  if (!scheduler_->is_valid()) fail("the scheduler's sum of CPUs is wrong");
  sched::Units used = 0;
  for (const auto& [id, process] : processes_)
    if (process.lane && !process.is_blocked) used += lanes_[*process.lane].units;
  if (used != scheduler_->limit() - scheduler_->free_units())
    fail("CPUs are counted that nobody uses, or used that nobody counts");
}

// For a lane that has nobody and needs more than other jobs leave at present, CPUs are kept free until they leave it.
bool Simulator::is_waiting_for_other_jobs() const {
  const sched::Units actors = units_of_actors();
  for (LaneId id = 0; id < lanes_.size(); ++id) {
    const Lane& lane = lanes_[id];
    const bool wants = lane.is_actor ? !lane.is_ended && !actors_.at(id).is_released : !lane.queue.empty();
    if (wants && lane.units > scheduler_->limit() - actors && lane.units <= ceiling_ - actors) return true;
  }
  return false;
}

// Nothing moves: who still waits must have a reason.
void Simulator::check_idle() {
  for (LaneId id = 0; id < lanes_.size(); ++id) {
    const Lane& lane = lanes_[id];
    const bool has_process =
        std::any_of(processes_.begin(), processes_.end(), [&](const auto& p) { return p.second.lane == id; });
    if (has_process || lane.is_ended || scheduler_->free_units() < lane.units) continue;
    if (lane.is_actor ? !actors_.at(id).is_released : !lane.queue.empty())
      return fail("CPUs are free, and lane " + std::to_string(id) + " has no process: " + state());
  }
}

bool Simulator::all_done() {
  const auto is_quiet = [](const Owner& owner) {
    return !owner.has_news() && std::all_of(owner.objects.begin(), owner.objects.end(), [](const Object& object) {
      return !object.is_in_use || object.kind == Kind::kHandle || object.is_done;
    });
  };
  return is_quiet(driver_) && std::all_of(processes_.begin(), processes_.end(), [&](const auto& p) {
           return p.second.stack.empty() && is_quiet(*p.second.owner);
         });
}

void Simulator::check_end() {
  const auto look = [&](const Owner& owner, const char* whose) {
    for (const Object& object : owner.objects)
      if (object.is_in_use)
        return fail(std::string(whose) +
                    (object.kind == Kind::kHandle  ? " handle was never let go: "
                     : object.kind == Kind::kActor ? " actor was never freed: "
                                                   : " object was never freed: ") +
                    state());
    if (!owner.uses.empty()) fail("an actor was never forgotten");
  };
  look(driver_, "the driver's");
  for (const auto& [id, process] : processes_) {
    look(*process.owner, "a worker's");
    if (process.is_actor) fail("an actor's process was never ended: " + state());
  }
  for (const auto& [lane, info] : actors_) {
    if (!info.is_released) fail("an actor was never released: " + state());
    if (!info.holders.empty()) fail("a hold was never released");
  }
  for (const Lane& lane : lanes_)
    if (!lane.queue.empty()) fail("a task was left in its queue");
}

// For a failure's message.
std::string Simulator::state() const {
  std::string text = "free " + std::to_string(scheduler_->free_units());
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    if (lanes_[i].is_actor && actors_.at(static_cast<LaneId>(i)).is_released && lanes_[i].queue.empty()) continue;
    text += "; lane " + std::to_string(i) + " units " + std::to_string(lanes_[i].units) + " queued " +
            std::to_string(lanes_[i].queue.size()) + (lanes_[i].is_ended ? " ended" : "");
    if (lanes_[i].is_actor) {
      const ActorInfo& info = actors_.at(static_cast<LaneId>(i));
      text += " of " + std::to_string(info.creator) + (info.is_done ? " made" : "") + (info.is_error ? " failed" : "") +
              " holders " + std::to_string(info.holders.size());
    } else if (lanes_[i].is_served) {
      text += " served";
    }
  }
  const auto add = [&](const Owner& owner) {
    for (Index i = 0; i < owner.objects.size(); ++i)
      if (owner.objects[i].is_in_use &&
          (!owner.objects[i].is_done || owner.objects[i].kind == Kind::kActor || owner.nodes[i].unready != 0))
        text += "; " + std::to_string(owner.me) + "'s " + std::to_string(i) + " kind " +
                std::to_string(static_cast<int>(owner.objects[i].kind)) + " phase " +
                std::to_string(static_cast<int>(owner.nodes[i].phase)) + " unready " +
                std::to_string(owner.nodes[i].unready) + " lane " + std::to_string(owner.objects[i].lane) +
                " references " + std::to_string(owner.objects[i].references) +
                (owner.objects[i].is_held_back ? " held back" : "");
  };
  add(driver_);
  for (const auto& [id, process] : processes_) {
    text += "; process " + std::to_string(id) + (process.is_started ? "" : " starting") +
            (process.is_revoked ? " revoked" : "") + (process.is_blocked ? " blocked" : "") +
            (process.is_dismissed ? " dismissed" : "") + (process.is_asked_to_leave ? " asked to leave" : "") +
            " lane " + (process.lane ? std::to_string(*process.lane) : "-") + " depth " +
            std::to_string(process.stack.size());
    add(*process.owner);
  }
  return text;
}

// ---- The run

Outcome Simulator::run() {
  std::uint64_t idle_rounds = 0;
  bool is_ending = false;
  while (outcome_.problem.empty() && outcome_.steps < kStepsMax) {
    ++outcome_.steps;
    now_ += pick(200) == 0 ? sched::kSurplusIdle_ns : pick(1'000'000);
    if (now_ >= scheduler_->next_deadline_ns()) scheduler_->tick(now_);
    bool any = is_ending ? driver_.has_news() && deliver(driver_) : driver_acts();
    if (!processes_.empty()) {
      auto at = processes_.begin();
      std::advance(at, pick(processes_.size()));
      const ProcessId id = at->first;
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
    if (pick(rounds_to_burial_) == 0) bury();
    if (shares_node_ && shares_random_() % 40 == 0) change_share();
    check();
    idle_rounds = any ? 0 : idle_rounds + 1;
    if (idle_rounds < kIdleRounds) continue;
    // Nothing moves: neither by chance, nor because a deadline or a burial is still to come.
    bool is_waiting = scheduler_->next_deadline_ns() != base::kNever;
    if (is_waiting) {
      now_ = std::max(now_, scheduler_->next_deadline_ns());
      scheduler_->tick(now_);
    }
    std::vector<ProcessId> ids;
    for (const auto& [id, process] : processes_) ids.push_back(id);
    for (const ProcessId id : ids) {
      if (!processes_.contains(id)) continue;
      any = (processes_.at(id).owner->has_news() ? deliver(*processes_.at(id).owner) : work(id)) || any;
    }
    if (any) {
      idle_rounds = 0;
      continue;
    }
    is_waiting = is_waiting && idle_rounds < 10 * kIdleRounds;
    if (is_waiting || driver_.has_news() || !dead_.empty()) continue;
    if (!is_waiting_for_other_jobs()) check_idle();
    if (scheduler_->limit() < scheduler_->total()) {
      ceiling_ = scheduler_->total();
      scheduler_->set_share(ceiling_, ceiling_, now_);
      idle_rounds = 0;
      continue;
    }
    if (is_ending) break;
    if (to_submit_ > 0) continue;
    if (!all_done()) {
      if (handles_.empty()) {
        fail("a wait never ends: " + state());
        break;
      }
      // Perhaps something waits for the CPUs of an actor that the program keeps.
      driver_.drop(handles_.back());
      handles_.pop_back();
      idle_rounds = 0;
      continue;
    }
    is_ending = true;
    idle_rounds = 0;
    for (const Index handle : std::exchange(handles_, {})) driver_.drop(handle);
    for (const Index index : std::exchange(held_, {})) driver_.drop(index);
    for (Index i = 0; i < driver_.objects.size(); ++i) {
      if (!driver_.objects[i].is_held) continue;
      driver_.objects[i].is_held = false;
      driver_.ledger.released_elsewhere(i);
    }
  }
  if (outcome_.steps >= kStepsMax) fail("it does not come to an end: " + state());
  if (outcome_.problem.empty()) check_end();
  note(outcome_.steps);
  return outcome_;
}

}  // namespace rayx::sim
