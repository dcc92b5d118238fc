#include "world.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
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
  processes_.on_failed_start = [this] { story_.start_failed(); };
  processes_.on_death = [this](const Process& process) {
    story_.loss();
    machine_.log("process %u of site %u has died", process.id, process.host);
    story_.process_is_gone(process.id);
    find(process.host)->workers.erase(process.id);
  };
  machine_.on_cpu_lent = [this](bool is_lent) { story_.cpu_is_lent(machine_.process(), machine_.running(), is_lent); };
  network_.set_delays(static_cast<TimeNs>(20'000 + chance_.below(2 * kMillisecond)), 0);
  machine_.held_up_one_in = chance_.one_in(3) ? 0 : 50 + chance_.below(300);
  for (int fault = 0; fault < static_cast<int>(Fault::kNumber); ++fault)
    if (!chance_.one_in(3)) faults_.push_back(static_cast<Fault>(fault));
  if (chance_.one_in(8)) faults_.clear();
  const bool has_kills = chance_.one_in(2);
  if (!has_kills) std::erase(faults_, Fault::kKillWorker);
  if (has_kills && !faults_.empty() && chance_.one_in(2)) machine_.killed_one_in = 2'000 + chance_.below(5'000);
  fault_pause_ = chance_.between(2 * kMillisecond, 45 * kMillisecond);
  scene_.has_large_values = chance_.one_in(3);
  if (scene_.has_large_values) scene_.store_bytes = seed % 2 == 0 ? 12u << 20 : 24u << 20;
  is_mesh_ = !chance_.one_in(3);
  scene_.has_head = is_mesh_;
  scene_.cpus_min = 1 + static_cast<int>(chance_.below(2));
}

// What is left of the machines stays where it is: nobody joins a thread that is a fiber of the past.
World::~World() {
  for (auto& site : sites_) static_cast<void>(site.release());
  g_scene = nullptr;
}

SiteHost* World::find(HostId host) { return host < sites_.size() ? sites_[host].get() : nullptr; }

relay::Places* World::places_of(SiteHost& site) {
  if (!is_mesh_) return nullptr;
  std::unique_ptr<SitePlaces>& places = places_[site.host()];
  places = std::make_unique<SitePlaces>(
      site, events_, network_, job_, [this, &site](base::NodeId node) { want_link(site, node); },
      [this, &site] { events_.after(0, [this, &site] { replace(site); }); });
  return places.get();
}

bool World::is_ready() {
  // A node may be lost before the program begins.
  const std::uint64_t units = events_.now() < 2 * kSecond ? units_at_first_ : 1;
  return sites_[0]->relay().total_units() >= units && (!is_mesh_ || places_.at(0)->is_ready());
}

// ---- Links

void World::tell_failed(HostId host, base::NodeId node) {
  SiteHost& site = *sites_[host];
  story_.loss();
  if (is_mesh_ && site.is_there()) site.post([&site, node] { site.relay().peer_failed(node, "it cannot be reached"); });
}

void World::want_link(SiteHost& from, base::NodeId node) {
  const auto found = std::find_if(sites_.begin(), sites_.end(), [&](const auto& it) { return it->node_id() == node; });
  if (found == sites_.end() || (*found)->is_off() || !(*found)->is_there()) {
    events_.after(chance_.between(kMillisecond, 20 * kMillisecond),
                  [this, host = from.host(), node] { tell_failed(host, node); });
    return;
  }
  Pair& pair = pairs_[pair_of(from.host(), (*found)->host())];
  if (pair.link != 0) return;
  pair.wanted_by.insert(from.host());
  if (!std::exchange(pair.is_connecting, true)) from.connect(**found);
}

void World::link_opened(SiteHost& from, SiteHost& to, ConnectionId connection) {
  pairs_[pair_of(from.host(), to.host())] = {false, connection, {}};
}

void World::link_failed(SiteHost& from, SiteHost& to) {
  Pair& pair = pairs_[pair_of(from.host(), to.host())];
  pair.is_connecting = false;
  for (const HostId host : std::exchange(pair.wanted_by, {}))
    tell_failed(host, (host == from.host() ? to : from).node_id());
  if (from.host() == 0) link_to_driver(to, chance_.between(kMillisecond, 30 * kMillisecond));
  if (to.host() == 0) link_to_driver(from, chance_.between(kMillisecond, 30 * kMillisecond));
}

void World::link_breaks(ConnectionId connection) {
  story_.loss();
  for (auto& [hosts, pair] : pairs_) {
    if (pair.link != connection) continue;
    pair.link = 0;
    if (hosts.first == 0) link_to_driver(*sites_[hosts.second], chance_.between(0, 30 * kMillisecond));
  }
}

// The driver's host keeps a link to each node, as a new peer after each break.
void World::link_to_driver(SiteHost& site, TimeNs delay) {
  events_.after(delay, [this, &site] {
    if (site.is_off()) return;
    if (!sites_[0]->is_there()) return link_to_driver(site, kMillisecond);
    Pair& pair = pairs_[pair_of(0, site.host())];
    if (pair.link == 0 && !std::exchange(pair.is_connecting, true)) sites_[0]->connect(site);
  });
}

// ---- Hosts

void World::power_off(SiteHost& site) {
  if (site.is_off()) return;
  ++counts_.nodes_lost;
  story_.loss();
  story_.host_is_lost(site.host());
  site.power_off();
  if (const auto places = places_.find(site.host()); places != places_.end()) places->second->end();
  for (auto& [hosts, pair] : pairs_) {
    if (hosts.first != site.host() && hosts.second != site.host()) continue;
    for (const HostId host : std::exchange(pair.wanted_by, {}))
      if (host != site.host()) tell_failed(host, site.node_id());
  }
  // Its peers hear of it later: by the silence.
  events_.after(chance_.one_in(4) ? chance_.between(0, 4 * kSecond) : chance_.between(kMillisecond, 50 * kMillisecond),
                [this, endpoint = site.endpoint()] { network_.give_up(endpoint); });
}

// A node is lost, and another one joins.
void World::replace(SiteHost& site) {
  if (site.is_off()) return;
  power_off(site);
  events_.after(chance_.between(0, 40 * kMillisecond), [this] {
    ++counts_.nodes_joined;
    add_site(scene_.cpus_min + static_cast<int>(chance_.below(2)));
  });
}

void World::break_links() {
  // Who loses his link to the head again and again is given up, and with a driver its program ends.
  const bool spares_head = events_.now() < head_links_break_at_;
  if (!spares_head) head_links_break_at_ = events_.now() + kSecond;
  for (std::size_t links = 1 + chance_.below(5); links != 0; --links)
    if (network_.break_one(spares_head ? std::optional(kHeadHost) : std::nullopt)) ++counts_.links_broken;
}

void World::freeze(SiteHost& site, TimeNs time) {
  if (network_.is_frozen(site.host())) return;  // the end of the shorter one would be the other's, too
  ++counts_.hosts_frozen;
  network_.set_frozen(site.host(), true);
  machine_.set_frozen(site.host(), true);
  events_.after(time, [this, &site, time] {
    story_.host_stood_still(site.host(), time);
    network_.set_frozen(site.host(), false);
    machine_.set_frozen(site.host(), false);
    if (const auto places = places_.find(site.host()); places != places_.end()) places->second->thaw();
  });
}

SiteHost& World::add_site(int cpus) {
  const auto host = static_cast<HostId>(sites_.size());
  SiteOptions options;
  options.cpus = cpus;
  story_.host_has(host, cpus);
  options.store_bytes = scene_.store_bytes;
  options.patience_ns = chance_.one_in(2) ? 0 : relay::kPatience_ns;
  options.congested_bytes = chance_.one_in(3) ? 100 + chance_.below(20'000) : 8u << 20;
  sites_.push_back(
      std::make_unique<SiteHost>(machine_, network_, *this, host, base::NodeId{chance_.bits() | 1}, options));
  SiteHost& site = *sites_.back();
  site.start([this, &site] {
    if (const auto places = places_.find(site.host()); places != places_.end()) places->second->begin();
    if (site.host() == 0) {
      site.relay().expect_peers(true);
      site.make_driver();
      const std::size_t programs = 1 + chance_.below(2);
      for (std::size_t i = 0; i < programs; ++i) {
        ++programs_running_;
        machine_.start(site.process(), [this, i] {
          while (!is_ready()) machine_.rest(kMillisecond / 4);
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
    case Fault::kBreakLink: return break_links();
    case Fault::kPowerOff:
      if (sites_.size() < 8) replace(site);
      return;
    case Fault::kFreeze:
      return freeze(site, chance_.one_in(15) ? chance_.between(0, 5 * kSecond) : chance_.between(0, 40 * kMillisecond));
    case Fault::kKillHead:
      if (!is_mesh_) return;
      ++counts_.heads_killed;
      return head_.kill();
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
      processes_.fails_one_in = 2;
      events_.after(chance_.between(50 * kMillisecond, 300 * kMillisecond), [this] { processes_.fails_one_in = 0; });
      return;
    case Fault::kNumber: return;
  }
}

// Records that are not done, and what the dead still hold, for who looks for the cause of a failure.
void World::log_pending() {
  for (SiteHost* const site : living()) {
    const shm::Control& control = site->relay().control();
    for (std::uint32_t slot = 0; slot < control.header().processes_used.load(); ++slot) {
      const bool is_dead = control.slot(slot).life.load() == shm::ProcessLife::kDead;
      if (is_dead)
        machine_.log("site %u slot %u is dead: buried %d, has tasks %d, is used %d", site->host(), slot,
                     control.is_buried(slot), control.has_tasks_of(slot), control.is_used_by_others(slot));
      shm::HoldTable(control.segment(), control.slot(slot).holds).for_each([&](shm::ObjectKey key) {
        machine_.log("site %u slot %u holds record %u of slot %u", site->host(), slot, key.record(), key.owner());
      });
      if (control.slot(slot).record_slabs[0].load() == shm::kNoOffset) continue;
      for (std::uint32_t i = 0; i < shm::kRecordsPerSlab; ++i) {
        const detail::Record& record = control.records_of(slot).at(i);
        const std::uint32_t state = record.state.load();
        if ((state & detail::kRecordStateMask) != detail::kRecordPending) continue;
        machine_.log("site %u slot %u record %u: state %x, queued at %llx", site->host(), slot, i, state,
                     static_cast<unsigned long long>(record.queued_at.load()));
      }
    }
  }
}

void World::run_until(TimeNs when) {
  while (story_.problem().empty() && events_.step(when)) ++steps_;
}

// False if what it looks at goes meanwhile: who goes may have the lock of his books.
bool World::looks(std::function<void()> look, const std::function<bool()>& is_there) {
  Process& looker = machine_.add_process(kObserver);
  const FiberId fiber = machine_.start(looker, std::move(look));
  while (!machine_.is_done(fiber) && is_there()) machine_.rest(kMillisecond / 10);
  if (machine_.is_done(fiber)) return true;
  machine_.kill(looker);
  return false;
}

std::optional<worker::Client::Books> World::books_of(SiteHost& site, std::uint32_t worker) {
  const auto books = std::make_shared<std::optional<worker::Client::Books>>();
  looks(
      [&site, worker, books] {
        const auto found = site.workers.find(worker);
        if (found != site.workers.end()) *books = found->second->books();
      },
      [&site, worker] { return site.workers.contains(worker); });
  return *books;
}

bool World::is_quiet(std::string& why) {
  const auto say = [&](const SiteHost& site, const std::string& what) {
    why = "site " + std::to_string(site.host()) + " has " + what;
    return false;
  };
  for (SiteHost* const site : living()) {
    struct Seen {
      relay::Relay::References left;
      worker::Client::Books relay;
      worker::Client::Books driver;
    };
    const auto seen = std::make_shared<Seen>();
    const auto look = [site, seen] {
      seen->left = site->relay().references();
      seen->relay = site->relay().books();
      if (site->driver() != nullptr) seen->driver = site->driver()->books();
    };
    if (!looks(look, [site] { return !site->is_off(); })) return say(*site, "gone");
    const relay::Relay::References& left = seen->left;
    if (left.exports != 0) return say(*site, std::to_string(left.exports) + " exports");
    if (left.proxies != 0) return say(*site, std::to_string(left.proxies) + " proxies");
    if (left.actors != 0) return say(*site, std::to_string(left.actors) + " actors");
    const auto check = [&](const worker::Client::Books& books, const std::string& whose) {
      if (books.owned != 0) return say(*site, std::to_string(books.owned) + " owned entries at " + whose);
      if (books.borrowed != 0) return say(*site, std::to_string(books.borrowed) + " borrowed entries at " + whose);
      if (books.adoptions != 0) return say(*site, std::to_string(books.adoptions) + " pending adoptions at " + whose);
      return true;
    };
    if (!check(seen->relay, "its relay") || !check(seen->driver, "the driver")) return false;
    std::vector<std::uint32_t> workers;
    for (const auto& [process, client] : site->workers) workers.push_back(process);
    for (const std::uint32_t process : workers) {
      const std::optional<worker::Client::Books> books = books_of(*site, process);
      if (books && !check(*books, "a worker")) return false;
    }
  }
  return true;
}

RelayOutcome World::run() {
  if (is_mesh_) head_.start();
  add_site(0);
  const std::size_t others = 1 + chance_.below(3);
  for (std::size_t i = 0; i < others; ++i) {
    const int cpus = scene_.cpus_min + static_cast<int>(chance_.below(2));
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
  while (story_.problem().empty() && events_.now() < end && programs_running_ == 0)
    run_until(events_.now() + 2 * kMillisecond);
  while (story_.problem().empty() && events_.now() < end && programs_running_ != 0)
    run_until(events_.now() + 10 * kMillisecond);
  if (story_.problem().empty() && programs_running_ != 0) story_.fail("a wait does not end");
  // And nothing is left.
  bool is_over = false;
  const TimeNs patience = events_.now() + 40 * kSecond;
  machine_.start(machine_.add_process(kObserver), [this, patience, &is_over] {
    std::string why;
    while (!is_quiet(why)) {
      if (events_.now() > patience) return story_.fail("something is left at the end: " + why);
      machine_.rest(50 * kMillisecond);
    }
    is_over = true;
  });
  while (story_.problem().empty() && !is_over) {
    run_until(events_.now() + 50 * kMillisecond);
    if (events_.now() > patience + kSecond && story_.problem().empty()) story_.fail("somebody keeps a lock");
  }
  if (!story_.problem().empty() && machine_.is_logging()) log_pending();
  if (!story_.problem().empty() && std::getenv("RAYX_SIM_STACKS") != nullptr)
    std::fputs(machine_.describe().c_str(), stderr);
  counts_.executions += story_.executions;
  counts_.again += story_.again;
  counts_.calls += story_.calls;
  counts_.full_nodes += story_.cpus_full;
  counts_.workers_killed += static_cast<std::uint64_t>(processes_.killed);
  counts_.failed_starts += static_cast<std::uint64_t>(processes_.failed_starts);
  counts_.messages_lost += static_cast<std::uint64_t>(network_.faults().lost);
  counts_.held_up += machine_.held_up;
  for (const auto& site : sites_) counts_.streams += site->streams_sent;
  return {story_.problem(), machine_.trace(), steps_, counts_};
}

}  // namespace rayx::sim
