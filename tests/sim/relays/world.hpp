// A job over several nodes in one thread: the real nodes, relays, owners, executors and users' programs on simulated machines and a
// simulated network, with every fault that they are made for, all from one seed, against what an outside observer knows.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "machine.hpp"
#include "network.hpp"
#include "processes.hpp"
#include "site_host.hpp"
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
  enum class Fault : std::uint8_t { kKillWorker, kBreakLink, kPowerOff, kFreeze, kCut, kFailStarts, kNumber };

  SiteHost* find(HostId host) override;
  relay::Places* places_of(SiteHost& site) override;
  void link_breaks() override { story_.loss(); }
  void link_closed(SiteHost& site, base::NodeId other) override;
  void linked(SiteHost&, base::NodeId) override {}

  SiteHost& add_site(int cpus);
  std::vector<SiteHost*> living();
  void link_to_driver(SiteHost& site, TimeNs delay);
  void next_fault();
  void inject(Fault fault);
  void check_end();
  bool is_quiet(std::string& why);
  void run_until(TimeNs when);

  Chance chance_;
  Events events_;
  Network network_;
  Machine machine_;
  Processes processes_;
  Story story_;
  RelayCounts counts_;
  Scene scene_{machine_, chance_, story_, counts_};
  std::uint64_t steps_ = 0;
  std::vector<std::unique_ptr<SiteHost>> sites_;  // [0] is the driver's
  std::vector<Fault> faults_;
  TimeNs fault_pause_ = 0;
  bool is_healed_ = false;
  int programs_running_ = 0;
  std::uint64_t units_at_first_ = 0;
};

}  // namespace rayx::sim
