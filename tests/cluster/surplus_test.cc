// Workers that were started because others waited leave when they have had nothing to do for some seconds, but for those that
// own what is in use.
#include <gtest/gtest.h>

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <rayx/rayx.hpp>
#include <vector>

#include "base/clock.hpp"
#include "kit/process_tree.hpp"

namespace {

constexpr int kCpus = 2;
constexpr int kTasks = 6;
constexpr int kItems = 50'000;  // of a value that gets memory of its own

struct Slow {
  int answer(int x) {
    ::poll(nullptr, 0, 50);
    return x;
  }
};
using SlowHandle = rayx::ActorHandle<Slow>;
int square(int x) { return x * x; }

// Each waits for an actor, whose calls it cannot run itself: it lends its CPU, and the next task gets another worker.
int square_after(SlowHandle slow, int x) {
  return rayx::get(rayx::remote<square>(rayx::get(slow.call<&Slow::answer>(x))));
}
// An actor of the worker's own, which ends with it.
SlowHandle make_after(SlowHandle slow, int x) {
  rayx::get(slow.call<&Slow::answer>(x));
  return rayx::actor<Slow>();
}
rayx::ObjectRef<int> put_after(SlowHandle slow, int x) { return rayx::put(rayx::get(slow.call<&Slow::answer>(x))); }
std::vector<int> fill_after(SlowHandle slow, int x) {
  return std::vector<int>(kItems, rayx::get(slow.call<&Slow::answer>(x)));
}

// Processes that the fork server of this program has.
int count_processes() {
  const std::vector<rayx::kit::ProcessInfo> all = rayx::kit::list_processes();
  return static_cast<int>(std::count_if(all.begin(), all.end(), [&](const auto& process) {
    return process.state != 'Z' && std::any_of(all.begin(), all.end(), [&](const auto& server) {
             return server.pid == process.parent && server.parent == ::getpid() && server.state != 'Z';
           });
  }));
}

bool are_at_most(int processes) {
  constexpr rayx::base::TimeNs kPatience_ns = 40'000'000'000;
  const rayx::base::SteadyClock clock;
  const rayx::base::TimeNs end = clock.now_ns() + kPatience_ns;
  while (count_processes() > processes) {
    if (clock.now_ns() > end) return false;
    ::poll(nullptr, 0, 20);
  }
  return true;
}

TEST(Surplus, LeavesWhenIdleAndComesAgain) {
  const rayx::Runtime runtime = rayx::init({.num_cpus = kCpus});
  const auto slow = rayx::actor<Slow>();
  for (int round = 0; round < 2; ++round) {
    std::vector<rayx::ObjectRef<int>> squares;
    for (int i = 0; i < kTasks; ++i) squares.push_back(rayx::remote<square_after>(slow, i));
    for (int i = 0; i < kTasks; ++i) EXPECT_EQ(rayx::get(squares[static_cast<std::size_t>(i)]), i * i);
    EXPECT_GT(count_processes(), kCpus + 1);
    EXPECT_TRUE(are_at_most(kCpus + 1)) << count_processes();
    for (int i = 0; i < 1'000; ++i) ASSERT_EQ(rayx::get(rayx::remote<square>(i)), i * i);
  }
}

TEST(Surplus, StaysForWhatItOwns) {
  const rayx::Runtime runtime = rayx::init({.num_cpus = kCpus});
  const auto slow = rayx::actor<Slow>();
  std::vector<rayx::ObjectRef<int>> squares;
  std::vector<rayx::ObjectRef<SlowHandle>> makes;
  std::vector<rayx::ObjectRef<rayx::ObjectRef<int>>> puts;
  std::vector<rayx::ObjectRef<std::vector<int>>> fills;
  // The actor answers in this order, so those that own something are idle first, and asked first.
  for (int i = 0; i < kTasks; ++i) makes.push_back(rayx::remote<make_after>(slow, i));
  for (int i = 0; i < kTasks; ++i) puts.push_back(rayx::remote<put_after>(slow, i));
  for (int i = 0; i < kTasks; ++i) fills.push_back(rayx::remote<fill_after>(slow, i));
  for (int i = 0; i < kTasks; ++i) squares.push_back(rayx::remote<square_after>(slow, i));
  for (int i = 0; i < kTasks; ++i) EXPECT_EQ(rayx::get(squares[static_cast<std::size_t>(i)]), i * i);
  const std::vector<SlowHandle> made = rayx::get(makes);
  EXPECT_GT(count_processes(), 4 * kTasks + kCpus + 1);
  EXPECT_TRUE(are_at_most(4 * kTasks + kCpus + 1)) << count_processes();
  for (int i = 0; i < kTasks; ++i) {
    EXPECT_EQ(rayx::get(made[static_cast<std::size_t>(i)].call<&Slow::answer>(i)), i);
    EXPECT_EQ(rayx::get(rayx::get(puts[static_cast<std::size_t>(i)])), i);
    EXPECT_EQ(rayx::get(fills[static_cast<std::size_t>(i)]), std::vector<int>(kItems, i));
  }
}

}  // namespace
