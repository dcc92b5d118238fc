#include "actor/call_order.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

namespace rayx::actor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr Caller kAnn = 1;
constexpr Caller kBob = 2;

class CallOrderTest : public testing::Test {
 protected:
  CallOrder::Place hold(Caller caller, std::uint32_t call) { return order.hold(caller, {call, 1}); }
  void ready(const CallOrder::Place& place) { order.ready(place, hand_over); }
  void failed(const CallOrder::Place& place) { order.failed(place, hand_over); }
  std::vector<std::uint32_t> end() {
    order.end();
    std::vector<std::uint32_t> failed;
    while (const auto call = order.take_failed()) failed.push_back(call->index);
    return failed;
  }

  CallOrder order;
  std::vector<std::uint32_t> at_actor;
  bool is_last_done = false;
  std::vector<std::uint32_t> asked;  // whether they are done
  std::function<void(Call)> hand_over = [this](Call call) { at_actor.push_back(call.index); };
  std::function<bool(Call)> is_done = [this](Call call) {
    asked.push_back(call.index);
    return is_last_done;
  };
};

TEST_F(CallOrderTest, IsClearWithoutCalls) {
  EXPECT_TRUE(order.is_clear());
  order.handed_over({7, 1});
  EXPECT_TRUE(order.is_clear());
}

TEST_F(CallOrderTest, HoldsBackWhatComesAfterACallThatWaits) {
  const auto first = hold(kAnn, 1);
  const auto second = hold(kAnn, 2);
  EXPECT_FALSE(order.is_clear(kAnn));
  ready(second);
  EXPECT_THAT(at_actor, IsEmpty());
  ready(first);
  EXPECT_THAT(at_actor, ElementsAre(1, 2));
  EXPECT_TRUE(order.is_clear());
}

TEST_F(CallOrderTest, HoldsBackNoOtherCaller) {
  hold(kAnn, 1);
  EXPECT_TRUE(order.is_clear(kBob));
  const auto bobs = hold(kBob, 2);
  ready(bobs);
  EXPECT_THAT(at_actor, ElementsAre(2));
  EXPECT_TRUE(order.is_clear(kBob));
  EXPECT_FALSE(order.is_clear(kAnn));
}

TEST_F(CallOrderTest, HandsOverAsFarAsCallsAreReady) {
  const auto a = hold(kAnn, 1);
  const auto b = hold(kAnn, 2);
  const auto c = hold(kAnn, 3);
  ready(c);
  ready(a);
  EXPECT_THAT(at_actor, ElementsAre(1));
  ready(b);
  EXPECT_THAT(at_actor, ElementsAre(1, 2, 3));
}

TEST_F(CallOrderTest, ACallWhoseArgumentFailedHoldsBackNobody) {
  const auto a = hold(kAnn, 1);
  const auto b = hold(kAnn, 2);
  const auto c = hold(kAnn, 3);
  ready(c);
  failed(b);  // in the middle: the one before it still waits
  EXPECT_THAT(at_actor, IsEmpty());
  failed(a);
  EXPECT_THAT(at_actor, ElementsAre(3));
  EXPECT_TRUE(order.is_clear());
}

TEST_F(CallOrderTest, NewsOfACallThatHasLeftAreHarmless) {
  const auto a = hold(kAnn, 1);
  const auto b = hold(kAnn, 2);
  ready(a);
  failed(a);
  ready(a);
  EXPECT_THAT(at_actor, ElementsAre(1));
  ready(b);
  failed(b);
  EXPECT_THAT(at_actor, ElementsAre(1, 2));
}

TEST_F(CallOrderTest, TheEndNamesEachCallThatIsHeldBackOnce) {
  hold(kAnn, 1);
  ready(hold(kAnn, 2));
  failed(hold(kAnn, 3));
  hold(kBob, 4);
  EXPECT_THAT(end(), UnorderedElementsAre(1, 2, 4));
  EXPECT_THAT(at_actor, IsEmpty());
  EXPECT_TRUE(order.is_clear());
  EXPECT_TRUE(order.is_ended());
}

TEST_F(CallOrderTest, ACallThatFailsWithAnotherWhileTheEndIsToldIsNotNamed) {
  const auto a = hold(kAnn, 1);
  const auto b = hold(kAnn, 2);  // needs the result of the first
  order.end();
  EXPECT_EQ(order.take_failed(), (Call{1, 1}));
  failed(a);
  failed(b);
  EXPECT_EQ(order.take_failed(), std::nullopt);
}

TEST_F(CallOrderTest, NothingIsHandedOverAfterTheEnd) {
  const auto a = hold(kAnn, 1);
  order.end();
  ready(a);
  EXPECT_THAT(at_actor, IsEmpty());
  EXPECT_EQ(order.take_failed(), (Call{1, 1}));
  EXPECT_EQ(order.take_failed(), std::nullopt);
  ready(a);
  EXPECT_THAT(at_actor, IsEmpty());
}

TEST_F(CallOrderTest, AHandleWithoutCallsIsLetGoAtOnce) {
  EXPECT_TRUE(order.drop(is_done));
  EXPECT_THAT(asked, IsEmpty());
  EXPECT_FALSE(order.may_let_go(is_done)) << "it is said once";
}

TEST_F(CallOrderTest, AHandleStaysUntilTheLastCallIsDone) {
  order.handed_over({1, 1});
  order.handed_over({2, 1});
  EXPECT_FALSE(order.drop(is_done));
  EXPECT_THAT(asked, ElementsAre(2));
  EXPECT_TRUE(order.is_dropping());
  is_last_done = true;
  EXPECT_TRUE(order.may_let_go(is_done));
  EXPECT_FALSE(order.is_dropping());
}

TEST_F(CallOrderTest, AHandleStaysWhileCallsAreHeldBack) {
  is_last_done = true;
  const auto a = hold(kAnn, 1);
  EXPECT_FALSE(order.drop(is_done));
  ready(a);
  is_last_done = false;
  EXPECT_FALSE(order.may_let_go(is_done));
  is_last_done = true;
  EXPECT_TRUE(order.may_let_go(is_done));
  EXPECT_THAT(asked, ElementsAre(1, 1));
}

TEST_F(CallOrderTest, AHandleStaysWhileTheEndIsTold) {
  hold(kAnn, 1);
  EXPECT_FALSE(order.drop(is_done));
  order.end();
  ASSERT_TRUE(order.take_failed());
  EXPECT_FALSE(order.may_let_go(is_done)) << "whoever fails the call still needs it";
  ASSERT_FALSE(order.take_failed());
  EXPECT_TRUE(order.may_let_go(is_done));
}

TEST_F(CallOrderTest, AHandleOfAnActorThatEndedWaitsForNothing) {
  order.handed_over({1, 1});
  end();
  EXPECT_TRUE(order.drop(is_done));
  EXPECT_THAT(asked, IsEmpty());
}

TEST_F(CallOrderTest, AHandleThatCameBackIsNotLetGo) {
  order.handed_over({1, 1});
  EXPECT_FALSE(order.drop(is_done));
  order.revive();
  is_last_done = true;
  EXPECT_FALSE(order.may_let_go(is_done));
  EXPECT_TRUE(order.drop(is_done));
}

}  // namespace
}  // namespace rayx::actor
