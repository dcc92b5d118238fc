#include "store/memory_shares.hpp"

#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "base/planted_bug.hpp"

namespace rayx::store {

MemoryShares::MemoryShares(std::uint64_t total_bytes)
    : total_bytes_(total_bytes), own_bytes_(std::min(total_bytes / kOwnShare, kOwnBytesMax)) {}

void MemoryShares::call(JobNumber job) {
  if (std::find(called_.begin(), called_.end(), job) == called_.end()) called_.push_back(job);
}

std::vector<JobNumber> MemoryShares::take_called() { return std::exchange(called_, {}); }

void MemoryShares::join(JobNumber job) {
  const bool is_new = jobs_.try_emplace(job).second;
  RAYX_CHECK(is_new, "a job has joined twice", job);
}

void MemoryShares::leave(JobNumber job) {
  give(job, jobs_.at(job).used_bytes);
  jobs_.erase(job);
  std::erase(called_, job);
}

// By the others, from a job that would have `bytes`.
std::uint64_t MemoryShares::held_from(JobNumber number, std::uint64_t bytes, base::TimeNs now_ns) const {
  std::uint64_t held = 0;
  for (const auto& [id, other] : jobs_) {
    if (id == number) continue;
    held += other.used_bytes;
    const bool has_claim = other.wants(now_ns) && now_ns - other.wanted_since_ns < kClaim_ns;
    const std::pair theirs(other.used_bytes + other.wanted_bytes, id);
    if (has_claim && theirs < std::pair(bytes, number) && !RAYX_PLANTED_BUG(241)) held += other.wanted_bytes;
  }
  return held;
}

bool MemoryShares::take(JobNumber number, std::uint64_t bytes, base::TimeNs now_ns) {
  Job& job = jobs_.at(number);
  const std::uint64_t wanted = job.used_bytes + bytes;
  if (wanted > own_bytes_ && wanted + held_from(number, wanted, now_ns) > total_bytes_) {
    // Others may have used what was given back for it; but who asks again and again does not wake them each time.
    const bool calls = !job.wants(now_ns) || bytes > job.wanted_bytes || now_ns - job.called_others_ns >= kAskAgain_ns;
    if (calls) job.called_others_ns = now_ns;
    if (!job.wants(now_ns)) job.wanted_since_ns = now_ns;
    job.wanted_bytes = bytes;
    job.wanted_until_ns = now_ns + kWant_ns;
    for (const auto& [id, other] : jobs_)
      if (calls && id != number && !RAYX_PLANTED_BUG(242)) call(id);
    return false;
  }
  job.wanted_bytes = 0;
  job.used_bytes += bytes;
  used_bytes_ += bytes;
  return true;
}

void MemoryShares::give(JobNumber number, std::uint64_t bytes) {
  Job& job = jobs_.at(number);
  RAYX_CHECK(bytes <= job.used_bytes, "a job gives back more memory than it has", number, bytes, job.used_bytes);
  job.used_bytes -= bytes;
  used_bytes_ -= bytes;
  if (bytes == 0) return;
  for (const auto& [id, other] : jobs_)
    if (other.wanted_bytes != 0 && id != number) call(id);
}

std::uint64_t MemoryShares::left(JobNumber number, base::TimeNs now_ns) const {
  const std::uint64_t used = jobs_.at(number).used_bytes;
  const std::uint64_t others = held_from(number, used + 1, now_ns);
  const std::uint64_t limit = std::max(own_bytes_, total_bytes_ - std::min(total_bytes_, others));
  return limit - std::min(limit, used);
}

std::uint64_t MemoryShares::owed(JobNumber number, base::TimeNs now_ns) const {
  std::uint64_t wanted = 0;
  for (const auto& [id, other] : jobs_)
    if (id != number && other.wants(now_ns)) wanted += other.wanted_bytes;
  if (wanted == 0) return 0;
  const std::uint64_t needed = used_bytes_ + wanted;
  return needed - std::min(needed, total_bytes_);
}

bool MemoryShares::is_short(base::TimeNs now_ns) const {
  return std::any_of(jobs_.begin(), jobs_.end(), [&](const auto& job) { return job.second.wants(now_ns); });
}

}  // namespace rayx::store
