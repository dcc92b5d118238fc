// The stack of an exception, as it was when it was thrown.
#include "observe/stack_capture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "observe/frames.hpp"

// In a shared library of its own, for the frames between.
extern "C" void rayx_test_call_through_library(void (*fn)(void*), void* context);

// A user's functions.
namespace shop {

[[gnu::noinline]] void function_that_throws(int depth) {
  if (depth > 0) {
    function_that_throws(depth - 1);
    asm volatile("");
  } else {
    throw std::runtime_error("thrown");
  }
}
[[gnu::noinline]] void function_between(void (*call)(void*), void* context) {
  call(context);
  asm volatile("");  // no tail call
}
[[gnu::noinline]] void function_with_cleanup(int depth) {
  const std::vector<int> needs_a_destructor(3);
  function_that_throws(depth + needs_a_destructor[0]);
  asm volatile("" : : "r"(needs_a_destructor.data()));
}

}  // namespace shop

namespace rayx::observe {
namespace {

using namespace shop;
using ::testing::HasSubstr;
using ::testing::Not;

StackCapture captured(std::function<void()> body) {
  warm_up_stack_capture();
  StackCapture capture;
  try {
    capture_call([](void* context) { (*static_cast<std::function<void()>*>(context))(); }, &body, capture);
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "thrown");
  } catch (int) {
  }
  return capture;
}

std::string text_of(const StackCapture& capture) {
  // Through the form in which it travels.
  const auto frames = locate({capture.addresses, static_cast<std::size_t>(capture.count)});
  return symbolise(decode_frames(encode_frames(frames)));
}

TEST(StackCapture, NamesTheFunctionThatThrew) {
  const std::string text = text_of(captured([] { function_with_cleanup(2); }));
  EXPECT_THAT(text, HasSubstr("   1. shop::function_that_throws"));
  EXPECT_THAT(text, HasSubstr("function_with_cleanup"));
  EXPECT_THAT(text, Not(HasSubstr("__cxa_throw")));
  EXPECT_THAT(text, Not(HasSubstr("trampoline")));
#ifdef RAYX_TEST_EXPECT_LINES
  EXPECT_THAT(text, HasSubstr("stack_capture_test.cc:"));
#endif
}

TEST(StackCapture, NothingThrownNothingRecorded) {
  int runs = 0;
  EXPECT_EQ(captured([&] { ++runs; }).count, 0);
  EXPECT_EQ(runs, 1);
}

TEST(StackCapture, WhatIsCaughtInsideIsNotRecorded) {
  const StackCapture capture = captured([] {
    try {
      function_with_cleanup(1);
    } catch (const std::exception&) {
    }
  });
  EXPECT_EQ(capture.count, 0);
}

TEST(StackCapture, ThrownOnShowsThePlaceOfTheSecondThrow) {
  const StackCapture capture = captured([] {
    try {
      function_with_cleanup(1);
    } catch (...) {
      throw;
    }
  });
  EXPECT_GT(capture.count, 0);
  EXPECT_THAT(text_of(capture), Not(HasSubstr("function_that_throws")));
}

TEST(StackCapture, ThroughASharedLibrary) {
  const std::string text =
      text_of(captured([] { rayx_test_call_through_library([](void*) { function_with_cleanup(0); }, nullptr); }));
  EXPECT_THAT(text, HasSubstr("function_that_throws"));
  EXPECT_THAT(text, HasSubstr("rayx_test_call_through_library"));
}

TEST(StackCapture, NestedCallsBothRecord) {
  StackCapture inner;
  const StackCapture outer = captured([&] {
    function_between(
        [](void* to) {
          capture_call([](void*) { function_with_cleanup(1); }, nullptr, *static_cast<StackCapture*>(to));
        },
        &inner);
  });
  EXPECT_GT(inner.count, 0);
  EXPECT_THAT(text_of(inner), Not(HasSubstr("function_between")));
  EXPECT_THAT(text_of(outer), HasSubstr("function_between"));
  EXPECT_THAT(text_of(inner), HasSubstr("function_that_throws"));
  EXPECT_THAT(text_of(outer), HasSubstr("function_that_throws"));
}

TEST(StackCapture, DeepStacksAreCut) {
  const StackCapture capture = captured([] { function_that_throws(500); });
  EXPECT_EQ(capture.count, kCapturedFramesMax);
  const std::string text = text_of(capture);
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), static_cast<long>(kShownFramesMax) + 1);
}

TEST(StackCapture, ThrowsOfAnyTypeAndOftenLeaveNothingBehind) {
  for (int i = 0; i < 1000; ++i) EXPECT_GT(captured([] { throw 7; }).count, 0);
}

TEST(Frames, DecodeTakesAnything) {
  EXPECT_TRUE(decode_frames("").empty());
  EXPECT_TRUE(decode_frames("nonsense\n12\n12 34\n12 34 r\n").empty());
  const auto frames = decode_frames("1f 2a r /a path/with blanks\n1 2 i ");
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].module, "/a path/with blanks");
  EXPECT_EQ(frames[0].file_offset, 0x2au);
  EXPECT_FALSE(frames[1].is_return_address);
}

}  // namespace
}  // namespace rayx::observe
