// The door of clusters on Spark: rayx/spark.hpp.
#include "rayx/spark.hpp"

#include <cstdlib>
#include <utility>

#include "api/cluster_setup.hpp"
#include "api/spark_nodes.hpp"
#include "api/value_or_throw.hpp"
#include "rayx/errors.hpp"
#include "spark/masters.hpp"
#include "spark/node_provider.hpp"
#include "spark/node_sizes.hpp"

namespace rayx {
namespace detail {
namespace {

std::string given_or_variable(const std::string& given, const char* name) {
  if (!given.empty()) return given;
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

ClusterConfig common_part(const spark::SparkConfig& config) {
  return {.num_nodes = config.num_nodes,
          .min_nodes = config.min_nodes,
          .max_nodes = config.max_nodes,
          .num_cpus = config.num_cpus,
          .num_gpus = config.num_gpus,
          .memory_bytes = config.memory_bytes,
          .store_bytes = config.store_bytes,
          .head_num_cpus = config.head_num_cpus,
          .head_store_bytes = config.head_store_bytes,
          .listen = config.listen,
          .advertise = given_or_variable(config.advertise, "RAYX_ADVERTISE"),
          .environment = config.environment,
          .temp_directory = config.temp_directory,
          .collect_logs_to = config.collect_logs_to,
          .strict_mode = config.strict_mode,
          .is_global = config.is_global,
          .start_timeout = config.start_timeout,
          .idle_timeout = config.idle_timeout,
          .upscaling_speed = config.upscaling_speed,
          .on_progress = config.on_progress};
}

cluster::SparkSpec spark_spec_of(const spark::SparkConfig& config) {
  cluster::SparkSpec spec;
  spec.master = given_or_variable(config.master, "RAYX_SPARK_MASTER");
  if (spec.master.empty())
    throw_error({ErrorCode::kInvalidConfig,
                 "rayx: spark::setup_cluster: no master is named; set SparkConfig::master or RAYX_SPARK_MASTER to its "
                 "REST server, spark://host:6066"});
  spec.web = given_or_variable(config.web, "RAYX_SPARK_WEB");
  spec.jws_secret_file = config.jws_secret_file;  // else the environment's, which the keeper has too
  spec.app_name = config.app_name;
  spec.properties = config.spark_properties;
  return spec;
}

int count_workers(const cluster::SparkSpec& spec) {
  return value_or_throw(spark::count_workers(value_or_throw(make_spark_client(spec)).capacity()));
}

// What only Spark cares for.
Result<void> check(const spark::SparkConfig& config) {
  constexpr std::uint64_t kMemoryBytesMin = static_cast<std::uint64_t>(spark::kNodeMemoryMinMib) << 20;
  if (config.memory_bytes > 0 && config.memory_bytes < kMemoryBytesMin)
    return Error{ErrorCode::kInvalidConfig,
                 "rayx: setup_cluster: SparkConfig::memory_bytes is " + std::to_string(config.memory_bytes) +
                     ", and a node needs at least " + std::to_string(kMemoryBytesMin) + " (" +
                     std::to_string(spark::kNodeMemoryMinMib) + " MiB); 0 takes what a worker has"};
  return spark::check_properties(config.spark_properties);
}

}  // namespace
}  // namespace detail

Cluster spark::setup_cluster(const SparkConfig& config) {
  if (detail::wants_no_cluster()) return {};
  if (Result<void> right = detail::check(config); !right) detail::throw_error(std::move(right).error());
  const cluster::SparkSpec spark = detail::spark_spec_of(config);
  ClusterConfig common = detail::common_part(config);
  if (common.num_nodes == -1) common.num_nodes = detail::count_workers(spark);
  cluster::Spec spec = detail::value_or_throw(detail::spec_of(common, "SparkConfig"));
  spec.provider = cluster::kSparkProvider;
  spec.spark = spark;
  if (spec.listen.empty()) spec.listen = detail::value_or_throw(detail::address_towards_master(spark));
  return detail::start_cluster(
      {std::move(spec), {}, [spark] { return detail::make_spark_rescuer(spark); }, config.on_progress});
}

Cluster spark::setup_cluster(int num_nodes, SparkConfig config) {
  config.num_nodes = num_nodes;
  return setup_cluster(config);
}

void spark::shutdown_cluster() { rayx::shutdown_cluster(); }

}  // namespace rayx
