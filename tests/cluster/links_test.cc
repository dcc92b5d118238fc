// Links that are cut, fall silent or come back, and nodes that die: real nodes, on hosts of their own or behind a proxy on loopback.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "kit/proxy.hpp"
#include "links.hpp"

namespace rayx::cluster_test {
namespace {

using kit::Proxy;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST_F(Links, ACableThatIsPulledMovesTheTasksAndIsPluggedInAgain) {
  if (!start_on_hosts()) GTEST_SKIP() << why_not_;
  const auto program = hold("hold");
  hosts_->cut(0);
  expect_all_done_on_b(*program);
  hosts_->mend(0);
  EXPECT_TRUE(nodes_[0]->is_alone()) << "the job lives on";
  ASSERT_TRUE(nodes_[0]->read_errors_until("a member again")) << nodes_[0]->err();
  expect_both_work();
}

TEST_F(Links, SilenceIsNoticedAndSaidSo) {
  start_behind_a_proxy();
  const auto program = hold("hold-once");
  proxy_->set({.is_silent = true});
  let_go("b");
  ASSERT_TRUE(program->wait().has_value());
  EXPECT_THAT(program->out(),
              AllOf(HasSubstr(proxy_->address()), HasSubstr("nothing was heard"), HasSubstr("done on b")));
  proxy_->mend();
  EXPECT_TRUE(nodes_[0]->is_alone()) << "the job lives on";
  expect_both_work();
}

TEST_F(Links, SilenceMovesTheTasks) {
  start_behind_a_proxy();
  const auto program = hold("hold");
  proxy_->set({.is_silent = true});
  expect_all_done_on_b(*program);
}

// By its socket, not by its silence.
TEST_F(Links, ANodeThatIsKilledIsNoticedAtOnce) {
  start_behind_a_proxy();
  const auto program = hold("hold-once");
  nodes_[0]->kill(SIGKILL);
  let_go("b");
  ASSERT_TRUE(program->wait().has_value());
  EXPECT_THAT(program->out(), AllOf(Not(HasSubstr("nothing was heard")), HasSubstr("done on b")));
}

// As in a debugger, or on a machine that swaps for seconds. When it goes on it learns that it was given up.
TEST_F(Links, ANodeThatIsStoppedIsGivenUpAndEndsTheJobWhenItGoesOn) {
  start_behind_a_proxy();
  const auto program = hold("hold");
  nodes_[0]->kill(SIGSTOP);
  expect_all_done_on_b(*program);
  nodes_[0]->kill(SIGCONT);
  EXPECT_TRUE(nodes_[0]->is_alone()) << "the job lives on";
  expect_both_work();
}

TEST_F(Links, AConnectionThatIsResetEndsTheJobThereAndMovesTheTasks) {
  start_behind_a_proxy();
  const auto program = hold("hold");
  proxy_->cut();
  EXPECT_TRUE(nodes_[0]->is_alone()) << "the job lives on";
  expect_all_done_on_b(*program);
  expect_both_work();
}

TEST_F(Links, AnEndThatIsNeverToldNoticesTheSilence) {
  start_behind_a_proxy();
  const auto program = hold("hold");
  proxy_->leave_half_open(Proxy::Way::kThere);
  EXPECT_TRUE(nodes_[0]->is_alone()) << "the job lives on";
  expect_all_done_on_b(*program);
}

}  // namespace
}  // namespace rayx::cluster_test
