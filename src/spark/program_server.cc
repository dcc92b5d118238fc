#include "spark/program_server.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <mutex>
#include <string_view>
#include <utility>

#include "base/check.hpp"
#include "base/clock.hpp"
#include "http/printable.hpp"
#include "http/server.hpp"
#include "spark/launch_description.hpp"
#include "spark/launcher.hpp"
#include "wire/crypto.hpp"
#include "wire/endpoint.hpp"

namespace rayx::spark {
namespace {

constexpr std::size_t kNonceBytes = 16;
constexpr std::size_t kHostBytesMax = 255;
constexpr std::size_t kLastLinesMax = 100;
constexpr int kLinesAMinute = 20;

bool is_plain(std::string_view text, bool is_name = false) {
  return std::all_of(text.begin(), text.end(),
                     [is_name](unsigned char c) { return c != 0 && c < 0x80 && (!is_name || (c != '=' && c > ' ')); });
}

Error cannot_launch(const NodeLaunch& launch, const std::string& why) {
  return {ErrorCode::kInvalidArgument, "rayx: node \"" + launch.name + "\" cannot be launched: " + why};
}

Result<void> check(const NodeLaunch& launch) {
  if (launch.name.empty() || launch.name.size() > kHostBytesMax || !is_plain(launch.name))
    return cannot_launch(launch, "its name must have 1 to 255 characters of ASCII");
  if (launch.cores < 1 || launch.memory_mib < 1 || launch.gpus < 0)
    return cannot_launch(launch, std::to_string(launch.cores) + " cores, " + std::to_string(launch.memory_mib) +
                                     " MiB and " + std::to_string(launch.gpus) + " GPUs are no reservation");
  if (launch.input.size() > ProgramServer::kInputBytesMax) return cannot_launch(launch, "its input is too large");
  for (const auto& [name, value] : launch.environment)
    if (name.empty() || !is_plain(name, true) || !is_plain(value))
      return cannot_launch(launch,
                           "its variable \"" + http::printable(name, 100) +
                               "\" has a character that is not ASCII, which Java on the worker may garble, or a "
                               "name with a space or '='. Take it out of SparkConfig::environment, or write its "
                               "value in ASCII, as base64, and decode it in the program");
  for (const std::string& argument : launch.arguments)
    if (!is_plain(argument)) return cannot_launch(launch, "an argument has characters that are not ASCII");
  return {};
}

http::ServerResponse refusal(int status, std::string why) { return {status, "text/plain", std::move(why) + '\n'}; }

}  // namespace

struct ProgramServer::State {
  struct Launch {
    NodeLaunch what;
    std::array<std::byte, 32> token{};
    std::string id;
    std::string nonce;  // of the launcher that was let in; empty: none yet
    LaunchReport report;
    ~Launch() { wire::wipe(token); }
  };

  ProgramServerConfig config;
  std::vector<FileFixes> fixes;
  std::string advertised;
  base::SteadyClock clock;
  mutable std::mutex mutex;
  std::map<std::string, std::shared_ptr<Launch>> launches;  // by name
  std::map<std::string, std::shared_ptr<Launch>> by_id;
  base::TimeNs minute_ns = 0;
  int lines = 0;
  int lines_left_out = 0;
  std::unique_ptr<http::Server> server;  // last: its handlers use all the others

  http::ServerResponse handle(const http::ServerRequest& request);
  http::ServerResponse let_in(const http::ServerRequest& request);
  http::ServerResponse give_file(const http::ServerRequest& request);
  http::ServerResponse take_report(const http::ServerRequest& request);
  void note_jar_of(const std::string& id);
  std::shared_ptr<Launch> launch_of(const http::ServerRequest& request) const;
  static bool is_authentic(const http::ServerRequest& request, const Launch& launch, std::string_view what,
                           std::string_view nonce, std::string_view rest);
  http::ServerResponse refuse(const http::ServerRequest& request, int status, const std::string& why);
  void say(const std::string& line);
};

// ---- What launchers ask

void ProgramServer::State::say(const std::string& line) {
  if (!config.log) return;
  constexpr base::TimeNs kMinute_ns = 60'000'000'000;
  int left_out = 0;
  {
    const std::lock_guard lock(mutex);
    const base::TimeNs now = clock.now_ns();
    if (now - minute_ns >= kMinute_ns) {
      minute_ns = now;
      lines = 0;
      left_out = std::exchange(lines_left_out, 0);
    }
    if (++lines > kLinesAMinute) return void(++lines_left_out);
  }
  config.log(left_out == 0 ? line : line + " (and " + std::to_string(left_out) + " lines before it)");
}

http::ServerResponse ProgramServer::State::refuse(const http::ServerRequest& request, int status,
                                                  const std::string& why) {
  say("the program server refused " + http::printable(request.method, 10) + ' ' + http::printable(request.path, 100) +
      " from " + request.peer + ": " + why);
  return refusal(status, why);
}

http::ServerResponse ProgramServer::State::handle(const http::ServerRequest& request) {
  const std::size_t last = request.path.rfind('/');
  const bool is_jar = last != std::string::npos && request.path.substr(last + 1) == kLauncherJarName;
  if (is_jar && (request.method == "GET" || request.method == "HEAD")) {
    if (last > 0) note_jar_of(request.path.substr(1, last - 1));
    const std::span<const std::byte> jar = launcher_jar();
    http::ServerResponse response{200, "application/java-archive", {}};
    if (request.method == "GET") response.body.assign(reinterpret_cast<const char*>(jar.data()), jar.size());
    return response;
  }
  if (request.method == "POST" && request.path == "/launch") return let_in(request);
  if (request.method == "GET" && request.path.starts_with("/file/")) return give_file(request);
  if (request.method == "POST" && request.path == "/report") return take_report(request);
  return refuse(request, 404, "there is nothing here; rayx serves its launchers at this port");
}

// The launch's id is in the jar's URL for this only: all jars are the same, and anybody may have one.
void ProgramServer::State::note_jar_of(const std::string& id) {
  const std::lock_guard lock(mutex);
  const auto found = by_id.find(id);
  if (found != by_id.end()) found->second->report.stage = std::max(found->second->report.stage, LaunchStage::kJarTaken);
}

std::shared_ptr<ProgramServer::State::Launch> ProgramServer::State::launch_of(
    const http::ServerRequest& request) const {
  const auto id = request.headers.find("x-rayx-launch");
  if (id == request.headers.end()) return nullptr;
  const std::lock_guard lock(mutex);
  const auto found = by_id.find(id->second);
  return found == by_id.end() ? nullptr : found->second;
}

bool ProgramServer::State::is_authentic(const http::ServerRequest& request, const Launch& launch, std::string_view what,
                                        std::string_view nonce, std::string_view rest) {
  const auto given = request.headers.find("x-rayx-mac");
  if (given == request.headers.end()) return false;
  const std::string right = wire::to_hex(
      wire::hmac_sha256(launch.token, {wire::bytes_of(what), wire::bytes_of(nonce), wire::bytes_of(rest)}));
  return wire::equal_in_constant_time(wire::bytes_of(given->second), wire::bytes_of(right));
}

http::ServerResponse ProgramServer::State::let_in(const http::ServerRequest& request) {
  const std::shared_ptr<Launch> launch = launch_of(request);
  if (launch == nullptr)
    return refuse(request, 403, "its token is not known here: the node was given up, or its cluster is another one");
  if (request.body.size() < kNonceBytes || request.body.size() > kNonceBytes + kHostBytesMax ||
      !is_authentic(request, *launch, "rayx launch", {}, request.body))
    return refuse(request, 403, "its token is wrong");
  const std::string nonce = request.body.substr(0, kNonceBytes);
  const std::string host = http::printable(request.body.substr(kNonceBytes), kHostBytesMax);
  bool is_second = false;
  {
    const std::lock_guard lock(mutex);
    is_second = !launch->nonce.empty() && launch->nonce != nonce;  // the same one may ask again
    if (is_second) {
      ++launch->report.refusals;
    } else {
      launch->nonce = nonce;
      launch->report.stage = std::max(launch->report.stage, LaunchStage::kStarting);
      launch->report.host = host;
    }
  }
  if (is_second)
    return refuse(request, 403, "node \"" + launch->what.name + "\" was started already by another submission of it");
  const wire::Digest key = wire::hmac_sha256(launch->token, {wire::bytes_of("rayx launch key"), wire::bytes_of(nonce)});
  return {200, "application/octet-stream", seal(describe(config.program->manifest, fixes, launch->what), key)};
}

http::ServerResponse ProgramServer::State::give_file(const http::ServerRequest& request) {
  const std::shared_ptr<Launch> launch = launch_of(request);
  const std::string digest = request.path.substr(std::string_view("/file/").size());
  std::string nonce;
  if (launch != nullptr) {
    const std::lock_guard lock(mutex);
    nonce = launch->nonce;
  }
  if (nonce.empty() || !is_authentic(request, *launch, "rayx file", nonce, digest))
    return refuse(request, 403, "its token is wrong, or the node was given up");
  const std::vector<bundle::File>& files = config.program->manifest.files;
  const std::optional<bundle::Digest> wanted = bundle::digest_of_hex(digest);
  const auto file =
      std::find_if(files.begin(), files.end(), [&](const bundle::File& it) { return wanted && it.digest == *wanted; });
  if (file == files.end()) return refuse(request, 404, "the program has no such file");
  Result<base::UniqueFd> opened = config.program->open(static_cast<std::size_t>(file - files.begin()));
  if (!opened) return refuse(request, 404, opened.error().message);
  http::ServerResponse response{200, "application/octet-stream", {}};
  response.file = std::move(*opened);
  response.file_bytes = file->bytes;
  return response;
}

// "started", or "ended CODE", a line with the problem, and the last lines of the output.
http::ServerResponse ProgramServer::State::take_report(const http::ServerRequest& request) {
  const std::shared_ptr<Launch> launch = launch_of(request);
  if (launch == nullptr) return refuse(request, 403, "its token is not known here");
  const std::string_view body = request.body;
  const std::lock_guard lock(mutex);
  // One that was not let in has a report too, and proves with its token alone that it is ours: but it says nothing of this launch.
  if (launch->nonce.empty() || !is_authentic(request, *launch, "rayx report", launch->nonce, body))
    return refusal(403, "its token is wrong, or another launcher has it");
  if (body == "started\n") {
    launch->report.stage = std::max(launch->report.stage, LaunchStage::kStarted);
    return {};
  }
  int code = 0;
  const std::size_t first = body.find('\n');
  const bool is_right = body.starts_with("ended ") && first != std::string_view::npos &&
                        std::from_chars(body.data() + 6, body.data() + first, code).ptr == body.data() + first;
  if (!is_right) return refusal(400, "that is no report");
  const std::size_t second = std::min(body.find('\n', first + 1), body.size());
  launch->report.stage = LaunchStage::kEnded;
  launch->report.exit_code = code;
  launch->report.problem = http::printable(body.substr(first + 1, second - first - 1), 2'000);
  launch->report.last_lines.clear();
  for (std::size_t at = second + 1; at < body.size() && launch->report.last_lines.size() < kLastLinesMax;) {
    const std::size_t end = std::min(body.find('\n', at), body.size());
    launch->report.last_lines.emplace_back(body.substr(at, end - at));
    at = end + 1;
  }
  return {};
}

// ---- The door

ProgramServer::ProgramServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
ProgramServer::~ProgramServer() = default;

Result<std::unique_ptr<ProgramServer>> ProgramServer::start(ProgramServerConfig config) {
  RAYX_CHECK(config.program != nullptr, "a program server needs a program", config.address);
  if (config.advertised.empty() && (config.address == "0.0.0.0" || config.address == "::"))
    return Error{ErrorCode::kInvalidConfig, "rayx: the program server listens at " + config.address +
                                                ", which is no address that Spark's workers can open: set " +
                                                config.advertised_setting + " to one of this machine"};
  auto state = std::make_unique<State>();
  Result<std::vector<FileFixes>> fixes = fixes_of(*config.program);
  if (!fixes) return std::move(fixes).error();
  state->fixes = std::move(*fixes);
  State* const raw = state.get();
  Result<std::unique_ptr<http::Server>> server =
      http::Server::start({.address = config.address, .port = config.port},
                          [raw](const http::ServerRequest& request) { return raw->handle(request); });
  if (!server) return std::move(server).error();
  const std::string& host = config.advertised.empty() ? config.address : config.advertised;
  state->advertised = wire::Endpoint{host, (*server)->port()}.text();
  state->config = std::move(config);
  state->server = std::move(*server);
  return std::unique_ptr<ProgramServer>(new ProgramServer(std::move(state)));
}

std::uint16_t ProgramServer::port() const { return state_->server->port(); }
const std::string& ProgramServer::advertised() const { return state_->advertised; }

Result<LaunchTicket> ProgramServer::admit(const NodeLaunch& launch) {
  if (Result<void> right = check(launch); !right) return std::move(right).error();
  auto made = std::make_shared<State::Launch>();
  made->what = launch;
  wire::fill_random(made->token);
  made->id = wire::to_hex(wire::hmac_sha256(made->token, {wire::bytes_of("rayx launch id")})).substr(0, 32);
  const std::lock_guard lock(state_->mutex);
  if (state_->launches.size() >= kLaunchesMax)
    return cannot_launch(launch, std::to_string(kLaunchesMax) + " launches are known that were not revoked");
  if (!state_->launches.emplace(launch.name, made).second)
    return cannot_launch(launch, "a node of this name is known already");
  state_->by_id.emplace(made->id, made);
  return LaunchTicket{
      "http://" + state_->advertised + '/' + made->id + '/' + kLauncherJarName,
      {{kLauncherServerVariable, state_->advertised}, {kLauncherTokenVariable, wire::to_hex(made->token)}}};
}

void ProgramServer::revoke(const std::string& node_name) {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->launches.find(node_name);
  if (found == state_->launches.end()) return;
  state_->by_id.erase(found->second->id);
  state_->launches.erase(found);
}

std::optional<LaunchReport> ProgramServer::report(const std::string& node_name) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->launches.find(node_name);
  if (found == state_->launches.end()) return std::nullopt;
  return found->second->report;
}

std::string ProgramServer::explain(const std::string& node_name, const std::string& spark_message) const {
  const std::optional<LaunchReport> known = report(node_name);
  if (known && known->stage == LaunchStage::kEnded) {
    std::string text = known->problem.empty() ? "it ended as it was asked to" : known->problem;
    if (!known->last_lines.empty()) text += ". Its last line: " + http::printable(known->last_lines.back(), 300);
    return text;
  }
  if (known && known->stage >= LaunchStage::kStarting)
    return "its launcher on " + known->host +
           (known->stage == LaunchStage::kStarted ? " has started it" : " fetches the program");
  if (known && known->stage == LaunchStage::kJarTaken && spark_message.empty())
    return "a worker of Spark's has fetched the launcher, which has not asked for the program yet";
  if (spark_message.find(kLauncherJarName) != std::string::npos)
    return "a worker of Spark's could not fetch http://" + state_->advertised + '/' + kLauncherJarName +
           ". Workers must be able to open connections to the machine of the program: look for a firewall, or set " +
           state_->config.advertised_setting + ". Spark says: " + http::printable(spark_message, 500);
  if (!spark_message.empty()) return "Spark says: " + http::printable(spark_message, 800);
  return "its launcher has not asked for the program yet: either Spark has just started it, or it cannot open "
         "connections to " +
         state_->advertised + " (" + state_->config.advertised_setting + ')';
}

SubmissionRequest make_submission(const NodeLaunch& launch, const LaunchTicket& ticket, const std::string& app_name) {
  SubmissionRequest request;
  request.app_resource = ticket.jar_url;
  request.main_class = kLauncherClass;
  request.environment = ticket.environment;
  request.spark_properties = {
      {"spark.app.name", app_name},
      {"spark.driver.cores", std::to_string(launch.cores)},
      {"spark.driver.memory", std::to_string(launch.memory_mib) + 'm'},
      {"spark.driver.supervise", "false"},
      // The memory is the node's, and its -Xmx comes before these options: of two the last counts.
      {"spark.driver.extraJavaOptions",
       "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xms4m -Xmx32m -Xss256k -XX:MinHeapFreeRatio=5 "
       "-XX:MaxHeapFreeRatio=15"},
  };
  if (launch.gpus > 0) request.spark_properties["spark.driver.resource.gpu.amount"] = std::to_string(launch.gpus);
  return request;
}

}  // namespace rayx::spark
