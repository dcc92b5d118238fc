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
  expect_both_work_again();
}

// By something between, as a firewall that has lost its tables. No task may be tried again, so each that is lost would be seen.
TEST_F(Links, AConnectionThatIsResetIsReplacedAndItsTasksGoOn) {
  start_behind_a_proxy();
  const auto program = hold("hold-once");
  for (int i = 0; i < 3; ++i) {
    const int before = proxy_->connections();
    proxy_->cut();
    ASSERT_TRUE(kit::eventually([&] { return proxy_->connections() > before; }));
  }
  let_go("a");
  let_go("b");
  ASSERT_TRUE(program->wait().has_value());
  EXPECT_THAT(program->out(), AllOf(HasSubstr("done on a"), HasSubstr("done on b"), Not(HasSubstr("lost"))))
      << program->err();
  expect_both_work();
}

// The chunks that have arrived are not sent again.
TEST_F(Links, ATransferThatIsInterruptedGoesOnWhereItWas) {
  constexpr std::uint64_t kValue_bytes = 64'000'000;
  start_a_behind_a_proxy({});
  const auto carry = [&](std::uint64_t bytes) {
    const auto program = run("RAYX_LINKS_PROGRAM", {"carry", std::to_string(bytes)});
    ASSERT_TRUE(program->wait().has_value());
    EXPECT_EQ(program->out(), "looked at on a\n") << program->err();
  };
  carry(1);  // brings the program there
  const std::uint64_t before = proxy_->forwarded(Proxy::Way::kThere);
  const int connections = proxy_->connections();
  proxy_->set({.fault = Proxy::Fault{Proxy::Fault::Kind::kReset, Proxy::Way::kThere, kValue_bytes * 3 / 4}});
  carry(kValue_bytes);
  EXPECT_GT(proxy_->connections(), connections + 1);
  // What was on its way when it broke, and less than the quarter that was missing once more.
  EXPECT_LT(proxy_->forwarded(Proxy::Way::kThere) - before, kValue_bytes * 5 / 4);
}

// As above, but the end that has made the connection dies meanwhile: its node gives it up after 3 s.
TEST_F(Links, AProgramThatDiesWhileItsConnectionIsBrokenLeavesNothing) {
  start_behind_a_proxy();
  const auto program = hold("hold");
  proxy_->set({.is_silent = true});
  proxy_->cut();
  program->kill(SIGKILL);
  ASSERT_TRUE(program->wait().has_value());
  EXPECT_TRUE(nodes_[0]->is_alone()) << "the job lives on";
  proxy_->mend();
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
