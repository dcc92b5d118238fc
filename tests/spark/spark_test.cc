// SparkRestClient against a real standalone cluster.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kit/eventually.hpp"
#include "real_spark.hpp"

namespace rayx::spark {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

class Spark : public SparkTest {
 protected:
  static SparkRestClient client() { return spark().client(); }
  static SparkRestClient client(RestClientOptions options) { return RealSpark::client(std::move(options)); }
  static RestClientOptions options() { return spark().options(); }
  static std::string submit(const SubmissionRequest& request) { return spark().submit(request); }
  static SubmissionStatus wait_for(const std::string& id, DriverState state) { return spark().wait_for(id, state); }
  static int cores() { return spark().workers() * RealSpark::kCores; }

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
  // RUNNING is said before the process is there.
  static bool has_driver_process(std::size_t processes) {
    return kit::eventually([=] { return spark().processes().size() > processes; });
  }
};

TEST_F(Spark, SaysWhatItsWorkersHaveFree) {
  const Result<Capacity> capacity = client().capacity();
  ASSERT_TRUE(capacity) << capacity.error().message;
  EXPECT_EQ(capacity->status, "ALIVE");
  EXPECT_GE(spark().active_master(capacity), 1) << capacity->master_url;
  EXPECT_EQ(capacity->workers_alive, spark().workers());
  EXPECT_EQ(capacity->cores_free, cores());
  EXPECT_EQ(capacity->memory_free_mib, spark().workers() * RealSpark::kMemoryMib);
  for (const WorkerCapacity& worker : capacity->workers) EXPECT_EQ(worker.host, "127.0.0.1");
}

TEST_F(Spark, SaysWhetherItIsReadyIfItsVersionCan) {
  const Result<Readiness> readiness = client().readiness();
  ASSERT_TRUE(readiness) << readiness.error().message;
  EXPECT_EQ(*readiness, RealSpark::version() == "3.5" ? Readiness::kUntold : Readiness::kReady);
}

TEST_F(Spark, RunsADriverToItsEnd) {
  const std::string id = submit(short_driver());
  const SubmissionStatus status = wait_for(id, DriverState::kFinished);
  EXPECT_NE(status.worker_id, "");
  EXPECT_THAT(status.server_version, testing::StartsWith(RealSpark::version()));
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
  EXPECT_EQ(client().capacity()->cores_free, cores() - 1) << "its reservation is one core";
  EXPECT_TRUE(has_driver_process(spark().own_processes()));
  EXPECT_EQ(*client().kill(id), KillOutcome::kAsked);
  wait_for(id, DriverState::kKilled);
  EXPECT_TRUE(kit::eventually([] { return client().capacity()->cores_free == cores(); }));
  EXPECT_TRUE(kit::eventually([] { return spark().processes().size() == spark().own_processes(); }));
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
  if (!RealSpark::has_auth()) GTEST_SKIP() << "Spark 3.5 has no filter for its REST server";
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
  web.masters = spark().setting("RAYX_SPARK_WEB");
  const Result<Creation> at_web = client(std::move(web)).create(short_driver());
  ASSERT_FALSE(at_web) << at_web->what_happened;
  EXPECT_THAT(at_web.error().message, HasSubstr("no REST server of Spark's"));
  RestClientOptions rpc = options();
  rpc.masters = "http://" + spark().setting("RAYX_SPARK_RPC").substr(8);
  EXPECT_FALSE(client(std::move(rpc)).status("driver-20200101000000-0000"));
}

TEST_F(Spark, IsServedByWhicheverMasterIsActiveInAnyOrderOfTheirNames) {
  const std::string masters = spark().setting("RAYX_SPARK_MASTER").substr(std::string("spark://").size());
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
  standby.masters = "spark://" + (spark().active_master() == 1 ? masters.substr(comma + 1) : masters.substr(0, comma));
  const SparkRestClient client = Spark::client(std::move(standby));
  const Result<Creation> refused = client.create(short_driver());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("is not the active master"));
  EXPECT_THAT(client.status("driver-20200101000000-0000").error().message, HasSubstr("is not the active master"));
  EXPECT_THAT(client.kill("driver-20200101000000-0000").error().message, HasSubstr("is not the active master"));
  EXPECT_EQ(*client.readiness(), RealSpark::version() == "3.5" ? Readiness::kUntold : Readiness::kNotReady);
}

TEST_F(Spark, GoesOnWithTheStandbyWhenTheActiveMasterIsKilled) {
  const SparkRestClient client = Spark::client();
  const std::string id = submit(long_driver());
  wait_for(id, DriverState::kRunning);
  const int active = spark().active_master();
  ASSERT_GE(active, 1);
  ASSERT_EQ(::kill(spark().pid_of("master-" + std::to_string(active)), SIGKILL), 0);
  // The same client, which knows both, hears of the driver again as soon as the other one has taken over.
  EXPECT_TRUE(kit::eventually(
      [&] {
        const Result<SubmissionStatus> status = client.status(id);
        return status && status->state == DriverState::kRunning;
      },
      RealSpark::kDriverPatience));
  EXPECT_EQ(spark().active_master(), 3 - active);
  EXPECT_EQ(*client.kill(id), KillOutcome::kAsked);
  EXPECT_EQ(wait_for(id, DriverState::kKilled).state, DriverState::kKilled);
}

// The last one: it ends the cluster.
TEST_F(Spark, IsStoppedWithAllThatItStartedAndLeavesNothing) {
  const std::string id = submit(long_driver());
  wait_for(id, DriverState::kRunning);
  EXPECT_TRUE(has_driver_process(spark().own_processes() - 1)) << "one master was killed";
  const auto stop = spark().script({"stop"});
  const std::optional<kit::ExitStatus> status = stop->wait();
  ASSERT_TRUE(status && status->exited_with(0)) << stop->out() << stop->err();
  EXPECT_TRUE(spark().is_alone());
  EXPECT_FALSE(std::ifstream(spark().settings_file()).good());
  const Result<Capacity> capacity = client([] {
                                      RestClientOptions plain;
                                      plain.masters = spark().setting("RAYX_SPARK_MASTER");
                                      plain.web = spark().setting("RAYX_SPARK_WEB");
                                      return plain;
                                    }())
                                        .capacity();
  ASSERT_FALSE(capacity);
  EXPECT_THAT(capacity.error().message, HasSubstr("refused the connection"));
}

}  // namespace
}  // namespace rayx::spark
