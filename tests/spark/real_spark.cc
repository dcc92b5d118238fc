#include "real_spark.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/deadline.hpp"
#include "kit/eventually.hpp"

namespace rayx::spark {
namespace {

constexpr int kExitCannotInstall = 3;  // of tools/spark.sh
constexpr std::chrono::minutes kInstallPatience{15};

std::unique_ptr<RealSpark> the_spark;

struct EndsSpark final : testing::Environment {
  void TearDown() override { the_spark.reset(); }
};
[[maybe_unused]] const auto* const registered = testing::AddGlobalTestEnvironment(new EndsSpark);

}  // namespace

std::string variable(const char* name, const char* otherwise) {
  const char* const value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

RealSpark::RealSpark() : workers_(std::atoi(variable("RAYX_SPARK_WORKERS", "2").c_str())) {
  script({"stop"});  // what a run that was killed has left
  std::vector<std::string> words = {"start",
                                    "--version",
                                    version(),
                                    "--workers",
                                    std::to_string(workers_),
                                    "--cores",
                                    std::to_string(kCores),
                                    "--memory",
                                    std::to_string(kMemoryMib) + "m",
                                    "--standby"};
  if (has_auth()) words.push_back("--auth");
  std::istringstream options(variable("RAYX_SPARK_OPTIONS"));
  for (std::string word; options >> word;) words.push_back(word);
  start_ = script(words);
  const auto status = start_->wait();
  report_ = start_->out() + start_->err();
  std::printf("%s", report_.c_str());
  can_be_installed_ = !(status && status->exited_with(kExitCannotInstall));
  if (!status || !status->exited_with(0)) return;
  std::ifstream file(settings_file());
  for (std::string line; std::getline(file, line);) {
    const std::size_t equals = line.find('=');
    if (equals != std::string::npos) settings_[line.substr(0, equals)] = line.substr(equals + 1);
  }
}

RealSpark::~RealSpark() { script({"stop"}); }

std::string RealSpark::folder() {
  const std::string script = variable("RAYX_SPARK_SH");
  return script.substr(0, script.rfind("tools/")) + "build/spark/";
}

std::unique_ptr<kit::Program> RealSpark::script(std::vector<std::string> words) const {
  words.insert(words.end(), {"--name", name_});
  auto program =
      std::make_unique<kit::Program>(variable("RAYX_SPARK_SH"), kit::Program::Options{.arguments = std::move(words)});
  const base::Deadline deadline(kInstallPatience);
  while (!program->wait() && !deadline.has_passed()) {
  }
  return program;
}

RestClientOptions RealSpark::options() const {
  RestClientOptions options{.masters = setting("RAYX_SPARK_MASTER"), .web = setting("RAYX_SPARK_WEB")};
  if (has_auth()) {
    Result<JwsSecret> secret = JwsSecret::from_file(setting("RAYX_SPARK_JWS_SECRET_FILE"));
    EXPECT_TRUE(secret) << secret.error().message;
    if (secret) options.jws_secret = std::move(*secret);
  }
  return options;
}

SparkRestClient RealSpark::client(RestClientOptions options) {
  Result<SparkRestClient> client = SparkRestClient::make(std::move(options));
  EXPECT_TRUE(client) << client.error().message;
  return std::move(*client);
}

std::string RealSpark::submit(const SubmissionRequest& request) const {
  const Result<Creation> creation = client().create(request);
  EXPECT_TRUE(creation) << creation.error().message;
  if (!creation) return "";
  EXPECT_EQ(creation->certainty, Creation::Certainty::kAccepted) << creation->what_happened;
  return creation->submission_id;
}

SubmissionStatus RealSpark::wait_for(const std::string& id, DriverState state) const {
  const SparkRestClient client = this->client();
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

std::vector<std::string> RealSpark::drivers() const {
  const auto status = script({"status"});
  std::vector<std::string> found;
  std::istringstream lines(status->out());
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("driver-")) found.push_back(line.substr(0, line.find(':')));
  return found;
}

bool RealSpark::is_free() const {
  const Result<Capacity> capacity = client().capacity();
  return capacity && capacity->cores_free == capacity->workers_alive * kCores &&
         capacity->memory_free_mib == capacity->workers_alive * kMemoryMib && nodes().empty() && drivers().empty();
}

pid_t RealSpark::pid_of(const std::string& process) const {
  std::ifstream file(folder() + name_ + "/" + process + ".pid");
  pid_t pid = -1;
  EXPECT_TRUE(file >> pid) << process;
  return pid;
}

int RealSpark::active_master(const Result<Capacity>& capacity) const {
  if (!capacity) return 0;
  const std::string rpcs = setting("RAYX_SPARK_RPC");  // spark://127.0.0.1:1234,127.0.0.1:5678
  const std::size_t found = rpcs.find(capacity->master_url.substr(std::string("spark://").size()));
  if (found == std::string::npos) return 0;
  return 1 + static_cast<int>(std::count(rpcs.begin(), rpcs.begin() + static_cast<std::ptrdiff_t>(found), ','));
}

RealSpark& SparkTest::spark() {
  if (the_spark == nullptr) the_spark = std::make_unique<RealSpark>();
  return *the_spark;
}

}  // namespace rayx::spark
