#include "api/spark_nodes.hpp"

#include <utility>

#include "api/route.hpp"
#include "base/clock.hpp"
#include "bundle/running_program.hpp"
#include "spark/masters.hpp"
#include "spark/node_provider.hpp"
#include "spark/program_server.hpp"

namespace rayx::detail {
namespace {

constexpr std::chrono::seconds kRestTimeout{10};  // of one call: the keeper hears nothing else meanwhile
const base::SteadyClock kClock;

}  // namespace

Result<spark::SparkRestClient> make_spark_client(const cluster::SparkSpec& spec) {
  spark::RestClientOptions options;
  options.masters = spec.master;
  options.web = spec.web;
  options.total_timeout = kRestTimeout;
  if (!spec.jws_secret_file.empty()) {
    Result<spark::JwsSecret> secret = spark::JwsSecret::from_file(spec.jws_secret_file);
    if (!secret) return std::move(secret).error();
    options.jws_secret = std::move(*secret);
  } else {
    Result<std::optional<spark::JwsSecret>> secret = spark::JwsSecret::from_environment();
    if (!secret) return std::move(secret).error();
    options.jws_secret = std::move(*secret);
  }
  return spark::SparkRestClient::make(std::move(options));
}

Result<std::string> address_towards_master(const cluster::SparkSpec& spec) {
  Result<std::vector<wire::Endpoint>> masters = spark::parse_masters(spec.master, spark::kRestPort);
  if (!masters) return std::move(masters).error();
  Error last;
  for (const wire::Endpoint& master : *masters) {
    Result<std::string> address = address_towards(master);
    if (address) return address;
    last = address.error();
  }
  last.message += "; set SparkConfig::master (RAYX_SPARK_MASTER), or SparkConfig::listen";
  return last;
}

Result<std::unique_ptr<ClusterProvider>> make_spark_provider(const cluster::Spec& spec,
                                                             std::function<void(const std::string&)> log) {
  Result<spark::SparkRestClient> client = make_spark_client(spec.spark);
  if (!client) return std::move(client).error();
  bundle::FileDigests digests;
  Result<bundle::RunningProgram> program = bundle::describe_running_program(digests);
  if (!program) return std::move(program).error();
  spark::ProgramServerConfig config;
  config.program = std::make_shared<const bundle::RunningProgram>(std::move(*program));
  config.address = spec.listen;
  config.advertised = spec.advertise;
  config.advertised_setting = "SparkConfig::advertise (RAYX_ADVERTISE)";
  config.log = log;
  Result<std::unique_ptr<spark::ProgramServer>> server = spark::ProgramServer::start(std::move(config));
  if (!server) return std::move(server).error();
  spark::NodeProviderConfig provider;
  provider.app_name = spec.spark.app_name;
  provider.properties = spec.spark.properties;
  provider.launcher_cache = spec.temp_directory;
  provider.nodes_max = spec.nodes_max;
  provider.store_bytes = spec.store_bytes;
  provider.is_strict = spec.strict_mode;
  provider.log = std::move(log);
  return std::unique_ptr<ClusterProvider>(
      std::make_unique<spark::NodeProvider>(std::move(provider), std::move(*client), std::move(*server), kClock));
}

Result<std::shared_ptr<ClusterProvider>> make_spark_rescuer(const cluster::SparkSpec& spec) {
  Result<spark::SparkRestClient> client = make_spark_client(spec);
  if (!client) return std::move(client).error();
  return std::shared_ptr<ClusterProvider>(
      std::make_shared<spark::NodeProvider>(spark::NodeProviderConfig{}, std::move(*client), nullptr, kClock));
}

}  // namespace rayx::detail
