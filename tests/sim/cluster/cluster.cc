#include "cluster.hpp"

#include <algorithm>

namespace rayx::sim {

using registry::HeadOptions;
using registry::Identity;
using registry::MemberKind;

// ---- The head's process

namespace {
HeadOptions options_of(std::uint64_t life) {
  HeadOptions options;
  options.cluster = 0x1000 + life;                     // only that of the first life counts
  options.driver_silence_ns = 2 * options.silence_ns;  // and not a minute, in which nothing else would happen
  options.view_nodes_max = 3;
  options.named_in_flight_max = 25;
  options.large_view = 1;
  options.loads_told_each_pause = 8;
  options.news_pause_of_member_ns = 10 * kMillisecond;  // much happens in it
  options.unseen_max = 4;
  options.publish_queue_max = 6;
  options.dead_actors_kept = 20;
  return options;
}
}  // namespace

HeadProcess::HeadProcess(Cluster& cluster, std::uint64_t life)
    : cluster_(cluster), life_(life), head_(options_of(life), *this) {}

void HeadProcess::begin() {
  me_ = cluster_.network_.attach(Cluster::kHeadHost, *this);
  const auto& pairs = cluster_.truth_.pairs();
  const auto restored = head_.restore({pairs.begin(), pairs.end()}, cluster_.now());
  if (!restored) cluster_.fail("a head cannot read what the one before wrote: " + restored.error().message);
  after_event();
}

void HeadProcess::run(const std::function<void()>& what) {
  if (cluster_.network_.is_frozen(Cluster::kHeadHost)) {
    deferred_.push_back(what);
    return;
  }
  what();
  after_event();
}

void HeadProcess::thaw() {
  const auto deferred = std::exchange(deferred_, {});
  for (const auto& what : deferred) run(what);
}

void HeadProcess::after_event() {
  if (!head_.is_valid()) cluster_.fail("the head's books do not agree");
  const TimeNs deadline = head_.next_deadline_ns();
  if (deadline >= armed_) return;
  armed_ = deadline;
  cluster_.events_.at(deadline, [&cluster = cluster_, life = life_, deadline] {
    if (cluster.head_life_ != life || !cluster.head_) return;
    HeadProcess& self = *cluster.head_;
    self.run([&self, deadline] {
      if (self.armed_ != deadline) return;
      self.armed_ = base::kNever;
      self.head_.tick(self.cluster_.now());
    });
  });
}

void HeadProcess::on_accepted(ConnectionId connection) {
  run([this, connection] { head_.on_opened(connection, cluster_.now()); });
}
void HeadProcess::on_closed(ConnectionId connection) {
  run([this, connection] { head_.on_closed(connection, cluster_.now()); });
}
void HeadProcess::on_message(ConnectionId connection, registry::ToHead message) {
  cluster_.note(message.index());
  head_.on_message(connection, std::move(message), cluster_.now());
  after_event();
}
void HeadProcess::send(ConnectionId to, registry::ToMember message) {
  cluster_.network_.send(me_, to, std::make_shared<const registry::ToMember>(std::move(message)));
}
void HeadProcess::send_shared(ConnectionId to, const registry::SharedMessage& message) {
  cluster_.network_.send(me_, to, message);
}
void HeadProcess::close(ConnectionId connection) { cluster_.network_.close(me_, connection); }
void HeadProcess::persist(registry::BatchId batch, std::vector<Write> writes) {
  cluster_.write(life_, batch, std::move(writes));
}

// ---- The disk

void Cluster::write(std::uint64_t life, registry::BatchId id, std::vector<Write> writes) {
  const TimeNs delay = is_disk_slow_ ? chance_.between(10 * kMillisecond, 2 * kSecond)
                                     : static_cast<TimeNs>(chance_.below(static_cast<std::uint64_t>(disk_delay_)));
  disk_due_ = std::max(disk_due_, now() + delay);
  // A slow disk writes several batches at once when it comes to it.
  if (is_disk_slow_ && disk_due_ > now() + 3 * kSecond) disk_due_ = now() + 3 * kSecond;
  for (const Write& write : writes)
    if (write.key.starts_with("dead/") && write.value)
      check_death(*base::parse_node_id(std::string_view(write.key).substr(5)), *write.value);
  disk_queue_.push_back({id, std::move(writes), disk_due_});
  events_.at(disk_due_, [this, life] { write_done(life); });
}

void Cluster::write_done(std::uint64_t life) {
  if (life != head_life_ || !head_ || disk_queue_.empty() || disk_queue_.front().due > now()) return;
  const Batch batch = std::move(disk_queue_.front());
  disk_queue_.pop_front();
  truth_.on_durable(batch.writes, now());
  HeadProcess& head = *head_;
  head.run([&head, id = batch.id, this] { head.head().on_persisted(id, now()); });
}

// ---- Processes begin and end

void Cluster::start_head() {
  ++head_life_;
  head_ = std::make_unique<HeadProcess>(*this, head_life_);
  head_->begin();
  head_at_ = head_->me();
}

void Cluster::kill_head() {
  ++outcome_.counts.heads_killed;
  network_.detach(head_at_, false);
  head_at_ = 0;
  head_.reset();
  // Some of what was on its way to the disk arrives there, from the front.
  while (!disk_queue_.empty() && !chance_.one_in(3)) {
    truth_.on_durable(disk_queue_.front().writes, now());
    disk_queue_.pop_front();
  }
  outcome_.counts.writes_lost += static_cast<int>(disk_queue_.size());
  disk_queue_.clear();
  const bool is_long = chance_.one_in(30);
  outcome_.counts.long_absences += is_long;
  const TimeNs absence =
      is_long ? chance_.between(20 * kSecond, 40 * kSecond) : chance_.between(100 * kMillisecond, 6 * kSecond);
  events_.after(absence, [this] {
    if (!head_) start_head();
  });
}

void Cluster::start_member(HostId host) {
  const HostPlan& plan = hosts_[host];
  Identity identity;
  identity.node = new_node_id();
  identity.kind = plan.is_driver ? MemberKind::kDriver : MemberKind::kNode;
  identity.name = "host" + std::to_string(host);
  identity.address = "address" + std::to_string(host);
  identity.build = "build";
  identity.resources = plan.resources;
  identity.labels = plan.labels;
  auto process = std::make_unique<MemberProcess>(*this, host, std::move(identity));
  MemberProcess& it = *process;
  it.begin();
  processes_[it.me()] = std::move(process);
  act_later(it.me());
}

void Cluster::act_later(EndpointId process) {
  events_.after(chance_.between(20 * kMillisecond, 500 * kMillisecond), [this, process] {
    MemberProcess* it = find(process);
    if (it == nullptr || is_quiet_) return;
    it->run([it] { it->act(); });
    act_later(process);
  });
}

MemberProcess* Cluster::find(EndpointId process) {
  const auto found = processes_.find(process);
  return found == processes_.end() ? nullptr : found->second.get();
}

std::vector<MemberProcess*> Cluster::living(bool drivers) {
  std::vector<MemberProcess*> all;
  for (const auto& [id, process] : processes_)
    if (process->is_driver() == drivers) all.push_back(process.get());
  return all;
}

// Its host starts another process after a while.
void Cluster::kill_member(MemberProcess& process, bool is_silent) {
  const auto found = processes_.find(process.me());
  const HostId host = process.host();
  network_.detach(process.me(), is_silent);
  buried_.push_back(std::move(found->second));
  processes_.erase(found);
  if (!is_quiet_ || !hosts_[host].is_driver)
    events_.after(chance_.between(100 * kMillisecond, 8 * kSecond), [this, host] {
      if (!is_quiet_ || !hosts_[host].is_driver) start_member(host);
    });
}

void Cluster::gone(MemberProcess& process) {
  events_.after(0, [this, me = process.me()] {
    if (MemberProcess* it = find(me)) kill_member(*it, false);
  });
}

// ---- Faults

void Cluster::freeze(HostId host, TimeNs time) {
  network_.set_frozen(host, true);
  frozen_since_[host] = now();
  events_.after(time, [this, host] {
    if (!network_.is_frozen(host)) return;
    network_.set_frozen(host, false);
    if (host == kHeadHost && head_) head_->thaw();
    std::vector<EndpointId> here;
    for (const auto& [id, process] : processes_)
      if (process->host() == host) here.push_back(id);
    for (const EndpointId id : here)
      if (MemberProcess* process = find(id)) process->thaw(now() - frozen_since_[host]);
  });
}

// The head is asked to have an actor killed, cannot reach its node, and dies: what it promised is the next head's to do.
bool Cluster::wound_before_kill(HostId host) {
  const auto drivers = living(true);
  MemberProcess* node = nullptr;
  for (MemberProcess* it : living(false))
    if (it->host() == host && !it->bodies().empty()) node = it;
  if (node == nullptr || drivers.empty()) return false;
  MemberProcess* driver = drivers[chance_.below(drivers.size())];
  driver->run([driver, actor = node->bodies().begin()->first.first] { driver->ask_to_restart(actor); });
  network_.set_cut(kHeadHost, host, true);
  events_.after(chance_.between(kSecond / 2, 2 * kSecond), [this, host] { network_.set_cut(kHeadHost, host, false); });
  events_.after(chance_.between(kMillisecond, kSecond / 2), [this] {
    if (head_ && !is_quiet_) kill_head();
  });
  return true;
}

bool Cluster::inject(Fault fault) {
  const HostId some_host = static_cast<HostId>(1 + chance_.below(hosts_.size() - 1));
  const auto some = [&](bool is_driver) -> MemberProcess* {
    const auto all = living(is_driver);
    return all.empty() ? nullptr : all[chance_.below(all.size())];
  };
  Counts& counts = outcome_.counts;
  switch (fault) {
    case Fault::kBreak: return network_.break_one();
    case Fault::kCut: {
      ++counts.hosts_cut;
      network_.set_cut(kHeadHost, some_host, true);
      events_.after(chance_.between(100 * kMillisecond, 8 * kSecond),
                    [this, some_host] { network_.set_cut(kHeadHost, some_host, false); });
      return true;
    }
    case Fault::kFreeze:
      if (network_.is_frozen(some_host)) return false;
      ++counts.hosts_frozen;
      freeze(some_host, chance_.one_in(20) ? chance_.between(20 * kSecond, 40 * kSecond)
                                           : chance_.between(kSecond / 10, 8 * kSecond));
      return true;
    case Fault::kFreezeHead:
      if (!head_ || network_.is_frozen(kHeadHost)) return false;
      ++counts.heads_frozen;
      freeze(kHeadHost, chance_.between(kSecond / 10, 6 * kSecond));
      return true;
    case Fault::kKillHead:
      if (!head_) return false;
      if (chance_.one_in(2) && wound_before_kill(some_host)) return true;
      kill_head();
      return true;
    case Fault::kKillNode:
    case Fault::kPowerOff:
    case Fault::kKillDriver: {
      MemberProcess* process = some(fault == Fault::kKillDriver);
      if (process == nullptr) return false;
      ++(fault == Fault::kKillNode   ? counts.nodes_killed
         : fault == Fault::kPowerOff ? counts.powers_lost
                                     : counts.drivers_killed);
      kill_member(*process, fault == Fault::kPowerOff);
      return true;
    }
    case Fault::kSlowDisk:
      if (is_disk_slow_) return false;
      ++counts.slow_disks;
      is_disk_slow_ = true;
      events_.after(chance_.between(kSecond, 6 * kSecond), [this] { is_disk_slow_ = false; });
      return true;
    case Fault::kDrain: {
      MemberProcess* process = some(false);
      MemberProcess* driver = some(true);
      if (process == nullptr || driver == nullptr || chance_.one_in(2)) return false;
      ++counts.drains;
      driver->run([driver, node = process->member().identity().node] { driver->ask_to_drain(node); });
      return true;
    }
    case Fault::kNumber: break;
  }
  return false;
}

void Cluster::next_fault() {
  if (faults_.empty()) return;
  events_.after(chance_.between(fault_pause_ / 10, 2 * fault_pause_), [this] {
    if (is_quiet_) return;
    const Fault fault = faults_[chance_.below(faults_.size())];
    note(1'000 + static_cast<std::uint64_t>(fault));
    inject(fault);
    next_fault();
  });
}

// ---- The run

Cluster::Cluster(std::uint64_t seed) : chance_(seed), network_(events_, chance_) {}

void Cluster::run_until(TimeNs when) {
  while (truth_.problem().empty() && events_.step(when)) {
    ++outcome_.events;
    note(static_cast<std::uint64_t>(now()));
    buried_.clear();
  }
}

Outcome Cluster::run() {
  // Each seed has some of the faults, so that not every run is nothing but ends.
  for (std::size_t fault = 0; fault < static_cast<std::size_t>(Fault::kNumber); ++fault)
    if (chance_.one_in(2)) faults_.push_back(static_cast<Fault>(fault));
  fault_pause_ = chance_.between(kSecond / 2, 4 * kSecond);
  trouble_one_in_ = chance_.one_in(3) ? 4 : 30;
  network_.set_delays(chance_.one_in(3) ? 80 * kMillisecond : kMillisecond, chance_.one_in(2) ? 300 : 0);
  disk_delay_ = chance_.one_in(3) ? 50 * kMillisecond : kMillisecond;

  hosts_.emplace_back();
  const std::uint64_t nodes = 2 + chance_.below(7);
  const std::uint64_t drivers = 1 + chance_.below(4);
  for (std::uint64_t i = 0; i < nodes + drivers; ++i) {
    HostPlan plan;
    plan.is_driver = i >= nodes;
    if (!plan.is_driver) {
      plan.resources.cpus = static_cast<base::Units>(1 + chance_.below(4)) * base::kUnitsOfOne;
      if (chance_.one_in(2)) plan.resources.set("gpu", 2 * base::kUnitsOfOne);
      if (chance_.one_in(2)) plan.labels = {{"zone", chance_.one_in(2) ? "a" : "b"}};
    }
    hosts_.push_back(std::move(plan));
  }
  start_head();
  for (HostId host = 1; host < hosts_.size(); ++host) start_member(host);
  next_fault();
  run_until(now() + chance_.between(20 * kSecond, 40 * kSecond));
  constexpr std::uint64_t kEventsMin = 2'000;
  while (truth_.problem().empty() && outcome_.events < kEventsMin) run_until(now() + 5 * kSecond);

  // Everything is repaired, and nobody wants anything more: what is on its way arrives, and what must converge does.
  is_quiet_ = true;
  is_disk_slow_ = false;
  if (!head_) start_head();
  std::map<EndpointId, TimeNs> frozen_for;
  for (const auto& [id, process] : processes_)
    frozen_for[id] = network_.is_frozen(process->host()) ? now() - frozen_since_[process->host()] : 0;
  network_.heal();
  if (head_) head_->thaw();
  for (const auto& [id, time] : frozen_for)
    if (MemberProcess* process = find(id)) process->thaw(time);
  run_until(now() + kQuiet);
  if (const auto drivers_left = living(false); !drivers_left.empty())
    for (const std::string channel : {"channela", "channelb"})
      drivers_left.front()->run([&] { drivers_left.front()->say_last_word(channel); });
  run_until(now() + 2 * kSecond);
  check_quiet();
  for (MemberProcess* driver : living(true)) driver->run([driver] { driver->end_of_job(); });
  run_until(now() + 3 * kSecond);
  check_after_end();
  outcome_.problem = truth_.problem();
  const NetworkFaults& faults = network_.faults();
  outcome_.counts.connections_broken = faults.broken;
  outcome_.counts.messages_lost = faults.lost;
  outcome_.counts.messages_late = faults.late;
  outcome_.counts.late_after_close = faults.late_after_close;
  outcome_.counts.stalled = faults.stalled;
  outcome_.counts.connects_failed = faults.failed_connects;
  return outcome_;
}

void Counts::add(const Counts& more) {
#define RAYX_SIM_COUNT(name) name += more.name;
  RAYX_SIM_COUNTS(RAYX_SIM_COUNT)
#undef RAYX_SIM_COUNT
}

std::string Counts::text() const {
  std::string text;
#define RAYX_SIM_COUNT(name) text += (text.empty() ? "" : ", ") + (#name + (" " + std::to_string(name)));
  RAYX_SIM_COUNTS(RAYX_SIM_COUNT)
#undef RAYX_SIM_COUNT
  return text;
}

}  // namespace rayx::sim
