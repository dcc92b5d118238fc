// The names of a cluster's nodes, jobs and actors, and what nodes have to give. Ids are written as hex digits of a fixed length.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rayx::base {

// One life of a node's or a driver's process: 64 random bits, never 0. A process that was declared dead takes another one.
struct NodeId {
  std::uint64_t value = 0;
  explicit operator bool() const { return value != 0; }
  auto operator<=>(const NodeId&) const = default;
};

// Given by the head from 1 on; never used twice in a cluster.
struct JobId {
  std::uint32_t value = 0;
  explicit operator bool() const { return value != 0; }
  auto operator<=>(const JobId&) const = default;
};

// The processes of one job on one node, with their relay. Those of a job's detached actors are others than those of its program,
// which they outlive.
struct SiteId {
  NodeId node;
  JobId job;
  bool is_detached = false;
  auto operator<=>(const SiteId&) const = default;
  // Whether the two are one program: its functions and objects have the same names in both.
  bool is_one_with(const SiteId& other) const { return job == other.job && !is_detached && !other.is_detached; }
};
// By which the sites of other programs know it: many of one node may meet in one place, and its NodeId is that of all of them.
NodeId alias_of(const SiteId& site);

// 64 random bits, drawn by who creates the actor, so that a request that is repeated names the same actor. Never 0.
struct ActorId {
  std::uint64_t value = 0;
  explicit operator bool() const { return value != 0; }
  auto operator<=>(const ActorId&) const = default;
};

std::string to_text(NodeId id);   // 16 digits
std::string to_text(JobId id);    // 8 digits
std::string to_text(ActorId id);  // 16 digits
// Nothing unless the text is exactly what to_text writes for an id that is not 0.
std::optional<NodeId> parse_node_id(std::string_view text);
std::optional<JobId> parse_job_id(std::string_view text);
std::optional<ActorId> parse_actor_id(std::string_view text);

using Units = std::int64_t;  // 1/10000 of a CPU, or of one piece of a named resource
inline constexpr Units kUnitsOfOne = 10'000;

// What a node has, or what somebody needs of it. Differences may be negative: a node may lend more than it has for a while.
struct Resources {
  Units cpus = 0;
  std::int64_t memory_bytes = 0;
  std::vector<std::pair<std::string, Units>> others;  // sorted by name, no name twice, none of 0

  Units other(std::string_view name) const;
  void set(std::string_view name, Units units);
  bool is_zero() const { return cpus == 0 && memory_bytes == 0 && others.empty(); }
  bool fits_in(const Resources& free) const;
  Resources& operator+=(const Resources& more);
  Resources& operator-=(const Resources& less);
  bool operator==(const Resources&) const = default;
};

// The part of `total` that is used of whatever is scarcest, in 1/1000; above 1000 where more is lent than there is.
int load_permille(const Resources& used, const Resources& total);

using Labels = std::vector<std::pair<std::string, std::string>>;  // sorted by key, no key twice

// "the value of `key` is one of `values`", or is none of them. A node without the key has no value: it is none of them.
struct LabelSelector {
  std::string key;
  bool is_negated = false;
  std::vector<std::string> values;
  bool operator==(const LabelSelector&) const = default;
};
bool matches(const Labels& labels, const LabelSelector& selector);

}  // namespace rayx::base
