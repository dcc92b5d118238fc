#include "spark/refusal.hpp"

#include <string>

#include "http/printable.hpp"
#include "spark/bearer_token.hpp"
#include "spark/rest_answer.hpp"

namespace rayx::spark {
namespace {

constexpr int kUnknownProtocolVersion = 468;  // Spark's own

std::string advice_about_tokens(bool had_token) {
  if (!had_token)
    return ". If it is behind JWSFilter, give rayx the secret of spark.org.apache.spark.ui.JWSFilter.param.secretKey, "
           "in a file of "
           "mode 0600 that RAYX_SPARK_JWS_SECRET_FILE names";
  return ". The token that was sent is made from the JWS secret given to rayx: look whether the master has the same "
         "one, and whether "
         "the clocks here and there differ by less than " +
         std::to_string(kBearerTokenLifetime.count() / 60) + " min";
}

}  // namespace

Error describe_refusal(const http::Response& response, bool had_token) {
  const std::string words = gist(response.body, response.content_type);
  const std::string said = words.empty() ? "" : ": \"" + words + "\"";
  const std::string refused = "refused the request with HTTP " + std::to_string(response.status) + said;
  switch (response.status) {
    case 400:
      if (words.find("application jar path") != std::string::npos) {
        return {ErrorCode::kInvalidConfig, refused +
                                               ". The operator allows certain application jars only "
                                               "(spark.master.rest.allowedAppResourcePatterns); ask for "
                                               "rayx's to be among them"};
      }
      return {ErrorCode::kInvalidArgument, refused};
    case 401:
    case 403: return {ErrorCode::kInvalidConfig, refused + advice_about_tokens(had_token)};
    case 404:
    case 405:
      return {ErrorCode::kInvalidConfig, refused +
                                             ". That is no REST server of Spark's: its port is spark.master.rest.port "
                                             "(6066), not the web page's (8080)"};
    case 413:
      return {ErrorCode::kInvalidArgument,
              refused + ". The request is larger than the master takes (spark.master.rest.maxRequestBodySize)"};
    case kUnknownProtocolVersion: {
      const Result<RestAnswer> answer = parse_answer(response.body, response.content_type);
      const std::string highest =
          answer && answer->highest_protocol_version ? http::printable(*answer->highest_protocol_version, 20) : "?";
      return {ErrorCode::kUnsupported, refused + ". rayx speaks v1 of the protocol, the master at most " + highest +
                                           "; Spark 3.3 to 4.x speak v1"};
    }
    default: break;
  }
  if (response.status >= 300 && response.status < 400) {
    return {ErrorCode::kInvalidConfig,
            "sends requests on to \"" + http::printable(response.location, 200) + "\" (HTTP " +
                std::to_string(response.status) +
                "). rayx does not follow, because a request carries secrets: give it that address"};
  }
  if (is_server_failure(response.status))
    return {ErrorCode::kSystemError, "failed with HTTP " + std::to_string(response.status) + said};
  return {ErrorCode::kMalformed, "gave the unexpected answer HTTP " + std::to_string(response.status) + said};
}

}  // namespace rayx::spark
