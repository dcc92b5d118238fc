// Whoever is not heard of: a head that is gone for good, a program that a debugger has stopped, and one whose machine is cut off.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <memory>
#include <string>

#include "links.hpp"

namespace rayx::cluster_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Lease : public Links {};

// 30 s: until then a head that comes back finds its nodes.
TEST_F(Lease, AClusterWhoseHeadIsGoneForGoodEndsItself) {
  start_node({.name = "a"});
  start_node({.name = "b"});
  const auto program = run("RAYX_LINKS_PROGRAM", {"call-until", (folder_ / "never").string()});
  ASSERT_TRUE(program->read_until("calling")) << program->err();
  head_->kill(SIGKILL);
  ASSERT_TRUE(head_->wait().has_value());
  for (const auto& node : nodes_) {
    ASSERT_TRUE(node->read_errors_until("is gone")) << node->err();
    const auto ended = node->wait();
    ASSERT_TRUE(ended.has_value()) << "it lives on";
    EXPECT_FALSE(ended->exited_with(0)) << "nobody asked it to end";
    EXPECT_THAT(node->out() + node->err(), HasSubstr("the head was not heard for 30 s")) << node->err();
    EXPECT_TRUE(node->everything_is_gone());
  }
  const auto ended = program->wait();
  ASSERT_TRUE(ended.has_value()) << "it waits for ever: " << program->err();
  EXPECT_FALSE(ended->exited_with(0));
  EXPECT_THAT(program->out() + program->err(), HasSubstr("error: rayx: ")) << program->err();
}

// Its threads all stand still, and its machine confirms what comes: nobody gives it up. It goes on where it was.
TEST_F(Lease, AProgramThatADebuggerStopsKeepsItsJob) {
  constexpr std::chrono::seconds kLongerThanSilence{8};
  start_node({.name = "a"});
  start_node({.name = "b"});
  const auto program = hold("hold-once");
  program->kill(SIGSTOP);
  EXPECT_FALSE(kit::eventually([&] { return nodes_[0]->descendants().empty(); }, kLongerThanSilence))
      << "its processes were ended: " << nodes_[0]->err();
  program->kill(SIGCONT);
  let_go("a");
  let_go("b");
  const auto ended = program->wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->exited_with(0)) << program->err();
  EXPECT_THAT(program->out(), AllOf(HasSubstr("done on a"), Not(HasSubstr("lost")))) << program->err();
}

// Its machine confirms nothing any more, so it is no debugger.
TEST_F(Lease, AProgramWhoseMachineIsCutOffLosesItsJob) {
  if (!start_on_hosts()) GTEST_SKIP() << why_not_;
  const auto program = hold("hold");
  hosts_->cut(2);
  for (const auto& node : nodes_) EXPECT_TRUE(node->is_alone()) << "the job lives on: " << node->err();
  program->kill(SIGKILL);
  hosts_->mend(2);
  expect_both_work_again();
}

}  // namespace
}  // namespace rayx::cluster_test
