// What a cluster is to be, as the driver tells its keeper.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cluster/json_lines.hpp"

namespace rayx::cluster {

using Pairs = std::vector<std::pair<std::string, std::string>>;

inline constexpr int kNodesMax = 1'000;  // of one cluster
inline constexpr const char* kLocalProvider = "local";
inline constexpr const char* kSparkProvider = "spark";
inline constexpr const char* kCalledProvider = "called";  // the driver's own

// Of Spark.
struct SparkSpec {
  std::string master;
  std::string web;
  std::string jws_secret_file;
  std::string app_name;
  Pairs properties;
};

struct Spec {
  std::string provider;
  std::string provider_name;  // of the driver's own, for messages
  bool has_capacity = false;
  bool has_logs = false;
  int nodes_min = 1;
  int nodes_max = 1;
  int num_cpus = 0;
  int num_gpus = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t store_bytes = 0;
  int head_num_cpus = 0;
  std::uint64_t head_store_bytes = 0;
  std::string listen;
  std::string advertise;
  Pairs environment;
  std::string temp_directory;
  std::string collect_logs_to;
  bool strict_mode = false;
  bool is_global = false;
  std::int64_t start_timeout_ns = 0;
  std::int64_t idle_timeout_ns = 0;
  double upscaling_speed = 1.0;
  SparkSpec spark;
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SparkSpec, master, web, jws_secret_file, app_name, properties)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Spec, provider, provider_name, has_capacity, has_logs, nodes_min, nodes_max,
                                   num_cpus, num_gpus, memory_bytes, store_bytes, head_num_cpus, head_store_bytes,
                                   listen, advertise, environment, temp_directory, collect_logs_to, strict_mode,
                                   is_global, start_timeout_ns, idle_timeout_ns, upscaling_speed, spark)

// What a node reads in the first line of its standard input.
struct NodeSpec {
  std::string head;   // "host:port"
  std::string token;  // hex
  std::string name;
  int num_cpus = 0;               // 0: what the launcher says, else all that it may use
  std::uint64_t store_bytes = 0;  // 0: 30 % of the reservation, else of what it may use
  std::string temp_directory;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(NodeSpec, head, token, name, num_cpus, store_bytes, temp_directory)

}  // namespace rayx::cluster
