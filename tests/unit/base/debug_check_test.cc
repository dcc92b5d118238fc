// RAYX_DCHECK with debug checks on, whatever the build's option says.
#include <gtest/gtest.h>

#include "base/check.hpp"

#ifndef RAYX_DEBUG_CHECKS
#error "this program tests RAYX_DCHECK as debug builds have it"
#endif

namespace {

TEST(DebugCheckDeathTest, FailsLikeACheck) {
  const int state = 7;
  EXPECT_EXIT(RAYX_DCHECK(state == 1, "record is not pending:", state), ::testing::KilledBySignal(SIGABRT),
              "state == 1: record is not pending: 7");
}

TEST(DebugCheck, PassesWhenTrue) {
  int evaluated = 0;
  RAYX_DCHECK(++evaluated == 1, "never shown");
  EXPECT_EQ(evaluated, 1);
}

}  // namespace
