#include "spark/rest_client.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "base/deadline.hpp"
#include "http/printable.hpp"
#include "spark/masters.hpp"
#include "spark/refusal.hpp"

namespace rayx::spark {
namespace {

constexpr int kOk = 200;
constexpr std::size_t kSubmissionIdMax = 200;
constexpr std::size_t kMessageMax = 2'000;
constexpr std::chrono::milliseconds kTimeoutMax = std::chrono::hours(1);

// All that is ever asked of a REST server.
constexpr std::string_view kCreate = "/v1/submissions/create";
constexpr std::string_view kStatus = "/v1/submissions/status/";
constexpr std::string_view kKill = "/v1/submissions/kill/";
constexpr std::string_view kReadyz = "/v1/submissions/readyz";

constexpr std::string_view kRestAdvice =
    "Look whether the master runs, whether its REST server is on (spark.master.rest.enabled, which is off by default "
    "before Spark 4.1) "
    "and at that port (spark.master.rest.port, 6066 by default), and whether a firewall lets this machine reach it";
constexpr std::string_view kWebAdvice =
    "Look whether the master's web page is at that port (spark.master.ui.port, 8080 by default) and whether a firewall "
    "lets this machine "
    "reach it";

// It becomes a part of the URL: with a slash or an empty one something else would be asked.
Result<void> check_id(const std::string& id) {
  const auto is_fine = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
           c == '.';
  };
  if (!id.empty() && id.size() <= kSubmissionIdMax && id.front() != '.' && std::all_of(id.begin(), id.end(), is_fine))
    return {};
  return Error{
      ErrorCode::kInvalidArgument,
      '\'' + http::printable(id, 80) + "' is no id of a submission; they look like driver-20260102030405-0006"};
}

// An answer of the REST protocol with the expected action. Else an error in words to stand behind the server's name.
Result<RestAnswer> read_answer(const http::Outcome& outcome, std::string_view action, bool had_token) {
  if (!outcome.response) return outcome.response.error();
  const http::Response& response = *outcome.response;
  if (response.status != kOk) return describe_refusal(response, had_token);
  Result<RestAnswer> answer = parse_answer(response.body, response.content_type);
  if (answer && answer->action != action) {
    return Error{ErrorCode::kMalformed, "answered with \"" + http::printable(answer->action, 80) +
                                            "\" and not with \"" + std::string(action) + "\""};
  }
  return answer;
}

Error standby(const RestAnswer& answer) {
  return {ErrorCode::kSystemError, "is not the active master: \"" + http::printable(*answer.message, 200) + "\""};
}

// Whether another master may do better than the one that gave this.
bool is_worth_another(const http::Outcome& outcome) {
  return !outcome.response || is_server_failure(outcome.response->status);
}

Error at(const std::string& server, const Error& error) { return {error.code, server + " " + error.message}; }

// To a question that changes nothing if it is asked twice: what the active master says, or why it cannot be understood. Nothing: another
// master may do better, and `reason` is why this one did not.
std::optional<Result<RestAnswer>> answer_of_active(const std::string& server, const http::Outcome& outcome,
                                                   std::string_view action, bool had_token, Error& reason) {
  Result<RestAnswer> answer = read_answer(outcome, action, had_token);
  if (!answer) {
    if (!is_worth_another(outcome)) return at(server, answer.error());
    reason = answer.error();
    return std::nullopt;
  }
  if (is_standby(*answer)) {
    reason = standby(*answer);
    return std::nullopt;
  }
  return answer;
}

std::string message_of(const RestAnswer& answer) {
  return answer.message ? '"' + http::printable(*answer.message, kMessageMax) + "\"" : "without a reason";
}

struct StateName {
  std::string_view name;
  DriverState state;
};
constexpr std::array<StateName, 8> kStates{{{"SUBMITTED", DriverState::kSubmitted},
                                            {"RUNNING", DriverState::kRunning},
                                            {"FINISHED", DriverState::kFinished},
                                            {"RELAUNCHING", DriverState::kRelaunching},
                                            {"UNKNOWN", DriverState::kUnknown},
                                            {"KILLED", DriverState::kKilled},
                                            {"FAILED", DriverState::kFailed},
                                            {"ERROR", DriverState::kError}}};

Result<SubmissionStatus> to_status(const RestAnswer& answer) {
  const auto found = std::find_if(kStates.begin(), kStates.end(), [&](const StateName& entry) {
    return answer.driver_state && entry.name == *answer.driver_state;
  });
  if (found == kStates.end()) {
    return Error{ErrorCode::kMalformed, "names a state of the driver that rayx does not know: \"" +
                                            http::printable(answer.driver_state.value_or(""), 80) + "\""};
  }
  SubmissionStatus status;
  status.state = found->state;
  status.worker_id = answer.worker_id.value_or("");
  status.worker_address = answer.worker_address.value_or("");
  status.message = answer.message.value_or("");
  status.server_version = answer.server_version.value_or("");
  return status;
}

}  // namespace

std::string_view to_string(DriverState state) {
  for (const StateName& entry : kStates)
    if (entry.state == state) return entry.name;
  return "?";
}

bool is_over(DriverState state) {
  return state == DriverState::kFinished || state == DriverState::kKilled || state == DriverState::kFailed ||
         state == DriverState::kError;
}

struct SparkRestClient::Question {
  std::string what;  // for an error: "the driver was not submitted"
  std::string_view advice;
  const std::vector<wire::Endpoint>& servers;
  std::string method;
  std::string target;
  std::string body = {};
  std::size_t answer_bytes_max = 1 << 20;
  bool is_idempotent = true;
  bool has_token = true;  // where there is a secret
};

Result<SparkRestClient> SparkRestClient::make(RestClientOptions options) {
  if (options.connect_timeout.count() <= 0 || options.total_timeout.count() <= 0)
    return Error{ErrorCode::kInvalidConfig, "a time-out of the client of Spark's REST server must be longer than 0"};
  options.total_timeout = std::min(options.total_timeout, kTimeoutMax);
  Result<std::vector<wire::Endpoint>> masters = parse_masters(options.masters, kRestPort);
  if (!masters) return masters.error();
  std::vector<wire::Endpoint> webs = *masters;
  for (wire::Endpoint& web : webs) web.port = kUiPort;
  if (!options.web.empty()) {
    Result<std::vector<wire::Endpoint>> given = parse_masters(options.web, kUiPort);
    if (!given) return given.error();
    webs = std::move(*given);
  }
  return SparkRestClient(std::move(options), std::move(*masters), std::move(webs));
}

SparkRestClient::SparkRestClient(RestClientOptions options, std::vector<wire::Endpoint> masters,
                                 std::vector<wire::Endpoint> webs)
    : options_(std::move(options)),
      masters_(std::move(masters)),
      webs_(std::move(webs)),
      first_(std::make_unique<std::atomic<std::size_t>>(0)) {
  if (!options_.unix_time_s) {
    options_.unix_time_s = [] {
      return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
    };
  }
}

http::Request SparkRestClient::to_request(const Question& question) const {
  http::Request request{.method = question.method, .target = question.target, .body = question.body};
  request.headers.emplace_back("Accept", "application/json");
  if (question.method == "POST") request.headers.emplace_back("Content-Type", "application/json;charset=utf-8");
  if (options_.jws_secret && question.has_token)
    request.headers.emplace_back("Authorization",
                                 "Bearer " + make_bearer_token(*options_.jws_secret, options_.unix_time_s()));
  return request;
}

template <class T>
Result<T> SparkRestClient::ask(const Question& question, const Judge<T>& judge) const {
  const base::Deadline deadline(options_.total_timeout);
  const std::size_t count = question.servers.size();
  const std::size_t first = first_->load(std::memory_order_relaxed);
  std::string tried;
  ErrorCode code = ErrorCode::kTimeout;
  for (std::size_t i = 0; i < count && !deadline.has_passed(); ++i) {
    const wire::Endpoint& server = question.servers[(first + i) % count];
    http::Limits limits;
    limits.connect_timeout = options_.connect_timeout;
    limits.body_bytes_max = question.answer_bytes_max;
    limits.total_timeout = std::chrono::milliseconds(deadline.left_ms());
    // One that takes the question and says nothing leaves the others their share. What may be sent only once has no second try.
    if (question.is_idempotent) limits.total_timeout /= static_cast<int>(count - i);
    limits.total_timeout = std::max(limits.total_timeout, std::chrono::milliseconds(1));
    const http::Outcome outcome = http::exchange(server.host, server.port, to_request(question), limits);
    Error reason;
    if (std::optional<Result<T>> answer = judge(server.text(), outcome, reason)) {
      first_->store((first + i) % count, std::memory_order_relaxed);
      if (!*answer) return Error{answer->error().code, question.what + ": " + answer->error().message};
      return std::move(*answer);
    }
    code = reason.code;
    tried += (tried.empty() ? "" : "; ") + at(server.text(), reason).message;
  }
  return Error{code, question.what + ": " + tried + ". " + std::string(question.advice)};
}

Result<Creation> SparkRestClient::create(const SubmissionRequest& submission) const {
  Result<std::string> body = to_json(submission);
  if (!body) return body.error();
  const Question question{.what = "the driver was not submitted",
                          .advice = kRestAdvice,
                          .servers = masters_,
                          .method = "POST",
                          .target = std::string(kCreate),
                          .body = std::move(*body),
                          .is_idempotent = false};
  const bool has_token = options_.jws_secret.has_value();
  return ask<Creation>(
      question,
      [&](const std::string& server, const http::Outcome& outcome, Error& reason) -> std::optional<Result<Creation>> {
        const auto unknown = [&](const Error& error) {
          Creation creation;
          creation.certainty = Creation::Certainty::kUnknown;
          creation.what_happened = "the driver was sent to " + server + ", which " + error.message +
                                   ". Whether it was submitted is not known; it was sent to no other master";
          return creation;
        };
        const Result<RestAnswer> answer = read_answer(outcome, "CreateSubmissionResponse", has_token);
        if (!answer) {
          if (!outcome.response && !outcome.may_have_arrived) {
            reason = answer.error();
            return std::nullopt;
          }
          // From 300 to 499 Spark, or what is in its place, has looked at the request and done nothing; and a page is not Spark's.
          const int status = outcome.response ? outcome.response->status : 0;
          const bool did_nothing = (status >= 300 && !is_server_failure(status)) ||
                                   (status == kOk && answer.error().code == ErrorCode::kInvalidConfig);
          if (did_nothing) return at(server, answer.error());
          return unknown(answer.error());
        }
        if (is_standby(*answer)) {
          reason = standby(*answer);
          return std::nullopt;
        }
        if (answer->success == false)
          return at(server, {ErrorCode::kSystemError, "refused the submission, " + message_of(*answer)});
        if (answer->success != true || !answer->submission_id || !check_id(*answer->submission_id))
          return unknown({ErrorCode::kMalformed, "answered without an id of the driver"});
        Creation creation;
        creation.submission_id = *answer->submission_id;
        creation.server_version = answer->server_version.value_or("");
        return creation;
      });
}

Result<SubmissionStatus> SparkRestClient::status(const std::string& submission_id) const {
  if (const Result<void> id = check_id(submission_id); !id) return id.error();
  const Question question{.what = "the state of " + submission_id + " could not be asked for",
                          .advice = kRestAdvice,
                          .servers = masters_,
                          .method = "GET",
                          .target = std::string(kStatus) + submission_id};
  const bool has_token = options_.jws_secret.has_value();
  return ask<SubmissionStatus>(question,
                               [&](const std::string& server, const http::Outcome& outcome,
                                   Error& reason) -> std::optional<Result<SubmissionStatus>> {
                                 const std::optional<Result<RestAnswer>> said =
                                     answer_of_active(server, outcome, "SubmissionStatusResponse", has_token, reason);
                                 if (!said) return std::nullopt;
                                 if (!*said) return said->error();
                                 const RestAnswer& answer = **said;
                                 if (answer.success != true) {
                                   if (!answer.message) {
                                     return at(server,
                                               {ErrorCode::kNotFound,
                                                "does not know it: it was never submitted there, or it ended long ago "
                                                "(spark.deploy.retainedDrivers)"});
                                   }
                                   return at(server, {ErrorCode::kSystemError, "failed, " + message_of(answer)});
                                 }
                                 Result<SubmissionStatus> status = to_status(answer);
                                 if (!status) return at(server, status.error());
                                 return status;
                               });
}

Result<KillOutcome> SparkRestClient::kill(const std::string& submission_id) const {
  if (const Result<void> id = check_id(submission_id); !id) return id.error();
  const Question question{.what = submission_id + " could not be ended",
                          .advice = kRestAdvice,
                          .servers = masters_,
                          .method = "POST",
                          .target = std::string(kKill) + submission_id};
  const bool has_token = options_.jws_secret.has_value();
  return ask<KillOutcome>(question,
                          [&](const std::string& server, const http::Outcome& outcome,
                              Error& reason) -> std::optional<Result<KillOutcome>> {
                            const std::optional<Result<RestAnswer>> said =
                                answer_of_active(server, outcome, "KillSubmissionResponse", has_token, reason);
                            if (!said) return std::nullopt;
                            if (!*said) return said->error();
                            const RestAnswer& answer = **said;
                            if (answer.success == true) return KillOutcome::kAsked;
                            if (answer.message && answer.message->find("does not exist") != std::string::npos)
                              return KillOutcome::kGone;
                            return at(server, {ErrorCode::kSystemError, "refused, " + message_of(answer)});
                          });
}

Result<Readiness> SparkRestClient::readiness() const {
  const Question question{.what = "whether a master is ready could not be asked for",
                          .advice = kRestAdvice,
                          .servers = masters_,
                          .method = "GET",
                          .target = std::string(kReadyz)};
  const bool has_token = options_.jws_secret.has_value();
  bool is_one_unready = false;
  const Result<Readiness> readiness = ask<Readiness>(
      question,
      [&](const std::string& server, const http::Outcome& outcome, Error& reason) -> std::optional<Result<Readiness>> {
        const Result<RestAnswer> answer = read_answer(outcome, "ReadyzResponse", has_token);
        if (answer && answer->success != false) return Readiness::kReady;
        if (!answer && outcome.response) {
          const http::Response& response = *outcome.response;
          const bool is_of_spark = static_cast<bool>(parse_answer(response.body, response.content_type));
          // A server that does not know the action lists those that it knows.
          if (response.status == 400 && is_of_spark) return Readiness::kUntold;
          if (response.status == 503 && is_of_spark) is_one_unready = true;
          if (!is_worth_another(outcome)) return at(server, answer.error());
        }
        if (answer) is_one_unready = true;
        reason = answer ? Error{ErrorCode::kSystemError, "is not ready, " + message_of(*answer)} : answer.error();
        return std::nullopt;
      });
  if (!readiness && is_one_unready) return Readiness::kNotReady;
  return readiness;
}

Result<Capacity> SparkRestClient::capacity() const {
  const Question question{.what = "the cluster's workers could not be asked for",
                          .advice = kWebAdvice,
                          .servers = webs_,
                          .method = "GET",
                          .target = "/json/",
                          .answer_bytes_max = 16 << 20,  // some hundred bytes for each worker, application and driver
                          .has_token = false};
  return ask<Capacity>(
      question,
      [&](const std::string& server, const http::Outcome& outcome, Error& reason) -> std::optional<Result<Capacity>> {
        if (!outcome.response || is_server_failure(outcome.response->status)) {
          reason = outcome.response ? describe_refusal(*outcome.response, false) : outcome.response.error();
          return std::nullopt;
        }
        const http::Response& response = *outcome.response;
        if (response.status != kOk) {
          return at(server, {ErrorCode::kInvalidConfig, "refused its web page's /json with HTTP " +
                                                            std::to_string(response.status) +
                                                            ". rayx reads it without logging in (spark.ui.filters); "
                                                            "and the page is at spark.master.ui.port (8080)"});
        }
        Result<Capacity> capacity = parse_capacity(response.body, response.content_type);
        if (!capacity) return at(server, capacity.error());
        if (capacity->status != "ALIVE") {
          reason = {ErrorCode::kSystemError,
                    "is not the active master but in the state \"" + http::printable(capacity->status, 40) + "\""};
          return std::nullopt;
        }
        return capacity;
      });
}

}  // namespace rayx::spark
