#include "store/extent_map.hpp"

#include <algorithm>
#include <bit>

namespace rayx::store {
namespace {

constexpr std::size_t kDemandsMax = 8;
// Places that are compared within one run: more would make a request in a badly mixed store slow for little.
constexpr int kPlacesMax = 16;

constexpr std::uint32_t round_up(std::uint32_t value, std::uint32_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

ExtentMap::ExtentMap(Offset begin, std::uint64_t bytes, Pages* pages)
    : begin_(begin),
      granules_(static_cast<Granule>(bytes / kGranuleBytes)),
      pages_(pages),
      warm_((granules_ + 63) / 64) {
  RAYX_CHECK(begin != shm::kNoOffset && begin % shm::kStoreAlignBytes == 0, "store begins at an odd place", begin);
  RAYX_CHECK(bytes > 0 && bytes % kGranuleBytes == 0 && bytes / kGranuleBytes < UINT32_MAX, "size of the store", bytes);
  // A sixteenth of the store, and room for some slabs in any case.
  overtake_granules_max_ = std::max<std::uint64_t>(granules_ / 16, 16 * shm::kSlabBytes / kGranuleBytes);
  give_back({0, granules_});
}

ExtentMap::Granule ExtentMap::granules_for(const LeaseRequest& request) {
  const std::uint64_t bytes = request.is_slab ? shm::kSlabBytes : request.bytes;
  const std::uint64_t granules = bytes / kGranuleBytes + (bytes % kGranuleBytes != 0);
  return static_cast<Granule>(std::clamp<std::uint64_t>(granules, 1, UINT32_MAX));
}

ExtentMap::Granule ExtentMap::alignment_of(const LeaseRequest& request) {
  return request.is_slab ? static_cast<Granule>(shm::kSlabBytes / kGranuleBytes) : 1;
}

ExtentMap::Range ExtentMap::range_of(const Extent& extent) const {
  RAYX_CHECK(extent.offset >= begin_ && extent.offset + extent.bytes <= begin_ + capacity_bytes() &&
                 (extent.offset - begin_) % kGranuleBytes == 0 && extent.bytes % kGranuleBytes == 0,
             "extent is not one of the store's", extent.offset, extent.bytes);
  const auto begin = static_cast<Granule>((extent.offset - begin_) / kGranuleBytes);
  return {begin, begin + static_cast<Granule>(extent.bytes / kGranuleBytes)};
}

// --- temperature ---

void ExtentMap::set_warm(Range range) {
  for (Granule at = range.begin; at < range.end;) {
    const Granule stop = std::min(range.end, at / 64 * 64 + 64);
    const std::uint64_t ones = stop - at == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << (stop - at)) - 1;
    warm_[at / 64] |= ones << at % 64;
    at = stop;
  }
}

void ExtentMap::set_cold(Range range) {
  for (Granule at = range.begin; at < range.end; ++at) warm_[at / 64] &= ~(std::uint64_t{1} << at % 64);
}

ExtentMap::Granule ExtentMap::count_warm(Range range) const {
  Granule count = 0;
  for (Granule at = range.begin; at < range.end;) {
    const Granule stop = std::min(range.end, at / 64 * 64 + 64);
    const std::uint64_t ones = stop - at == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << (stop - at)) - 1;
    count += static_cast<Granule>(std::popcount(warm_[at / 64] >> at % 64 & ones));
    at = stop;
  }
  return count;
}

// --- free memory ---

void ExtentMap::remove_segment(std::map<Granule, Segment>::iterator it) {
  const Granule size = it->second.end - it->first;
  free_granules_ -= size;
  if (it->second.is_warm) {
    warm_free_granules_ -= size;
    warm_by_size_.erase({size, it->first});
  }
  segments_.erase(it);
}

void ExtentMap::add_segment(Range range, bool warm) {
  const auto next = segments_.lower_bound(range.begin);
  if (next != segments_.end() && next->first == range.end && next->second.is_warm == warm) {
    range.end = next->second.end;
    remove_segment(next);
  }
  const auto after = segments_.lower_bound(range.begin);
  if (after != segments_.begin()) {
    const auto previous = std::prev(after);
    if (previous->second.end == range.begin && previous->second.is_warm == warm) {
      range.begin = previous->first;
      remove_segment(previous);
    }
  }
  segments_.emplace(range.begin, Segment{range.end, warm});
  free_granules_ += range.size();
  if (warm) {
    warm_free_granules_ += range.size();
    warm_by_size_.insert({range.size(), range.begin});
  }
}

void ExtentMap::remove_run(std::map<Granule, Granule>::iterator it) {
  runs_by_size_.erase({it->second - it->first, it->first});
  runs_.erase(it);
}

void ExtentMap::add_run(Range range) {
  if (range.size() == 0) return;
  runs_.emplace(range.begin, range.end);
  runs_by_size_.insert({range.size(), range.begin});
}

// Makes a free range leased.
void ExtentMap::take(Range range) {
  const auto run = std::prev(runs_.upper_bound(range.begin));
  const Range whole{run->first, run->second};
  RAYX_CHECK(whole.begin <= range.begin && range.end <= whole.end, "range to lease is not free", range.begin,
             range.end);
  remove_run(run);
  add_run({whole.begin, range.begin});
  add_run({range.end, whole.end});
  auto it = std::prev(segments_.upper_bound(range.begin));
  while (it != segments_.end() && it->first < range.end) {
    const Range segment{it->first, it->second.end};
    const bool warm = it->second.is_warm;
    remove_segment(it);
    if (segment.begin < range.begin) add_segment({segment.begin, range.begin}, warm);
    if (segment.end > range.end) add_segment({range.end, segment.end}, warm);
    it = segments_.lower_bound(segment.end);
  }
}

// Makes a leased range free.
void ExtentMap::give_back(Range range) {
  for (Granule at = range.begin; at < range.end;) {
    const bool warm = is_warm(at);
    Granule stop = at + 1;
    while (stop < range.end && is_warm(stop) == warm) ++stop;
    add_segment({at, stop}, warm);
    at = stop;
  }
  auto next = runs_.lower_bound(range.begin);
  if (next != runs_.end() && next->first == range.end) {
    range.end = next->second;
    remove_run(next);
  }
  next = runs_.lower_bound(range.begin);
  if (next != runs_.begin() && std::prev(next)->second == range.begin) {
    range.begin = std::prev(next)->first;
    remove_run(std::prev(next));
  }
  add_run(range);
}

// The place in `run` with the most warm granules: it begins or ends where a warm segment does.
ExtentMap::Granule ExtentMap::best_place(Range run, Granule size, Granule alignment) const {
  Granule best = round_up(run.begin, alignment);
  Granule best_warm = count_warm({best, best + size});
  auto consider = [&](Granule place) {
    if (place < run.begin || place > run.end - size) return;
    const Granule warm = count_warm({place, place + size});
    if (warm > best_warm || (warm == best_warm && place < best)) {
      best = place;
      best_warm = warm;
    }
  };
  int places = 0;
  for (auto it = segments_.lower_bound(run.begin); it != segments_.end() && it->first < run.end && places < kPlacesMax;
       ++it) {
    if (!it->second.is_warm) continue;
    ++places;
    consider(round_up(it->first, alignment));
    if (it->second.end >= size) consider((it->second.end - size) / alignment * alignment);
  }
  return best;
}

std::optional<ExtentMap::Granule> ExtentMap::choose(Granule size, Granule alignment) const {
  for (auto it = warm_by_size_.lower_bound({size, 0}); it != warm_by_size_.end(); ++it) {
    const Granule place = round_up(it->second, alignment);
    if (place + size <= it->second + it->first) return place;
  }
  for (auto it = runs_by_size_.lower_bound({size, 0}); it != runs_by_size_.end(); ++it) {
    const Range run{it->second, it->second + it->first};
    if (round_up(run.begin, alignment) + size <= run.end) return best_place(run, size, alignment);
  }
  return std::nullopt;
}

std::uint64_t ExtentMap::largest_free_bytes() const {
  return runs_by_size_.empty() ? 0 : std::uint64_t{runs_by_size_.rbegin()->first} * kGranuleBytes;
}

// --- pages that others want too ---

// Of free memory outside of `but`, from the end of the store.
ExtentMap::Granule ExtentMap::make_cold(Granule wanted, Range but) {
  std::vector<Range> found;
  Granule sum = 0;
  const auto consider = [&](Range range) {
    if (range.begin >= range.end || sum >= wanted) return;
    range.begin = range.end - std::min(range.size(), wanted - sum);
    sum += range.size();
    found.push_back(range);
  };
  for (auto it = segments_.rbegin(); it != segments_.rend() && sum < wanted; ++it) {
    if (!it->second.is_warm) continue;
    const Range segment{it->first, it->second.end};
    consider({std::max(segment.begin, but.end), segment.end});
    consider({segment.begin, std::min(segment.end, but.begin)});
  }
  for (const Range range : found) {
    take(range);
    pages_->drop({offset_of(range.begin), std::uint64_t{range.size()} * kGranuleBytes});
    set_cold(range);
    give_back(range);
  }
  return sum;
}

bool ExtentMap::take_pages(Range place) {
  const Granule cold = place.size() - count_warm(place);
  const std::uint64_t bytes = std::uint64_t{cold} * kGranuleBytes;
  if (cold == 0 || pages_->take(bytes)) return true;
  return make_cold(cold, place) != 0 && pages_->take(bytes);
}

std::uint64_t ExtentMap::drop_unused(std::uint64_t bytes) {
  if (pages_ == nullptr) return 0;
  const std::uint64_t wanted = std::min<std::uint64_t>((bytes + kGranuleBytes - 1) / kGranuleBytes, granules_);
  return std::uint64_t{make_cold(static_cast<Granule>(wanted), {granules_, granules_})} * kGranuleBytes;
}

bool ExtentMap::waits_for_pages() const {
  if (waiters_.empty()) return false;
  const LeaseRequest& first = waiters_.front().request;
  return pages_ != nullptr && choose(granules_for(first), alignment_of(first)).has_value();
}

std::uint64_t ExtentMap::first_wanted_bytes() const {
  return waiters_.empty() ? 0 : std::uint64_t{granules_for(waiters_.front().request)} * kGranuleBytes;
}

// --- leases ---

bool ExtentMap::try_grant(const LeaseRequest& request, base::TimeNs now_ns, std::vector<LeaseAnswer>& out) {
  const Granule size = granules_for(request);
  const std::optional<Granule> place = choose(size, alignment_of(request));
  if (!place || (pages_ != nullptr && !take_pages({*place, *place + size}))) return false;
  const std::uint64_t bytes = std::uint64_t{size} * kGranuleBytes;
  if (bytes >= kLargeBytes) note_demand(bytes, count_warm({*place, *place + size}) == size, now_ns);
  take({*place, *place + size});
  Lease lease;
  lease.extent = {offset_of(*place), bytes};
  lease.serial = next_serial_++;
  lease.lessee = request.lessee;
  lease.owner = request.owner;
  lease.is_slab = request.is_slab;
  leases_.emplace(*place, lease);
  by_lessee_.insert({request.lessee, *place});
  out.push_back(LeaseAnswer{request.ticket, request.lessee, LeaseOutcome::kGranted, lease});
  return true;
}

void ExtentMap::request(const LeaseRequest& request, base::TimeNs now_ns, std::vector<LeaseAnswer>& out) {
  RAYX_CHECK(request.lessee != kNobody, "a request without a lessee", request.ticket);
  auto refuse = [&](LeaseOutcome outcome) { out.push_back(LeaseAnswer{request.ticket, request.lessee, outcome, {}}); };
  const Granule size = granules_for(request);
  if (size > granules_) return refuse(LeaseOutcome::kTooLarge);
  if (waiters_.empty()) {
    if (try_grant(request, now_ns, out)) return;
  } else if (Waiter& first = waiters_.front(); first.overtaken_granules + size <= overtake_granules_max_) {
    if (try_grant(request, now_ns, out)) {
      first.overtaken_granules += size;
      return;
    }
  }
  if (request.deadline_ns <= now_ns) return refuse(LeaseOutcome::kTimedOut);
  if (waiters_.size() >= kWaitersMax) return refuse(LeaseOutcome::kTooManyWaiters);
  waiters_.push_back(Waiter{request, 0});
}

// Hands out what has become free, in order; behind the first that does not fit, within what it may be overtaken by.
void ExtentMap::serve(base::TimeNs now_ns, std::vector<LeaseAnswer>& out) {
  while (!waiters_.empty() && try_grant(waiters_.front().request, now_ns, out)) waiters_.pop_front();
  if (waiters_.empty()) return;
  Waiter& first = waiters_.front();
  std::deque<Waiter> rest;
  for (std::size_t i = 1; i < waiters_.size(); ++i) {
    const LeaseRequest& request = waiters_[i].request;
    const Granule size = granules_for(request);
    const bool may_pass = size <= free_granules_ && first.overtaken_granules + size <= overtake_granules_max_;
    if (may_pass && try_grant(request, now_ns, out)) {
      first.overtaken_granules += size;
    } else {
      rest.push_back(waiters_[i]);
    }
  }
  waiters_.resize(1);
  std::move(rest.begin(), rest.end(), std::back_inserter(waiters_));
}

void ExtentMap::free_lease(std::map<Granule, Lease>::iterator it) {
  const Range range{it->first, it->first + static_cast<Granule>(it->second.extent.bytes / kGranuleBytes)};
  by_lessee_.erase({it->second.lessee, it->first});
  leases_.erase(it);
  set_warm(range);  // as far as anybody knows
  give_back(range);
}

bool ExtentMap::release(Offset offset, base::TimeNs now_ns, std::vector<LeaseAnswer>& out) {
  if (find(offset) == nullptr) return false;
  const auto it = leases_.find(static_cast<Granule>((offset - begin_) / kGranuleBytes));
  free_lease(it);
  serve(now_ns, out);
  return true;
}

const Lease* ExtentMap::find(Offset offset) const {
  if (offset < begin_ || offset >= begin_ + capacity_bytes() || (offset - begin_) % kGranuleBytes != 0) return nullptr;
  const auto it = leases_.find(static_cast<Granule>((offset - begin_) / kGranuleBytes));
  return it == leases_.end() ? nullptr : &it->second;
}

bool ExtentMap::has_orphans() const {
  const auto it = by_lessee_.lower_bound({kNobody, 0});
  return it != by_lessee_.end();
}

void ExtentMap::forget_waiters_of(std::uint32_t lessee) {
  std::erase_if(waiters_, [&](const Waiter& waiter) { return waiter.request.lessee == lessee; });
}

void ExtentMap::expire(base::TimeNs now_ns, std::vector<LeaseAnswer>& out) {
  const std::size_t before = waiters_.size();
  std::erase_if(waiters_, [&](const Waiter& waiter) {
    if (waiter.request.deadline_ns > now_ns) return false;
    out.push_back(LeaseAnswer{waiter.request.ticket, waiter.request.lessee, LeaseOutcome::kTimedOut, {}});
    return true;
  });
  if (waiters_.size() != before) serve(now_ns, out);  // The one in front may have been what held up the rest.
}

base::TimeNs ExtentMap::next_deadline_ns() const {
  base::TimeNs next = base::kNever;
  for (const Waiter& waiter : waiters_) next = std::min(next, waiter.request.deadline_ns);
  return next;
}

// --- watermark ---

// Only what had to take cold memory counts: a program that uses the same extents again and again needs no more of them. A warm
// grant shows that large objects still come, and keeps the demand that there is alive.
void ExtentMap::note_demand(std::uint64_t bytes, bool was_warm, base::TimeNs now_ns) {
  std::erase_if(demand_, [&](const Demand& demand) { return now_ns - demand.at_ns > kDemandMemory_ns; });
  if (was_warm) {
    if (!demand_.empty()) demand_.back().at_ns = now_ns;
    return;
  }
  if (demand_.size() == kDemandsMax) demand_.pop_front();
  demand_.push_back({now_ns, bytes});
}

std::optional<Extent> ExtentMap::next_prefault(base::TimeNs now_ns) {
  std::uint64_t largest = 0;
  std::uint64_t sum = 0;
  for (const Demand& demand : demand_) {
    if (now_ns - demand.at_ns > kDemandMemory_ns) continue;
    largest = std::max(largest, demand.bytes);
    sum += demand.bytes;
  }
  // One large object foretells one more, several foretell two; and a quarter of the store at most.
  const std::uint64_t target = std::min({sum, 2 * largest, capacity_bytes() / 4});
  if (target == 0) return std::nullopt;
  const auto size = static_cast<Granule>(std::max<std::uint64_t>(std::min(largest, target) / kGranuleBytes, 1));
  const bool has_warm_place = !warm_by_size_.empty() && warm_by_size_.rbegin()->first >= size;
  if (has_warm_place && warm_free_bytes() >= target) return std::nullopt;
  const std::optional<Granule> place = choose(size, 1);
  if (!place) return std::nullopt;
  // The first cold granule where the next large object will lie, else behind it.
  const Granule run_end = std::prev(runs_.upper_bound(*place))->second;
  auto segment = std::prev(segments_.upper_bound(*place));
  while (segment != segments_.end() && segment->first < run_end && segment->second.is_warm) ++segment;
  if (segment == segments_.end() || segment->first >= run_end) return std::nullopt;
  const Granule begin = std::max(segment->first, *place);
  const auto chunk = static_cast<Granule>(kPrefaultChunkBytes / kGranuleBytes);
  const Granule end = std::min(segment->second.end, begin + chunk);
  const Extent extent{offset_of(begin), std::uint64_t{end - begin} * kGranuleBytes};
  // Nobody waits for it, so it is no wish that others should hear of.
  if (pages_ != nullptr && (pages_->left() < extent.bytes || !pages_->take(extent.bytes))) return std::nullopt;
  return extent;
}

void ExtentMap::prefault_failed(const Extent& extent) {
  if (pages_ != nullptr) pages_->give(extent.bytes);
  demand_.clear();
}

void ExtentMap::mark_warm(const Extent& extent) {
  const Range range = range_of(extent);
  auto it = segments_.upper_bound(range.begin);
  if (it != segments_.begin()) --it;
  std::vector<Range> warmed;  // the free cold parts
  for (; it != segments_.end() && it->first < range.end; ++it) {
    const Range part{std::max(it->first, range.begin), std::min(it->second.end, range.end)};
    if (!it->second.is_warm && part.begin < part.end) warmed.push_back(part);
  }
  set_warm(range);
  Granule counted = range.size();  // whoever leased some of it meanwhile has counted that, too
  for (const Range part : warmed) {
    counted -= part.size();
    take(part);
    give_back(part);
  }
  if (pages_ != nullptr && counted != 0) pages_->give(std::uint64_t{counted} * kGranuleBytes);
}

// --- text and checks ---

std::string ExtentMap::full_text(std::uint64_t bytes) const {
  return "the object store is full: " + shm::bytes_text(bytes) + " were asked for, " + shm::bytes_text(leased_bytes()) +
         " of " + shm::bytes_text(capacity_bytes()) + " are in use by " + std::to_string(leases()) +
         " leases, the largest free piece is " + shm::bytes_text(largest_free_bytes()) + ", and " +
         std::to_string(waiters()) + " requests wait";
}

bool ExtentMap::is_valid() const {
  std::vector<char> owner(granules_, 0);  // 'l' leased, 'w'/'c' free
  for (const auto& [first, lease] : leases_) {
    const Range range = range_of(lease.extent);
    if (range.begin != first || by_lessee_.count({lease.lessee, first}) != 1) return false;
    if (lease.is_slab && (lease.extent.bytes != shm::kSlabBytes || lease.extent.offset % shm::kSlabBytes != 0))
      return false;
    for (Granule g = range.begin; g < range.end; ++g) {
      if (owner[g] != 0) return false;
      owner[g] = 'l';
    }
  }
  if (by_lessee_.size() != leases_.size()) return false;
  Granule free = 0;
  Granule warm = 0;
  std::size_t warm_segments = 0;
  Granule last_end = UINT32_MAX;
  bool last_warm = false;
  for (const auto& [begin, segment] : segments_) {
    if (begin >= segment.end || (begin == last_end && segment.is_warm == last_warm)) return false;
    last_end = segment.end;
    last_warm = segment.is_warm;
    free += segment.end - begin;
    if (segment.is_warm) {
      warm += segment.end - begin;
      ++warm_segments;
      if (warm_by_size_.count({segment.end - begin, begin}) != 1) return false;
    }
    for (Granule g = begin; g < segment.end; ++g) {
      if (owner[g] != 0 || is_warm(g) != segment.is_warm) return false;
      owner[g] = segment.is_warm ? 'w' : 'c';
    }
  }
  if (std::count(owner.begin(), owner.end(), 0) != 0) return false;
  if (free != free_granules_ || warm != warm_free_granules_ || warm_segments != warm_by_size_.size()) return false;
  Granule in_runs = 0;
  last_end = UINT32_MAX;
  for (const auto& [begin, end] : runs_) {
    if (begin >= end || begin == last_end || runs_by_size_.count({end - begin, begin}) != 1) return false;
    last_end = end;
    in_runs += end - begin;
    for (Granule g = begin; g < end; ++g)
      if (owner[g] == 'l') return false;
  }
  if (in_runs != free || runs_by_size_.size() != runs_.size()) return false;
  // Whoever waits first does not fit, or it would not wait, unless for pages.
  return waiters_.empty() || pages_ != nullptr ||
         !choose(granules_for(waiters_.front().request), alignment_of(waiters_.front().request));
}

}  // namespace rayx::store
