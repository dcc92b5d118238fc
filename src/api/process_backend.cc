// The driver's side of a runtime with processes: a node with its thread, and this process as a client of it.
#include <string>
#include <utility>

#include <pthread.h>
#include <unistd.h>

#include "host/cluster.hpp"
#include "node/node.hpp"
#include "process/take_over.hpp"
#include "rayx/detail/backend.hpp"
#include "relay/desk_memory.hpp"
#include "relay/site.hpp"
#include "worker/client.hpp"

namespace rayx::detail {
namespace {

// What the client of a driver stands on; constructed before it.
// Where a driver's tasks run: its own node, or, in a cluster, a node without CPUs and the relay that hands them to others.
struct Home {
  std::unique_ptr<node::Node> alone;
  std::unique_ptr<host::Cluster> cluster;  // outlives the site
  std::unique_ptr<relay::Site> site;

  node::Node& node() const { return alone != nullptr ? *alone : site->node(); }
  void leave() noexcept {
    if (alone != nullptr) {
      alone->stop();
    } else {
      cluster->leave();
      site->stop();
    }
  }
};

struct DriverParts {
  DriverParts(Home&& started, worker::FunctionNumbers functions, const Config& config)
      : home(std::move(started)),
        arena(home.node().share_arena()),
        numbers(std::move(functions)),
        memory(home.node(), home.node().driver_slot(), *config.store_timeout),
        asker(shm::Control(arena->segment()).header().node_calls,
              shm::Control(arena->segment()).slot(home.node().driver_slot()).calls, home.node().driver_slot(),
              home.node().eventfd()) {}

  Home home;
  std::shared_ptr<const shm::Arena> arena;
  worker::FunctionNumbers numbers;
  relay::DeskMemory memory;
  worker::NodeAsker asker;
};

worker::ClientConfig client_config(DriverParts& parts, const Config& config) {
  worker::ClientConfig client;
  client.arena = parts.arena.get();
  client.processes = node::Node::kProcesses;
  client.lanes = node::Node::kLanes;
  client.me = parts.home.node().driver_slot();
  client.numbers = &parts.numbers;
  client.memory = &parts.memory;
  client.asker = &parts.asker;
  client.cpus = parts.home.alone != nullptr
                    ? *config.num_cpus
                    : static_cast<double>(parts.home.site->relay().total_units()) / shm::kCpuUnits;
  client.submit_timeout = *config.submit_timeout;
  client.pending_max = *config.max_pending_tasks;
  return client;
}

class DriverBackend final : private DriverParts, public worker::Client {
 public:
  DriverBackend(Home&& started, worker::FunctionNumbers functions, const Config& config)
      : DriverParts(std::move(started), std::move(functions), config), Client(client_config(*this, config)) {}

  std::uint64_t store_used_bytes() noexcept override { return home.node().desk().leased_bytes(); }

  // The arena stays mapped as long as this object lives, which is as long as the process: the user may hold an Array in it, and a
  // thread of his may be on its way out of here. Its memory does not stay.
  void shutdown() noexcept override {
    Client::shutdown();
    home.node().desk().close();
    DriverParts::asker.close();
    home.leave();
    if (!is_in_forked_child()) DriverParts::arena->release_store(kept_values());
  }
};

// A child that the user's program forks has the driver's memory but not its threads: there is no runtime in it.
void forget_backend_in_child() { g_current_backend.store(nullptr, std::memory_order_release); }

std::unique_ptr<Backend> join_cluster(const Config& config, node::NodeConfig node_config,
                                      worker::FunctionNumbers numbers, Failure& failure) {
  host::ClusterConfig cluster_config;
  cluster_config.address = *config.address;
  cluster_config.modules = node_config.modules;
  cluster_config.submit_timeout = *config.submit_timeout;
  cluster_config.pending_max = static_cast<std::size_t>(*config.max_pending_tasks);
  relay::SiteConfig site_config;
  site_config.node = std::move(node_config);
  site_config.node.cpus = 0;  // the cluster's are used
  site_config.submit_timeout = cluster_config.submit_timeout;
  site_config.pending_max = cluster_config.pending_max;
  Home home;
  Result<std::unique_ptr<host::Cluster>> cluster = host::Cluster::create(cluster_config);
  if (!cluster) {
    failure = std::make_unique<Error>(std::move(cluster).error());
    return nullptr;
  }
  home.cluster = std::move(*cluster);
  site_config.node_id = home.cluster->node_id();
  site_config.places = &home.cluster->places();
  Result<std::unique_ptr<relay::Site>> site = relay::Site::start(std::move(site_config));
  if (!site) {
    failure = std::make_unique<Error>(std::move(site).error());
    return nullptr;
  }
  home.site = std::move(*site);
  Result<void> joined = home.cluster->join(*home.site);
  if (!joined) {
    home.leave();
    failure = std::make_unique<Error>(std::move(joined).error());
    return nullptr;
  }
  return std::make_unique<DriverBackend>(std::move(home), std::move(numbers), config);
}

}  // namespace

std::unique_ptr<Backend> make_process_backend(const Config& config, Failure& failure) {
  process::take_over_if_requested();  // where it was not possible before main
  [[maybe_unused]] static const int registered = ::pthread_atfork(nullptr, nullptr, &forget_backend_in_child);
  worker::OwnerMutex::allow_bias();  // before there are threads of ours
  worker::FunctionNumbers numbers(worker::loaded_modules());
  node::NodeConfig node_config;
  node_config.cpus = *config.num_cpus;
  node_config.store_bytes = *config.store_bytes;
  node_config.max_workers = *config.max_workers;
  node_config.store_timeout = *config.store_timeout;
  node_config.modules = numbers.encode();
  if (!config.address->empty()) return join_cluster(config, std::move(node_config), std::move(numbers), failure);
  node_config.worker_config = relay::worker_config(*config.num_cpus, *config.submit_timeout,
                                                   static_cast<std::size_t>(*config.max_pending_tasks));
  Result<std::unique_ptr<node::Node>> started = node::Node::start(std::move(node_config));
  if (!started) {
    failure = std::make_unique<Error>(std::move(started).error());
    return nullptr;
  }
  return std::make_unique<DriverBackend>(Home{std::move(*started), nullptr, nullptr}, std::move(numbers), config);
}

}  // namespace rayx::detail
