#include "spark/submission_request.hpp"

#include <nlohmann/json.hpp>
#include <string_view>

namespace rayx::spark {
namespace {

Error bad(const std::string& why) { return {ErrorCode::kInvalidArgument, "the submission was not sent: " + why}; }

bool is_placeholder(std::string_view value) { return value.starts_with("{{") && value.ends_with("}}"); }

// The name of the first value that the master would replace; empty if there is none. Values are never repeated in messages.
std::string first_placeholder(const std::map<std::string, std::string>& values) {
  for (const auto& [name, value] : values)
    if (is_placeholder(value)) return name;
  return {};
}

}  // namespace

Result<std::string> to_json(const SubmissionRequest& request) {
  if (request.main_class.empty()) return bad("it has no main class");
  for (const auto* values : {&request.environment, &request.spark_properties}) {
    const std::string name = first_placeholder(*values);
    if (!name.empty())
      return bad("the value of " + name + " is {{…}}, which the master replaces by a variable of its own environment");
  }
  std::map<std::string, std::string> properties = request.spark_properties;
  properties.try_emplace("spark.app.name", request.main_class);
  properties.try_emplace("spark.submit.deployMode", "cluster");
  // A master that starts a driver again gives it another id, so that whoever asks for the old one loses it.
  properties.try_emplace("spark.driver.supervise", "false");

  nlohmann::json json;
  json["action"] = "CreateSubmissionRequest";
  json["clientSparkVersion"] = request.client_spark_version;
  json["appResource"] = request.app_resource;
  json["mainClass"] = request.main_class;
  json["appArgs"] = request.app_args;  // an empty list and not nothing: old masters take no null
  json["environmentVariables"] = request.environment;
  json["sparkProperties"] = properties;
  try {
    std::string text = json.dump();
    if (text.size() > kRequestBytesMax)
      return bad("it is of " + std::to_string(text.size()) + " bytes, and " + std::to_string(kRequestBytesMax) +
                 " is the most");
    return text;
  } catch (const nlohmann::json::type_error&) {  // its text would show the value
    return bad("an argument, variable or property is not UTF-8");
  }
}

}  // namespace rayx::spark
