#include "cluster/provider_calls.hpp"

#include <exception>
#include <utility>

namespace rayx::cluster {
namespace {

Json to_json(const NodeRequest& request) {
  return {{"name", request.name},
          {"num_cpus", request.num_cpus},
          {"memory_bytes", request.memory_bytes},
          {"num_gpus", request.num_gpus},
          {"avoid_hosts", request.avoid_hosts},
          {"program", request.program},
          {"environment", request.environment},
          {"input", request.input}};
}

NodeRequest request_from(const Json& json) {
  NodeRequest request;
  request.name = text_of(json, "name");
  request.num_cpus = static_cast<int>(number_of(json, "num_cpus"));
  request.memory_bytes = static_cast<std::uint64_t>(number_of(json, "memory_bytes"));
  request.num_gpus = static_cast<int>(number_of(json, "num_gpus"));
  request.avoid_hosts = json.at("avoid_hosts").get<std::vector<std::string>>();
  request.program = text_of(json, "program");
  request.environment = json.at("environment").get<std::vector<std::pair<std::string, std::string>>>();
  request.input = text_of(json, "input");
  return request;
}

Json to_json(const NodeStatus& status) {
  return {{"state", static_cast<int>(status.state)}, {"host", status.host}, {"reason", status.reason}};
}

Json to_json(const ProviderCapacity& capacity) {
  Json hosts = Json::array();
  for (const ProviderCapacity::Host& host : capacity.hosts)
    hosts.push_back({{"name", host.name},
                     {"num_cpus", host.num_cpus},
                     {"num_cpus_free", host.num_cpus_free},
                     {"memory_bytes", host.memory_bytes},
                     {"memory_bytes_free", host.memory_bytes_free}});
  return {{"hosts", std::move(hosts)}};
}

template <class T, class ToAnswer>
Json answer_of(Result<T> result, ToAnswer to_answer) {
  if (!result) return {{"error", cluster::to_json(result.error())}};
  return {{"ok", to_answer(*result)}};
}

Json make_call(ClusterProvider& provider, const Json& call) {
  const std::string what = text_of(call, "call");
  const std::string id = text_of(call, "id");
  if (what == "submit") {
    return answer_of(provider.submit(request_from(call.at("request"))), [](const NodeSubmission& it) {
      return Json{{"id", it.id}};
    });
  }
  if (what == "status") return answer_of(provider.status(id), [](const NodeStatus& it) { return to_json(it); });
  if (what == "kill") {
    const Result<void> killed = provider.kill(id);
    return killed ? Json{{"ok", Json::object()}} : Json{{"error", cluster::to_json(killed.error())}};
  }
  if (what == "capacity") return answer_of(provider.capacity(), [](const ProviderCapacity& it) { return to_json(it); });
  if (what == "forget") return provider.forget(id), Json{{"ok", Json::object()}};
  if (what == "logs") return answer_of(provider.logs(id), [](const std::string& it) { return Json{{"text", it}}; });
  return {{"error", cluster::to_json(Error{ErrorCode::kInvalidArgument, "there is no such call: " + what})}};
}

}  // namespace

Json answer_call(ClusterProvider& provider, const Json& call) {
  std::string problem;
  try {
    return make_call(provider, call);
  } catch (const std::exception& error) {
    problem = error.what();
  } catch (...) {
    problem = "something that is no std::exception";
  }
  return {{"error", cluster::to_json(Error{ErrorCode::kSystemError, "the provider threw: " + problem})}};
}

Result<NodeSubmission> CalledProvider::submit(const NodeRequest& request) {
  const Result<Json> answer = ask_({{"call", "submit"}, {"request", to_json(request)}});
  if (!answer) return answer.error();
  const std::string id = text_of(*answer, "id");
  if (!id.empty()) return NodeSubmission{id};
  return Error{ErrorCode::kSystemError, "the provider gave a submission without an id"};
}

Result<NodeStatus> CalledProvider::status(const std::string& id) {
  const Result<Json> answer = ask_({{"call", "status"}, {"id", id}});
  if (!answer) return answer.error();
  const std::int64_t state = number_of(*answer, "state", -1);
  if (state < 0 || state > static_cast<int>(NodeState::kEnded))
    return Error{ErrorCode::kSystemError, "the provider gave a state that there is not"};
  return NodeStatus{static_cast<NodeState>(state), text_of(*answer, "host"), text_of(*answer, "reason")};
}

Result<void> CalledProvider::kill(const std::string& id) {
  const Result<Json> answer = ask_({{"call", "kill"}, {"id", id}});
  if (!answer) return answer.error();
  return {};
}

Result<ProviderCapacity> CalledProvider::capacity() {
  const Result<Json> answer = ask_({{"call", "capacity"}});
  if (!answer) return answer.error();
  ProviderCapacity capacity;
  const auto hosts = answer->find("hosts");
  if (hosts == answer->end()) return capacity;
  for (const Json& host : *hosts)
    capacity.hosts.push_back({text_of(host, "name"), static_cast<int>(number_of(host, "num_cpus")),
                              static_cast<int>(number_of(host, "num_cpus_free")),
                              static_cast<std::uint64_t>(number_of(host, "memory_bytes")),
                              static_cast<std::uint64_t>(number_of(host, "memory_bytes_free"))});
  return capacity;
}

Result<std::string> CalledProvider::logs(const std::string& id) {
  const Result<Json> answer = ask_({{"call", "logs"}, {"id", id}});
  if (!answer) return answer.error();
  return text_of(*answer, "text");
}

void CalledProvider::forget(const std::string& id) {
  static_cast<void>(ask_({{"call", "forget"}, {"id", id}}).has_value());
}

}  // namespace rayx::cluster
