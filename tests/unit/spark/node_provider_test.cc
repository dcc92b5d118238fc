// Nodes as submissions, with a master that the test plays: what is submitted, what is said of a size, and what is forgotten.
#include "spark/node_provider.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "bundle/running_program.hpp"
#include "kit/http_server.hpp"
#include "recorded.hpp"

namespace rayx::spark {
namespace {

using kit::HttpServer;
using testing::AllOf;
using testing::HasSubstr;

// Takes every submission and tells of each what the test has set.
class Master {
 public:
  std::string address() const { return "http://" + server_.address(); }
  void tell(const std::string& state) {
    const std::lock_guard lock(mutex_);
    state_ = state;
  }
  // The properties of the last submission.
  nlohmann::json properties() const {
    nlohmann::json last;
    for (const auto& request : server_.requests())
      if (request.target == "/v1/submissions/create") last = nlohmann::json::parse(request.body);
    return last["sparkProperties"];
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

}  // namespace
}  // namespace rayx::spark
