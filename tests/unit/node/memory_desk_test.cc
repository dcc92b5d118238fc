// Desks of several jobs that share the memory of a node, each with a thread that looks as its node's loop does.
#include "node/memory_desk.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "kit/seed.hpp"

namespace rayx::node {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr shm::Offset kBegin = 2 * kMiB;
const base::SteadyClock steady;

class Job {
 public:
  Job(SharedMemory& memory, std::uint64_t bytes)
      : member_(
            memory, [this] { ring(); }, [this](const store::Extent& unused) { dropped_bytes += unused.bytes; }),
        desk(kBegin, bytes, steady, &member_),
        loop_([this] { run(); }) {}
  ~Job() {
    desk.close();
    is_over_ = true;
    ring();
    loop_.join();
  }

  Result<store::Lease> lease(std::uint64_t bytes, std::chrono::seconds patience = std::chrono::seconds(30)) {
    store::LeaseRequest request;
    request.lessee = 1;
    request.bytes = bytes;
    request.deadline_ns = base::deadline_ns(steady.now_ns(), patience);
    return desk.lease(request);
  }
  void release(const store::Lease& lease) {
    bool wake_node = false;
    EXPECT_TRUE(desk.release(lease.extent.offset, wake_node));
    if (wake_node) ring();
  }
  std::atomic<std::uint64_t> dropped_bytes{0};

 private:
  void ring() {
    const std::lock_guard lock(mutex_);
    is_rung_ = true;
    rung_.notify_all();
  }
  void run() {
    while (!is_over_) {
      desk.follow_others();
      EXPECT_TRUE(desk.take_answers().empty()) << "there are no workers";
      const base::TimeNs until = desk.next_deadline_ns();
      std::unique_lock lock(mutex_);
      const auto is_rung = [this] { return std::exchange(is_rung_, false); };
      if (until == base::kNever) {
        rung_.wait(lock, is_rung);
      } else {
        rung_.wait_for(lock, std::chrono::nanoseconds(std::max<base::TimeNs>(until - steady.now_ns(), 0)), is_rung);
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable rung_;
  bool is_rung_ = false;
  std::atomic<bool> is_over_{false};
  SharedMemory::Member member_;

 public:
  MemoryDesk desk;

 private:
  std::thread loop_;
};

TEST(SharedMemory, WhatOneJobHasReleasedGoesToTheOtherThatWaits) {
  SharedMemory memory(64 * kMiB);
  Job first(memory, 64 * kMiB);
  Job second(memory, 64 * kMiB);
  const auto all = first.lease(60 * kMiB);
  ASSERT_TRUE(all) << all.error().message;
  auto waits = std::async(std::launch::async, [&] { return second.lease(30 * kMiB); });
  while (!memory.is_short()) std::this_thread::yield();
  EXPECT_EQ(second.desk.used_bytes(), 60 * kMiB) << "of which nothing is its own";
  first.release(*all);
  const auto got = waits.get();
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_GE(first.dropped_bytes, 26 * kMiB);
  EXPECT_LE(first.dropped_bytes, 40 * kMiB) << "the rest is used again";
}

TEST(SharedMemory, WhoWaitsInVainIsToldWhatTheOthersHave) {
  SharedMemory memory(64 * kMiB);
  Job first(memory, 64 * kMiB);
  Job second(memory, 64 * kMiB);
  ASSERT_TRUE(first.lease(60 * kMiB));
  const auto none = second.lease(30 * kMiB, std::chrono::seconds(0));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kStoreFull);
  EXPECT_THAT(none.error().message, HasSubstr("other programs on this node have 60.0 MiB"));
}

// Nothing happens when a claim is over, so who waits behind it looks by itself.
TEST(SharedMemory, WhoWaitsBehindAClaimGoesOnWhenItIsOver) {
  SharedMemory memory(64 * kMiB);
  Job first(memory, 64 * kMiB);
  Job second(memory, 64 * kMiB);
  ASSERT_TRUE(first.lease(30 * kMiB));
  auto claims = std::async(std::launch::async, [&] { return second.lease(40 * kMiB, std::chrono::seconds(5)); });
  while (!memory.is_short()) std::this_thread::yield();
  const auto more = first.lease(15 * kMiB);
  EXPECT_TRUE(more) << more.error().message;
  EXPECT_FALSE(claims.get());
}

TEST(SharedMemory, AJobThatEndsLeavesAllToTheOthers) {
  SharedMemory memory(64 * kMiB);
  Job first(memory, 64 * kMiB);
  auto second = std::make_unique<Job>(memory, 64 * kMiB);
  ASSERT_TRUE(second->lease(60 * kMiB));
  auto waits = std::async(std::launch::async, [&] { return first.lease(64 * kMiB); });
  while (!memory.is_short()) std::this_thread::yield();
  second.reset();
  EXPECT_TRUE(waits.get());
}

// Threads of three jobs lease and release without end: each gets what it asks for in time.
TEST(SharedMemory, ManyThreadsOfSeveralJobsAllGoOn) {
  constexpr int kLeases = 60;
  SharedMemory memory(32 * kMiB);
  std::vector<std::unique_ptr<Job>> jobs;
  for (int i = 0; i < 3; ++i) jobs.push_back(std::make_unique<Job>(memory, 32 * kMiB));
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < 6; ++i)
    threads.emplace_back([&, i] {
      std::mt19937_64 random(kit::seed() + i);
      for (int n = 0; n < kLeases; ++n) {
        const auto lease = jobs[i / 2]->lease((1 + random() % 10) * kMiB);
        ASSERT_TRUE(lease) << lease.error().message;
        for (std::uint64_t turns = random() % 100; turns != 0; --turns) std::this_thread::yield();
        jobs[i / 2]->release(*lease);
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const auto& job : jobs) EXPECT_EQ(job->desk.leased_bytes(), 0u);
}

// Failed when the node's loop slept with answers that had come after it had taken the others: the worker waited for ever.
TEST(MemoryDesk, IsDueAsLongAsSomebodyHasAnAnswer) {
  const auto request_of = [](std::uint32_t lessee, base::TimeNs deadline_ns) {
    store::LeaseRequest request;
    request.lessee = lessee;
    request.bytes = 3 * kMiB;
    request.deadline_ns = deadline_ns;
    request.ticket = lessee;
    return request;
  };
  const auto no_answer = [](const store::LeaseAnswer&) { FAIL() << "there is no room"; };
  MemoryDesk desk(kBegin, 4 * kMiB, steady);
  const Result<store::Lease> first = desk.lease(request_of(1, base::kNever));
  ASSERT_TRUE(first);
  desk.request(request_of(2, base::kNever), no_answer);
  EXPECT_EQ(desk.next_deadline_ns(), base::kNever);
  desk.release_all(1, [](const store::Lease&) { return false; });  // a burial
  EXPECT_LE(desk.next_deadline_ns(), steady.now_ns());
  EXPECT_EQ(desk.take_answers().size(), 1u);
  EXPECT_EQ(desk.next_deadline_ns(), base::kNever);
  // A thread of this process finds that the time of a worker's request is over.
  const base::TimeNs soon = steady.now_ns() + 1'000'000;
  desk.request(request_of(3, soon), no_answer);
  while (steady.now_ns() < soon) std::this_thread::yield();
  EXPECT_FALSE(desk.lease(request_of(4, soon)));
  EXPECT_LE(desk.next_deadline_ns(), steady.now_ns());
  EXPECT_EQ(desk.take_answers().size(), 1u);
}

}  // namespace
}  // namespace rayx::node
