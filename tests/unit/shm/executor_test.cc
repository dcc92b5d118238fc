// The executor's side in one thread: what it takes, what it gives back, whom it wakes when it goes, and what it tells the node
// about the queues that it still uses.
#include "shm/executor.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>

#include "shm/lane_puller.hpp"

namespace rayx::shm {
namespace {

class ExecutorTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kBytes = 16 << 20;
  static constexpr std::uint32_t kLanes = 4;
  static constexpr std::uint32_t kSlots = 8;

  ExecutorTest() {
    memory_ = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    control_ = Control::create(Segment(static_cast<std::byte*>(memory_), kBytes), kSlots, kLanes);
    next_ = (Control::bytes_for(kSlots, kLanes) + 4095) / 4096 * 4096;
    owner_ = *control_.add_process();
    control_.begin_owning(owner_);
    create_record_slab(at(control_.slot(owner_).record_slabs[0] = reserve(sizeof(RecordSlab))));
  }
  ~ExecutorTest() override { ::munmap(memory_, kBytes); }

  Offset reserve(std::uint64_t bytes) { return std::exchange(next_, (next_ + bytes + 4095) / 4096 * 4096); }
  std::byte* at(Offset offset) { return control_.segment().base() + offset; }

  TaskQueue open_queue(std::uint32_t submitter, std::uint32_t lane) {
    const Offset memory = reserve(TaskQueue::bytes_for(64));
    TaskQueue queue = TaskQueue::create(at(memory), 64, submitter);
    control_.publish_queue(submitter, lane, memory);
    return queue;
  }
  // As the owner does it; returns the position.
  std::uint64_t submit(TaskQueue& queue, std::uint64_t& tail, std::uint32_t lane, std::uint32_t record) {
    records().at(record).state.store(detail::kRecordPending, std::memory_order_relaxed);
    TaskBody body{};
    body.record = record;
    body.generation = records().at(record).generation;
    const std::uint64_t position = tail;
    EXPECT_TRUE(queue.push(tail, body));
    control_.lane(lane).wake_after_publish();
    return position;
  }
  Records records() { return control_.records_of(owner_); }

  void* memory_ = nullptr;
  Control control_;
  Offset next_ = 0;
  std::uint32_t owner_ = 0;
};

// Failed when only an executor that was marked as searching passed on: the submitter's one wake went to an executor that had just
// lost its lease, and the task lay there while the other one slept.
TEST_F(ExecutorTest, WhoLeavesTheLaneHandsOnTheWakeUpThatItWasGiven) {
  constexpr std::uint32_t kLane = 1;
  const std::uint32_t leaving = *control_.add_process();
  const std::uint32_t staying = *control_.add_process();
  const Lane lane = control_.lane(kLane);
  const int leaving_member = lane.add_member(leaving);
  const int staying_member = lane.add_member(staying);
  TaskQueue queue = open_queue(owner_, kLane);
  std::uint64_t tail = 0;
  Executor executor(control_, leaving);
  executor.join_lane(kLane, leaving_member);
  lane.announce_sleep(leaving_member, control_.slot(leaving));
  lane.announce_sleep(staying_member, control_.slot(staying));

  submit(queue, tail, kLane, 0);
  ASSERT_EQ(control_.slot(leaving).run_word.load(), 0u) << "the lowest number is woken first";
  ASSERT_EQ(control_.slot(staying).run_word.load(), 1u);
  lane.withdraw_sleep(leaving_member, control_.slot(leaving));
  executor.leave_lane();  // its lease was taken away while it slept
  EXPECT_EQ(control_.slot(staying).run_word.load(), 0u) << "a task lies there and everybody who could take it sleeps";
}

// Failed when each lane that a relay announced its sleep in set its word anew: a task that came into the first one meanwhile had taken the
// relay's bit and woken it in vain, and lay there until something else came.
TEST_F(ExecutorTest, WhoSleepsInManyLanesKeepsTheWakeUpOfTheFirst) {
  const std::uint32_t me = *control_.add_process();
  LanePuller puller(control_, me);
  control_.lane(1).add_relay(me);
  control_.lane(2).add_relay(me);
  puller.join(1);
  puller.join(2);
  TaskQueue queue = open_queue(owner_, 1);
  std::uint64_t tail = 0;
  ProcessSlot& slot = control_.slot(me);
  slot.run_word.store(1);
  puller.announce_sleep(1);
  ASSERT_FALSE(puller.has_work(1));
  submit(queue, tail, 1, 0);
  puller.announce_sleep(2);
  EXPECT_EQ(slot.run_word.load(), 0u) << "it would sleep beside a task";
}

// Failed when the version of the lane before was kept: the node took the queue's memory away from under the executor.
TEST_F(ExecutorTest, WhoJoinsALaneHasSeenNoVersionOfIt) {
  const std::uint32_t me = *control_.add_process();
  Executor executor(control_, me);
  for (int i = 0; i < 5; ++i) control_.lane(1).state().version.fetch_add(1);
  executor.join_lane(1, control_.lane(1).add_member(me));
  Executor::Task task;
  EXPECT_FALSE(executor.take(task));
  ASSERT_GE(control_.slot(me).lane_version_seen.load(), 5u);
  executor.leave_lane();
  open_queue(owner_, 2);
  executor.join_lane(2, control_.lane(2).add_member(me));
  EXPECT_LT(control_.slot(me).lane_version_seen.load(), control_.lane(2).state().version.load());
  EXPECT_FALSE(executor.take(task));
  EXPECT_EQ(control_.slot(me).lane_version_seen.load(), control_.lane(2).state().version.load());
}

// Failed when a version that was seen below a task counted as told: a dead submitter of the lane was never buried.
TEST_F(ExecutorTest, WhoSeesAVersionBelowATaskTellsItWhenTheTaskIsDone) {
  constexpr std::uint32_t kLane = 1;
  const std::uint32_t me = *control_.add_process();
  TaskQueue queue = open_queue(owner_, kLane);
  std::uint64_t tail = 0;
  Executor executor(control_, me);
  executor.join_lane(kLane, control_.lane(kLane).add_member(me));
  submit(queue, tail, kLane, 0);
  submit(queue, tail, kLane, 1);
  Executor::Task outer;
  Executor::Task inner;
  ASSERT_TRUE(executor.take(outer));
  const std::uint32_t other = *control_.add_process();
  open_queue(other, kLane);
  control_.lane(kLane).remove_submitter(other);
  ASSERT_TRUE(executor.take(inner));
  const std::uint64_t version = control_.lane(kLane).state().version.load();
  EXPECT_LT(control_.slot(me).lane_version_seen.load(), version) << "the outer task may be of a queue that was removed";
  executor.finish(inner, detail::kRecordDoneInline);
  executor.finish(outer, detail::kRecordDoneInline);
  EXPECT_FALSE(executor.take(outer));
  EXPECT_EQ(control_.slot(me).lane_version_seen.load(), version);
}

TEST_F(ExecutorTest, AWaiterTakesWhatItWaitsForAndGivesBackWhatCannotRun) {
  constexpr std::uint32_t kLane = 1;
  const std::uint32_t me = *control_.add_process();
  TaskQueue queue = open_queue(owner_, kLane);
  std::uint64_t tail = 0;
  Executor executor(control_, me);
  executor.join_lane(kLane, control_.lane(kLane).add_member(me));
  submit(queue, tail, kLane, 0);
  const std::uint64_t position = submit(queue, tail, kLane, 1);
  Executor::Task first;
  Executor::Task second;
  ASSERT_TRUE(executor.take(first));
  ASSERT_TRUE(executor.take_at(owner_, kLane, position, second));
  EXPECT_FALSE(executor.take_at(owner_, kLane, position, second)) << "one position is claimed once";
  EXPECT_EQ(second.body.record, 1u);
  EXPECT_EQ(executor.depth(), 2u);
  executor.finish(second, detail::kRecordDoneInline);
  executor.hand_back(first);
  EXPECT_EQ(executor.depth(), 0u);
  EXPECT_EQ(records().at(0).state.load(), detail::kRecordPending | detail::kRecordReturned);
  EXPECT_TRUE(detail::is_done(records().at(1).state.load()));
  std::uint32_t told = UINT32_MAX;
  records().take_completed([&](std::uint32_t index) { told = index; });
  EXPECT_EQ(told, 0u);
}

// Failed when it began: what the task needs may be let go as soon as its owner is dead and nobody is seen to run a task of it.
TEST_F(ExecutorTest, AWaiterBeginsNoTaskOfADeadOwner) {
  constexpr std::uint32_t kLane = 1;
  const std::uint32_t me = *control_.add_process();
  TaskQueue queue = open_queue(owner_, kLane);
  std::uint64_t tail = 0;
  const std::uint64_t position = submit(queue, tail, kLane, 0);
  Executor executor(control_, me);
  executor.join_lane(kLane, control_.lane(kLane).add_member(me));
  control_.announce_death(owner_);
  Executor::Task task;
  EXPECT_FALSE(executor.take_at(owner_, kLane, position, task));
  EXPECT_EQ(executor.depth(), 0u);
  EXPECT_FALSE(control_.has_tasks_of(me));
}

}  // namespace
}  // namespace rayx::shm
