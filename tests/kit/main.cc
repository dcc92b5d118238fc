// main of every test program: GoogleTest, the seed, and the watchdog.
#include <gtest/gtest.h>
#include <inttypes.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#include "kit/seed.hpp"
#include "kit/watchdog.hpp"

namespace {

// Puts the line that replays a failure right after it.
class ReplayHint final : public ::testing::EmptyTestEventListener {
  void OnTestEnd(const ::testing::TestInfo& test) override {
    if (!test.result()->Failed()) return;
    std::printf("rayx: to replay: RAYX_SEED=%" PRIu64 " --gtest_filter=%s.%s\n", rayx::kit::seed(),
                test.test_suite_name(), test.name());
    std::fflush(stdout);
  }
};

// One line for each test that was skipped, which the summary of ./dev test takes up: name and reason.
class SkipReport final : public ::testing::EmptyTestEventListener {
  void OnTestEnd(const ::testing::TestInfo& test) override {
    if (!test.result()->Skipped()) return;
    std::string why;
    for (int i = 0; i < test.result()->total_part_count(); ++i) {
      const ::testing::TestPartResult& part = test.result()->GetTestPartResult(i);
      if (part.skipped()) why = part.message();
    }
    std::replace(why.begin(), why.end(), '\n', ' ');
    std::printf("rayx: skipped: %s.%s: %s\n", test.test_suite_name(), test.name(), why.c_str());
    std::fflush(stdout);
  }
};

// A death test of the "threadsafe" style runs this program once more; its parent's watchdog covers it.
bool is_death_test_child(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--gtest_internal_run_death_test", 31) == 0) return true;
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  const bool is_child = is_death_test_child(argc, argv);
  rayx::kit::Watchdog watchdog(is_child ? 0 : rayx::kit::Watchdog::timeout_from_environment_s());
  rayx::kit::init_seed(&argc, argv);
  ::testing::InitGoogleTest(&argc, argv);
  if (!is_child && !GTEST_FLAG_GET(list_tests)) {
    std::printf("rayx: seed %" PRIu64 " (RAYX_SEED=%" PRIu64 " or --seed=%" PRIu64 " repeats this run)\n",
                rayx::kit::seed(), rayx::kit::seed(), rayx::kit::seed());
    std::fflush(stdout);
  }
  ::testing::UnitTest::GetInstance()->listeners().Append(new ReplayHint);
  ::testing::UnitTest::GetInstance()->listeners().Append(new SkipReport);
  return RUN_ALL_TESTS();
}
