// rayx::spark::setup_cluster on a real Spark cluster, and that no submission is left, whoever is killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/deadline.hpp"
#include "kit/eventually.hpp"
#include "kit/process_tree.hpp"
#include "kit/program.hpp"
#include "spark/rest_client.hpp"

namespace rayx::spark {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int kExitCannotInstall = 3;  // of tools/spark.sh
constexpr std::chrono::minutes kInstallPatience{15};
constexpr std::chrono::seconds kPatience{120};      // for a set-up on a busy machine
constexpr std::chrono::seconds kErrorPatience{60};  // what cannot be is said in this time
constexpr int kWorkers = 5;
constexpr int kCores = 2;
constexpr int kMemoryMib = 1024;

std::string variable(const char* name, const char* otherwise = "") {
  const char* const value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}
std::string version() { return variable("RAYX_SPARK_VERSION", "4"); }
bool has_auth() { return version() != "3.5"; }
std::string cluster_name() { return "cluster-" + version(); }

class SparkCluster : public testing::Test {
 protected:
  static std::unique_ptr<kit::Program> script(std::vector<std::string> words) {
    words.insert(words.end(), {"--name", cluster_name()});
    auto program =
        std::make_unique<kit::Program>(variable("RAYX_SPARK_SH"), kit::Program::Options{.arguments = std::move(words)});
    const base::Deadline deadline(kInstallPatience);
    while (!program->wait() && !deadline.has_passed()) {
    }
    return program;
  }

  static void SetUpTestSuite() {
    script({"stop"});  // what a run that was killed has left
    std::vector<std::string> words = {"start",
                                      "--version",
                                      version(),
                                      "--workers",
                                      std::to_string(kWorkers),
                                      "--cores",
                                      std::to_string(kCores),
                                      "--memory",
                                      std::to_string(kMemoryMib) + "m"};
    if (has_auth()) words.push_back("--auth");
    start_ = script(words);
    const std::optional<kit::ExitStatus> status = start_->wait();
    std::printf("%s%s", start_->out().c_str(), start_->err().c_str());
    if (status && status->exited_with(kExitCannotInstall)) {
      why_not_ = "Spark cannot be installed here";
      return;
    }
    ASSERT_TRUE(status && status->exited_with(0)) << "tools/spark.sh start failed";
    settings_.clear();
    const std::string script_path = variable("RAYX_SPARK_SH");
    std::ifstream file(script_path.substr(0, script_path.rfind("tools/")) + "build/spark/" + cluster_name() + ".env");
    for (std::string line; std::getline(file, line);) {
      const std::size_t equals = line.find('=');
      if (equals != std::string::npos) settings_[line.substr(0, equals)] = line.substr(equals + 1);
    }
  }
  static void TearDownTestSuite() {
    script({"stop"});
    start_.reset();
  }

  void SetUp() override {
    if (!why_not_.empty()) GTEST_SKIP() << why_not_;
    ASSERT_FALSE(settings_.empty()) << "no cluster runs";
  }
  // Whatever a test did, Spark has all of its workers back.
  void TearDown() override {
    if (settings_.empty()) return;
    EXPECT_TRUE(is_free()) << "something is left on Spark";
  }

  static std::unique_ptr<kit::Program> program(std::vector<std::string> arguments,
                                               const std::map<std::string, std::string>& other = {}) {
    std::map<std::string, std::string> settings = settings_;
    for (const auto& [name, value] : other) settings[name] = value;
    std::vector<std::string> environment;
    for (const auto& [name, value] : settings) environment.push_back(name + '=' + value);
    return std::make_unique<kit::Program>(
        variable("RAYX_SPARK_PROGRAM"),
        kit::Program::Options{.arguments = std::move(arguments), .environment = std::move(environment)});
  }
  static bool read_until(kit::Program& program, const std::string& text) {
    for (const base::Deadline deadline(kPatience); !deadline.has_passed();)
      if (program.read_until(text)) return true;
    return false;
  }
  static std::string run(std::vector<std::string> arguments, std::chrono::seconds patience,
                         const std::map<std::string, std::string>& other = {}) {
    const auto running = program(std::move(arguments), other);
    std::optional<kit::ExitStatus> status;
    for (const base::Deadline deadline(patience); !status && !deadline.has_passed();) status = running->wait();
    EXPECT_TRUE(status && status->exited_with(0)) << running->out() << running->err();
    std::printf("%s%s", running->out().c_str(), running->err().c_str());
    return running->out() + running->err();
  }

  static SparkRestClient client() {
    RestClientOptions options{.masters = settings_["RAYX_SPARK_MASTER"], .web = settings_["RAYX_SPARK_WEB"]};
    if (has_auth()) {
      Result<JwsSecret> secret = JwsSecret::from_file(settings_["RAYX_SPARK_JWS_SECRET_FILE"]);
      EXPECT_TRUE(secret) << secret.error().message;
      if (secret) options.jws_secret = std::move(*secret);
    }
    Result<SparkRestClient> client = SparkRestClient::make(std::move(options));
    EXPECT_TRUE(client) << client.error().message;
    return std::move(*client);
  }
  static bool is_free() {
    return kit::eventually(
        [] {
          const Result<Capacity> capacity = client().capacity();
          return capacity && capacity->cores_free == kWorkers * kCores &&
                 capacity->memory_free_mib == kWorkers * kMemoryMib && nodes().empty();
        },
        kPatience);
  }
  // Processes of the cluster's that are nodes, and so have that name.
  static std::vector<pid_t> nodes() {
    const std::vector<pid_t> all = start_->descendants();
    std::vector<pid_t> found;
    for (const kit::ProcessInfo& process : kit::list_processes())
      if (process.name == "rayx:node" && std::count(all.begin(), all.end(), process.pid) != 0)
        found.push_back(process.pid);
    return found;
  }

  static std::unique_ptr<kit::Program> start_;
  static std::map<std::string, std::string> settings_;
  static std::string why_not_;
};

std::unique_ptr<kit::Program> SparkCluster::start_;
std::map<std::string, std::string> SparkCluster::settings_;
std::string SparkCluster::why_not_;

TEST_F(SparkCluster, DoesWorkOnFiveWorkersAndGivesThemBack) {
  const std::string out = run({"work", "5"}, kPatience);
  EXPECT_THAT(out, HasSubstr("5 nodes, 5 tasks, 5 actors, 5 values\n"));
  EXPECT_THAT(out, HasSubstr("shut down\n"));
}

TEST_F(SparkCluster, LeavesNothingWhenItsProgramIsKilled) {
  const auto running = program({"hold", "2"});
  ASSERT_TRUE(read_until(*running, "held\n")) << running->err();
  EXPECT_EQ(nodes().size(), 2u);
  running->kill(SIGKILL);
  EXPECT_TRUE(is_free());
}

TEST_F(SparkCluster, LeavesNothingWhenItsKeeperIsKilled) {
  const auto running = program({"hold", "2"});
  ASSERT_TRUE(read_until(*running, "held\n")) << running->err();
  for (const kit::ProcessInfo& process : kit::list_processes()) {
    const std::vector<pid_t> all = running->descendants();
    if (process.name == "rayx:keeper" && std::count(all.begin(), all.end(), process.pid) != 0)
      ::kill(process.pid, SIGKILL);
  }
  EXPECT_TRUE(is_free());
  running->kill(SIGKILL);
}

TEST_F(SparkCluster, ReplacesANodeThatIsKilled) {
  const auto running = program({"watch", "2"});
  ASSERT_TRUE(read_until(*running, "complete\n")) << running->err();
  const std::vector<pid_t> all = nodes();
  ASSERT_EQ(all.size(), 2u);
  ::kill(all.front(), SIGKILL);
  EXPECT_TRUE(read_until(*running, "2 nodes, 2 tasks, 2 actors, 2 values\n")) << running->out() << running->err();
}

// What is asked for beyond what the workers have waits; the others are used.
TEST_F(SparkCluster, IsUsedWithFewerNodesThanAskedForUnlessItIsStrict) {
  const std::string out = run({"too-many", "6", "2"}, kErrorPatience);
  EXPECT_THAT(out, AllOf(HasSubstr("it was set up with 5 nodes"), HasSubstr("no worker has 2 cores and 512 MiB free")));
  EXPECT_TRUE(is_free());
  const std::string strict = run({"strict", "6", "2"}, kErrorPatience);
  EXPECT_THAT(strict, AllOf(HasSubstr("error: "), HasSubstr("no worker has 2 cores and 512 MiB free")));
}

TEST_F(SparkCluster, WhatNoWorkerCouldEverTakeIsRefused) {
  EXPECT_THAT(run({"many-cores"}, kErrorPatience),
              HasSubstr("a node of 64 cores was asked for, and the largest worker has 2; set SparkConfig::num_cpus"));
  EXPECT_THAT(run({"much-memory"}, kErrorPatience),
              HasSubstr("the largest worker has 1024 MiB; set SparkConfig::memory_bytes"));
}

TEST_F(SparkCluster, AWrongMasterIsNamed) {
  EXPECT_THAT(run({"plain"}, kErrorPatience, {{"RAYX_SPARK_MASTER", "spark://127.0.0.1:1"}}),
              AllOf(HasSubstr("error: "), HasSubstr("127.0.0.1:1")));
  EXPECT_THAT(run({"plain"}, kErrorPatience, {{"RAYX_SPARK_MASTER", settings_["RAYX_SPARK_RPC"]}}),
              HasSubstr("error: "));
}

TEST_F(SparkCluster, AWrongKeyIsNamed) {
  if (!has_auth()) GTEST_SKIP() << "Spark 3.5 has no filter";
  const std::string path = testing::TempDir() + "wrong-key";
  std::ofstream(path) << "d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmc";
  ::chmod(path.c_str(), 0600);
  EXPECT_THAT(run({"plain"}, kErrorPatience, {{"RAYX_SPARK_JWS_SECRET_FILE", path}}),
              AllOf(HasSubstr("error: "), HasSubstr("403")));
}

}  // namespace
}  // namespace rayx::spark
