// From a SparkSpec to what asks Spark for nodes.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cluster/spec.hpp"
#include "rayx/cluster_provider.hpp"
#include "rayx/result.hpp"
#include "spark/rest_client.hpp"

namespace rayx::detail {

Result<spark::SparkRestClient> make_spark_client(const cluster::SparkSpec& spec);
// Of this machine's addresses the one that its packets to the master have.
Result<std::string> address_towards_master(const cluster::SparkSpec& spec);
// For the keeper: also serves this program to the launchers, at the address where the head listens.
Result<std::unique_ptr<ClusterProvider>> make_spark_provider(const cluster::Spec& spec,
                                                             std::function<void(const std::string&)> log);
// Can only end what the keeper has submitted.
Result<std::shared_ptr<ClusterProvider>> make_spark_rescuer(const cluster::SparkSpec& spec);

}  // namespace rayx::detail
