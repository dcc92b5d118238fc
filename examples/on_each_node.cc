// The nodes of the cluster, and a task on each of them: by its id, which every node has as a label. Alone, a program is a cluster of one.
#include <rayx/rayx.hpp>

#include <iostream>
#include <string>
#include <vector>

// What runs inside a task knows where it is.
std::string node_of_this_task() {
  for (const rayx::NodeInfo& node : rayx::nodes())
    if (node.is_here) return node.id;
  return "none";
}

int main() {
  rayx::Runtime runtime = rayx::init();
  const std::vector<rayx::NodeInfo> nodes = rayx::nodes();

  std::vector<rayx::ObjectRef<std::string>> ran;
  for (const rayx::NodeInfo& node : nodes) {
    const rayx::LabelSelector there{.key = rayx::kNodeIdLabel, .values = {node.id}};
    ran.push_back(rayx::remote<node_of_this_task>(rayx::TaskOptions{.labels = {there}}));
  }
  std::size_t right = 0;
  for (std::size_t i = 0; i < nodes.size(); ++i) right += rayx::get(ran[i]) == nodes[i].id ? 1 : 0;
  std::cout << right << " of " << nodes.size() << " nodes did the task that named it\n";

  try {
    const rayx::LabelSelector gpu{.key = "gpu", .values = {"h100"}};
    rayx::get(rayx::remote<node_of_this_task>(rayx::TaskOptions{.labels = {gpu}}));
  } catch (const rayx::InvalidArgument&) {
    std::cout << "no node has the GPU, so the task was refused\n";  // error.what() says which labels none has
  }
}
