// rayx::spark::setup_cluster on a real Spark cluster, and that no submission is left, whoever is killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "kit/process_tree.hpp"
#include "spark_program.hpp"

namespace rayx::spark {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class SparkCluster : public SparkProgramTest {
 protected:
  // Whether `ancestor` has started `pid`, itself or through others.
  static bool is_below(pid_t pid, pid_t ancestor) {
    const std::vector<kit::ProcessInfo> all = kit::list_processes();
    while (pid > 1 && pid != ancestor) {
      const auto found =
          std::find_if(all.begin(), all.end(), [pid](const auto& process) { return process.pid == pid; });
      pid = found == all.end() ? 0 : found->parent;
    }
    return pid == ancestor;
  }
};

TEST_F(SparkCluster, DoesWorkOnFiveWorkersAndGivesThemBack) {
  const std::string out = run({"work", "5"});
  EXPECT_THAT(out, HasSubstr("5 nodes, 5 tasks, 5 actors, 5 values\n"));
  EXPECT_THAT(out, HasSubstr("shut down\n"));
}

TEST_F(SparkCluster, LeavesNothingWhenItsProgramIsKilled) {
  const auto running = program({"hold", "2"});
  ASSERT_TRUE(read_until(*running, "held\n")) << running->err();
  EXPECT_EQ(spark().nodes().size(), 2u);
  EXPECT_EQ(spark().drivers().size(), 2u);
  running->kill(SIGKILL);
  EXPECT_TRUE(is_free());
}

TEST_F(SparkCluster, LeavesNothingWhenItsKeeperIsKilled) {
  const auto running = program({"hold", "2"});
  ASSERT_TRUE(read_until(*running, "held\n")) << running->err();
  const std::vector<pid_t> keepers = running->descendants("rayx:keeper");
  ASSERT_EQ(keepers.size(), 1u);
  ::kill(keepers.front(), SIGKILL);
  EXPECT_TRUE(is_free());
  running->kill(SIGKILL);
}

TEST_F(SparkCluster, ReplacesANodeThatIsKilled) {
  const auto running = program({"watch", "2"});
  ASSERT_TRUE(read_until(*running, "complete\n")) << running->err();
  const std::vector<pid_t> all = spark().nodes();
  ASSERT_EQ(all.size(), 2u);
  ::kill(all.front(), SIGKILL);
  EXPECT_THAT(end_of(*running), HasSubstr("2 nodes, 2 tasks, 2 actors, 2 values\n"));
}

TEST_F(SparkCluster, LeavesNothingWhenProgramAndKeeperAreKilledAtOnce) {
  const auto running = program({"hold", "2"});
  ASSERT_TRUE(read_until(*running, "held\n")) << running->err();
  running->kill(SIGSTOP);  // so that it does not see the keeper's death before its own
  for (const pid_t pid : running->descendants()) ::kill(pid, SIGKILL);
  running->kill(SIGKILL);
  EXPECT_TRUE(is_free());
}

TEST_F(SparkCluster, GrowsWithWhatWaitsAndShrinksWhenNothingDoes) {
  const std::string out = run({"scale", "1", "3"});
  EXPECT_THAT(out, HasSubstr("1 node at first\n3 nodes at most\n40 tasks on 3 nodes\n1 node at last\n"));
}

TEST_F(SparkCluster, GivesNodesTheirOwnGpus) {
  EXPECT_THAT(run({"gpus", "2", "1"}), HasSubstr("2 nodes with 1 GPU each\n"));
  EXPECT_THAT(error_of({"many-gpus"}), AllOf(HasSubstr("error: "), HasSubstr("GPU")));
}

// The workers' hosts lack everything of this build, as the library that the program is linked with.
TEST_F(SparkCluster, BringsTheLibrariesThatAWorkerLacks) {
  EXPECT_THAT(run({"bare", "1"}), HasSubstr("the program's folder is there: 0; librayx is mapped from below: 1\n"));
}

TEST_F(SparkCluster, SaysThatTheOperatorAllowsOtherJarsOnly) {
  if (!RealSpark::has_auth()) GTEST_SKIP() << "Spark 3.5 allows all";
  SubmissionRequest other{.app_resource = "http://127.0.0.1:1/other.jar", .main_class = "Other"};
  const Result<Creation> refused = spark().client().create(other);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("spark.master.rest.allowedAppResourcePatterns"));
}

// As somebody does on Spark's page.
TEST_F(SparkCluster, ReplacesANodeWhoseSubmissionIsKilled) {
  const auto running = program({"watch", "2"});
  ASSERT_TRUE(read_until(*running, "complete\n")) << running->err();
  const std::vector<std::string> drivers = spark().drivers();
  ASSERT_EQ(drivers.size(), 2u);
  EXPECT_EQ(*spark().client().kill(drivers.front()), KillOutcome::kAsked);
  EXPECT_THAT(end_of(*running), HasSubstr("2 nodes, 2 tasks, 2 actors, 2 values\n"));
}

// What is asked for beyond what the workers have waits; the others are used.
TEST_F(SparkCluster, IsUsedWithFewerNodesThanAskedForUnlessItIsStrict) {
  const std::string out = run({"too-many", "6", "2"});
  EXPECT_THAT(out, AllOf(HasSubstr("it was set up with 5 nodes"), HasSubstr("no worker has 2 cores and 512 MiB free")));
  EXPECT_TRUE(is_free());
  const std::string strict = run({"strict", "6", "2"});
  EXPECT_THAT(strict, AllOf(HasSubstr("error: "), HasSubstr("no worker has 2 cores and 512 MiB free")));
}

TEST_F(SparkCluster, WhatNoWorkerCouldEverTakeIsRefused) {
  EXPECT_THAT(error_of({"many-cores"}),
              HasSubstr("a node of 64 cores was asked for, and the largest worker has 2; set SparkConfig::num_cpus"));
  EXPECT_THAT(error_of({"much-memory"}), HasSubstr("the largest worker has 1024 MiB; set SparkConfig::memory_bytes"));
}

TEST_F(SparkCluster, AWrongMasterIsNamed) {
  EXPECT_THAT(error_of({"plain"}, {{"RAYX_SPARK_MASTER", "spark://127.0.0.1:1"}}),
              AllOf(HasSubstr("error: "), HasSubstr("127.0.0.1:1")));
  EXPECT_THAT(error_of({"plain"}, {{"RAYX_SPARK_MASTER", spark().setting("RAYX_SPARK_RPC")}}), HasSubstr("error: "));
}

TEST_F(SparkCluster, AWrongKeyIsNamed) {
  if (!RealSpark::has_auth()) GTEST_SKIP() << "Spark 3.5 has no filter";
  const std::string path = testing::TempDir() + "wrong-key";
  std::ofstream(path) << "d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmc";
  ::chmod(path.c_str(), 0600);
  EXPECT_THAT(error_of({"plain"}, {{"RAYX_SPARK_JWS_SECRET_FILE", path}}),
              AllOf(HasSubstr("error: "), HasSubstr("403")));
}

// The two last: a worker and a master less.
TEST_F(SparkCluster, ReplacesANodeWhoseWorkerIsKilled) {
  const auto running = program({"watch", "2"});
  ASSERT_TRUE(read_until(*running, "complete\n")) << running->err();
  const std::vector<pid_t> all = spark().nodes();
  ASSERT_EQ(all.size(), 2u);
  bool is_found = false;
  for (int i = 1; i <= spark().workers() && !is_found; ++i) {
    const pid_t worker = spark().pid_of("worker-" + std::to_string(i));
    if ((is_found = is_below(all.front(), worker))) ::kill(worker, SIGKILL);
  }
  ASSERT_TRUE(is_found);
  EXPECT_TRUE(kit::eventually([&] { return ::kill(all.front(), 0) != 0; })) << "the node has outlived its worker";
  EXPECT_THAT(end_of(*running), HasSubstr("2 nodes, 2 tasks, 2 actors, 2 values\n"));
}

TEST_F(SparkCluster, GoesOnWhenTheMasterIsKilled) {
  const auto running = program({"serve", "2"});
  ASSERT_TRUE(read_until(*running, "2 nodes, 2 tasks, 2 actors, 2 values\n")) << running->err();
  const int active = spark().active_master();
  ASSERT_GE(active, 1);
  ASSERT_EQ(::kill(spark().pid_of("master-" + std::to_string(active)), SIGKILL), 0);
  EXPECT_TRUE(kit::eventually([&] { return spark().active_master() == 3 - active; }, kPatience));
  running->kill(SIGUSR1);
  EXPECT_THAT(end_of(*running),
              AllOf(HasSubstr("once more: 2 nodes, 2 tasks, 2 actors, 2 values\n"), HasSubstr("shut down\n")));
}

}  // namespace
}  // namespace rayx::spark
