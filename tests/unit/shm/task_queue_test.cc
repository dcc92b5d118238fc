// The task queue against a std::deque, with random steps of several consumers, some of whom die holding claims.

#include "shm/task_queue.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "kit/seed.hpp"

namespace rayx::shm {
namespace {

struct QueueMemory {
  explicit QueueMemory(std::uint32_t cells)
      : bytes(static_cast<std::byte*>(std::aligned_alloc(kCacheLineBytes, TaskQueue::bytes_for(cells)))),
        queue(TaskQueue::create(bytes, cells, 7)) {}
  ~QueueMemory() { std::free(bytes); }
  QueueMemory(const QueueMemory&) = delete;
  QueueMemory& operator=(const QueueMemory&) = delete;
  std::byte* bytes;
  TaskQueue queue;
};

std::uint64_t kit_random() {
  static std::mt19937_64 random(kit::seed());
  return random();
}

TaskBody body_of(std::uint32_t number) {
  TaskBody body{};
  body.record = number;
  return body;
}

TEST(TaskQueue, HandsOutInOrderAndRefusesWhenFull) {
  QueueMemory memory(4);
  std::uint64_t tail = 0;
  for (std::uint32_t i = 0; i < 4; ++i) EXPECT_TRUE(memory.queue.push(tail, body_of(i)));
  EXPECT_FALSE(memory.queue.push(tail, body_of(4)));
  for (std::uint32_t i = 0; i < 4; ++i) {
    auto claim = memory.queue.claim_next(1);
    ASSERT_TRUE(claim.has_value());
    EXPECT_EQ(claim->cell->body.record, i);
    EXPECT_FALSE(memory.queue.push(tail, body_of(9))) << "a claimed cell must not be written over";
    memory.queue.release(*claim);
    EXPECT_TRUE(memory.queue.push(tail, body_of(4 + i)));
  }
  EXPECT_EQ(memory.queue.count_unclaimed(), 4u);
}

// The fault that stranded tasks: a consumer that runs into the lap before must stop there and not look behind it.
TEST(TaskQueue, DoesNotSkipTasksWhenTheLapBeforeIsStillClaimed) {
  QueueMemory memory(4);
  std::uint64_t tail = 0;
  for (std::uint32_t i = 0; i < 4; ++i) ASSERT_TRUE(memory.queue.push(tail, body_of(i)));
  std::vector<TaskQueue::Claim> claims;
  for (std::uint32_t i = 0; i < 4; ++i) claims.push_back(*memory.queue.claim_next(1));
  EXPECT_FALSE(memory.queue.looks_ready());
  EXPECT_FALSE(memory.queue.claim_next(2).has_value());
  for (std::uint32_t i = 1; i < 4; ++i) memory.queue.release(claims[i]);
  EXPECT_FALSE(memory.queue.push(tail, body_of(4))) << "position 4 waits for the release of position 0";
  EXPECT_FALSE(memory.queue.claim_next(2).has_value());
  memory.queue.release(claims[0]);
  for (std::uint32_t i = 4; i < 8; ++i) ASSERT_TRUE(memory.queue.push(tail, body_of(i)));
  for (std::uint32_t i = 4; i < 8; ++i) EXPECT_EQ(memory.queue.claim_next(2)->cell->body.record, i);
}

TEST(TaskQueue, AWaiterClaimsOnePositionOnce) {
  QueueMemory memory(8);
  std::uint64_t tail = 0;
  for (std::uint32_t i = 0; i < 6; ++i) ASSERT_TRUE(memory.queue.push(tail, body_of(i)));
  auto claim = memory.queue.claim_at(3, 1);
  ASSERT_TRUE(claim.has_value());
  EXPECT_EQ(claim->cell->body.record, 3u);
  EXPECT_FALSE(memory.queue.claim_at(3, 2).has_value());
  memory.queue.release(*claim);
  EXPECT_FALSE(memory.queue.claim_at(3, 2).has_value());
  for (std::uint32_t expected : {0u, 1u, 2u, 4u, 5u})
    EXPECT_EQ(memory.queue.claim_next(2)->cell->body.record, expected);
  EXPECT_FALSE(memory.queue.claim_next(2).has_value());
}

// A queue at 10 million tasks a second has used up its 48 bits of position after a year: it goes on from 0.
TEST(TaskQueue, GoesOnWhenItsPositionsBeginAgain) {
  constexpr std::uint32_t kCells = 8;
  QueueMemory memory(kCells);
  std::uint64_t tail = (std::uint64_t{1} << 48) - 3 * kCells;
  reinterpret_cast<TaskQueueHeader*>(memory.bytes)->head.store(tail);
  auto* cells = reinterpret_cast<TaskCell*>(memory.bytes + sizeof(TaskQueueHeader));
  for (std::uint32_t i = 0; i < kCells; ++i) cells[i].word.store(CellWord::make(tail + i, CellWord::kEmpty));
  std::uint32_t next = 0;
  std::deque<std::uint32_t> model;
  for (int step = 0; step < 20'000; ++step) {
    while (kit_random() % 3 != 0 && memory.queue.push(tail, body_of(next))) model.push_back(next++);
    ASSERT_TRUE(model.empty() || memory.queue.looks_ready());
    while (kit_random() % 3 != 0) {
      auto claim = memory.queue.claim_next(1);
      ASSERT_EQ(claim.has_value(), !model.empty()) << "at position " << tail;
      if (!claim) break;
      ASSERT_EQ(claim->cell->body.record, model.front());
      model.pop_front();
      memory.queue.release(*claim);
    }
    if (kit_random() % 4 != 0) continue;
    // A waiter takes the newest out of the middle, unless one has before.
    auto claim = memory.queue.claim_at((tail - 1) & CellWord::kPositionMask, 2);
    if (!claim) continue;
    ASSERT_EQ(claim->cell->body.record, model.back());
    model.pop_back();
    memory.queue.release(*claim);
  }
  EXPECT_GT(tail, std::uint64_t{1} << 48);
}

TEST(TaskQueue, AgreesWithADequeUnderRandomSteps) {
  std::mt19937_64 random(kit::seed());
  for (const std::uint32_t cells : {2u, 8u, 64u}) {
    QueueMemory memory(cells);
    std::uint64_t tail = 0;
    std::uint32_t next = 0;
    std::deque<std::uint32_t> model;  // pushed and unclaimed, in order
    std::map<std::uint32_t, std::vector<std::pair<TaskQueue::Claim, std::uint32_t>>> held;
    for (int step = 0; step < 20'000; ++step) {
      const auto consumer = static_cast<std::uint32_t>(1 + random() % 3);
      switch (random() % 8) {
        case 0:
        case 1:
        case 2:
          if (memory.queue.push(tail, body_of(next)))
            model.push_back(next++);
          else
            ASSERT_FALSE(model.empty() && held[1].empty() && held[2].empty() && held[3].empty())
                << "an empty queue refused";
          break;
        case 3:
        case 4: {
          auto claim = memory.queue.claim_next(consumer);
          ASSERT_EQ(claim.has_value(), !model.empty());
          if (!claim) break;
          ASSERT_EQ(claim->cell->body.record, model.front());
          held[consumer].emplace_back(*claim, model.front());
          model.pop_front();
          break;
        }
        case 5:
        case 6:
          if (!held[consumer].empty()) {
            const std::size_t which = random() % held[consumer].size();
            memory.queue.release(held[consumer][which].first);
            held[consumer].erase(held[consumer].begin() + static_cast<std::ptrdiff_t>(which));
          }
          break;
        default: {
          // The consumer dies: everything that it claimed and did not release comes back, once.
          std::map<std::uint32_t, int> back;
          memory.queue.take_claims_of(consumer, [&](const TaskBody& body) { ++back[body.record]; });
          ASSERT_EQ(back.size(), held[consumer].size());
          for (const auto& [claim, number] : held[consumer]) ASSERT_EQ(back[number], 1);
          held[consumer].clear();
          break;
        }
      }
      ASSERT_EQ(memory.queue.count_unclaimed(), model.size());
      if (!model.empty()) {
        ASSERT_TRUE(memory.queue.looks_ready());
      }
    }
  }
}

}  // namespace
}  // namespace rayx::shm
