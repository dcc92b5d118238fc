// A program that sets up clusters on Spark, in the ways that cluster_test.cc asks for. Where Spark is, its environment says.
#include <rayx/rayx.hpp>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include <poll.h>
#include <unistd.h>

namespace {

std::string node_of_this_task() {
  for (const rayx::NodeInfo& node : rayx::nodes())
    if (node.is_here) return node.id;
  return "none";
}

std::vector<int> make(int count) {
  std::vector<int> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 0);
  return values;
}

std::int64_t sum(const std::vector<int>& values) {
  return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

struct Counter {
  int total = 0;
  int add(int value) { return total += value; }
  std::string node() { return node_of_this_task(); }
};

rayx::TaskOptions on(const rayx::NodeInfo& node) {
  return {.labels = {{.key = rayx::kNodeIdLabel, .values = {node.id}}}};
}

// Tasks and an actor on each node, and a value that one node makes and all the others read.
int use(std::size_t wanted) {
  rayx::Runtime runtime = rayx::init();
  const std::vector<rayx::NodeInfo> nodes = rayx::nodes();
  int tasks = 0;
  int actors = 0;
  int values = 0;
  const auto made = rayx::remote<make>(on(nodes.front()), 1'000'000);
  for (const rayx::NodeInfo& node : nodes) {
    tasks += rayx::get(rayx::remote<node_of_this_task>(on(node))) == node.id ? 1 : 0;
    values += rayx::get(rayx::remote<sum>(on(node), made)) == 499'999'500'000 ? 1 : 0;
    rayx::ActorOptions there;
    there.labels = on(node).labels;
    auto counter = rayx::actor<Counter>(there);
    (void)counter.call<&Counter::add>(40);
    actors += rayx::get(counter.call<&Counter::add>(2)) == 42 && rayx::get(counter.call<&Counter::node>()) == node.id;
  }
  std::cout << nodes.size() << " nodes, " << tasks << " tasks, " << actors << " actors, " << values << " values\n";
  return nodes.size() == wanted ? 0 : 1;
}

int work(int count) {
  rayx::Cluster cluster = rayx::spark::setup_cluster(count);
  const int failed = use(static_cast<std::size_t>(count));
  rayx::spark::shutdown_cluster();
  std::cout << "shut down\n";
  return failed;
}

int hold(int count) {
  rayx::Cluster cluster = rayx::spark::setup_cluster(count);
  rayx::Runtime runtime = rayx::init();
  std::cout << "held\n" << std::flush;
  while (true) ::poll(nullptr, 0, 1'000);
}

volatile std::sig_atomic_t is_asked = 0;

// Uses it, and once more when it is told to by SIGUSR1.
int serve(int count) {
  std::signal(SIGUSR1, [](int) { is_asked = 1; });
  rayx::Cluster cluster = rayx::spark::setup_cluster(count);
  int failed = use(static_cast<std::size_t>(count));
  std::cout << std::flush;
  while (is_asked == 0) ::poll(nullptr, 0, 1'000);
  std::cout << "once more: ";
  failed += use(static_cast<std::size_t>(count));
  rayx::spark::shutdown_cluster();
  std::cout << "shut down\n";
  return failed;
}

std::string nap_and_tell() {
  ::poll(nullptr, 0, 500);
  return node_of_this_task();
}

// From so many nodes to as many as its tasks need, and back.
int scale(int nodes_min, int nodes_max) {
  rayx::spark::SparkConfig config;
  config.min_nodes = nodes_min;
  config.max_nodes = nodes_max;
  config.num_cpus = 1;
  config.idle_timeout = std::chrono::seconds(2);
  rayx::Cluster cluster = rayx::spark::setup_cluster(config);
  std::cout << cluster.nodes_ready() << " node at first\n" << std::flush;
  rayx::Runtime runtime = rayx::init();
  std::vector<rayx::ObjectRef<std::string>> tasks;
  for (int i = 0; i < 40; ++i) tasks.push_back(rayx::remote<nap_and_tell>());
  if (!cluster.wait_for_nodes(nodes_max, std::chrono::seconds(90))) return 1;
  std::cout << cluster.nodes_ready() << " nodes at most\n" << std::flush;
  // What was handed out to the first node stays there.
  for (int i = 0; i < 40; ++i) tasks.push_back(rayx::remote<nap_and_tell>());
  std::set<std::string> used;
  for (const std::string& node : rayx::get(tasks)) used.insert(node);
  std::cout << tasks.size() / 2 << " tasks on " << used.size() << " nodes\n" << std::flush;
  for (int i = 0; cluster.nodes_ready() > nodes_min && i < 6'000; ++i) ::poll(nullptr, 0, 10);
  std::cout << cluster.nodes_ready() << " node at last\n";
  return 0;
}

std::string own_gpus() {
  const char* const gpus = std::getenv("CUDA_VISIBLE_DEVICES");
  return gpus == nullptr ? "none" : gpus;
}

int gpus(int nodes, int each) {
  rayx::Cluster cluster = rayx::spark::setup_cluster(nodes, {.num_gpus = each});
  rayx::Runtime runtime = rayx::init();
  int with_gpus = 0;
  for (const rayx::NodeInfo& node : rayx::nodes()) {
    const std::string list = rayx::get(rayx::remote<own_gpus>(on(node)));
    with_gpus += list == "0" || list == "1" ? 1 : 0;
  }
  std::cout << with_gpus << " nodes with " << each << " GPU each\n";
  return 0;
}

struct Surroundings {
  bool has_folder = false;
  bool has_library = false;
};
Surroundings look_around(const std::string& program) {
  Surroundings seen;
  seen.has_folder = ::access(program.c_str(), F_OK) == 0;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (line.find("librayx.so") != std::string::npos) seen.has_library = true;
  return seen;
}

int bare(int count) {
  char path[4096] = {};
  if (::readlink("/proc/self/exe", path, sizeof(path) - 1) <= 0) return 1;
  rayx::Cluster cluster = rayx::spark::setup_cluster(count);
  rayx::Runtime runtime = rayx::init();
  const Surroundings seen = rayx::get(rayx::remote<look_around>(on(rayx::nodes().front()), std::string(path)));
  std::cout << "the program's folder is there: " << seen.has_folder
            << "; librayx is mapped from below: " << seen.has_library << '\n';
  return 0;
}

// Waits until a node is gone, and until there are as many as before.
int watch(int count) {
  rayx::Cluster cluster = rayx::spark::setup_cluster(count);
  std::cout << "complete\n" << std::flush;
  while (cluster.nodes_ready() == count) ::poll(nullptr, 0, 1);
  std::cout << "one is missing\n" << std::flush;
  if (!cluster.wait_for_nodes(count, std::chrono::seconds(90))) return 1;
  std::cout << "complete again\n" << std::flush;
  return use(static_cast<std::size_t>(count));
}

int fail(rayx::spark::SparkConfig config, int seconds) {
  config.start_timeout = std::chrono::seconds(seconds);
  try {
    rayx::Cluster cluster = rayx::spark::setup_cluster(config);
    std::cout << "it was set up with " << cluster.nodes_ready() << " nodes\n";
  } catch (const rayx::Exception& error) {
    std::cout << "error: " << error.what() << '\n';
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const int count = argc > 2 ? std::atoi(argv[2]) : 1;
  const int more = argc > 3 ? std::atoi(argv[3]) : 0;
  try {
    if (what == "work") return work(count);
    if (what == "hold") return hold(count);
    if (what == "serve") return serve(count);
    if (what == "watch") return watch(count);
    if (what == "scale") return scale(count, more);
    if (what == "gpus") return gpus(count, more);
    if (what == "many-gpus") return fail({.num_nodes = 1, .num_gpus = 9}, 20);
    if (what == "bare") return bare(count);
    if (what == "many-cores") return fail({.num_nodes = 1, .num_cpus = 64}, 20);
    if (what == "much-memory") return fail({.num_nodes = 1, .memory_bytes = std::uint64_t{64} << 30}, 20);
    if (what == "too-many")
      return fail({.num_nodes = count, .num_cpus = more, .memory_bytes = std::uint64_t{512} << 20}, 25);
    if (what == "strict")
      return fail({.num_nodes = count, .num_cpus = more, .memory_bytes = std::uint64_t{512} << 20, .strict_mode = true},
                  25);
    if (what == "plain") return fail({.num_nodes = 1}, 20);
  } catch (const std::exception& error) {
    std::cout << "exception: " << error.what() << '\n';
    return 1;
  }
  return 2;
}
