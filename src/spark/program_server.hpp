// ProgramServer: where Spark's workers get the launcher's jar, and the launchers the program, each once and for its own node.
//
// Plain HTTP, because Java 8 has no TLS with a shared key, and because nothing in it can be used by a stranger: a launcher proves by
// an HMAC that it has the token of its submission, and gets a description that is encrypted and authenticated under it; the description has
// the SHA-256 of each file. The token itself is never sent. A token is good for one launcher: the second one is refused.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bundle/running_program.hpp"
#include "rayx/result.hpp"
#include "spark/submission_request.hpp"

namespace rayx::spark {

struct ProgramServerConfig {
  std::shared_ptr<const bundle::RunningProgram> program = {};
  std::string address = "127.0.0.1";  // to listen at, in numbers; "0.0.0.0" or "::" for all
  std::uint16_t port = 0;             // 0: any that is free
  // The name or address under which Spark's workers reach it. Empty: `address`, which must be a single one then.
  std::string advertised = {};
  // For messages: the name of the setting that changes `advertised`, as the user knows it.
  std::string advertised_setting = "the advertised address";
  // On a thread of the server's, a line at a time; at most 20 lines a minute, then how many were left out. Empty: nothing is said.
  std::function<void(const std::string&)> log = {};
};

// What a launcher is to start.
struct NodeLaunch {
  std::string name = {};  // of the node, unique in this server; shown in messages
  int cores = 1;
  std::int64_t memory_mib = 1'024;
  int gpus = 0;
  // Of the started program, over those of Spark's worker. Encrypted on the way, and readable for the same user on the worker's host
  // (/proc). ASCII only: a JVM under the C locale garbles the rest.
  std::map<std::string, std::string> environment = {};
  std::vector<std::string> arguments =
      {};  // behind argv[0]; ASCII too, and readable for everybody on the worker's host
  // What the program reads at its standard input before anything else: for secrets that should be in no environment. 64 KiB at most.
  std::string input = {};
};

// What a submission needs so that its launcher is let in. The same one may be submitted again when it is not known whether the first
// submission arrived: only one of the two starts a node.
struct LaunchTicket {
  std::string jar_url;                             // the submission's appResource; no secret in it
  std::map<std::string, std::string> environment;  // the submission's environmentVariables: secret
};

// How far a launch has come, as far as this server has heard.
enum class LaunchStage : std::uint8_t {
  kAdmitted,  // nobody has asked for anything
  kJarTaken,  // a worker of Spark's has fetched the jar
  kStarting,  // the launcher has the description, and fetches or starts the program
  kStarted,   // the program was started; whether it is ready, only it can say
  kEnded,     // the launcher has said how it ended, or why it could not start it
};

struct LaunchReport {
  LaunchStage stage = LaunchStage::kAdmitted;
  std::string host;                     // as the launcher names it; empty before kStarting
  std::optional<int> exit_code;         // of kEnded: the launcher's
  std::string problem;                  // of kEnded without success: one message with cause and setting
  std::vector<std::string> last_lines;  // of the program's output, at most 100; bytes of the program's, not checked
  int refusals = 0;                     // further launchers that came with this launch's token
};

// Its thread serves; all functions from any thread, none waits for the network.
class ProgramServer {
 public:
  static constexpr std::size_t kLaunchesMax = 4'096;  // that are admitted and not revoked
  static constexpr std::size_t kInputBytesMax = 64 << 10;

  static Result<std::unique_ptr<ProgramServer>> start(ProgramServerConfig config);
  // Launchers that are in the middle of fetching the program fail.
  ~ProgramServer();
  ProgramServer(const ProgramServer&) = delete;
  ProgramServer& operator=(const ProgramServer&) = delete;

  std::uint16_t port() const;
  // "host:port" as the launchers are told.
  const std::string& advertised() const;

  // Makes a token. kInvalidArgument: a name that is taken or bad, values that cannot be handed to a process.
  Result<LaunchTicket> admit(const NodeLaunch& launch);
  // The token is worth nothing from now on, and the report is forgotten. Unknown names are no error.
  void revoke(const std::string& node_name);
  // Nothing: not admitted, or revoked.
  std::optional<LaunchReport> report(const std::string& node_name) const;

  // Why a launch has not come further, in one sentence for a user, with the setting to change: from the report, and from what Spark
  // says about the submission (SubmissionStatus::message, which names the jar's URL when a worker could not fetch it; may be empty).
  std::string explain(const std::string& node_name, const std::string& spark_message) const;

 private:
  struct State;
  explicit ProgramServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The submission that starts `launch` with its ticket: class, jar, environment, cores, memory, GPUs, and options that keep the JVM small.
// `app_name` is shown on the master's page. Further properties may be set in the result; those of `spark.driver.…` here are needed.
SubmissionRequest make_submission(const NodeLaunch& launch, const LaunchTicket& ticket, const std::string& app_name);

}  // namespace rayx::spark
