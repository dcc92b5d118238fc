// SparkRestClient against a real standalone cluster: Spark 4 behind JWSFilter, or with RAYX_SPARK_VERSION=3.5 one without a filter.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

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
#include "kit/program.hpp"
#include "spark/rest_client.hpp"

namespace rayx::spark {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

constexpr int kExitCannotInstall = 3;  // of tools/spark.sh
constexpr std::chrono::minutes kInstallPatience{15};
constexpr std::chrono::seconds kDriverPatience{60};  // a JVM on a busy machine takes seconds
constexpr int kWorkers = 2;
constexpr int kProcesses = 2 + 1 + kWorkers;  // two masters, ZooKeeper
constexpr int kCores = 2;
constexpr int kMemoryMib = 1024;

std::string variable(const char* name, const char* otherwise = "") {
  const char* const value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

std::string version() { return variable("RAYX_SPARK_VERSION", "4"); }
bool has_auth() { return version() != "3.5"; }
std::string cluster_name() { return "test-" + version(); }

class Spark : public testing::Test {
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
                                      std::to_string(kMemoryMib) + "m",
                                      "--standby"};
    if (has_auth()) words.push_back("--auth");
    start_ = script(words);
    const std::optional<kit::ExitStatus> status = start_->wait();
    std::printf("%s%s", start_->out().c_str(), start_->err().c_str());
    if (status && status->exited_with(kExitCannotInstall)) {
      const std::string& why = start_->err();
      why_not_ = "Spark cannot be installed here: " + why.substr(why.size() > 300 ? why.size() - 300 : 0);
      return;
    }
    ASSERT_TRUE(status && status->exited_with(0)) << "tools/spark.sh start failed";
    settings_.clear();
    std::ifstream file(folder() + cluster_name() + ".env");
    for (std::string line; std::getline(file, line);) {
      const std::size_t equals = line.find('=');
      if (equals != std::string::npos) settings_[line.substr(0, equals)] = line.substr(equals + 1);
    }
  }

  static void TearDownTestSuite() {
    script({"stop"});
    start_.reset();  // and what it left, if it did
  }

  void SetUp() override {
    if (!why_not_.empty()) GTEST_SKIP() << why_not_;
    ASSERT_FALSE(settings_.empty()) << "no cluster runs";
  }

  static std::string folder() {
    const std::string script = variable("RAYX_SPARK_SH");
    return script.substr(0, script.rfind("tools/")) + "build/spark/";
  }

  static RestClientOptions options() {
    RestClientOptions options{.masters = settings_["RAYX_SPARK_MASTER"], .web = settings_["RAYX_SPARK_WEB"]};
    if (has_auth()) {
      Result<JwsSecret> secret = JwsSecret::from_file(settings_["RAYX_SPARK_JWS_SECRET_FILE"]);
      EXPECT_TRUE(secret) << secret.error().message;
      if (secret) options.jws_secret = std::move(*secret);
    }
    return options;
  }

  static SparkRestClient client(RestClientOptions options = Spark::options()) {
    Result<SparkRestClient> client = SparkRestClient::make(std::move(options));
    EXPECT_TRUE(client) << client.error().message;
    return std::move(*client);
  }

  // A driver of a class that is in Spark's own jars.
  static SubmissionRequest driver(const std::string& main_class, std::vector<std::string> args = {}) {
    return {.app_resource = "",
            .main_class = main_class,
            .app_args = std::move(args),
            .spark_properties = {{"spark.driver.memory", "256m"}, {"spark.driver.cores", "1"}}};
  }
  // Prints a version and ends.
  static SubmissionRequest short_driver() { return driver("org.apache.hadoop.util.VersionInfo"); }
  // A server that waits for ever.
  static SubmissionRequest long_driver() {
    SubmissionRequest request = driver("org.apache.spark.deploy.ExternalShuffleService");
    request.spark_properties["spark.shuffle.service.enabled"] = "true";
    request.spark_properties["spark.shuffle.service.port"] = "0";
    return request;
  }

  static std::string submit(const SubmissionRequest& request) {
    const Result<Creation> creation = client().create(request);
    EXPECT_TRUE(creation) << creation.error().message;
    if (!creation) return "";
    EXPECT_EQ(creation->certainty, Creation::Certainty::kAccepted) << creation->what_happened;
    return creation->submission_id;
  }

  // The driver's status as soon as it is in that state, or in one that it never leaves.
  static SubmissionStatus wait_for(const std::string& id, DriverState state) {
    const SparkRestClient client = Spark::client();
    SubmissionStatus last;
    EXPECT_TRUE(kit::eventually(
        [&] {
          const Result<SubmissionStatus> status = client.status(id);
          EXPECT_TRUE(status) << status.error().message;
          if (status) last = *status;
          return !status || last.state == state || is_over(last.state);
        },
        kDriverPatience));
    EXPECT_EQ(to_string(last.state), to_string(state)) << id << ": " << last.message;
    return last;
  }

  // RUNNING is said before the process is there. Masters, ZooKeeper and workers are the others that the script has started.
  static bool has_driver_process(int processes = kProcesses) {
    return kit::eventually([=] { return start_->descendants().size() > static_cast<std::size_t>(processes); });
  }

  // Which of the script's masters is the active one.
  static int master_index(const Capacity& capacity) {
    const std::string rpcs = settings_["RAYX_SPARK_RPC"];  // spark://127.0.0.1:1234,127.0.0.1:5678
    const std::size_t found = rpcs.find(capacity.master_url.substr(std::string("spark://").size()));
    if (found == std::string::npos) return -1;
    return static_cast<int>(std::count(rpcs.begin(), rpcs.begin() + static_cast<std::ptrdiff_t>(found), ','));
  }

  static std::unique_ptr<kit::Program> start_;
  static std::map<std::string, std::string> settings_;
  static std::string why_not_;
};

std::unique_ptr<kit::Program> Spark::start_;
std::map<std::string, std::string> Spark::settings_;
std::string Spark::why_not_;

TEST_F(Spark, SaysWhatItsWorkersHaveFree) {
  const Result<Capacity> capacity = client().capacity();
  ASSERT_TRUE(capacity) << capacity.error().message;
  EXPECT_EQ(capacity->status, "ALIVE");
  EXPECT_GE(master_index(*capacity), 0) << capacity->master_url;
  EXPECT_EQ(capacity->workers_alive, kWorkers);
  EXPECT_EQ(capacity->cores_free, kWorkers * kCores);
  EXPECT_EQ(capacity->memory_free_mib, kWorkers * kMemoryMib);
  for (const WorkerCapacity& worker : capacity->workers) EXPECT_EQ(worker.host, "127.0.0.1");
}

TEST_F(Spark, SaysWhetherItIsReadyIfItsVersionCan) {
  const Result<Readiness> readiness = client().readiness();
  ASSERT_TRUE(readiness) << readiness.error().message;
  EXPECT_EQ(*readiness, version() == "3.5" ? Readiness::kUntold : Readiness::kReady);
}

TEST_F(Spark, RunsADriverToItsEnd) {
  const std::string id = submit(short_driver());
  const SubmissionStatus status = wait_for(id, DriverState::kFinished);
  EXPECT_NE(status.worker_id, "");
  EXPECT_THAT(status.server_version, testing::StartsWith(version()));
  EXPECT_EQ(*client().kill(id), KillOutcome::kGone);
}

TEST_F(Spark, TellsADriverThatFailsFromOneThatCannotStart) {
  const std::string failing = submit(driver("no.such.Class"));
  SubmissionRequest without_jar = short_driver();
  without_jar.app_resource = "file:/no/such/folder/launcher.jar";
  const std::string not_started = submit(without_jar);
  wait_for(failing, DriverState::kFailed);
  EXPECT_THAT(wait_for(not_started, DriverState::kError).message, HasSubstr("/no/such/folder/launcher.jar"));
}

TEST_F(Spark, EndsADriverThatRuns) {
  const std::string id = submit(long_driver());
  const SubmissionStatus running = wait_for(id, DriverState::kRunning);
  EXPECT_THAT(running.worker_address, HasSubstr("127.0.0.1:"));
  EXPECT_EQ(client().capacity()->cores_free, kWorkers * kCores - 1) << "its reservation is one core";
  EXPECT_TRUE(has_driver_process());
  EXPECT_EQ(*client().kill(id), KillOutcome::kAsked);
  wait_for(id, DriverState::kKilled);
  EXPECT_TRUE(kit::eventually([] { return client().capacity()->cores_free == kWorkers * kCores; }));
  EXPECT_TRUE(kit::eventually([] { return start_->descendants().size() == static_cast<std::size_t>(kProcesses); }));
}

TEST_F(Spark, KeepsADriverThatFitsNowhereUntilItIsEnded) {
  SubmissionRequest large = short_driver();
  large.spark_properties["spark.driver.cores"] = "1000";
  const std::string id = submit(large);
  EXPECT_EQ(wait_for(id, DriverState::kSubmitted).worker_id, "");
  EXPECT_EQ(*client().kill(id), KillOutcome::kAsked);
  wait_for(id, DriverState::kKilled);
}

TEST_F(Spark, RefusesWhatItCannotReadWithTheReason) {
  SubmissionRequest strange = short_driver();
  strange.spark_properties["spark.driver.memory"] = "much";
  const Result<Creation> creation = client().create(strange);
  ASSERT_FALSE(creation);
  EXPECT_THAT(creation.error().message, AllOf(HasSubstr("the driver was not submitted"), HasSubstr("HTTP 400")));
}

TEST_F(Spark, DoesNotKnowDriversThatNeverWere) {
  const std::string id = "driver-20200101000000-0000";
  const Result<SubmissionStatus> status = client().status(id);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kNotFound) << status.error().message;
  EXPECT_EQ(*client().kill(id), KillOutcome::kGone);
}

TEST_F(Spark, RefusesWhoHasNotItsSecret) {
  if (!has_auth()) GTEST_SKIP() << "Spark 3.5 has no filter for its REST server";
  RestClientOptions without = options();
  without.jws_secret.reset();
  const Result<Creation> unsigned_one = client(std::move(without)).create(short_driver());
  ASSERT_FALSE(unsigned_one);
  EXPECT_THAT(unsigned_one.error().message, AllOf(HasSubstr("HTTP 403"), HasSubstr("RAYX_SPARK_JWS_SECRET_FILE")));
  RestClientOptions wrong = options();
  wrong.jws_secret = *JwsSecret::from_base64url("c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldC0xMjM0");
  const Result<Creation> mistaken = client(std::move(wrong)).create(short_driver());
  ASSERT_FALSE(mistaken);
  EXPECT_THAT(mistaken.error().message, AllOf(HasSubstr("HTTP 403"), HasSubstr("whether the master has the same one")));
  RestClientOptions late = options();
  late.unix_time_s = [] { return std::int64_t{1'700'000'000}; };
  const Result<Creation> expired = client(std::move(late)).create(short_driver());
  ASSERT_FALSE(expired);
  EXPECT_THAT(expired.error().message, AllOf(HasSubstr("HTTP 403"), HasSubstr("clocks")));
}

TEST_F(Spark, WebPageAndOtherProtocolsAreTakenForWhatTheyAre) {
  RestClientOptions web = options();
  web.masters = settings_["RAYX_SPARK_WEB"];
  const Result<Creation> at_web = client(std::move(web)).create(short_driver());
  ASSERT_FALSE(at_web) << at_web->what_happened;
  EXPECT_THAT(at_web.error().message, HasSubstr("no REST server of Spark's"));
  RestClientOptions rpc = options();
  rpc.masters = "http://" + settings_["RAYX_SPARK_RPC"].substr(8);
  EXPECT_FALSE(client(std::move(rpc)).status("driver-20200101000000-0000"));
}

TEST_F(Spark, IsServedByWhicheverMasterIsActiveInAnyOrderOfTheirNames) {
  const std::string masters = settings_["RAYX_SPARK_MASTER"].substr(std::string("spark://").size());
  const std::size_t comma = masters.find(',');
  for (const std::string& order : {masters, masters.substr(comma + 1) + "," + masters.substr(0, comma)}) {
    RestClientOptions turned = options();
    turned.masters = "spark://" + order;
    const SparkRestClient client = Spark::client(std::move(turned));
    const Result<Creation> creation = client.create(short_driver());
    ASSERT_TRUE(creation) << creation.error().message;
    wait_for(creation->submission_id, DriverState::kFinished);
  }
  // The standby alone says what it is.
  RestClientOptions standby = options();
  standby.masters =
      "spark://" + (master_index(*client().capacity()) == 0 ? masters.substr(comma + 1) : masters.substr(0, comma));
  const SparkRestClient client = Spark::client(std::move(standby));
  const Result<Creation> refused = client.create(short_driver());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("is not the active master"));
  EXPECT_THAT(client.status("driver-20200101000000-0000").error().message, HasSubstr("is not the active master"));
  EXPECT_THAT(client.kill("driver-20200101000000-0000").error().message, HasSubstr("is not the active master"));
  EXPECT_EQ(*client.readiness(), version() == "3.5" ? Readiness::kUntold : Readiness::kNotReady);
}

TEST_F(Spark, GoesOnWithTheStandbyWhenTheActiveMasterIsKilled) {
  const SparkRestClient client = Spark::client();
  const std::string id = submit(long_driver());
  wait_for(id, DriverState::kRunning);
  const int active = master_index(*client.capacity());
  ASSERT_GE(active, 0);
  std::ifstream file(folder() + cluster_name() + "/master-" + std::to_string(active + 1) + ".pid");
  pid_t pid = 0;
  ASSERT_TRUE(file >> pid);
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  // The same client, which knows both, hears of the driver again as soon as the other one has taken over.
  EXPECT_TRUE(kit::eventually(
      [&] {
        const Result<SubmissionStatus> status = client.status(id);
        return status && status->state == DriverState::kRunning;
      },
      kDriverPatience));
  EXPECT_EQ(master_index(*client.capacity()), 1 - active);
  EXPECT_EQ(*client.kill(id), KillOutcome::kAsked);
  EXPECT_EQ(wait_for(id, DriverState::kKilled).state, DriverState::kKilled);
}

// The last one: it ends the cluster.
TEST_F(Spark, IsStoppedWithAllThatItStartedAndLeavesNothing) {
  const std::string id = submit(long_driver());
  wait_for(id, DriverState::kRunning);
  EXPECT_TRUE(has_driver_process(kProcesses - 1)) << "one master was killed";
  const auto stop = script({"stop"});
  const std::optional<kit::ExitStatus> status = stop->wait();
  ASSERT_TRUE(status && status->exited_with(0)) << stop->out() << stop->err();
  EXPECT_TRUE(start_->is_alone());
  EXPECT_FALSE(std::ifstream(folder() + cluster_name() + ".env").good());
  const Result<Capacity> capacity = client([] {
                                      RestClientOptions plain;
                                      plain.masters = settings_["RAYX_SPARK_MASTER"];
                                      plain.web = settings_["RAYX_SPARK_WEB"];
                                      return plain;
                                    }())
                                        .capacity();
  ASSERT_FALSE(capacity);
  EXPECT_THAT(capacity.error().message, HasSubstr("refused the connection"));
}

}  // namespace
}  // namespace rayx::spark
