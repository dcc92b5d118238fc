// Random steps from a seed against a model that keeps one word for each granule.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "kit/seed.hpp"
#include "store/extent_map.hpp"

namespace rayx::store {
namespace {

constexpr Offset kModelBegin = 4 << 20;

// What must be true of any allocator, kept in the simplest way.
class Model {
 public:
  explicit Model(std::size_t granules) : lease_of_(granules, 0) {}

  void grant(const Lease& lease) {
    ASSERT_GT(lease.serial, last_serial_) << "a serial was used twice";
    last_serial_ = lease.serial;
    for_each(lease.extent, [&](std::uint64_t& word) {
      ASSERT_EQ(word, 0u) << "memory was leased twice";
      word = lease.serial;
    });
    leases_[lease.extent.offset] = lease;
  }
  void free(const Lease& lease) {
    for_each(lease.extent, [&](std::uint64_t& word) {
      ASSERT_EQ(word, lease.serial);
      word = 0;
    });
    leases_.erase(lease.extent.offset);
  }
  std::map<Offset, Lease>& leases() { return leases_; }
  std::uint64_t leased_bytes() const {
    return static_cast<std::uint64_t>(lease_of_.size() -
                                      static_cast<std::size_t>(std::count(lease_of_.begin(), lease_of_.end(), 0u))) *
           kGranuleBytes;
  }
  // Whether `granules` on a multiple of `alignment` are free anywhere.
  bool fits(std::uint64_t granules, std::uint64_t alignment) const {
    for (std::uint64_t at = 0; at + granules <= lease_of_.size(); at += alignment) {
      const auto begin = lease_of_.begin() + static_cast<std::ptrdiff_t>(at);
      if (std::all_of(begin, begin + static_cast<std::ptrdiff_t>(granules),
                      [](std::uint64_t word) { return word == 0; }))
        return true;
    }
    return false;
  }

 private:
  template <class Visit>
  void for_each(const Extent& extent, Visit&& visit) {
    for (std::uint64_t at = 0; at < extent.bytes; at += kGranuleBytes)
      visit(lease_of_.at((extent.offset - kModelBegin + at) / kGranuleBytes));
  }

  std::vector<std::uint64_t> lease_of_;
  std::map<Offset, Lease> leases_;
  std::uint64_t last_serial_ = 0;
};

class Walk {
 public:
  Walk(std::uint64_t seed, std::uint64_t granules)
      : random_(seed), granules_(granules), map_(kModelBegin, granules * kGranuleBytes), model_(granules) {}

  void step() {
    now_ns_ += static_cast<base::TimeNs>(below(1'000'000'000));
    const std::uint64_t kind = below(100);
    if (kind < 45) {
      ask();
    } else if (kind < 85) {
      release();
    } else if (kind < 87) {
      bury(static_cast<std::uint32_t>(below(6)));
    } else if (kind < 89) {
      drop_orphans();
    } else if (kind < 94) {
      answers_.clear();
      map_.expire(now_ns_, answers_);
      take_answers();
      for (const auto& [ticket, request] : waiting_) ASSERT_GT(request.deadline_ns, now_ns_);
    } else if (const auto chunk = map_.next_prefault(now_ns_)) {
      map_.mark_warm(*chunk);
    }
    check();
  }

  void finish() {
    is_finishing_ = true;
    while (!model_.leases().empty() || !waiting_.empty()) {
      if (model_.leases().empty()) {
        answers_.clear();
        map_.expire(base::kNever, answers_);
        take_answers();
      } else {
        release();
      }
      check();
    }
    EXPECT_EQ(map_.leased_bytes(), 0u);
    EXPECT_EQ(map_.largest_free_bytes(), map_.capacity_bytes()) << "free memory was not put together again";
  }

 private:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

  void ask() {
    LeaseRequest request;
    request.ticket = ++ticket_;
    request.lessee = static_cast<std::uint32_t>(below(6));
    request.is_slab = below(4) == 0;
    const std::uint64_t size_max = std::uint64_t{1} << below(8);
    request.bytes = below(size_max * kGranuleBytes) + 1;
    request.owner = {request.lessee, static_cast<std::uint32_t>(ticket_), 1};
    request.deadline_ns = below(3) == 0 ? now_ns_ : now_ns_ + static_cast<base::TimeNs>(below(20'000'000'000)) + 1;
    answers_.clear();
    const bool had_waiters = map_.waiters() > 0;
    waiting_.emplace(request.ticket, request);
    const bool fitted = model_.fits(size_of(request), alignment_of(request));
    map_.request(request, now_ns_, answers_);
    if (!had_waiters && fitted) {
      ASSERT_EQ(answers_.size(), 1u);
      ASSERT_EQ(answers_[0].outcome, LeaseOutcome::kGranted) << "there was room and nobody waited";
    }
    take_answers();
  }
  void release() {
    if (model_.leases().empty()) return;
    auto it = model_.leases().begin();
    std::advance(it, below(model_.leases().size()));
    const Lease lease = it->second;
    model_.free(lease);
    answers_.clear();
    ASSERT_TRUE(map_.release(lease.extent.offset, now_ns_, answers_));
    take_answers();
  }
  void bury(std::uint32_t lessee) {
    std::erase_if(waiting_, [&](const auto& entry) { return entry.second.lessee == lessee; });
    answers_.clear();
    std::vector<Lease> dropped;
    map_.release_all(
        lessee, [&](const Lease& lease) { return sort_out(lease, dropped); }, now_ns_, answers_);
    settle(dropped);
    std::set<std::uint64_t> granted;  // just now, to whoever has the slot next
    for (const LeaseAnswer& answer : answers_) granted.insert(answer.lease.serial);
    for (auto& entry : model_.leases())
      if (entry.second.lessee == lessee && granted.count(entry.second.serial) == 0) entry.second.lessee = kNobody;
  }
  void drop_orphans() {
    answers_.clear();
    std::vector<Lease> dropped;
    map_.release_orphans([&](const Lease& lease) { return sort_out(lease, dropped); }, now_ns_, answers_);
    settle(dropped);
  }
  bool sort_out(const Lease& lease, std::vector<Lease>& dropped) {
    const bool is_live = below(2) == 0;
    if (!is_live) dropped.push_back(lease);
    return is_live;
  }
  void settle(const std::vector<Lease>& dropped) {
    for (const Lease& lease : dropped) model_.free(lease);
    take_answers();
  }
  void take_answers() {
    for (const LeaseAnswer& answer : answers_) {
      const auto it = waiting_.find(answer.ticket);
      ASSERT_NE(it, waiting_.end()) << "answered twice, or after its process died";
      const LeaseRequest& request = it->second;
      if (answer.outcome == LeaseOutcome::kGranted) {
        ASSERT_EQ(answer.lease.extent.bytes, size_of(request) * kGranuleBytes);
        ASSERT_EQ(answer.lease.extent.offset % (alignment_of(request) * kGranuleBytes), 0u);
        ASSERT_EQ(answer.lease.lessee, request.lessee);
        model_.grant(answer.lease);
      } else if (answer.outcome == LeaseOutcome::kTooLarge) {
        ASSERT_GT(size_of(request), granules_);
      } else {
        ASSERT_EQ(answer.outcome, LeaseOutcome::kTimedOut);
        ASSERT_TRUE(request.deadline_ns <= now_ns_ || is_finishing_);
      }
      waiting_.erase(it);
    }
  }
  void check() {
    ASSERT_TRUE(map_.is_valid());
    ASSERT_EQ(map_.leased_bytes(), model_.leased_bytes());
    ASSERT_EQ(map_.leases(), model_.leases().size());
    ASSERT_EQ(map_.waiters(), waiting_.size()) << "a request was lost";
    for (const auto& [offset, lease] : model_.leases()) {
      const Lease* found = map_.find(offset);
      ASSERT_NE(found, nullptr);
      ASSERT_EQ(found->serial, lease.serial);
      ASSERT_EQ(found->lessee, lease.lessee);
    }
  }
  static std::uint64_t size_of(const LeaseRequest& request) {
    return ((request.is_slab ? shm::kSlabBytes : request.bytes) + kGranuleBytes - 1) / kGranuleBytes;
  }
  static std::uint64_t alignment_of(const LeaseRequest& request) {
    return request.is_slab ? shm::kSlabBytes / kGranuleBytes : 1;
  }

  std::mt19937_64 random_;
  std::uint64_t granules_;
  ExtentMap map_;
  Model model_;
  std::map<std::uint64_t, LeaseRequest> waiting_;
  std::vector<LeaseAnswer> answers_;
  base::TimeNs now_ns_ = 0;
  std::uint64_t ticket_ = 0;
  bool is_finishing_ = false;
};

TEST(ExtentMapModel, RandomStepsAgreeWithTheModel) {
  for (std::uint64_t round = 0; round < 40; ++round) {
    const std::uint64_t granules = 16 + (kit::seed() + round * 37) % 200;
    Walk walk(kit::seed() + round, granules);
    for (int step = 0; step < 1500; ++step) {
      walk.step();
      if (testing::Test::HasFatalFailure()) {
        FAIL() << "round " << round << " step " << step << " with " << granules << " granules";
      }
    }
    walk.finish();
    if (testing::Test::HasFailure()) FAIL() << "round " << round;
  }
}

}  // namespace
}  // namespace rayx::store
