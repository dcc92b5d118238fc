#include "sched/shares.hpp"

#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "base/planted_bug.hpp"

namespace rayx::sched {
namespace {

constexpr JobNumber kNobody = UINT32_MAX;
constexpr std::int64_t kOwedDelay_quanta = 8;  // over which what is owed is made good
constexpr Units kStepsMax = 256;  // of one division, so that tasks of a hundredth of a CPU do not make it long

}  // namespace

void Shares::join(JobNumber job, base::TimeNs now_ns) {
  pass_time(now_ns);
  const bool is_new = jobs_.try_emplace(job).second;
  RAYX_CHECK(is_new, "a job has joined twice", job);
  jobs_.at(job).idle_since_ns = now_ns;
  divide(now_ns);
  call_others(job);
}

void Shares::leave(JobNumber job, base::TimeNs now_ns) {
  pass_time(now_ns);
  jobs_.erase(job);
  std::erase(called_, job);
  divide(now_ns);
  call_others(kNobody);
}

std::vector<JobNumber> Shares::take_called() { return std::exchange(called_, {}); }

Share Shares::report(JobNumber job, const Wish& wish, base::TimeNs now_ns) {
  pass_time(now_ns);
  Job& it = jobs_.at(job);
  it.wish = wish;
  it.is_called = false;
  divide(now_ns);
  Units free = total_;
  Units of_others = 0;  // their actors
  for (const auto& [id, other] : jobs_) {
    if (id == job) continue;
    free -= RAYX_PLANTED_BUG(231) ? other.limit : other.lasting();
    of_others += other.wish.by_actors;
  }
  const Units most = RAYX_PLANTED_BUG(236) ? total_ : std::max(free, Units{0});
  Units limit = std::min(it.given, most);
  // Too little to begin anything is better kept for somebody else.
  if (limit - wish.used < wish.least) limit = std::min(limit, wish.used);
  limit = std::max(limit, wish.by_actors);
  if (limit > it.limit && wish.wanted > it.limit && !is_passed_over_) it.raised_ns = now_ns;
  it.limit = limit;
  it.ceiling = total_ - of_others;
  it.was_alone = jobs_.size() == 1;
  it.knows_of_hunger = is_contended_;
  Share share;
  share.limit = limit;
  share.ceiling = it.ceiling;
  share.prospect = std::max(level(job), wish.by_actors);
  share.is_alone = it.was_alone;
  if (is_contended_ && (it.is_busy() || wish.used > wish.by_actors)) {
    share.look_again_ns = now_ns + kQuantum_ns;
    if (keep_until_ns_ > now_ns) share.look_again_ns = std::min(share.look_again_ns, keep_until_ns_);
  }
  call_others(job);
  return share;
}

// What is owed to whom, over the time that has gone since the division before.
void Shares::pass_time(base::TimeNs now_ns) {
  const base::TimeNs gone_ns = std::clamp(now_ns - now_ns_, base::TimeNs{0}, kOwedMax_ns);
  now_ns_ = std::max(now_ns_, now_ns);
  const std::int64_t most = total_ * kOwedMax_ns;
  for (auto& [id, job] : jobs_) {
    if (is_contended_ && !RAYX_PLANTED_BUG(232)) {
      job.owed += (job.fair - (job.wish.used - job.wish.idle)) * gone_ns;
      job.owed = std::clamp(job.owed, -most, most);
    }
    if (job.is_busy()) {
      job.idle_since_ns = now_ns;
    } else if (now_ns - job.idle_since_ns >= kOwedForgotten_ns) {
      job.owed = 0;
    }
  }
}

Units Shares::held_by_actors() const {
  Units units = 0;
  for (const auto& [id, job] : jobs_) units += job.wish.by_actors;
  return units;
}

// So much each has that wants so much: the others have what they want, and what their actors hold is theirs. `greedy` wants everything.
Units Shares::level(JobNumber greedy) const {
  const auto fits = [&](Units level) {
    Units units = 0;
    for (const auto& [id, job] : jobs_)
      units += std::max(job.wish.by_actors, id == greedy ? level : std::min(job.wish.wanted, level));
    return units <= total_;
  };
  Units low = 0;
  Units high = total_;
  while (low < high) {
    const Units middle = low + (high - low + 1) / 2;
    if (fits(middle)) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

Units Shares::Job::step(Units total) const {
  const Units one = wish.step > 0 ? wish.step : kUnitsOfOneCpu;
  const Units least = (total + kStepsMax - 1) / kStepsMax;
  return std::min(total, (std::max(one, least) + one - 1) / one * one);
}

// Who was given more a moment ago, and uses it, is left it until a quantum is over.
Units Shares::keep(Units left, base::TimeNs now_ns) {
  keep_until_ns_ = base::kNever;
  for (auto& [id, job] : jobs_) {
    if (now_ns - job.raised_ns >= kQuantum_ns || RAYX_PLANTED_BUG(233)) continue;
    const Units kept = std::clamp(std::min(job.limit, job.wish.wanted) - job.given, Units{0}, left);
    if (kept == 0) continue;
    job.given += kept;
    left -= kept;
    keep_until_ns_ = std::min(keep_until_ns_, job.raised_ns + kQuantum_ns);
  }
  return left;
}

// Step by step to whom most is owed; of equals to who has it now.
Units Shares::fill(Units left, bool beyond_wishes) {
  std::vector<Job*> open;
  for (auto& [id, job] : jobs_)
    if (beyond_wishes ? job.is_busy() && !job.is_hungry() : job.is_hungry()) open.push_back(&job);
  const auto key = [](const Job& job) { return job.owed / kOwedDelay_quanta - job.given * kQuantum_ns; };
  const auto comes_before = [&](const Job* a, const Job* b) {
    if (key(*a) != key(*b)) return key(*a) > key(*b);
    return a->limit - a->given > b->limit - b->given;
  };
  while (left > 0 && !open.empty()) {
    const auto best = std::min_element(open.begin(), open.end(), comes_before);
    Job& job = **best;
    const Units most = beyond_wishes ? total_ : job.wish.wanted;
    Units step = std::min(job.step(total_), most - job.given);
    if (job.given < job.wish.used)
      step = std::min(step, job.wish.used - job.given);  // beside what it uses, not across it
    if (step <= 0 || step > left) {
      if (step > left && keep_until_ns_ != base::kNever) is_passed_over_ = true;
      open.erase(best);
      continue;
    }
    job.given += step;
    left -= step;
    if (job.given >= most) open.erase(best);
  }
  return left;
}

// What is too little for the steps of all may be enough for something smaller, if that is not held back for want of a step.
Units Shares::give_rest(Units left) {
  for (auto& [id, job] : jobs_) {
    if (!job.is_hungry() || job.wish.least > left || job.given < job.wish.step) continue;
    const Units more = std::min(left, job.wish.wanted - job.given);
    job.given += more;
    left -= more;
  }
  return left;
}

void Shares::divide(base::TimeNs now_ns) {
  is_passed_over_ = false;
  const Units fair_level = level(kNobody);
  for (auto& [id, job] : jobs_) {
    job.given = job.wish.by_actors;
    job.fair = std::max(job.wish.by_actors, std::min(job.wish.wanted, fair_level));
  }
  Units left = std::max(Units{0}, total_ - held_by_actors());
  left = give_rest(fill(keep(left, now_ns), false));
  // What nobody wants stays with whom it is, so that he need not ask when he wants it; but not with those who do nothing.
  const bool is_any_busy =
      std::any_of(jobs_.begin(), jobs_.end(), [](const auto& job) { return job.second.is_busy(); });
  bool is_any_hungry = false;
  int active = 0;
  for (auto& [id, job] : jobs_) {
    is_any_hungry = is_any_hungry || job.is_hungry();
    active += job.is_busy() || job.wish.used > job.wish.by_actors;
    if (is_any_busy && !job.is_busy()) continue;
    const Units stays = std::clamp(job.limit - job.given, Units{0}, left);
    job.given += stays;
    left -= stays;
  }
  left = fill(left, true);
  if (jobs_.size() == 1) jobs_.begin()->second.given += left;
  is_contended_ = is_any_hungry && active > 1;
}

void Shares::call_others(JobNumber reporter) {
  Units free = total_;
  for (const auto& [id, job] : jobs_) free -= job.lasting();
  const Units actors = held_by_actors();
  for (auto& [id, job] : jobs_) {
    if (id == reporter || job.is_called) continue;
    const bool is_to_lose = job.given < job.limit && !RAYX_PLANTED_BUG(235);
    const bool is_to_gain = job.given > job.limit && free > 0 && job.wish.wanted > job.limit;
    const bool is_to_look =
        is_contended_ && !job.knows_of_hunger && job.wish.used > job.wish.by_actors && !RAYX_PLANTED_BUG(234);
    const bool has_other_ceiling = job.ceiling != total_ - (actors - job.wish.by_actors);
    if (!is_to_lose && !is_to_gain && !is_to_look && !has_other_ceiling && job.was_alone == (jobs_.size() == 1))
      continue;
    job.is_called = true;
    called_.push_back(id);
  }
}

bool Shares::is_valid() const {
  Units limits = 0;
  Units actors = 0;
  for (const auto& [id, job] : jobs_) {
    limits += job.limit;
    actors += job.wish.by_actors;
  }
  return limits <= std::max(total_, actors);
}

}  // namespace rayx::sched
