#include "spark/rest_answer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "kit/seed.hpp"
#include "recorded.hpp"
#include "spark/capacity.hpp"

namespace rayx::spark {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr std::string_view kJson = "application/json;charset=utf-8";

TEST(RestAnswer, HasTheFieldsThatTheServerSentAndNoOthers) {
  const Result<RestAnswer> running = parse_answer(test::kRunning, kJson);
  ASSERT_TRUE(running) << running.error().message;
  EXPECT_EQ(running->action, "SubmissionStatusResponse");
  EXPECT_EQ(running->driver_state, "RUNNING");
  EXPECT_EQ(running->worker_address, "10.0.0.8:34567");
  EXPECT_EQ(running->server_version, "3.3.2");
  EXPECT_EQ(running->success, true);
  EXPECT_FALSE(running->message);
  const Result<RestAnswer> error = parse_answer(test::kOtherProtocol, kJson);
  ASSERT_TRUE(error);
  EXPECT_FALSE(error->success);
  EXPECT_EQ(error->highest_protocol_version, "v2");
}

TEST(RestAnswer, OfALaterVersionMayHaveMoreAndOfAnOlderOneNull) {
  const Result<RestAnswer> answer = parse_answer(
      R"({"action":"KillSubmissionResponse","success":true,"message":null,"unknownFields":["x"],"new":{"a":[1]}})", "");
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_FALSE(answer->message);
}

TEST(RestAnswer, ThatIsNoneOfSparksSaysWhatItIs) {
  const auto said = [](std::string_view body, std::string_view type) {
    const Result<RestAnswer> answer = parse_answer(body, type);
    EXPECT_FALSE(answer) << body;
    return answer ? std::string() : answer.error().message;
  };
  EXPECT_THAT(said(test::kForbidden, "text/html;charset=iso-8859-1"),
              AllOf(HasSubstr("a web page"), HasSubstr("Error 403 Authorization header is missing.")));
  EXPECT_THAT(said("<HTML><body>log\n in <b>here</b></body>", ""), HasSubstr("\"log in here\""));
  EXPECT_THAT(said("", kJson), HasSubstr("no JSON object"));
  EXPECT_THAT(said("[1]", kJson), HasSubstr("no JSON object"));
  EXPECT_THAT(said(R"({"action":"Creat)", kJson), HasSubstr("no JSON object"));
  EXPECT_THAT(said(R"({"ok":true})", kJson), HasSubstr("none of Spark's REST protocol"));
  EXPECT_THAT(said(R"({"action":"X","success":"yes"})", kJson), HasSubstr("none of Spark's REST protocol"));
  EXPECT_THAT(said(R"({"action":"X","submissionId":7})", kJson), HasSubstr("none of Spark's REST protocol"));
}

TEST(RestAnswer, IsShownToAPersonWithoutJavasStack) {
  EXPECT_EQ(gist(test::kUnreadable, kJson),
            "Malformed request: org.apache.spark.deploy.rest.SubmitRestProtocolException: Validation of message "
            "CreateSubmissionRequest failed!");
}

TEST(RestAnswer, OfAStandbyMasterIsKnownInEachOfItsForms) {
  EXPECT_TRUE(is_standby(*parse_answer(test::kStandby, kJson)));
  EXPECT_TRUE(is_standby(*parse_answer(test::kStatusStandby, kJson)));
  for (const std::string_view other : {test::kCreated, test::kKillGone, test::kStatusUnknown})
    EXPECT_FALSE(is_standby(*parse_answer(other, kJson))) << other;
}

TEST(SparkCapacity, CountsWhatIsAlive) {
  const Result<Capacity> capacity = parse_capacity(test::kWorkers, kJson);
  ASSERT_TRUE(capacity) << capacity.error().message;
  EXPECT_EQ(capacity->master_url, "spark://10.0.0.7:7077");
  EXPECT_EQ(capacity->status, "ALIVE");
  ASSERT_EQ(capacity->workers.size(), 2u);
  EXPECT_EQ(capacity->workers[0].host, "10.0.0.8");
  EXPECT_EQ(capacity->workers[0].cores_free, 5);
  EXPECT_EQ(capacity->workers[0].memory_free_mib, 15'360);
  EXPECT_FALSE(capacity->workers[1].is_alive());
  EXPECT_EQ(capacity->workers_alive, 1);
  EXPECT_EQ(capacity->cores, 8);
  EXPECT_EQ(capacity->cores_free, 5);
  EXPECT_EQ(capacity->memory_mib, 16'384);
  EXPECT_EQ(capacity->memory_free_mib, 15'360);
}

TEST(SparkCapacity, HasGpusThatSparkKnowsOf) {
  const auto gpus = [](const std::string& resources) {
    const Result<Capacity> capacity = parse_capacity(
        R"({"status":"ALIVE","workers":[{"id":"w","host":"h","state":"ALIVE","cores":1,"coresfree":1,"memory":1,"memoryfree":1)" +
            resources + "}]}",
        kJson);
    EXPECT_TRUE(capacity) << resources;
    return std::pair(capacity->workers.at(0).gpus, capacity->workers.at(0).gpus_free);
  };
  using Pair = std::pair<std::optional<int>, std::optional<int>>;
  EXPECT_EQ(
      gpus(
          R"(,"resources":{"gpu":{"name":"gpu","addresses":["0","1"]}},"resourcesfree":{"gpu":{"name":"gpu","addresses":["1"]}})"),
      Pair(2, 1));
  EXPECT_EQ(gpus(R"(,"resources":{"fpga":{"name":"fpga","addresses":["0"]}},"resourcesfree":{})"), Pair(0, 0));
  EXPECT_EQ(gpus(""), Pair(std::nullopt, std::nullopt)) << "nothing is said";
  for (const char* const other : {"7", "[]", R"({"gpu":2})", R"({"gpu":{"addresses":2}})", R"({"gpu":{}})"})
    EXPECT_EQ(gpus(std::string(",\"resources\":") + other), Pair(std::nullopt, std::nullopt)) << other;
}

TEST(SparkCapacity, ThatCannotBeReadIsAnErrorAndNoZero) {
  for (
      const char* const body :
      {"", "null", "{}", R"({"status":"ALIVE"})", R"({"status":"ALIVE","workers":[7]})",
       R"({"status":"ALIVE","workers":[{"id":"w","host":"h","state":"ALIVE","cores":-1,"coresfree":0,"memory":1,"memoryfree":1}]})",
       R"({"status":"ALIVE","workers":[{"id":"w","host":"h","state":"ALIVE","cores":1e300,"coresfree":0,"memory":1,"memoryfree":1}]})",
       R"({"status":"ALIVE","workers":[{"id":"w","host":"h","state":"ALIVE","cores":1,"coresfree":0,"memory":18446744073709551615,"memoryfree":1}]})"}) {
    const Result<Capacity> capacity = parse_capacity(body, kJson);
    EXPECT_FALSE(capacity) << body;
  }
}

TEST(RestAnswer, SurvivesAnyBytes) {
  std::mt19937_64 random(kit::seed());
  const std::string_view seeds[] = {test::kCreated,   test::kStandby, test::kRunning, test::kOtherProtocol,
                                    test::kForbidden, test::kWorkers, test::kActions, "[[[[[[[[[["};
  for (int round = 0; round < 20'000; ++round) {
    std::string body(seeds[random() % std::size(seeds)]);
    if (random() % 8 == 0) body.assign(random() % 300, '[');
    const std::size_t changes = 1 + random() % (random() % 4 == 0 ? body.size() + 1 : 5);
    for (std::size_t i = 0; i < changes && !body.empty(); ++i) {
      switch (random() % 3) {
        case 0: body[random() % body.size()] = static_cast<char>(random()); break;
        case 1: body.erase(random() % body.size(), 1 + random() % 8); break;
        default: body.insert(random() % body.size(), 1, "{}[]\":,\\\x80<>"[random() % 11]);
      }
    }
    const std::string_view type = random() % 2 == 0 ? kJson : "text/html";
    if (const Result<RestAnswer> answer = parse_answer(body, type); !answer) {
      EXPECT_FALSE(answer.error().message.empty());
    }
    if (const Result<Capacity> capacity = parse_capacity(body, type); !capacity) {
      EXPECT_FALSE(capacity.error().message.empty());
    }
    EXPECT_LT(gist(body, type).size(), 1'000u);
  }
  // As deep as a body may be: a parser that calls itself would have no stack left.
  const std::string deep(1 << 20, '[');
  EXPECT_FALSE(parse_answer(deep, kJson));
  EXPECT_FALSE(parse_answer(R"({"action":)" + deep, kJson));
}

}  // namespace
}  // namespace rayx::spark
