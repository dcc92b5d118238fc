// What a dead worker held is let go of as soon as no value of its own that others can reach names it, and not before.
#include "node/dead_holds.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <initializer_list>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <rayx/detail/ref_positions.hpp>

namespace rayx::node {
namespace {

using shm::Control;
using shm::HoldTable;
using shm::ObjectKey;

class DeadHolds : public testing::Test {
 protected:
  static constexpr std::uint64_t kBytes = 8 << 20;
  static constexpr std::uint32_t kSlots = 4;
  DeadHolds() {
    memory_ = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    control_ = Control::create(shm::Segment(static_cast<std::byte*>(memory_), kBytes), kSlots, 2);
    next_ = (Control::bytes_for(kSlots, 2) + 4095) / 4096 * 4096;
    driver_ = add_owner();
    worker_ = add_owner();
  }
  ~DeadHolds() override { ::munmap(memory_, kBytes); }

  shm::Offset reserve(std::uint64_t bytes) { return std::exchange(next_, (next_ + bytes + 4095) / 4096 * 4096); }
  std::uint32_t add_owner() {
    const std::uint32_t owner = *control_.add_process();
    control_.begin_owning(owner);
    const shm::Offset slab = reserve(sizeof(shm::RecordSlab));
    shm::create_record_slab(control_.segment().base() + slab);
    control_.slot(owner).record_slabs[0].store(slab);
    EXPECT_TRUE(HoldTable(control_.segment(), control_.slot(owner).holds).add_chunk(reserve(sizeof(shm::HoldChunk))));
    return owner;
  }
  // An object of `owner` whose value is these references, in the record or in a block.
  ObjectKey object(std::uint32_t owner, std::uint32_t record, std::initializer_list<ObjectKey> names,
                   bool is_block = true) {
    std::string value;
    detail::RefPositions positions;
    for (const ObjectKey name : names) {
      value += "data";
      positions.add(value.size());
      const detail::RefName bytes{{name.word, 1}};
      value.append(reinterpret_cast<const char*>(&bytes), sizeof(bytes));
    }
    const std::size_t at = value.size();
    value.resize(at + positions.trailer_bytes());
    positions.write(reinterpret_cast<std::byte*>(value.data()) + at);
    detail::Record& it = control_.records_of(owner).at(record);
    std::uint32_t state = detail::kRecordDoneInline;
    if (is_block) {
      state = detail::kRecordDoneBlock;
      const detail::BlockRef block{reserve(value.size()), value.size()};
      std::memcpy(control_.segment().base() + block.offset, value.data(), value.size());
      std::memcpy(it.payload, &block, sizeof(block));
    } else {
      EXPECT_LE(value.size(), detail::kRecordInlineBytes);
      std::memcpy(it.payload, value.data(), value.size());
      it.size = static_cast<std::uint32_t>(value.size());
    }
    if (names.size() != 0) state |= detail::kRecordHasRefs | detail::kRecordAdopted;
    it.state.store(state);
    return ObjectKey::make(owner, record, 1);
  }
  void hold(std::uint32_t process, ObjectKey key) {
    ASSERT_TRUE(HoldTable(control_.segment(), control_.slot(process).holds).add(key));
  }
  std::set<std::uint64_t> held_by(std::uint32_t process) {
    std::set<std::uint64_t> keys;
    HoldTable(control_.segment(), control_.slot(process).holds).for_each([&](ObjectKey key) { keys.insert(key.word); });
    return keys;
  }
  // In another process. The caller may end it: leave().
  shm::RunningStack run_task_of_worker() {
    shm::RunningStack running(control_.slot(add_owner()));
    running.enter({worker_, 9, 1, 0});
    return running;
  }
  void worker_dies() {
    control_.announce_death(worker_);
    for (std::uint32_t i = 0; i < kSlots; ++i)
      if (control_.slot(i).life.load() == shm::ProcessLife::kLive) control_.handle_deaths(i, [](std::uint32_t) {});
    ASSERT_TRUE(control_.is_buried(worker_));
  }
  std::set<std::uint32_t> told(std::uint32_t owner) {
    std::set<std::uint32_t> records;
    control_.records_of(owner).take_completed([&](std::uint32_t record) { records.insert(record); });
    return records;
  }

  void* memory_ = nullptr;
  Control control_;
  shm::Offset next_ = 0;
  std::uint32_t driver_ = 0;
  std::uint32_t worker_ = 0;
};

// Before there was this, the two kept each other until the job ended.
TEST_F(DeadHolds, AndWhatNamesAnObjectOfTheDeadDoNotKeepEachOther) {
  const ObjectKey of_worker = object(worker_, 3, {});
  const ObjectKey of_driver = object(driver_, 7, {of_worker});
  hold(driver_, of_worker);  // the driver's object contains it
  hold(worker_, of_driver);
  worker_dies();
  EXPECT_TRUE(control_.is_used_by_others(worker_));
  release_needless_holds(control_, worker_);
  EXPECT_EQ(held_by(worker_), std::set<std::uint64_t>{});
  EXPECT_EQ(told(driver_), std::set<std::uint32_t>{7}) << "its owner looks whether anybody else has it";
  EXPECT_FALSE(control_.is_held_elsewhere(of_driver, driver_));
  control_.release_hold(driver_, of_worker);
  EXPECT_FALSE(control_.is_used_by_others(worker_));
}

TEST_F(DeadHolds, StayForWhatAReachableValueNames) {
  const ObjectKey kept = object(driver_, 1, {});
  const ObjectKey kept_deeper = object(driver_, 2, {});
  const ObjectKey needless = object(driver_, 3, {});
  const ObjectKey of_nobody = object(driver_, 4, {});
  const ObjectKey inner = object(worker_, 1, {kept_deeper}, false);
  const ObjectKey outer = object(worker_, 2, {kept, inner});
  static_cast<void>(object(worker_, 3, {of_nobody}));  // nobody holds this one
  for (const ObjectKey key : {kept, kept_deeper, needless, of_nobody}) hold(worker_, key);
  hold(driver_, outer);
  worker_dies();
  release_needless_holds(control_, worker_);
  EXPECT_EQ(held_by(worker_), (std::set<std::uint64_t>{kept.word, kept_deeper.word}));
  EXPECT_EQ(told(driver_), (std::set<std::uint32_t>{3, 4}));
  hold(driver_, inner);
  control_.release_hold(driver_, outer);
  release_needless_holds(control_, worker_);
  EXPECT_EQ(held_by(worker_), std::set<std::uint64_t>{kept_deeper.word}) << "only the inner one is read any more";
}

TEST_F(DeadHolds, StayWhileATaskOfTheDeadRuns) {
  const ObjectKey argument = object(driver_, 1, {});
  hold(worker_, argument);
  shm::RunningStack running = run_task_of_worker();
  worker_dies();
  release_needless_holds(control_, worker_);
  EXPECT_EQ(held_by(worker_), std::set<std::uint64_t>{argument.word});
  running.leave();
  release_needless_holds(control_, worker_);
  EXPECT_TRUE(held_by(worker_).empty());
}

TEST_F(DeadHolds, AllStayBehindDamagedBytes) {
  const ObjectKey named = object(driver_, 1, {});
  const ObjectKey damaged = object(worker_, 1, {named});
  detail::BlockRef block;
  std::memcpy(&block, control_.records_of(worker_).at(1).payload, sizeof(block));
  const std::uint32_t count = 1'000'000;
  std::memcpy(control_.segment().base() + block.offset + block.size - sizeof(count), &count, sizeof(count));
  hold(worker_, named);
  hold(driver_, damaged);
  worker_dies();
  release_needless_holds(control_, worker_);
  EXPECT_EQ(held_by(worker_), std::set<std::uint64_t>{named.word});
}

// It may have died between kRecordWanted and its word to the owner, and the one that runs its task may wait for that very value.
TEST_F(DeadHolds, OwnersLookOnceAlsoWhereAllStays) {
  const ObjectKey wanted = object(driver_, 5, {});
  hold(worker_, wanted);
  run_task_of_worker();
  worker_dies();
  control_.tell_owners_of_holds(worker_);
  EXPECT_EQ(told(driver_), std::set<std::uint32_t>{5});
  EXPECT_EQ(held_by(worker_), std::set<std::uint64_t>{wanted.word});
}

// Failed when its owner was told only when all that the dead owned was free.
TEST_F(DeadHolds, OneThatWasBeingReleasedAtTheDeathIsToldToItsOwnerAtOnce) {
  const ObjectKey used = object(worker_, 1, {});
  hold(driver_, used);
  control_.slot(worker_).holds.releasing.store(object(driver_, 2, {}).word);
  worker_dies();
  release_needless_holds(control_, worker_);
  EXPECT_EQ(told(driver_), std::set<std::uint32_t>{2});
  EXPECT_EQ(control_.slot(worker_).holds.releasing.load(), 0u);
}

}  // namespace
}  // namespace rayx::node
