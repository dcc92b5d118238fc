// Result and ErrorCode, the nouns that every floor may name.
#include <gtest/gtest.h>

#include <memory>
#include <rayx/error_code.hpp>
#include <rayx/result.hpp>
#include <set>
#include <string>
#include <type_traits>
#include <utility>

namespace rayx {
namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return Error{ErrorCode::kInvalidArgument, "odd: " + std::to_string(number)};
  return number / 2;
}

TEST(Result, HoldsAValue) {
  Result<int> result = half(8);
  ASSERT_TRUE(result);
  EXPECT_TRUE(result.has_value());
  EXPECT_EQ(*result, 4);
  EXPECT_EQ(result.value(), 4);
  *result = 5;
  EXPECT_EQ(std::as_const(result).value(), 5);
}

TEST(Result, HoldsAnError) {
  const Result<int> result = half(7);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(result.error().message, "odd: 7");
}

TEST(Result, MovesWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(9);
  static_assert(!std::is_copy_constructible_v<std::unique_ptr<int>>);
  std::unique_ptr<int> taken = *std::move(result);
  ASSERT_NE(taken, nullptr);
  EXPECT_EQ(*taken, 9);
  EXPECT_EQ(result.value(), nullptr) << "moved from, still a value";
}

TEST(Result, GivesItsMembers) {
  Result<std::string> result = std::string("four");
  EXPECT_EQ(result->size(), 4u);
}

TEST(Result, IsNoBooleanByAccident) {
  static_assert(!std::is_convertible_v<Result<int>, bool>);
  static_assert(!std::is_convertible_v<Result<void>, bool>);
}

TEST(ResultDeathTest, StopsWhoReadsTheSideThatIsNotThere) {
  Result<int> good = half(2);
  Result<int> bad = half(1);
  EXPECT_EXIT((void)good.error(), ::testing::KilledBySignal(SIGABRT), "");
  EXPECT_EXIT((void)bad.value(), ::testing::KilledBySignal(SIGABRT), "");
  EXPECT_EXIT((void)*std::as_const(bad), ::testing::KilledBySignal(SIGABRT), "");
}

TEST(ResultOfVoid, IsFineUnlessItHoldsAnError) {
  const Result<void> fine;
  EXPECT_TRUE(fine);
  const Result<void> failed = Error{ErrorCode::kTimeout, "late"};
  EXPECT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(failed.error().message, "late");
}

TEST(ErrorCode, HasItsOwnNameForEachCode) {
  std::set<std::string_view> names;
  int codes = 0;
  for (; codes < 256; ++codes) {
    const std::string_view name = to_string(static_cast<ErrorCode>(codes));
    if (name == "unknown") break;
    EXPECT_TRUE(names.insert(name).second) << name << " names two codes";
  }
  EXPECT_EQ(codes, static_cast<int>(ErrorCode::kNotFound) + 1) << "a code without a name, or this test is older";
  for (; codes < 256; ++codes) EXPECT_EQ(to_string(static_cast<ErrorCode>(codes)), "unknown") << codes;
}

}  // namespace
}  // namespace rayx
