// The rules of the store's books, one by one: where a request goes, who waits, what a death leaves, what is faulted ahead.
#include "store/extent_map.hpp"

#include <gtest/gtest.h>

namespace rayx::store {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr Offset kBegin = 2 * kMiB;

struct Store {
  explicit Store(std::uint64_t bytes, Pages* pages = nullptr) : map(kBegin, bytes, pages) {}

  // The answer to a request that is answered at once; nothing if it waits.
  std::optional<LeaseAnswer> ask(std::uint64_t bytes, std::uint32_t lessee = 1, base::TimeNs deadline_ns = base::kNever,
                                 bool is_slab = false) {
    answers.clear();
    map.request({++ticket, lessee, bytes, {lessee, 0, 1}, is_slab, deadline_ns}, now_ns, answers);
    EXPECT_TRUE(map.is_valid());
    if (answers.empty()) return std::nullopt;
    return answers[0];
  }
  Extent lease(std::uint64_t bytes, std::uint32_t lessee = 1) {
    const auto answer = ask(bytes, lessee);
    EXPECT_TRUE(answer && answer->outcome == LeaseOutcome::kGranted) << bytes;
    return answer ? answer->lease.extent : Extent{};
  }
  void free(const Extent& extent) {
    answers.clear();
    EXPECT_TRUE(map.release(extent.offset, now_ns, answers));
    EXPECT_TRUE(map.is_valid());
  }

  ExtentMap map;
  std::vector<LeaseAnswer> answers;
  base::TimeNs now_ns = 0;
  std::uint64_t ticket = 0;
};

TEST(ExtentMap, RoundsUpToGranulesAndGivesDisjointMemory) {
  Store store(4 * kMiB);
  const Extent a = store.lease(1);
  const Extent b = store.lease(kGranuleBytes + 1);
  EXPECT_EQ(a.bytes, kGranuleBytes);
  EXPECT_EQ(b.bytes, 2 * kGranuleBytes);
  EXPECT_GE(b.offset, a.offset + a.bytes);
  EXPECT_EQ(store.map.leased_bytes(), 3 * kGranuleBytes);
}

TEST(ExtentMap, TakesWarmMemoryFirstAndTheSmallestThatFits) {
  Store store(64 * kMiB);
  const Extent big = store.lease(8 * kMiB);
  const Extent wall = store.lease(kGranuleBytes);
  const Extent small = store.lease(2 * kMiB);
  const Extent end = store.lease(kGranuleBytes);
  store.free(big);
  store.free(small);
  EXPECT_EQ(store.map.warm_free_bytes(), 10 * kMiB);
  EXPECT_EQ(store.lease(2 * kMiB), small);
  EXPECT_EQ(store.lease(8 * kMiB), big);
  EXPECT_EQ(store.map.warm_free_bytes(), 0u);
  (void)wall, (void)end;
}

TEST(ExtentMap, CoalescesSoThatTheWholeStoreCanBeLeasedAgain) {
  Store store(8 * kMiB);
  std::vector<Extent> all;
  for (int i = 0; i < 8; ++i) all.push_back(store.lease(kMiB));
  for (int i : {1, 3, 5, 7, 0, 2, 4, 6}) store.free(all[static_cast<std::size_t>(i)]);
  EXPECT_EQ(store.lease(8 * kMiB).bytes, 8 * kMiB);
}

TEST(ExtentMap, SpansWarmAndColdMemoryBesideEachOther) {
  Store store(8 * kMiB);
  store.free(store.lease(3 * kMiB));  // [warm 3][cold 5]
  const Extent spanning = store.lease(4 * kMiB);
  EXPECT_EQ(spanning.offset, kBegin) << "three warm MiB are better than none";
}

TEST(ExtentMap, PutsSlabsOnMultiplesOfTheirSize) {
  Store store(4 * kMiB);
  store.lease(kGranuleBytes);
  for (int i = 0; i < 15; ++i) {
    const auto answer = store.ask(0, 1, 0, true);
    ASSERT_TRUE(answer && answer->outcome == LeaseOutcome::kGranted) << i;
    EXPECT_EQ(answer->lease.extent.offset % shm::kSlabBytes, 0u);
    EXPECT_EQ(answer->lease.extent.bytes, shm::kSlabBytes);
  }
  EXPECT_EQ(store.ask(0, 1, 0, true)->outcome, LeaseOutcome::kTimedOut) << "what is left is not a whole slab";
  EXPECT_EQ(store.lease(3 * kGranuleBytes).bytes, 3 * kGranuleBytes);
}

TEST(ExtentMap, RefusesWhatCanNeverFitAndSaysTheNumbers) {
  Store store(4 * kMiB);
  EXPECT_EQ(store.ask(4 * kMiB + 1)->outcome, LeaseOutcome::kTooLarge);
  EXPECT_EQ(store.ask(UINT64_MAX)->outcome, LeaseOutcome::kTooLarge);
  store.lease(3 * kMiB);
  EXPECT_EQ(
      store.map.full_text(2 * kMiB),
      "the object store is full: 2.0 MiB were asked for, 3.0 MiB of 4.0 MiB are in use by 1 leases, the largest free "
      "piece is 1.0 MiB, and 0 requests wait");
}

TEST(ExtentMap, DoesNotBelieveAReleaseOfWhatIsNotLeased) {
  Store store(4 * kMiB);
  const Extent extent = store.lease(kMiB);
  EXPECT_FALSE(store.map.release(extent.offset + kGranuleBytes, 0, store.answers));
  EXPECT_FALSE(store.map.release(extent.offset + 1, 0, store.answers));
  EXPECT_FALSE(store.map.release(0, 0, store.answers));
  EXPECT_FALSE(store.map.release(UINT64_MAX, 0, store.answers));
  store.free(extent);
  EXPECT_FALSE(store.map.release(extent.offset, 0, store.answers));
}

TEST(ExtentMap, WaitersAreServedInOrderWhenMemoryComesBack) {
  Store store(4 * kMiB);
  const Extent all = store.lease(4 * kMiB);
  EXPECT_FALSE(store.ask(2 * kMiB, 1));
  EXPECT_FALSE(store.ask(2 * kMiB, 2));
  EXPECT_FALSE(store.ask(2 * kMiB, 3));
  store.free(all);
  ASSERT_EQ(store.answers.size(), 2u);
  EXPECT_EQ(store.answers[0].lessee, 1u);
  EXPECT_EQ(store.answers[1].lessee, 2u);
  EXPECT_EQ(store.map.waiters(), 1u);
}

// Small requests go on for ever beside a large one that waits; it must be served after a bounded number of bytes all the same.
TEST(ExtentMap, SmallRequestsDoNotStarveALargeOne) {
  Store store(64 * kMiB);
  std::deque<Extent> small;
  for (int i = 0; i < 64; ++i) small.push_back(store.lease(kMiB));
  EXPECT_FALSE(store.ask(32 * kMiB, 7));
  std::uint64_t overtaken = 0;
  bool served = false;
  for (int step = 0; step < 1000 && !served; ++step) {
    ASSERT_FALSE(small.empty());
    store.free(small.front());
    small.pop_front();
    for (const LeaseAnswer& answer : store.answers) served |= answer.lessee == 7;
    if (served) break;
    const auto answer = store.ask(kMiB, 1);
    if (!answer) continue;
    overtaken += kMiB;
    small.push_back(answer->lease.extent);
  }
  EXPECT_TRUE(served);
  EXPECT_LE(overtaken, store.map.overtake_bytes_max());
  EXPECT_GT(overtaken, 0u) << "a few may pass: the large one may wait for what they finish";
}

TEST(ExtentMap, RequestsTimeOutAtTheirDeadlineAndLetOthersPass) {
  Store store(16 * kMiB);
  const Extent most = store.lease(15 * kMiB);
  EXPECT_FALSE(store.ask(16 * kMiB, 1, 100));
  for (int i = 0; i < 2; ++i) store.ask(kMiB, 2, 200);
  EXPECT_EQ(store.map.next_deadline_ns(), 100);
  store.answers.clear();
  store.map.expire(99, store.answers);
  EXPECT_TRUE(store.answers.empty());
  store.map.expire(100, store.answers);
  ASSERT_EQ(store.answers.size(), 1u);
  EXPECT_EQ(store.answers[0].outcome, LeaseOutcome::kTimedOut);
  EXPECT_EQ(store.map.next_deadline_ns(), 200);
  store.free(most);
  ASSERT_EQ(store.answers.size(), 1u);
  EXPECT_EQ(store.answers[0].outcome, LeaseOutcome::kGranted);
  EXPECT_EQ(store.map.next_deadline_ns(), base::kNever);
  EXPECT_EQ(store.ask(16 * kMiB, 3, 0)->outcome, LeaseOutcome::kTimedOut)
      << "a deadline in the past means: now or never";
}

TEST(ExtentMap, WaitersHaveALimit) {
  Store store(4 * kMiB);
  store.lease(4 * kMiB);
  for (std::size_t i = 0; i < kWaitersMax; ++i) {
    store.map.request({i, 1, kMiB, {}, false, base::kNever}, 0, store.answers);
  }
  EXPECT_EQ(store.map.waiters(), kWaitersMax);
  EXPECT_EQ(store.ask(kMiB)->outcome, LeaseOutcome::kTooManyWaiters);
}

TEST(ExtentMap, ADeadLesseeLeavesOnlyWhatALiveRecordNames) {
  Store store(16 * kMiB);
  const Extent published = store.lease(kMiB, 5);
  const Extent unfinished = store.lease(2 * kMiB, 5);
  const Extent foreign = store.lease(kMiB, 6);
  EXPECT_FALSE(store.ask(16 * kMiB, 5));
  store.answers.clear();
  store.map.release_all(
      5, [&](const Lease& lease) { return lease.extent == published; }, 0, store.answers);
  EXPECT_TRUE(store.answers.empty());
  EXPECT_EQ(store.map.waiters(), 0u) << "a dead process waits for nothing";
  EXPECT_EQ(store.map.leased_bytes(), published.bytes + foreign.bytes);
  EXPECT_EQ(store.map.find(unfinished.offset), nullptr);
  ASSERT_NE(store.map.find(published.offset), nullptr);
  EXPECT_EQ(store.map.find(published.offset)->lessee, kNobody);
  EXPECT_TRUE(store.map.has_orphans());
  // A new process with the slot of the dead one does not inherit it.
  store.map.release_all(
      5, [](const Lease&) { return false; }, 0, store.answers);
  EXPECT_NE(store.map.find(published.offset), nullptr);
  store.map.release_orphans([](const Lease&) { return false; }, 0, store.answers);
  EXPECT_EQ(store.map.leased_bytes(), foreign.bytes);
  EXPECT_FALSE(store.map.has_orphans());
  EXPECT_TRUE(store.map.is_valid());
}

// Faults what the map asks for until it asks no more.
std::uint64_t prefault_all(Store& store) {
  std::uint64_t bytes = 0;
  while (const auto chunk = store.map.next_prefault(store.now_ns)) {
    EXPECT_LE(chunk->bytes, kPrefaultChunkBytes);
    const std::uint64_t before = store.map.warm_free_bytes();
    store.map.mark_warm(*chunk);
    EXPECT_EQ(store.map.warm_free_bytes(), before + chunk->bytes) << "only cold free memory is worth faulting";
    EXPECT_TRUE(store.map.is_valid());
    bytes += chunk->bytes;
  }
  return bytes;
}

TEST(ExtentMap, FaultsNothingAheadForProgramsWithoutLargeObjects) {
  Store store(256 * kMiB);
  for (int i = 0; i < 100; ++i) store.ask(0, 1, 0, true);
  for (int i = 0; i < 10; ++i) store.lease(kLargeBytes - kGranuleBytes);
  EXPECT_EQ(prefault_all(store), 0u);
}

TEST(ExtentMap, FaultsAheadWhatLargeObjectsWillTakeNext) {
  Store store(256 * kMiB);
  store.lease(10 * kMiB);
  EXPECT_EQ(prefault_all(store), 10 * kMiB) << "one foretells one";
  EXPECT_EQ(prefault_all(store), 0u);
  store.now_ns += kDemandMemory_ns / 2 + 1;
  store.lease(10 * kMiB);
  EXPECT_EQ(store.map.warm_free_bytes(), 0u) << "the next one lies where it was warmed";
  EXPECT_EQ(prefault_all(store), 10 * kMiB);
  store.now_ns += kDemandMemory_ns / 2 + 1;
  store.lease(10 * kMiB);
  EXPECT_EQ(prefault_all(store), 10 * kMiB) << "large objects that go on coming keep the demand alive";
  store.lease(20 * kMiB);
  EXPECT_EQ(prefault_all(store), 30 * kMiB) << "that one found only half of it warm";
  store.lease(30 * kMiB);
  store.now_ns += kDemandMemory_ns + 1;
  EXPECT_EQ(prefault_all(store), 0u) << "old demand is forgotten";
}

TEST(ExtentMap, AnObjectThatIsReplacedAgainAndAgainFaultsOnce) {
  Store store(256 * kMiB);
  for (int i = 0; i < 20; ++i) store.free(store.lease(30 * kMiB));
  EXPECT_EQ(prefault_all(store), 0u) << "what was released is warm enough";
  EXPECT_EQ(store.map.warm_free_bytes(), 30 * kMiB);
}

TEST(ExtentMap, AheadIsAQuarterOfTheStoreAtMostAndStopsWhenMemoryIsShort) {
  Store store(64 * kMiB);
  store.lease(20 * kMiB);
  EXPECT_EQ(prefault_all(store), 16 * kMiB);
  store.lease(17 * kMiB);
  const auto chunk = store.map.next_prefault(0);
  ASSERT_TRUE(chunk);
  store.map.prefault_failed(*chunk);
  EXPECT_FALSE(store.map.next_prefault(0));
}

TEST(ExtentMap, MemoryThatIsLeasedWhileItIsFaultedIsWarmAfterwards) {
  Store store(64 * kMiB);
  store.lease(8 * kMiB);
  const auto chunk = store.map.next_prefault(0);
  ASSERT_TRUE(chunk);
  const Extent taken = store.lease(kMiB);
  ASSERT_EQ(taken.offset, chunk->offset);
  store.map.mark_warm(*chunk);
  EXPECT_TRUE(store.map.is_valid());
  EXPECT_EQ(store.map.warm_free_bytes(), chunk->bytes - taken.bytes);
}

// Memory that others want too: so many bytes may have pages.
struct Some final : Pages {
  bool take(std::uint64_t bytes) override { return bytes <= bytes_left ? (bytes_left -= bytes, true) : false; }
  std::uint64_t left() override { return bytes_left; }
  void give(std::uint64_t bytes) override { bytes_left += bytes; }
  void drop(const Extent& extent) override {
    bytes_left += extent.bytes;
    dropped.push_back(extent);
  }
  std::uint64_t bytes_left = 0;
  std::vector<Extent> dropped;
};

TEST(ExtentMap, WaitsForPagesThatOthersHaveAndUsesItsOwnAgainWithoutAsking) {
  Some pages;
  pages.bytes_left = 4 * kMiB;
  Store store(16 * kMiB, &pages);
  const Extent first = store.lease(4 * kMiB);
  ASSERT_FALSE(store.ask(kMiB));
  EXPECT_TRUE(store.map.waits_for_pages());
  pages.bytes_left = kMiB;
  store.map.pages_came(0, store.answers);
  ASSERT_EQ(store.answers.size(), 1u);
  EXPECT_FALSE(store.map.waits_for_pages());
  store.free(first);
  EXPECT_EQ(store.lease(4 * kMiB), first);
  EXPECT_TRUE(pages.dropped.empty());
}

TEST(ExtentMap, GivesUpPagesElsewhereForAnObjectThatFitsBesideThemOnly) {
  Some pages;
  pages.bytes_left = 6 * kMiB;
  Store store(16 * kMiB, &pages);
  std::vector<Extent> extents;
  for (int i = 0; i < 6; ++i) extents.push_back(store.lease(kMiB));
  for (const std::size_t i : {0u, 2u, 4u}) store.free(extents[i]);
  EXPECT_EQ(store.map.warm_free_bytes(), 3 * kMiB);
  store.lease(3 * kMiB);
  EXPECT_EQ(store.map.warm_free_bytes(), 0u);
  EXPECT_EQ(pages.dropped.size(), 3u);
}

TEST(ExtentMap, DropsAsMuchOfWhatIsUnusedAsIsAskedFor) {
  Some pages;
  pages.bytes_left = 8 * kMiB;
  Store store(16 * kMiB, &pages);
  const Extent first = store.lease(4 * kMiB);
  store.lease(4 * kMiB);
  EXPECT_EQ(store.map.drop_unused(kMiB), 0u);
  store.free(first);
  EXPECT_EQ(store.map.drop_unused(kMiB), kMiB);
  EXPECT_EQ(store.map.drop_unused(100 * kMiB), 3 * kMiB);
  EXPECT_EQ(pages.bytes_left, 4 * kMiB);
}

}  // namespace
}  // namespace rayx::store
