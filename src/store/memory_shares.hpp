// How the memory of a node is divided among its jobs. Each job has a store as large as all of it, of which pages exist only where something
// lies, or has lain and was not given back. A decider: no threads, no clock, no I/O; time is handed in.
//
// Whoever comes first may have all of it, and nothing is taken away that is in use. But a job that was refused has a claim, for some time:
// what it waits for is given to nobody who would have more than it, and the others give back what they do not use. So of two jobs that both
// want everything each has half, as soon as objects have gone. Claims have an order, so no two keep each other waiting; and they end, since
// who has more may need a little to be able to free much. A small part each job has in any case, so that it can begin.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/clock.hpp"

namespace rayx::store {

using JobNumber = std::uint32_t;

inline constexpr base::TimeNs kWant_ns =
    250'000'000;  // how long a refusal tells of a wish; who waits asks again before
inline constexpr base::TimeNs kAskAgain_ns = kWant_ns / 3;  // so long a refused job need not ask again
inline constexpr base::TimeNs kClaim_ns = 2'000'000'000;    // from the first refusal on
// What a job has in any case, beyond what the others leave: a part of all memory, and so much at most.
inline constexpr std::uint64_t kOwnShare = 16;
inline constexpr std::uint64_t kOwnBytesMax = 64u << 20;

class MemoryShares {
 public:
  explicit MemoryShares(std::uint64_t total_bytes);

  void join(JobNumber job);
  // Its pages are gone.
  void leave(JobNumber job);
  // Pages that are about to exist. False: the job has a claim to them now, and those who have more are called.
  bool take(JobNumber job, std::uint64_t bytes, base::TimeNs now_ns);
  // Pages that are gone, or did not come to be.
  void give(JobNumber job, std::uint64_t bytes);

  // What the job could take.
  std::uint64_t left(JobNumber job, base::TimeNs now_ns) const;
  // What it is to give back of what it does not use.
  std::uint64_t owed(JobNumber job, base::TimeNs now_ns) const;
  // Somebody waits.
  bool is_short(base::TimeNs now_ns) const;
  // Jobs for which there is something new: memory to take, or to give back.
  std::vector<JobNumber> take_called();

  std::uint64_t total_bytes() const { return total_bytes_; }
  std::uint64_t used_bytes() const { return used_bytes_; }
  std::uint64_t used_bytes(JobNumber job) const { return jobs_.at(job).used_bytes; }
  std::uint64_t own_bytes() const { return own_bytes_; }

 private:
  struct Job {
    std::uint64_t used_bytes = 0;
    std::uint64_t wanted_bytes = 0;  // that it was refused
    base::TimeNs wanted_since_ns = 0;
    base::TimeNs wanted_until_ns = 0;
    base::TimeNs called_others_ns = 0;
    bool wants(base::TimeNs now_ns) const { return wanted_bytes != 0 && now_ns < wanted_until_ns; }
  };
  std::uint64_t held_from(JobNumber job, std::uint64_t bytes, base::TimeNs now_ns) const;
  void call(JobNumber job);

  const std::uint64_t total_bytes_;
  const std::uint64_t own_bytes_;
  std::uint64_t used_bytes_ = 0;
  std::map<JobNumber, Job> jobs_;
  std::vector<JobNumber> called_;
};

}  // namespace rayx::store
