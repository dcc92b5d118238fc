// Clusters that a program sets up for itself: local nodes, a keeper, providers of one's own; and that nothing is left of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "kit/eventually.hpp"
#include "kit/program.hpp"

namespace rayx {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::unique_ptr<kit::Program> start(std::vector<std::string> arguments, std::vector<std::string> environment = {}) {
  return std::make_unique<kit::Program>(
      variable("RAYX_PROVIDER_PROGRAM"),
      kit::Program::Options{.arguments = std::move(arguments), .environment = std::move(environment)});
}

std::string run(std::vector<std::string> arguments, std::vector<std::string> environment = {}) {
  const auto program = start(std::move(arguments), std::move(environment));
  const auto status = program->wait();
  EXPECT_TRUE(status && status->exited_with(0)) << program->out() << program->err();
  EXPECT_TRUE(kit::eventually([&] { return program->everything_is_gone(); }));
  return program->out() + program->err();
}

TEST(LocalCluster, DoesWorkOnAllItsNodesAndEnds) {
  const std::string out = run({"work", "3"});
  EXPECT_THAT(out, HasSubstr("3 nodes, 3 names, 3 tasks right, actor says 42, ready 3\n"));
  EXPECT_THAT(out, HasSubstr("after it: ready 0\n"));
  EXPECT_THAT(out, HasSubstr("rayx: 3 of 3 nodes ready"));
}

TEST(LocalCluster, LeavesNothingWhenItsProgramIsKilled) {
  const auto program = start({"hold", "2"});
  ASSERT_TRUE(program->read_until("held\n")) << program->err();
  EXPECT_EQ(program->descendants("rayx:node").size(), 2u);
  EXPECT_EQ(program->descendants("rayx:keeper").size(), 1u);
  program->kill(SIGKILL);
  EXPECT_TRUE(program->wait());
  EXPECT_TRUE(kit::eventually([&] { return program->everything_is_gone(); }));
}

TEST(LocalCluster, LeavesNothingAfterCtrlC) {
  const auto program = start({"hold", "2"});
  ASSERT_TRUE(program->read_until("held\n")) << program->err();
  program->kill_group(SIGINT);
  EXPECT_TRUE(program->wait());
  EXPECT_TRUE(kit::eventually([&] { return program->everything_is_gone(); }));
}

TEST(LocalCluster, IsKilledWhileItStarts) {
  const auto program = start({"hold", "2"});
  ASSERT_TRUE(kit::eventually([&] { return !program->descendants("rayx:keeper").empty(); }));
  program->kill(SIGKILL);
  EXPECT_TRUE(program->wait());
  EXPECT_TRUE(kit::eventually([&] { return program->everything_is_gone(); }));
}

TEST(LocalCluster, EndsItsNodesWhenItsKeeperIsKilled) {
  const auto program = start({"hold", "2"});
  ASSERT_TRUE(program->read_until("held\n")) << program->err();
  const std::vector<pid_t> keepers = program->descendants("rayx:keeper");
  ASSERT_EQ(keepers.size(), 1u);
  ::kill(keepers.front(), SIGKILL);
  EXPECT_TRUE(program->read_errors_until("has died, and the head of the cluster with it; the nodes are ended"));
  EXPECT_TRUE(kit::eventually([&] { return program->descendants("rayx:node").empty(); }));
  program->kill(SIGKILL);
  EXPECT_TRUE(program->wait());
  EXPECT_TRUE(kit::eventually([&] { return program->everything_is_gone(); }));
}

TEST(LocalCluster, GivesItsNodesBackWhenItsKeeperIsAskedToEnd) {
  const auto program = start({"hold", "1"});
  ASSERT_TRUE(program->read_until("held\n")) << program->err();
  const std::vector<pid_t> keepers = program->descendants("rayx:keeper");
  ASSERT_EQ(keepers.size(), 1u);
  ::kill(keepers.front(), SIGTERM);
  EXPECT_TRUE(kit::eventually([&] { return program->descendants("rayx:node").empty(); }));
  program->kill(SIGKILL);
  EXPECT_TRUE(program->wait());
  EXPECT_TRUE(kit::eventually([&] { return program->everything_is_gone(); }));
}

TEST(LocalCluster, ReplacesANodeThatIsKilled) {
  const auto program = start({"watch", "2"});
  ASSERT_TRUE(program->read_until("complete\n")) << program->err();
  const std::vector<pid_t> nodes = program->descendants("rayx:node");
  ASSERT_EQ(nodes.size(), 2u);
  ::kill(nodes.front(), SIGKILL);
  ASSERT_TRUE(program->read_until("complete again\n")) << program->out() << program->err();
  const auto status = program->wait();
  EXPECT_TRUE(status && status->exited_with(0));
  EXPECT_THAT(program->out(), HasSubstr("2 nodes\n"));
  EXPECT_TRUE(kit::eventually([&] { return program->everything_is_gone(); }));
}

TEST(LocalCluster, IsUsedByProgramsThatAreTold) { EXPECT_THAT(run({"child"}), HasSubstr("joined a cluster of 1\n")); }

TEST(LocalCluster, IsOneForAllProgramsOfAUserIfItIsGlobal) {
  std::string folder = testing::TempDir() + "rayx-global-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string out = run({"global"}, {"XDG_RUNTIME_DIR=" + folder});
  EXPECT_THAT(out, HasSubstr("joined a cluster of 1\n"));
  EXPECT_THAT(out,
              HasSubstr("this user has a global cluster on this machine already. Use it with RAYX_ADDRESS=global"));
  EXPECT_THAT(out, HasSubstr("this user has no global cluster on this machine"));
}

TEST(LocalCluster, GrowsWithItsWorkAndShrinksWithoutIt) {
  const std::string out = run({"grow"});
  EXPECT_THAT(out, AllOf(HasSubstr("starts with 1\n"), HasSubstr("grew to 3\n"), HasSubstr("60 tasks\n"),
                         HasSubstr("3 nodes hold 3 objects\n"), HasSubstr("shrank to 1, and works: 1\n")));
  EXPECT_THAT(out, HasSubstr("is ended: it had nothing to do"));
}

TEST(LocalCluster, GrowsNoMoreThanItsWorkNeeds) {
  EXPECT_THAT(run({"grow-a-little"}), HasSubstr("no more than it needs\n"));
}

TEST(LocalCluster, IsNotSetUpWhereAllIsToRunInOneProcess) {
  const std::string out = run({"work", "3"}, {"RAYX_LOCAL=1"});
  EXPECT_THAT(out, HasSubstr("RAYX_LOCAL is set: all runs in this process, and no cluster is set up"));
  EXPECT_THAT(out, HasSubstr("1 nodes, 1 names, 1 tasks right, actor says 42, ready 0\n"));
}

TEST(LocalCluster, RefusesWhatCannotBe) {
  const std::string out = run({"refuse"});
  EXPECT_THAT(out, HasSubstr("give num_nodes, or 1 <= min_nodes <= max_nodes"));
  EXPECT_THAT(out, HasSubstr("num_nodes is -1; it must be from 1 to 1000"));
  EXPECT_THAT(out, HasSubstr("leave it 0 to give min_nodes and max_nodes"));
  EXPECT_THAT(out, HasSubstr("min_nodes is 3 and max_nodes 2"));
  EXPECT_THAT(out, HasSubstr("num_cpus and head_num_cpus must be from 0 to 1024"));
  EXPECT_THAT(out, HasSubstr("environment has a variable \"A=B\""));
  EXPECT_THAT(out, HasSubstr("ClusterConfig::num_gpus is 2, and nodes of this machine share its GPUs"));
  EXPECT_THAT(out, HasSubstr("memory_bytes is 1000, in bytes; it must be 1 MiB (1048576) at least"));
  EXPECT_THAT(out, HasSubstr("store_bytes is 3145728, and memory_bytes, of which it is a part, 2097152"));
  EXPECT_THAT(out, HasSubstr("head_store_bytes is 67108864, and the head has no store"));
  EXPECT_THAT(out, HasSubstr("advertise is \"this-host:7077\"; give the host alone, \"this-host\""));
  EXPECT_THAT(out, HasSubstr("temp_directory is \"here\"; it must be an absolute path"));
  EXPECT_THAT(out, HasSubstr("no logs can be written to collect_logs_to, \"/proc/rayx/logs\""));
  EXPECT_THAT(out, HasSubstr("collect_logs_to is \"logs\", and the provider bad has no logs"));
  EXPECT_THAT(out, Not(HasSubstr("it was set up")));
}

TEST(SparkDoor, RefusesWhatCannotBeBeforeItAsksTheMaster) {
  const std::string out = run({"refuse-on-spark"});
  EXPECT_THAT(out,
              HasSubstr("spark_properties has spark.driver.cores, which rayx sets itself; set SparkConfig::num_cpus"));
  EXPECT_THAT(out, HasSubstr("SparkConfig::memory_bytes is 104857600, and a node needs at least 268435456 (256 MiB)"));
  EXPECT_THAT(out, HasSubstr("SparkConfig::advertise is \"this-host:7077\""));
  EXPECT_THAT(out, Not(HasSubstr("127.0.0.1:1")));
}

TEST(LocalCluster, OutlivesWhatOnProgressDoes) {
  const std::string out = run({"progress"});
  EXPECT_THAT(out, HasSubstr("rayx: on_progress threw: my own trouble. It was told:\nrayx: 1 of 1 nodes ready"));
  EXPECT_THAT(out, HasSubstr("ready 1\n"));
  EXPECT_THAT(out, HasSubstr("a cluster cannot be shut down by on_progress"));
  EXPECT_THAT(out, HasSubstr("given up by itself\n"));
}

TEST(LocalCluster, KeepsProgramsAndLogsWhereItIsTold) {
  std::string folder = testing::TempDir() + "rayx-folders-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string out = run({"folders", folder});
  EXPECT_THAT(out, HasSubstr("cache 1, log 1\n"));
  EXPECT_THAT(out, AllOf(HasSubstr("/proc/rayx failed: No such file or directory"),
                         HasSubstr("ClusterConfig::temp_directory")));
}

// What was started before the failure is ended again.
TEST(OwnProvider, WhatItRefusesIsSaidAndRolledBack) {
  const std::string out = run({"fail", "refuses"});
  EXPECT_THAT(out, AllOf(HasSubstr("killed bad-1\n"), HasSubstr("code system error: no room for bad-2\n")));
}

TEST(OwnProvider, NodesThatFindNoPlaceEndTheSetUpInTime) {
  const std::string out = run({"fail", "waits"});
  EXPECT_THAT(out, AllOf(HasSubstr("killed bad-1\n"), HasSubstr("killed bad-2\n")));
  EXPECT_THAT(out,
              HasSubstr("code time-out: 0 of 2 nodes are ready, and no further one in 2 s: 2 wait: no host has room"));
}

TEST(OwnProvider, NodesThatFailEndTheSetUpWithTheirReason) {
  const std::string out = run({"fail", "dies"});
  EXPECT_THAT(
      out,
      HasSubstr("nodes that were started have failed, and none is ready. The last one: the disk of host-1 is full"));
}

TEST(OwnProvider, ItsExceptionIsAnError) {
  EXPECT_THAT(run({"fail", "throws"}), HasSubstr("code system error: the provider threw: my own trouble"));
}

TEST(NodeRole, SaysWhatIsMissing) {
  for (const char* const role : {"node", "what"}) {
    const auto program = start({"work", "1"}, {std::string("RAYX_INTERNAL_ROLE=") + role});
    const auto status = program->wait();
    EXPECT_TRUE(status && status->exited_with(1)) << program->out();
    EXPECT_EQ(program->out(), "");
    EXPECT_THAT(program->err(), HasSubstr(role == std::string("node")
                                              ? "its standard input does not begin with what the cluster gives a node"
                                              : "RAYX_INTERNAL_ROLE=what, which this version of rayx does not know"));
  }
}

}  // namespace
}  // namespace rayx
