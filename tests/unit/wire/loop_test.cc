#include "wire/loop.hpp"

#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>

#include "base/unique_fd.hpp"
#include "wire_kit.hpp"

namespace rayx::wire {
namespace {

using test::LoopThread;
using test::Watched;

TEST(Loop, WorkOfManyThreadsRunsOnceAndInTheOrderOfEach) {
  LoopThread loop;
  constexpr int kEach = 20'000;
  std::vector<int> last(4, -1);
  Watched<int> done;
  {
    std::vector<std::jthread> threads;
    for (int id = 0; id < 4; ++id) {
      threads.emplace_back([&, id] {
        for (int i = 0; i < kEach; ++i) {
          loop.loop().post([&, id, i] {
            EXPECT_EQ(last[id], i - 1);
            last[id] = i;
            if (i == kEach - 1) done.change([](int& count) { ++count; });
          });
        }
      });
    }
  }
  EXPECT_TRUE(done.wait([](int count) { return count == 4; }));
}

TEST(Loop, TimersRunWhenTheClockSaysSoInTheirOrder) {
  base::ManualClock clock;
  auto loop = *Loop::create(clock);
  std::string ran;
  TimerId cancelled = 0;
  loop->call_at(30, [&] { ran += 'c'; });
  loop->call_at(10, [&] {
    ran += 'a';
    loop->cancel(cancelled);
    loop->call_at(5, [&] { ran += 'x'; });  // has passed: at the next turn
  });
  loop->call_at(10, [&] { ran += 'b'; });
  cancelled = loop->call_at(11, [&] { ran += '?'; });
  loop->call_at(1'000'000'000'000, [&] { ran += '!'; });
  loop->cancel(0);
  clock.advance_ns(20);
  loop->look_at_timers();
  loop->post([&] {
    clock.advance_ns(20);
    loop->look_at_timers();
    loop->post([&] { loop->stop(); });
  });
  loop->run();
  EXPECT_TRUE(ran == "abxc" || ran == "abcx") << ran;
}

TEST(Loop, RealTimersComeInTime) {
  LoopThread loop;
  Watched<int> ran;
  loop.call([&] { loop.loop().call_after(std::chrono::milliseconds(20), [&] { ran.change([](int& n) { n = 1; }); }); });
  EXPECT_TRUE(ran.wait([](int n) { return n == 1; }));
}

TEST(Loop, StoppedBeforeItRunsItReturnsAndDestroysWhatWaits) {
  const base::SteadyClock clock;
  auto loop = *Loop::create(clock);
  auto held = std::make_shared<int>(1);
  loop->post([held] {});
  loop->call_at(base::kNever, [held] {});
  loop->stop();
  loop->run();
  loop.reset();
  EXPECT_EQ(held.use_count(), 1);
}

TEST(Loop, TheEndOfATurnComesOnceForMuchWork) {
  LoopThread loop;
  int ends = 0;
  loop.call([&] {
    for (int i = 0; i < 3; ++i) {
      loop.loop().at_end_of_turn([&] {
        if (++ends == 1) loop.loop().at_end_of_turn([&] { ends += 10; });
      });
    }
    EXPECT_EQ(ends, 0);
  });
  EXPECT_EQ(loop.call([&] { return ends; }), 13);
}

TEST(Watch, ADescriptorOfAnotherIsWatchedUntilTheWatchEnds) {
  LoopThread loop;
  const base::UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  auto watch = std::make_unique<Watch>();
  Watched<std::uint64_t> seen;
  loop.call([&] {
    ASSERT_TRUE(watch->begin(
        loop.loop(), event.get(),
        [&] {
          std::uint64_t value = 0;
          EXPECT_EQ(::read(event.get(), &value, sizeof(value)), 8);
          seen.change([&](std::uint64_t& sum) { sum += value; });
          watch->want_readable();
        },
        [] {}));
    watch->want_readable();
  });
  for (std::uint64_t i = 1; i <= 3; ++i) {
    const std::uint64_t one = 1;
    ASSERT_EQ(::write(event.get(), &one, sizeof(one)), 8);
    EXPECT_TRUE(seen.wait([&](std::uint64_t sum) { return sum == i; }));
  }
  loop.call([&] { watch.reset(); });
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(event.get(), &one, sizeof(one)), 8);
  loop.call([] {});
  EXPECT_EQ(seen.get(), 3u);
}

TEST(Loop, SleepsWhileThereIsNothingToDo) {
  const base::SteadyClock clock;
  auto loop = *Loop::create(clock);
  const auto used_us = [] {
    rusage usage{};
    ::getrusage(RUSAGE_THREAD, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
  };
  const auto before_us = used_us();
  loop->call_after(std::chrono::milliseconds(300), [&] { loop->stop(); });
  loop->run();
  EXPECT_LT(used_us() - before_us, 30'000);
}

}  // namespace
}  // namespace rayx::wire
