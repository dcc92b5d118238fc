#include "run.hpp"

#include <algorithm>

namespace rayx::sim {

using registry::ActorPhase;
using registry::MemberKind;

Run::Run(const Plan& plan)
    : plan_(plan), chance_(plan.seed), network_(events_, chance_), disk_(events_, plan.commit_ns) {
  report_.plan = plan;
  network_.set_delays(plan.one_way_ns * 10 / 6, 0);  // its mean is six tenths of what it is given
}

Report Run::run() {
  join();
  if (nodes_.size() < static_cast<std::size_t>(plan_.nodes) / 2 || drivers_.empty()) {
    fail("there is no cluster: most were given up while all joined");
    return report_;
  }
  make_many_actors();
  steady();
  lose_rack();
  restart_head();
  check_end();
  return report_;
}

void Run::join() {
  start_head();
  for (int i = 0; i < plan_.nodes; ++i) start_process(MemberKind::kNode);
  for (int i = 0; i < plan_.drivers(); ++i) start_process(MemberKind::kDriver);
  report_.join = measured([this] { return all_joined() && all_know_all(); });
  run_until(now() + kLimit, [this] { return drivers_.size() == static_cast<std::size_t>(plan_.drivers()); });
}

void Run::make_many_actors() {
  for (int i = 0; i < 2 * plan_.nodes; ++i) create_some_actor();
  report_.actors = measured([this] { return not_alive_.empty(); });
}

void Run::steady() {
  begin_load();
  begin_churn();
  run_for(plan_.steady_ns / 2);
  traffic_.waited_ns_max = traffic_.queued_ns_max = 0;
  const Traffic before = traffic_;
  const TimeNs from = now();
  run_for(plan_.steady_ns);
  const TimeNs until = now();
  report_.steady = traffic_.since(before);
  report_.steady_ns = until - from;
  report_.actors_alive = alive();

  has_churn_ = false;
  run_for(8 * kSecond);  // what was asked last is alive, who was killed is dead, and visitors have gone
  std::vector<TimeNs> handed_out;
  std::vector<TimeNs> alive;
  for (const auto& [id, actor] : actors_) {
    if (actor.asked < from || actor.asked >= until) continue;
    if (actor.handed_out == 0 || actor.alive == 0) {
      fail("an actor was not alive 8 s after it was asked for");
      continue;
    }
    handed_out.push_back(actor.handed_out - actor.asked);
    alive.push_back(actor.alive - actor.asked);
  }
  report_.handed_out = delays_of(std::move(handed_out));
  report_.alive = delays_of(std::move(alive));
}

void Run::lose_rack() {
  const TimeNs start = now();
  for (int i = 0; i < plan_.rack(); ++i) {
    Process& node = *processes_.at(nodes_.front());
    rack_.insert(node.member().identity().node);
    for (const auto& [placement, resources] : node.bodies()) awaited_.insert(placement.first);
    end_process(node, true);
  }
  buried_.clear();
  report_.rack_actors = awaited_.size();
  const std::uint64_t to_tell = rack_.size() * processes_.size();
  report_.rack = measured([this, to_tell] { return deaths_told_ >= to_tell; });
  run_until(now() + kLimit, [this] { return awaited_.empty(); });
  report_.rack_actors_ns = awaited_.empty() ? std::max<TimeNs>(0, awaited_until_ - start) : base::kNever;
}

void Run::restart_head() {
  report_.durable_pairs = disk_.pairs().size();
  for (const auto& [key, value] : disk_.pairs()) report_.durable_bytes += key.size() + value.size();
  report_.head_bytes = head_->end();
  head_.reset();
  run_for(plan_.head_away_ns);
  awaited_ = not_alive_;
  report_.restart_actors = awaited_.size();
  const TimeNs start = now();
  start_head();
  report_.restart = measured([this] { return all_joined(); });
  run_until(now() + kLimit, [this] { return awaited_.empty(); });
  report_.restart_actors_ns = awaited_.empty() ? std::max<TimeNs>(0, awaited_until_ - start) : base::kNever;
}

std::size_t Run::alive() const {
  return static_cast<std::size_t>(std::count_if(actors_.begin(), actors_.end(),
                                                [](const auto& it) { return it.second.phase == ActorPhase::kAlive; }));
}

// Nobody wants anything any more: what must converge does, and all agree.
void Run::check_end() {
  has_load_ = false;
  const auto is_view_of_head = [this] {
    std::map<registry::NodeId, registry::NodeView> views;
    for (const registry::NodeView& view : head_->head().nodes()) views[view.node] = view;
    return views.size() == processes_.size() && std::all_of(processes_.begin(), processes_.end(), [&](const auto& it) {
             return !it.second->keeps_views() || it.second->member().nodes() == views;
           });
  };
  run_for(5 * kSecond);
  if (!run_until(now() + kLimit, [this] { return not_alive_.empty(); }))
    fail("an actor that was asked for never lived: " + base::to_text(*not_alive_.begin()));
  for (TimeNs end = now() + kLimit; !is_view_of_head(); run_for(kSecond))
    if (now() > end) return fail("a member's view is not the head's");
  for (const auto& [id, process] : processes_) {
    if (!process->member().is_joined()) fail("a member has not joined in the end");
    if (!process->member().open_requests().empty()) fail("a request was never answered");
  }
  std::map<registry::ActorId, registry::NodeId> placed;
  for (const auto& info : head_->head().actors())
    if (info.phase == ActorPhase::kAlive) placed[info.actor] = info.node;
  for (const auto& [id, process] : processes_)
    for (const auto& [placement, resources] : process->bodies()) {
      const auto found = placed.find(placement.first);
      if (found == placed.end() || found->second != process->member().identity().node)
        return fail("an actor runs where the head does not have it");
      placed.erase(found);
    }
  if (!placed.empty()) fail("an actor is alive and runs nowhere");
  if (!head_->head().is_valid()) fail("the head's books do not agree");
}

}  // namespace rayx::sim
