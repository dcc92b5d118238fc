// Actors that live elsewhere, as the node sees them whose processes have handles: what is called here goes to where they are.
#include <algorithm>
#include <cstring>

#include <rayx/detail/remote_failure.hpp>

#include "base/planted_bug.hpp"
#include "process/spawn_self.hpp"
#include "registry/limits.hpp"
#include "relay/loopback.hpp"
#include "relay/relay.hpp"

namespace rayx::relay {

using registry::ActorPhase;
using worker::RefCell;

namespace {

constexpr std::size_t kCallsMax = 1024;  // of one actor that are there and not answered
constexpr int kCallsPerTurn = 128;
constexpr base::TimeNs kWatchAgainPause_ns = 100'000'000;
constexpr int kWatchPausesMax = 10;
constexpr int kWatchTimesMax = 30;  // after the maker's node is gone: what it has said last may be on its way
constexpr int kWaysMax = 100;       // with the pause: longer than a head takes to give a silent node up
constexpr std::size_t kPartInlineMax_bytes = 4096;  // of a constructor's; larger ones are fetched by whoever starts it
constexpr std::size_t kCreationMax_bytes = 128 << 10;  // of its parts that lie in it

std::string text_of_end(const registry::ActorState& state) {
  switch (state.cause) {
    case registry::EndCause::kKilled: return "rayx::kill() ended it";
    case registry::EndCause::kNodeDied: return "its node is gone: " + state.message;
    case registry::EndCause::kNoProcess: return "no process could be started for it: " + state.message;
    case registry::EndCause::kNone:
    case registry::EndCause::kCrashed:
    case registry::EndCause::kConstructorFailed:
    case registry::EndCause::kOwnerDied:
    case registry::EndCause::kJobEnded: break;
  }
  return state.message.empty() ? registry::to_text(state.cause) : state.message;
}

}  // namespace

// ---- News of the node

void Relay::hear(node::RelayNews news) {
  {
    const std::lock_guard lock(news_mutex_);
    news_.push_back(std::move(news));
    has_news_.store(true, std::memory_order_seq_cst);
  }
  wake();
}

void Relay::take_news() {
  if (!has_news_.load(std::memory_order_acquire)) return;
  std::vector<node::RelayNews> news;
  {
    const std::lock_guard lock(news_mutex_);
    news.swap(news_);
    has_news_.store(false, std::memory_order_seq_cst);
  }
  for (node::RelayNews& it : news) {
    switch (it.kind) {
      case node::RelayNews::Kind::kClass:
        lanes_served_.push_back({it.lane.lane, it.cpu_units, std::move(it.where), it.is_here});
        puller_.join(it.lane.lane, true);
        if (cpu_units_ != 0 && !lanes_served_.back().is_here) reach_all(lanes_served_.back());
        for (auto& [id, peer] : peers_) set_slots(*peer);
        break;
      case node::RelayNews::Kind::kActorMade: {
        RemoteActor& actor = add_remote_actor(base::ActorId{process::random_word()}, it.lane);
        actor.is_made_here = true;
        actor.max_restarts = it.wish.max_restarts;
        actor.max_task_retries = it.wish.max_task_retries;
        actor.made = std::move(it);
        break;
      }
      case node::RelayNews::Kind::kActorReleased: release_actor(it.lane, false); break;
      case node::RelayNews::Kind::kMakerGone: release_actor(it.lane, true); break;
      case node::RelayNews::Kind::kActorKilled:
        if (RemoteActor* const actor = actor_of(it.lane)) kill(*actor);
        break;
      case node::RelayNews::Kind::kActorEnded: process_of_actor_has_ended(it.lane); break;
      case node::RelayNews::Kind::kLent: has_lent_news_ = true; break;
    }
  }
}

RemoteActor& Relay::add_remote_actor(base::ActorId id, node::LaneName lane) {
  RemoteActor& actor = remote_actors_[id];
  actor.id = actor.target = id;
  actor.lane = lane;
  if (remote_of_lane_.size() <= lane.lane) remote_of_lane_.resize(lane.lane + 1);
  remote_of_lane_[lane.lane] = id;
  puller_.join(lane.lane);
  return actor;
}

RemoteActor* Relay::actor_of(node::LaneName lane) {
  if (lane.lane >= remote_of_lane_.size()) return nullptr;
  const auto found = remote_actors_.find(remote_of_lane_[lane.lane]);
  return found == remote_actors_.end() || found->second.lane.generation != lane.generation ? nullptr : &found->second;
}

void Relay::forget_remote_actor(RemoteActor& actor) {
  puller_.leave(actor.lane.lane);
  remote_of_lane_[actor.lane.lane] = {};
  forget_creation(actor);
  // Out of the lane and in nobody's hands: nobody else would answer them. The maker may be gone while others wait.
  constexpr const char* kHow = "nobody has a handle of it";
  if (actor.claimed) fail_call(row_of(*actor.claimed, actor.lane.lane), kHow);
  fail_again(actor, kHow);
  const base::ActorId target = actor.target;
  const bool was_watched = places_ != nullptr && !actor.has_home;
  remote_actors_.erase(actor.id);
  bool is_watched = false;
  with_actors(target, [&](const RemoteActor&) { is_watched = true; });
  if (was_watched && !is_watched) places_->unwatch_actor(target);
}

// An actor may have several rows: one for the handle that has made it, or found it by its name, and one for those that came here.
template <class Use>
void Relay::with_actors(base::ActorId target, Use&& use) {
  for (auto& [id, actor] : remote_actors_)
    if (actor.target == target) use(actor);
}

// What becomes of the actor is said once to each node: a further row begins with what is known.
void Relay::watch(RemoteActor& actor) {
  places_->watch_actor(actor.target);  // nothing is said again to who watches it already
  const RemoteActor* known = nullptr;
  with_actors(actor.target, [&](const RemoteActor& other) { known = &other == &actor ? known : &other; });
  if (known == nullptr) return;
  actor.phase = known->phase;
  actor.incarnation = known->incarnation;
  actor.over = known->over;
  actor.node = known->node;
  actor.site = known->site;
  actor.how = known->how;
  actor.max_restarts = known->max_restarts;
  actor.max_task_retries = known->max_task_retries;
}

// No process has a handle of an actor that was made here.
void Relay::release_actor(node::LaneName lane, bool is_maker_gone) {
  RemoteActor* const actor = actor_of(lane);
  if (actor != nullptr && actor->target != actor->id) {  // another one has made it
    forget_remote_actor(*actor);
  } else if (actor != nullptr) {
    Peer* const peer = actor->phase == ActorPhase::kAlive ? peer_on(actor->node) : nullptr;
    if (actor->phase == ActorPhase::kDead) {
    } else if (!actor->is_begun) {
      never_begins(*actor, registry::EndCause::kOwnerDied, "who made it has died");
    } else if ((actor->made.wish.flags & shm::ActorWish::kIsDetached) != 0) {  // it needs nobody's handle
    } else if (peer != nullptr && !is_maker_gone) {
      // It ends after what it does, and when that has begun the head may know.
      peer->actors_released.add(FrameKind::kReleaseActor, ActorHead{actor->target.value});
      releasing_[actor->target] = peer->id;
    } else {
      places_->kill_actor(actor->target);
    }
    forget_remote_actor(*actor);
  }
  Client::node().tell(shm::NodeQuestion::kReleaseActor, lane.lane, lane.generation);
}

void Relay::on_actor_released(Peer&, const ActorHead& actor) {
  if (releasing_.erase(base::ActorId{actor.actor}) != 0) places_->kill_actor(base::ActorId{actor.actor});
}

void Relay::kill(RemoteActor& actor) {
  if (actor.phase == ActorPhase::kDead) return;
  if (actor.is_made_here && !actor.is_begun) {
    never_begins(actor, registry::EndCause::kKilled, {});
  } else if (!actor.has_home) {
    places_->kill_actor(actor.target);
  } else if (Peer* const peer = peer_on(actor.node)) {
    peer->actors_killed.add(FrameKind::kKillActor, ActorHead{actor.target.value});
  }
  actor_is_dead(actor, "rayx::kill() ended it");
}

// What it has been given is answered by its node, or by the end of the link there.
void Relay::actor_is_dead(RemoteActor& actor, std::string how) {
  actor.phase = ActorPhase::kDead;
  actor.how = std::move(how);
  forget_creation(actor);
  fail_again(actor, actor.how);
  actor.kept_calls.clear();
  if (actor.constructor != 0) {
    if (SentRow* const row = find_sent(actor.constructor, 0)) {
      fail_call(*row, actor.how);
      forget_sent(*row);
    }
    actor.constructor = 0;
  }
}

// ---- Calls

bool Relay::pull_calls() {
  bool any = false;
  for (auto& [id, actor] : remote_actors_) any = pull_calls(actor) || any;
  return any;
}

bool Relay::pull_calls(RemoteActor& actor) {
  bool any = false;
  shm::LanePuller::Task task;
  if (actor.phase == ActorPhase::kDead) {
    for (; take_call(actor, task); any = true) fail_call(row_of(task, actor.lane.lane), actor.how);
    return any;
  }
  if (actor.is_made_here && !actor.is_begun) {
    if (!puller_.take(actor.lane.lane, task)) return false;
    create(actor, task);
    return true;
  }
  if (!is_there(actor) || (actor.again.empty() && !actor.claimed && !puller_.has_work(actor.lane.lane))) return false;
  Peer* const peer = peer_on(actor.node);
  if (peer == nullptr) return find_way_to(actor);
  const std::size_t waiting = actor.again.size();
  if (!send_again(actor, *peer)) return actor.again.size() != waiting;  // who makes room wakes
  any = waiting != 0;
  for (int i = 0; i < kCallsPerTurn && may_call(actor, *peer) && take_call(actor, task); ++i) {
    // Who has killed the actor and calls it then was heard of before.
    if (has_news_.load(std::memory_order_seq_cst)) {
      actor.claimed = task;
      return true;
    }
    send_call(actor, *peer, task, ++last_call_);
    any = true;
  }
  return any;
}

bool Relay::take_call(RemoteActor& actor, shm::LanePuller::Task& task) {
  if (!actor.claimed) return puller_.take(actor.lane.lane, task);
  task = *std::exchange(actor.claimed, std::nullopt);
  return true;
}

// Whether what is called now is called in order, and comes to an incarnation that lives. What another incarnation was given is answered
// or lost first.
bool Relay::is_there(const RemoteActor& actor) {
  if (actor.phase != ActorPhase::kAlive) return false;
  return actor.has_home ||
         (actor.incarnation > actor.over && (actor.calls.empty() || actor.called == actor.incarnation));
}

bool Relay::may_call(const RemoteActor& actor, const Peer& peer) {
  return !actor.is_sending_stream && actor.calls.size() < kCallsMax && !peer.link->is_congested();
}

// The calls that an earlier incarnation has not answered. False: there is no room for more at present.
bool Relay::send_again(RemoteActor& actor, Peer& peer) {
  while (!actor.again.empty()) {
    if (!may_call(actor, peer)) return false;
    const std::uint64_t order = *actor.again.begin();
    actor.again.erase(actor.again.begin());
    send_call(actor, peer, shm::LanePuller::Task(actor.kept_calls.at(order).task), order);
  }
  return true;
}

// Those that wait for the next incarnation.
void Relay::fail_again(RemoteActor& actor, const std::string& how) {
  for (const std::uint64_t order : std::exchange(actor.again, {})) {
    fail_call(row_of(actor.kept_calls.at(order).task, actor.lane.lane), how);
    actor.kept_calls.erase(order);
  }
}

// Whether the call of the row, which its node has not answered, waits for the next incarnation now.
bool Relay::is_made_again(RemoteActor& actor, SentRow& row) {
  if (actor.phase == ActorPhase::kDead) return false;
  const auto call = actor.kept_calls.find(row.order);
  if (call == actor.kept_calls.end() || call->second.tries_left == 0) return false;
  if (call->second.tries_left != registry::kForEver) --call->second.tries_left;
  actor.again.insert(std::exchange(row.order, 0));
  return true;
}

// It was at a node, and what became of it there nobody knows, or nothing did.
void Relay::lose(SentRow& row, std::span<const std::byte> error) {
  const auto found = remote_actors_.find(row.actor);
  if (found == remote_actors_.end()) return tell_lost(row, error);
  RemoteActor& actor = found->second;
  if (is_made_again(actor, row)) return;
  // The caller words it: kWorkerDied says that the actor lives on.
  detail::RemoteFailure failure = detail::decode_failure(error);
  const bool is_over = actor.phase == ActorPhase::kDead || actor.max_restarts == 0;
  failure.code = is_over ? ErrorCode::kActorDied : ErrorCode::kWorkerDied;
  tell_lost(row, bytes_of(failure));
}

// Whether there is something to do for the lane now.
bool Relay::can_pull(const RemoteActor& actor) {
  if (actor.phase == ActorPhase::kDead || (actor.is_made_here && !actor.is_begun)) return true;
  if (!is_there(actor)) return false;
  const Peer* const peer = peer_on(actor.node);
  return peer == nullptr ? !actor.has_asked_for_peer : may_call(actor, *peer);
}

void Relay::link_to_itself() {
  loopback_ = std::make_shared<Loopback>(*this);
  const PeerId id = add_peer_locked("this node", loopback_, node_, {});
  loopback_->begin(id);
}

// True: it has changed what can be done.
bool Relay::find_way_to(RemoteActor& actor) {
  if (actor.node == node_) {
    link_to_itself();
    return true;
  }
  if (places_ == nullptr) {
    actor_is_dead(actor, "its node is gone");
    return true;
  }
  if (std::exchange(actor.has_asked_for_peer, true)) return false;
  if (site_.job && !site_.is_one_with(actor.site)) {
    places_->need_site(actor.site);
  } else {
    places_->need_peer(actor.node);
  }
  return true;
}

void Relay::send_call(RemoteActor& actor, Peer& peer, const shm::LanePuller::Task& task, std::uint64_t order) {
  const std::uint32_t index = take_row(row_of(task, actor.lane.lane));
  SentRow& row = sent_[index];
  row.peer = peer.id;
  row.actor = actor.id;
  row.order = order;
  row.incarnation = actor.called = actor.incarnation;
  if (actor.max_task_retries != 0) actor.kept_calls.try_emplace(order, KeptCall{task, actor.max_task_retries});
  Needs needs;
  std::string problem;
  if (!read_task(task, needs, problem)) {
    if (problem.empty()) {
      give_back(row, detail::kRecordReturned);
    } else {
      complete_with_problem(row, problem, needs.code);
    }
    return forget_sent(row);
  }
  Piece& arguments = needs.arguments;
  auto& parts = needs.parts;
  const bool has_streams = arguments.is_stream();
  if (has_streams) {
    flush(peer);  // what was called before goes before
    actor.is_sending_stream = !RAYX_PLANTED_BUG(527);
  }
  CallHead head{number_of(row),
                actor.target.value,
                actor.incarnation,
                task.owner,
                task.body.function_and_flags >> 16,
                static_cast<std::uint32_t>(parts.size()),
                0,
                arguments.length()};
  Cargo cargo;
  cargo.what = OfferedFor::kCall;
  cargo.subject = head.number;
  FrameWriter own;
  FrameWriter& writer = has_streams ? own : peer.calls;
  writer.add(FrameKind::kCalls, head);
  put_value(writer, peer, arguments, cargo);
  put_parts(writer, peer, parts, cargo);
  if (has_streams) cargo.until_sent = tell_when_sent(actor.id);
  send_cargo(peer, own, cargo);
  peer.handed_out.insert(index);
  actor.calls.insert(index);
  if (peer.calls.bytes() >= kFrameBytes) flush(peer);
}

// Goes when the frame has left.
std::shared_ptr<void> Relay::tell_when_sent(base::ActorId actor) {
  return {new base::ActorId(actor), [life = life_](base::ActorId* sent) {
            const std::unique_ptr<base::ActorId> gone(sent);
            const std::lock_guard lock(life->mutex);
            if (life->relay == nullptr) return;
            life->streamed.push_back(*sent);
            life->relay->has_sent_.store(true, std::memory_order_seq_cst);
            life->relay->wake();
          }};
}

// The caller words the rest: it knows the actor's name.
void Relay::fail_call(const SentRow& row, const std::string& how) {
  detail::RemoteFailure error;
  error.code = ErrorCode::kActorDied;
  error.message = how;
  tell_lost(row, bytes_of(error));
}

// ---- Actors made here

void Relay::create(RemoteActor& actor, const shm::LanePuller::Task& task) {
  actor.is_begun = true;
  const std::uint32_t index = take_row(row_of(task, actor.lane.lane));
  sent_[index].actor = actor.id;
  actor.constructor = number_of(sent_[index]);
  registry::CreateActor request;
  request.actor = actor.id;
  request.resources.cpus = static_cast<base::Units>(actor.made.cpu_units);
  if ((actor.made.wish.flags & shm::ActorWish::kIsNamed) != 0) request.name = actor.made.name;
  request.get_if_exists = (actor.made.wish.flags & shm::ActorWish::kGetIfExists) != 0;
  request.is_detached = (actor.made.wish.flags & shm::ActorWish::kIsDetached) != 0;
  if (request.is_detached) request.name_space = registry::kDetachedSpace;
  request.selectors = actor.made.where.selectors;
  if (site_.is_detached && !request.is_detached) {  // it has nobody elsewhere
    request.is_detached = request.is_owned = true;
    request.selectors.push_back({std::string(base::kNodeIdLabel), false, {base::to_text(site_.node)}});
  }
  request.max_restarts = actor.made.wish.max_restarts;
  request.max_task_retries = actor.made.wish.max_task_retries;
  std::string problem;
  if (!write_creation(actor, task, request.creation, problem)) {
    never_begins(actor, registry::EndCause::kConstructorFailed, problem);
    return actor_is_dead(actor, problem);
  }
  places_->create_actor(std::move(request));
  places_->watch_actor(actor.id);
}

// Its handle may be elsewhere already, where the head is asked about it.
void Relay::never_begins(const RemoteActor& actor, registry::EndCause cause, std::string how) {
  registry::CreateActor request;
  request.actor = actor.id;
  request.ended = cause;
  request.how_it_ended = std::move(how);
  places_->create_actor(std::move(request));
}

// A frame of its own kind, with the names of whatever is not in it. What they name is kept until it cannot be started any more.
bool Relay::write_creation(RemoteActor& actor, const shm::LanePuller::Task& task, std::string& creation,
                           std::string& problem) {
  Needs needs;
  if (!read_task(task, needs, problem)) {
    if (problem.empty()) problem = "an argument of its constructor was lost";
    return false;
  }
  Piece& arguments = needs.arguments;
  auto& parts = needs.parts;
  if (arguments.is_stream()) {
    problem = "the arguments of its constructor that are values have " + std::to_string(arguments.bytes.size()) +
              " bytes, and at most " + std::to_string(kStreamBytesMin - 1) +
              " go to where it is placed. Pass what is large as an ObjectRef: rayx::put(value)";
    drop_names(arguments.names);
    for (auto& [position, piece] : parts) drop_names(piece.names);
    return false;
  }
  const bool is_detached = (actor.made.wish.flags & shm::ActorWish::kIsDetached) != 0;
  const bool has_names = !arguments.names.empty() || std::any_of(parts.begin(), parts.end(), [](const auto& part) {
    return !part.second.names.empty();
  });
  std::size_t bytes_of_parts = 0;
  for (const auto& [position, piece] : parts) bytes_of_parts += piece.bytes.size();
  if (is_detached && (has_names || bytes_of_parts > kCreationMax_bytes)) {
    problem = has_names ? "it is detached, and arguments of its constructor hold references or handles, which end with "
                          "this program. Pass values; or pass the references to a method once it lives, and names of "
                          "actors instead of handles (rayx::get_actor)"
                        : "it is detached, and the values of the references that its constructor takes have " +
                              std::to_string(bytes_of_parts) + " bytes; at most " + std::to_string(kCreationMax_bytes) +
                              " are kept for when it is made anew. Pass what is large to a method once it lives";
    drop_names(arguments.names);
    for (auto& [position, piece] : parts) drop_names(piece.names);
    return false;
  }
  const auto put_names = [&](FrameWriter& writer, std::vector<Named>& names) {
    if (names.empty()) return;
    writer.put(std::uint64_t{names.size()});
    for (const Named& named : std::exchange(names, {})) {
      writer.put(name_in_creation(actor, named));
      actor.named.push_back(named.cell);
    }
  };
  FrameWriter writer;
  CreationHead head{task.body.function_and_flags >> 16,
                    static_cast<std::uint32_t>(actor.made.cpu_units),
                    static_cast<std::uint32_t>(parts.size()),
                    arguments.length(),
                    {}};
  std::memcpy(head.label, actor.made.name.data(), std::min(actor.made.name.size(), sizeof(head.label)));
  writer.add(FrameKind::kCreation, head);
  writer.put_bytes(arguments.bytes);
  put_names(writer, arguments.names);
  std::size_t inside = 0;
  for (auto& [position, piece] : parts) {
    if ((is_detached || piece.bytes.size() <= kPartInlineMax_bytes) &&
        inside + piece.bytes.size() <= kCreationMax_bytes) {
      inside += piece.bytes.size();
      writer.put(PartHead{position, 0, piece.length()});
      writer.put_bytes(piece.bytes);
      put_names(writer, piece.names);
      continue;
    }
    drop_names(piece.names);
    RefCell* const cell = hold_locked(piece.key);
    if (cell == nullptr) {
      problem = "the owner of an argument of its constructor has died";
      for (auto& [other, rest] : parts) drop_names(rest.names);
      return false;
    }
    std::vector<Named> names{{0, cell}};
    const std::byte place[kNameBytes] = {};
    writer.put(PartHead{position, 1, kNameBytes | kHasNames});
    writer.put_bytes(place);
    put_names(writer, names);
  }
  const std::vector<std::byte> bytes = writer.finish();
  creation.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return true;
}

NameEntry Relay::name_in_creation(RemoteActor& actor, const Named& named) {
  NameEntry entry{named.position, 0, 0, 0, 0};
  name_actor(entry, named.cell, {});
  if (is_proxy(named.cell)) {
    const Proxy& proxy = proxies_.at(proxy_tag(named.cell));
    if (!proxy.is_cut_off && !proxy.is_foreign) {
      entry.origin = proxy.object.origin.value;
      entry.key = proxy.object.key;
      return entry;
    }
  }
  std::uint64_t key = 0;
  ++export_of(named.cell, key).kept;
  actor.kept.push_back(key);
  entry.origin = node_.value;
  entry.key = key;
  return entry;
}

void Relay::forget_creation(RemoteActor& actor) {
  for (const std::uint64_t key : std::exchange(actor.kept, {})) {
    --exports_.at(key).kept;
    forget_export(key);
  }
  for (RefCell* cell : std::exchange(actor.named, {})) drop_locked(cell);
}

// ---- News of the cluster

void Relay::creation_answered(registry::ActorId id, const registry::Answer& answer) {
  const auto* const number = std::get_if<base::ActorId>(&answer.body);
  if (answer.status == registry::Status::kOk && (number == nullptr || *number == id)) return;
  {
    const Lock lock(mutex_);
    const auto found = remote_actors_.find(id);
    if (found == remote_actors_.end()) return;
    RemoteActor& actor = found->second;
    if (answer.status == registry::Status::kOk) {  // one has the name already
      forget_creation(actor);
      places_->unwatch_actor(id);
      actor.target = *number;
      watch(actor);
      if (actor.phase == ActorPhase::kAlive) constructor_is_over(actor);
    } else if (actor.phase != ActorPhase::kDead) {
      const std::string how = "the cluster did not take it: " + answer.message;
      never_begins(actor, registry::EndCause::kConstructorFailed, how);
      actor_is_dead(actor, how);
    }
    flush_all_peers();
  }
  wake();
}

void Relay::actor_changed(const registry::ActorState& state) {
  {
    const Lock lock(mutex_);
    with_actors(state.actor, [&](RemoteActor& actor) { row_has_changed(actor, state); });
    flush_all_peers();
  }
  wake();
}

void Relay::row_has_changed(RemoteActor& actor, const registry::ActorState& state) {
  if (actor.phase == ActorPhase::kDead) return;
  const bool is_unknown =
      state.phase == ActorPhase::kDead && state.incarnation == 0 && state.cause == registry::EndCause::kNone;
  if (is_unknown && !actor.is_made_here && (peer_on(actor.maker) != nullptr || actor.unknown_times < kWatchTimesMax)) {
    ++actor.unknown_times;
    actor.watch_at_ns = clock_.now_ns() + kWatchAgainPause_ns * std::min(actor.unknown_times, kWatchPausesMax);
    watch_again_ns_ = std::min(watch_again_ns_, actor.watch_at_ns);
    return;
  }
  if (state.phase == ActorPhase::kDead) return actor_is_dead(actor, text_of_end(state));
  actor.phase = state.phase == ActorPhase::kAlive ? ActorPhase::kAlive : ActorPhase::kPending;
  actor.incarnation = state.incarnation;
  is_at(actor, state);
  actor.may_ask_for_way();
  actor.max_restarts = state.max_restarts;
  actor.max_task_retries = state.max_task_retries;
  // So that an actor that waits for a call of its own is told: see Client::is_own_call. Not before it lives: a process that cannot be
  // started is replaced by another one, and its slot goes to anybody.
  const auto here = actors_here_.find(actor.target);
  const bool lives_here = here != actors_here_.end() && actor.phase == ActorPhase::kAlive &&
                          (here->second.incarnation == state.incarnation || !here->second.is_placed);
  const std::uint32_t executor = lives_here ? control().lane(here->second.lane.lane).state().executor.load() : 0;
  control().lane(actor.lane.lane).state().executor.store(executor, std::memory_order_release);
  if (state.phase != ActorPhase::kAlive) return;
  if (actor.max_restarts == 0) forget_creation(actor);  // else it may be started again, with what its creation names
  constructor_is_over(actor);
}

void Relay::is_at(RemoteActor& actor, const registry::ActorState& state) const {
  actor.site = {state.node, state.job, state.is_detached};
  const bool is_foreign = site_.job && state.job && state.node && !site_.is_one_with(actor.site);
  actor.node = is_foreign ? base::alias_of(actor.site) : state.node;
}

void Relay::constructor_is_over(RemoteActor& actor) {
  if (SentRow* const row = actor.constructor == 0 ? nullptr : find_sent(actor.constructor, 0)) {
    Arrived nothing;
    complete(*row, nothing, false);
    forget_sent(*row);
  }
  actor.constructor = 0;
}

// The link to a node is closed. What was called there has failed; whether they live, the head will say.
void Relay::forget_actors_of(const Peer& peer, const std::string& how) {
  for (auto& [id, actor] : remote_actors_)
    if (actor.has_home && actor.node == peer.node && actor.phase != ActorPhase::kDead)
      actor_is_dead(actor, "it was on " + peer.name + ", which is gone: " + how);
  for (auto it = releasing_.begin(); it != releasing_.end();) {
    if (it->second != peer.id) {
      ++it;
      continue;
    }
    places_->kill_actor(it->first);
    it = releasing_.erase(it);
  }
}

// Pull's thread: actors that the head did not know, or to whose node there was no way.
void Relay::watch_again() {
  const base::TimeNs now = clock_.now_ns();
  if (now < watch_again_ns_) return;
  watch_again_ns_ = base::kNever;
  for (auto& [id, actor] : remote_actors_) {
    if (actor.watch_at_ns <= now) {
      actor.watch_at_ns = base::kNever;
      if (!RAYX_PLANTED_BUG(528)) places_->watch_actor(actor.target);
    }
    if (actor.ask_at_ns <= now) {
      actor.ask_at_ns = base::kNever;
      actor.has_asked_for_peer = false;
    }
    watch_again_ns_ = std::min({watch_again_ns_, actor.watch_at_ns, actor.ask_at_ns});
  }
}

// Its calls that wait fail, and later ones ask for the way again. One that may be made anew is given the time in which the head notices
// that its node is dead.
void Relay::actors_without_way(base::NodeId node, const std::string& why) {
  for (auto& [id, actor] : remote_actors_) {
    if (actor.node != node || !actor.has_asked_for_peer) continue;
    if (actor.max_restarts != 0 && ++actor.failed_ways <= kWaysMax) {
      actor.ask_at_ns = clock_.now_ns() + kWatchAgainPause_ns;
      watch_again_ns_ = std::min(watch_again_ns_, actor.ask_at_ns);
      continue;
    }
    actor.has_asked_for_peer = false;
    const std::string how = "its node cannot be reached: " + why;
    fail_again(actor, how);
    shm::LanePuller::Task task;
    while (take_call(actor, task)) fail_call(row_of(task, actor.lane.lane), how);
  }
}

}  // namespace rayx::relay
