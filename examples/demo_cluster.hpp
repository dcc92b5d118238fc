// What the four spark_*.cc have in common: on Spark if RAYX_SPARK_MASTER names one, else the same with nodes that are processes of this
// machine.
#pragma once

#include <rayx/rayx.hpp>

#include <cstdlib>
#include <string>
#include <vector>

inline rayx::Cluster demo_cluster(int nodes) {
  if (std::getenv("RAYX_SPARK_MASTER") != nullptr) return rayx::spark::setup_cluster(nodes);
  return rayx::local::setup_cluster(nodes);
}

// A task that is to run on this node and no other.
inline rayx::TaskOptions on(const rayx::NodeInfo& node) {
  return {.labels = {{.key = rayx::kNodeIdLabel, .values = {node.id}}}};
}

// The first argument of a program that takes a number of nodes.
inline int nodes_wanted(int argc, char** argv, int otherwise) {
  const int given = argc > 1 ? std::atoi(argv[1]) : 0;
  return given > 0 ? given : otherwise;
}
