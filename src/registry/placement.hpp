// On which node an actor goes. Below half load the fullest node that has room, so that others stay empty for what is large and
// for being sent away; above it the emptiest, so that nobody waits beside free CPUs.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "base/cluster_ids.hpp"
#include "base/planted_bug.hpp"

namespace rayx::registry {

struct Candidate {
  base::NodeId node;
  base::Resources total;
  base::Resources given;          // to actors
  base::Resources used_by_tasks;  // which come and go
  const base::Labels* labels = nullptr;
};

inline bool fulfils(const base::Labels& labels, const std::vector<base::LabelSelector>& selectors) {
  return std::all_of(selectors.begin(), selectors.end(), [&](const auto& it) { return base::matches(labels, it); });
}

// `candidates` are in order of their ids, so that the choice is the same in every run. Nothing: no node has room now.
inline std::optional<base::NodeId> choose_node(const std::vector<Candidate>& candidates, const base::Resources& needed,
                                               const std::vector<base::LabelSelector>& selectors) {
  constexpr int kHalf_permille = 500;
  struct Best {
    base::NodeId node;
    int load_permille = 0;
    bool has_room_beside_tasks = false;
  };
  std::optional<Best> best;
  for (const Candidate& it : candidates) {
    base::Resources left = it.total;
    left -= it.given;
    if (!needed.fits_in(left) && !RAYX_PLANTED_BUG(401)) continue;
    if (!fulfils(*it.labels, selectors) && !RAYX_PLANTED_BUG(402)) continue;
    // Tasks end and make room; so a node full of tasks is only the second choice.
    base::Resources used = it.given;
    used += it.used_by_tasks;
    left -= it.used_by_tasks;
    const Best mine{it.node, base::load_permille(used, it.total), needed.fits_in(left)};
    const auto is_better = [&](const Best& other) {
      if (mine.has_room_beside_tasks != other.has_room_beside_tasks) return mine.has_room_beside_tasks;
      const bool is_low = mine.load_permille < kHalf_permille;
      if (is_low != (other.load_permille < kHalf_permille)) return is_low;
      return is_low ? mine.load_permille > other.load_permille : mine.load_permille < other.load_permille;
    };
    if (!best || is_better(*best)) best = mine;
  }
  return best ? std::optional(best->node) : std::nullopt;
}

}  // namespace rayx::registry
