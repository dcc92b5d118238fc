#include "spark/submission_request.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace rayx::spark {
namespace {

using Json = nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(SubmissionRequest, IsWrittenFieldByFieldAsTheProtocolWantsIt) {
  const Result<std::string> text =
      to_json({.app_resource = "http://head:1234/launcher.jar",
               .main_class = "rayx.Launcher",
               .app_args = {"{{USER_JAR}}", "quote\" and \n line"},
               .environment = {{"RAYX_TOKEN", "secret"}},
               .spark_properties = {{"spark.driver.cores", "4"}, {"spark.app.name", "node 3"}},
               .client_spark_version = "3.5.1"});
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(Json::parse(*text), Json::parse(R"json({
    "action": "CreateSubmissionRequest", "clientSparkVersion": "3.5.1",
    "appResource": "http://head:1234/launcher.jar", "mainClass": "rayx.Launcher",
    "appArgs": ["{{USER_JAR}}", "quote\" and \n line"],
    "environmentVariables": {"RAYX_TOKEN": "secret"},
    "sparkProperties": {"spark.driver.cores": "4", "spark.app.name": "node 3", "spark.submit.deployMode": "cluster",
                        "spark.driver.supervise": "false"}})json"));
}

// Older masters answer a missing list, map or name with an error of their own code.
TEST(SubmissionRequest, SendsEmptyListsAndANameWhereNothingWasGiven) {
  const Result<std::string> text = to_json({.app_resource = "", .main_class = "rayx.Launcher"});
  ASSERT_TRUE(text);
  const Json json = Json::parse(*text);
  EXPECT_EQ(json["appArgs"], Json::array());
  EXPECT_EQ(json["environmentVariables"], Json::object());
  EXPECT_EQ(json["appResource"], "");
  EXPECT_EQ(json["sparkProperties"]["spark.app.name"], "rayx.Launcher");
  EXPECT_TRUE(json["clientSparkVersion"].is_string());
}

TEST(SubmissionRequest, ThatNoMasterCouldTakeIsRefusedWithoutShowingValues) {
  const auto refused = [](const SubmissionRequest& request) {
    const Result<std::string> text = to_json(request);
    EXPECT_FALSE(text);
    return text ? std::string() : text.error().message;
  };
  EXPECT_THAT(refused({.app_resource = "", .main_class = ""}), HasSubstr("no main class"));
  EXPECT_THAT(refused({.app_resource = "", .main_class = "M", .app_args = {"\xff\xfe"}}), HasSubstr("not UTF-8"));
  EXPECT_THAT(refused({.app_resource = "", .main_class = "M", .environment = {{"TOKEN", "hidden\xff"}}}),
              AllOf(HasSubstr("not UTF-8"), Not(HasSubstr("hidden"))));
  EXPECT_THAT(refused({.app_resource = "", .main_class = "M", .app_args = {std::string(kRequestBytesMax, 'x')}}),
              HasSubstr("is the most"));
}

TEST(SubmissionRequest, DoesNotLetTheMasterPutItsOwnEnvironmentIntoAValue) {
  const SubmissionRequest environment{
      .app_resource = "", .main_class = "M", .environment = {{"NAME", "{{AWS_SECRET}}"}}};
  EXPECT_THAT(to_json(environment).error().message, HasSubstr("the value of NAME is {{…}}"));
  const SubmissionRequest property{
      .app_resource = "", .main_class = "M", .spark_properties = {{"spark.x", "{{HOME}}"}}};
  EXPECT_THAT(to_json(property).error().message, HasSubstr("the value of spark.x is {{…}}"));
}

}  // namespace
}  // namespace rayx::spark
