// Nodes as submissions, with a master that the test plays: what is submitted, what is said of a size, and what is forgotten.
#include "spark/node_provider.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "bundle/running_program.hpp"
#include "http/exchange.hpp"
#include "kit/http_server.hpp"
#include "recorded.hpp"
#include "spark/launcher.hpp"
#include "wire/crypto.hpp"

namespace rayx::spark {
namespace {

using kit::HttpServer;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// Takes every submission and tells of each what the test has set.
class Master {
 public:
  std::string address() const { return "http://" + server_.address(); }
  void tell(const std::string& state) {
    const std::lock_guard lock(mutex_);
    state_ = state;
  }
  // A part of the last submission; null: there was none.
  nlohmann::json submitted(const char* part) const {
    nlohmann::json last;
    for (const auto& request : server_.requests())
      if (request.target == "/v1/submissions/create") last = nlohmann::json::parse(request.body);
    return last[part];
  }

 private:
  HttpServer::Answer answer(const HttpServer::Request& request) {
    if (request.target == "/json/") return HttpServer::ok(std::string(test::kWorkers));
    const std::lock_guard lock(mutex_);
    nlohmann::json json{{"success", true}, {"serverSparkVersion", "4.3.0"}};
    if (request.target == "/v1/submissions/create") {
      json["action"] = "CreateSubmissionResponse";
      json["submissionId"] = "driver-" + std::to_string(++created_);
    } else {
      json["action"] = "SubmissionStatusResponse";
      json["driverState"] = state_;
    }
    return HttpServer::ok(json.dump(), "application/json;charset=utf-8");
  }

  std::mutex mutex_;  // guards the next two
  std::string state_ = "SUBMITTED";
  int created_ = 0;
  HttpServer server_{[this](const auto& request) { return answer(request); }};
};

class NodeProviding : public testing::Test {
 protected:
  void make(NodeProviderConfig config = {}) {
    static bundle::FileDigests digests;
    Result<bundle::RunningProgram> program = bundle::describe_running_program(digests);
    ASSERT_TRUE(program) << program.error().message;
    Result<std::unique_ptr<ProgramServer>> server =
        ProgramServer::start({.program = std::make_shared<const bundle::RunningProgram>(std::move(*program))});
    ASSERT_TRUE(server) << server.error().message;
    server_ = server->get();
    Result<SparkRestClient> client = SparkRestClient::make({.masters = master_.address(), .web = master_.address()});
    ASSERT_TRUE(client) << client.error().message;
    provider_ = std::make_unique<NodeProvider>(std::move(config), std::move(*client), std::move(*server), clock_);
  }
  Result<NodeSubmission> submit(const std::string& name, NodeRequest request = {}) {
    request.name = name;
    return provider_->submit(request);
  }

  // What the launcher of the last submission would ask: program_server_test has more of it.
  void play_launcher(const std::string& target, std::string_view what, const std::string& nonce,
                     const std::string& body) {
    const std::string hex = master_.submitted("environmentVariables").at(kLauncherTokenVariable);
    std::vector<std::byte> token;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
      token.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    const auto mac = [&token](std::string_view a, std::string_view b, std::string_view c) {
      return wire::to_hex(wire::hmac_sha256(token, {wire::bytes_of(a), wire::bytes_of(b), wire::bytes_of(c)}));
    };
    const std::string id = mac("rayx launch id", "", "").substr(0, 32);
    const http::Outcome outcome = http::exchange(
        "127.0.0.1", server_->port(),
        {"POST", target, {{"X-Rayx-Launch", id}, {"X-Rayx-Mac", mac(what, nonce, body)}}, body}, http::Limits{});
    ASSERT_TRUE(outcome.response && outcome.response->status == 200);
  }

  static inline const std::string kNonce = "0123456789abcdef";

  base::ManualClock clock_;
  Master master_;
  ProgramServer* server_ = nullptr;
  std::unique_ptr<NodeProvider> provider_;
};

TEST_F(NodeProviding, WhatHasEndedHasItsLogUntilItIsForgotten) {
  make();
  const Result<NodeSubmission> node = submit("spark-1");
  ASSERT_TRUE(node) << node.error().message;
  master_.tell("FINISHED");
  ASSERT_EQ(provider_->status(node->id)->state, NodeState::kEnded);
  EXPECT_TRUE(provider_->logs(node->id));
  provider_->forget(node->id);
  EXPECT_FALSE(server_->report("spark-1")) << "its launch is known for ever";
  EXPECT_EQ(provider_->logs(node->id).error().code, ErrorCode::kNotFound);
  provider_->forget(node->id);
}

// A slow network, or a large program.
TEST_F(NodeProviding, TellsAProgramThatIsOnItsWayFromOneThatRuns) {
  make();
  const Result<NodeSubmission> node = submit("spark-1");
  ASSERT_TRUE(node) << node.error().message;
  EXPECT_EQ(provider_->status(node->id)->state, NodeState::kWaiting);
  master_.tell("RUNNING");
  EXPECT_EQ(provider_->status(node->id)->state, NodeState::kRunning);
  play_launcher("/launch", "rayx launch", "", kNonce + "a-host");
  EXPECT_EQ(provider_->status(node->id)->state, NodeState::kFetching);
  EXPECT_THAT(provider_->status(node->id)->reason, HasSubstr("fetches the program"));
  play_launcher("/report", "rayx report", kNonce, "started\n");
  EXPECT_EQ(provider_->status(node->id)->state, NodeState::kRunning);
}

TEST_F(NodeProviding, JavaOptionsOfTheUserComeBehindOurs) {
  make({.properties = {{"spark.driver.extraJavaOptions", "-Dtheir=option"}, {"spark.app.name", "theirs"}}});
  ASSERT_TRUE(submit("spark-1"));
  const std::string options = master_.submitted("sparkProperties").at("spark.driver.extraJavaOptions");
  EXPECT_TRUE(options.starts_with("-XX:+UseSerialGC ") && options.ends_with(" -Dtheir=option")) << options;
  EXPECT_EQ(master_.submitted("sparkProperties").at("spark.app.name"), "theirs");
}

TEST_F(NodeProviding, PropertiesOfTheReservationAreRefusedWithTheField) {
  for (const auto& [property, instead] : {std::pair("spark.driver.cores", "SparkConfig::num_cpus"),
                                          {"spark.driver.memory", "SparkConfig::memory_bytes"},
                                          {"spark.driver.resource.gpu.amount", "SparkConfig::num_gpus"},
                                          {"spark.driver.supervise", "leave it out"},
                                          {"spark.submit.deployMode", "leave it out"}}) {
    const Result<void> checked = check_properties({{"spark.executor.cores", "1"}, {property, "1"}});
    ASSERT_FALSE(checked) << property;
    EXPECT_THAT(checked.error().message, AllOf(HasSubstr(property), HasSubstr(instead)));
  }
  EXPECT_TRUE(check_properties({{"spark.driver.extraJavaOptions", "-Da=b"}, {"spark.driver.coresOf", "1"}}));
}

TEST_F(NodeProviding, GpusThatNoWorkerHasAreRefusedBeforeAnythingIsSubmitted) {
  make();
  NodeRequest request;
  request.num_gpus = 1;
  EXPECT_THAT(submit("spark-1", request).error().message,
              AllOf(HasSubstr("GPU"), HasSubstr("spark.worker.resource.gpu.amount")));
  EXPECT_TRUE(master_.submitted("sparkProperties").is_null());
}

TEST_F(NodeProviding, ASmallNodeIsSpokenOfOnceAndRefusedIfStrict) {
  std::vector<std::string> lines;
  NodeProviderConfig config;
  config.log = [&lines](const std::string& line) { lines.push_back(line); };
  NodeRequest request;
  request.num_cpus = 1;
  request.memory_bytes = std::uint64_t{300} << 20;
  make(config);
  EXPECT_TRUE(submit("spark-1", request));
  EXPECT_TRUE(submit("spark-2", request));
  EXPECT_THAT(lines, ElementsAre(AllOf(HasSubstr("only 300 MiB"), HasSubstr("SparkConfig::memory_bytes"))));
  config.is_strict = true;
  make(config);
  EXPECT_THAT(submit("spark-3", request).error().message, AllOf(HasSubstr("only 300 MiB"), HasSubstr("strict_mode")));
  request.memory_bytes = std::uint64_t{512} << 20;
  EXPECT_TRUE(submit("spark-3", request));
}

}  // namespace
}  // namespace rayx::spark
