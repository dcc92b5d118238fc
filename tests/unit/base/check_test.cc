// RAYX_CHECK: what its message holds, and what it evaluates.
#include "base/check.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

namespace rayx::base {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(CheckDeathTest, NamesProcessPlaceConditionAndValues) {
  const int used_bytes = 70;
  const std::string owner = "slab 3";
  EXPECT_EXIT(RAYX_CHECK(used_bytes <= 64, "more bytes than the block has:", used_bytes, owner, 64),
              ::testing::KilledBySignal(SIGABRT),
              AllOf(HasSubstr("rayx: internal check failed in process "), HasSubstr("check_test.cc:"),
                    HasSubstr("used_bytes <= 64"), HasSubstr("more bytes than the block has: 70 slab 3 64"),
                    HasSubstr("rayx: this is a bug")));
}

TEST(CheckDeathTest, NamesTheProcessThatFailed) {
  // The pid must be the failing process's own, or a dump of many workers cannot be read.
  EXPECT_EXIT(
      {
        std::fprintf(stderr, "pid %d;", static_cast<int>(::getpid()));
        RAYX_CHECK(false, "on purpose");
      },
      ::testing::KilledBySignal(SIGABRT), ::testing::Truly([](const std::string& text) {
        const std::string pid = text.substr(text.find("pid ") + 4, text.find(';') - text.find("pid ") - 4);
        return text.find("in process " + pid + " at ") != std::string::npos;
      }));
}

TEST(Check, EvaluatesTheConditionOnceAndTheValuesNever) {
  int conditions = 0;
  int values = 0;
  RAYX_CHECK(++conditions == 1, "never shown", ++values);
  EXPECT_EQ(conditions, 1);
  EXPECT_EQ(values, 0) << "values are for the message; they must cost nothing when all is well";
}

TEST(Check, IsOneStatement) {
  bool other = false;
  if (other)
    RAYX_CHECK(false, "not reached");
  else
    other = true;
  EXPECT_TRUE(other);
}

TEST(DescribeCheck, JoinsByBlanks) {
  EXPECT_EQ(describe_check("alone"), "alone");
  EXPECT_EQ(describe_check("state", 'x', -1, 2.5, std::string("end")), "state x -1 2.5 end");
}

}  // namespace
}  // namespace rayx::base
