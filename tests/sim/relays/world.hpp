// A job over several nodes in one thread: the real nodes, relays, owners, executors and users' programs on simulated machines and a
// simulated network, with every fault that they are made for, all from one seed, against what an outside observer knows.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "head_host.hpp"
#include "machine.hpp"
#include "network.hpp"
#include "processes.hpp"
#include "site_host.hpp"
#include "site_places.hpp"
#include "story.hpp"

namespace rayx::sim {

struct RelayOutcome {
  std::string problem;
  std::uint64_t trace = 0;
  std::uint64_t events = 0;
  RelayCounts counts;
};

class World final : public SiteHosts {
 public:
  explicit World(std::uint64_t seed);
  ~World() override;
  RelayOutcome run();

 private:
  static constexpr HostId kObserver = 1'000;
  static constexpr HostId kHeadHost = 1'001;
  enum class Fault : std::uint8_t {
    kKillWorker,
    kBreakLink,
    kPowerOff,
    kFreeze,
    kCut,
    kFailStarts,
    kKillHead,
    kNumber
  };
  // Two hosts, as the sites' hosts see to it that they have one link.
  struct Pair {
    bool is_connecting = false;
    ConnectionId link = 0;  // 0: none
    std::set<HostId> wanted_by;
  };
  static std::pair<HostId, HostId> pair_of(HostId a, HostId b) { return {std::min(a, b), std::max(a, b)}; }

  SiteHost* find(HostId host) override;
  relay::Places* places_of(SiteHost& site) override;
  void link_opened(SiteHost& from, SiteHost& to, ConnectionId connection) override;
  void link_failed(SiteHost& from, SiteHost& to) override;
  void link_breaks(ConnectionId connection) override;

  SiteHost& add_site(int cpus);
  std::vector<SiteHost*> living();
  void link_to_driver(SiteHost& site, TimeNs delay);
  void want_link(SiteHost& from, base::NodeId node);
  void tell_failed(HostId host, base::NodeId node);
  void power_off(SiteHost& site);
  void replace(SiteHost& site);
  void break_links();
  void freeze(SiteHost& site, TimeNs time);
  bool is_ready();
  void next_fault();
  void inject(Fault fault);
  void log_pending();
  bool looks(std::function<void()> look, const std::function<bool()>& is_there);
  std::optional<worker::Client::Books> books_of(SiteHost& site, std::uint32_t worker);
  bool is_quiet(std::string& why);
  void run_until(TimeNs when);

  Chance chance_;
  Events events_;
  Network network_;
  Machine machine_;
  Processes processes_;
  Story story_;
  RelayCounts counts_;
  std::uint64_t steps_ = 0;
  Scene scene_{machine_, chance_, story_, counts_, steps_};
  std::vector<std::unique_ptr<SiteHost>> sites_;  // [0] is the driver's
  bool is_mesh_ = false;                          // there is a head, and nodes link to each other
  HeadHost head_{events_, network_, chance_, kHeadHost};
  SitePlaces::Job job_{head_};
  std::map<HostId, std::unique_ptr<SitePlaces>> places_;
  std::map<std::pair<HostId, HostId>, Pair> pairs_;
  std::vector<Fault> faults_;
  TimeNs fault_pause_ = 0;
  bool is_healed_ = false;
  TimeNs head_links_break_at_ = 0;  // not before, again
  int programs_running_ = 0;
  std::uint64_t units_at_first_ = 0;
};

}  // namespace rayx::sim
