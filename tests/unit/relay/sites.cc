#include "sites.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <iterator>
#include <mutex>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "process/spawn_self.hpp"
#include "relay/site.hpp"
#include "test_cluster.hpp"
#include "worker/client.hpp"

namespace rayx::relay::test {

namespace {

class Pipe final : public PeerLink {
 public:
  explicit Pipe(std::uint64_t delay_seed) : has_delays_(delay_seed != 0), random_(delay_seed) {}
  ~Pipe() override { cut(); }
  bool is_congested() const override { return false; }
  bool send(std::vector<std::byte> frame) override { return send_after({}, std::move(frame)); }
  bool send_after(std::vector<OutgoingValue> values, std::vector<std::byte> frame) override {
    const std::lock_guard lock(mutex_);
    if (is_cut_) return false;
    // As on the network: who waits for the last byte of a stream is overtaken.
    (has_delays_ && !values.empty() ? late_ : frames_).push_back({std::move(values), std::move(frame), ++last_});
    ready_.notify_one();
    return true;
  }
  // Frames go to `relay`, from its peer `from`.
  void deliver_to(Relay& relay, PeerId from) {
    thread_ = std::thread([this, &relay, from] {
      for (;;) {
        Item item;
        if (has_delays_ && random_() % 4 == 0)
          for (std::uint64_t turns = random_() % 200; turns != 0; --turns) std::this_thread::yield();
        {
          std::unique_lock lock(mutex_);
          ready_.wait(lock, [this] { return is_cut_ || !frames_.empty() || !late_.empty(); });
          if (is_cut_) break;
          // It overtakes nothing itself.
          const bool may_take_late =
              !late_.empty() && (frames_.empty() || late_.front().number < frames_.front().number);
          const bool takes_late = may_take_late && (frames_.empty() || random_() % 3 == 0);
          std::deque<Item>& from_queue = takes_late ? late_ : frames_;
          item = std::move(from_queue.front());
          from_queue.pop_front();
        }
        for (const OutgoingValue& value : item.values) {
          deliver(relay, from, value);
          sent_bytes_.fetch_add(value.bytes.size(), std::memory_order_relaxed);
        }
        const Result<void> done = relay.receive(from, item.frame);
        if (!done) throw std::runtime_error(done.error().message);
      }
      relay.remove_peer(from, "the pipe was cut");
    });
  }
  void cut() {
    {
      const std::lock_guard lock(mutex_);
      is_cut_ = true;
      ready_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
    frames_.clear();
    late_.clear();
  }
  std::uint64_t sent_bytes() const { return sent_bytes_.load(std::memory_order_relaxed); }

 private:
  struct Item {
    std::vector<OutgoingValue> values;
    std::vector<std::byte> frame;
    std::uint64_t number = 0;
  };
  static void deliver(Relay& relay, PeerId from, const OutgoingValue& value) {
    constexpr std::size_t kChunk = 100'000;
    for (std::size_t at = 0; at < value.bytes.size(); at += kChunk) {
      const auto chunk = value.bytes.subspan(at, std::min(kChunk, value.bytes.size() - at));
      const std::span<std::byte> place = relay.place_for_value(from, value.stream, at, chunk.size());
      if (place.empty()) continue;
      std::memcpy(place.data(), chunk.data(), chunk.size());
      relay.value_arrived(from, value.stream, chunk.size());
    }
  }

  const bool has_delays_;
  std::mt19937_64 random_;  // the delivering thread's
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Item> frames_;
  std::deque<Item> late_;
  std::uint64_t last_ = 0;
  bool is_cut_ = false;
  std::atomic<std::uint64_t> sent_bytes_{0};
  std::thread thread_;
};

}  // namespace

struct Sites::Parts {
  struct Link {
    std::size_t from;
    std::size_t to;
    std::shared_ptr<Pipe> there;  // frames to `to`
    std::shared_ptr<Pipe> back;
    bool joins(std::size_t a, std::size_t b) const { return (from == a && to == b) || (from == b && to == a); }
    void cut() {
      there->cut();
      back->cut();
    }
  };
  Options options;
  worker::FunctionNumbers numbers{worker::loaded_modules()};
  std::unique_ptr<TestCluster> cluster;      // before the sites, which use it
  std::vector<std::unique_ptr<Site>> sites;  // the driver's first
  std::unique_ptr<DeskMemory> memory;
  std::unique_ptr<worker::NodeAsker> asker;
  std::unique_ptr<worker::Client> driver;
  std::vector<Link> links;
  std::uint64_t pipes = 0;
  std::set<std::size_t> cut_off;
  std::uint64_t units = 0;  // CPUs of the others

  void start_site(int cpus) {
    SiteConfig config;
    config.node.cpus = cpus;
    if (sites.size() == 1) config.node.shared_cpus = options.shared_cpus;
    config.node.store_bytes =
        sites.empty() && options.driver_store_bytes != 0 ? options.driver_store_bytes : options.store_bytes;
    config.node.store_timeout = options.store_timeout;
    config.node.max_workers = 63;
    config.node.modules = numbers.encode();
    if (options.patience_ns) config.patience_ns = *options.patience_ns;
    config.node_id = base::NodeId{process::random_word() | 1};
    config.name = "site " + std::to_string(sites.size());
    if (!sites.empty() && sites.size() <= options.labels.size()) config.labels = options.labels[sites.size() - 1];
    if (cluster != nullptr) config.places = &cluster->add_member(config.node_id, cpus, config.labels);
    Result<std::unique_ptr<Site>> site = Site::start(std::move(config));
    if (!site) throw std::runtime_error(site.error().message);
    {
      const std::lock_guard lock(mutex);
      sites.push_back(std::move(*site));
    }
    if (cluster != nullptr) cluster->attach(sites.size() - 1, sites.back()->relay());
  }
  // Why there is none, or nothing.
  std::string link(std::size_t from, std::size_t to) {
    const std::lock_guard lock(mutex);
    if (cut_off.contains(from) || cut_off.contains(to)) return "the pipe was cut";
    if (options.are_apart && from != 0 && to != 0) return "there is no way";
    for (const Link& link : links)
      if (link.joins(from, to)) return {};
    const auto name = [](std::size_t site) { return site == 0 ? "the driver's" : "site " + std::to_string(site); };
    const auto pipe = [this] {
      return std::make_shared<Pipe>(options.delay_seed == 0 ? 0 : options.delay_seed + ++pipes);
    };
    Link& link = links.emplace_back(Link{from, to, pipe(), pipe()});
    const PeerId there = sites[from]->relay().add_peer(name(to), link.there, sites[to]->relay().node());
    const PeerId here = sites[to]->relay().add_peer(name(from), link.back);
    link.there->deliver_to(sites[to]->relay(), here);
    link.back->deliver_to(sites[from]->relay(), there);
    return {};
  }
  std::mutex mutex;  // of links, cut_off and sites
};

Sites::Sites(const Options& options) : parts_(std::make_unique<Parts>()) {
  worker::OwnerMutex::allow_bias();
  Parts& p = *parts_;
  p.options = options;
  if (options.is_mesh)
    p.cluster = std::make_unique<TestCluster>([&p](std::size_t from, std::size_t to) { return p.link(from, to); });
  p.start_site(0);
  Site& mine = *p.sites[0];
  const std::uint32_t me = mine.node().driver_slot();
  const shm::Control control(mine.node().arena().segment());
  p.memory = std::make_unique<DeskMemory>(mine.node(), me, std::chrono::seconds(10));
  p.asker = std::make_unique<worker::NodeAsker>(control.header().node_calls, control.slot(me).calls, me,
                                                mine.node().eventfd());
  worker::ClientConfig config;
  config.arena = &mine.node().arena();
  config.me = me;
  config.numbers = &p.numbers;
  config.memory = p.memory.get();
  config.asker = p.asker.get();
  config.cpus = options.cpus;
  config.is_alone = false;
  p.driver = std::make_unique<worker::Client>(config);
  for (int i = 0; i < options.others; ++i) add_site(options.cpus);
  detail::set_current_backend(p.driver.get());
}

Sites::~Sites() {
  Parts& p = *parts_;
  p.driver->shutdown();
  detail::set_current_backend(nullptr);
  if (p.cluster != nullptr) p.cluster->stop();
  for (Parts::Link& link : p.links) link.cut();
  p.asker->close();
  for (const auto& site : p.sites) site->stop();
  // Who holds a reference may still look at it. Reachable to the end: no leak.
  static auto* const retired = new std::vector<std::unique_ptr<Parts>>;
  retired->push_back(std::move(parts_));
}

void Sites::add_site(int cpus) {
  Parts& p = *parts_;
  p.start_site(cpus);
  const std::size_t site = p.sites.size() - 1;
  p.link(0, site);
  Relay& mine = p.sites[0]->relay();
  p.units += static_cast<std::uint64_t>(cpus) * shm::kCpuUnits;
  while (mine.total_units() < p.units) std::this_thread::yield();
}

void Sites::cut(std::size_t site) {
  Parts& p = *parts_;
  std::vector<Parts::Link> links;
  {
    const std::lock_guard lock(p.mutex);
    p.cut_off.insert(site);
    for (const Parts::Link& link : p.links)
      if (link.from == site || link.to == site) links.push_back(link);
  }
  for (Parts::Link& link : links) link.cut();
  if (p.cluster != nullptr) p.cluster->lose(site);
}

void Sites::drain(std::size_t site) { parts_->cluster->drain(site); }

void Sites::relink(std::size_t from, std::size_t to) {
  Parts& p = *parts_;
  std::vector<Parts::Link> broken;
  {
    const std::lock_guard lock(p.mutex);
    const auto is_it = [&](const Parts::Link& link) { return link.joins(from, to); };
    std::copy_if(p.links.begin(), p.links.end(), std::back_inserter(broken), is_it);
    std::erase_if(p.links, is_it);
  }
  for (Parts::Link& link : broken) link.cut();
  p.link(from, to);
}

std::size_t Sites::exports(std::size_t site) { return parts_->sites[site]->relay().references().exports; }
std::size_t Sites::proxies(std::size_t site) { return parts_->sites[site]->relay().references().proxies; }
std::size_t Sites::actors(std::size_t site) { return parts_->sites[site]->relay().references().actors; }
std::uint64_t Sites::sent_bytes(std::size_t site) {
  const std::lock_guard lock(parts_->mutex);
  std::uint64_t bytes = 0;
  for (const Parts::Link& link : parts_->links) {
    if (link.from == site) bytes += link.there->sent_bytes();
    if (link.to == site) bytes += link.back->sent_bytes();
  }
  return bytes;
}
std::uint64_t Sites::units_for_job() { return parts_->sites[0]->relay().units_for_job(); }
std::size_t Sites::size() const { return parts_->sites.size(); }
std::uint64_t Sites::used_bytes(std::size_t site) { return parts_->sites[site]->node().desk().leased_bytes(); }

void Sites::wait_until_nothing_is_shared() {
  for (bool any = true; any;) {
    any = false;
    for (std::size_t site = 0; site < size(); ++site)
      if (!parts_->cut_off.contains(site)) any = exports(site) != 0 || proxies(site) != 0 || actors(site) != 0 || any;
    if (any) std::this_thread::yield();
  }
}

}  // namespace rayx::relay::test
