// Nodes on Spark's workers when the network between them and all others is cut: they end themselves, and nothing is left when it is back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <string>
#include <vector>

#include "spark_program.hpp"

namespace rayx::spark {
namespace {

class SparkCut : public SparkProgramTest {
 protected:
  void SetUp() override {
    if (variable("RAYX_SPARK_CUT").empty())
      GTEST_SKIP() << "it waits for minutes; RAYX_SPARK_CUT=1 runs it, as ./dev check does";
    SparkProgramTest::SetUp();
  }
  void TearDown() override {
    if (!IsSkipped()) SparkProgramTest::TearDown();
  }
  static void set_link(const std::string& state) {
    kit::Program ip("/bin/sh",
                    {.arguments = {"-c", "exec ip link set \"$0\" \"$1\"", spark().setting("RAYX_SPARK_LINK"), state}});
    const auto status = ip.wait();
    ASSERT_TRUE(status && status->exited_with(0)) << ip.err();
  }
  static bool have_ended(const std::vector<pid_t>& nodes) {
    const auto lives = [](pid_t node) { return ::kill(node, 0) == 0; };
    return kit::eventually([&] { return std::none_of(nodes.begin(), nodes.end(), lives); }, kPatience);
  }
};

TEST_F(SparkCut, NodesEndThemselvesAndNothingIsLeftWhenTheNetworkIsBack) {
  const auto running = program({"hold", "2"});
  ASSERT_TRUE(read_until(*running, "held\n")) << running->err();
  const std::vector<pid_t> nodes = spark().nodes();
  ASSERT_EQ(nodes.size(), 2u);
  set_link("down");
  // Nobody is left who would ask them to end, and no closed socket tells them.
  for (const pid_t pid : running->descendants()) ::kill(pid, SIGKILL);
  running->kill(SIGKILL);
  EXPECT_TRUE(have_ended(nodes));
  set_link("up");
  EXPECT_TRUE(is_free());
}

// The program lives, and uses the workers again as soon as they can be reached.
TEST_F(SparkCut, NodesAreReplacedWhenTheNetworkIsBack) {
  const auto running = program({"watch", "2"});
  ASSERT_TRUE(read_until(*running, "complete\n")) << running->err();
  const std::vector<pid_t> nodes = spark().nodes();
  ASSERT_EQ(nodes.size(), 2u);
  set_link("down");
  EXPECT_TRUE(have_ended(nodes));
  set_link("up");
  EXPECT_THAT(end_of(*running), testing::HasSubstr("2 nodes, 2 tasks, 2 actors, 2 values\n"));
}

}  // namespace
}  // namespace rayx::spark
