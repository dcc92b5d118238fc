// How the CPUs of a node are divided among its jobs, each of which has a Scheduler of its own. A decider: no threads, no clock, no I/O;
// time is handed in.
//
// A job says what it uses and what it could use (Wish) and hears how much it may use from now on (Share). CPUs go to those who want them, by
// max-min fairness: a job alone gets all, of two that are busy each gets half, and what one does not want goes to the others. What an
// actor holds counts as its job's, and is never taken.
//
// Fair is a part of a CPU where CPUs come whole. So for each job it is kept what it is owed: its fair part less what it used, over the
// time in which somebody waited. CPUs are given step by step to whom most is owed, each step counting as what it will use in a quantum. A
// job's step is the largest of its tasks that could run: so one that wants three of four CPUs has them half of the time beside
// another that wants all. Who was given more keeps it for a quantum.
//
// Nothing is used twice: what a job may use, or still uses, is given to nobody else before it has said that it has let go of it.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "sched/units.hpp"

namespace rayx::sched {

using JobNumber = std::uint32_t;

// So much a job is owed at most, in time of the whole node: long tasks of others are made good, and nobody has the node for minutes.
inline constexpr base::TimeNs kOwedMax_ns = 10'000'000'000;
inline constexpr base::TimeNs kOwedForgotten_ns = 200'000'000;  // of a job that wants nothing

struct Wish {
  Units used = 0;       // by all that has CPUs now, also what is idle or being given back
  Units by_actors = 0;  // of that
  Units idle = 0;       // of that: workers sleep, and have nothing to do
  Units wanted = 0;     // what is used and not idle, and what waits for CPUs
  Units step = 0;       // the largest single thing of what is wanted, without actors that have their CPUs
  Units least = 0;      // the smallest thing that waits
  bool operator==(const Wish&) const = default;
};

struct Share {
  Units limit = 0;     // it may use so much; who uses more starts nothing, and gives back what ends
  Units ceiling = 0;   // what it may have at most by waiting: actors of other jobs keep the rest
  Units prospect = 0;  // what it would have on the long run if it wanted everything
  bool is_alone = true;
  base::TimeNs look_again_ns =
      base::kNever;  // it is to say then how it is, even if it does not look as if anything had changed
};

class Shares {
 public:
  explicit Shares(Units total) : total_(total) {}

  void join(JobNumber job, base::TimeNs now_ns);
  // Nothing of it is left.
  void leave(JobNumber job, base::TimeNs now_ns);
  // How the job is, and what it obeys from now on.
  Share report(JobNumber job, const Wish& wish, base::TimeNs now_ns);
  // Jobs that are to report, as there is something new for them; each is named once until it has.
  std::vector<JobNumber> take_called();

  Units total() const { return total_; }
  // Everything that must hold between two calls. What jobs have overdrawn by themselves, when workers went on that had lent
  // their CPUs, is not counted.
  bool is_valid() const;

 private:
  struct Job {
    Wish wish;
    Units limit = 0;    // that it has been told
    Units ceiling = 0;  // likewise
    Units given = 0;    // that it is to have
    Units fair = 0;
    std::int64_t owed = 0;  // units x ns
    base::TimeNs raised_ns = INT64_MIN / 2;
    base::TimeNs idle_since_ns = 0;
    bool was_alone = false;  // it has been told so
    bool knows_of_hunger = false;
    bool is_called = false;
    Units step(Units total) const;
    Units lasting() const { return wish.used > limit ? wish.used : limit; }
    bool is_busy() const { return wish.wanted > 0 || wish.used > wish.idle; }
    bool is_hungry() const { return wish.wanted > given; }
  };

  void pass_time(base::TimeNs now_ns);
  Units level(JobNumber greedy) const;
  Units held_by_actors() const;
  void divide(base::TimeNs now_ns);
  Units keep(Units left, base::TimeNs now_ns);
  Units fill(Units left, bool beyond_wishes);
  Units give_rest(Units left);
  void call_others(JobNumber reporter);

  const Units total_;
  std::map<JobNumber, Job> jobs_;
  base::TimeNs now_ns_ = 0;
  base::TimeNs keep_until_ns_ = base::kNever;  // the first that was given more may lose it then
  bool is_contended_ = false;                  // somebody waits for what others have
  bool is_passed_over_ = false;                // somebody waits for more at once than comes free
  std::vector<JobNumber> called_;
};

}  // namespace rayx::sched
