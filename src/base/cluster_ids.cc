#include "base/cluster_ids.hpp"

#include <algorithm>

namespace rayx::base {
namespace {

std::string to_hex(std::uint64_t value, int digits) {
  std::string text(static_cast<std::size_t>(digits), '0');
  for (auto at = text.rbegin(); at != text.rend(); ++at, value >>= 4) *at = "0123456789abcdef"[value & 15];
  return text;
}

std::optional<std::uint64_t> from_hex(std::string_view text, std::size_t digits) {
  if (text.size() != digits) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c >= '0' && c <= '9') {
      value = value << 4 | static_cast<std::uint64_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      value = value << 4 | static_cast<std::uint64_t>(c - 'a' + 10);
    } else {
      return std::nullopt;
    }
  }
  return value == 0 ? std::nullopt : std::optional(value);
}

auto place_of(auto& others, std::string_view name) {
  return std::lower_bound(others.begin(), others.end(), name,
                          [](const auto& entry, std::string_view wanted) { return entry.first < wanted; });
}

}  // namespace

std::string to_text(NodeId id) { return to_hex(id.value, 16); }
std::string to_text(JobId id) { return to_hex(id.value, 8); }
std::string to_text(ActorId id) { return to_hex(id.value, 16); }

NodeId alias_of(const SiteId& site) {
  // Equal for all that compute it; that two sites of a cluster get the same is as likely as that two nodes do.
  const auto mix = [](std::uint64_t value) {  // splitmix64
    value += 0x9e3779b97f4a7c15;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
  };
  const std::uint64_t program = std::uint64_t{site.job.value} << 1 | (site.is_detached ? 1 : 0);
  const std::uint64_t alias = mix(site.node.value ^ mix(program));
  return {alias == 0 ? 1 : alias};
}

std::optional<NodeId> parse_node_id(std::string_view text) {
  const auto value = from_hex(text, 16);
  return value ? std::optional(NodeId{*value}) : std::nullopt;
}
std::optional<JobId> parse_job_id(std::string_view text) {
  const auto value = from_hex(text, 8);
  return value ? std::optional(JobId{static_cast<std::uint32_t>(*value)}) : std::nullopt;
}
std::optional<ActorId> parse_actor_id(std::string_view text) {
  const auto value = from_hex(text, 16);
  return value ? std::optional(ActorId{*value}) : std::nullopt;
}

Units Resources::other(std::string_view name) const {
  const auto at = place_of(others, name);
  return at != others.end() && at->first == name ? at->second : 0;
}

void Resources::set(std::string_view name, Units units) {
  const auto at = place_of(others, name);
  if (at == others.end() || at->first != name) {
    if (units != 0) others.insert(at, {std::string(name), units});
  } else if (units == 0) {
    others.erase(at);
  } else {
    at->second = units;
  }
}

bool Resources::fits_in(const Resources& free) const {
  // What is not asked for may be overdrawn.
  if ((cpus > 0 && cpus > free.cpus) || (memory_bytes > 0 && memory_bytes > free.memory_bytes)) return false;
  return std::all_of(others.begin(), others.end(),
                     [&](const auto& it) { return it.second <= 0 || it.second <= free.other(it.first); });
}

Resources& Resources::operator+=(const Resources& more) {
  cpus += more.cpus;
  memory_bytes += more.memory_bytes;
  for (const auto& [name, units] : more.others) set(name, other(name) + units);
  return *this;
}

Resources& Resources::operator-=(const Resources& less) {
  cpus -= less.cpus;
  memory_bytes -= less.memory_bytes;
  for (const auto& [name, units] : less.others) set(name, other(name) - units);
  return *this;
}

int load_permille(const Resources& used, const Resources& total) {
  std::int64_t load = 0;
  const auto look = [&](std::int64_t part, std::int64_t whole) {
    if (whole > 0)
      load = std::max(load, static_cast<std::int64_t>(1000.0 * static_cast<double>(part) / static_cast<double>(whole)));
  };
  look(used.cpus, total.cpus);
  look(used.memory_bytes, total.memory_bytes);
  for (const auto& [name, units] : total.others) look(used.other(name), units);
  return static_cast<int>(std::min<std::int64_t>(load, 1'000'000));
}

bool matches(const Labels& labels, const LabelSelector& selector) {
  const auto at = place_of(labels, selector.key);
  const bool is_there = at != labels.end() && at->first == selector.key &&
                        std::find(selector.values.begin(), selector.values.end(), at->second) != selector.values.end();
  return is_there != selector.is_negated;
}

}  // namespace rayx::base
