// Where actors go: what nodes have lent, in which order they are asked for room, and who waits for it.
#include <algorithm>

#include "base/check.hpp"
#include "base/planted_bug.hpp"
#include "registry/head.hpp"
#include "registry/placement.hpp"

namespace rayx::registry {

// ---- What is lent

void Head::lend(NodeId node, Member& member, Placement placement, const Resources& resources) {
  give_back(node, member, placement);
  member.lent[placement] = resources;
  if (!RAYX_PLANTED_BUG(437)) member.given += resources;
  has_load(node, member);
}

void Head::give_back(NodeId node, Member& member, Placement placement) {
  const auto found = member.lent.find(placement);
  if (found == member.lent.end()) return;
  member.given -= found->second;
  member.lent.erase(found);
  has_load(node, member);
  may_place_ = true;
}

// ---- Who can lend

void Head::unrank(NodeId node, Member& member) {
  if (!member.rank) return;
  places_.erase({*member.rank, node});
  member.rank.reset();
}

void Head::rank(NodeId node, Member& member) {
  const NodeRecord& record = member.record;
  const bool is_open = member.connection != 0 && (record.state == NodeState::kAlive || RAYX_PLANTED_BUG(428));
  // A driver has no place for actors unless it brought CPUs.
  if (!is_open || (record.kind != MemberKind::kNode && record.resources.cpus == 0)) return unrank(node, member);
  const int rank = place_rank(record.resources, member.given, member.load.used_by_tasks);
  if (member.rank == rank) return;
  unrank(node, member);
  member.rank = rank;
  places_[{rank, node}] = &member;
}

bool Head::is_feasible(const CreateActor& wanted) const {
  return std::any_of(members_.begin(), members_.end(), [&](const auto& it) {
    const NodeRecord& record = it.second.record;
    return record.state == NodeState::kAlive && wanted.resources.fits_in(record.resources) &&
           base::matches(it.first, record.labels, wanted.selectors);
  });
}

// ---- Who waits

void Head::place_waiting() {
  may_place_ = false;
  // Of many that want the same and find no room only the first is looked at.
  constexpr std::size_t kShapesMax = 16;
  std::vector<const CreateActor*> in_vain;
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    const ActorId id = at->second;
    ++at;  // it may cease to wait
    Actor& actor = actors_.at(id);
    const CreateActor& wanted = actor.spec.creation;
    if (std::any_of(in_vain.begin(), in_vain.end(),
                    [&](const CreateActor* other) { return wants_the_same(*other, wanted); }))
      continue;
    Choice choice(wanted.resources, wanted.selectors);
    const auto look_at = [&choice](NodeId node, const Member& member) {
      const NodeRecord& record = member.record;
      return choice.look_at({node, record.resources, member.given, member.load.used_by_tasks, record.labels});
    };
    const Member* refused_by = nullptr;
    for (const auto& [place, member] : places_) {
      if (place.second == actor.refused_by) {
        refused_by = member;
      } else if (look_at(place.second, *member)) {
        break;
      }
    }
    if (!choice.node() && refused_by != nullptr) look_at(actor.refused_by, *refused_by);
    if (const auto node = choice.node()) {
      hand_out(id, actor, *node);
    } else if (in_vain.size() < kShapesMax) {
      in_vain.push_back(&wanted);
    }
  }
}

void Head::hand_out(ActorId id, Actor& actor, NodeId node) {
  const CreateActor& wanted = actor.spec.creation;
  if (!RAYX_PLANTED_BUG(429) || actor.state.incarnation == 0) ++actor.state.incarnation;
  actor.state.node = node;
  const JobRecord* job = find_job(wanted.job);
  RAYX_CHECK(job != nullptr, "an actor that waits has a job", base::to_text(id));
  send_to(node, PlaceActor{id, actor.state.incarnation, job->info, job->is_ended, wanted.resources, wanted.is_detached,
                           actor.state.restarts > 0, wanted.name, wanted.name_space, wanted.creation, wanted.site});
  move(id, actor, ActorEvent::kHandedOut);
  lend(node, members_.at(node), {id, actor.state.incarnation}, wanted.resources);
}

}  // namespace rayx::registry
