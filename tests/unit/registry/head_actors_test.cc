#include "head_kit.hpp"
#include "registry/placement.hpp"

namespace rayx::registry {
namespace {

class HeadActors : public HeadTest {
 protected:
  HeadActors() {
    join(kDriver);
    join(kNodeA);
    job = start_job();
  }
  // Makes the actor and says that it lives.
  PlaceActor live(NodeId node, std::uint32_t max_restarts = 0) {
    request(kDriver, 2, creation(kActor, job, max_restarts));
    const PlaceActor place = last<PlaceActor>(node).value_or(PlaceActor{});
    request(node, 1, ActorPlaced{place.actor, place.incarnation});
    return place;
  }
  RunningActor running(Incarnation incarnation) { return {kActor, incarnation, cpus(1), false, true}; }

  JobId job;
};

TEST_F(HeadActors, GoToANodeWithRoomAndLive) {
  const PlaceActor place = live(kNodeA);
  EXPECT_EQ(place.incarnation, 1u);
  EXPECT_EQ(place.job.bundle, "bundle");
  EXPECT_EQ(info(kActor).phase, ActorPhase::kAlive);
  EXPECT_EQ(head->nodes().front().free.cpus, 3 * base::kUnitsOfOne);
}

TEST_F(HeadActors, WaitWhereNothingFitsAndAreListed) {
  CreateActor large = creation(kActor, job);
  large.resources = cpus(5);
  request(kDriver, 2, large);
  EXPECT_EQ(info(kActor).phase, ActorPhase::kPending);
  EXPECT_FALSE(info(kActor).is_feasible);
  request(kDriver, 3, ListWaiting{});
  EXPECT_EQ(std::get<Listed>(answer(kDriver).body).names.size(), 1u);
  join(kNodeB, {}, true, cpus(8));
  EXPECT_EQ(info(kActor).node, kNodeB);
}

TEST_F(HeadActors, ACrashedOneStartsAgainAsOftenAsItMay) {
  live(kNodeA, 1);
  request(kNodeA, 2, ActorDied{kActor, 1, EndCause::kCrashed, "signal 11"});
  EXPECT_EQ(last<PlaceActor>(kNodeA)->incarnation, 2u);
  EXPECT_TRUE(last<PlaceActor>(kNodeA)->is_restart);
  request(kNodeA, 3, ActorDied{kActor, 2, EndCause::kCrashed, "signal 11"});
  EXPECT_EQ(info(kActor).phase, ActorPhase::kDead);
  EXPECT_EQ(count<PlaceActor>(kNodeA), 2);
}

TEST_F(HeadActors, OneThatEndedBeforeItBeganIsDeadToWhoAsks) {
  tell(kNodeA, Watch{kActor, true});
  EXPECT_EQ(last<ActorState>(kNodeA)->cause, EndCause::kNone);
  CreateActor creation = this->creation(kActor, job, 5);
  creation.ended = EndCause::kConstructorFailed;
  creation.how_it_ended = "an argument was lost";
  request(kDriver, 2, creation);
  EXPECT_EQ(last<ActorState>(kNodeA)->phase, ActorPhase::kDead);
  EXPECT_EQ(last<ActorState>(kNodeA)->cause, EndCause::kConstructorFailed);
  EXPECT_EQ(last<ActorState>(kNodeA)->message, "an argument was lost");
  EXPECT_EQ(count<PlaceActor>(kNodeA), 0);
}

TEST_F(HeadActors, NewsOfAnEarlierIncarnationChangeNothing) {
  live(kNodeA, 5);
  request(kNodeA, 2, ActorDied{kActor, 1, EndCause::kCrashed, ""});
  request(kNodeA, 3, ActorDied{kActor, 1, EndCause::kCrashed, ""});
  EXPECT_EQ(info(kActor).incarnation, 2u);
  EXPECT_EQ(info(kActor).phase, ActorPhase::kStarting);
}

TEST_F(HeadActors, AFailedConstructorEndsOneAndAFailedStartIsTriedFiveTimes) {
  request(kDriver, 2, creation(kActor, job, 9));
  for (Incarnation i = 1; i <= kStartsMax; ++i) {
    EXPECT_EQ(info(kActor).incarnation, i);
    request(kNodeA, i, ActorDied{kActor, i, EndCause::kNoProcess, "no memory"});
  }
  EXPECT_EQ(info(kActor).phase, ActorPhase::kDead);
  EXPECT_EQ(info(kActor).restarts, 0u);
  request(kDriver, 3, creation(ActorId{2}, job, 9));
  request(kNodeA, 10, ActorDied{ActorId{2}, 1, EndCause::kConstructorFailed, "it threw"});
  EXPECT_EQ(info(ActorId{2}).phase, ActorPhase::kDead);
}

TEST_F(HeadActors, OnADeadNodeStartElsewhere) {
  live(kNodeA, 1);
  join(kNodeB);
  tell(kDriver, Watch{kActor, true});
  pass(3 * kSecond, {kNodeB, kDriver});
  EXPECT_EQ(last<PlaceActor>(kNodeB)->incarnation, 2u);
  EXPECT_EQ(last<ActorState>(kDriver)->node, kNodeB);
}

TEST_F(HeadActors, ThatNeverReachedTheirNodeArePlacedAgainUnderANewNumber) {
  request(kDriver, 2, creation(kActor, job));
  closes(kNodeA);
  join(kNodeA, {}, false);
  EXPECT_EQ(last<PlaceActor>(kNodeA)->incarnation, 2u);
  EXPECT_FALSE(last<PlaceActor>(kNodeA)->is_restart);
}

TEST_F(HeadActors, AreFoundAgainByARestartedHead) {
  live(kNodeA);
  start_head();
  join(kDriver, {}, false);
  Resume resume;
  resume.jobs = {job};
  resume.actors = {running(1)};
  join(kNodeA, resume, false);
  EXPECT_EQ(info(kActor).phase, ActorPhase::kAlive);
  EXPECT_EQ(count<EndActor>(kNodeA), 0);
  EXPECT_EQ(count<PlaceActor>(kNodeA), 0);
}

TEST_F(HeadActors, AKillIsHeardByANodeThatWasAway) {
  live(kNodeA, 3);
  closes(kNodeA);
  request(kDriver, 3, KillActor{kActor, false});
  start_head();
  Resume resume;
  resume.actors = {running(1)};
  join(kNodeA, resume, false);
  EXPECT_EQ(last<EndActor>(kNodeA)->incarnation, 1u);
  request(kNodeA, 4, ActorDied{kActor, 1, EndCause::kKilled, ""});
  EXPECT_EQ(info(kActor).incarnation, 2u);
}

TEST_F(HeadActors, WhatADeadOneHoldsIsLentUntilItsProcessIsGone) {
  live(kNodeA);
  request(kDriver, 3, KillActor{kActor, true});
  EXPECT_EQ(info(kActor).phase, ActorPhase::kDead);
  EXPECT_EQ(last<EndActor>(kNodeA)->actor, kActor);
  CreateActor large = creation(ActorId{2}, job);
  large.resources = cpus(4);
  request(kDriver, 4, large);
  EXPECT_EQ(info(ActorId{2}).phase, ActorPhase::kPending);
  request(kNodeA, 2, ActorDied{kActor, 1, EndCause::kKilled, ""});
  EXPECT_EQ(info(ActorId{2}).phase, ActorPhase::kStarting);
}

TEST_F(HeadActors, ANameIsTakenUntilItsActorIsDead) {
  CreateActor first = creation(kActor, job);
  first.name = "parameters";
  request(kDriver, 2, first);
  CreateActor second = creation(ActorId{2}, job);
  second.name = "parameters";
  request(kDriver, 3, second);
  EXPECT_EQ(answer(kDriver).status, Status::kExists);
  second.get_if_exists = true;
  request(kDriver, 4, second);
  EXPECT_EQ(std::get<ActorId>(answer(kDriver).body), kActor);
  request(kDriver, 5, LookUpName{"space", "parameters"});
  EXPECT_EQ(std::get<ActorId>(answer(kDriver).body), kActor);
  request(kDriver, 6, ListNames{"space", ""});
  EXPECT_EQ(std::get<Listed>(answer(kDriver).body).names, std::vector<std::string>{"parameters"});
  request(kDriver, 7, KillActor{kActor, true});
  request(kDriver, 8, second);
  EXPECT_EQ(std::get<ActorId>(answer(kDriver).body), ActorId{2});
}

TEST_F(HeadActors, ADetachedOneIsFoundByItsNameFromOtherJobsUnlessTheyHaveOneOfTheirOwn) {
  CreateActor detached = creation(kActor, job);
  detached.name = "counter";
  detached.name_space = kDetachedSpace;
  detached.is_detached = true;
  request(kDriver, 2, detached);
  request(kDriver, 3, StartJob{"bundle", "program", ""});
  const JobId other = std::get<JobInfo>(answer(kDriver).body).job;
  request(kDriver, 4, LookUpName{"", "counter", other});
  EXPECT_EQ(std::get<ActorId>(answer(kDriver).body), kActor);
  CreateActor own = creation(ActorId{2}, other);
  own.name = "counter";
  own.get_if_exists = true;
  request(kDriver, 5, own);
  EXPECT_EQ(std::get<ActorId>(answer(kDriver).body), kActor);
  own.get_if_exists = false;
  request(kDriver, 6, own);
  request(kDriver, 7, LookUpName{"", "counter", other});
  EXPECT_EQ(std::get<ActorId>(answer(kDriver).body), ActorId{2});
  request(kDriver, 8, LookUpName{"", "counter", job});
  EXPECT_EQ(std::get<ActorId>(answer(kDriver).body), kActor);
}

TEST_F(HeadActors, WhatADetachedOneMakesMayBeginAfterTheJobAndEndsWithItsNode) {
  live(kNodeA);
  CreateActor detached = creation(ActorId{2}, job, 1);
  detached.is_detached = true;
  request(kDriver, 3, detached);
  request(kDriver, 4, EndJob{job, "done"});
  CreateActor late = creation(ActorId{3}, job);
  late.is_detached = true;
  request(kNodeA, 2, late);
  EXPECT_EQ(answer(kNodeA).status, Status::kJobEnded);
  late.is_owned = true;
  request(kNodeA, 3, late);
  EXPECT_EQ(answer(kNodeA).status, Status::kOk);
  EXPECT_TRUE(last<PlaceActor>(kNodeA)->is_detached);
  request(kNodeA, 4, Leave{"it ends"});
  EXPECT_EQ(info(ActorId{3}).phase, ActorPhase::kDead);
  EXPECT_EQ(info(ActorId{2}).phase, ActorPhase::kRestarting);
}

TEST_F(HeadActors, OnlyDetachedOnesOutliveTheirJob) {
  live(kNodeA);
  CreateActor detached = creation(ActorId{2}, job, 1);
  detached.is_detached = true;
  request(kDriver, 3, detached);
  request(kDriver, 4, EndJob{job, "done"});
  EXPECT_EQ(last<EndActor>(kNodeA)->cause, EndCause::kJobEnded);
  EXPECT_EQ(head->actors().size(), 1u);
  request(kNodeA, 2, ActorDied{ActorId{2}, 1, EndCause::kCrashed, ""});
  EXPECT_TRUE(last<PlaceActor>(kNodeA)->is_job_ended);
  EXPECT_EQ(last<PlaceActor>(kNodeA)->job.bundle, "bundle") << "it is needed to start it again";
  EXPECT_TRUE(disk.contains(job_key(job)));
  request(kDriver, 5, KillActor{ActorId{2}, true});
  EXPECT_FALSE(disk.contains(job_key(job)));
}

TEST_F(HeadActors, EndWithTheProcessThatMadeThem) {
  join(kNodeB, {}, true, Resources{});
  request(kNodeB, 1, creation(kActor, job, 5));
  request(kNodeB, 2, Leave{"done"});
  EXPECT_EQ(info(kActor).phase, ActorPhase::kDead);
  EXPECT_EQ(last<EndActor>(kNodeA)->cause, EndCause::kOwnerDied);
}

TEST_F(HeadActors, OfAJobThatHasEndedAreRefused) {
  request(kDriver, 2, EndJob{job, "done"});
  request(kDriver, 3, creation(kActor, job));
  EXPECT_EQ(answer(kDriver).status, Status::kJobEnded);
}

struct Node {
  std::uint64_t id;
  Resources total;
  Resources given;
  Resources used_by_tasks;
  Labels labels;
};
std::optional<NodeId> choose(std::vector<Node> nodes, const Resources& needed,
                             const std::vector<LabelSelector>& selectors) {
  const auto place = [](const Node& it) { return std::pair(place_rank(it.total, it.given, it.used_by_tasks), it.id); };
  std::sort(nodes.begin(), nodes.end(), [&](const Node& a, const Node& b) { return place(a) < place(b); });
  Choice choice(needed, selectors);
  for (const Node& it : nodes)
    if (choice.look_at({{it.id}, it.total, it.given, it.used_by_tasks, it.labels})) break;
  return choice.node();
}

TEST(Placement, PacksBelowHalfLoadAndSpreadsAbove) {
  const auto node = [](std::uint64_t id, int used) { return Node{id, cpus(10), cpus(used), {}, {}}; };
  EXPECT_EQ(choose({node(1, 1), node(2, 4), node(3, 0)}, cpus(1), {}), NodeId{2});
  EXPECT_EQ(choose({node(1, 9), node(2, 6), node(3, 7)}, cpus(1), {}), NodeId{2});
  EXPECT_EQ(choose({node(1, 9), node(2, 3)}, cpus(1), {}), NodeId{2});
  EXPECT_EQ(choose({node(1, 9), node(2, 9)}, cpus(2), {}), std::nullopt);
  EXPECT_EQ(choose({node(3, 4), node(2, 4)}, cpus(1), {}), NodeId{2});
}

TEST(Placement, TakesANodeFullOfTasksOnlyWhenThereIsNoOther) {
  const Node busy{1, cpus(4), cpus(1), cpus(3), {}};
  const Node full{2, cpus(4), cpus(4), {}, {}};
  const Node half{3, cpus(4), cpus(3), {}, {}};
  EXPECT_EQ(choose({busy, full}, cpus(1), {}), NodeId{1});
  EXPECT_EQ(choose({busy, full, half}, cpus(1), {}), NodeId{3});
}

TEST(Placement, KeepsToLabels) {
  const std::vector<Node> nodes = {{1, cpus(4), {}, {}, {{"zone", "a"}}}, {2, cpus(4), {}, {}, {{"zone", "b"}}}};
  EXPECT_EQ(choose(nodes, cpus(1), {{"zone", false, {"b"}}}), NodeId{2});
  EXPECT_EQ(choose(nodes, cpus(1), {{"zone", true, {"a", "b"}}}), std::nullopt);
}

TEST(ActorStates, KnowNoWayBackFromDeath) {
  for (int event = 0; event < 6; ++event) EXPECT_FALSE(next_phase(ActorPhase::kDead, static_cast<ActorEvent>(event)));
  EXPECT_EQ(next_phase(ActorPhase::kStarting, ActorEvent::kReturned), ActorPhase::kPending);
}

}  // namespace
}  // namespace rayx::registry
