// The client against masters of the test's own, which answer as recorded, wrongly, late or not at all.
#include "spark/rest_client.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "jws_check.hpp"
#include "kit/http_server.hpp"
#include "kit/network_address.hpp"
#include "kit/seed.hpp"
#include "recorded.hpp"

namespace rayx::spark {
namespace {

using kit::HttpServer;
using std::chrono::milliseconds;
using test::kId;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using Then = HttpServer::Answer::Then;

constexpr milliseconds kShort{300};
constexpr base::TimeNs kLongNs = 20'000'000'000;

HttpServer::Answer json(std::string_view body, int status = 200) {
  return HttpServer::ok(std::string(body), "application/json;charset=utf-8", status);
}
HttpServer::Answer page(std::string_view body, int status) {
  return HttpServer::ok(std::string(body), "text/html", status);
}

// A master that gives everybody the same answer.
std::unique_ptr<HttpServer> master(HttpServer::Answer answer) {
  return std::make_unique<HttpServer>([answer](const auto&) { return answer; });
}

SubmissionRequest a_submission() { return {.app_resource = "", .main_class = "rayx.Launcher"}; }

SparkRestClient client_of(RestClientOptions options) {
  Result<SparkRestClient> client = SparkRestClient::make(std::move(options));
  EXPECT_TRUE(client) << client.error().message;
  return std::move(*client);
}
SparkRestClient client_of(const HttpServer& one) { return client_of({.masters = "http://" + one.address()}); }
SparkRestClient client_of(const HttpServer& one, const HttpServer& two) {
  return client_of({.masters = "spark://" + one.address() + "," + two.address(), .total_timeout = milliseconds(2'000)});
}

std::string closed_address() {
  std::string address;
  kit::listen_on("127.0.0.1", 1, address).reset();
  return address;
}

template <class T>
Error error_of(const Result<T>& result) {
  EXPECT_FALSE(result);
  return result ? Error{} : result.error();
}

std::vector<std::string> targets(const HttpServer& server) {
  std::vector<std::string> result;
  for (const HttpServer::Request& request : server.requests()) result.push_back(request.method + ' ' + request.target);
  return result;
}

TEST(SparkRestClient, SubmitsAndLearnsTheId) {
  const auto spark = master(json(test::kCreated));
  const Result<Creation> creation = client_of(*spark).create(a_submission());
  ASSERT_TRUE(creation) << creation.error().message;
  EXPECT_EQ(creation->certainty, Creation::Certainty::kAccepted);
  EXPECT_EQ(creation->submission_id, kId);
  EXPECT_EQ(creation->server_version, "4.3.0");
  ASSERT_THAT(targets(*spark), ElementsAre("POST /v1/submissions/create"));
  const HttpServer::Request request = spark->requests().front();
  EXPECT_EQ(request.body, *to_json(a_submission()));
  EXPECT_THAT(request.header("Content-Type"), HasSubstr("application/json"));
  EXPECT_EQ(request.header("Authorization"), "") << "no secret was given";
}

TEST(SparkRestClient, TellsTheStateOfADriver) {
  const auto spark = master(json(test::kRunning));
  const Result<SubmissionStatus> status = client_of(*spark).status(kId);
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(status->state, DriverState::kRunning);
  EXPECT_EQ(status->worker_id, "worker-20261128115900-10.0.0.8-34567");
  EXPECT_EQ(status->worker_address, "10.0.0.8:34567");
  EXPECT_EQ(status->server_version, "3.3.2");
  EXPECT_THAT(targets(*spark), ElementsAre("GET /v1/submissions/status/" + kId));
}

TEST(SparkRestClient, KnowsEveryStateAndRefusesOthers) {
  for (const auto& [name, is_last] : {std::pair("SUBMITTED", false),
                                      {"RUNNING", false},
                                      {"FINISHED", true},
                                      {"RELAUNCHING", false},
                                      {"UNKNOWN", false},
                                      {"KILLED", true},
                                      {"FAILED", true},
                                      {"ERROR", true}}) {
    const auto spark = master(
        json(std::string(R"({"action":"SubmissionStatusResponse","success":true,"driverState":")") + name + "\"}"));
    const Result<SubmissionStatus> status = client_of(*spark).status(kId);
    ASSERT_TRUE(status) << name << status.error().message;
    EXPECT_EQ(to_string(status->state), name);
    EXPECT_EQ(is_over(status->state), is_last) << name;
  }
  const auto later = master(json(R"({"action":"SubmissionStatusResponse","success":true,"driverState":"PAUSED"})"));
  EXPECT_THAT(error_of(client_of(*later).status(kId)).message,
              HasSubstr("a state of the driver that rayx does not know: \"PAUSED\""));
}

TEST(SparkRestClient, GivesTheWorkersReasonForADriverThatCouldNotStart) {
  const auto spark = master(json(
      R"({"action":"SubmissionStatusResponse","success":true,"driverState":"ERROR","message":"Exception from the cluster:\njava.io.FileNotFoundException: /no/jar"})"));
  const Result<SubmissionStatus> status = client_of(*spark).status(kId);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->state, DriverState::kError);
  EXPECT_THAT(status->message, HasSubstr("FileNotFoundException: /no/jar"));
}

TEST(SparkRestClient, AsksForTheEndOfADriver) {
  const auto spark = master(json(test::kKilled));
  const Result<KillOutcome> outcome = client_of(*spark).kill(kId);
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(*outcome, KillOutcome::kAsked);
  EXPECT_THAT(targets(*spark), ElementsAre("POST /v1/submissions/kill/" + kId));
}

TEST(SparkRestClient, SeesAFailureThatIsToldWith200) {
  const auto gone = master(json(test::kKillGone));
  EXPECT_EQ(*client_of(*gone).kill(kId), KillOutcome::kGone);
  const auto unknown = master(json(test::kStatusUnknown));
  const Error status = error_of(client_of(*unknown).status(kId));
  EXPECT_EQ(status.code, ErrorCode::kNotFound);
  EXPECT_THAT(status.message,
              AllOf(HasSubstr(kId), HasSubstr(unknown->address()), HasSubstr("spark.deploy.retainedDrivers")));
  const auto full =
      master(json(R"({"action":"CreateSubmissionResponse","success":false,"message":"too many drivers"})"));
  EXPECT_THAT(error_of(client_of(*full).create(a_submission())).message,
              AllOf(HasSubstr("the driver was not submitted"), HasSubstr("too many drivers")));
}

TEST(SparkRestClient, GoesOnToTheActiveMasterAndStaysThere) {
  const auto standby = master(json(test::kStandby));
  const auto active = master(json(test::kCreated));
  const SparkRestClient client = client_of(*standby, *active);
  for (int i = 0; i < 3; ++i) {
    const Result<Creation> creation = client.create(a_submission());
    ASSERT_TRUE(creation) << creation.error().message;
    EXPECT_EQ(creation->submission_id, kId);
  }
  EXPECT_EQ(standby->requests().size(), 1u);
  EXPECT_EQ(active->requests().size(), 3u);
}

TEST(SparkRestClient, GoesOnFromAStandbyForEveryQuestion) {
  const auto status_standby = master(json(test::kStatusStandby));
  const auto running = master(json(test::kRunning));
  EXPECT_EQ(client_of(*status_standby, *running).status(kId)->state, DriverState::kRunning);
  const auto kill_standby = master(json(
      R"({"action":"KillSubmissionResponse","success":false,"message":"Current state is not alive: RECOVERING. Can only kill drivers in ALIVE state."})"));
  const auto killed = master(json(test::kKilled));
  EXPECT_EQ(*client_of(*kill_standby, *killed).kill(kId), KillOutcome::kAsked);
}

TEST(SparkRestClient, GoesOnFromAMasterThatIsGone) {
  const auto active = master(json(test::kCreated));
  const SparkRestClient client = client_of({.masters = closed_address() + "," + active->address()});
  EXPECT_EQ(client.create(a_submission())->submission_id, kId);
}

TEST(SparkRestClient, SaysOfEachMasterWhyNoneTookTheSubmission) {
  const auto standby = master(json(test::kStandby));
  const std::string closed = closed_address();
  const Error error = error_of(client_of({.masters = closed + "," + standby->address()}).create(a_submission()));
  EXPECT_THAT(error.message,
              AllOf(HasSubstr("the driver was not submitted: "), HasSubstr(closed + " refused the connection"),
                    HasSubstr(standby->address() + " is not the active master"), HasSubstr("STANDBY"),
                    HasSubstr("spark.master.rest.enabled")));
}

TEST(SparkRestClient, ReportsASubmissionWhoseAnswerWasLostAsUnknownAndSendsItNowhereElse) {
  for (const HttpServer::Answer& lost :
       {HttpServer::Answer{"", Then::kClose},
        {"", Then::kReset},
        {"", Then::kSilence},
        {"HTTP/1.1 200 OK\r\nContent-Le", Then::kClose},
        {json(test::kCreated).bytes.substr(0, 200), Then::kClose},
        {"\x16\x03\x01 no HTTP"},
        json("{\"action\":"),
        json(R"({"action":"CreateSubmissionResponse","success":true})"),
        json(R"({"action":"KillSubmissionResponse","success":true})"),
        json(R"({"action":"CreateSubmissionResponse","success":true,"submissionId":"../killall"})"),
        page("Bad Gateway", 502),
        page("Gateway Time-out", 504),
        page("Server Error", 500)}) {
    const auto losing = master(lost);
    const auto other = master(json(test::kCreated));
    const SparkRestClient client =
        client_of({.masters = losing->address() + "," + other->address(), .total_timeout = kShort});
    const Result<Creation> creation = client.create(a_submission());
    ASSERT_TRUE(creation) << lost.bytes << creation.error().message;
    EXPECT_EQ(creation->certainty, Creation::Certainty::kUnknown) << lost.bytes;
    EXPECT_EQ(creation->submission_id, "");
    EXPECT_THAT(creation->what_happened,
                AllOf(HasSubstr(losing->address()), HasSubstr("Whether it was submitted is not known")));
    EXPECT_EQ(losing->requests().size(), 1u);
    EXPECT_EQ(other->requests().size(), 0u) << "a second submission could be a twin of the first";
  }
}

TEST(SparkRestClient, AsksAnotherMasterWhereAskingTwiceDoesNoHarm) {
  for (const HttpServer::Answer& lost :
       {HttpServer::Answer{"", Then::kClose}, {"", Then::kSilence}, page("Bad Gateway", 502)}) {
    const auto losing = master(lost);
    const auto running = master(json(test::kRunning));
    EXPECT_EQ(client_of(*losing, *running).status(kId)->state, DriverState::kRunning) << lost.bytes;
    const auto killed = master(json(test::kKilled));
    EXPECT_EQ(*client_of(*losing, *killed).kill(kId), KillOutcome::kAsked) << lost.bytes;
  }
}

TEST(SparkRestClient, NeverWaitsLongerThanItsTimeout) {
  for (const HttpServer::Answer& slow : {HttpServer::Answer{"", Then::kSilence},
                                         {"HTTP/1.1 200 OK\r\nX: y", Then::kDrip},
                                         {"HTTP/1.1 200 OK\r\n\r\n{", Then::kDrip}}) {
    const auto one = master(slow);
    const auto two = master(slow);
    const SparkRestClient client =
        client_of({.masters = one->address() + "," + two->address(), .web = one->address(), .total_timeout = kShort});
    const base::TimeNs begin_ns = base::SteadyClock().now_ns();
    EXPECT_EQ(client.create(a_submission())->certainty, Creation::Certainty::kUnknown);
    for (const Error& error : {error_of(client.status(kId)), error_of(client.kill(kId)), error_of(client.readiness()),
                               error_of(client.capacity())}) {
      EXPECT_EQ(error.code, ErrorCode::kTimeout) << error.message;
    }
    EXPECT_LT(base::SteadyClock().now_ns() - begin_ns, kLongNs);
  }
}

// Everything that is refused: nothing was started, so an Error and not kUnknown.
TEST(SparkRestClient, ExplainsEachRefusal) {
  const auto refused = [](const HttpServer::Answer& answer) {
    const auto spark = master(answer);
    const Error error = error_of(client_of(*spark).create(a_submission()));
    EXPECT_THAT(error.message, HasSubstr("the driver was not submitted: " + spark->address()));
    return error;
  };
  const Error forbidden = refused(page(test::kForbidden, 403));
  EXPECT_EQ(forbidden.code, ErrorCode::kInvalidConfig);
  EXPECT_THAT(forbidden.message, AllOf(HasSubstr("HTTP 403: \"Error 403 Authorization header is missing.\""),
                                       HasSubstr("RAYX_SPARK_JWS_SECRET_FILE")));
  const Error jar = refused(json(test::kNoJar, 400));
  EXPECT_EQ(jar.code, ErrorCode::kInvalidConfig);
  EXPECT_THAT(jar.message, HasSubstr("spark.master.rest.allowedAppResourcePatterns"));
  const Error bad = refused(json(R"({"action":"ErrorResponse","message":"Main class is missing."})", 400));
  EXPECT_EQ(bad.code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(bad.message, HasSubstr("Main class is missing."));
  EXPECT_THAT(refused(page("", 413)).message, HasSubstr("spark.master.rest.maxRequestBodySize"));
  const Error protocol = refused(json(test::kOtherProtocol, 468));
  EXPECT_EQ(protocol.code, ErrorCode::kUnsupported);
  EXPECT_THAT(protocol.message, AllOf(HasSubstr("rayx speaks v1"), HasSubstr("at most v2")));
  const Error other = refused(page("<title>Not Found</title>", 404));
  EXPECT_THAT(other.message, HasSubstr("no REST server of Spark's"));
  EXPECT_THAT(refused({"HTTP/1.1 302 Found\r\nLocation: https://sso/login\r\nContent-Length: 0\r\n\r\n"}).message,
              AllOf(HasSubstr("https://sso/login"), HasSubstr("does not follow")));
  EXPECT_THAT(refused(page("<html><title>Spark Master</title></html>", 200)).message,
              HasSubstr("a web page: \"Spark Master\""));
  EXPECT_THAT(refused(page("", 418)).message, HasSubstr("HTTP 418"));
}

TEST(SparkRestClient, AsksWhetherAMasterIsReadyAndKnowsServersThatHaveNoSuchQuestion) {
  EXPECT_EQ(*client_of(*master(json(test::kReady))).readiness(), Readiness::kReady);
  EXPECT_EQ(*client_of(*master(json(test::kNotReady, 503))).readiness(), Readiness::kNotReady);
  EXPECT_EQ(*client_of(*master(json(test::kActions, 400))).readiness(), Readiness::kUntold);
  EXPECT_EQ(*client_of(*master(json(test::kNotReady, 503)), *master(json(test::kReady))).readiness(),
            Readiness::kReady);
  EXPECT_THAT(error_of(client_of(*master(page("Busy", 503))).readiness()).message, HasSubstr("HTTP 503"));
  EXPECT_THAT(error_of(client_of(*master(page("Bad", 400))).readiness()).message, HasSubstr("HTTP 400"));
}

TEST(SparkRestClient, ReadsTheCapacityFromTheActiveMastersWebPage) {
  const auto standby = master(json(R"({"url":"spark://b:7077","workers":[],"status":"STANDBY"})"));
  const auto active = master(json(test::kWorkers));
  const SparkRestClient client = client_of({.masters = "a:6066", .web = standby->address() + "," + active->address()});
  const Result<Capacity> capacity = client.capacity();
  ASSERT_TRUE(capacity) << capacity.error().message;
  EXPECT_EQ(capacity->cores_free, 5);
  EXPECT_THAT(targets(*active), ElementsAre("GET /json/"));
  const Error alone = error_of(client_of({.masters = "a:6066", .web = standby->address()}).capacity());
  EXPECT_THAT(alone.message, AllOf(HasSubstr("STANDBY"), HasSubstr("spark.master.ui.port")));
  const auto login = master(page("<title>Log in</title>", 403));
  EXPECT_THAT(error_of(client_of({.masters = "a:6066", .web = login->address()}).capacity()).message,
              AllOf(HasSubstr("HTTP 403"), HasSubstr("spark.ui.filters")));
}

class WithSecret : public testing::Test {
 protected:
  // A request's time is the number of requests before it.
  SparkRestClient client(const std::string& masters, const std::string& web = "") {
    RestClientOptions options{.masters = masters, .web = web, .jws_secret = *JwsSecret::from_base64url(kText)};
    options.unix_time_s = [this] { return kBegin_s + made_++; };
    return client_of(std::move(options));
  }
  std::optional<nlohmann::json> claims_of(const HttpServer::Request& request) const {
    const std::string value = request.header("Authorization");
    EXPECT_THAT(value, testing::StartsWith("Bearer "));
    return test::check_jws(value.substr(7), test::decode_base64url(kText));
  }
  static constexpr std::int64_t kBegin_s = 1'800'000'000;
  const std::string kText = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldC0xMjM0";
  std::int64_t made_ = 0;
};

TEST_F(WithSecret, EachRequestCarriesATokenOfItsOwn) {
  const auto standby = master(json(test::kStatusStandby));
  const auto active = master(json(test::kRunning));
  const SparkRestClient client = this->client(standby->address() + "," + active->address());
  ASSERT_TRUE(client.status(kId));
  ASSERT_TRUE(client.status(kId));
  ASSERT_EQ(standby->requests().size(), 1u);
  ASSERT_EQ(active->requests().size(), 2u);
  std::int64_t now = kBegin_s;
  for (const HttpServer::Request& request : {standby->requests()[0], active->requests()[0], active->requests()[1]}) {
    const std::optional<nlohmann::json> claims = claims_of(request);
    ASSERT_TRUE(claims) << request.head;
    EXPECT_EQ((*claims)["iat"], now);
    EXPECT_EQ((*claims)["exp"], now + kBearerTokenLifetime.count());
    ++now;
  }
}

TEST_F(WithSecret, EveryQuestionToTheRestServerCarriesAToken) {
  const auto spark = master(json("{}"));
  const SparkRestClient client = this->client(spark->address());
  (void)client.create(a_submission());
  (void)client.status(kId);
  (void)client.kill(kId);
  (void)client.readiness();
  ASSERT_EQ(spark->requests().size(), 4u);
  for (const HttpServer::Request& request : spark->requests()) EXPECT_TRUE(claims_of(request)) << request.head;
}

// Who listens at that port may not be Spark at all: the user has perhaps not even named it.
TEST_F(WithSecret, TheWebPageGetsNoToken) {
  const auto web = master(json(test::kWorkers));
  ASSERT_TRUE(client("a:6066", web->address()).capacity());
  EXPECT_EQ(web->requests().front().header("Authorization"), "");
}

TEST_F(WithSecret, ARefusedTokenIsExplainedAndNeitherItNorTheSecretIsShown) {
  const auto spark = master(page(test::kForbidden, 403));
  const Error error = error_of(client(spark->address()).create(a_submission()));
  EXPECT_THAT(error.message,
              AllOf(HasSubstr("whether the master has the same one"), HasSubstr("clocks"), HasSubstr("5 min")));
  const std::string token = spark->requests().front().header("Authorization").substr(7);
  EXPECT_THAT(error.message, AllOf(Not(HasSubstr(kText)), Not(HasSubstr(token)), Not(HasSubstr("secret-secret"))));
  EXPECT_THAT(spark->requests().front().head + spark->requests().front().body, Not(HasSubstr(kText)));
}

TEST(SparkRestClient, AsksForNothingElseWhateverAnIdLooksLike) {
  const auto spark = master(json(test::kKilled));
  const SparkRestClient client = client_of(*spark);
  for (const char* const id :
       {"", "/", "../killall", "..", ".", "x/../../killall", "a b", "a?b", "a%2fkillall", "a\r\nHost: b", "\xc3\xa9"}) {
    EXPECT_EQ(error_of(client.kill(id)).code, ErrorCode::kInvalidArgument) << id;
    EXPECT_EQ(error_of(client.status(id)).code, ErrorCode::kInvalidArgument) << id;
  }
  EXPECT_EQ(error_of(client.kill(std::string(1'000, 'd'))).code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(targets(*spark), ElementsAre());
}

TEST(SparkRestClient, IsNotMadeFromWhatCannotWork) {
  EXPECT_THAT(error_of(SparkRestClient::make({.masters = "https://a:6066"})).message, HasSubstr("plain HTTP"));
  EXPECT_THAT(error_of(SparkRestClient::make({.masters = "a:6066", .web = "ftp://a"})).code, ErrorCode::kInvalidConfig);
  EXPECT_THAT(error_of(SparkRestClient::make({.masters = "a:6066", .total_timeout = milliseconds(0)})).message,
              HasSubstr("time-out"));
}

TEST(SparkRestClient, SurvivesAnyAnswer) {
  std::mt19937_64 random(kit::seed());
  HttpServer::Answer answer;
  const HttpServer spark([&](const auto&) { return answer; });
  const SparkRestClient client = client_of({.masters = spark.address(), .web = spark.address()});
  const std::string_view bodies[] = {test::kCreated, test::kRunning, test::kKilled, test::kWorkers, test::kForbidden};
  for (int round = 0; round < 1'000; ++round) {
    std::string body(bodies[random() % std::size(bodies)]);
    if (random() % 2 == 0) body.assign(random() % 400, '\0');
    const std::size_t changes = random() % 2 == 0 ? random() % 4 : body.size();
    for (std::size_t i = 0; i < changes && !body.empty(); ++i)
      body[random() % body.size()] = static_cast<char>(random());
    const int statuses[] = {200, 200, 200, 400, 403, 468, 500, 503};
    answer = HttpServer::ok(body, random() % 4 == 0 ? "text/html" : "application/json",
                            statuses[random() % std::size(statuses)]);
    switch (random() % 5) {
      case 0: (void)client.create(a_submission()); break;
      case 1: (void)client.status(kId); break;
      case 2: (void)client.kill(kId); break;
      case 3: (void)client.readiness(); break;
      default: (void)client.capacity();
    }
  }
  EXPECT_EQ(spark.requests().size(), 1'000u) << "each was answered, and none asked twice";
}

}  // namespace
}  // namespace rayx::spark
