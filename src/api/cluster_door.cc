// The door of clusters: rayx/cluster.hpp.
#include <algorithm>
#include <cstdio>
#include <mutex>
#include <utility>
#include <vector>

#include "api/active_cluster.hpp"
#include "api/cluster_setup.hpp"
#include "api/config.hpp"
#include "process/take_over.hpp"
#include "rayx/errors.hpp"
#include "wire/endpoint.hpp"

namespace rayx {

// ---- Cluster

Cluster ClusterAccess::make(std::shared_ptr<detail::ClusterHolder> holder) {
  Cluster cluster;
  cluster.state_ = std::make_shared<Cluster::State>(Cluster::State{std::move(holder)});
  return cluster;
}

namespace detail {
namespace {

// All that this process has set up and that are not destroyed.
struct Clusters {
  std::mutex mutex;
  std::vector<std::weak_ptr<ClusterHolder>> all;
};
Clusters& clusters() {
  static Clusters* const instance = new Clusters;
  return *instance;
}

Error bad(const std::string& who, const std::string& what) {
  return {ErrorCode::kInvalidConfig, "rayx: setup_cluster: " + who + "::" + what};
}

Result<void> check_bytes(const ClusterConfig& config, const std::string& who) {
  constexpr std::uint64_t kBytesMin = 1 << 20;
  for (const auto& [name, bytes] : {std::pair("memory_bytes", config.memory_bytes),
                                    {"store_bytes", config.store_bytes},
                                    {"head_store_bytes", config.head_store_bytes}})
    if (bytes > 0 && bytes < kBytesMin)
      return bad(who, std::string(name) + " is " + std::to_string(bytes) +
                          ", in bytes; it must be 1 MiB (1048576) at least, or 0 for the default");
  if (config.memory_bytes > 0 && config.store_bytes > config.memory_bytes)
    return bad(who, "store_bytes is " + std::to_string(config.store_bytes) +
                        ", and memory_bytes, of which it is a part, " + std::to_string(config.memory_bytes) +
                        "; give less to the store, or more to the node");
  if (config.head_store_bytes > 0 && config.head_num_cpus == 0)
    return bad(who,
               "head_store_bytes is " + std::to_string(config.head_store_bytes) +
                   ", and the head has no store as long as no task runs there; set head_num_cpus too, or leave it 0");
  return {};
}

Result<void> check_paths_and_hosts(const ClusterConfig& config, const std::string& who) {
  if (!config.temp_directory.empty() && config.temp_directory.front() != '/')
    return bad(who, "temp_directory is \"" + config.temp_directory +
                        "\"; it must be an absolute path, because nodes are started in folders of all kinds");
  // Head and program server each have a port of their own, which the system chooses.
  if (const Result<wire::Endpoint> whole = wire::Endpoint::parse(config.advertise); whole)
    return bad(who, "advertise is \"" + config.advertise + "\"; give the host alone, \"" + whole->host +
                        "\": the ports are chosen by the system");
  return {};
}

}  // namespace

Result<cluster::Spec> spec_of(const ClusterConfig& config, const std::string& who) {
  cluster::Spec spec;
  const bool is_fixed = config.num_nodes != 0;
  if (is_fixed && (config.min_nodes != 0 || config.max_nodes != 0))
    return bad(who, "num_nodes is a fixed number of nodes; leave it 0 to give min_nodes and max_nodes");
  spec.nodes_min = is_fixed ? config.num_nodes : config.min_nodes;
  spec.nodes_max = is_fixed ? config.num_nodes : config.max_nodes;
  const std::string limit = std::to_string(cluster::kNodesMax);
  if (is_fixed && (config.num_nodes < 1 || config.num_nodes > cluster::kNodesMax))
    return bad(who, "num_nodes is " + std::to_string(config.num_nodes) + "; it must be from 1 to " + limit);
  if (!is_fixed && (spec.nodes_min < 1 || spec.nodes_max < spec.nodes_min || spec.nodes_max > cluster::kNodesMax))
    return bad(who, "min_nodes is " + std::to_string(spec.nodes_min) + " and max_nodes " +
                        std::to_string(spec.nodes_max) +
                        "; give num_nodes, or 1 <= min_nodes <= max_nodes <= " + limit);
  const auto is_between = [](int value, int most) { return value >= 0 && value <= most; };
  if (!is_between(config.num_cpus, 1024) || !is_between(config.head_num_cpus, 1024))
    return bad(who, "num_cpus and head_num_cpus must be from 0 to 1024");
  if (!is_between(config.num_gpus, 1024)) return bad(who, "num_gpus must be from 0 to 1024");
  if (!(config.upscaling_speed > 0)) return bad(who, "upscaling_speed must be more than 0");
  if (config.start_timeout <= Duration::zero() || config.idle_timeout < Duration::zero())
    return bad(who, "start_timeout must be more than 0, and idle_timeout not less than 0");
  for (const auto& [name, value] : config.environment)
    if (name.empty() || name.find('=') != std::string::npos || (name + value).find('\0') != std::string::npos)
      return bad(who, "environment has a variable \"" + name + "\", which cannot be given to a process");
  if (Result<void> right = check_bytes(config, who); !right) return std::move(right).error();
  if (Result<void> right = check_paths_and_hosts(config, who); !right) return std::move(right).error();
  spec.num_cpus = config.num_cpus;
  spec.num_gpus = config.num_gpus;
  spec.memory_bytes = config.memory_bytes;
  spec.store_bytes = config.store_bytes;
  spec.head_num_cpus = config.head_num_cpus;
  spec.head_store_bytes = config.head_store_bytes;
  constexpr std::uint64_t kHeadStoreBytes = std::uint64_t{256} << 20;
  if (spec.head_num_cpus > 0 && spec.head_store_bytes == 0)
    spec.head_store_bytes = std::min(kHeadStoreBytes, usable_memory_bytes() / 10);
  spec.listen = config.listen;
  spec.advertise = config.advertise;
  spec.environment = config.environment;
  spec.temp_directory = config.temp_directory;
  spec.collect_logs_to = config.collect_logs_to;
  spec.strict_mode = config.strict_mode;
  spec.is_global = config.is_global;
  spec.start_timeout_ns = config.start_timeout.count();
  spec.idle_timeout_ns = config.idle_timeout.count();
  spec.upscaling_speed = config.upscaling_speed;
  return spec;
}

bool wants_no_cluster() {
  // A static constructor's setup_cluster in a worker or node: what comes after it has to run.
  if (process::take_over_replaces_main()) return true;
  process::take_over_if_requested();
  if (!is_local_wanted()) return false;
  std::fprintf(stderr, "rayx: RAYX_LOCAL is set: all runs in this process, and no cluster is set up\n");
  return true;
}

Cluster start_cluster(HolderConfig config) {
  Result<std::shared_ptr<ClusterHolder>> holder = ClusterHolder::start(std::move(config));
  if (!holder) throw_error(std::move(holder).error());
  {
    const std::lock_guard lock(clusters().mutex);
    std::erase_if(clusters().all, [](const auto& it) { return it.expired(); });
    clusters().all.push_back(*holder);
  }
  return ClusterAccess::make(std::move(*holder));
}

}  // namespace detail

Cluster::Cluster() noexcept = default;
Cluster::Cluster(Cluster&&) noexcept = default;
Cluster& Cluster::operator=(Cluster&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
Cluster::~Cluster() = default;  // the holder's destructor shuts down

std::string Cluster::address() const { return state_ == nullptr ? "" : state_->holder->address(); }

std::vector<std::pair<std::string, std::string>> Cluster::environment() const {
  if (state_ == nullptr) return {};
  return {{"RAYX_ADDRESS", state_->holder->address()}, {"RAYX_TOKEN", state_->holder->token_hex()}};
}

int Cluster::nodes_ready() const { return state_ == nullptr ? 0 : state_->holder->nodes_ready(); }

bool Cluster::wait_for_nodes(int count, Duration timeout) const {
  return state_ != nullptr && state_->holder->wait_for_nodes(count, timeout);
}

void Cluster::shutdown() {
  if (state_ == nullptr) return;
  const Result<void> ended = state_->holder->shutdown();
  if (!ended) detail::throw_error(ended.error());
}

// ---- setup_cluster

Cluster setup_cluster(std::shared_ptr<ClusterProvider> provider, const ClusterConfig& config) {
  if (detail::wants_no_cluster()) return {};
  if (provider == nullptr)
    detail::throw_error({ErrorCode::kInvalidConfig, "rayx: setup_cluster: there is no provider"});
  Result<cluster::Spec> spec = detail::spec_of(config, "ClusterConfig");
  if (!spec) detail::throw_error(std::move(spec).error());
  spec->provider = cluster::kCalledProvider;
  spec->provider_name = provider->name();
  const ProviderAbilities abilities = provider->abilities();
  spec->has_capacity = abilities.has_capacity;
  spec->has_logs = abilities.has_logs;
  if (!spec->has_logs && !spec->collect_logs_to.empty())
    detail::throw_error(detail::bad("ClusterConfig", "collect_logs_to is \"" + spec->collect_logs_to +
                                                         "\", and the provider " + spec->provider_name +
                                                         " has no logs of its nodes (ProviderAbilities::has_logs); "
                                                         "leave it empty"));
  return detail::start_cluster({std::move(*spec), std::move(provider), {}, config.on_progress});
}

Cluster local::setup_cluster(const ClusterConfig& config) {
  if (detail::wants_no_cluster()) return {};
  Result<cluster::Spec> spec = detail::spec_of(config, "ClusterConfig");
  if (!spec) detail::throw_error(std::move(spec).error());
  if (spec->num_gpus != 0)
    detail::throw_error(detail::bad(
        "ClusterConfig", "num_gpus is " + std::to_string(spec->num_gpus) +
                             ", and nodes of this machine share its GPUs: none has some of its own. Leave it 0; "
                             "which GPUs all of them see, CUDA_VISIBLE_DEVICES in ClusterConfig::environment says"));
  spec->provider = cluster::kLocalProvider;
  // The nodes share the machine.
  const int nodes = spec->nodes_max;
  if (spec->num_cpus == 0) spec->num_cpus = std::max(1, detail::usable_cpus() / nodes);
  if (spec->store_bytes == 0) {
    const std::uint64_t all =
        spec->memory_bytes > 0 ? spec->memory_bytes : detail::usable_memory_bytes() / static_cast<std::uint64_t>(nodes);
    spec->store_bytes = std::max<std::uint64_t>(all / 10 * 3, 1 << 20);
  }
  return detail::start_cluster({std::move(*spec), {}, {}, config.on_progress});
}

Cluster local::setup_cluster(int num_nodes, ClusterConfig config) {
  config.num_nodes = num_nodes;
  return setup_cluster(config);
}

void shutdown_cluster() {
  std::vector<std::shared_ptr<detail::ClusterHolder>> all;
  {
    const std::lock_guard lock(detail::clusters().mutex);
    for (const auto& it : detail::clusters().all)
      if (std::shared_ptr<detail::ClusterHolder> holder = it.lock()) all.push_back(std::move(holder));
  }
  Result<void> outcome;
  for (const auto& holder : all)
    if (Result<void> ended = holder->shutdown(); !ended) outcome = std::move(ended);
  if (!outcome) detail::throw_error(outcome.error());
}

}  // namespace rayx
