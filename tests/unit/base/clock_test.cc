// The clocks: real time never goes back, a test's time moves only when told.
#include "base/clock.hpp"

#include <gtest/gtest.h>
#include <poll.h>

#include <limits>

namespace rayx::base {
namespace {

TEST(SteadyClock, NeverGoesBack) {
  const SteadyClock clock;
  TimeNs last_ns = clock.now_ns();
  for (int i = 0; i < 100'000; ++i) {
    const TimeNs now_ns = clock.now_ns();
    ASSERT_GE(now_ns, last_ns) << "reading " << i;
    last_ns = now_ns;
  }
}

TEST(SteadyClock, CountsNanoseconds) {
  const SteadyClock clock;
  const TimeNs start_ns = clock.now_ns();
  ::poll(nullptr, 0, 20);  // The kernel's own 20 ms are the measure that the unit is held against.
  const TimeNs elapsed_ns = clock.now_ns() - start_ns;
  EXPECT_GE(elapsed_ns, 19'000'000);
  EXPECT_LT(elapsed_ns, 20'000'000'000) << "1,000 times too much: the unit is wrong";
}

TEST(SteadyClock, StandsForEveryInstance) {
  const SteadyClock first;
  const SteadyClock second;
  const TimeNs before_ns = first.now_ns();
  const TimeNs between_ns = second.now_ns();
  const TimeNs after_ns = first.now_ns();
  EXPECT_LE(before_ns, between_ns);
  EXPECT_LE(between_ns, after_ns);
  EXPECT_LT(after_ns, kNever);
}

TEST(ManualClock, MovesOnlyWhenTold) {
  ManualClock clock;
  const Clock& seen = clock;
  EXPECT_EQ(seen.now_ns(), 0);
  EXPECT_EQ(seen.now_ns(), 0);
  clock.advance_ns(1'500);
  EXPECT_EQ(seen.now_ns(), 1'500);
  clock.advance_ns(0);
  clock.advance_ns(500);
  EXPECT_EQ(seen.now_ns(), 2'000);
}

TEST(Never, IsLaterThanEverything) { EXPECT_EQ(kNever, std::numeric_limits<TimeNs>::max()); }

}  // namespace
}  // namespace rayx::base
