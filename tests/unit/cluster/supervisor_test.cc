// The supervisor with a provider and members that the test plays, and with its own time: what is said, kept and forgotten.
#include "cluster/supervisor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"

namespace rayx::cluster {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Nodes are called as their submissions, "played-3".
class Played final : public ClusterProvider {
 public:
  std::string name() const override { return "played"; }
  ProviderAbilities abilities() const override { return {.has_capacity = false, .has_logs = true}; }
  Result<NodeSubmission> submit(const NodeRequest& request) override {
    if (!refusal.empty()) return Error{ErrorCode::kSystemError, refusal};
    nodes[request.name] = {NodeState::kWaiting, "", ""};
    return NodeSubmission{request.name};
  }
  Result<NodeStatus> status(const std::string& id) override {
    ++questions;
    return nodes.at(id);
  }
  Result<void> kill(const std::string& id) override {
    kills.push_back(id);
    return {};
  }
  Result<std::string> logs(const std::string& id) override {
    calls.push_back("logs of " + id);
    return std::string("its last line\n");
  }
  void forget(const std::string& id) override { calls.push_back("forget " + id); }

  void end(const std::string& id, const std::string& why) { nodes.at(id) = {NodeState::kEnded, "", why}; }

  std::string refusal;
  std::map<std::string, NodeStatus> nodes;
  std::vector<std::string> kills;
  std::vector<std::string> calls;
  std::size_t questions = 0;  // about a node's status
};

class Supervised : public testing::Test, protected Surroundings {
 protected:
  void start(SupervisorConfig config) {
    config.name_prefix = "played";
    supervisor_.emplace(std::move(config), provider_, static_cast<Surroundings&>(*this), clock_);
  }
  void step(TimeNs time = kSecondNs) {
    clock_.advance_ns(time);
    supervisor_->step();
  }
  // Until it says so, or for a long time.
  void start_ready(int nodes) {
    start({.limits = {.nodes_min = nodes, .nodes_max = nodes}});
    step();
    for (int i = 1; i <= nodes; ++i) join(i);
    step();
    ASSERT_EQ(supervisor_->outcome(), Supervisor::Outcome::kReady);
    lines_.clear();
  }
  void join(int number) { members_["played-" + std::to_string(number)] = {}; }
  void crash(int number, const std::string& why) {
    members_.erase("played-" + std::to_string(number));
    provider_.end("played-" + std::to_string(number), why);
  }

  std::vector<Member> members() override {
    std::vector<Member> all;
    for (const auto& [name, is_busy] : members_) all.push_back({name, "id of " + name, true});
    return all;
  }
  int wanted_nodes() override { return 0; }
  NodeRequest request_of(const std::string& name) override {
    NodeRequest request;
    request.name = name;
    return request;
  }
  void send_away(const Member&) override {}
  void progress(const std::string& line) override { lines_.push_back(line); }
  void submitted(const std::string&) override {}
  void gone(const std::string& id) override { provider_.calls.push_back("gone " + id); }
  void nodes_ready(int) override {}

  base::ManualClock clock_;
  Played provider_;
  std::map<std::string, bool> members_;
  std::vector<std::string> lines_;
  std::optional<Supervisor> supervisor_;
};

TEST_F(Supervised, ForgetsANodeWhenItsLogIsKept) {
  std::string folder = testing::TempDir() + "rayx-logs-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  start({.limits = {.nodes_min = 1, .nodes_max = 1}, .collect_logs_to = folder});
  step();
  join(1);
  step();
  crash(1, "it crashed");
  step();
  EXPECT_THAT(provider_.calls, ElementsAre("logs of played-1", "forget played-1", "gone played-1"));
}

TEST_F(Supervised, SaysWhyANodeOfAReadyClusterHasEnded) {
  start_ready(2);
  crash(2, "the disk of host-7 is full");
  step();
  EXPECT_THAT(lines_, Contains("played-2 has ended: the disk of host-7 is full"));
}

TEST_F(Supervised, SaysWhyAReadyClusterGetsNoFurtherNode) {
  start_ready(2);
  crash(2, "it crashed");
  provider_.refusal = "the master has no room for it";
  step();
  for (int i = 0; i < 5; ++i) step();
  EXPECT_THAT(lines_, Contains("played-3 could not be started: the master has no room for it"));
}

TEST_F(Supervised, RepeatsNoReasonForEver) {
  start_ready(2);
  crash(2, "it crashed");
  provider_.refusal = "the master has no room for it";
  for (int i = 0; i < 250; ++i) step();
  EXPECT_EQ(std::count_if(lines_.begin(), lines_.end(),
                          [](const auto& line) { return line.find("could not be started") != std::string::npos; }),
            1);
  for (int i = 0; i < 120; ++i) step();
  EXPECT_THAT(lines_, Contains(AllOf(HasSubstr("no room for it"), HasSubstr("more before it)"))));
}

// As when a rack loses its power.
TEST_F(Supervised, SaysOnlySomeOfManyReasonsAtATime) {
  constexpr int kNodes = 100;
  start_ready(kNodes);
  for (int i = 1; i <= kNodes; ++i) crash(i, "host-" + std::to_string(i) + " is gone");
  step();
  step();
  EXPECT_EQ(std::count_if(lines_.begin(), lines_.end(),
                          [](const auto& line) { return line.find("has ended") != std::string::npos; }),
            kTroublesAMinute);
}

TEST_F(Supervised, AnIdInAReasonMakesNoOtherReasonOfIt) {
  start_ready(1);
  for (int i = 1; i <= 3; ++i) {
    crash(i, "submission played-" + std::to_string(i) + " is FAILED");
    for (int s = 0; s < 70; ++s) step();
    join(i + 1);
    step();
  }
  EXPECT_EQ(std::count_if(lines_.begin(), lines_.end(),
                          [](const auto& line) { return line.find("has ended") != std::string::npos; }),
            1);
}

TEST_F(Supervised, WhatIsMissingIsSaidWithItsReasonAndNotWithAnOldOne) {
  start_ready(2);
  crash(2, "it crashed");
  for (int i = 0; i < 5; ++i) step();
  provider_.nodes.at("played-3") = {NodeState::kWaiting, "", "no worker has room"};
  lines_.clear();
  for (int i = 0; i < 70; ++i) step();
  EXPECT_THAT(lines_, ElementsAre("1 of 2 nodes ready; 1 waits: no worker has room"));
  join(3);
  step();
  EXPECT_THAT(lines_, Contains("2 of 2 nodes ready"));
  lines_.clear();
  crash(1, "");
  step();
  EXPECT_THAT(lines_, Contains("played-1 has ended: nobody knows why"));
}

TEST_F(Supervised, ANodeThatDoesNotJoinIsEndedWithWhatToLookAt) {
  start({.limits = {.nodes_min = 1, .nodes_max = 1}, .start_timeout_ns = 600 * kSecondNs});
  step();
  step();
  provider_.nodes.at("played-1") = {NodeState::kRunning, "host-7", "its launcher has started it"};
  for (int i = 0; i < 65; ++i) step();
  EXPECT_THAT(lines_, Contains(AllOf(HasSubstr("played-1 is ended: it ran for 60 s on host-7"),
                                     HasSubstr("its launcher has started it"), HasSubstr("firewall"),
                                     HasSubstr("SparkConfig::advertise"))));
  EXPECT_THAT(provider_.kills, Contains("played-1"));
  const std::size_t said = lines_.size();
  for (int i = 0; i < 60; ++i) step();
  EXPECT_EQ(std::count_if(lines_.begin() + static_cast<std::ptrdiff_t>(said), lines_.end(),
                          [](const auto& line) { return line.find("played-1 is ended") != std::string::npos; }),
            0)
      << "it is asked again, and nothing new is said";
}

TEST_F(Supervised, NobodyIsAskedAfterTheLastMoment) {
  start_ready(3);
  provider_.kills.clear();
  supervisor_->end_all(clock_.now_ns() + 60 * kSecondNs);
  for (int i = 0; i < 60; ++i) step();
  EXPECT_FALSE(supervisor_->is_over());
  const std::size_t kills = provider_.kills.size();
  EXPECT_GT(kills, 3u) << "each is asked again and again";
  const std::size_t questions = provider_.questions;
  for (int i = 0; i < 60; ++i) step();
  EXPECT_EQ(provider_.kills.size(), kills);
  EXPECT_EQ(provider_.questions, questions);
  EXPECT_EQ(supervisor_->left().size(), 3u);
}

TEST_F(Supervised, KeepsLogsInAFolderThatItMakesAndOverNoOther) {
  std::string folder = testing::TempDir() + "rayx-logs-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  folder += "/of/today";
  ASSERT_TRUE(make_log_folder(folder));
  std::ofstream(folder + "/played-1.log") << "of another cluster\n";
  start({.limits = {.nodes_min = 1, .nodes_max = 1}, .collect_logs_to = folder});
  step();
  join(1);
  step();
  crash(1, "it crashed");
  step();
  std::string text;
  std::getline(std::ifstream(folder + "/played-1.log"), text);
  EXPECT_EQ(text, "of another cluster");
  std::getline(std::ifstream(folder + "/played-1.1.log"), text);
  EXPECT_EQ(text, "its last line");
}

TEST_F(Supervised, SaysWhyALogCouldNotBeKept) {
  EXPECT_THAT(make_log_folder("/proc/rayx/logs").error().message,
              AllOf(HasSubstr("collect_logs_to"), HasSubstr("/proc/rayx"), HasSubstr("No such file or directory")));
  start({.limits = {.nodes_min = 1, .nodes_max = 1}, .collect_logs_to = "/proc/rayx/logs"});
  step();
  crash(1, "it crashed");
  step();
  EXPECT_THAT(lines_,
              Contains(AllOf(HasSubstr("the log of played-1 is lost"), HasSubstr("No such file or directory"))));
}

TEST_F(Supervised, NothingIsSaidOfNodesThatEndWithTheCluster) {
  start_ready(2);
  supervisor_->end_all(clock_.now_ns() + 60 * kSecondNs);
  for (auto& [name, status] : provider_.nodes) status = {NodeState::kEnded, "", "as it was asked to"};
  members_.clear();
  step();
  EXPECT_TRUE(supervisor_->is_over());
  EXPECT_THAT(lines_, IsEmpty());
}

}  // namespace
}  // namespace rayx::cluster
