// A program that sets up clusters for itself, in the ways that provider_test.cc asks for.
#include <rayx/rayx.hpp>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

std::string node_of_this_task() {
  for (const rayx::NodeInfo& node : rayx::nodes())
    if (node.is_here) return node.id;
  return "none";
}

struct Counter {
  int total = 0;
  int add(int value) { return total += value; }
};

int take_a_while() {
  ::poll(nullptr, 0, 300);
  return 1;
}

void wait_for_ever() {
  while (true) ::pause();
}

// Tasks on each node, an actor, and a value that goes from one to the others.
int work(int count) {
  rayx::Cluster cluster = rayx::local::setup_cluster(count, {.num_cpus = 1});
  {
    rayx::Runtime runtime = rayx::init();
    const std::vector<rayx::NodeInfo> nodes = rayx::nodes();
    std::set<std::string> names;
    int right = 0;
    for (const rayx::NodeInfo& node : nodes) {
      names.insert(node.name);
      const rayx::LabelSelector there{.key = rayx::kNodeIdLabel, .values = {node.id}};
      right += rayx::get(rayx::remote<node_of_this_task>(rayx::TaskOptions{.labels = {there}})) == node.id ? 1 : 0;
    }
    auto counter = rayx::actor<Counter>();
    (void)counter.call<&Counter::add>(40);
    std::cout << nodes.size() << " nodes, " << names.size() << " names, " << right << " tasks right, actor says "
              << rayx::get(counter.call<&Counter::add>(2)) << ", ready " << cluster.nodes_ready() << '\n';
  }
  cluster.shutdown();
  cluster.shutdown();
  std::cout << "after it: ready " << cluster.nodes_ready() << '\n';
  return 0;
}

int hold(int count) {
  rayx::Cluster cluster = rayx::local::setup_cluster(count, {.num_cpus = 1});
  rayx::Runtime runtime = rayx::init();
  static_cast<void>(rayx::get(rayx::remote<node_of_this_task>()));
  auto counter = rayx::actor<Counter>();
  rayx::get(counter.call<&Counter::add>(1));
  std::cout << "held\n" << std::flush;
  wait_for_ever();
  return 0;
}

// Waits for `count` nodes again and again, one line each time that they are complete after they were not.
int watch(int count) {
  rayx::Cluster cluster = rayx::local::setup_cluster(count, {.num_cpus = 1});
  std::cout << "complete\n" << std::flush;
  while (cluster.nodes_ready() == count) ::poll(nullptr, 0, 1);
  std::cout << "one is missing\n" << std::flush;
  if (!cluster.wait_for_nodes(count, std::chrono::seconds(60))) return 1;
  std::cout << "complete again\n" << std::flush;
  rayx::Runtime runtime = rayx::init();
  std::cout << rayx::nodes().size() << " nodes\n";
  return 0;
}

// Starts nodes as `sleep` would be one: processes that never join. The second one is refused.
class BadProvider final : public rayx::ClusterProvider {
 public:
  explicit BadProvider(std::string how) : how_(std::move(how)) {}
  std::string name() const override { return "bad"; }
  rayx::Result<rayx::NodeSubmission> submit(const rayx::NodeRequest& request) override {
    if (how_ == "throws") throw std::runtime_error("my own trouble");
    if (how_ == "refuses" && ++submitted_ == 2)
      return rayx::Error{rayx::ErrorCode::kSystemError, "no room for " + request.name};
    return rayx::NodeSubmission{request.name};
  }
  rayx::Result<rayx::NodeStatus> status(const std::string& id) override {
    if (killed_.contains(id)) return rayx::NodeStatus{rayx::NodeState::kEnded, "", "it was killed"};
    if (how_ == "dies") return rayx::NodeStatus{rayx::NodeState::kEnded, "host-1", "the disk of host-1 is full"};
    return rayx::NodeStatus{rayx::NodeState::kWaiting, "", "no host has room"};
  }
  rayx::Result<void> kill(const std::string& id) override {
    killed_.insert(id);
    std::cout << "killed " << id << '\n' << std::flush;
    return {};
  }

 private:
  const std::string how_;
  int submitted_ = 0;
  std::set<std::string> killed_;
};

int fail(const std::string& how) {
  try {
    rayx::Cluster cluster = rayx::setup_cluster(std::make_shared<BadProvider>(how),
                                                {.num_nodes = 2,
                                                 .temp_directory = "/proc/a-folder-of-the-nodes",
                                                 .start_timeout = std::chrono::seconds(how == "dies" ? 20 : 2)});
    std::cout << "it was set up\n";
  } catch (const rayx::Exception& error) {
    std::cout << "code " << rayx::to_string(error.code()) << ": " << error.what() << '\n';
  }
  return 0;
}

int refuse() {
  const auto attempt = [](const rayx::ClusterConfig& config) {
    try {
      rayx::Cluster cluster = rayx::local::setup_cluster(config);
      std::cout << "it was set up\n";
    } catch (const rayx::ConfigError& error) {
      std::cout << error.what() << '\n';
    }
  };
  attempt({});
  attempt({.num_nodes = -1});
  attempt({.num_nodes = 2, .max_nodes = 3});
  attempt({.min_nodes = 3, .max_nodes = 2});
  attempt({.num_nodes = 1, .num_cpus = -4});
  attempt({.num_nodes = 1, .environment = {{"A=B", "c"}}});
  attempt({.num_nodes = 1, .num_gpus = 2});
  attempt({.num_nodes = 1, .memory_bytes = 1000});
  attempt({.num_nodes = 1, .memory_bytes = 2 << 20, .store_bytes = 3 << 20});
  attempt({.num_nodes = 1, .head_store_bytes = 64 << 20});
  attempt({.num_nodes = 1, .advertise = "this-host:7077"});
  attempt({.num_nodes = 1, .temp_directory = "here"});
  attempt({.num_nodes = 1, .collect_logs_to = "/proc/rayx/logs"});
  try {
    rayx::Cluster cluster =
        rayx::setup_cluster(std::make_shared<BadProvider>("waits"), {.num_nodes = 1, .collect_logs_to = "logs"});
    std::cout << "it was set up\n";
  } catch (const rayx::ConfigError& error) {
    std::cout << error.what() << '\n';
  }
  return 0;
}

// Before the master is asked for anything: nobody is at that port.
int refuse_on_spark() {
  const auto attempt = [](rayx::spark::SparkConfig config) {
    config.master = "spark://127.0.0.1:1";
    try {
      rayx::Cluster cluster = rayx::spark::setup_cluster(config);
      std::cout << "it was set up\n";
    } catch (const rayx::ConfigError& error) {
      std::cout << error.what() << '\n';
    }
  };
  attempt({.spark_properties = {{"spark.driver.cores", "4"}}, .num_nodes = -1});
  attempt({.num_nodes = -1, .memory_bytes = std::uint64_t{100} << 20});
  attempt({.num_nodes = 1, .advertise = "this-host:7077"});
  return 0;
}

// The user's own function throws, and wants what it cannot have.
int progress() {
  rayx::Cluster thrown = rayx::local::setup_cluster(
      1, {.num_cpus = 1, .on_progress = [](const std::string&) { throw std::runtime_error("my own trouble"); }});
  std::cout << "ready " << thrown.nodes_ready() << '\n' << std::flush;
  thrown.shutdown();
  auto held = std::make_shared<rayx::Cluster>();
  auto said = std::make_shared<std::promise<void>>();
  *held = rayx::local::setup_cluster(
      {.min_nodes = 1, .max_nodes = 2, .num_cpus = 1, .on_progress = [held, said](const std::string& line) {
         if (!line.starts_with("2 of 2 ") || held->address().empty()) return;
         try {
           held->shutdown();
         } catch (const rayx::Exception& error) {
           std::cout << error.what() << '\n';
         }
         *held = {};  // the last holder goes where nobody may wait for its end
         said->set_value();
       }});
  {
    rayx::Runtime runtime = rayx::init();
    std::vector<rayx::ObjectRef<int>> tasks;
    for (int i = 0; i < 40; ++i) tasks.push_back(rayx::remote<take_a_while>());
    said->get_future().wait();
  }
  std::cout << "given up by itself\n";
  return 0;
}

// Programs are kept where the operator of a worker wants it, and last lines where the user does.
int folders(const std::string& folder) {
  {
    rayx::Cluster cluster = rayx::local::setup_cluster(1, {.num_cpus = 1,
                                                           .environment = {{"RAYX_LAUNCHER_CACHE", folder + "/cache"}},
                                                           .collect_logs_to = folder + "/logs/of/today"});
  }
  std::cout << "cache " << std::filesystem::exists(folder + "/cache/node/v1") << ", log "
            << std::filesystem::exists(folder + "/logs/of/today/local-1.log") << '\n';
  try {
    rayx::Cluster cluster = rayx::local::setup_cluster(1, {.num_cpus = 1, .temp_directory = "/proc/rayx"});
  } catch (const rayx::Exception& error) {
    std::cout << error.what() << '\n';
  }
  return 0;
}

// Programs that this one starts use the cluster when they are given what it says.
int child(const char* self) {
  rayx::Cluster cluster = rayx::local::setup_cluster(1, {.num_cpus = 1});
  std::string command;
  for (const auto& [name, value] : cluster.environment()) command += name + "=" + value + " ";
  return std::system((command + self + " join").c_str());
}

rayx::ObjectRef<int> put_one() { return rayx::put(1); }

// More tasks than the smallest cluster has room for; then none.
int grow() {
  rayx::Cluster cluster = rayx::local::setup_cluster(
      {.min_nodes = 1, .max_nodes = 3, .num_cpus = 1, .idle_timeout = std::chrono::seconds(2)});
  rayx::Runtime runtime = rayx::init();
  std::cout << "starts with " << cluster.nodes_ready() << '\n' << std::flush;
  std::vector<rayx::ObjectRef<int>> tasks;
  for (int i = 0; i < 60; ++i) tasks.push_back(rayx::remote<take_a_while>());
  std::cout << (cluster.wait_for_nodes(3, std::chrono::seconds(30)) ? "grew to 3\n" : "did not grow\n") << std::flush;
  int sum = 0;
  for (const int value : rayx::get(tasks)) sum += value;
  std::cout << sum << " tasks\n" << std::flush;
  // What lies on a node and is referred to keeps it.
  std::vector<rayx::ObjectRef<int>> objects;
  for (const rayx::NodeInfo& node : rayx::nodes()) {
    if (node.num_cpus < 1) continue;
    rayx::TaskOptions there;
    there.labels = {{rayx::kNodeIdLabel, {node.id}}};
    objects.push_back(rayx::get(rayx::remote<put_one>(there)));
  }
  for (int i = 0; i < 500 && cluster.nodes_ready() == 3; ++i) ::poll(nullptr, 0, 10);
  int held = 0;
  for (const int value : rayx::get(objects)) held += value;
  std::cout << cluster.nodes_ready() << " nodes hold " << held << " objects\n" << std::flush;
  objects.clear();
  while (cluster.nodes_ready() > 1) ::poll(nullptr, 0, 10);
  std::cout << "shrank to " << cluster.nodes_ready() << ", and works: " << rayx::get(rayx::remote<take_a_while>())
            << '\n';
  return 0;
}

int take_seconds() {
  ::poll(nullptr, 0, 4'000);
  return 1;
}

// Three tasks, of which one has no room on the first node: another node has room for two. One or two more may be asked for before the
// head hears that the task has its place.
int grow_a_little() {
  rayx::Cluster cluster = rayx::local::setup_cluster({.min_nodes = 1, .max_nodes = 8, .num_cpus = 2});
  rayx::Runtime runtime = rayx::init();
  std::vector<rayx::ObjectRef<int>> tasks;
  for (int i = 0; i < 3; ++i) tasks.push_back(rayx::remote<take_seconds>());
  static_cast<void>(rayx::get(tasks));
  std::cout << (cluster.nodes_ready() <= 4 ? "no more than it needs\n" : "too many\n");
  return 0;
}

int global(const char* self) {
  rayx::Cluster cluster = rayx::local::setup_global_cluster(1, {.num_cpus = 1});
  const int joined = std::system((std::string("RAYX_ADDRESS=global ") + self + " join").c_str());
  const int refused = std::system((std::string(self) + " second").c_str());
  cluster.shutdown();
  const int gone = std::system((std::string("RAYX_ADDRESS=global ") + self + " join").c_str());
  return joined == 0 && refused == 0 && gone != 0 ? 0 : 1;
}

int second() {
  try {
    rayx::Cluster cluster = rayx::local::setup_cluster(1, {.is_global = true});
    return 1;
  } catch (const rayx::AlreadyInitialized& error) {
    std::cout << error.what() << '\n';
    return 0;
  }
}

int join() {
  rayx::Runtime runtime = rayx::init();
  std::cout << "joined a cluster of " << rayx::nodes().size() << '\n';
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const std::string more = argc > 2 ? argv[2] : "";
  try {
    if (what == "work") return work(std::atoi(more.c_str()));
    if (what == "hold") return hold(std::atoi(more.c_str()));
    if (what == "watch") return watch(std::atoi(more.c_str()));
    if (what == "fail") return fail(more);
    if (what == "refuse") return refuse();
    if (what == "refuse-on-spark") return refuse_on_spark();
    if (what == "progress") return progress();
    if (what == "folders") return folders(more);
    if (what == "child") return child(argv[0]);
    if (what == "join") return join();
    if (what == "grow") return grow();
    if (what == "grow-a-little") return grow_a_little();
    if (what == "global") return global(argv[0]);
    if (what == "second") return second();
  } catch (const std::exception& error) {
    std::cout << "exception: " << error.what() << '\n';
    return 1;
  }
  return 2;
}
