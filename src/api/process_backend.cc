// The driver's side of a runtime with processes: a node with its thread, and this process as a client of it.
#include <string>
#include <utility>

#include <pthread.h>
#include <unistd.h>

#include "node/node.hpp"
#include "rayx/detail/backend.hpp"
#include "worker/client.hpp"
#include "worker/memory_source.hpp"
#include "worker/worker_main.hpp"

namespace rayx::detail {
namespace {

// The driver asks the node's books in its own process: no message, no waiting for the node's thread.
class DeskMemory final : public worker::MemorySource {
 public:
  DeskMemory(node::Node& node, std::chrono::nanoseconds timeout) : node_(node), timeout_(timeout) {}

  Result<worker::LeasedMemory> lease_extent(std::uint64_t bytes, bool may_wait) override {
    return lease(bytes, false, may_wait);
  }
  Result<worker::LeasedMemory> lease_slab(bool may_wait) override { return lease(shm::kSlabBytes, true, may_wait); }
  void release(shm::Offset offset) override {
    bool wake_node = false;
    [[maybe_unused]] const bool known = node_.desk().release(offset, wake_node);
    RAYX_DCHECK(known, "memory is released that was not leased", offset);
    if (wake_node) node_.ring();
  }

 private:
  Result<worker::LeasedMemory> lease(std::uint64_t bytes, bool is_slab, bool may_wait) {
    store::LeaseRequest request;
    request.lessee = node_.driver_slot();
    request.bytes = bytes;
    request.is_slab = is_slab;
    const base::TimeNs now = base::SteadyClock().now_ns();
    request.deadline_ns = may_wait ? base::deadline_ns(now, timeout_) : now;
    Result<store::Lease> lease = node_.desk().lease(request);
    if (!lease) return std::move(lease).error();
    return worker::LeasedMemory{lease->extent.offset, lease->serial};
  }

  node::Node& node_;
  const std::chrono::nanoseconds timeout_;
};

// What the client of a driver stands on; constructed before it.
struct DriverParts {
  DriverParts(std::unique_ptr<node::Node> started, worker::FunctionNumbers functions, const Config& config)
      : node(std::move(started)),
        arena(node->share_arena()),
        numbers(std::move(functions)),
        memory(*node, *config.store_timeout),
        asker(shm::Control(arena->segment()).header().node_calls,
              shm::Control(arena->segment()).slot(node->driver_slot()).calls, node->driver_slot(), node->eventfd()) {}

  std::unique_ptr<node::Node> node;
  std::shared_ptr<const shm::Arena> arena;
  worker::FunctionNumbers numbers;
  DeskMemory memory;
  worker::NodeAsker asker;
};

worker::ClientConfig client_config(DriverParts& parts, const Config& config) {
  worker::ClientConfig client;
  client.arena = parts.arena.get();
  client.processes = node::Node::kProcesses;
  client.lanes = node::Node::kLanes;
  client.me = parts.node->driver_slot();
  client.numbers = &parts.numbers;
  client.memory = &parts.memory;
  client.asker = &parts.asker;
  client.cpus = *config.num_cpus;
  client.submit_timeout = *config.submit_timeout;
  client.pending_max = *config.max_pending_tasks;
  return client;
}

class DriverBackend final : private DriverParts, public worker::Client {
 public:
  DriverBackend(std::unique_ptr<node::Node> started, worker::FunctionNumbers functions, const Config& config)
      : DriverParts(std::move(started), std::move(functions), config), Client(client_config(*this, config)) {}

  std::uint64_t store_used_bytes() noexcept override { return DriverParts::node->desk().leased_bytes(); }

  // The arena stays mapped as long as this object lives, which is as long as the process: the user may hold an Array in it, and a
  // thread of his may be on its way out of here. Its memory does not stay.
  void shutdown() noexcept override {
    Client::shutdown();
    DriverParts::node->desk().close();
    DriverParts::asker.close();
    DriverParts::node->stop();
    if (!is_in_forked_child()) DriverParts::arena->release_store(kept_values());
  }
};

// A child that the user's program forks has the driver's memory but not its threads: there is no runtime in it.
void forget_backend_in_child() { g_current_backend.store(nullptr, std::memory_order_release); }

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
  node_config.worker_config = [cpus = *config.num_cpus, timeout = *config.submit_timeout,
                               pending_max = *config.max_pending_tasks](std::uint32_t slot, shm::Offset modules,
                                                                        std::uint64_t bytes) {
    worker::WorkerConfig worker;
    worker.slot = slot;
    worker.processes = node::Node::kProcesses;
    worker.lanes = node::Node::kLanes;
    worker.cpus = cpus;
    worker.submit_timeout_ns = timeout.count();
    worker.pending_max = pending_max;
    worker.modules = modules;
    worker.modules_bytes = bytes;
    return std::string(reinterpret_cast<const char*>(&worker), sizeof(worker));
  };
  Result<std::unique_ptr<node::Node>> started = node::Node::start(std::move(node_config));
  if (!started) {
    failure = std::make_unique<Error>(std::move(started).error());
    return nullptr;
  }
  return std::make_unique<DriverBackend>(std::move(*started), std::move(numbers), config);
}

}  // namespace rayx::detail
