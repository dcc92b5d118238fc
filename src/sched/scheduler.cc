#include "sched/scheduler.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "base/planted_bug.hpp"

namespace rayx::sched {

void Scheduler::add_class(LaneId lane, Units cpus) { lanes_[lane] = Lane{.units = cpus}; }

void Scheduler::add_actor(LaneId lane, Units cpus, base::TimeNs now_ns) {
  lanes_[lane] = Lane{.units = cpus, .is_actor = true, .is_wanting = true, .asked_at = ++asked_};
  decide(now_ns);
}

void Scheduler::remove_actor(LaneId lane, base::TimeNs now_ns) {
  const auto found = lanes_.find(lane);
  if (found == lanes_.end()) return;
  found->second.is_wanting = false;
  found->second.is_removed = true;
  const std::optional<WorkerId> worker = worker_of_actor(lane);
  if (worker) {
    if (RAYX_PLANTED_BUG(211)) free_ += found->second.units;
    effects_.dismiss(*worker);  // its CPUs come back when it is gone
  } else if (RAYX_PLANTED_BUG(213)) {
    found->second.is_wanting = true;
  } else {
    lanes_.erase(found);
  }
  decide(now_ns);
}

std::optional<WorkerId> Scheduler::worker_of_actor(LaneId lane) const {
  for (const auto& [id, worker] : workers_)
    if (worker.is_actor && worker.lane == lane) return id;
  return std::nullopt;
}

void Scheduler::demand(LaneId id, base::TimeNs now_ns) {
  const auto found = lanes_.find(id);
  if (found == lanes_.end() || found->second.is_actor) return;
  if (!found->second.is_wanting) {
    found->second.is_wanting = true;
    found->second.asked_at = ++asked_;
  }
  decide(now_ns);
}

void Scheduler::left(WorkerId id, base::TimeNs now_ns) {
  const auto found = workers_.find(id);
  if (found == workers_.end() || !found->second.is_revoked) return;
  Worker& worker = found->second;
  if (worker.lane && !RAYX_PLANTED_BUG(201)) free_ += lanes_.at(*worker.lane).units;
  worker.lane.reset();
  worker.is_revoked = false;
  worker.idle_since_ns = now_ns;
  decide(now_ns);
}

void Scheduler::stays(WorkerId id, base::TimeNs now_ns) {
  const auto found = workers_.find(id);
  if (found == workers_.end() || !found->second.is_asked_to_leave) return;
  found->second.is_asked_to_leave = false;
  wait_longer(found->second, now_ns);
  decide(now_ns);
}

void Scheduler::blocked(WorkerId id, base::TimeNs now_ns) {
  const auto found = workers_.find(id);
  if (found == workers_.end() || found->second.is_blocked || !found->second.lane) return;
  found->second.is_blocked = true;
  found->second.blocked_at = ++blocked_;
  const auto lane = lanes_.find(*found->second.lane);
  if (lane != lanes_.end()) {
    if (!RAYX_PLANTED_BUG(208)) free_ += lane->second.units;
    // Whoever submits has to ask from here on. First that, then the look at what is queued already.
    if (!lane->second.is_actor && active_in(lane->first) == 0 && !RAYX_PLANTED_BUG(216))
      effects_.set_served(lane->first, false);
  }
  decide(now_ns);
  look_for_deadlock(now_ns);
}

void Scheduler::resumed(WorkerId id, base::TimeNs now_ns) {
  const auto found = workers_.find(id);
  if (found == workers_.end() || !found->second.is_blocked) return;
  found->second.is_blocked = false;
  const auto lane = lanes_.find(*found->second.lane);
  if (lane != lanes_.end() && !RAYX_PLANTED_BUG(202)) free_ -= lane->second.units;
  decide(now_ns);
}

void Scheduler::died(WorkerId id, bool may_replace, base::TimeNs now_ns) {
  const auto found = workers_.find(id);
  if (found == workers_.end()) return;
  const Worker worker = found->second;
  workers_.erase(found);
  if (worker.lane) {
    const auto lane = lanes_.find(*worker.lane);
    if (lane != lanes_.end()) {
      if (!worker.is_blocked || RAYX_PLANTED_BUG(203)) free_ += lane->second.units;
      if (lane->second.is_removed) {
        lanes_.erase(lane);
      } else if (worker.is_actor) {
        if (may_replace && ++lane->second.starts < kStartsMax) {
          lane->second.is_wanting = !RAYX_PLANTED_BUG(212);
        } else if (may_replace && !RAYX_PLANTED_BUG(214)) {
          effects_.report_no_process(lane->first);
        }
      } else if (!RAYX_PLANTED_BUG(204)) {
        // Whoever submits asks again when it finds nobody; what is queued already is looked at here.
        if (!lane->second.is_wanting) lane->second.asked_at = ++asked_;
        lane->second.is_wanting = true;
      }
    }
  }
  decide(now_ns);
  look_for_deadlock(now_ns);
}

std::uint32_t Scheduler::active_in(LaneId id) const {
  std::uint32_t active = 0;
  for (const auto& [worker_id, worker] : workers_)
    active += worker.lane == id && !worker.is_blocked && !worker.is_revoked;
  return active;
}

Scheduler::Held Scheduler::held() const {
  Held held;
  for (const auto& [id, worker] : workers_) {
    const auto lane = worker.lane ? lanes_.find(*worker.lane) : lanes_.end();
    if (lane == lanes_.end()) continue;
    if (worker.is_actor && !worker.is_blocked) held.by_actors += lane->second.units;
    if (!worker.is_actor && worker.is_blocked) held.lent += lane->second.units;
  }
  return held;
}

// More executors than CPUs are never of use to a lane.
bool Scheduler::can_use_more(LaneId id, const Lane& lane) const {
  const Units full = lane.units == 0 ? std::max<Units>(1, total_ / kUnitsOfOneCpu) : total_ / lane.units;
  return static_cast<Units>(active_in(id)) < full;
}

std::optional<WorkerId> Scheduler::free_worker() {
  for (const auto& [id, worker] : workers_)
    if (!worker.lane && !worker.is_actor && (!worker.is_asked_to_leave || RAYX_PLANTED_BUG(219))) return id;
  std::uint32_t pullers = 0;
  for (const auto& [id, worker] : workers_) pullers += !worker.is_actor;
  if (pullers >= workers_max_ && !RAYX_PLANTED_BUG(205)) return std::nullopt;
  const std::optional<WorkerId> id = effects_.start_worker();
  if (id) workers_[*id] = Worker{};
  return id;
}

void Scheduler::give(WorkerId id, Worker& worker, LaneId lane_id, Lane& lane, base::TimeNs now_ns) {
  lane.asked_at = ++asked_;  // what it wants more comes after those who have asked meanwhile
  worker.lane = lane_id;
  worker.granted_ns = now_ns;
  worker.patience_ns = kSurplusIdle_ns;
  worker.is_actor = lane.is_actor;
  free_ -= lane.units;
  effects_.grant(id, lane_id);
}

void Scheduler::revoke(WorkerId id, Worker& worker) {
  worker.is_revoked = true;
  const auto lane = lanes_.find(*worker.lane);
  if (lane != lanes_.end() && !lane->second.is_wanting) effects_.set_served(lane->first, false);
  effects_.revoke(id);
}

// CPUs of leases that were taken back and not left yet: of all, or of those who sleep and so come at once.
Units Scheduler::returning(bool at_once) {
  Units units = 0;
  for (const auto& [id, worker] : workers_)
    if (worker.is_revoked && worker.lane && !worker.is_blocked && (!at_once || effects_.is_asleep(id)))
      units += lanes_.at(*worker.lane).units;
  return units;
}

// What a lane can have at most by waiting: actors keep their CPUs.
Units Scheduler::attainable() const {
  Units units = ceiling_;
  if (RAYX_PLANTED_BUG(217)) return units;
  for (const auto& [id, worker] : workers_)
    if (worker.is_actor && worker.lane && !worker.is_blocked) units -= lanes_.at(*worker.lane).units;
  return std::max(units, Units{0});
}

// Takes leases back until `needed` units come free, if that can be had. Of sleepers also where busy ones have been taken back that would
// do: their tasks may be long.
void Scheduler::take_back(Units needed, LaneId for_lane, base::TimeNs now_ns) {
  if (needed > attainable()) return;
  Units at_once = free_ + returning(true);
  if (at_once >= needed) return;
  Units coming = free_ + returning(false);
  struct Candidate {
    bool is_asleep;
    base::TimeNs granted_ns;
    WorkerId id;
    Units units;
  };
  std::vector<Candidate> candidates;
  for (const auto& [id, worker] : workers_) {
    if (!worker.lane || worker.is_actor || worker.is_blocked || worker.is_revoked || worker.lane == for_lane) continue;
    const Units units = lanes_.at(*worker.lane).units;
    if (units == 0) continue;
    const bool is_asleep = effects_.is_asleep(id) && !effects_.has_work(*worker.lane);
    if (!is_asleep && now_ns - worker.granted_ns < kQuantum_ns) {
      if (coming < needed) next_deadline_ns_ = std::min(next_deadline_ns_, worker.granted_ns + kQuantum_ns);
      continue;
    }
    candidates.push_back({is_asleep, worker.granted_ns, id, units});
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.is_asleep != b.is_asleep ? a.is_asleep : a.granted_ns < b.granted_ns;
  });
  for (const Candidate& candidate : candidates) {
    if (candidate.is_asleep && RAYX_PLANTED_BUG(222) && coming >= needed) return;
    if ((candidate.is_asleep ? at_once : coming) >= needed) return;
    at_once += candidate.is_asleep ? candidate.units : 0;
    coming += candidate.units;
    revoke(candidate.id, workers_.at(candidate.id));
  }
}

// The limit of workers is reached: one that serves another lane changes over, best one that has nothing to do there.
void Scheduler::take_back_worker(LaneId for_lane, base::TimeNs now_ns) {
  std::optional<WorkerId> busy;
  for (const auto& [id, worker] : workers_)
    if (worker.is_asked_to_leave) return;  // it answers at once, and makes room either way
  for (auto& [id, worker] : workers_) {
    if (worker.is_actor || worker.is_blocked || !worker.lane) continue;
    if (worker.is_revoked) return;  // it is coming
    if (worker.lane == for_lane) continue;
    if (effects_.is_asleep(id) && !effects_.has_work(*worker.lane)) return revoke(id, worker);
    if (now_ns - worker.granted_ns < kQuantum_ns) {
      next_deadline_ns_ = std::min(next_deadline_ns_, worker.granted_ns + kQuantum_ns);
    } else if (!busy || worker.granted_ns < workers_.at(*busy).granted_ns) {
      busy = id;
    }
  }
  if (busy) revoke(*busy, workers_.at(*busy));
}

// It is asked again, but ever more rarely: what it owns may be used for ever, and an idle node is to sleep.
void Scheduler::wait_longer(Worker& worker, base::TimeNs now_ns) {
  worker.idle_since_ns = now_ns;
  worker.patience_ns = std::min(2 * worker.patience_ns, kSurplusPatienceMax_ns);
}

// More workers than CPUs were needed while some waited. Those that have had no lease for some time are asked to leave.
void Scheduler::send_away_surplus(base::TimeNs now_ns) {
  std::int64_t surplus = -std::max<std::int64_t>(1, total_ / kUnitsOfOneCpu);
  for (const auto& [id, worker] : workers_)
    surplus += !worker.is_actor && (!worker.is_asked_to_leave || RAYX_PLANTED_BUG(220));
  while (surplus > 0) {
    std::optional<WorkerId> first;
    const auto due_ns = [](const Worker& worker) { return worker.idle_since_ns + worker.patience_ns; };
    for (const auto& [id, worker] : workers_) {
      if (worker.is_actor || worker.lane || worker.is_asked_to_leave) continue;
      if (!first || due_ns(worker) < due_ns(workers_.at(*first))) first = id;
    }
    if (!first) return;
    Worker& worker = workers_.at(*first);
    if (due_ns(worker) > now_ns) {
      next_deadline_ns_ = std::min(next_deadline_ns_, due_ns(worker));
      return;
    }
    if (effects_.ask_to_leave(*first)) {
      worker.is_asked_to_leave = true;
      --surplus;
    } else {
      wait_longer(worker, now_ns);
    }
  }
}

// One executor more for the lane, if it can be had. False: it has to wait.
bool Scheduler::serve(LaneId id, Lane& lane, base::TimeNs now_ns) {
  if (free_ < lane.units && !RAYX_PLANTED_BUG(209)) {
    take_back(lane.units, id, now_ns);
    return false;
  }
  if (lane.is_actor) {
    const std::optional<WorkerId> worker = effects_.start_worker();
    if (!worker) {
      without_workers_until_ns_ = now_ns + kQuantum_ns;
      return false;
    }
    give(*worker, workers_[*worker], id, lane, now_ns);
    return true;
  }
  const std::optional<WorkerId> worker = free_worker();
  if (!worker) {
    without_workers_until_ns_ = now_ns + kQuantum_ns;
    take_back_worker(id, now_ns);
    return false;
  }
  give(*worker, workers_.at(*worker), id, lane, now_ns);
  return true;
}

void Scheduler::decide(base::TimeNs now_ns) {
  next_deadline_ns_ = base::kNever;
  // What is used beyond the CPUs of the node is repaid.
  if (free_ < 0) take_back(0, UINT32_MAX, now_ns);

  // A lane that was not asking may still have work that nobody is awake for: after a death, a block, a lease that went.
  for (auto& [id, lane] : lanes_) {
    if (lane.is_actor || lane.is_wanting || !can_use_more(id, lane)) continue;
    if (effects_.has_work(id) && !RAYX_PLANTED_BUG(206)) {
      lane.is_wanting = true;
      lane.asked_at = ++asked_;
    }
  }
  // Who has nobody comes before who wants more; then in the order of asking.
  struct Wanting {
    bool has_executor;
    std::uint64_t asked_at;
    LaneId id;
    auto operator<=>(const Wanting&) const = default;
  };
  std::vector<Wanting> wanting;
  for (const auto& [id, lane] : lanes_)
    if (lane.is_wanting) wanting.push_back({active_in(id) > 0, lane.asked_at, id});
  std::sort(wanting.begin(), wanting.end());

  bool someone_waits = false;
  // For CPUs that can come free: not for those that actors keep, and not for a process.
  const auto waits_for_cpus = [&](const Lane& lane) { return free_ < lane.units && lane.units <= attainable(); };
  for (const auto& [has_executor, asked_at, id] : wanting) {
    Lane& lane = lanes_.at(id);
    if (lane.is_actor) {
      if (someone_waits && lane.units > 0) continue;
      if (serve(id, lane, now_ns)) {
        lane.is_wanting = false;
      } else if (waits_for_cpus(lane)) {
        someone_waits = true;
      } else if (free_ >= lane.units && !RAYX_PLANTED_BUG(218)) {  // no process could be had; nobody says when one can
        next_deadline_ns_ = std::min(next_deadline_ns_, now_ns + kQuantum_ns);
      }
      continue;
    }
    bool got_all = false;
    while (!got_all) {
      if (!can_use_more(id, lane)) {
        got_all = true;
      } else if ((someone_waits && lane.units > 0 && !RAYX_PLANTED_BUG(207)) || !serve(id, lane, now_ns)) {
        break;
      }
    }
    if (got_all || !effects_.has_work(id)) {
      lane.is_wanting = false;
      // Whatever frees CPUs later comes by here again; who submits needs to ask only where nobody is, or where other jobs may let
      // go of CPUs when they hear that they are wanted.
      const bool may_grow = !got_all && limit_ < total_ && free_ < lane.units;
      const bool is_served = active_in(id) > 0 && (!may_grow || RAYX_PLANTED_BUG(221));
      effects_.set_served(id, is_served);
      if (!is_served && effects_.has_work(id)) {  // queued while it was said that nobody need ask
        lane.is_wanting = true;
        next_deadline_ns_ = now_ns;
      }
    } else if (active_in(id) == 0 || free_ < lane.units) {
      // Only a lane without any executor holds back the others.
      if (active_in(id) == 0 && waits_for_cpus(lane)) someone_waits = true;
      if (lane.units <= attainable()) next_deadline_ns_ = std::min(next_deadline_ns_, now_ns + kQuantum_ns);
    }
  }
  send_away_surplus(now_ns);
}

void Scheduler::set_share(Units limit, Units ceiling, base::TimeNs now_ns) {
  if (limit == limit_ && ceiling == ceiling_ && free_ >= 0) return;
  free_ += limit - limit_;
  limit_ = limit;
  ceiling_ = ceiling;
  decide(now_ns);
}

Wish Scheduler::wish(base::TimeNs now_ns) {
  Wish wish;
  wish.used = limit_ - free_;
  std::map<LaneId, std::uint64_t> waking;  // sleepers who are about to find that their lane has work
  for (const auto& [id, worker] : workers_) {
    if (!worker.lane || worker.is_blocked) continue;
    const Units units = lanes_.at(*worker.lane).units;
    if (worker.is_actor) {
      wish.by_actors += units;
      wish.wanted += units;
      continue;
    }
    if (units == 0) continue;
    if (effects_.is_asleep(id)) {
      if (worker.is_revoked || !effects_.has_work(*worker.lane)) {
        wish.idle += units;
        continue;
      }
      ++waking[*worker.lane];
    }
    wish.wanted += units;
    wish.step = std::max(wish.step, units);
  }
  // CPUs that it could not use for want of processes are for others.
  if (now_ns < without_workers_until_ns_) return wish;
  const Units attainable_now = attainable();
  for (const auto& [id, lane] : lanes_) {
    if (lane.units == 0 || lane.units > attainable_now) continue;
    std::uint64_t more = 0;
    if (lane.is_actor) {
      more = lane.is_wanting ? 1 : 0;
    } else {
      const std::uint64_t count = effects_.count_work(id);
      const auto found = waking.find(id);
      const std::uint64_t taken = found == waking.end() ? 0 : found->second;
      const auto full = static_cast<std::uint64_t>(total_ / lane.units);
      more = std::min(count - std::min(count, taken), full - std::min<std::uint64_t>(full, active_in(id)));
    }
    if (more == 0) continue;
    wish.wanted += static_cast<Units>(more) * lane.units;
    wish.step = std::max(wish.step, lane.units);
    wish.least = wish.least == 0 ? lane.units : std::min(wish.least, lane.units);
  }
  return wish;
}

// Whether an actor does something that a worker may wait for. It tells nobody when it is done.
bool Scheduler::is_an_actor_busy() {
  for (const auto& [id, worker] : workers_)
    if (worker.is_actor && !worker.is_blocked && !effects_.is_asleep(id)) return true;
  for (const auto& [id, lane] : lanes_)
    if (lane.is_actor && lane.is_wanting && lane.units <= free_) return true;  // its process is about to be started
  return false;
}

// Every worker waits, no process may be added and no actor is at work: the wait that began last is in vain.
void Scheduler::look_for_deadlock(base::TimeNs now_ns) {
  if (RAYX_PLANTED_BUG(210)) return;
  std::uint32_t pullers = 0;
  std::optional<WorkerId> newest;
  for (const auto& [id, worker] : workers_) {
    if (worker.is_actor) continue;
    ++pullers;
    if (!worker.is_blocked) return;
    if (!newest || workers_.at(*newest).blocked_at < worker.blocked_at) newest = id;
  }
  if (pullers < workers_max_ || !newest) return;
  const bool is_work_left = std::any_of(lanes_.begin(), lanes_.end(), [&](const auto& lane) {
    return !lane.second.is_actor && effects_.has_work(lane.first);
  });
  if (!is_work_left) return;
  if (is_an_actor_busy() && !RAYX_PLANTED_BUG(215)) {
    next_deadline_ns_ = std::min(next_deadline_ns_, now_ns + kQuantum_ns);
    return;
  }
  effects_.report_worker_limit(*newest);
}

bool Scheduler::is_valid() const {
  Units used = 0;
  for (const auto& [id, worker] : workers_) {
    if (!worker.lane) {
      if (worker.is_blocked || worker.is_revoked) return false;
      continue;
    }
    const auto lane = lanes_.find(*worker.lane);
    if (lane != lanes_.end() && !worker.is_blocked) used += lane->second.units;
  }
  return used + free_ == limit_;
}

}  // namespace rayx::sched
