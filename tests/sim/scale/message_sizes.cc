#include "message_sizes.hpp"

#include "registry/records.hpp"

namespace rayx::sim {
namespace {

using namespace registry;

template <class Value>
std::size_t of(const Value& value) {
  return to_bytes(value).size();
}
std::size_t of(const Labels& labels) { return to_bytes(labels).size(); }

std::size_t body(const Join& it) {
  return 24 + it.build.size() + it.name.size() + it.address.size() + of(it.resources) + of(it.labels) +
         5 * it.resume.jobs.size() + 24 * it.resume.actors.size() + 10 * it.resume.watched.size();
}
std::size_t body(const Heartbeat& it) {
  std::size_t sum = 10 + of(it.load.used_by_tasks);
  for (const Demand& demand : it.load.queued) sum += 8 + of(demand.each);
  return sum;
}
std::size_t body(const View& it) {
  std::size_t sum = 8;
  for (const NodeView& node : it.nodes)
    sum += 15 + node.name.size() + node.address.size() + of(node.total) + of(node.free) + of(node.labels) +
           node.reason.size();
  return sum;
}
std::size_t body(const PlaceActor& it) {
  return 32 + of(it.job) + of(it.resources) + it.name.size() + it.name_space.size() + it.creation.size();
}
std::size_t body(const ActorState& it) { return 26 + it.message.size(); }
std::size_t body(const Answer& it) { return 12 + it.message.size(); }
std::size_t body(const Published& it) { return 12 + it.channel.size() + it.payload.size(); }
std::size_t body(const Request& it) {
  if (const auto* creation = std::get_if<CreateActor>(&it.body)) return 8 + of(*creation);
  if (const auto* put = std::get_if<KvPut>(&it.body)) return 12 + put->key.size() + put->value.size();
  return 24;
}
std::size_t body(const auto&) { return 12; }

}  // namespace

std::size_t encoded_bytes(const ToHead& message) {
  return 1 + std::visit([](const auto& it) { return body(it); }, message);
}
std::size_t encoded_bytes(const ToMember& message) {
  return 1 + std::visit([](const auto& it) { return body(it); }, message);
}

}  // namespace rayx::sim
