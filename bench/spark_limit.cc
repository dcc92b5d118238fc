// spark_limit limit_spark_5: how long Spark itself takes for five submissions of an empty program, from the first request until the last one
// has ended. Where the cluster is, its environment says, as for rayx::spark::setup_cluster.
#include <poll.h>

#include <cstdlib>
#include <set>
#include <string>
#include <utility>

#include "kit.hpp"
#include "spark/rest_client.hpp"

namespace {

using namespace rayx::spark;

constexpr int kSubmissions = 5;

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  bench::check(value != nullptr, "this variable is missing", name);
  return value;
}

SparkRestClient client() {
  RestClientOptions options{.masters = variable("RAYX_SPARK_MASTER"), .web = variable("RAYX_SPARK_WEB")};
  rayx::Result<std::optional<JwsSecret>> secret = JwsSecret::from_environment();
  bench::check(secret.has_value(), "no secret", secret ? "" : secret.error().message);
  options.jws_secret = std::move(*secret);
  rayx::Result<SparkRestClient> made = SparkRestClient::make(std::move(options));
  bench::check(made.has_value(), "no client", made ? "" : made.error().message);
  return std::move(*made);
}

// Its main prints a line. The JVM is as small and as quick to start as rayx's own.
SubmissionRequest empty_program() {
  return {.app_resource = "",
          .main_class = "scala.util.Properties",
          .app_args = {},
          .spark_properties = {{"spark.driver.memory", "256m"},
                               {"spark.driver.cores", "1"},
                               {"spark.driver.extraJavaOptions", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"}}};
}

}  // namespace

int main(int argc, char** argv) {
  bench::check(argc == 2 && std::string(argv[1]) == "limit_spark_5", "usage: spark_limit limit_spark_5");
  const SparkRestClient spark = client();
  const double seconds = bench::seconds_of([&] {
    std::set<std::string> running;
    for (int i = 0; i < kSubmissions; ++i) {
      const rayx::Result<Creation> created = spark.create(empty_program());
      bench::check(created && created->certainty == Creation::Certainty::kAccepted, "not submitted",
                   created ? created->what_happened : created.error().message);
      running.insert(created->submission_id);
    }
    while (!running.empty()) {
      ::poll(nullptr, 0, 20);
      for (auto it = running.begin(); it != running.end();) {
        const rayx::Result<SubmissionStatus> status = spark.status(*it);
        bench::check(status.has_value(), "no status", status ? "" : status.error().message);
        const bool is_done = status->state == DriverState::kFinished;
        bench::check(is_done || !is_over(status->state), "a submission has failed", status->message);
        it = is_done ? running.erase(it) : std::next(it);
      }
    }
  });
  bench::report("limit_spark_5", "s", seconds);
  return 0;
}
