#include "world.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace rayx::sim {

Scene* g_scene = nullptr;

void RelayCounts::add(const RelayCounts& more) {
#define RAYX_RELAY_COUNT(name) name += more.name;
  RAYX_RELAY_COUNTS(RAYX_RELAY_COUNT)
#undef RAYX_RELAY_COUNT
}

std::string RelayCounts::text() const {
  std::string text;
#define RAYX_RELAY_COUNT(name) text += (text.empty() ? "" : ", ") + std::to_string(name) + " " #name;
  RAYX_RELAY_COUNTS(RAYX_RELAY_COUNT)
#undef RAYX_RELAY_COUNT
  return text;
}

World::World(std::uint64_t seed)
    : chance_(seed),
      network_(events_, chance_),
      machine_(seed, events_, chance_),
      processes_(machine_, [this](HostId host, const std::string& config) { find(host)->run_worker(config); }),
      story_(machine_) {
  g_scene = &scene_;
  processes_.on_death = [this](const Process& process) {
    story_.loss();
    machine_.log("process %u of site %u has died", process.id, process.host);
    find(process.host)->workers.erase(process.id);
  };
  network_.set_delays(static_cast<TimeNs>(20'000 + chance_.below(2 * kMillisecond)), 0);
  machine_.held_up_one_in = chance_.one_in(3) ? 0 : 50 + chance_.below(300);
  for (int fault = 0; fault < static_cast<int>(Fault::kNumber); ++fault)
    if (!chance_.one_in(3)) faults_.push_back(static_cast<Fault>(fault));
  if (chance_.one_in(8)) faults_.clear();
  const bool has_kills = chance_.one_in(2);
  if (!has_kills) std::erase(faults_, Fault::kKillWorker);
  if (has_kills && !faults_.empty() && chance_.one_in(2)) machine_.killed_one_in = 2'000 + chance_.below(5'000);
  fault_pause_ = chance_.between(2 * kMillisecond, 60 * kMillisecond);
  scene_.has_large_values = chance_.one_in(3);
}

// What is left of the machines stays where it is: nobody joins a thread that is a fiber of the past.
World::~World() {
  for (auto& site : sites_) static_cast<void>(site.release());
  g_scene = nullptr;
}

SiteHost* World::find(HostId host) { return host < sites_.size() ? sites_[host].get() : nullptr; }
relay::Places* World::places_of(SiteHost&) { return nullptr; }

// Who was linked is linked again after a while, as a new peer.
void World::link_closed(SiteHost& site, base::NodeId other) {
  if (site.host() != 0) return;
  for (const auto& it : sites_) {
    if (it->node_id() != other || it->is_off()) continue;
    link_to_driver(*it, chance_.between(0, 30 * kMillisecond));
  }
}

void World::link_to_driver(SiteHost& site, TimeNs delay) {
  events_.after(delay, [this, &site] {
    if (site.is_off() || sites_[0]->is_linked_to(site.node_id())) return;
    if (!sites_[0]->is_there()) return link_to_driver(site, kMillisecond);
    sites_[0]->connect(site);
  });
}

SiteHost& World::add_site(int cpus) {
  const auto host = static_cast<HostId>(sites_.size());
  SiteOptions options;
  options.cpus = cpus;
  options.patience_ns = chance_.one_in(2) ? 0 : relay::kPatience_ns;
  options.congested_bytes = chance_.one_in(3) ? 100 + chance_.below(20'000) : 8u << 20;
  sites_.push_back(
      std::make_unique<SiteHost>(machine_, network_, *this, host, base::NodeId{chance_.bits() | 1}, options));
  SiteHost& site = *sites_.back();
  site.start([this, &site] {
    if (site.host() == 0) {
      site.relay().expect_peers(true);
      site.make_driver();
      const std::size_t programs = 1 + chance_.below(2);
      for (std::size_t i = 0; i < programs; ++i) {
        ++programs_running_;
        machine_.start(site.process(), [this, i] {
          while (sites_[0]->relay().total_units() < units_at_first_) machine_.rest(kMillisecond / 4);
          run_program(static_cast<int>(i));
          --programs_running_;
        });
      }
    } else {
      link_to_driver(site, 0);
    }
  });
  return site;
}

std::vector<SiteHost*> World::living() {
  std::vector<SiteHost*> sites;
  for (const auto& site : sites_)
    if (site->is_there()) sites.push_back(site.get());
  return sites;
}

void World::next_fault() {
  if (faults_.empty() || is_healed_) return;
  events_.after(chance_.between(fault_pause_ / 4, fault_pause_ * 2), [this] {
    if (is_healed_) return;
    inject(faults_[chance_.below(faults_.size())]);
    next_fault();
  });
}

void World::inject(Fault fault) {
  const std::vector<SiteHost*> sites = living();
  if (sites.size() < 2) return;
  SiteHost& site = *sites[1 + chance_.below(sites.size() - 1)];
  machine_.log("fault %d at site %u", static_cast<int>(fault), site.host());
  switch (fault) {
    case Fault::kKillWorker: static_cast<void>(processes_.kill_one(site.host())); return;
    case Fault::kBreakLink:
      if (!chance_.one_in(3)) return;
      if (network_.break_one()) ++counts_.links_broken;
      return;
    case Fault::kPowerOff:
      if (!chance_.one_in(6) || sites_.size() > 6) return;
      ++counts_.nodes_lost;
      story_.loss();
      site.power_off();
      // Its peers hear of it later: the head says so, or their keep-alive.
      events_.after(chance_.between(kMillisecond, 50 * kMillisecond),
                    [this, endpoint = site.endpoint()] { network_.give_up(endpoint); });
      events_.after(chance_.between(0, 40 * kMillisecond), [this] {
        ++counts_.nodes_joined;
        add_site(1 + static_cast<int>(chance_.below(3)));
      });
      return;
    case Fault::kFreeze:
      ++counts_.hosts_frozen;
      network_.set_frozen(site.host(), true);
      machine_.set_frozen(site.host(), true);
      events_.after(chance_.between(0, 40 * kMillisecond), [this, host = site.host()] {
        network_.set_frozen(host, false);
        machine_.set_frozen(host, false);
      });
      return;
    case Fault::kCut: {
      ++counts_.hosts_cut;
      const HostId other = sites[chance_.below(sites.size())]->host();
      if (other == site.host()) return;
      network_.set_cut(site.host(), other, true);
      events_.after(chance_.between(0, 40 * kMillisecond),
                    [this, host = site.host(), other] { network_.set_cut(host, other, false); });
      return;
    }
    case Fault::kFailStarts:
      processes_.fails_one_in = 3;
      events_.after(chance_.between(0, 40 * kMillisecond), [this] { processes_.fails_one_in = 0; });
      return;
    case Fault::kNumber: return;
  }
}

void World::run_until(TimeNs when) {
  while (story_.problem().empty() && events_.step(when)) ++steps_;
}

bool World::is_quiet(std::string& why) {
  const auto say = [&](const SiteHost& site, const std::string& what) {
    why = "site " + std::to_string(site.host()) + " has " + what;
    return false;
  };
  for (SiteHost* const site : living()) {
    const relay::Relay::References left = site->relay().references();
    if (left.exports != 0) return say(*site, std::to_string(left.exports) + " exports");
    if (left.proxies != 0) return say(*site, std::to_string(left.proxies) + " proxies");
    if (left.actors != 0) return say(*site, std::to_string(left.actors) + " actors");
    const auto check = [&](worker::Client& client, const std::string& whose) {
      const worker::Client::Books books = client.books();
      if (books.owned != 0) return say(*site, std::to_string(books.owned) + " owned entries at " + whose);
      if (books.borrowed != 0) return say(*site, std::to_string(books.borrowed) + " borrowed entries at " + whose);
      if (books.adoptions != 0) return say(*site, std::to_string(books.adoptions) + " pending adoptions at " + whose);
      return true;
    };
    if (!check(site->relay(), "its relay")) return false;
    if (site->driver() != nullptr && !check(*site->driver(), "the driver")) return false;
    for (const auto& [process, client] : site->workers)
      if (!check(*client, "a worker")) return false;
  }
  return true;
}

RelayOutcome World::run() {
  add_site(0);
  const std::size_t others = 1 + chance_.below(3);
  for (std::size_t i = 0; i < others; ++i) {
    const int cpus = 1 + static_cast<int>(chance_.below(3));
    units_at_first_ += static_cast<std::uint64_t>(cpus) * shm::kCpuUnits;
    add_site(cpus);
  }
  events_.after(5 * kMillisecond, [this] { next_fault(); });
  events_.after(chance_.between(100 * kMillisecond, 600 * kMillisecond), [this] {
    is_healed_ = true;
    machine_.killed_one_in = 0;
  });
  // The programs end, whatever happens.
  const TimeNs end = events_.now() + 300 * kSecond;
  run_until(events_.now() + 2 * kMillisecond);
  while (story_.problem().empty() && events_.now() < end && programs_running_ != 0)
    run_until(events_.now() + 10 * kMillisecond);
  if (story_.problem().empty() && programs_running_ != 0) story_.fail("a wait does not end");
  // And nothing is left.
  bool is_over = false;
  const TimeNs patience = events_.now() + 40 * kSecond;
  machine_.start(machine_.add_process(kObserver), [this, patience, &is_over] {
    std::string why;
    // What a dead worker held, and what it owned, can keep each other until the job ends: docs/design/worker.md.
    while (processes_.killed == 0 && !is_quiet(why)) {
      if (events_.now() > patience) return story_.fail("something is left at the end: " + why);
      machine_.rest(50 * kMillisecond);
    }
    is_over = true;
  });
  while (story_.problem().empty() && !is_over) {
    run_until(events_.now() + 50 * kMillisecond);
    if (events_.now() > patience + kSecond && story_.problem().empty()) story_.fail("somebody keeps a lock");
  }
  if (!story_.problem().empty() && std::getenv("RAYX_SIM_STACKS") != nullptr)
    std::fputs(machine_.describe().c_str(), stderr);
  counts_.executions += story_.executions;
  counts_.again += story_.again;
  counts_.workers_killed += static_cast<std::uint64_t>(processes_.killed);
  counts_.failed_starts += static_cast<std::uint64_t>(processes_.failed_starts);
  counts_.messages_lost += static_cast<std::uint64_t>(network_.faults().lost);
  counts_.held_up += machine_.held_up;
  for (const auto& site : sites_) counts_.streams += site->streams_sent;
  return {story_.problem(), machine_.trace(), steps_, counts_};
}

}  // namespace rayx::sim
