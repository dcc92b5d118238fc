// What processes ask the node.
#include <algorithm>
#include <cstring>

#include "node/node.hpp"

namespace rayx::node {

using shm::NodeAnswer;
using shm::NodeCall;
using shm::NodeQuestion;

void Node::reply(NodeCall& call, NodeAnswer answer, std::uint64_t value, std::uint64_t serial) {
  call.results[0] = static_cast<std::uint64_t>(answer) | serial << 8;
  call.results[1] = value;
  shm::NodeAnswerer::answer(call);
}

void Node::answer_calls() {
  const shm::NodeAnswerer answerer(control_.header().node_calls);
  answerer.take_askers([&](std::uint32_t asker) {
    if (asker >= kProcesses || control_.slot(asker).life.load(std::memory_order_acquire) != shm::ProcessLife::kLive)
      return;
    shm::NodeAnswerer::visit_asked(control_.slot(asker).calls, [&](NodeCall& call) { answer(asker, call); });
  });
}

void Node::answer(std::uint32_t asker, NodeCall& call) {
  const std::uint64_t a = call.arguments[0];
  const std::uint64_t b = call.arguments[1];
  const base::TimeNs now = clock_.now_ns();
  switch (static_cast<NodeQuestion>(call.kind)) {
    case NodeQuestion::kFindClass: return find_class(call);
    case NodeQuestion::kCreateActor:
    case NodeQuestion::kOpenActorLane: return create_actor(asker, call);
    case NodeQuestion::kKillActor: return kill_actor(call, true);
    case NodeQuestion::kEndActor: return kill_actor(call, false);
    case NodeQuestion::kLeaseExtent: return lease(asker, call, false);
    case NodeQuestion::kLeaseSlab: return lease(asker, call, true);
    case NodeQuestion::kBlocked: {
      const auto worker = workers_.find(asker);
      if (worker == workers_.end()) return reply(call, NodeAnswer::kRefused);
      // It stays asked until the worker goes on; a look at it again finds it known.
      if (worker->second.blocked == &call) return;
      worker->second.blocked = &call;
      return scheduler_->blocked(asker, now);
    }
    case NodeQuestion::kResumed: {
      shm::NodeAnswerer::forget(call);
      const auto worker = workers_.find(asker);
      if (worker == workers_.end()) return;
      // The question about waiting may lie in a later cell and not have been looked at.
      if (worker->second.blocked == nullptr) {
        shm::NodeAnswerer::visit_asked(control_.slot(asker).calls, [&](NodeCall& other) {
          if (static_cast<NodeQuestion>(other.kind) == NodeQuestion::kBlocked) reply(other, NodeAnswer::kOk);
        });
        return;
      }
      reply(*std::exchange(worker->second.blocked, nullptr), NodeAnswer::kOk);
      return scheduler_->resumed(asker, now);
    }
    case NodeQuestion::kReleaseActor:
      shm::NodeAnswerer::forget(call);
      if (config_.has_relay && asker == relay_)
        free_lane_of_relay(static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(b));
      return release_actor(static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(b));
    case NodeQuestion::kRelease: {
      shm::NodeAnswerer::forget(call);
      bool wake = false;
      [[maybe_unused]] const bool known = desk_->release(a, wake);
      return;
    }
    case NodeQuestion::kDemand:
      shm::NodeAnswerer::forget(call);
      return scheduler_->demand(static_cast<std::uint32_t>(a), now);
    case NodeQuestion::kLeftLane: {
      shm::NodeAnswerer::forget(call);
      const auto worker = workers_.find(asker);
      if (worker == workers_.end() || worker->second.lane == 0) return;
      if (worker->second.is_dismissed) return;  // its end says the rest, and has to know whose lane it was
      const shm::Lane lane = control_.lane(worker->second.lane - 1);
      for (int member = 0; member < 64; ++member)
        if ((lane.state().members.load(std::memory_order_relaxed) >> member & 1) != 0 &&
            lane.state().member_slot[member].load(std::memory_order_relaxed) == asker)
          lane.forget_member(member);
      worker->second.lane = 0;
      return scheduler_->left(asker, now);
    }
    case NodeQuestion::kStays: {
      shm::NodeAnswerer::forget(call);
      const auto worker = workers_.find(asker);
      if (worker == workers_.end() || worker->second.is_dismissed) return;
      return scheduler_->stays(asker, now);
    }
  }
  reply(call, NodeAnswer::kRefused);
}

void Node::find_class(NodeCall& call) {
  const std::uint64_t units = call.arguments[0];
  std::string text;
  if (call.arguments[2] != 0 && !read_text(call.arguments[1], call.arguments[2], text))
    return reply(call, NodeAnswer::kRefused);
  const std::optional<base::Where> where = base::decode_where(text);
  if (!where) return reply(call, NodeAnswer::kRefused);
  const ClassPlaces places = config_.places_of_class ? config_.places_of_class(*where) : ClassPlaces{};
  const auto total = static_cast<std::uint64_t>(scheduler_->total());
  if (!places.is_here && !places.is_elsewhere) return reply(call, NodeAnswer::kInfeasible, UINT64_MAX);
  const std::uint64_t largest = std::max(places.is_here ? total : 0, places.is_elsewhere ? places.largest : 0);
  // 0: nobody is known who has CPUs, or they have not said yet how many. Tasks wait as long as there is no node.
  if (units > largest && largest != 0) return reply(call, NodeAnswer::kInfeasible, largest);
  const auto known = classes_.find({units, text});
  if (known != classes_.end()) return reply(call, NodeAnswer::kOk, known->second);
  if (classes_.size() == shm::kServiceLane) return reply(call, NodeAnswer::kTooMany);
  const auto lane = static_cast<std::uint32_t>(classes_.size());
  const bool is_here = places.is_here && units <= total;
  classes_[{units, text}] = lane;
  // So that no waiting worker runs what is not for this node.
  control_.lane(lane).state().task_units.store(static_cast<std::uint32_t>(units), std::memory_order_relaxed);
  control_.lane(lane).state().cpu_units.store(is_here ? static_cast<std::uint32_t>(units) : shm::kNobodyHere,
                                              std::memory_order_relaxed);
  control_.lane(lane).state().generation.store(1, std::memory_order_release);
  if (config_.has_relay) {
    control_.lane(lane).add_relay(relay_);
    RelayNews news{RelayNews::Kind::kClass, {lane, 1}, units, {}, {}, *where, is_here};
    config_.tell_relay(std::move(news));
  }
  if (is_here) {
    scheduler_->add_class(lane, static_cast<sched::Units>(units));
  } else {
    set_served(lane, true);  // by the relay: nobody need ask here
  }
  reply(call, NodeAnswer::kOk, lane);
}

void Node::lease(std::uint32_t asker, NodeCall& call, bool is_slab) {
  for (const auto& [ticket, waiting] : leases_asked_)
    if (waiting == &call) return;  // asked before, and waits
  store::LeaseRequest request;
  request.ticket = next_ticket_++;
  request.lessee = asker;
  request.bytes = is_slab ? shm::kSlabBytes : call.arguments[0];
  request.is_slab = is_slab;
  const base::TimeNs now = clock_.now_ns();
  request.deadline_ns = call.arguments[1] == 0 ? now : base::deadline_ns(now, config_.store_timeout);
  leases_asked_[request.ticket] = &call;
  desk_->request(request, [&](const store::LeaseAnswer& given) { answer_lease(given); });
}

// False: nobody waits for it any more.
bool Node::answer_lease(const store::LeaseAnswer& given) {
  const auto asked = leases_asked_.find(given.ticket);
  if (asked == leases_asked_.end()) return false;
  NodeCall& waiting = *asked->second;
  leases_asked_.erase(asked);
  if (given.outcome == store::LeaseOutcome::kGranted) {
    reply(waiting, NodeAnswer::kOk, given.lease.extent.offset, given.lease.serial);
  } else {
    reply(waiting, NodeAnswer::kStoreFull, desk_->used_bytes(), desk_->used_by_others());
  }
  return true;
}

void Node::answer_leases() {
  for (const store::LeaseAnswer& given : desk_->take_answers()) {
    if (answer_lease(given) || given.outcome != store::LeaseOutcome::kGranted) continue;
    bool wake = false;  // its process is gone
    [[maybe_unused]] const bool known = desk_->release(given.lease.extent.offset, wake);
  }
}

// ---- Actors

bool Node::read_text(shm::Offset offset, std::uint64_t bytes, std::string& text) const {
  if (bytes > base::kWhereBytesMax || !arena_->contains(offset, bytes)) return false;
  text.assign(reinterpret_cast<const char*>(arena_->address(offset)), bytes);
  return true;
}

bool Node::read_wish(shm::Offset offset, std::uint64_t bytes, shm::ActorWish& wish, std::string& name,
                     std::string& where) const {
  if (bytes < sizeof(wish) || !arena_->contains(offset, bytes)) return false;
  const std::byte* const block = arena_->address(offset);
  std::memcpy(&wish, block, sizeof(wish));
  if (wish.name_bytes > shm::kActorNameBytesMax || wish.where_bytes > base::kWhereBytesMax ||
      bytes != sizeof(wish) + wish.name_bytes + wish.where_bytes)
    return false;
  name.assign(reinterpret_cast<const char*>(block + sizeof(wish)), wish.name_bytes);
  where.assign(reinterpret_cast<const char*>(block + sizeof(wish) + wish.name_bytes), wish.where_bytes);
  return true;
}

void Node::create_actor(std::uint32_t asker, NodeCall& call) {
  const bool is_handle = static_cast<NodeQuestion>(call.kind) == NodeQuestion::kOpenActorLane;
  const std::uint64_t units = is_handle ? 0 : call.arguments[0];
  shm::ActorWish wish;
  std::string name;
  std::string text;
  if (!is_handle && !read_wish(call.arguments[1], call.arguments[2], wish, name, text))
    return reply(call, NodeAnswer::kRefused);
  const std::optional<base::Where> where = base::decode_where(text);
  if (!where) return reply(call, NodeAnswer::kRefused);
  const bool wants_head =
      (wish.flags & shm::ActorWish::kIsNamed) != 0 || wish.max_restarts != 0 || !where->is_anywhere();
  if (wants_head && !config_.has_places) return reply(call, NodeAnswer::kNoCluster);
  // What the relay asks for, the head has given to this node. Where all is here, only what needs the head takes the way over it.
  const bool is_elsewhere =
      is_handle || (config_.has_places && asker != relay_ && (wants_head || !config_.is_all_here));
  if ((!is_elsewhere || (wants_head && config_.is_all_here)) && units > static_cast<std::uint64_t>(scheduler_->total()))
    return reply(call, NodeAnswer::kInfeasible, scheduler_->total());
  for (std::uint32_t lane = kClassLanes; lane < kLanes; ++lane) {
    ActorLane& actor = actors_[lane];
    if (actor.is_used) continue;
    shm::LaneState& state = control_.lane(lane).state();
    bool is_clean = state.members.load(std::memory_order_acquire) == 0;
    for (const auto& group : state.submitters) is_clean = is_clean && group.load(std::memory_order_acquire) == 0;
    if (!is_clean) continue;  // somebody still has a handle of the actor before
    actor = ActorLane{};
    actor.generation = state.generation.load(std::memory_order_relaxed) + 1;
    actor.creator = asker;
    actor.is_used = true;
    actor.name = name.substr(0, kLabelBytesMax);
    actor.is_elsewhere = is_elsewhere;
    state.end.store(0, std::memory_order_relaxed);
    state.executor.store(0, std::memory_order_relaxed);
    state.is_served.store(1, std::memory_order_relaxed);
    state.cpu_units.store(static_cast<std::uint32_t>(units), std::memory_order_relaxed);
    state.generation.store(actor.generation, std::memory_order_release);
    if (is_elsewhere) {
      control_.lane(lane).add_relay(relay_);
      if (!is_handle)
        config_.tell_relay({RelayNews::Kind::kActorMade, {lane, actor.generation}, units, name, wish, *where});
    } else {
      scheduler_->add_actor(lane, static_cast<sched::Units>(units), clock_.now_ns());
    }
    return reply(call, NodeAnswer::kOk, std::uint64_t{actor.generation} << 32 | lane);
  }
  reply(call, NodeAnswer::kTooMany);
}

void Node::release_actor(std::uint32_t lane, std::uint32_t generation) {
  if (lane < kClassLanes || lane >= kLanes) return;
  ActorLane& actor = actors_[lane];
  if (!actor.is_used || actor.generation != generation || actor.is_released) return;
  actor.is_released = true;
  if (actor.is_elsewhere) return leave_to_relay(lane, actor.is_maker_gone);
  const bool has_process = scheduler_->worker_of_actor(lane).has_value();
  scheduler_->remove_actor(lane, clock_.now_ns());
  if (has_process) return;
  if (actor.is_maker_gone || (config_.has_relay && actor.creator == relay_))
    end_actor_lane(lane, shm::LaneEnd::kMakerGone);
  actor.is_used = false;
}

// The lane is free when the relay says that it has left it.
void Node::leave_to_relay(std::uint32_t lane, bool is_maker_gone) {
  if (is_maker_gone) end_actor_lane(lane, shm::LaneEnd::kMakerGone);
  config_.tell_relay({is_maker_gone ? RelayNews::Kind::kMakerGone : RelayNews::Kind::kActorReleased,
                      {lane, actors_[lane].generation},
                      0,
                      {}});
}

void Node::free_lane_of_relay(std::uint32_t lane, std::uint32_t generation) {
  if (lane < kClassLanes || lane >= kLanes) return;
  ActorLane& actor = actors_[lane];
  if (!actor.is_used || !actor.is_elsewhere || actor.generation != generation) return;
  control_.lane(lane).forget_member(shm::kRelayMember);
  actor.is_used = false;
}

void Node::kill_actor(NodeCall& call, bool is_question) {
  const std::uint64_t lane = call.arguments[0];
  const std::uint64_t generation = call.arguments[1];
  const auto answer = [&](NodeAnswer what) { is_question ? reply(call, what) : shm::NodeAnswerer::forget(call); };
  if (lane < kClassLanes || lane >= kLanes) return answer(NodeAnswer::kRefused);
  ActorLane& actor = actors_[lane];
  if (!actor.is_used || actor.generation != generation) return answer(NodeAnswer::kGone);
  if (control_.lane(static_cast<std::uint32_t>(lane)).state().end.load(std::memory_order_relaxed) != 0)
    return answer(NodeAnswer::kOk);
  if (actor.killer == &call) return;
  if (actor.is_elsewhere) {
    config_.tell_relay({RelayNews::Kind::kActorKilled, {static_cast<std::uint32_t>(lane), actor.generation}, 0, {}});
    return answer(NodeAnswer::kOk);
  }
  actor.was_killed = true;
  const std::optional<sched::WorkerId> worker = scheduler_->worker_of_actor(static_cast<std::uint32_t>(lane));
  if (!worker) {  // not started yet
    end_actor_lane(static_cast<std::uint32_t>(lane), shm::LaneEnd::kKilled);
    scheduler_->remove_actor(static_cast<std::uint32_t>(lane), clock_.now_ns());
    return answer(NodeAnswer::kOk);
  }
  if (!is_question) {
    shm::NodeAnswerer::forget(call);
  } else {
    if (actor.killer != nullptr) return reply(call, NodeAnswer::kOk);  // somebody else kills it this moment
    actor.killer = &call;
  }
  if (fork_server_ != nullptr) fork_server_->kill_worker(*worker);  // else spawn() comes back to it
}

// Nobody will execute there any more; everybody who has calls there is told.
void Node::end_actor_lane(std::uint32_t lane, shm::LaneEnd end) {
  control_.lane(lane).state().end.store(static_cast<std::uint32_t>(end), std::memory_order_seq_cst);
  if (config_.has_relay && !actors_[lane].is_elsewhere)
    config_.tell_relay({RelayNews::Kind::kActorEnded, {lane, actors_[lane].generation}, 0, {}});
  const std::uint32_t used = control_.header().processes_used.load(std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < used; ++i)
    if (control_.slot(i).life.load(std::memory_order_relaxed) == shm::ProcessLife::kLive) control_.call_service(i);
}

}  // namespace rayx::node
