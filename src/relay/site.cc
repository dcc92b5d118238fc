#include "relay/site.hpp"

#include <utility>

#include "process/spawn_self.hpp"
#include "worker/worker_main.hpp"

namespace rayx::relay {

std::function<std::string(std::uint32_t, shm::Offset, std::uint64_t)> worker_config(
    double cpus, bool is_alone, std::chrono::nanoseconds submit_timeout, std::size_t pending_max) {
  return [cpus, is_alone, submit_timeout, pending_max](std::uint32_t slot, shm::Offset modules, std::uint64_t bytes) {
    worker::WorkerConfig config;
    config.slot = slot;
    config.processes = node::Node::kProcesses;
    config.lanes = node::Node::kLanes;
    config.cpus = cpus;
    config.is_alone = is_alone ? 1 : 0;
    config.submit_timeout_ns = submit_timeout.count();
    config.pending_max = pending_max;
    config.modules = modules;
    config.modules_bytes = bytes;
    return std::string(reinterpret_cast<const char*>(&config), sizeof(config));
  };
}

Result<std::unique_ptr<Site>> Site::start(SiteConfig config) {
  std::unique_ptr<Site> site(new Site);
  Site* const self = site.get();
  const std::string modules = config.node.modules;
  const std::uint64_t cpu_units = static_cast<std::uint64_t>(config.node.cpus) * shm::kCpuUnits;
  config.node.worker_config =
      worker_config(config.node.cpus, config.is_alone, config.submit_timeout, config.pending_max);
  config.node.has_relay = true;
  config.node.first_generation = static_cast<std::uint32_t>(process::random_word() & 0xfff);
  // What the node has to say before the relay is made is in the arena when the first peer comes.
  config.node.tell_relay = [self](node::RelayNews news) {
    if (Relay* const relay = self->hears_.load(std::memory_order_acquire)) relay->hear(std::move(news));
  };
  config.node.has_places = config.places != nullptr;
  config.node.is_all_here = config.is_alone;
  config.node.places_of_class = [self](const base::Where& where) { return self->relay_->places_of_class(where); };
  const std::chrono::nanoseconds store_timeout = config.node.store_timeout;
  Result<std::unique_ptr<node::Node>> node = node::Node::start(std::move(config.node));
  if (!node) return std::move(node).error();
  site->node_ = std::move(*node);
  Result<worker::FunctionNumbers> numbers = worker::FunctionNumbers::decode(modules, {});
  if (!numbers) return std::move(numbers).error();
  site->numbers_ = std::make_unique<worker::FunctionNumbers>(std::move(*numbers));
  const std::uint32_t me = site->node_->relay_slot();
  const shm::Control control(site->node_->arena().segment());
  site->memory_ = std::make_unique<DeskMemory>(*site->node_, me, store_timeout);
  site->asker_ = std::make_unique<worker::NodeAsker>(control.header().node_calls, control.slot(me).calls, me,
                                                     site->node_->eventfd());
  RelayConfig relay;
  relay.client.arena = &site->node_->arena();
  relay.client.processes = node::Node::kProcesses;
  relay.client.lanes = node::Node::kLanes;
  relay.client.me = me;
  relay.client.numbers = site->numbers_.get();
  relay.client.memory = site->memory_.get();
  relay.client.asker = site->asker_.get();
  relay.client.submit_timeout = config.submit_timeout;
  relay.client.pending_max = config.pending_max;
  relay.cpu_units = cpu_units;
  relay.site = config.site;
  relay.node = config.node_id;
  if (config.site.node) relay.node = config.site.is_detached ? base::alias_of(config.site) : config.site.node;
  while (!relay.node) relay.node = base::NodeId{process::random_word()};
  relay.name = std::move(config.name);
  relay.labels = std::move(config.labels);
  relay.places = config.places;
  relay.patience_ns = config.patience_ns;
  relay.arena = site->node_->share_arena();
  relay.store_use = [self] { return self->node_->desk().used_bytes(); };
  relay.store_timeout = store_timeout;
  site->relay_ = std::make_unique<Relay>(relay);
  site->hears_.store(site->relay_.get(), std::memory_order_release);
  return site;
}

void Site::stop() noexcept {
  if (is_stopped_ || relay_ == nullptr) return;
  is_stopped_ = true;
  relay_->shutdown();
  // In a forked child nobody of this process asks, and the calls in the arena are the parent's.
  if (!relay_->is_in_forked_child()) {
    node_->desk().close();
    asker_->close();
  }
  node_->stop();
}

}  // namespace rayx::relay
