// On which node an actor goes. Below half load the fullest node that has room, so that others stay empty for what is large and
// for being sent away; above it the emptiest, so that nobody waits beside free CPUs.
//
// The order does not depend on what is asked for. So nodes are kept in it, and the first that has room is taken: mostly one of
// the first that are looked at, however many there are.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "base/cluster_ids.hpp"
#include "base/planted_bug.hpp"
#include "base/where.hpp"
#include "registry/messages.hpp"

namespace rayx::registry {

// Nodes of equal rank are asked in the order of their ids, so that the choice is the same in every run.
inline int place_rank(const base::Resources& total, const base::Resources& given,
                      const base::Resources& used_by_tasks) {
  constexpr int kHalf_permille = 500;
  base::Resources used = given;
  used += used_by_tasks;
  const int load_permille = base::load_permille(used, total);
  return load_permille < kHalf_permille ? kHalf_permille - 1 - load_permille : load_permille;
}

inline bool wants_the_same(const CreateActor& a, const CreateActor& b) {
  return a.resources == b.resources && a.selectors == b.selectors;
}

struct Candidate {
  base::NodeId node;
  const base::Resources& total;
  const base::Resources& given;          // to actors
  const base::Resources& used_by_tasks;  // which come and go
  const base::Labels& labels;
};

class Choice {
 public:
  Choice(const base::Resources& needed, const std::vector<base::LabelSelector>& selectors)
      : needed_(needed), selectors_(selectors) {}

  // In the order of their ranks. True: none that comes later is better.
  bool look_at(const Candidate& it) {
    // Most that have no room are full of CPUs; this needs no copy.
    if (needed_.cpus > 0 && needed_.cpus > it.total.cpus - it.given.cpus && !RAYX_PLANTED_BUG(401)) return false;
    base::Resources left = it.total;
    left -= it.given;
    if (!needed_.fits_in(left) && !RAYX_PLANTED_BUG(401)) return false;
    if (!base::matches(it.node, it.labels, selectors_) && !RAYX_PLANTED_BUG(402)) return false;
    // Tasks end and make room; so a node full of tasks is only the second choice.
    left -= it.used_by_tasks;
    const bool has_room_beside_tasks = needed_.fits_in(left);
    if (has_room_beside_tasks || !node_) node_ = it.node;
    return has_room_beside_tasks;
  }
  // Nothing: no node has room now.
  std::optional<base::NodeId> node() const { return node_; }

 private:
  const base::Resources& needed_;
  const std::vector<base::LabelSelector>& selectors_;
  std::optional<base::NodeId> node_;
};

}  // namespace rayx::registry
