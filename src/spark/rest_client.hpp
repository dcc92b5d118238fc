// SparkRestClient: a standalone cluster's masters, over Spark's REST submission protocol (v1; Spark 3.3 to 4.x).
//
// The server's `killall` and `clear` act on every user's drivers: this client has no way to ask for them.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/exchange.hpp"
#include "rayx/result.hpp"
#include "spark/bearer_token.hpp"
#include "spark/capacity.hpp"
#include "spark/rest_answer.hpp"
#include "spark/submission_request.hpp"
#include "wire/endpoint.hpp"

namespace rayx::spark {

struct RestClientOptions {
  std::string masters = {};  // "spark://a:6066,b:6066", as parse_masters takes it
  std::string web = {};      // the masters' web pages, "http://a:8080,b:8080"; empty: port 8080 of each master
  std::optional<JwsSecret> jws_secret =
      std::nullopt;  // of a REST server behind JWSFilter. Never sent: only tokens made with it are
  std::chrono::milliseconds connect_timeout{3'000};  // of each master
  std::chrono::milliseconds total_timeout{30'000};   // of each call, over all masters that it asks
  // Seconds since 1970, for the tokens' expiry. Empty: the system's clock.
  std::function<std::int64_t()> unix_time_s = {};
};

// How sure it is that a driver was submitted.
struct Creation {
  enum class Certainty : std::uint8_t {
    kAccepted,
    // The request was sent, and no answer that can be understood came back: there may be a driver, whose id nobody knows, now or later.
    // Who submits again must be able to tell the two apart: rayx gives each node a token of its own, which the head accepts once.
    kUnknown,
  };
  Certainty certainty = Certainty::kAccepted;
  std::string submission_id;   // of kAccepted
  std::string server_version;  // of kAccepted
  std::string what_happened;   // of kUnknown, for a person
};

enum class DriverState : std::uint8_t {
  kSubmitted,    // waits for a worker with enough free cores and memory; for ever, if there will be none
  kRunning,      // the worker has started the JVM
  kFinished,     // it exited with 0
  kRelaunching,  // a supervised driver gets another id
  kUnknown,      // the master has recovered and has not heard of the worker yet
  kKilled,
  kFailed,  // it exited with another status
  kError,   // the worker could not start it
};
std::string_view to_string(DriverState state);
// Nothing more will happen to it.
bool is_over(DriverState state);

struct SubmissionStatus {
  DriverState state = DriverState::kSubmitted;
  std::string worker_id;       // empty while it waits
  std::string worker_address;  // host:port
  std::string message;         // of kError: what the worker said, with its stack; else mostly empty
  std::string server_version;
};

enum class KillOutcome : std::uint8_t {
  kAsked,  // the master passes it on: look at the status until it is over
  kGone,   // it is over already, or was never there
};

enum class Readiness : std::uint8_t {
  kReady,
  kNotReady,  // it stands by, or is still starting
  kUntold,    // the server is older than Spark 4.0 and has no such question
};

// Every call asks the masters one after the other, from the one that answered last on, until one that is active has answered. An
// Error says of each what it did, and what to look at. Any thread; blocking; no call lasts longer than `total_timeout`.
class SparkRestClient {
 public:
  static Result<SparkRestClient> make(RestClientOptions options);

  // An Error means: there is no driver from this call. A request whose answer was lost is no Error but kUnknown, and goes to no other
  // master: submitting is not idempotent.
  Result<Creation> create(const SubmissionRequest& request) const;
  // kNotFound: no master knows it, or it ended so long ago that it was forgotten (spark.deploy.retainedDrivers, 200 by default).
  Result<SubmissionStatus> status(const std::string& submission_id) const;
  // Idempotent. The driver gets SIGTERM, and SIGKILL after 10 s (spark.worker.driverTerminateTimeout).
  Result<KillOutcome> kill(const std::string& submission_id) const;
  // kReady if one of the masters is. Says of Spark before 4.0 kUntold: look at capacity().status.
  Result<Readiness> readiness() const;
  // From the web page, which needs no token and gets none: it is at another port, where somebody else might listen.
  Result<Capacity> capacity() const;

  const std::vector<wire::Endpoint>& masters() const { return masters_; }

 private:
  struct Question;

  SparkRestClient(RestClientOptions options, std::vector<wire::Endpoint> masters, std::vector<wire::Endpoint> webs);

  // `judge` gives the answer to the question, or nothing and the reason why another master is to be asked.
  template <class T>
  using Judge = std::function<std::optional<Result<T>>(const std::string& server, const http::Outcome&, Error& reason)>;
  template <class T>
  Result<T> ask(const Question& question, const Judge<T>& judge) const;
  http::Request to_request(const Question& question) const;

  RestClientOptions options_;
  std::vector<wire::Endpoint> masters_;
  std::vector<wire::Endpoint> webs_;
  std::unique_ptr<std::atomic<std::size_t>> first_;  // which of them is asked first: the one that answered last
};

}  // namespace rayx::spark
