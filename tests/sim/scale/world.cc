// What there is in the cluster, and what happens in it by chance.
#include <algorithm>
#include <cmath>

#include "run.hpp"

namespace rayx::sim {

using base::kUnitsOfOne;
using registry::ActorPhase;
using registry::Identity;
using registry::MemberKind;

namespace {
std::string service_name(std::uint64_t number) { return std::to_string(number) + ".service"; }
}  // namespace

void Run::start_head() {
  head_ = std::make_unique<HeadOnNetwork>(events_, network_, disk_, traffic_, plan_,
                                          [this](registry::ActorId actor) { on_handed_out(actor); });
  report_.restore_ns = head_->begin(kHeadHost);
}

EndpointId Run::start_process(MemberKind kind) {
  const HostId host = ++last_host_;
  const std::string number = std::to_string(host);
  Identity identity;
  identity.node = {chance_.bits() | 1};
  identity.kind = kind;
  identity.name = kind == MemberKind::kNode ? "worker-" : "driver-";
  identity.name += number;
  identity.address = "10.";
  identity.address += std::to_string(host / 250 % 250) + '.' + std::to_string(host % 250) + ".1:6390";
  identity.pid = 1'000 + host;
  identity.build = std::string(40, 'f');
  if (kind == MemberKind::kNode) {
    identity.resources.cpus = 64 * kUnitsOfOne;
    identity.resources.memory_bytes = std::int64_t{256} << 30;
    if (host % 4 == 0) identity.resources.set("gpu", 8 * kUnitsOfOne);
    identity.labels = {{"instance", host % 4 == 0 ? "g8.large" : "c64.large"},
                       {"zone", std::string(1, static_cast<char>('a' + host % 3))}};
  }
  auto process = std::make_unique<Process>(*this, host, std::move(identity), views_kept_ < plan_.views_kept);
  ++views_kept_;
  Process& it = *process;
  it.begin();
  processes_[it.me()] = std::move(process);
  if (kind == MemberKind::kNode) nodes_.push_back(it.me());
  return it.me();
}

// Nobody asks it for anything any more.
void Run::leave(Process& process) {
  std::erase(nodes_, process.me());
  process.run([&] { process.leave(); });
}

void Run::end_process(Process& process, bool is_silent) {
  const auto found = processes_.find(process.me());
  views_kept_ -= process.keeps_views();
  std::erase(nodes_, process.me());
  std::erase(drivers_, process.me());
  visitors_.erase(process.me());
  network_.detach(process.me(), is_silent);
  buried_.push_back(std::move(found->second));
  processes_.erase(found);
}

Process* Run::some(const std::vector<EndpointId>& of) {
  return of.empty() ? nullptr : processes_.at(of[chance_.below(of.size())]).get();
}

// ---- What happens by chance

// As often as that on average, each time independent of the one before.
void Run::every(double per_second, const bool& is_wanted, std::function<void()> what) {
  if (per_second <= 0) return;
  const double share = (static_cast<double>(chance_.below(1'000'000)) + 1) / 1'000'000;
  const auto pause = static_cast<TimeNs>(-std::log(share) / per_second * 1e9);
  events_.after(pause, [this, per_second, &is_wanted, what = std::move(what)]() mutable {
    if (!is_wanted) return;
    what();
    every(per_second, is_wanted, std::move(what));
  });
}

void Run::create_some_actor() {
  Process* driver = some(drivers_);
  if (driver == nullptr) return;
  registry::CreateActor creation;
  creation.actor = {chance_.bits() | 1};
  creation.resources.cpus = kUnitsOfOne;
  creation.resources.memory_bytes = std::int64_t{2} << 30;
  if (chance_.one_in(10)) creation.resources.set("gpu", kUnitsOfOne);
  if (chance_.one_in(20)) creation.selectors.push_back({"zone", false, {"a", "b"}});
  if (chance_.one_in(10)) {
    creation.name = service_name(++last_name_);
    creation.name_space = "services";
  }
  creation.max_restarts = 10;
  creation.creation = std::string(300, 'c');  // its class and what its constructor is given
  driver->run([&] { driver->create_actor(std::move(creation)); });
}

void Run::begin_load() {
  has_load_ = true;
  const double nodes = plan_.nodes;
  const auto on_some_node = [this](auto&& ask) {
    return [this, ask] {
      if (Process* node = some(nodes_)) node->run([&] { node->ask(ask()); });
    };
  };
  const auto some_key = [this] {
    return std::to_string(chance_.below(static_cast<std::uint64_t>(10 * plan_.nodes))) + ".setting";
  };
  every(nodes * plan_.actors_made, has_load_, [this] { create_some_actor(); });
  every(nodes * plan_.names_asked, has_load_, on_some_node([this] {
          const std::uint64_t age = chance_.below(100);
          return registry::LookUpName{"services", service_name(last_name_ - std::min(last_name_, age))};
        }));
  every(nodes * plan_.keys_put, has_load_, on_some_node([some_key] {
          return registry::KvPut{"settings", some_key(), std::string(200, 'v'), true};
        }));
  every(nodes * plan_.keys_got, has_load_, on_some_node([some_key] {
          return registry::KvGet{"settings", some_key()};
        }));
  every(nodes * plan_.published, has_load_, [this] {
    Process* node = some(nodes_);
    Process* reader = some(drivers_);
    if (node != nullptr && reader != nullptr)
      node->run([&] { node->ask(registry::Publish{reader->channel(), std::string(120, 'l')}); });
  });
}

void Run::begin_churn() {
  has_churn_ = true;
  const double nodes = plan_.nodes;
  // Who is gone is replaced, and so are there always as many.
  every(nodes * plan_.nodes_left, has_churn_, [this] {
    if (Process* node = some(nodes_)) leave(*node);
    start_process(MemberKind::kNode);
  });
  every(nodes * plan_.nodes_killed, has_churn_, [this] {
    if (Process* node = some(nodes_)) end_process(*node, false);
    start_process(MemberKind::kNode);
  });
  every(nodes * plan_.jobs, has_churn_, [this] { visitors_.insert(start_process(MemberKind::kDriver)); });
}

bool Run::run_until(TimeNs limit, const std::function<bool()>& is_done) {
  while (!is_done()) {
    if (now() >= limit) return false;
    const TimeNs slice = std::min(limit, now() + kMillisecond);
    while (events_.step(slice)) buried_.clear();
  }
  return true;
}

MassEvent Run::measured(const std::function<bool()>& is_done) {
  const TimeNs start = now();
  traffic_.waited_ns_max = traffic_.queued_ns_max = 0;
  const Traffic before = traffic_;
  const bool is_over = run_until(now() + kLimit, is_done);
  return {is_over ? now() - start : base::kNever, traffic_.since(before)};
}

bool Run::all_joined() const {
  return std::all_of(processes_.begin(), processes_.end(),
                     [](const auto& it) { return it.second->member().is_joined(); });
}

bool Run::all_know_all() const {
  return std::all_of(processes_.begin(), processes_.end(), [this](const auto& it) {
    return !it.second->keeps_views() || it.second->member().nodes().size() == processes_.size();
  });
}

// ---- What processes report

void Run::on_view(const registry::View& view) {
  if (rack_.empty()) return;
  for (const registry::NodeView& node : view.nodes)
    deaths_told_ += node.state == registry::NodeState::kDead && rack_.contains(node.node);
}

void Run::on_asked(registry::ActorId actor, const Process& by) {
  actors_[actor.value] = {by.me(), now(), 0, 0, ActorPhase::kPending};
  ++report_.actors_made;
  not_alive_.insert(actor);
}

void Run::on_handed_out(registry::ActorId actor) {
  Actor& it = actors_.at(actor.value);
  if (it.handed_out == 0) it.handed_out = now();
}

void Run::on_state(const registry::ActorState& state) {
  Actor& it = actors_.at(state.actor.value);
  it.phase = state.phase;
  if (state.phase != ActorPhase::kAlive && state.phase != ActorPhase::kDead) {
    not_alive_.insert(state.actor);
    return;
  }
  if (it.alive == 0 && state.phase == ActorPhase::kAlive) it.alive = now();
  not_alive_.erase(state.actor);
  if (awaited_.erase(state.actor) > 0 && awaited_.empty()) awaited_until_ = now();
}

bool Run::is_alive(registry::ActorId actor) const { return actors_.at(actor.value).phase == ActorPhase::kAlive; }

void Run::on_job(Process& driver) {
  constexpr int kNodesThatServe = 5;
  for (int i = 0; i < kNodesThatServe; ++i)
    if (Process* node = some(nodes_)) node->run([&] { node->ask(registry::LookUpJob{driver.job()}); });
  if (!visitors_.contains(driver.me())) return drivers_.push_back(driver.me());
  events_.after(5 * kSecond, [this, me = driver.me()] {
    const auto found = processes_.find(me);
    if (found != processes_.end()) leave(*found->second);
  });
}

void Run::on_gone(Process& process) {
  events_.after(0, [this, me = process.me()] {
    const auto found = processes_.find(me);
    if (found != processes_.end()) end_process(*found->second, false);
  });
}

}  // namespace rayx::sim
