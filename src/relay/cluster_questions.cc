// What processes of this node ask the cluster: see detail::ClusterQuestion. A question lies in a lane that only the relay serves, has
// a row as a task at another node has, and is completed as that is.
#include <algorithm>

#include <rayx/codec.hpp>
#include <rayx/detail/ref_positions.hpp>
#include <rayx/detail/remote_failure.hpp>
#include <rayx/node_info.hpp>

#include "process/spawn_self.hpp"
#include "relay/relay.hpp"

namespace rayx::relay {

using shm::NodeAnswer;
using shm::NodeQuestion;
using worker::RefCell;

bool Relay::answer_questions() {
  bool any = false;
  for (shm::LanePuller::Task task; puller_.take(shm::kServiceLane, task); any = true) ask(task);
  return any;
}

void Relay::ask(const shm::LanePuller::Task& task) {
  const std::uint32_t index = take_row(row_of(task, shm::kServiceLane));
  std::vector<std::pair<std::uint32_t, Piece>> parts;
  Piece argument;
  std::string problem;
  const bool is_read = read_task(task, parts, argument, problem);
  drop_names(argument.names);
  const auto question = static_cast<detail::ClusterQuestion>(task.body.function_and_flags >> 16);
  if (is_read && question == detail::ClusterQuestion::kListNodes) {
    list_nodes(sent_[index]);
    return forget_sent(sent_[index]);
  }
  if (!is_read || question != detail::ClusterQuestion::kFindActor) {
    complete_as_malformed(sent_[index], problem.empty() ? "rayx: a question to the cluster is damaged" : problem);
    return forget_sent(sent_[index]);
  }
  std::string name(reinterpret_cast<const char*>(argument.bytes.data()), argument.bytes.size());
  if (places_ != nullptr) return places_->look_up_actor(std::move(name), number_of(sent_[index]));
  detail::RemoteFailure error;
  error.code = ErrorCode::kUnsupported;
  error.message =
      "rayx: get_actor: the node that RAYX_ADDRESS names has no head, which would know actors by their names. Start it "
      "with rayx start --head";
  complete_with_error(sent_[index], bytes_of(error));
  forget_sent(sent_[index]);
}

void Relay::list_nodes(const SentRow& row) {
  std::vector<NodeInfo> nodes;
  for (const auto& [id, other] : others_) {
    const registry::NodeView& view = other.view;
    nodes.push_back({base::to_text(id), view.name, static_cast<double>(other.cpu_units()) / shm::kCpuUnits,
                     static_cast<std::uint64_t>(std::max<std::int64_t>(view.total.memory_bytes, 0)), view.labels,
                     false});
  }
  if (cpu_units_ != 0)
    nodes.push_back({base::to_text(node_), name_, static_cast<double>(cpu_units_) / shm::kCpuUnits,
                     shared_arena_->store_bytes(), labels_, true});
  std::sort(nodes.begin(), nodes.end(), [](const NodeInfo& a, const NodeInfo& b) { return a.id < b.id; });
  codec::SizeContext sizes;
  codec::encoded_size(nodes, sizes);
  std::vector<std::uint64_t> words(sizes.size() / sizeof(std::uint64_t) + 1);  // aligned as the codec wants it
  auto* const bytes = reinterpret_cast<std::byte*>(words.data());
  codec::Encoder encoder(bytes, sizes.size());
  codec::encode(nodes, encoder);
  Arrived value;
  value.bytes = {bytes, sizes.size()};
  complete(row, value, false);
  forget(value);
}

void Relay::actor_looked_up(std::uint64_t question, const registry::Answer& answer) {
  const auto* const actor = std::get_if<base::ActorId>(&answer.body);
  const bool is_found = answer.status == registry::Status::kOk && actor != nullptr;
  node::LaneName lane;
  bool has_lane = false;
  if (is_found) {  // asked without the lock, as the node may wait for its holder
    const worker::NodeAsker::Answer opened = Client::node().ask(NodeQuestion::kOpenActorLane);
    has_lane = opened.answer == NodeAnswer::kOk;
    lane = {static_cast<std::uint32_t>(opened.value), static_cast<std::uint32_t>(opened.value >> 32)};
  }
  {
    const Lock lock(mutex_);
    SentRow* const row = find_sent(question, 0);
    RefCell* const handle = row != nullptr && has_lane ? handle_of(*actor, lane) : nullptr;
    if (handle == nullptr && has_lane) Client::node().tell(NodeQuestion::kReleaseActor, lane.lane, lane.generation);
    if (row != nullptr) {
      if (handle != nullptr) {
        complete_with_handle(*row, handle);
      } else {
        detail::RemoteFailure error;
        error.code = is_found                                       ? ErrorCode::kStoreFull
                     : answer.status == registry::Status::kNotFound ? ErrorCode::kNotFound
                                                                    : ErrorCode::kSystemError;
        error.message = "rayx: get_actor: " + (is_found ? "this node has as many actors' handles as it can have, or no "
                                                          "memory for one more. Drop handles"
                                                        : answer.message);
        complete_with_error(*row, bytes_of(error));
      }
      forget_sent(*row);
    }
    flush_all_peers();
  }
  wake();
}

// A handle that keeps nobody alive: a proxy, with a lane and a row of its own. One count.
RefCell* Relay::handle_of(base::ActorId target, node::LaneName lane) {
  const std::uint64_t tag = next_tag_++;
  detail::Failure no_room;
  const worker::Index index = make_proxy(tag, no_room);
  if (index == worker::kNoIndex) return nullptr;
  RemoteActor& actor = add_remote_actor(base::ActorId{process::random_word()}, lane);
  actor.target = target;
  actor.proxies = 1;
  Proxy& proxy = proxies_[tag];
  proxy.index = index;
  proxy.actor = actor.id;
  proxy.is_cut_off = proxy.is_done = proxy.has_handle = true;  // it has no origin: others know it as this node's object
  make_actor_proxy(index, lane.lane, lane.generation);
  watch(actor);
  return first_cell(index);
}

void Relay::complete_with_handle(const SentRow& row, RefCell* handle) {
  const std::string bytes = detail::value_of_one_ref(name_in_values(handle));
  Arrived value;
  value.bytes = std::as_bytes(std::span(bytes));
  value.refs = {handle};
  complete(row, value, false);
  forget(value);
}

}  // namespace rayx::relay
