// The head of a cluster with real nodes and programs: killed and started again, and nodes that come and go while a program runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <memory>
#include <string>

#include "kit/program.hpp"
#include "nodes.hpp"

namespace rayx::cluster_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Head : public Nodes {
 protected:
  void start_caller() {
    caller_ = std::make_unique<kit::Program>(variable("RAYX_LINKS_PROGRAM"),
                                             with_cluster({"call-until", (folder_ / "stop").string()}));
    ASSERT_TRUE(caller_->read_until("calling")) << caller_->out() << caller_->err();
  }
  void expect_all_right() {
    std::ofstream(folder_ / "stop") << "stop";
    const auto ended = caller_->wait();
    ASSERT_TRUE(ended.has_value());
    EXPECT_TRUE(ended->exited_with(0)) << caller_->out() << caller_->err();
    EXPECT_THAT(caller_->out(), HasSubstr("all right"));
  }
  void kill_head() {
    head_->kill(SIGKILL);
    ASSERT_TRUE(head_->wait().has_value());
  }
  std::vector<std::string> with_state() const { return {"--state", (folder_ / "state").string()}; }
  std::string said_by(kit::Program& program) {
    EXPECT_TRUE(program.wait().has_value());
    return program.out() + program.err();
  }
  std::string run(std::vector<std::string> arguments) {
    kit::Program program(variable("RAYX_LINKS_PROGRAM"), with_cluster(std::move(arguments)));
    return said_by(program);
  }

  std::unique_ptr<kit::Program> caller_;
};

TEST_F(Head, ANodeThatComesWhileAProgramRunsIsUsed) {
  start_node({.name = "a"});
  ASSERT_NO_FATAL_FAILURE(start_caller());
  start_node({.name = "b"});
  ASSERT_TRUE(nodes_[1]->read_errors_until("began")) << nodes_[1]->err();
  nodes_[0]->kill(SIGKILL);
  ASSERT_TRUE(nodes_[0]->wait().has_value());
  expect_all_right();
}

TEST_F(Head, ThatIsKilledAndStartedAgainIsFoundByNodesAndPrograms) {
  start_head({}, with_state());
  start_node({.name = "a"});
  ASSERT_NO_FATAL_FAILURE(start_caller());
  kill_head();
  ASSERT_TRUE(nodes_[0]->read_errors_until("is gone")) << nodes_[0]->err();
  start_head({}, with_state());
  EXPECT_TRUE(head_->read_errors_until("2 members, 0 actors, 1 jobs")) << head_->err();
  ASSERT_TRUE(nodes_[0]->read_errors_until("has been found again")) << nodes_[0]->err();
  // The program knows it again, too: it hears of a node that comes now.
  start_node({.name = "b"});
  ASSERT_TRUE(nodes_[1]->read_errors_until("began")) << nodes_[1]->err() << caller_->err();
  expect_all_right();
  kit::Program next(variable("RAYX_LINKS_PROGRAM"), with_cluster({"count"}));
  EXPECT_EQ(said_by(next), "node a\nnode b\n");
}

// SIGTERM is what a supervisor sends. Its tasks go on elsewhere, none is lost.
TEST_F(Head, ANodeThatIsDrainedHandsItsWorkOverAndEnds) {
  start_node({.name = "a"});
  start_node({.name = "b"});
  ASSERT_NO_FATAL_FAILURE(start_caller());
  nodes_[0]->kill(SIGTERM);
  const auto ended = nodes_[0]->wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->exited_with(0)) << nodes_[0]->err();
  EXPECT_THAT(nodes_[0]->out(), HasSubstr("it has left the cluster, and has no job"));
  EXPECT_TRUE(nodes_[0]->everything_is_gone());
  expect_all_right();
}

TEST_F(Head, WithoutItsStateIsTheHeadOfAnotherCluster) {
  start_node({.name = "a"});
  ASSERT_NO_FATAL_FAILURE(start_caller());
  kill_head();
  start_head();
  ASSERT_TRUE(nodes_[0]->read_errors_until("joins again as a new one")) << nodes_[0]->err();
  const auto ended = caller_->wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_THAT(caller_->err(), HasSubstr("rayx: this program is not part of the cluster any more: "));
  ASSERT_TRUE(nodes_[0]->read_errors_until("a member again")) << nodes_[0]->err();
  kit::Program next(variable("RAYX_LINKS_PROGRAM"), with_cluster({"count"}));
  EXPECT_EQ(said_by(next), "node a\n");
}

TEST_F(Head, KeysOutliveTheProgramThatPutThemAndTheHead) {
  start_head({}, with_state());
  start_node({.name = "a"});
  EXPECT_EQ(run({"recall", "key"}), "nothing\n");
  EXPECT_EQ(run({"remember", "key"}), "first: 1\n");
  EXPECT_EQ(run({"remember", "key"}), "first: 0\n");
  kill_head();
  start_head({}, with_state());
  ASSERT_TRUE(nodes_[0]->read_errors_until("has been found again")) << nodes_[0]->err();
  EXPECT_EQ(run({"recall", "key"}), "from a\n");
}

TEST_F(Head, AProgramHearsWhatOthersPublishOnAnyNodeAlsoAfterTheHeadWasStartedAgain) {
  start_head({}, with_state());
  start_node({.name = "a"});
  kit::Program listener(variable("RAYX_LINKS_PROGRAM"), with_cluster({"listen"}));
  ASSERT_TRUE(listener.read_until("listening")) << listener.err();
  EXPECT_EQ(run({"say", "hello"}), "");
  ASSERT_TRUE(listener.read_until("heard hello\n")) << listener.out() << listener.err();
  kill_head();
  start_head({}, with_state());
  ASSERT_TRUE(nodes_[0]->read_errors_until("has been found again")) << nodes_[0]->err();
  // What is published before the listener has found the head again is missed, and said to be.
  for (int tries = 0; tries < 100 && listener.out().find("heard again") == std::string::npos; ++tries) {
    EXPECT_EQ(run({"say", "again"}), "");
    listener.read_what_is_there();
  }
  EXPECT_THAT(listener.out(), HasSubstr("heard again after nobody knows how many\n")) << listener.err();
  EXPECT_EQ(run({"say", "end"}), "");
  const auto ended = listener.wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->exited_with(0)) << listener.err();
}

TEST_F(Head, WhatIsAskedOfANodeIsAnsweredWithWhereTheHeadIs) {
  const std::string node = start_node();
  kit::Program lost(variable("RAYX_LINKS_PROGRAM"), with(node, {"count"}));
  EXPECT_THAT(said_by(lost), HasSubstr("this is a node; the head of its cluster is at " + cluster()));
}

TEST_F(Head, ANodeThatFindsNoHeadSaysSo) {
  start_head();
  kill_head();
  kit::Program node(variable("RAYX_CLI"),
                    {.arguments = {"start", "--address", cluster(), "--token-file", token_file()}});
  const auto ended = node.wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->exited_with(1));
  EXPECT_THAT(node.err(), AllOf(HasSubstr("rayx: no head was found at " + cluster()), HasSubstr("refused")));
}

TEST_F(Head, TwoDoNotShareAFolder) {
  start_head({}, with_state());
  kit::Program second(variable("RAYX_CLI"), {.arguments = {"start", "--head", "--port", "0", "--token-file",
                                                           token_file(), "--state", (folder_ / "state").string()}});
  const auto ended = second.wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->exited_with(1));
  EXPECT_THAT(second.err(), HasSubstr("another process has it open"));
}

}  // namespace
}  // namespace rayx::cluster_test
