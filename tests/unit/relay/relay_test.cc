// Tasks that are done on another site of the job, with real workers there and a pipe for the network.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <numeric>
#include <rayx/rayx.hpp>
#include <string>
#include <vector>

#include "sites.hpp"

namespace {

using rayx::relay::test::Sites;

int square(int x) { return x * x; }
std::string twice(const std::string& text) { return text + text; }
int add(int a, int b) { return a + b; }
int worker_pid() { return ::getpid(); }
int throw_out_of_range(int x) { throw std::out_of_range("there is no " + std::to_string(x)); }
std::vector<int> count_to(int n) {
  std::vector<int> numbers(static_cast<std::size_t>(n));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}
long sum(const std::vector<int>& numbers) { return std::accumulate(numbers.begin(), numbers.end(), 0L); }
int die() {
  ::raise(SIGKILL);
  return 0;
}
int wait_for_ever() {
  for (;;) ::pause();
}
int fib(int n) {
  if (n < 2) return n;
  const auto a = rayx::remote<fib>(n - 1);
  return rayx::get(rayx::remote<fib>(n - 2)) + rayx::get(a);
}
double with_two_cpus(double x) { return x / 2; }

TEST(Relay, ATaskRunsOnTheOtherSite) {
  Sites sites;
  EXPECT_EQ(rayx::get(rayx::remote<square>(7)), 49);
  const int pid = rayx::get(rayx::remote<worker_pid>());
  EXPECT_NE(pid, ::getpid());
}

TEST(Relay, ArgumentsAndResultsOfEverySizeCross) {
  Sites sites;
  for (const std::size_t size :
       {0u, 1u, 39u, 40u, 41u, 100u, 5'000u, 40'000u, 131'071u, 131'072u, 1'000'000u, 20'000'000u}) {
    const std::string text(size, 'x');
    EXPECT_EQ(rayx::get(rayx::remote<twice>(text)), text + text) << size;
  }
}

TEST(Relay, ManyTasksComeBackEachWithItsOwnResult) {
  Sites sites;
  std::vector<rayx::ObjectRef<int>> refs;
  for (int i = 0; i < 20'000; ++i) refs.push_back(rayx::remote<square>(i));
  for (int i = 0; i < 20'000; ++i) ASSERT_EQ(rayx::get(refs[static_cast<std::size_t>(i)]), i * i);
}

TEST(Relay, ReferencesAsArgumentsAreValuesThere) {
  Sites sites;
  const auto big = rayx::put(count_to(100'000));
  EXPECT_EQ(rayx::get(rayx::remote<sum>(big)), 4'999'950'000L);
  auto total = rayx::remote<square>(2);
  for (int i = 0; i < 100; ++i) total = rayx::remote<add>(total, rayx::remote<square>(i));
  EXPECT_EQ(rayx::get(total), 4 + 328'350);
  EXPECT_EQ(rayx::get(rayx::remote<sum>(rayx::remote<count_to>(50'000))), 1'249'975'000L);
}

TEST(Relay, AnExceptionComesBackAsItself) {
  Sites sites;
  const auto ref = rayx::remote<throw_out_of_range>(5);
  try {
    rayx::get(ref);
    FAIL();
  } catch (const std::out_of_range& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("there is no 5"));
  }
}

TEST(Relay, ATaskWhoseWorkerDiesIsTriedAgainAndThenFails) {
  Sites sites;
  const auto ref = rayx::remote<die>(rayx::TaskOptions{.max_retries = 2});
  try {
    rayx::get(ref);
    FAIL();
  } catch (const rayx::WorkerDied& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("SIGKILL"));
    EXPECT_THAT(error.what(), testing::HasSubstr("die"));
  }
  EXPECT_EQ(rayx::get(rayx::remote<square>(3)), 9);
}

TEST(Relay, NestedTasksRunWhereTheirParentDoes) {
  Sites sites;
  EXPECT_EQ(rayx::get(rayx::remote<fib>(12)), 144);
}

TEST(Relay, AClassOfTwoCpusRunsThereToo) {
  Sites sites;
  EXPECT_EQ(rayx::get(rayx::remote<with_two_cpus>(rayx::TaskOptions{.num_cpus = 2}, 3.0)), 1.5);
}

// Failed when the first task of a class was refused because the largest node "gives 0 at present".
TEST(Relay, TheFirstTaskWaitsForANode) {
  Sites sites({.others = 0});
  const auto ref = rayx::remote<square>(6);
  EXPECT_TRUE(rayx::wait(std::vector{ref}, {.count = 1, .timeout = std::chrono::milliseconds(1)}).ready.empty());
  sites.add_site(1);
  EXPECT_EQ(rayx::get(ref), 36);
}

TEST(Relay, WhenASiteIsGoneItsTasksAreDoneOnAnother) {
  Sites sites;
  sites.add_site(2);
  std::vector<rayx::ObjectRef<int>> refs;
  for (int i = 0; i < 5'000; ++i) refs.push_back(rayx::remote<square>(rayx::TaskOptions{.max_retries = -1}, i));
  rayx::get(refs[100]);
  sites.cut(1);
  for (int i = 0; i < 5'000; ++i) ASSERT_EQ(rayx::get(refs[static_cast<std::size_t>(i)]), i * i);
}

TEST(Relay, ATaskWithoutRetriesFailsWhenItsSiteIsGone) {
  Sites sites;
  const auto ref = rayx::remote<wait_for_ever>(rayx::TaskOptions{.max_retries = 0});
  while (rayx::get(rayx::remote<square>(2)) != 4) {
  }
  sites.cut(1);
  try {
    rayx::get(ref);
    FAIL();
  } catch (const rayx::WorkerDied& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("site 1"));
    EXPECT_THAT(error.what(), testing::HasSubstr("the pipe was cut"));
  }
}

}  // namespace
