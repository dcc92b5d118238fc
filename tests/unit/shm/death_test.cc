// What a death leaves in the control area: every owner handles it exactly once, whenever he looks, and the row that the dead
// process had is as good as new for the next one.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "kit/child_process.hpp"
#include "shm/control.hpp"

namespace rayx::base {
namespace {
std::function<void(const char*)> g_at_point;
void at_point(const char* name) {
  if (g_at_point) g_at_point(name);
}
}  // namespace
void (*on_kill_point)(const char*) = at_point;
}  // namespace rayx::base

namespace rayx::shm {
namespace {

class Death : public testing::Test {
 protected:
  static constexpr std::uint64_t kBytes = 8 << 20;
  static constexpr std::uint32_t kSlots = 4;
  static constexpr std::uint32_t kLanes = 2;
  Death() {
    memory_ = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    control_ = Control::create(Segment(static_cast<std::byte*>(memory_), kBytes), kSlots, kLanes);
    next_ = (Control::bytes_for(kSlots, kLanes) + 4095) / 4096 * 4096;
  }
  ~Death() override {
    base::g_at_point = nullptr;
    ::munmap(memory_, kBytes);
  }

  void handle(std::uint32_t owner, std::vector<std::uint32_t>& seen) {
    control_.handle_deaths(owner, [&](std::uint32_t dead) { seen.push_back(dead); });
  }
  Offset reserve(std::uint64_t bytes) { return std::exchange(next_, (next_ + bytes + 4095) / 4096 * 4096); }
  std::uint32_t add_owner() {
    const std::uint32_t owner = *control_.add_process();
    control_.begin_owning(owner);
    const Offset slab = reserve(sizeof(RecordSlab));
    create_record_slab(control_.segment().base() + slab);
    control_.slot(owner).record_slabs[0].store(slab);
    return owner;
  }
  HoldTable holds_of(std::uint32_t slot) { return HoldTable(control_.segment(), control_.slot(slot).holds); }
  std::vector<std::uint32_t> completed_of(std::uint32_t owner) {
    std::vector<std::uint32_t> indices;
    control_.records_of(owner).take_completed([&](std::uint32_t index) { indices.push_back(index); });
    return indices;
  }
  void die_and_bury(std::uint32_t slot) {
    control_.announce_death(slot);
    for (std::uint32_t i = 0; i < kSlots; ++i)
      if (control_.slot(i).life.load() == ProcessLife::kLive) control_.handle_deaths(i, [](std::uint32_t) {});
    ASSERT_TRUE(control_.is_buried(slot));
    control_.free_process(slot);
  }
  // Runs `body` in a process that ends as if killed when it passes `point`.
  void run_until(const char* point, const std::function<void()>& body) {
    kit::ChildProcess child([&] {
      base::g_at_point = [&](const char* name) {
        if (std::string(name) == point) ::_exit(9);
      };
      body();
      return 0;
    });
    const auto status = child.wait(std::chrono::seconds(20));
    ASSERT_TRUE(status.has_value());
    ASSERT_TRUE(status->exited_with(9)) << point << ": " << status->text();
  }

  void* memory_ = nullptr;
  Control control_;
  Offset next_ = 0;
};

// Failed when the version was raised before the death's own number was written: the owner said that he had handled it.
TEST_F(Death, IsSeenOnceByAnOwnerWhoLooksInTheMiddleOfItsAnnouncement) {
  for (const char* point : {"control.announce_death.before_life", "control.announce_death.before_version"}) {
    const std::uint32_t owner = *control_.add_process();
    const std::uint32_t dying = *control_.add_process();
    control_.begin_owning(owner);
    std::vector<std::uint32_t> seen;
    int looks = 0;
    base::g_at_point = [&](const char* name) {
      if (std::string(name) != point) return;
      ++looks;
      handle(owner, seen);
      EXPECT_TRUE(seen.empty() || control_.is_buried(dying));
    };
    control_.announce_death(dying);
    base::g_at_point = nullptr;
    EXPECT_EQ(looks, 1) << point;
    handle(owner, seen);
    handle(owner, seen);
    EXPECT_EQ(seen, std::vector<std::uint32_t>{dying}) << point;
    EXPECT_TRUE(control_.is_buried(dying));
    control_.free_process(dying);
    control_.announce_death(owner);
    control_.free_process(owner);
  }
}

// Failed when the version was read once: the node buried the dead one without this owner's word, used the row again, and the
// owner then took back what the new process in that row had claimed.
TEST_F(Death, ThatTheNodeBuriedBeforeAnOwnerBeganIsNotHandledByHim) {
  const std::uint32_t owner = *control_.add_process();
  const std::uint32_t dying = *control_.add_process();
  int points = 0;
  base::g_at_point = [&](const char* name) {
    if (std::string(name) != "control.begin_owning.before_word" || ++points > 1) return;
    control_.announce_death(dying);
    EXPECT_TRUE(control_.is_buried(dying)) << "nobody owns anything yet";
  };
  control_.begin_owning(owner);
  base::g_at_point = nullptr;
  ASSERT_GE(points, 1);
  std::vector<std::uint32_t> seen;
  handle(owner, seen);
  EXPECT_TRUE(seen.empty());
}

// Failed when lanes that nobody had used were passed over: the bit of the dead stayed in the lane's list of submitters.
TEST_F(Death, TakesTheSubmitterOutOfALaneThatItHadOnlyBegunToUse) {
  for (const char* point : {"control.publish_queue.before_bit", "lane.add_submitter.before_version"}) {
    const std::uint32_t dying = add_owner();
    const Offset queue = reserve(TaskQueue::bytes_for(64));
    run_until(point, [&] {
      TaskQueue::create(control_.segment().base() + queue, 64, dying);
      control_.publish_queue(dying, 1, queue);
    });
    control_.announce_death(dying);
    EXPECT_EQ(control_.lane(1).state().submitters[0].load(), 0u) << point;
    control_.free_process(dying);
    control_.slot(dying).queue_of_lane[1].store(kNoOffset);
    control_.slot(dying).record_slabs[0].store(kNoOffset);
  }
}

// Failed when the completion bits of the dead stayed: the next process in the row read a slab that it does not have, which is the
// start of the arena, and cleared words there.
TEST_F(Death, LeavesNoCompletionsToTheNextProcessInItsRow) {
  const std::uint32_t dying = add_owner();
  const Offset second = reserve(sizeof(RecordSlab));
  create_record_slab(control_.segment().base() + second);
  control_.slot(dying).record_slabs[1].store(second);
  control_.records_of(dying).mark_completed(kRecordsPerSlab + 7);
  die_and_bury(dying);
  for (auto& slab : control_.slot(dying).record_slabs) slab.store(kNoOffset);
  const std::uint32_t next = add_owner();
  ASSERT_EQ(next, dying);
  EXPECT_FALSE(control_.records_of(next).has_completed());
  EXPECT_TRUE(completed_of(next).empty());
}

// A process that lets go of an object may be late: the owner's row has a new owner then, with fewer records.
TEST_F(Death, ALateNoticeForTheDeadTouchesNothingOfTheLiving) {
  const std::uint32_t owner = add_owner();
  control_.records_of(owner).mark_completed(5 * kRecordsPerSlab + 1);
  EXPECT_TRUE(completed_of(owner).empty());
  EXPECT_EQ(control_.header().magic, kControlMagic);
}

// Failed when the node only wiped the table: nobody told the owners, and objects that the dead had held stayed for ever.
TEST_F(Death, OfAHolderMakesTheOwnersLookAgainOnceItIsBuried) {
  const std::uint32_t owner = add_owner();
  const std::uint32_t holder = *control_.add_process();
  const Offset chunk = reserve(sizeof(HoldChunk));
  ASSERT_TRUE(holds_of(holder).add_chunk(chunk));
  const ObjectKey key = ObjectKey::make(owner, 12, 1);
  ASSERT_TRUE(holds_of(holder).add(key));
  control_.announce_death(holder);
  EXPECT_TRUE(control_.is_held_elsewhere(key, owner)) << "a reference may be on its way to another process";
  std::vector<std::uint32_t> seen;
  handle(owner, seen);
  control_.slot(owner).attendance.end();  // its service thread sleeps
  EXPECT_TRUE(completed_of(owner).empty());
  control_.free_process(holder);
  EXPECT_EQ(completed_of(owner), std::vector<std::uint32_t>{12});
  EXPECT_FALSE(control_.is_held_elsewhere(key, owner));
  EXPECT_TRUE(Attendance::is_attended(control_.slot(owner).attendance.word())) << "it was woken";
}

// Failed when a hold was first cleared and then told about: a kill in between left neither the hold nor the notice.
TEST_F(Death, InTheMiddleOfAReleaseMakesTheOwnerLookAgain) {
  for (const char* point : {"hold.remove.before_word", "hold.remove.after_word", "completion.after_slab_word",
                            "completion.after_summary"}) {
    const std::uint32_t owner = add_owner();
    const std::uint32_t holder = *control_.add_process();
    ASSERT_TRUE(holds_of(holder).add_chunk(reserve(sizeof(HoldChunk))));
    const ObjectKey key = ObjectKey::make(owner, 12, 1);
    ASSERT_TRUE(holds_of(holder).add(key));
    run_until(point, [&] { control_.release_hold(holder, key); });
    die_and_bury(holder);
    EXPECT_EQ(completed_of(owner), std::vector<std::uint32_t>{12}) << point;
    EXPECT_FALSE(control_.is_held_elsewhere(key, owner)) << point;
    die_and_bury(owner);
  }
}

// Failed when the hold alone kept the dead owner's memory: who lets go of an object tells its owner afterwards, through a word in
// the owner's memory.
TEST_F(Death, OfAnOwnerKeepsItsMemoryUntilWhoLetsGoHasTold) {
  const std::uint32_t owner = add_owner();
  const std::uint32_t holder = *control_.add_process();
  ASSERT_TRUE(holds_of(holder).add_chunk(reserve(sizeof(HoldChunk))));
  const ObjectKey key = ObjectKey::make(owner, 12, 1);
  ASSERT_TRUE(holds_of(holder).add(key));
  int looks = 0;
  base::g_at_point = [&](const char* name) {
    if (std::string(name) != "completion.before_slab_word") return;
    ++looks;
    control_.announce_death(owner);
    EXPECT_TRUE(control_.is_buried(owner)) << "no other owner";
    EXPECT_TRUE(control_.is_used_by_others(owner));
  };
  control_.release_hold(holder, key);
  base::g_at_point = nullptr;
  EXPECT_EQ(looks, 1);
  EXPECT_FALSE(control_.is_used_by_others(owner));
}

// Failed when a sleeper was woken at the death and never again: another submitter came before it had said that it looked, or later, and
// wakes one executor only.
TEST_F(Death, OfASubmitterIsNotForgottenWhileExecutorsSleepThroughTheNextOne) {
  const std::uint32_t owner = add_owner();
  const std::uint32_t executor = *control_.add_process();
  const std::uint32_t next = add_owner();
  const Lane lane = control_.lane(0);
  const int member = lane.add_member(executor);
  ProcessSlot& slot = control_.slot(executor);
  control_.publish_queue(owner, 0, reserve(4096));
  control_.announce_death(owner);
  std::vector<std::uint32_t> seen;
  handle(next, seen);
  slot.lane_version_seen.store(lane.state().version.load());  // it has looked
  ASSERT_FALSE(control_.is_used_by_others(owner));
  control_.publish_queue(next, 0, reserve(4096));
  EXPECT_TRUE(control_.is_used_by_others(owner)) << "it may be that it looked before the death";
  lane.announce_sleep(member, slot);
  control_.wake_who_knows_queues(owner);
  EXPECT_EQ(slot.run_word.load(), 0u) << "it was woken";
  slot.lane_version_seen.store(lane.state().version.load());
  EXPECT_FALSE(control_.is_used_by_others(owner));
  lane.announce_sleep(member, slot);
  control_.wake_who_knows_queues(owner);
  EXPECT_EQ(slot.run_word.load(), 1u) << "it knows already";
}

// A relay sleeps in lanes whose work it does not want, and does not say so there.
TEST_F(Death, OfASubmitterWakesARelayAlsoWhereItIsNotSaidToSleep) {
  const std::uint32_t relay = add_owner();
  const std::uint32_t owner = add_owner();
  const std::uint32_t next = add_owner();
  control_.lane(0).add_relay(relay);
  control_.publish_queue(owner, 0, reserve(4096));
  control_.announce_death(owner);
  control_.lane(0).state().relay_version_seen.store(control_.lane(0).state().version.load());
  control_.publish_queue(next, 0, reserve(4096));
  control_.slot(relay).run_word.store(1);
  control_.wake_who_knows_queues(owner);
  EXPECT_EQ(control_.slot(relay).run_word.load(), 0u);
}

// Failed when only the living counted. Process a owns an object that a result of b names, and both die: until everybody has looked at
// what b left, and as long as somebody uses what b owned, the name must lead somewhere.
TEST_F(Death, OfAnOwnerKeepsItsMemoryAsLongAsTheMemoryOfADeadHolderIsUsed) {
  const std::uint32_t a = add_owner();
  const std::uint32_t b = add_owner();
  const std::uint32_t reader = add_owner();
  for (const std::uint32_t holder : {a, b, reader}) ASSERT_TRUE(holds_of(holder).add_chunk(reserve(sizeof(HoldChunk))));
  const ObjectKey of_a = ObjectKey::make(a, 12, 1);
  const ObjectKey of_b = ObjectKey::make(b, 3, 1);
  ASSERT_TRUE(holds_of(b).add(of_a));
  ASSERT_TRUE(holds_of(a).add(of_b)) << "in a ring, which keeps nobody";
  control_.announce_death(a);
  std::vector<std::uint32_t> seen;
  handle(b, seen);
  handle(reader, seen);
  ASSERT_TRUE(control_.is_buried(a));
  EXPECT_TRUE(control_.is_used_by_others(a)) << "b lives";
  control_.announce_death(b);
  EXPECT_TRUE(control_.is_used_by_others(a)) << "b is not buried";
  ASSERT_TRUE(holds_of(reader).add(of_b));
  handle(reader, seen);
  ASSERT_TRUE(control_.is_buried(b));
  EXPECT_TRUE(control_.is_used_by_others(b));
  EXPECT_TRUE(control_.is_used_by_others(a)) << "the object of b may contain a reference to that of a";
  control_.release_hold(reader, of_b);
  EXPECT_FALSE(control_.is_used_by_others(b));
  EXPECT_FALSE(control_.is_used_by_others(a));
}

}  // namespace
}  // namespace rayx::shm
