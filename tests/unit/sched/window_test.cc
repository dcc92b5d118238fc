// How many tasks may be at another node, as a decider: tasks of a given length are played on so many CPUs.
#include "sched/window.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <vector>

#include "kit/seed.hpp"

namespace rayx::sched {
namespace {

// Plays `turns` results of a node that is `way_ns` away and runs one task of `run_ns` on each of its CPUs at a time. The largest
// number of tasks that were there.
std::uint32_t play(Window& window, std::uint32_t cpus, base::TimeNs run_ns, base::TimeNs way_ns, int results) {
  base::TimeNs now = 0;
  std::uint32_t largest = 0;
  std::deque<base::TimeNs> back;  // when each result is here, in order
  std::vector<base::TimeNs> cpu_is_free(cpus, 0);
  while (results > 0) {
    while (window.room() > 0) {
      window.sent(now);
      base::TimeNs& cpu = *std::min_element(cpu_is_free.begin(), cpu_is_free.end());
      cpu = std::max(cpu, now + way_ns) + run_ns;
      back.push_back(cpu + way_ns);
    }
    largest = std::max(largest, window.outstanding());
    now = std::max(now, back.front());
    back.pop_front();
    window.finished(now);
    --results;
  }
  for (const base::TimeNs there : back) window.finished(std::max(now, there));
  return largest;
}

TEST(Window, LongTasksAreThereOneForEachCpu) {
  Window window;
  window.set_slots(4);
  EXPECT_EQ(play(window, 4, 50'000'000, 50'000, 1'000), 4u);
}

TEST(Window, ShortTasksFillTheWayThereAndBack) {
  Window window;
  window.set_slots(2);
  // 1 us on each of 2 CPUs, 100 us there and back: 200 on the way keep them busy.
  EXPECT_GE(play(window, 2, 1'000, 50'000, 20'000), 256u);
}

TEST(Window, NeverHoldsMoreThanItsLimit) {
  Window window;
  window.set_slots(2);
  EXPECT_LE(play(window, 2, 100, 1'000, 100'000), Window::kWindowMax);
}

TEST(Window, ShrinksWhenTasksBecomeLong) {
  Window window;
  window.set_slots(2);
  play(window, 2, 1'000, 50'000, 20'000);
  play(window, 2, 20'000'000, 50'000, 5'000);
  EXPECT_EQ(window.outstanding(), 0u);
  EXPECT_LE(window.room(), 4u);
}

TEST(Window, ANodeWithoutCpusGetsNothingAndKeepsWhatItHas) {
  Window window;
  EXPECT_EQ(window.room(), 0u);
  window.set_slots(3);
  window.sent(0);
  window.set_slots(0);
  EXPECT_EQ(window.room(), 0u);
  EXPECT_EQ(window.outstanding(), 1u);
  window.finished(1'000);
  window.set_slots(3);
  EXPECT_EQ(window.room(), 3u);
}

TEST(Window, CountsAsAModelDoes) {
  std::mt19937_64 random(kit::seed());
  Window window;
  std::uint32_t model = 0;
  base::TimeNs now = 0;
  for (int step = 0; step < 100'000; ++step) {
    now += static_cast<base::TimeNs>(random() % 1'000'000);
    switch (random() % 8) {
      case 0: window.set_slots(static_cast<std::uint32_t>(random() % 9)); break;
      case 1:
      case 2:
        if (model > 0) --model, window.finished(now);
        break;
      case 3:
        if (model > 0) --model, window.forgotten();
        break;
      default:
        if (window.room() > 0) ++model, window.sent(now);
    }
    ASSERT_EQ(window.outstanding(), model);
    ASSERT_LE(window.outstanding() + window.room(), std::max(Window::kWindowMax, model));
    ASSERT_TRUE(window.slots() > 0 || window.room() == 0);
    ASSERT_TRUE(window.slots() == 0 || model >= window.slots() || window.room() > 0) << step;
  }
}

}  // namespace
}  // namespace rayx::sched
