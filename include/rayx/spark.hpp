// A cluster on the workers of a Spark cluster, on which nothing but Spark is installed. docs/spark.md is the guide.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <rayx/cluster.hpp>

#pragma GCC visibility push(default)
namespace rayx::spark {

struct SparkConfig {
  // RAYX_SPARK_MASTER: "spark://a:6066,b:6066", the REST server of each master.
  std::string master = {};
  // RAYX_SPARK_WEB: the masters' web pages, "http://a:8080,b:8080", which say what the workers have. Default: port 8080 of each.
  std::string web = {};
  // RAYX_SPARK_JWS_SECRET_FILE: the secret of a REST server behind JWSFilter, base64url, in a file of mode 0600.
  std::string jws_secret_file = {};
  std::string app_name = "rayx";  // on the master's page, before the node's name
  // Of each submission, over rayx's own. Refused are those that have a field here; spark.driver.extraJavaOptions come behind rayx's.
  std::vector<std::pair<std::string, std::string>> spark_properties = {};

  // As in ClusterConfig. A node has by default all that is free of a worker, or its share where nodes outnumber workers, and no GPU.
  int num_nodes = 0;
  int min_nodes = 0;
  int max_nodes = 0;
  int num_cpus = 0;
  int num_gpus = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t store_bytes = 0;
  int head_num_cpus = 0;
  std::uint64_t head_store_bytes = 0;
  std::string listen = {};
  std::string advertise = {};  // RAYX_ADVERTISE
  std::vector<std::pair<std::string, std::string>> environment = {};
  std::string temp_directory = {};
  std::string collect_logs_to = {};
  bool strict_mode = false;
  bool is_global = false;
  Duration start_timeout = std::chrono::seconds(45);
  Duration idle_timeout = std::chrono::seconds(60);
  double upscaling_speed = 1.0;
  std::function<void(const std::string& line)> on_progress = {};
};

// A cluster of nodes that are submissions to Spark, one each; see rayx::setup_cluster. -1 nodes: one for each worker.
Cluster setup_cluster(const SparkConfig& config);
Cluster setup_cluster(int num_nodes, SparkConfig config = {});
// The one of this user on this machine, which his other programs use with RAYX_ADDRESS=global: with SparkConfig::is_global.
inline Cluster setup_global_cluster(int num_nodes, SparkConfig config = {}) {
  config.is_global = true;
  return setup_cluster(num_nodes, std::move(config));
}

// rayx::shutdown_cluster.
void shutdown_cluster();

}  // namespace rayx::spark
#pragma GCC visibility pop
