#include "spark/capacity.hpp"

#include <limits>
#include <nlohmann/json.hpp>

#include "http/printable.hpp"
#include "spark/rest_answer.hpp"

namespace rayx::spark {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kWorkersMax = 100'000;
constexpr std::int64_t kMemoryMaxMib = std::int64_t{1} << 40;  // so that no sum of workers overflows

bool read(const Json& object, const char* name, std::string& field) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) return false;
  field = found->get<std::string>();
  return true;
}

template <class Number>
bool read(const Json& object, const char* name, Number& field, std::int64_t most) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number_integer()) return false;
  const auto value = found->get<std::int64_t>();
  if (value < 0 || value > most) return false;
  field = static_cast<Number>(value);
  return true;
}

// {"gpu": {"name": "gpu", "addresses": ["0", "1"]}}, and {} where there are none. What is written in another way is not known.
std::optional<int> gpus_of(const Json& worker, const char* field) {
  const auto resources = worker.find(field);
  if (resources == worker.end() || !resources->is_object()) return std::nullopt;
  const auto gpu = resources->find("gpu");
  if (gpu == resources->end()) return 0;
  const auto addresses = gpu->find("addresses");
  if (addresses == gpu->end() || !addresses->is_array()) return std::nullopt;
  return static_cast<int>(addresses->size());
}

bool read_worker(const Json& json, WorkerCapacity& worker) {
  constexpr std::int64_t kCoresMax = std::numeric_limits<int>::max() / static_cast<int>(kWorkersMax);
  return json.is_object() && read(json, "id", worker.id) && read(json, "host", worker.host) &&
         read(json, "state", worker.state) && read(json, "cores", worker.cores, kCoresMax) &&
         read(json, "coresfree", worker.cores_free, kCoresMax) &&
         read(json, "memory", worker.memory_mib, kMemoryMaxMib) &&
         read(json, "memoryfree", worker.memory_free_mib, kMemoryMaxMib);
}

}  // namespace

Result<Capacity> parse_capacity(std::string_view body, std::string_view content_type) {
  const Json json = Json::parse(body, nullptr, false);
  const auto malformed = [&](const std::string& why) {
    return Error{ErrorCode::kMalformed, why + ": \"" + gist(body, content_type) + "\""};
  };
  if (json.is_discarded()) return malformed("answered with something that is no JSON");
  Capacity capacity;
  const auto workers = json.is_object() ? json.find("workers") : json.end();
  if (!json.is_object() || !read(json, "status", capacity.status) || workers == json.end() || !workers->is_array() ||
      workers->size() > kWorkersMax)
    return malformed("answered with JSON that is not what a Spark master says of its workers");
  read(json, "url", capacity.master_url);
  for (const Json& one : *workers) {
    WorkerCapacity worker;
    if (!read_worker(one, worker)) return malformed("describes a worker in a way that rayx does not know");
    worker.gpus = gpus_of(one, "resources");
    worker.gpus_free = gpus_of(one, "resourcesfree");
    if (worker.is_alive()) {
      ++capacity.workers_alive;
      capacity.cores += worker.cores;
      capacity.cores_free += worker.cores_free;
      capacity.memory_mib += worker.memory_mib;
      capacity.memory_free_mib += worker.memory_free_mib;
    }
    capacity.workers.push_back(std::move(worker));
  }
  return capacity;
}

}  // namespace rayx::spark
