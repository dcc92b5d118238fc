// Tasks whose arguments are results that are not there yet: queued behind them, given back when they come too early.
#include <gtest/gtest.h>

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <rayx/rayx.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/clock.hpp"

namespace {

int add_one(int x) { return x + 1; }
int add(int a, int b) { return a + b; }
int slow(int x) {
  const rayx::base::SteadyClock clock;
  const rayx::base::TimeNs end = clock.now_ns() + 60'000'000;
  while (clock.now_ns() < end) {
  }
  return x;
}
int when_there(const std::string& path, int x) {
  while (!std::filesystem::exists(path)) ::poll(nullptr, 0, 1);
  return x;
}
int fail_fast(int x) { throw x; }
int fail(int) { throw std::out_of_range("on purpose"); }
std::vector<int> many(int n) { return std::vector<int>(static_cast<std::size_t>(n), n); }
long sum(const std::vector<int>& values) {
  long total = 0;
  for (int value : values) total += value;
  return total;
}

TEST(Dependents, AChainGivesTheSameAsItsLinksOneByOne) {
  rayx::Runtime runtime = rayx::init();
  for (int round = 0; round < 20; ++round) {
    rayx::ObjectRef<int> value = rayx::remote<add_one>(0);
    for (int i = 1; i < 300; ++i) value = rayx::remote<add_one>(value);
    EXPECT_EQ(rayx::get(value), 300);
  }
}

// What it needs fails at the moment in which it is being queued.
TEST(Dependents, AnErrorThatComesWhileItsDependentIsQueuedIsTheDependentsToo) {
  rayx::Runtime runtime = rayx::init({.num_cpus = 1});
  int without_error = 0;
  for (int round = 0; round < 60'000; ++round) {
    const rayx::ObjectRef<int> failing = rayx::remote<fail_fast>(round);
    for (int turn = 0; turn < round % 4'000; ++turn) std::atomic_signal_fence(std::memory_order_seq_cst);
    const rayx::ObjectRef<int> dependent = rayx::remote<add_one>(failing);
    without_error += rayx::try_get(dependent) ? 1 : 0;
  }
  EXPECT_EQ(without_error, 0);
}

TEST(Dependents, ThatComeTooEarlyWaitAndOthersGoOn) {
  rayx::Runtime runtime = rayx::init({.num_cpus = 2});
  const std::filesystem::path gate =
      std::filesystem::temp_directory_path() / ("rayx-gate-" + std::to_string(::getpid()));
  const rayx::ObjectRef<int> late = rayx::remote<when_there>(gate.string(), 5);
  std::vector<rayx::ObjectRef<int>> waiting;
  for (int i = 0; i < 500; ++i) waiting.push_back(rayx::remote<add>(late, i));
  std::vector<rayx::ObjectRef<int>> others;
  for (int i = 0; i < 500; ++i) others.push_back(rayx::remote<add_one>(i));
  for (int i = 0; i < 500; ++i) EXPECT_EQ(rayx::get(others[static_cast<std::size_t>(i)]), i + 1);
  EXPECT_FALSE(late.is_ready());
  std::ofstream(gate).put('x');
  for (int i = 0; i < 500; ++i) EXPECT_EQ(rayx::get(waiting[static_cast<std::size_t>(i)]), i + 5);
  std::filesystem::remove(gate);
}

TEST(Dependents, OfTwoSlowTasksRunWhenBothAreThere) {
  rayx::Runtime runtime = rayx::init({.num_cpus = 2});
  for (int round = 0; round < 3; ++round) {
    const rayx::ObjectRef<int> a = rayx::remote<slow>(1);
    const rayx::ObjectRef<int> b = rayx::remote<slow>(2);
    const rayx::ObjectRef<int> both = rayx::remote<add>(a, b);
    const rayx::ObjectRef<int> all = rayx::remote<add>(both, b);
    EXPECT_EQ(rayx::get(all), 5);
  }
}

TEST(Dependents, FailAsWhatTheyNeedHasFailed) {
  rayx::Runtime runtime = rayx::init();
  rayx::ObjectRef<int> value = rayx::remote<fail>(0);
  for (int i = 0; i < 50; ++i) value = rayx::remote<add_one>(value);
  EXPECT_THROW(rayx::get(value), std::out_of_range);
}

TEST(Dependents, ReadLargeValuesThatAreMadeWhileTheyAreQueued) {
  rayx::Runtime runtime = rayx::init();
  for (const int n : {1, 10, 11, 1'000, 9'000, 50'000}) {
    const rayx::ObjectRef<std::vector<int>> values = rayx::remote<many>(n);
    const rayx::ObjectRef<long> total = rayx::remote<sum>(values);
    EXPECT_EQ(rayx::get(total), static_cast<long>(n) * n);
  }
}

TEST(Dependents, MayBeDroppedBeforeTheyRun) {
  rayx::Runtime runtime = rayx::init();
  for (int i = 0; i < 2'000; ++i) {
    rayx::ObjectRef<int> value = rayx::remote<add_one>(i);
    value = rayx::remote<add_one>(value);
    value = rayx::remote<add_one>(value);
    if (i % 100 == 0) {
      EXPECT_EQ(rayx::get(value), i + 3);
    }
  }
}

}  // namespace
