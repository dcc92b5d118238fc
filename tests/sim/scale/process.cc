#include "process.hpp"

#include "run.hpp"

namespace rayx::sim {

using registry::EndCause;

Process::Process(Run& run, HostId host, registry::Identity identity, bool keeps_views)
    : MemberOnNetwork(run.events_, run.network_, host, std::move(identity)), run_(run), keeps_views_(keeps_views) {}

void Process::begin() {
  attach();
  member_.start(events_.now());
  if (is_driver()) {
    channel_ = "output of " + member_.identity().name;
    ask(registry::StartJob{std::string(64, 'b'), "/opt/service/bin/train", {}});
    member_.subscribe(channel_);
  } else {
    after(run_.soon(registry::kHeartbeat_ns), [this] { change_load(); });
  }
  arm();
}

EndpointId Process::head_at() const { return run_.head_at(); }

const registry::ToMember& Process::heard(const registry::ToMember& message) {
  const auto* view = std::get_if<registry::View>(&message);
  if (view == nullptr) return message;
  run_.on_view(*view);
  if (keeps_views_) return message;
  forgotten_ = registry::View{view->version, view->is_full, view->is_last, {}};
  return forgotten_;
}

void Process::change_load() {
  after(registry::kHeartbeat_ns, [this] { change_load(); });
  if (!run_.has_load() || !run_.happens(run_.plan_.loads_changed / 2)) return;
  const base::Resources& total = member_.identity().resources;
  registry::Load load;
  load.used_by_tasks.cpus =
      static_cast<base::Units>(run_.chance_.below(static_cast<std::uint64_t>(total.cpus / base::kUnitsOfOne + 1))) *
      base::kUnitsOfOne;
  load.used_by_tasks.memory_bytes = load.used_by_tasks.cpus / base::kUnitsOfOne * (std::int64_t{2} << 30);
  for (const registry::JobId job : member_.jobs()) {
    base::Resources each;
    each.cpus = base::kUnitsOfOne;
    if (load.queued.size() < 2) load.queued.push_back({job, each, run_.chance_.below(1'000)});
  }
  member_.set_load(std::move(load));
}

void Process::ask(registry::RequestBody body) {
  const std::size_t kind = body.index();
  const registry::RequestNumber number = member_.request(std::move(body));
  if (number == 0) return run_.fail("a member has more open requests than it may have");
  open_[number] = kind;
}

void Process::create_actor(registry::CreateActor creation) {
  creation.job = job_;
  const registry::ActorId actor = creation.actor;
  run_.on_asked(actor, *this);
  ask(std::move(creation));
  member_.watch(actor);
  after(run_.soon(2 * run_.plan_.actor_life_ns), [this, actor] {
    if (run_.has_load() && run_.is_alive(actor)) ask(registry::KillActor{actor, true});
  });
}

void Process::answered(const registry::Answer& answer) {
  const auto found = open_.find(answer.number);
  if (found == open_.end()) return;  // one of Member's own
  open_.erase(found);
  // What was killed, or never put, is not found; what was asked right before a leave is not answered. Everything else is done.
  if (answer.status != registry::Status::kOk && answer.status != registry::Status::kNotFound && !is_leaving_)
    run_.fail("a request was refused: " + answer.message);
  const auto* job = std::get_if<registry::JobInfo>(&answer.body);
  if (job == nullptr || !is_driver()) return;
  job_ = job->job;
  run_.on_job(*this);
}

void Process::start_actor(const registry::PlaceActor& place) {
  const Placement placement{place.actor, place.incarnation};
  bodies_[placement] = place.resources;
  after(run_.plan_.actor_start_ns, [this, placement] {
    if (bodies_.contains(placement)) member_.actor_alive(placement.first, placement.second);
  });
}

void Process::end_actor(registry::ActorId actor, registry::Incarnation incarnation, EndCause cause) {
  const Placement placement{actor, incarnation};
  after(kMillisecond, [this, placement, cause] {
    if (bodies_.erase(placement) > 0) member_.actor_ended(placement.first, placement.second, cause, "as told");
  });
}

void Process::job_ended(registry::JobId job, const std::string&) {
  if (job == job_) job_ = {};
}

void Process::actor_changed(const registry::ActorState& state) { run_.on_state(state); }

void Process::left() { run_.on_gone(*this); }

void Process::start_anew(const std::string& message) {
  run_.fail("a member was given up: " + message);
  run_.on_gone(*this);
}

void Process::end_yourself(const std::string& message) {
  run_.fail("a member ended itself: " + message);
  run_.on_gone(*this);
}

}  // namespace rayx::sim
