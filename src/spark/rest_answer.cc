#include "spark/rest_answer.hpp"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "http/printable.hpp"

namespace rayx::spark {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kGistChars = 300;

// False: it is there, and something else than a text.
bool read(const Json& object, const char* name, std::optional<std::string>& field) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return true;
  if (!found->is_string()) return false;
  field = found->get<std::string>();
  return true;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) { return std::tolower(c); });
  return result;
}

bool is_page(std::string_view body, std::string_view content_type) {
  const std::string type = lower(content_type);
  if (type.find("html") != std::string::npos) return true;
  const std::string beginning = lower(body.substr(0, 256));
  return beginning.find("<html") != std::string::npos || beginning.find("<!doctype html") != std::string::npos;
}

// The text of a page without its tags and scripts: enough for a line that a person reads.
std::string text_of_page(std::string_view page) {
  const std::string low = lower(page);
  const std::size_t title = low.find("<title");
  const std::size_t begin = title == std::string::npos ? std::string::npos : low.find('>', title);
  const std::size_t end = begin == std::string::npos ? std::string::npos : low.find("</title", begin);
  if (end != std::string::npos) return std::string(page.substr(begin + 1, end - begin - 1));
  std::string text;
  bool is_in_tag = false;
  for (const char c : page) {
    if (c == '<') is_in_tag = true;
    if (!is_in_tag) text += c;
    if (c == '>') is_in_tag = false, text += ' ';
  }
  return text;
}

}  // namespace

Result<RestAnswer> parse_answer(std::string_view body, std::string_view content_type) {
  if (is_page(body, content_type))
    return Error{ErrorCode::kInvalidConfig, "answered with a web page: \"" + gist(body, content_type) + "\""};
  const Json json = Json::parse(body, nullptr, false);
  if (json.is_discarded() || !json.is_object())
    return Error{ErrorCode::kMalformed,
                 "answered with something that is no JSON object: \"" + gist(body, content_type) + "\""};
  RestAnswer answer;
  std::optional<std::string> action;
  bool is_well_formed = read(json, "action", action) && read(json, "message", answer.message) &&
                        read(json, "serverSparkVersion", answer.server_version) &&
                        read(json, "submissionId", answer.submission_id) &&
                        read(json, "driverState", answer.driver_state) && read(json, "workerId", answer.worker_id) &&
                        read(json, "workerHostPort", answer.worker_address) &&
                        read(json, "highestProtocolVersion", answer.highest_protocol_version);
  if (const auto success = json.find("success"); success != json.end() && !success->is_null()) {
    is_well_formed = is_well_formed && success->is_boolean();
    if (success->is_boolean()) answer.success = success->get<bool>();
  }
  if (!is_well_formed || !action)
    return Error{ErrorCode::kMalformed, "answered with JSON that is none of Spark's REST protocol: \"" +
                                            http::printable(body, kGistChars) + "\""};
  answer.action = std::move(*action);
  return answer;
}

std::string gist(std::string_view body, std::string_view content_type) {
  if (is_page(body, content_type)) return http::printable(text_of_page(body.substr(0, 64 << 10)), kGistChars);
  const Json json = Json::parse(body, nullptr, false);
  if (json.is_object()) {
    const auto message = json.find("message");
    if (message != json.end() && message->is_string()) {
      const std::string_view text = message->get_ref<const std::string&>();
      return http::printable(text.substr(0, text.find("\n\t")), kGistChars);  // without Java's stack
    }
  }
  return http::printable(body, kGistChars);
}

bool is_standby(const RestAnswer& answer) {
  if (!answer.message || answer.success.value_or(false)) return false;
  // "Current state is not alive: STANDBY. Can only accept driver submissions in ALIVE state.", and its likes.
  return answer.message->find("Current state is not alive") != std::string::npos ||
         answer.message->find("in ALIVE state") != std::string::npos;
}

}  // namespace rayx::spark
