// What is simulated, and what came of it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "registry/messages.hpp"

namespace rayx::sim {

using base::TimeNs;

// Everything that happens by chance happens so often for each node, so that a larger cluster has more of all of it.
struct Plan {
  int nodes = 100;
  std::uint64_t seed = 1;
  TimeNs steady_ns = 60'000'000'000;  // counted, after half as much to settle
  // What a call of the head takes of simulated time. 0: what it takes of this CPU; else the same for all, so that a run can be
  // repeated exactly.
  TimeNs head_call_ns = 0;
  // Members that keep what they are told of others. All of them would need N² entries in this one process; the rest is told too,
  // and counted, and forgets it.
  int views_kept = 50;

  TimeNs one_way_ns = 200'000;            // mean; from a sixth to eleven sixths of it
  double link_bytes_per_second = 1.25e9;  // of the head's host, to all: 10 Gbit
  TimeNs commit_ns = 1'000'000;           // of the disk, for all that waits by then
  TimeNs actor_start_ns = 5'000'000;      // its process and its constructor
  TimeNs actor_life_ns = 20'000'000'000;  // mean
  TimeNs head_away_ns = 1'000'000'000;    // from its death until another one is started

  int drivers() const { return nodes < 25 ? 1 : nodes / 25; }
  int rack() const { return nodes < 200 ? nodes / 5 : 40; }

  // A second and node.
  double loads_changed = 1.0;
  double actors_made = 0.1;
  double names_asked = 0.1;
  double keys_put = 0.1;
  double keys_got = 0.2;
  double published = 0.05;
  double nodes_left = 0.0005;
  double nodes_killed = 0.0005;
  double jobs = 0.001;  // short ones, beside those of the drivers
};

// Of the head since it began, or between two moments.
struct Traffic {
  struct Sum {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    Sum& operator+=(const Sum& more) { return messages += more.messages, bytes += more.bytes, *this; }
    Sum& operator-=(const Sum& less) { return messages -= less.messages, bytes -= less.bytes, *this; }
  };
  std::array<Sum, std::variant_size_v<registry::ToHead>> in{};
  std::array<Sum, std::variant_size_v<registry::ToMember>> out{};
  std::uint64_t views_named = 0;  // nodes that were named in views
  std::uint64_t calls = 0;
  TimeNs deciding_ns = 0;
  TimeNs coding_ns = 0;
  std::uint64_t commits = 0;
  std::uint64_t written_bytes = 0;
  TimeNs waited_ns_max = 0;  // of what came in, until the head came to it
  TimeNs queued_ns_max = 0;  // of what the head said, until the link had taken it

  Sum all_in() const;
  Sum all_out() const;
  TimeNs busy_ns() const { return deciding_ns + coding_ns; }
  Traffic since(const Traffic& before) const;
};

struct Delays {
  std::size_t count = 0;
  TimeNs p50_ns = 0;
  TimeNs p99_ns = 0;
  TimeNs max_ns = 0;
};
Delays delays_of(std::vector<TimeNs> all);

struct MassEvent {
  TimeNs time_ns = 0;  // base::kNever: it was not over after what it may take at most
  Traffic traffic;
};

struct Report {
  Plan plan;
  std::string problem;  // empty: all that must hold held

  MassEvent join;    // all at once, until each of them is joined and knows all
  MassEvent actors;  // two for each node at once, until the last one is alive
  TimeNs steady_ns = 0;
  Traffic steady;
  Delays handed_out;  // from "create actor" to the moment when PlaceActor leaves the head
  Delays alive;       // to the moment when who made it knows that it lives
  std::size_t actors_alive = 0;
  MassEvent rack;             // its nodes lose their power at once, until all others know
  TimeNs rack_actors_ns = 0;  // until what ran there runs elsewhere
  std::size_t rack_actors = 0;
  std::size_t head_bytes = 0;  // of memory
  std::size_t durable_pairs = 0;
  std::size_t durable_bytes = 0;
  TimeNs restore_ns = 0;         // of CPU, to read what is durable
  MassEvent restart;             // from the start of the new head until all are members again
  TimeNs restart_actors_ns = 0;  // until what was to be made while it was away lives
  std::size_t restart_actors = 0;
  std::size_t actors_made = 0;  // in all
};

// As tables in Markdown, a column for each size.
std::string tables(const std::vector<Report>& reports);

}  // namespace rayx::sim
