// Programs on nodes that are processes of their own, started with the command line: real processes, real sockets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <sstream>
#include <string>

#include "kit/eventually.hpp"
#include "kit/process_facts.hpp"
#include "kit/program.hpp"
#include "kit/sanitized.hpp"
#include "nodes.hpp"

namespace {

using testing::AllOf;
using testing::HasSubstr;

using rayx::cluster_test::Nodes;
using rayx::cluster_test::variable;

TEST_F(Nodes, TwoProgramsOneOfThemAGoogleTestRunOnOneNode) {
  const std::string address = start_node();
  rayx::kit::Program visitor(variable("RAYX_VISITOR"), with_cluster({"squares"}));
  auto options = with_cluster({"--gtest_filter=Inside.Tasks"});
  options.environment.push_back("EXECUTIONS=" + (folder_ / "executions").string());
  rayx::kit::Program host(variable("RAYX_GTEST_HOST"), options);
  ASSERT_TRUE(visitor.wait().has_value());
  EXPECT_THAT(visitor.out(),
              AllOf(HasSubstr("squares 332833500\n"), HasSubstr("triple 21\n"), HasSubstr("sum 300000\n")))
      << visitor.err();
  const auto ended = host.wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->exited_with(0)) << host.out() << host.err() << nodes_[0]->err();
  EXPECT_TRUE(nodes_[0]->is_alone());
}

TEST_F(Nodes, ANodeThatHasNoneOfTheProgramsLibrariesGetsThem) {
  if (::geteuid() != 0) GTEST_SKIP() << "hiding a folder from a node needs root";
  const std::string library = variable("RAYX_VISITOR_LIBRARY_FOLDER");
  const std::string address = start_node({.before = {"/usr/bin/unshare", "--mount", "--propagation", "private", "sh",
                                                     "-c", "mount -t tmpfs none \"$0\" && exec \"$@\"", library}});
  rayx::kit::Program visitor(variable("RAYX_VISITOR"), with_cluster({"squares"}));
  const auto ended = visitor.wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->exited_with(0)) << visitor.out() << visitor.err() << nodes_[0]->err();
  EXPECT_THAT(visitor.out(), HasSubstr("triple 21\n"));
}

TEST_F(Nodes, ADriverThatIsKilledLeavesNothingOnTheNode) {
  const std::string address = start_node();
  rayx::kit::Program visitor(variable("RAYX_VISITOR"), with_cluster({"wait"}));
  ASSERT_TRUE(visitor.read_until("waiting")) << visitor.err();
  visitor.kill(SIGKILL);
  ASSERT_TRUE(visitor.wait().has_value());
  EXPECT_TRUE(nodes_[0]->is_alone());
  rayx::kit::Program next(variable("RAYX_VISITOR"), with_cluster({"squares"}));
  ASSERT_TRUE(next.wait().has_value());
  EXPECT_THAT(next.out(), HasSubstr("squares 332833500\n"));
}

TEST_F(Nodes, ANodeThatIsKilledIsNamedInTheErrorsOfItsTasks) {
  const std::string address = start_node();
  rayx::kit::Program visitor(variable("RAYX_VISITOR"), with_cluster({"wait"}));
  ASSERT_TRUE(visitor.read_until("waiting")) << visitor.err();
  nodes_[0]->kill(SIGKILL);
  const auto ended = visitor.wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->exited_with(3)) << visitor.out() << visitor.err();
  EXPECT_THAT(visitor.out(), HasSubstr(address));
  ASSERT_TRUE(nodes_[0]->wait().has_value());
  EXPECT_TRUE(nodes_[0]->everything_is_gone());
}

TEST_F(Nodes, SeveralNodesShareTheTasks) {
  for (int i = 0; i < 3; ++i) start_node();
  rayx::kit::Program visitor(variable("RAYX_VISITOR"), with_cluster({"nodes"}));
  ASSERT_TRUE(visitor.wait().has_value());
  EXPECT_THAT(visitor.out(), HasSubstr("nodes 3\n")) << visitor.err();
}

TEST_F(Nodes, WhenNodesAreKilledTheOthersDoWhatWasThere) {
  for (int i = 0; i < 3; ++i) start_node();
  rayx::kit::Program visitor(variable("RAYX_VISITOR"), with_cluster({"survive"}));
  ASSERT_TRUE(visitor.read_until("under way")) << visitor.out() << visitor.err();
  nodes_[0]->kill(SIGKILL);
  nodes_[2]->kill(SIGKILL);
  ASSERT_TRUE(visitor.wait().has_value());
  EXPECT_THAT(visitor.out(), HasSubstr("total 199990000\n")) << visitor.err();
}

TEST_F(Nodes, ANodeThatIsAskedToEndLeavesNothing) {
  const std::string address = start_node();
  rayx::kit::Program visitor(variable("RAYX_VISITOR"), with_cluster({"wait"}));
  ASSERT_TRUE(visitor.read_until("waiting")) << visitor.err();
  nodes_[0]->kill(SIGINT);
  const auto ended = nodes_[0]->wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->exited_with(0)) << nodes_[0]->err();
  EXPECT_TRUE(nodes_[0]->everything_is_gone());
  ASSERT_TRUE(visitor.wait().has_value());
  EXPECT_THAT(visitor.out(), HasSubstr("lost: "));
}

TEST_F(Nodes, EveryByteThatAWorkerPrintsThereAppearsHere) {
  const std::string address = start_node();
  rayx::kit::Program visitor(variable("RAYX_VISITOR"), with_cluster({"print"}));
  const auto ended = visitor.wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->exited_with(0)) << visitor.err();
  std::istringstream lines(visitor.out());
  int count = 0;
  for (std::string line; std::getline(lines, line) && count < 30'000; ++count)
    ASSERT_TRUE(line.starts_with("(worker pid=") &&
                line.ends_with(") line " + std::to_string(count) + " of what a worker prints"))
        << count << ": " << line;
  EXPECT_EQ(count, 30'000);
  EXPECT_THAT(visitor.out(), HasSubstr("the last word, without an end"));
  EXPECT_THAT(visitor.err(), HasSubstr("and one to stderr"));
  // It has waited for the end of its processes there.
  EXPECT_TRUE(nodes_[0]->descendants().empty());
}

TEST_F(Nodes, ACrashThereIsToldWithItsSignalHere) {
  const std::string address = start_node();
  rayx::kit::Program visitor(variable("RAYX_VISITOR"), with_cluster({"crash"}));
  ASSERT_TRUE(visitor.wait().has_value());
  EXPECT_THAT(visitor.out(), AllOf(HasSubstr("died: "), HasSubstr("SIGKILL"), HasSubstr("die_once"))) << visitor.err();
}

TEST_F(Nodes, AReferenceInsideAValueIsReadThere) {
  const std::string address = start_node();
  rayx::kit::Program visitor(variable("RAYX_VISITOR"), with_cluster({"references"}));
  const auto ended = visitor.wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->exited_with(7)) << visitor.out() << visitor.err();
}

// A node lives for months.
TEST_F(Nodes, ProgramsThatHaveEndedLeaveNoMemoryAndNoDescriptors) {
  start_node();
  const auto run_some = [&](int count) {
    for (int i = 0; i < count; ++i) {
      rayx::kit::Program visitor(variable("RAYX_VISITOR"), with_cluster({"squares"}));
      ASSERT_TRUE(visitor.wait().has_value());
      ASSERT_THAT(visitor.out(), HasSubstr("squares 332833500\n")) << visitor.err();
    }
    ASSERT_TRUE(nodes_[0]->is_alone());
  };
  run_some(5);  // what a node needs once is there
  const std::size_t descriptors = rayx::kit::count_descriptors(nodes_[0]->pid());
  const std::size_t resident = rayx::kit::resident_bytes(nodes_[0]->pid());
  run_some(30);
  EXPECT_TRUE(rayx::kit::eventually([&] { return rayx::kit::count_descriptors(nodes_[0]->pid()) <= descriptors; }));
  if (!rayx::kit::kIsSanitized) {
    EXPECT_LE(rayx::kit::resident_bytes(nodes_[0]->pid()), resident + (1u << 20));
  }
}

TEST_F(Nodes, ActorsLiveThereAndAreCalledFromEverywhere) {
  for (const char* name : {"a", "b", "c", "d"}) start_node({.name = name});
  rayx::kit::Program visitor(variable("RAYX_VISITOR"), with_cluster({"actors"}));
  const auto ended = visitor.wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->exited_with(0)) << visitor.out() << visitor.err();
  std::istringstream lines(visitor.out());
  int actors = 0;
  std::set<std::string> nodes;
  for (std::string line; std::getline(lines, line); ++actors) {
    EXPECT_THAT(line, HasSubstr(": 250"));
    nodes.insert(line.substr(9, 1));
  }
  EXPECT_EQ(actors, 4) << visitor.out() << visitor.err();
  EXPECT_GT(nodes.size(), 1u) << visitor.out();
}

TEST_F(Nodes, AWrongTokenIsRefusedAtBothEnds) {
  const std::string address = start_node();
  rayx::kit::Program visitor(
      variable("RAYX_VISITOR"),
      {.arguments = {}, .environment = {"RAYX_ADDRESS=" + address, "RAYX_TOKEN=" + std::string(64, 'a')}});
  ASSERT_TRUE(visitor.wait().has_value());
  EXPECT_THAT(visitor.out(), AllOf(HasSubstr("error: rayx: "), HasSubstr("token"), HasSubstr("RAYX_TOKEN_FILE")));
  rayx::kit::Program next(variable("RAYX_VISITOR"), with_cluster({"squares"}));
  ASSERT_TRUE(next.wait().has_value());
  EXPECT_THAT(next.out(), HasSubstr("squares 332833500\n"));
  nodes_[0]->kill(SIGTERM);
  ASSERT_TRUE(nodes_[0]->wait().has_value());
  EXPECT_THAT(nodes_[0]->err(), HasSubstr("token"));
}

TEST_F(Nodes, NobodyThereIsSaidAtOnce) {
  rayx::kit::Program visitor(
      variable("RAYX_VISITOR"),
      {.arguments = {}, .environment = {"RAYX_ADDRESS=127.0.0.1:1", "RAYX_TOKEN=" + std::string(64, 'a')}});
  const auto ended = visitor.wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->exited_with(4));
  EXPECT_THAT(visitor.out(), HasSubstr("127.0.0.1:1"));
}

}  // namespace
