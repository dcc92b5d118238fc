// The driver's side of a runtime with processes: a node with its thread, and this process as a client of it.
#include <atomic>
#include <cstdio>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <pthread.h>
#include <unistd.h>

#include "api/active_cluster.hpp"
#include "api/global_cluster.hpp"
#include "host/cluster.hpp"
#include "host/daemon.hpp"
#include "host/local_places.hpp"
#include "node/node.hpp"
#include "process/spawn_self.hpp"
#include "process/take_over.hpp"
#include "rayx/detail/backend.hpp"
#include "rayx/detail/ref_count.hpp"
#include "relay/desk_memory.hpp"
#include "relay/site.hpp"
#include "worker/client.hpp"

namespace rayx::detail {
namespace {

// Where a driver's tasks run: its own site, or, in a cluster, one without CPUs whose relay hands them to others.
struct Home {
  std::unique_ptr<host::LocalPlaces> alone;  // one of the two, which outlives the site
  std::unique_ptr<host::Cluster> cluster;
  std::unique_ptr<relay::Site> site;

  node::Node& node() const { return site->node(); }
  void leave() noexcept {
    if (cluster != nullptr && !site->relay().is_in_forked_child()) cluster->leave();
    if (alone != nullptr) alone->stop();
    site->stop();
  }
};

// What the client of a driver stands on; constructed before it.
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
  client.is_alone = parts.home.alone != nullptr;
  client.submit_timeout = *config.submit_timeout;
  client.pending_max = *config.max_pending_tasks;
  return client;
}

class DriverBackend final : private DriverParts, public worker::Client {
 public:
  DriverBackend(Home&& started, worker::FunctionNumbers functions, const Config& config)
      : DriverParts(std::move(started), std::move(functions), config), Client(client_config(*this, config)) {}

  std::uint64_t store_used_bytes() noexcept override { return home.node().desk().leased_bytes(); }

  RefCell* create_actor(const TaskCall& call, const ActorOptions* options, Failure& failure) override {
    RefCell* const actor = Client::create_actor(call, options, failure);
    if (actor != nullptr && options != nullptr && options->detached && home.cluster != nullptr) begins(actor);
    return actor;
  }

  bool kill_actor(RefCell* actor, Failure& failure) override {
    const bool is_told = Client::kill_actor(actor, failure);
    if (is_told && home.cluster != nullptr) has_killed_.store(true, std::memory_order_relaxed);
    return is_told;
  }

  // The arena stays mapped as long as this object lives, which is as long as the process: the user may hold an Array in it, and a
  // thread of his may be on its way out of here. Its memory does not stay.
  void shutdown() noexcept override {
    if (!is_in_forked_child()) {
      wait_for_detached();
      wait_for_kills();
    }
    Client::shutdown();
    if (is_in_forked_child()) return home.leave();  // what is shared is the parent's
    home.node().desk().close();
    DriverParts::asker.close();
    home.leave();
    DriverParts::arena->release_store(kept_values());
  }

 private:
  static constexpr std::chrono::seconds kDetachedPatience{10};

  void begins(RefCell* actor) {
    const std::lock_guard lock(beginning_mutex_);
    std::erase_if(beginning_, [](RefCell* earlier) {
      const bool is_over = is_ready(earlier);
      if (is_over) drop_ref(earlier);
      return is_over;
    });
    count_up(actor);
    beginning_.push_back(actor);
  }
  // A detached actor has this program's files from this process. Where they are, and it lives, it needs the program no longer.
  void wait_for_detached() noexcept {
    const std::lock_guard lock(beginning_mutex_);
    if (beginning_.empty()) return;
    Failure failure;
    const DeadlineNs until = base::deadline_ns(base::SteadyClock().now_ns(), kDetachedPatience);
    if (wait_many(beginning_, beginning_.size(), until, failure) == WaitState::kTimedOut)
      std::fprintf(stderr,
                   "rayx: the program ends, and detached actors that it has made had not begun within %lld s. They may "
                   "never begin: there is no room for them, or their arguments are not there, or their constructors "
                   "take long. Wait for a call of each before the program ends\n",
                   static_cast<long long>(kDetachedPatience.count()));
    for (RefCell* const actor : beginning_) drop_ref(actor);
    beginning_.clear();
  }

  // A detached actor does not end with this program, so the head has to hear of its end: what is asked after that is answered after it.
  void wait_for_kills() noexcept {
    constexpr std::chrono::seconds kPatience{2};
    if (!has_killed_.load(std::memory_order_relaxed)) return;
    Failure failure;
    constexpr std::string_view kNobody = " ";
    RefCell* const answer = ask_cluster(ClusterQuestion::kFindActor, std::as_bytes(std::span(kNobody)), failure);
    if (answer == nullptr) return;
    wait_one(answer, base::deadline_ns(base::SteadyClock().now_ns(), kPatience), failure);
    drop_ref(answer);
  }

  std::atomic<bool> has_killed_{false};
  std::mutex beginning_mutex_;
  std::vector<RefCell*> beginning_;  // detached actors of this process, of which some may not live yet; one count each
};

// A child that the user's program forks has the driver's memory but not its threads: there is no runtime in it.
void forget_backend_in_child() { g_current_backend.store(nullptr, std::memory_order_release); }

std::unique_ptr<Backend> start_alone(const Config& config, relay::SiteConfig site_config,
                                     worker::FunctionNumbers numbers, Failure& failure) {
  Home home;
  site_config.node_id = base::NodeId{process::random_word() | 1};
  home.alone = std::make_unique<host::LocalPlaces>(site_config.node_id, site_config.node.cpus);
  site_config.places = home.alone.get();
  site_config.is_alone = true;
  site_config.name = host::host_name();
  Result<std::unique_ptr<relay::Site>> site = relay::Site::start(std::move(site_config));
  if (!site) {
    failure = std::make_unique<Error>(std::move(site).error());
    return nullptr;
  }
  home.site = std::move(*site);
  home.alone->open(home.site->relay());
  return std::make_unique<DriverBackend>(std::move(home), std::move(numbers), config);
}

std::unique_ptr<Backend> join_cluster(const Config& config, relay::SiteConfig site_config,
                                      worker::FunctionNumbers numbers, Failure& failure) {
  host::ClusterConfig cluster_config;
  cluster_config.address = *config.address;
  if (cluster_config.address == kGlobalAddress) {
    Result<ActiveCluster> global = find_global_cluster();
    if (!global) {
      failure = std::make_unique<Error>(std::move(global).error());
      return nullptr;
    }
    cluster_config.address = global->address;
    cluster_config.token = global->token;
  }
  if (const std::optional<ActiveCluster> active = active_cluster(); active && active->address == *config.address)
    cluster_config.token = active->token;
  cluster_config.modules = site_config.node.modules;
  cluster_config.submit_timeout = *config.submit_timeout;
  cluster_config.pending_max = static_cast<std::size_t>(*config.max_pending_tasks);
  site_config.node.cpus = 0;  // the cluster's are used
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
  relay::SiteConfig site;
  site.node.cpus = *config.num_cpus;
  site.node.store_bytes = *config.store_bytes;
  site.node.max_workers = *config.max_workers;
  site.node.store_timeout = *config.store_timeout;
  site.node.modules = numbers.encode();
  site.submit_timeout = *config.submit_timeout;
  site.pending_max = static_cast<std::size_t>(*config.max_pending_tasks);
  return config.address->empty() ? start_alone(config, std::move(site), std::move(numbers), failure)
                                 : join_cluster(config, std::move(site), std::move(numbers), failure);
}

}  // namespace rayx::detail
