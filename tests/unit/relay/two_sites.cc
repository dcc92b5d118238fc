#include "two_sites.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "relay/site.hpp"
#include "worker/client.hpp"

namespace rayx::relay::test {

namespace {

class Pipe final : public PeerLink {
 public:
  ~Pipe() override { cut(); }
  bool is_congested() const override { return false; }
  bool send(std::vector<std::byte> frame) override { return send_after({}, std::move(frame)); }
  bool send_after(std::vector<OutgoingValue> values, std::vector<std::byte> frame) override {
    const std::lock_guard lock(mutex_);
    if (is_cut_) return false;
    frames_.push_back({std::move(values), std::move(frame)});
    ready_.notify_one();
    return true;
  }
  // Frames go to `relay`, from its peer `from`.
  void deliver_to(Relay& relay, PeerId from) {
    thread_ = std::thread([this, &relay, from] {
      for (;;) {
        Item item;
        {
          std::unique_lock lock(mutex_);
          ready_.wait(lock, [this] { return is_cut_ || !frames_.empty(); });
          if (is_cut_) break;
          item = std::move(frames_.front());
          frames_.pop_front();
        }
        for (const OutgoingValue& value : item.values) deliver(relay, from, value);
        const Result<void> done = relay.receive(from, item.frame);
        if (!done) problem_ = done.error().message;
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
  }
  const std::string& problem() const { return problem_; }

 private:
  struct Item {
    std::vector<OutgoingValue> values;
    std::vector<std::byte> frame;
  };
  static void deliver(Relay& relay, PeerId from, const OutgoingValue& value) {
    FrameWriter announced;
    announced.add(FrameKind::kValue, ValueHead{value.stream, value.bytes.size()});
    (void)relay.receive(from, announced.finish());
    constexpr std::size_t kChunk = 100'000;
    for (std::size_t at = 0; at < value.bytes.size(); at += kChunk) {
      const auto chunk = value.bytes.subspan(at, std::min(kChunk, value.bytes.size() - at));
      const std::span<std::byte> place = relay.place_for_value(from, value.stream, at, chunk.size());
      if (place.empty()) continue;
      std::memcpy(place.data(), chunk.data(), chunk.size());
      relay.value_arrived(from, value.stream, chunk.size());
    }
  }

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Item> frames_;
  bool is_cut_ = false;
  std::string problem_;
  std::thread thread_;
};

std::unique_ptr<Site> start_site(const worker::FunctionNumbers& numbers, int cpus) {
  SiteConfig config;
  config.node.cpus = cpus;
  config.node.store_bytes = 256 << 20;
  config.node.max_workers = 63;
  config.node.modules = numbers.encode();
  Result<std::unique_ptr<Site>> site = Site::start(std::move(config));
  if (!site) throw std::runtime_error(site.error().message);
  return std::move(*site);
}

}  // namespace

struct TwoSites::Parts {
  struct Other {
    std::unique_ptr<Site> site;
    std::shared_ptr<Pipe> there;  // frames to it
    std::shared_ptr<Pipe> back;
  };
  worker::FunctionNumbers numbers{worker::loaded_modules()};
  std::unique_ptr<Site> mine;
  std::unique_ptr<DeskMemory> memory;
  std::unique_ptr<worker::NodeAsker> asker;
  std::unique_ptr<worker::Client> driver;
  std::vector<Other> others;
};

TwoSites::TwoSites(int cpus_there) : parts_(std::make_unique<Parts>()) {
  worker::OwnerMutex::allow_bias();
  Parts& p = *parts_;
  p.mine = start_site(p.numbers, 0);
  const std::uint32_t me = p.mine->node().driver_slot();
  const shm::Control control(p.mine->node().arena().segment());
  p.memory = std::make_unique<DeskMemory>(p.mine->node(), me, std::chrono::seconds(10));
  p.asker = std::make_unique<worker::NodeAsker>(control.header().node_calls, control.slot(me).calls, me,
                                                p.mine->node().eventfd());
  worker::ClientConfig config;
  config.arena = &p.mine->node().arena();
  config.me = me;
  config.numbers = &p.numbers;
  config.memory = p.memory.get();
  config.asker = p.asker.get();
  config.cpus = cpus_there;
  p.driver = std::make_unique<worker::Client>(config);
  add_site(cpus_there);
  detail::set_current_backend(p.driver.get());
}

TwoSites::~TwoSites() {
  Parts& p = *parts_;
  p.driver->shutdown();
  detail::set_current_backend(nullptr);
  for (std::size_t i = 0; i < p.others.size(); ++i) cut(i);
  p.asker->close();
  p.mine->stop();
  for (Parts::Other& other : p.others) other.site->stop();
  // Who holds a reference may still look at it. Reachable to the end: no leak.
  static auto* const retired = new std::vector<std::unique_ptr<Parts>>;
  retired->push_back(std::move(parts_));
}

void TwoSites::add_site(int cpus) {
  Parts::Other& other = parts_->others.emplace_back();
  other.site = start_site(parts_->numbers, cpus);
  other.there = std::make_shared<Pipe>();
  other.back = std::make_shared<Pipe>();
  const std::string name = "site " + std::to_string(parts_->others.size());
  const PeerId there = parts_->mine->relay().add_peer(name, other.there);
  const PeerId here = other.site->relay().add_peer("the driver's", other.back);
  other.there->deliver_to(other.site->relay(), here);
  other.back->deliver_to(parts_->mine->relay(), there);
  const auto units = static_cast<std::uint64_t>(cpus) * shm::kCpuUnits;
  while (parts_->mine->relay().largest_node_units() < units) std::this_thread::yield();
}

void TwoSites::cut(std::size_t i) {
  parts_->others[i].there->cut();
  parts_->others[i].back->cut();
}

}  // namespace rayx::relay::test
