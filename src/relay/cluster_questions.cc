// What processes of this node ask the cluster: see detail::ClusterQuestion. A question lies in a lane that only the relay serves, has
// a row as a task at another node has, and is completed as that is.
#include <algorithm>

#include <rayx/detail/ref_positions.hpp>
#include <rayx/detail/remote_failure.hpp>

#include "process/spawn_self.hpp"
#include "relay/key_words.hpp"
#include "relay/relay.hpp"
#include "worker/encoded_value.hpp"

namespace rayx::relay {

using shm::NodeAnswer;
using shm::NodeQuestion;
using worker::RefCell;

bool Relay::answer_questions() {
  bool any = false;
  for (shm::LanePuller::Task task; puller_.take(shm::kServiceLane, task); any = true) {
    take_news();  // who has killed an actor and asks for its name then was heard of before
    ask(task);
  }
  return any;
}

void Relay::ask(const shm::LanePuller::Task& task) {
  const std::uint32_t index = take_row(row_of(task, shm::kServiceLane));
  Needs needs;
  std::string problem;
  const bool is_read = read_task(task, needs, problem);
  const Piece& argument = needs.arguments;
  drop_names(needs.arguments.names);
  if (is_read)
    problem = answer_question(index, static_cast<Question>(task.body.function_and_flags >> 16), argument.bytes);
  if (problem.empty() && is_read) return;
  complete_with_problem(sent_[index], problem.empty() ? "rayx: a question to the cluster is damaged" : problem);
  forget_sent(sent_[index]);
}

// Now or later; or why it cannot be.
std::string Relay::answer_question(std::uint32_t index, Question question, std::span<const std::byte> argument) {
  const std::uint64_t number = number_of(sent_[index]);
  const std::uint32_t owner = sent_[index].owner;
  if (question == Question::kListNodes) {
    answer(number, list_nodes());
    return {};
  }
  if (places_ == nullptr) {
    refuse(number, ErrorCode::kUnsupported,
           "rayx: the node that RAYX_ADDRESS names has no head, which would know actors by their names, keys and "
           "channels. "
           "Start it with rayx start --head");
    return {};
  }
  if (question == Question::kFindActor) {
    places_->look_up_actor(std::string(reinterpret_cast<const char*>(argument.data()), argument.size()), number);
    return {};
  }
  std::string problem;
  const auto with = [&]<class Words>(auto use) {
    Result<Words> words = worker::decode_value<Words>(argument);
    if (!words) return void(problem = words.error().message);
    use(*words);
  };
  switch (question) {
    case Question::kPutKey:
    case Question::kGetKey:
    case Question::kEraseKey:
    case Question::kListKeys:
      with.template operator()<detail::KeyWords>(
          [&](detail::KeyWords& words) { places_->ask(request_of(question, std::move(words)), number); });
      return problem;
    case Question::kPublish:
      with.template operator()<detail::ChannelWords>([&](detail::ChannelWords& words) {
        places_->ask(registry::Publish{std::move(words.channel), std::move(words.payload)}, number);
      });
      return problem;
    case Question::kSubscribe:
      with.template operator()<detail::ChannelWords>(
          [&](const detail::ChannelWords& words) { subscriptions_.open(words.channel, owner, number); });
      return problem;
    case Question::kRead:
      with.template operator()<detail::ReadWords>(
          [&](const detail::ReadWords& words) { subscriptions_.read(words.reader, owner, words.seen, number); });
      return problem;
    case Question::kUnsubscribe:
      with.template operator()<detail::ReadWords>([&](const detail::ReadWords& words) {
        subscriptions_.close(words.reader, owner);
        answer(number, detail::ClusterAnswer{});
      });
      return problem;
    default: return "rayx: a question to the cluster is not one that this build knows";
  }
}

void Relay::answered(std::uint64_t question, const registry::Answer& said) {
  answer_from_outside([&] { answer(question, words_of(said)); });
}

// What comes from the cluster, by a thread that is not the relay's.
template <class Use>
void Relay::answer_from_outside(Use&& use) {
  {
    const Lock lock(mutex_);
    use();
    flush_all_peers();
  }
  wake();
}

template <class T>
void Relay::answer(std::uint64_t question, const T& value) {
  SentRow* const row = find_sent(question, 0);
  if (row == nullptr) return;  // who asked is gone
  const worker::EncodedValue encoded(value);
  Arrived arrived;
  arrived.bytes = encoded.bytes();
  complete(*row, arrived, false);
  forget(arrived);
  forget_sent(*row);
}

void Relay::refuse(std::uint64_t question, ErrorCode code, const std::string& why) {
  SentRow* const row = find_sent(question, 0);
  if (row == nullptr) return;
  detail::RemoteFailure error;
  error.code = code;
  error.message = why;
  complete_with_error(*row, bytes_of(error));
  forget_sent(*row);
}

// ---- Channels

void Relay::begin_reading(const std::string& channel) { places_->subscribe(channel); }
void Relay::end_reading(const std::string& channel) { places_->unsubscribe(channel); }
void Relay::reader_is_there(std::uint64_t question, std::uint64_t reader) { answer(question, reader); }
void Relay::give_news(std::uint64_t question, const detail::News& news) { answer(question, news); }

void Relay::subscribed(const std::string& channel, bool is_refused) {
  answer_from_outside([&] { subscriptions_.confirmed(channel, is_refused); });
}
void Relay::published(const registry::Published& message) {
  answer_from_outside([&] { subscriptions_.published(message.channel, message.payload, message.missed); });
}
void Relay::missed(const std::string& channel, std::optional<std::uint64_t> count) {
  answer_from_outside([&] { subscriptions_.missed(channel, count); });
}

// ---- Nodes and actors

std::vector<NodeInfo> Relay::list_nodes() const {
  std::vector<NodeInfo> nodes;
  const auto add = [&nodes](const registry::NodeView& view) {
    nodes.push_back({base::to_text(view.node), view.name,
                     static_cast<double>(std::max<base::Units>(view.total.cpus, 0)) / shm::kCpuUnits,
                     static_cast<std::uint64_t>(std::max<std::int64_t>(view.total.memory_bytes, 0)), view.labels,
                     false});
  };
  for (const auto& [id, other] : others_) add(other.view);
  for (const auto& [id, view] : listed_) add(view);
  if (cpu_units_ != 0)
    nodes.push_back({base::to_text(site_.is_detached ? site_.node : node_), name_,
                     static_cast<double>(cpu_units_) / shm::kCpuUnits, shared_arena_->store_bytes(), labels_, true});
  std::sort(nodes.begin(), nodes.end(), [](const NodeInfo& a, const NodeInfo& b) { return a.id < b.id; });
  return nodes;
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
