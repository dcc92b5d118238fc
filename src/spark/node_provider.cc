#include "spark/node_provider.hpp"

#include <algorithm>
#include <utility>

#include "spark/launcher.hpp"

namespace rayx::spark {
namespace {

constexpr std::int64_t kMib = std::int64_t{1} << 20;
constexpr int kCreateAttempts = 2;  // with one ticket: of two that arrive one is turned away

constexpr const char* kJavaOptions = "spark.driver.extraJavaOptions";

struct Reserved {
  const char* property;
  const char* instead;
};
constexpr Reserved kReserved[] = {
    {"spark.driver.cores", "set SparkConfig::num_cpus"},
    {"spark.driver.memory", "set SparkConfig::memory_bytes"},
    {"spark.driver.resource.gpu.amount", "set SparkConfig::num_gpus"},
    {"spark.driver.supervise", "leave it out: rayx replaces a node that ends by a new one"},
    {"spark.submit.deployMode", "leave it out: a node is always a driver on a worker"},
};

}  // namespace

Result<void> check_properties(const std::vector<std::pair<std::string, std::string>>& properties) {
  for (const auto& [name, value] : properties)
    for (const Reserved& reserved : kReserved)
      if (name == reserved.property)
        return Error{ErrorCode::kInvalidConfig, "rayx: Spark: SparkConfig::spark_properties has " + name +
                                                    ", which rayx sets itself; " + reserved.instead};
  return {};
}

Result<NodeSize> NodeProvider::size_of(const NodeRequest& request) {
  const NodeSize asked{request.num_cpus, static_cast<std::int64_t>(request.memory_bytes / kMib), request.num_gpus};
  Result<Capacity> capacity = client_.capacity();
  if (!capacity) {
    // Whether it fits is then Spark's to find out.
    if (asked.cores > 0 && asked.memory_mib > 0) return asked;
    return without_capacity(capacity.error(), "SparkConfig::num_cpus and SparkConfig::memory_bytes");
  }
  if (Result<void> fits = check_size(*capacity, asked); !fits) return std::move(fits).error();
  if (asked.cores > 0 && asked.memory_mib > 0) return asked;
  std::vector<NodeSize> used;
  for (const auto& [id, node] : nodes_)
    if (!node.is_over) used.push_back(node.size);
  // As long as nodes of ours are there the shares stay: what is free now is what these have left.
  if (used.empty() || shares_.empty()) shares_ = share_workers(*capacity, config_.nodes_max, asked.gpus);
  return choose_size(shares_, asked, used);
}

Result<void> NodeProvider::judge(const NodeSize& size) {
  const std::string doubt = doubt_about(size, config_.store_bytes);
  if (doubt.empty()) return {};
  if (config_.is_strict)
    return Error{ErrorCode::kInvalidConfig,
                 "rayx: Spark: " + doubt + ". SparkConfig::strict_mode makes an error of it"};
  if (std::exchange(doubt_told_, doubt) != doubt && config_.log) config_.log(doubt);
  return {};
}

Result<NodeSubmission> NodeProvider::submit(const NodeRequest& request) {
  if (server_ == nullptr) return Error{ErrorCode::kUnsupported, "rayx: Spark: there is no program server"};
  Result<NodeSize> size = size_of(request);
  if (!size) return std::move(size).error();
  if (Result<void> judged = judge(*size); !judged) return std::move(judged).error();
  Result<NodeSubmission> submission = create(request, *size);
  if (!submission) {
    server_->revoke(request.name);
    return submission;
  }
  nodes_[submission->id] = {request.name, *size, false};
  return submission;
}

Result<NodeSubmission> NodeProvider::create(const NodeRequest& request, const NodeSize& size) {
  NodeLaunch launch;
  launch.name = request.name;
  launch.cores = size.cores;
  launch.memory_mib = size.memory_mib;
  launch.gpus = size.gpus;
  launch.environment = {request.environment.begin(), request.environment.end()};
  launch.input = request.input;
  Result<LaunchTicket> ticket = server_->admit(launch);
  if (!ticket) return std::move(ticket).error();
  SubmissionRequest submission = make_submission(launch, *ticket, config_.app_name + ' ' + request.name);
  for (const auto& [name, value] : config_.properties) {
    std::string& property = submission.spark_properties[name];
    property =
        name == kJavaOptions ? property + ' ' + value : value;  // of two that say something else Java takes the last
  }
  if (!config_.launcher_cache.empty()) submission.environment[kLauncherCacheVariable] = config_.launcher_cache;
  Error last;
  for (int attempt = 0; attempt < kCreateAttempts; ++attempt) {
    Result<Creation> creation = client_.create(submission);
    if (!creation) return std::move(creation).error();
    if (creation->certainty == Creation::Certainty::kAccepted) return NodeSubmission{creation->submission_id};
    last = {ErrorCode::kSystemError, creation->what_happened};
  }
  return last;
}

Result<NodeStatus> NodeProvider::status(const std::string& id) {
  Result<SubmissionStatus> status = client_.status(id);
  if (!status) return std::move(status).error();
  const auto found = nodes_.find(id);
  const std::string worker = status->worker_address.substr(0, status->worker_address.rfind(':'));
  if (is_over(status->state)) {
    if (found == nodes_.end() || server_ == nullptr)
      return NodeStatus{NodeState::kEnded, worker, std::string(to_string(status->state))};
    found->second.is_over = true;
    return NodeStatus{NodeState::kEnded, worker,
                      "submission " + id + " is " + std::string(to_string(status->state)) + ": " +
                          server_->explain(found->second.name, status->message)};
  }
  if (found == nodes_.end() || server_ == nullptr) return NodeStatus{NodeState::kRunning, worker, ""};
  if (status->state == DriverState::kSubmitted || status->state == DriverState::kRelaunching)
    return NodeStatus{NodeState::kWaiting, worker, what_it_waits_for(found->second.size)};
  const std::optional<LaunchReport> report = server_->report(found->second.name);
  const bool is_fetching = report && report->stage == LaunchStage::kStarting;
  return NodeStatus{is_fetching ? NodeState::kFetching : NodeState::kRunning, worker,
                    server_->explain(found->second.name, status->message)};
}

std::string NodeProvider::what_it_waits_for(const NodeSize& size) {
  const base::TimeNs now = clock_.now_ns();
  if (!known_ || now - known_at_ > kCapacityAgeMaxNs) {
    Result<Capacity> capacity = client_.capacity();
    known_at_ = now;
    if (!capacity) return "Spark has not placed it, and " + capacity.error().message;
    known_ = std::move(*capacity);
  }
  return describe_wait(*known_, size);
}

Result<void> NodeProvider::kill(const std::string& id) {
  const Result<KillOutcome> killed = client_.kill(id);
  if (!killed) return killed.error();
  return {};
}

Result<ProviderCapacity> NodeProvider::capacity() {
  const Result<Capacity> capacity = client_.capacity();
  if (!capacity) return capacity.error();
  ProviderCapacity all;
  for (const WorkerCapacity& worker : capacity->workers)
    if (worker.is_alive())
      all.hosts.push_back({worker.host, worker.cores, worker.cores_free,
                           static_cast<std::uint64_t>(worker.memory_mib * kMib),
                           static_cast<std::uint64_t>(worker.memory_free_mib * kMib)});
  return all;
}

Result<std::string> NodeProvider::logs(const std::string& id) {
  const auto found = nodes_.find(id);
  std::optional<LaunchReport> report;
  if (found != nodes_.end() && server_ != nullptr) report = server_->report(found->second.name);
  if (!report) return Error{ErrorCode::kNotFound, "rayx: Spark: nothing is known of submission " + id};
  std::string text;
  for (const std::string& line : report->last_lines) text += line + '\n';
  return text;
}

void NodeProvider::forget(const std::string& id) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) return;
  if (server_ != nullptr) server_->revoke(found->second.name);
  nodes_.erase(found);
}

}  // namespace rayx::spark
