// Actors that live on this node and are called from others: where they begin, what they are told, and their end.
#include <algorithm>
#include <cstring>

#include <rayx/detail/remote_failure.hpp>

#include "process/spawn_self.hpp"
#include "relay/relay.hpp"

namespace rayx::relay {

using node::LaneName;
using registry::EndCause;
using shm::NodeAnswer;
using shm::NodeQuestion;
using worker::kNoIndex;
using worker::RefCell;

namespace {

constexpr std::size_t kEndsKept = 1000;  // for calls that come after the end

// The one creation that a frame holds.
struct CreationReader final : FrameHandler {
  CreationHead head{};
  WireValue arguments;
  std::vector<Part> parts;
  void on_creation(const CreationHead& creation, const WireValue& values, std::span<const Part> named) override {
    head = creation;
    arguments = values;
    parts.assign(named.begin(), named.end());
  }
};

// A caller of an actor of this node: each process of each node has a line of its own.
actor::Caller caller_of(const Peer& peer, std::uint32_t slot) {
  return std::uint64_t{1} << 63 | std::uint64_t{peer.id} << 32 | slot;
}

}  // namespace

// ---- Lanes for handles of actors that live elsewhere

// The node's thread gives them; it must not be waited for under the lock.
void Relay::prepare_lanes(const std::vector<NameEntry>& handles, base::NodeId home, Lanes& lanes) {
  for (const NameEntry& handle : handles) {
    if (handle.origin == home.value) continue;  // it comes home, and is no proxy
    const base::ActorId id{handle.actor};
    {
      const Lock lock(mutex_);
      if (row_for_proxies(id) != nullptr || lanes.contains(id)) continue;
    }
    const worker::NodeAsker::Answer answer = Client::node().ask(NodeQuestion::kOpenActorLane);
    if (answer.answer != NodeAnswer::kOk) continue;  // too many: the value that holds the handle cannot be read here
    lanes[id] = {static_cast<std::uint32_t>(answer.value), static_cast<std::uint32_t>(answer.value >> 32)};
  }
}

void Relay::give_back_lanes(Lanes& lanes) {
  for (const auto& [id, lane] : std::exchange(lanes, {}))
    Client::node().tell(NodeQuestion::kReleaseActor, lane.lane, lane.generation);
}

// Not the row of the handle that has made the actor: its lane goes with that handle.
RemoteActor* Relay::row_for_proxies(base::ActorId target) {
  const auto own = remote_actors_.find(target);
  if (own != remote_actors_.end() && !own->second.is_made_here) return &own->second;
  for (auto& [id, actor] : remote_actors_)
    if (actor.target == target && !actor.is_made_here) return &actor;
  return nullptr;
}

// The proxy of a handle: it needs no value, and calls of it go to a lane that the relay serves.
bool Relay::make_handle(Proxy& proxy, const NameEntry& name, Lanes& lanes) {
  const base::ActorId target{name.actor};
  RemoteActor* row = row_for_proxies(target);
  if (row == nullptr) {
    const auto lane = lanes.find(target);
    if (lane == lanes.end()) return false;
    // One that was made here comes back as another node's if somebody there has asked for it by its name.
    const bool is_made_here = remote_actors_.contains(target);
    RemoteActor& fresh = add_remote_actor(is_made_here ? base::ActorId{process::random_word()} : target, lane->second);
    fresh.target = target;
    fresh.maker = base::NodeId{name.origin};
    row = &fresh;
    lanes.erase(lane);
    if (name.home != 0) {
      fresh.has_home = true;
      fresh.phase = registry::ActorPhase::kAlive;
      fresh.node = base::NodeId{name.home};
    } else if (places_ != nullptr) {
      watch(fresh);
    }
  }
  RemoteActor& actor = *row;
  ++actor.proxies;
  proxy.actor = actor.id;
  proxy.home = base::NodeId{name.home};
  proxy.has_handle = true;
  proxy.is_done = true;
  make_actor_proxy(proxy.index, actor.lane.lane, actor.lane.generation);
  return true;
}

void Relay::handle_is_freed(const Proxy& proxy) {
  take_news();  // who let go of the handle may have killed the actor before, and that is said by the row
  const auto found = remote_actors_.find(proxy.actor);
  if (found == remote_actors_.end() || --found->second.proxies != 0) return;
  const LaneName lane = found->second.lane;
  forget_remote_actor(found->second);
  Client::node().tell(NodeQuestion::kReleaseActor, lane.lane, lane.generation);
}

// What a reference has to say if it is an actor's handle.
void Relay::name_actor(NameEntry& entry, RefCell* cell, base::NodeId peer) {
  const std::uint64_t word = name_in_values(cell).words[1];
  if ((word & worker::kIsActorName) == 0) return;
  base::ActorId id;
  if (is_proxy(cell)) {
    const Proxy& proxy = proxies_.at(proxy_tag(cell));
    const auto row = remote_actors_.find(proxy.actor);
    entry.actor = row == remote_actors_.end() ? proxy.actor.value : row->second.target.value;
    entry.home = proxy.home.value;
    if (places_ != nullptr || proxy.home == peer) return;
    id = proxy.actor;  // nobody links the others to each other: they call it here, and this node calls it for them
  }
  const LaneName lane{static_cast<std::uint32_t>(word >> 16 & 0xffff), static_cast<std::uint32_t>(word >> 32)};
  if (const RemoteActor* const actor = actor_of(lane); actor != nullptr && !id) {
    entry.actor = actor->target.value;  // made here, and the head knows where it is
    return;
  }
  std::uint64_t key = 0;
  Export& exported = export_of(cell, key);
  if (!exported.actor) {
    exported.actor = id ? id : base::ActorId{process::random_word()};
    ActorHere& here = actors_here_[exported.actor];
    here.handle = another_cell(exported.index);
    here.lane = lane;
  }
  entry.actor = exported.actor.value;
  entry.home = node_.value;
}

// ---- Begin

void Relay::start_actor(const registry::PlaceActor& place) {
  const std::lock_guard one_at_a_time(start_mutex_);
  const auto refuse = [&](EndCause cause, const std::string& why) {
    places_->actor_ended(place.actor, place.incarnation, cause, why);
  };
  const std::span<const std::byte> frame(reinterpret_cast<const std::byte*>(place.creation.data()),
                                         place.creation.size());
  std::vector<NameEntry> handles;
  std::string problem = check_frame(frame, &handles);
  CreationReader creation;
  if (problem.empty() && kind_of(frame) != FrameKind::kCreation) problem = "it is no creation";
  if (!problem.empty()) return refuse(EndCause::kConstructorFailed, "its creation cannot be read: " + problem);
  apply_frame(frame, creation);
  prepare_lanes(handles, node_, lanes_of_start_);

  const std::string_view label(creation.head.label, ::strnlen(creation.head.label, sizeof(creation.head.label)));
  detail::Failure no_room;
  const worker::NodeAsker::Answer answer = open_actor_lane(creation.head.cpu_units, {}, label, {}, no_room);
  if (no_room != nullptr) return refuse(EndCause::kNoProcess, no_room->message);
  const Lock lock(mutex_);
  std::vector<RefCell*> held;
  bool is_whole = answer.answer == NodeAnswer::kOk;
  Arrived arguments = take_arrived(nullptr, creation.arguments);
  is_whole = is_whole && arguments.is_whole;
  std::vector<detail::Dependency> dependencies;
  detail::Failure failure;
  for (const FrameHandler::Part& part : creation.parts) {
    RefCell* cell = nullptr;
    if (part.is_named) {
      cell = cell_for(nullptr, part.value.names.at(0));
    } else {
      Arrived value = take_arrived(nullptr, part.value);
      cell = keep_value(value, failure);
      forget(value);
    }
    if (cell == nullptr) {
      is_whole = false;
      continue;
    }
    held.push_back(cell);
    dependencies.push_back({cell, part.position});
    if (is_proxy(cell)) proxy_is_wanted(proxy_tag(cell));
  }
  give_back_lanes(lanes_of_start_);
  const LaneName lane{static_cast<std::uint32_t>(answer.value), static_cast<std::uint32_t>(answer.value >> 32)};
  RefCell* handle = nullptr;
  if (is_whole) {
    worker::NumberedCall call;
    call.function = creation.head.function;
    call.arguments = arguments.bytes;
    call.refs = arguments.refs;
    call.dependencies = dependencies;
    call.tag = kConstructorTag | std::uint64_t{lane.generation} << 16 | lane.lane;
    handle = start_numbered(lane.lane, lane.generation, call, failure);
  } else if (answer.answer == NodeAnswer::kOk) {
    Client::node().tell(NodeQuestion::kReleaseActor, lane.lane, lane.generation);
  }
  forget(arguments);
  for (RefCell* cell : held) drop_locked(cell);
  if (handle == nullptr) {
    refuse(EndCause::kNoProcess, answer.answer != NodeAnswer::kOk
                                     ? "the node has as many actors as it can have, or is ending"
                                     : "there was no memory for the arguments of its constructor");
  } else {
    ActorHere& here = actors_here_[place.actor];
    here.handle = handle;
    here.lane = lane;
    here.is_placed = true;
    here.incarnation = place.incarnation;
    // Its process may have begun and ended before this node knew whose it is; that was not heard then.
    if (static_cast<shm::LaneEnd>(control().lane(lane.lane).state().end.load(std::memory_order_acquire)) !=
        shm::LaneEnd::kOpen)
      process_of_actor_has_ended(lane);
  }
  flush_all_peers();
}

// One that leaves may have been followed by another one in its lane before its end is heard of.
std::map<base::ActorId, ActorHere>::iterator Relay::here_in(LaneName lane) {
  return std::find_if(actors_here_.begin(), actors_here_.end(),
                      [&](const auto& it) { return it.second.is_placed && it.second.lane == lane; });
}

void Relay::constructor_is_done(LaneName lane, RefCell* cell, bool is_lost) {
  const auto found = here_in(lane);
  if (found == actors_here_.end() || is_lost) return;  // its process has ended, and the node says so
  const detail::ValueView view = view_of_cell(cell);
  ActorHere& here = found->second;
  if (!view.is_error) return places_->actor_alive(found->first, here.incarnation);
  const std::string why = detail::decode_failure({view.data, view.size}).message;
  places_->actor_ended(found->first, here.incarnation, EndCause::kConstructorFailed, why);
  forget_actor_here(found, why);
}

// ---- Calls

void Relay::on_call(Peer& peer, const CallHead& call, const WireValue& arguments, std::span<const Part> parts) {
  detail::Failure failure;
  Arrived arrived = take_arrived(&peer, arguments);
  bool is_whole = arrived.is_whole;
  ArgumentsOf large;
  const std::vector<detail::Dependency> dependencies = take_parts(peer, parts, is_whole, failure, large);
  const auto here = actors_here_.find(base::ActorId{call.actor});
  const bool is_there = here != actors_here_.end() && here->second.handle != nullptr &&
                        (!here->second.is_placed || here->second.incarnation == call.incarnation);
  RefCell* cell = nullptr;
  std::uint32_t index = 0;
  const worker::FunctionNumber function = translate(peer, call.function);
  if (is_there && is_whole && function != 0) {
    index = take_taken({call.number, peer.id, nullptr, 0});
    worker::NumberedCall numbered;
    numbered.function = function;
    numbered.tag = index;
    numbered.arguments = arrived.bytes;
    numbered.block = std::exchange(arrived.block, worker::BlockRef{0, 0});
    numbered.refs = arrived.refs;
    numbered.dependencies = dependencies;
    cell = call_numbered(here->second.handle, numbered, caller_of(peer, call.caller), failure);
    if (cell == nullptr) {
      forget_taken(index);
    } else if (!large.tags.empty()) {
      want_arguments(index, std::move(large), false);
    }
  }
  forget(arrived);
  for (const detail::Dependency& dependency : dependencies) drop_locked(dependency.ref);
  if (cell != nullptr) return;
  detail::RemoteFailure error;
  if (is_there && function == 0) {
    error.code = ErrorCode::kInvalidArgument;
    error.message = "rayx: the actor was made by another program, or by another build of this one (" +
                    numbers().modules()[0].path +
                    "), which does not have the method. Call it from the build that made it; or kill() it, and make it "
                    "with this one";
  } else if (is_there) {  // later calls of its caller must not wait for memory that may never come
    error.code = ErrorCode::kStoreFull;
    error.message =
        "rayx: the store of the actor's node had no room for a call's arguments. Drop references, or raise "
        "Config::store_bytes (RAYX_STORE_BYTES)";
  } else {
    error.code = ErrorCode::kActorDied;
    const auto end = ends_.find(base::ActorId{call.actor});
    error.message = end == ends_.end() ? "it does not live any more where it was" : end->second;
  }
  const std::vector<std::byte> bytes = bytes_of(error);
  FrameWriter& writer = is_there ? peer.results : peer.lost;
  writer.add(is_there ? FrameKind::kResults : FrameKind::kLost, ResultHead{call.number, 1, 0, bytes.size()});
  writer.put_bytes(bytes);
}

// ---- End

void Relay::end_actor(registry::ActorId id, registry::Incarnation incarnation, EndCause) {
  const Lock lock(mutex_);
  const auto found = actors_here_.find(id);
  if (found == actors_here_.end() || found->second.incarnation != incarnation || found->second.is_leaving) return;
  found->second.is_killed = true;
  Client::node().tell(NodeQuestion::kEndActor, found->second.lane.lane, found->second.lane.generation);
}

void Relay::on_kill_actor(Peer&, const ActorHead& actor) {
  const auto found = actors_here_.find(base::ActorId{actor.actor});
  if (found == actors_here_.end() || found->second.is_placed) return;  // the head says it to those that it has placed
  Client::node().tell(NodeQuestion::kEndActor, found->second.lane.lane, found->second.lane.generation);
}

// The last handle anywhere is gone. It ends after what it does.
void Relay::on_release_actor(Peer& peer, const ActorHead& actor) {
  const auto found = actors_here_.find(base::ActorId{actor.actor});
  if (found != actors_here_.end() && found->second.is_placed) {
    found->second.is_leaving = true;
    if (RefCell* const handle = std::exchange(found->second.handle, nullptr)) drop_locked(handle);
  }
  peer.actors_gone.add(FrameKind::kActorReleased, actor);
}

// News of the node.
void Relay::process_of_actor_has_ended(LaneName lane) {
  const auto found = here_in(lane);
  if (found == actors_here_.end()) return;
  const ActorHere& here = found->second;
  const std::string how = end_of_lane(lane.lane, lane.generation).message;
  const auto end = static_cast<shm::LaneEnd>(control().lane(lane.lane).state().end.load(std::memory_order_acquire));
  const EndCause cause = here.is_leaving                   ? EndCause::kOwnerDied
                         : here.is_killed                  ? EndCause::kKilled
                         : end == shm::LaneEnd::kNoProcess ? EndCause::kNoProcess
                                                           : EndCause::kCrashed;
  places_->actor_ended(found->first, here.incarnation, cause, here.is_leaving ? "nobody has a handle of it" : how);
  forget_actor_here(found, how);
}

void Relay::forget_actor_here(std::map<base::ActorId, ActorHere>::iterator here, const std::string& how) {
  const base::ActorId id = here->first;
  RefCell* const handle = here->second.handle;
  actors_here_.erase(here);
  // Another process may have its slot as soon as this one has said that it knows of the death: see Client::is_own_call.
  for (const auto& [row, actor] : remote_actors_)
    if (actor.target == id) control().lane(actor.lane.lane).state().executor.store(0, std::memory_order_release);
  if (ends_.emplace(id, how).second) ends_in_order_.push_back(id);
  if (ends_in_order_.size() > kEndsKept) {
    ends_.erase(ends_in_order_.front());
    ends_in_order_.pop_front();
  }
  if (handle != nullptr) drop_locked(handle);
}

}  // namespace rayx::relay
