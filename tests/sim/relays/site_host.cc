#include "site_host.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "story.hpp"
#include "worker/asked_memory.hpp"
#include "worker/worker_main.hpp"

namespace rayx::sim {

using relay::OutgoingValue;

namespace {

int null_fd() {
  static const int fd = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  return fd;
}

}  // namespace

// ---- Links

bool SimLink::send_after(std::vector<OutgoingValue> values, std::vector<std::byte> frame) {
  if (!is_open_) return false;
  if (values.empty()) {
    put({std::move(frame), 0, 0, nullptr});
    return true;
  }
  outgoing_.push_back({std::move(values), 0, 0, std::move(frame)});
  pump_later();
  return true;
}

void SimLink::put(RelayMessage message) {
  struct Flight {
    std::weak_ptr<SimLink> link;
    std::uint64_t bytes;
    ~Flight() {
      const std::shared_ptr<SimLink> there = link.lock();
      if (there == nullptr) return;
      const bool was_congested = there->is_congested();
      there->in_flight_ -= bytes;
      if (!was_congested || there->is_congested() || !there->is_open_) return;
      there->site_.post([&site = there->site_, peer = there->peer] { site.relay().peer_is_writable(peer); });
    }
  };
  in_flight_ += message.bytes.size();
  message.flight = std::make_shared<Flight>(Flight{{}, 0});
  static_cast<Flight*>(message.flight.get())->link = weak_from_this();
  static_cast<Flight*>(message.flight.get())->bytes = message.bytes.size();
  site_.network().send(site_.endpoint(), connection_, std::move(message));
}

void SimLink::pump_later() {
  if (std::exchange(is_pumping_, true)) return;
  site_.machine().events().after(site_.machine().chance().between(5'000, 300'000), [there = weak_from_this()] {
    if (const std::shared_ptr<SimLink> self = there.lock()) self->pump();
  });
}

// A piece of one of the values that are being sent; the frame behind them when all of its values have left, so others overtake it.
void SimLink::pump() {
  is_pumping_ = false;
  if (!is_open_ || outgoing_.empty()) return;
  Chance& chance = site_.machine().chance();
  const std::size_t which = chance.one_in(3) ? chance.below(outgoing_.size()) : 0;
  Outgoing& it = outgoing_[which];
  if (it.next < it.values.size()) {
    const OutgoingValue& value = it.values[it.next];
    const std::uint64_t bytes = std::min<std::uint64_t>(value.bytes.size() - it.offset, 160'000);
    RelayMessage piece;
    piece.stream = value.stream;
    piece.offset = it.offset;
    piece.bytes.assign(value.bytes.begin() + static_cast<std::ptrdiff_t>(it.offset),
                       value.bytes.begin() + static_cast<std::ptrdiff_t>(it.offset + bytes));
    it.offset += bytes;
    if (it.offset == value.bytes.size()) ++it.next, it.offset = 0;
    put(std::move(piece));
  }
  if (it.next == it.values.size()) {
    site_.streams_sent += it.values.size();
    put({std::move(it.frame), 0, 0, nullptr});
    const Outgoing sent = std::move(it);  // goes when the books of this link are in order
    outgoing_.erase(outgoing_.begin() + static_cast<std::ptrdiff_t>(which));
  }
  if (!outgoing_.empty()) pump_later();
}

void SimLink::close() {
  is_open_ = false;
  const std::vector<Outgoing> dropped = std::exchange(outgoing_, {});
}

// ---- The site

SiteHost::SiteHost(Machine& machine, Network& network, SiteHosts& hosts, HostId host, base::NodeId node,
                   SiteOptions options)
    : machine_(machine), network_(network), hosts_(hosts), host_(host), node_(node), options_(std::move(options)) {}
SiteHost::~SiteHost() = default;

const std::string& SiteHost::modules() {
  static const std::string encoded = worker::FunctionNumbers(worker::loaded_modules()).encode();
  return encoded;
}

void SiteHost::start(std::function<void()> ready) {
  process_ = &machine_.add_process(host_);
  machine_.start(*process_, [this, ready = std::move(ready)] {
    relay::SiteConfig config;
    config.node.cpus = options_.cpus;
    config.node.store_bytes = options_.store_bytes;
    config.node.max_workers = 60;  // as many as may wait while a head is away
    config.node.modules = modules();
    config.node.out_fd = config.node.err_fd = null_fd();
    config.node_id = node_;
    config.name = "site " + std::to_string(host_);
    config.labels = options_.labels;
    config.patience_ns = options_.patience_ns;
    config.places = hosts_.places_of(*this);
    Result<std::unique_ptr<relay::Site>> site = relay::Site::start(std::move(config));
    RAYX_CHECK(bool(site), "a simulated site does not start", host_);
    site_ = std::move(*site);
    me_ = network_.attach(host_, *this);
    ready();
    serve();
  });
}

void SiteHost::serve() {
  for (;;) {
    while (inbox_.empty()) machine_.wait(&inbox_, base::kNever);
    const std::function<void()> what = std::move(inbox_.front());
    inbox_.pop_front();
    what();
  }
}

void SiteHost::post(std::function<void()> what) {
  inbox_.push_back(std::move(what));
  machine_.wake(&inbox_, 1);
}

void SiteHost::power_off() {
  if (std::exchange(is_off_, true)) return;
  if (me_ != 0) network_.detach(me_, true);
  machine_.kill_host(host_);
  workers.clear();
  for (auto& [connection, open] : links_) open.link->close();
  links_.clear();
}

void SiteHost::connect(SiteHost& other) {
  if (connecting_.contains(other.node_id())) return;
  const std::uint64_t attempt = ++attempts_;
  connecting_[other.node_id()] = attempt;
  network_.connect(me_, other.endpoint(), other.host());
  // Where the hosts are cut off from each other nothing comes back.
  machine_.events().after(100 * kMillisecond, [this, &other, attempt] {
    const auto found = connecting_.find(other.node_id());
    if (is_off_ || found == connecting_.end() || found->second != attempt) return;
    connecting_.erase(found);
    hosts_.link_failed(*this, other);
  });
}

// A site that connects once more has heard of the end of the link before: what comes there later is not for this one.
void SiteHost::open_link(ConnectionId connection, HostId host, base::NodeId node) {
  for (auto it = links_.begin(); it != links_.end();) {
    if (it->second.host != host) {
      ++it;
      continue;
    }
    network_.close(me_, it->first);
    drop_link(it->first, it->second.link);
    it = links_.erase(it);
  }
  Open& opened = links_[connection];
  opened = {std::make_shared<SimLink>(*this, connection, options_.congested_bytes), host};
  post([this, link = opened.link, host, node] {
    link->peer = relay().add_peer("site " + std::to_string(host), link, node);
    machine_.log("site %u has peer %u: site %u", host_, link->peer, host);
  });
}

void SiteHost::drop_link(ConnectionId connection, std::shared_ptr<SimLink> link) {
  hosts_.link_breaks(connection);
  post([this, link = std::move(link)] {
    link->close();
    machine_.log("site %u removes peer %u", host_, link->peer);
    relay().remove_peer(link->peer, "the link is closed");
    g_scene->story.loss();  // also of what was handed out since it broke
  });
}

// Who connects says which site it is (host::PeerHello).
void SiteHost::on_accepted(ConnectionId connection) {
  const HostId other = network_.other_host(me_, connection);
  open_link(connection, other, hosts_.find(other)->node_id());
}
void SiteHost::on_connected(std::uint64_t token, ConnectionId connection) {
  SiteHost* const other = hosts_.find(static_cast<HostId>(token));
  if (connecting_.erase(other->node_id()) == 0) return network_.close(me_, connection);  // it was given up
  if (closed_early_.erase(connection) != 0) return hosts_.link_failed(*this, *other);
  hosts_.link_opened(*this, *other, connection);
  open_link(connection, other->host(), other->node_id());
  // What the other side has said at once may be here before.
  for (RelayMessage& message : std::exchange(early_[connection], {})) on_message(connection, std::move(message));
  early_.erase(connection);
}
void SiteHost::on_connect_failed(std::uint64_t token) {
  SiteHost* const other = hosts_.find(static_cast<HostId>(token));
  if (connecting_.erase(other->node_id()) == 0) return;
  hosts_.link_failed(*this, *other);
}

void SiteHost::on_closed(ConnectionId connection) {
  const auto found = links_.find(connection);
  early_.erase(connection);
  if (found == links_.end()) {
    closed_early_.insert(connection);
    return;
  }
  const std::shared_ptr<SimLink> link = found->second.link;
  links_.erase(found);
  drop_link(connection, link);
}

void SiteHost::on_message(ConnectionId connection, RelayMessage message) {
  const auto found = links_.find(connection);
  if (found == links_.end()) return early_[connection].push_back(std::move(message));
  const auto shared = std::make_shared<RelayMessage>(std::move(message));
  post([this, link = found->second.link, shared] {
    shared->flight.reset();
    if (shared->stream != 0) {
      const std::span<std::byte> place =
          relay().place_for_value(link->peer, shared->stream, shared->offset, shared->bytes.size());
      if (place.empty()) return;
      std::memcpy(place.data(), shared->bytes.data(), shared->bytes.size());
      return relay().value_arrived(link->peer, shared->stream, shared->bytes.size());
    }
    machine_.log("site %u has frame %d of %zu bytes from peer %u", host_,
                 static_cast<int>(relay::kind_of(shared->bytes)), shared->bytes.size(), link->peer);
    const Result<void> done = relay().receive(link->peer, shared->bytes);
    RAYX_CHECK(bool(done), "a relay cannot read what another one has sent", host_);
  });
}

// ---- Processes

// As relay::DeskMemory, whose wait would hold up everybody.
class SiteHost::DriverMemory final : public worker::MemorySource {
 public:
  explicit DriverMemory(SiteHost& host)
      : host_(host), desk_(host.site_->node(), host.site_->node().driver_slot(), std::chrono::seconds(10)) {}
  Result<worker::LeasedMemory> lease_extent(std::uint64_t bytes, bool may_wait) override {
    return ask(may_wait, [&] { return desk_.lease_extent(bytes, false); });
  }
  Result<worker::LeasedMemory> lease_slab(bool may_wait) override {
    return ask(may_wait, [&] { return desk_.lease_slab(false); });
  }
  void release(shm::Offset offset) override { desk_.release(offset); }

 private:
  template <class Ask>
  Result<worker::LeasedMemory> ask(bool may_wait, Ask&& lease) {
    const TimeNs until = host_.machine_.now() + 10 * kSecond;
    for (;;) {
      Result<worker::LeasedMemory> leased = lease();
      if (leased || !may_wait || host_.machine_.now() >= until) return leased;
      host_.machine_.rest(5 * kMillisecond);
    }
  }
  SiteHost& host_;
  relay::DeskMemory desk_;
};

worker::Client& SiteHost::make_driver() {
  node::Node& node = site_->node();
  const std::uint32_t me = node.driver_slot();
  const shm::Control control(node.arena().segment());
  driver_memory_ = std::make_unique<DriverMemory>(*this);
  driver_asker_ =
      std::make_unique<worker::NodeAsker>(control.header().node_calls, control.slot(me).calls, me, node.eventfd());
  driver_numbers_ = std::make_unique<worker::FunctionNumbers>(worker::loaded_modules());
  worker::ClientConfig config;
  config.arena = &node.arena();
  config.me = me;
  config.numbers = driver_numbers_.get();
  config.memory = driver_memory_.get();
  config.asker = driver_asker_.get();
  config.is_alone = false;
  driver_ = std::make_unique<worker::Client>(config);
  process_->backend = driver_.get();
  return *driver_;
}

// worker::worker_main, in the arena that the node has mapped.
void SiteHost::run_worker(const std::string& bytes) {
  worker::WorkerConfig config;
  RAYX_CHECK(bytes.size() == sizeof(config), "a worker's configuration is not of this build", bytes.size());
  std::memcpy(&config, bytes.data(), sizeof(config));
  const shm::Arena& arena = site_->node().arena();
  const shm::Control control(arena.segment());
  Result<worker::FunctionNumbers> numbers = worker::FunctionNumbers::decode(modules(), worker::loaded_modules());
  RAYX_CHECK(bool(numbers), "a worker does not know its functions", host_);
  auto& asker = *new worker::NodeAsker(control.header().node_calls, control.slot(config.slot).calls, config.slot,
                                       site_->node().eventfd());
  worker::ClientConfig client_config;
  client_config.arena = &arena;
  client_config.processes = config.processes;
  client_config.lanes = config.lanes;
  client_config.me = config.slot;
  client_config.numbers = new worker::FunctionNumbers(std::move(*numbers));
  client_config.memory = new worker::AskedMemory(asker);
  client_config.asker = &asker;
  client_config.cpus = config.cpus;
  client_config.is_alone = config.is_alone != 0;
  client_config.submit_timeout = std::chrono::nanoseconds(config.submit_timeout_ns);
  client_config.pending_max = config.pending_max;
  auto& client = *new worker::Client(client_config);
  Process& process = machine_.process();
  process.backend = &client;
  detail::g_current_backend.store(&client, std::memory_order_relaxed);
  workers[process.id] = &client;
  machine_.log("site %u has a worker: process %u, slot %u", host_, process.id, config.slot);
  (new worker::ExecutorLoop(client, config.slot))->serve();
}

}  // namespace rayx::sim
