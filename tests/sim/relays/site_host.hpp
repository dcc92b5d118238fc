// A host of the simulated cluster with one site of the job: the real node, relay and clients on a simulated machine, and their links to
// other sites on the simulated network.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/cluster_ids.hpp"
#include "machine.hpp"
#include "network.hpp"
#include "processes.hpp"
#include "relay/site.hpp"
#include "worker/executor_loop.hpp"

namespace rayx::sim {

class SiteHost;

// What crosses between two relays: a frame, or a piece of a value.
struct RelayMessage {
  std::vector<std::byte> bytes;
  std::uint64_t stream = 0;  // 0: a frame
  std::uint64_t offset = 0;
  std::shared_ptr<void> flight;  // of what the link counts as on its way
};

class SimLink final : public relay::PeerLink, public std::enable_shared_from_this<SimLink> {
 public:
  SimLink(SiteHost& site, ConnectionId connection, std::uint64_t congested_bytes)
      : site_(site), connection_(connection), congested_bytes_(congested_bytes) {}
  bool send(std::vector<std::byte> frame) override { return send_after({}, std::move(frame)); }
  bool send_after(std::vector<relay::OutgoingValue> values, std::vector<std::byte> frame) override;
  bool is_congested() const override { return in_flight_ > congested_bytes_; }
  // Nothing is sent any more; what waits is dropped.
  void close();

  relay::PeerId peer = 0;

 private:
  struct Outgoing {
    std::vector<relay::OutgoingValue> values;
    std::size_t next = 0;
    std::uint64_t offset = 0;
    std::vector<std::byte> frame;
  };
  void put(RelayMessage message);
  void pump();
  void pump_later();

  SiteHost& site_;
  const ConnectionId connection_;
  const std::uint64_t congested_bytes_;
  std::uint64_t in_flight_ = 0;
  bool is_open_ = true;
  bool is_pumping_ = false;
  std::vector<Outgoing> outgoing_;
};

struct SiteOptions {
  int cpus = 2;
  std::uint64_t store_bytes = 24u << 20;
  std::uint64_t congested_bytes = 8u << 20;
  base::TimeNs patience_ns = relay::kPatience_ns;
  base::Labels labels = {};
};

// Who makes links between the sites, and knows the cluster.
class SiteHosts {
 public:
  virtual ~SiteHosts() = default;
  virtual SiteHost* find(HostId host) = 0;
  virtual relay::Places* places_of(SiteHost& site) = 0;
  // The first of the two sites hears of it; before the other one may hear of it, or of its end.
  virtual void link_opened(SiteHost& from, SiteHost& to, ConnectionId connection) = 0;
  virtual void link_failed(SiteHost& from, SiteHost& to) = 0;
  virtual void link_breaks(ConnectionId connection) = 0;  // a site is about to hear of it
};

class SiteHost final : public EndpointOf<RelayMessage> {
 public:
  SiteHost(Machine& machine, Network& network, SiteHosts& hosts, HostId host, base::NodeId node, SiteOptions options);
  ~SiteHost() override;

  // `ready` is called when the site is there, by the thread that serves its network from then on.
  void start(std::function<void()> ready);
  // The host loses its power.
  void power_off();
  void connect(SiteHost& other);
  std::size_t links() const { return links_.size(); }
  // By the site's network thread.
  void post(std::function<void()> what);

  bool is_there() const { return site_ != nullptr && !is_off_; }
  bool is_off() const { return is_off_; }
  relay::Site& site() { return *site_; }
  relay::Relay& relay() { return site_->relay(); }
  HostId host() const { return host_; }
  base::NodeId node_id() const { return node_; }
  Process& process() { return *process_; }
  EndpointId endpoint() const { return me_; }
  const SiteOptions& options() const { return options_; }
  Machine& machine() { return machine_; }
  Network& network() { return network_; }
  // The driver's part of the site's process; once.
  worker::Client& make_driver();
  worker::Client* driver() { return driver_.get(); }
  // What a worker of this host does.
  void run_worker(const std::string& config);
  static const std::string& modules();
  std::uint64_t streams_sent = 0;
  int refused_frames = 0;
  std::map<std::uint32_t, worker::Client*> workers;  // that live, by process

 private:
  class DriverMemory;
  void serve();
  void open_link(ConnectionId connection, HostId host, base::NodeId node);
  void drop_link(ConnectionId connection, std::shared_ptr<SimLink> link);
  void on_accepted(ConnectionId connection) override;
  void on_connected(std::uint64_t token, ConnectionId connection) override;
  void on_connect_failed(std::uint64_t token) override;
  void on_closed(ConnectionId connection) override;
  void on_message(ConnectionId connection, RelayMessage message) override;

  Machine& machine_;
  Network& network_;
  SiteHosts& hosts_;
  const HostId host_;
  const base::NodeId node_;
  const SiteOptions options_;
  Process* process_ = nullptr;
  EndpointId me_ = 0;
  bool is_off_ = false;
  std::unique_ptr<relay::Site> site_;
  std::deque<std::function<void()>> inbox_;
  struct Open {
    std::shared_ptr<SimLink> link;
    HostId host;
  };
  std::map<ConnectionId, Open> links_;
  std::map<base::NodeId, std::uint64_t> connecting_;  // the attempt
  std::uint64_t attempts_ = 0;
  std::map<ConnectionId, std::vector<RelayMessage>> early_;
  std::set<ConnectionId> closed_early_;
  std::unique_ptr<DriverMemory> driver_memory_;
  std::unique_ptr<worker::NodeAsker> driver_asker_;
  std::unique_ptr<worker::FunctionNumbers> driver_numbers_;
  std::unique_ptr<worker::Client> driver_;
};

}  // namespace rayx::sim
