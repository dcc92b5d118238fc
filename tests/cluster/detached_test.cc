// Detached actors with real nodes and programs: they outlive the program that has made them, and others find and call them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>

#include "kit/eventually.hpp"
#include "kit/program.hpp"
#include "kit/proxy.hpp"
#include "nodes.hpp"

namespace rayx::cluster_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class Detached : public Nodes {
 protected:
  static constexpr const char* kProgram = "RAYX_DETACHED_PROGRAM";
  static constexpr const char* kOtherBuild = "RAYX_DETACHED_OTHER_BUILD";

  std::unique_ptr<kit::Program> begin(std::vector<std::string> arguments, const char* program = kProgram) {
    return std::make_unique<kit::Program>(variable(program), with_cluster(std::move(arguments)));
  }
  std::string said_by(kit::Program& program) {
    const auto ended = program.wait();
    EXPECT_TRUE(ended.has_value()) << program.out() << program.err();
    return program.out() + program.err();
  }
  std::string run(std::vector<std::string> arguments, const char* program = kProgram) {
    return said_by(*begin(std::move(arguments), program));
  }
  // Of the programs' processes, arenas and folders nothing is left on the nodes.
  void expect_that_nothing_is_left() {
    for (const auto& node : nodes_) EXPECT_TRUE(node->is_alone()) << node->err();
    std::size_t files = 0;
    EXPECT_TRUE(kit::eventually([&] {
      files = 0;
      for (const auto& it : std::filesystem::directory_iterator(folder_ / "cache" / "v1" / "layouts"))
        files += it.is_directory();
      return files == 0;
    })) << files
        << " programs are laid out";
    for (const auto& node : nodes_) EXPECT_EQ(maps_of_arenas(node->pid()), 0);
  }
  static int maps_of_arenas(pid_t node) {
    int count = 0;
    std::ifstream maps("/proc/" + std::to_string(node) + "/maps");
    for (std::string line; std::getline(maps, line);) count += line.find("memfd:") != std::string::npos;
    return count;
  }
  std::string node_of_the_actor(const std::string& said) { return said.substr(said.rfind(' ') + 1, 1); }
  kit::Program& node_called(const std::string& name) { return *nodes_.at(name == "a" ? 0 : 1); }
  void kill_node(const std::string& name) {
    node_called(name).kill(SIGKILL);
    ASSERT_TRUE(node_called(name).wait().has_value());
  }
};

TEST_F(Detached, IsFoundByTheNextRunsOfItsProgramUntilOneKillsIt) {
  start_node({.name = "a"});
  EXPECT_EQ(run({"make"}), "count 101 on a\n");
  EXPECT_EQ(run({"count"}), "count 102 on a\n");
  EXPECT_EQ(run({"make-or-find"}), "count 103 on a\n");
  EXPECT_THAT(run({"make"}), HasSubstr("an actor called \"counter\" lives already"));
  EXPECT_EQ(run({"count"}), "count 104 on a\n");
  EXPECT_GT(maps_of_arenas(nodes_[0]->pid()), 0);
  EXPECT_EQ(run({"kill"}), "");
  expect_that_nothing_is_left();
  EXPECT_THAT(run({"count"}), HasSubstr("no living actor is called \"counter\""));
  EXPECT_EQ(run({"make"}), "count 101 on a\n") << "a name may be taken again";
}

// Failed when a program ended before its node had heard of the actor, or had its files.
TEST_F(Detached, LivesAlsoWhenItsProgramEndsRightAfterItHasMadeIt) {
  start_node({.name = "a"});
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(run({"only-make"}), "");
    EXPECT_EQ(run({"count"}), "count 101 on a\n");
    EXPECT_EQ(run({"kill"}), "");
  }
  EXPECT_THAT(run({"make-what-cannot-begin"}), HasSubstr("had not begun within 10 s"));
}

TEST_F(Detached, GoesOnWhenTheProgramThatHasMadeItIsKilled) {
  start_node({.name = "a"});
  const auto maker = begin({"make-and-stay"});
  ASSERT_TRUE(maker->read_until("count 101 on a\n")) << maker->out() << maker->err();
  const auto other = begin({"count-and-stay"});
  ASSERT_TRUE(other->read_until("count 102 on a\n")) << other->out() << other->err();
  maker->kill(SIGKILL);
  ASSERT_TRUE(maker->wait().has_value());
  EXPECT_EQ(run({"count"}), "count 103 on a\n");
  other->kill(SIGKILL);
  ASSERT_TRUE(other->wait().has_value());
  EXPECT_EQ(run({"count"}), "count 104 on a\n");
  EXPECT_EQ(run({"kill"}), "");
  expect_that_nothing_is_left();
}

TEST_F(Detached, IsMadeAnewWhenItsProcessOrItsNodeDiesWithoutItsProgram) {
  start_node({.name = "a"});
  start_node({.name = "b"});
  const std::string made = run({"make-lasting"});
  ASSERT_THAT(made, StartsWith("count 101 on ")) << made;
  const std::string pid = run({"pid"});
  ASSERT_EQ(::kill(static_cast<pid_t>(std::stoi(pid)), SIGKILL), 0) << pid;
  const std::string second = run({"count"});
  EXPECT_THAT(second, StartsWith("count 101 on ")) << "a new one, from the same arguments";
  const std::string before = node_of_the_actor(second);
  ASSERT_NO_FATAL_FAILURE(kill_node(before));
  const std::string after = before == "a" ? "b" : "a";
  // The head may not have given the dead one up yet, and then the program warns that it is not there.
  EXPECT_THAT(run({"count"}), StartsWith("count 101 on " + after + "\n"));
  EXPECT_THAT(run({"count"}), StartsWith("count 102 on " + after + "\n"));
  run({"kill"});
  EXPECT_TRUE(node_called(after).is_alone());
}

TEST_F(Detached, IsMadeAnewOnANodeThatGetsTheProgramFromAnother) {
  start_node({.name = "a", .label = "zone=z"});
  start_node({.name = "c"});
  EXPECT_EQ(run({"make-in-zone"}), "count 101 on a\n");
  start_node({.name = "b", .cache = "another", .label = "zone=z"});
  ASSERT_NO_FATAL_FAILURE(kill_node("a"));
  EXPECT_TRUE(nodes_[2]->read_errors_until("detached actors of job cluster_detached_program began"))
      << nodes_[2]->err();
  EXPECT_THAT(run({"count"}), StartsWith("count 101 on b\n"));
}

TEST_F(Detached, IsFoundAfterTheHeadWasKilledAndStartedAgain) {
  const std::vector<std::string> with_state{"--state", (folder_ / "state").string()};
  start_head({}, with_state);
  start_node({.name = "a"});
  EXPECT_EQ(run({"make"}), "count 101 on a\n");
  head_->kill(SIGKILL);
  ASSERT_TRUE(head_->wait().has_value());
  start_head({}, with_state);
  ASSERT_TRUE(nodes_[0]->read_errors_until("has been found again")) << nodes_[0]->err();
  EXPECT_EQ(run({"count"}), "count 102 on a\n");
  EXPECT_EQ(run({"kill"}), "");
  expect_that_nothing_is_left();
}

TEST_F(Detached, IsCalledAgainOverANewLinkWhenItsNodeHasNotNoticedThatTheOldOneIsGone) {
  kit::Proxy proxy("127.0.0.1:1", {});  // until it is known where the node listens
  proxy.set_target(start_node({.name = "a", .advertise = proxy.address()}));
  run({"make"});
  const auto counter = begin({"keep-counting", (folder_ / "stop").string()});
  ASSERT_TRUE(counter->read_until("count 102 on a\n")) << counter->out() << counter->err();
  proxy.set({.is_silent = true});
  ASSERT_TRUE(counter->read_until("a call was lost\n")) << counter->out() << counter->err();
  proxy.leave_half_open(kit::Proxy::Way::kBack);
  proxy.mend();
  EXPECT_TRUE(counter->read_until("counts again\n")) << counter->out() << counter->err();
  std::ofstream(folder_ / "stop") << "stop";
  EXPECT_TRUE(counter->wait().has_value());
}

TEST_F(Detached, PrintsWhereItsNodePrints) {
  start_node({.name = "a"});
  run({"make"});
  EXPECT_EQ(run({"speak"}), "");
  EXPECT_TRUE(nodes_[0]->read_until("the counter speaks\n")) << nodes_[0]->out();
}

TEST_F(Detached, KeepsTheOrderOfEachOfTwoProgramsThatCallItAtTheSameTime) {
  start_node({.name = "a"});
  EXPECT_EQ(run({"make"}), "count 101 on a\n");
  const auto first = begin({"note", "0"});
  const auto second = begin({"note", "1"});
  EXPECT_EQ(said_by(*first), "");
  EXPECT_EQ(said_by(*second), "");
  EXPECT_EQ(run({"in-order"}), "in order: 4000\n");
}

TEST_F(Detached, TakesAndGivesValuesAndReferencesOfAllSizes) {
  start_node({.name = "a"});
  start_node({.name = "b"});
  run({"make"});
  EXPECT_EQ(run({"values"}), "10 right\n10000 right\n300000 right\n5000000 right\n");
  EXPECT_EQ(run({"elsewhere"}), "right\n");
  EXPECT_EQ(run({"be-told"}), "heard 3\n");
  EXPECT_EQ(run({"kill"}), "");
  expect_that_nothing_is_left();
}

TEST_F(Detached, MakesTasksAndActorsOnItsNodeThatEndWithIt) {
  start_node({.name = "a"});
  start_node({.name = "b"});
  run({"make"});
  EXPECT_EQ(run({"work"}), "work 49, child 1, nodes 2\n");
  EXPECT_EQ(run({"work"}), "work 49, child 2, nodes 2\n");
  EXPECT_EQ(run({"kill"}), "");
  expect_that_nothing_is_left();
}

TEST_F(Detached, RefusesCallsOfAnotherBuildAndSaysSo) {
  start_node({.name = "a"});
  EXPECT_EQ(run({"make"}), "count 101 on a\n");
  EXPECT_THAT(run({"count"}, kOtherBuild),
              AllOf(HasSubstr("by another build of this one"), HasSubstr("cluster_detached_program")));
  EXPECT_EQ(run({"count"}), "count 102 on a\n");
  EXPECT_EQ(run({"kill"}, kOtherBuild), "");
  expect_that_nothing_is_left();
}

TEST_F(Detached, IsRefusedWithoutANameAndWithReferencesForItsConstructor) {
  start_node({.name = "a"});
  EXPECT_THAT(run({"make-without-a-name"}), HasSubstr("detached is set and name is empty"));
  EXPECT_THAT(run({"make-with-a-reference"}),
              HasSubstr("it is detached, and arguments of its constructor hold references"));
  expect_that_nothing_is_left();
}

}  // namespace
}  // namespace rayx::cluster_test
