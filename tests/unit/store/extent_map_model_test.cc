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
  bool is_free(const Extent& extent) const {
    for (std::uint64_t at = 0; at < extent.bytes; at += kGranuleBytes)
      if (lease_of_.at((extent.offset - kModelBegin + at) / kGranuleBytes) != 0) return false;
    return true;
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

// What other stores leave, which changes.
class FakePages final : public Pages {
 public:
  explicit FakePages(const Model& model) : model_(model) {}
  bool take(std::uint64_t bytes) override {
    if (used_bytes + bytes > limit_bytes) return false;
    used_bytes += bytes;
    return true;
  }
  std::uint64_t left() override { return limit_bytes - std::min(limit_bytes, used_bytes); }
  void give(std::uint64_t bytes) override { used_bytes -= bytes; }
  void drop(const Extent& extent) override {
    ASSERT_TRUE(model_.is_free(extent)) << "memory in use was given back";
    ASSERT_GE(used_bytes, extent.bytes);
    used_bytes -= extent.bytes;
  }
  std::uint64_t used_bytes = 0;
  std::uint64_t limit_bytes = UINT64_MAX;

 private:
  const Model& model_;
};

class Walk {
 public:
  Walk(std::uint64_t seed, std::uint64_t granules, bool has_pages)
      : random_(seed),
        granules_(granules),
        model_(granules),
        pages_(model_),
        map_(kModelBegin, granules * kGranuleBytes, has_pages ? &pages_ : nullptr),
        has_pages_(has_pages) {}

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
    } else if (prefaulting_) {  // what was begun before
      below(4) == 0 ? map_.prefault_failed(*prefaulting_) : map_.mark_warm(*prefaulting_);
      prefaulting_.reset();
    } else {
      prefaulting_ = map_.next_prefault(now_ns_);
    }
    if (has_pages_ && below(20) == 0) change_limit();
    check();
  }

  void finish() {
    is_finishing_ = true;
    pages_.limit_bytes = UINT64_MAX;
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
    if (!had_waiters && fitted && (!has_pages_ || pages_.limit_bytes == UINT64_MAX)) {
      ASSERT_EQ(answers_.size(), 1u);
      ASSERT_EQ(answers_[0].outcome, LeaseOutcome::kGranted) << "there was room and nobody waited";
    }
    take_answers();
  }
  void change_limit() {
    pages_.limit_bytes = below(granules_ + 1) * kGranuleBytes;
    if (below(2) == 0) {
      const std::uint64_t wanted = below(granules_) * kGranuleBytes;
      const std::uint64_t unused = map_.warm_free_bytes();
      ASSERT_EQ(map_.drop_unused(wanted), std::min(wanted, unused));
    }
    answers_.clear();
    map_.pages_came(now_ns_, answers_);
    take_answers();
    // Who waits for pages does so although all that is unused and does not lie where it would go was given back.
    if (!map_.waits_for_pages()) return;
    pages_.limit_bytes = UINT64_MAX;
    answers_.clear();
    map_.pages_came(now_ns_, answers_);
    ASSERT_FALSE(answers_.empty());
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
    map_.release_all(
        lessee, [&](const Lease& lease) { return sort_out(lease); }, now_ns_, answers_);
    take_answers();
    std::set<std::uint64_t> granted;  // just now, to whoever has the slot next
    for (const LeaseAnswer& answer : answers_) granted.insert(answer.lease.serial);
    for (auto& entry : model_.leases())
      if (entry.second.lessee == lessee && granted.count(entry.second.serial) == 0) entry.second.lessee = kNobody;
  }
  void drop_orphans() {
    answers_.clear();
    map_.release_orphans([&](const Lease& lease) { return sort_out(lease); }, now_ns_, answers_);
    take_answers();
  }
  bool sort_out(const Lease& lease) {
    const bool is_live = below(2) == 0;
    if (!is_live) model_.free(Lease(lease));
    return is_live;
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
    if (has_pages_) {
      const std::uint64_t begun = prefaulting_ ? prefaulting_->bytes : 0;
      ASSERT_EQ(pages_.used_bytes, map_.leased_bytes() + map_.warm_free_bytes() + begun);
    }
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
  Model model_;
  FakePages pages_;
  ExtentMap map_;
  const bool has_pages_;
  std::map<std::uint64_t, LeaseRequest> waiting_;
  std::vector<LeaseAnswer> answers_;
  std::optional<Extent> prefaulting_;
  base::TimeNs now_ns_ = 0;
  std::uint64_t ticket_ = 0;
  bool is_finishing_ = false;
};

void walk_many(bool has_pages) {
  for (std::uint64_t round = 0; round < 40; ++round) {
    const std::uint64_t granules = 16 + (kit::seed() + round * 37) % 200;
    Walk walk(kit::seed() + round, granules, has_pages);
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

TEST(ExtentMapModel, RandomStepsAgreeWithTheModel) { walk_many(false); }
TEST(ExtentMapModel, RandomStepsAgreeWithTheModelWhereOthersWantTheMemory) { walk_many(true); }

}  // namespace
}  // namespace rayx::store
