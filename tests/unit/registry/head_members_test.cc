#include <algorithm>

#include "head_kit.hpp"

namespace rayx::registry {
namespace {

using HeadMembers = HeadTest;

TEST_F(HeadMembers, AJoinIsAnsweredWithTheClusterAndAFullView) {
  join(kNodeA);
  join(kNodeB);
  EXPECT_EQ(last<Joined>(kNodeB)->cluster, 77u);
  EXPECT_TRUE(last<View>(kNodeB)->is_full);
  EXPECT_EQ(last<View>(kNodeB)->nodes.size(), 2u);
  EXPECT_FALSE(last<View>(kNodeA)->is_full) << "who was there hears what is new";
  EXPECT_EQ(last<View>(kNodeA)->nodes.size(), 1u);
}

TEST_F(HeadMembers, AnotherVersionOfTheProtocolIsRefusedInWords) {
  head->on_opened(9, now);
  Join old;
  old.protocol = kProtocolVersion + 1;
  old.node = kNodeA;
  head->on_message(9, old, now);
  settle();
  EXPECT_EQ(std::get<Refused>(said[9].at(0)).why, RefusedWhy::kProtocol);
  EXPECT_EQ(closed.back(), 9u);
}

TEST_F(HeadMembers, SilenceIsDeathAndIsToldToAll) {
  join(kNodeA);
  join(kNodeB);
  pass(2 * kSecond, {kNodeB});
  EXPECT_EQ(head->nodes().size(), 2u);
  pass(kSecond, {kNodeB});
  EXPECT_TRUE(head->is_declared_dead(kNodeA));
  EXPECT_EQ(last<View>(kNodeB)->nodes.at(0).state, NodeState::kDead);
}

// A debugger may have stopped it. What tells that it is gone is its connection, as for all others.
TEST_F(HeadMembers, ADriverMayBeSilentForAMinuteWhileItsConnectionStands) {
  join(kDriver);
  pass(kDriverSilence_ns - kSecond, {});
  EXPECT_FALSE(head->is_declared_dead(kDriver));
  pass(2 * kSecond, {});
  EXPECT_TRUE(head->is_declared_dead(kDriver));
}

TEST_F(HeadMembers, AClosedConnectionGivesASecondToComeBack) {
  join(kNodeA);
  closes(kNodeA);
  pass(kSecond / 2, {});
  join(kNodeA, {}, false);
  pass(3 * kSecond, {kNodeA});
  EXPECT_FALSE(head->is_declared_dead(kNodeA));
  closes(kNodeA);
  pass(2 * kSecond, {});
  EXPECT_TRUE(head->is_declared_dead(kNodeA));
}

TEST_F(HeadMembers, WhoWasDeclaredDeadIsRefusedUnderItsOldIdForGood) {
  join(kNodeA);
  pass(4 * kSecond, {});
  join(kNodeA, {}, false);
  EXPECT_EQ(last<Refused>(kNodeA)->why, RefusedWhy::kDeclaredDead);
  start_head();
  join(kNodeA, {}, false);
  EXPECT_EQ(last<Refused>(kNodeA)->why, RefusedWhy::kDeclaredDead);
}

TEST_F(HeadMembers, AnOvertakenJoinIsWorthNothing) {
  join(kNodeA);
  const ConnectionId current = connection_of[kNodeA];
  session -= 1;
  const ConnectionId late = join(kNodeA);
  EXPECT_EQ(closed.back(), late);
  EXPECT_TRUE(said[late].empty());
  connection_of[kNodeA] = current;
  tell(kNodeA, Heartbeat{});
  EXPECT_EQ(count<HeartbeatSeen>(kNodeA), 1);
}

TEST_F(HeadMembers, ARestartedHeadWaitsForItsMembers) {
  join(kNodeA);
  join(kNodeB);
  start_head();
  pass(9 * kSecond, {});
  EXPECT_EQ(head->nodes().size(), 2u);
  join(kNodeA, {}, false);
  pass(2 * kSecond, {kNodeA});
  EXPECT_FALSE(head->is_declared_dead(kNodeA));
  EXPECT_TRUE(head->is_declared_dead(kNodeB));
}

TEST_F(HeadMembers, AHeadThatStoodStillGivesNobodyUp) {
  join(kNodeA);
  now += 20 * kSecond;
  head->tick(now);
  closes(kNodeA);
  pass(5 * kSecond, {});
  EXPECT_FALSE(head->is_declared_dead(kNodeA));
  pass(6 * kSecond, {});
  EXPECT_TRUE(head->is_declared_dead(kNodeA));
}

TEST_F(HeadMembers, NothingIsSaidBeforeItIsDurableButThatAHeartbeatWasSeen) {
  is_disk_held = true;
  join(kNodeA);
  tell(kNodeA, Heartbeat{});
  EXPECT_EQ(said[connection_of[kNodeA]].size(), 1u);
  EXPECT_EQ(count<HeartbeatSeen>(kNodeA), 1);
  is_disk_held = false;
  settle();
  EXPECT_EQ(count<Joined>(kNodeA), 1);
}

TEST_F(HeadMembers, ADiskThatIsDoneAtOnceIsAsGood) {
  is_disk_immediate = true;
  join(kDriver);
  join(kNodeA);
  const JobId job = start_job();
  request(kDriver, 2, creation(kActor, job));
  EXPECT_EQ(last<PlaceActor>(kNodeA)->actor, kActor);
  EXPECT_EQ(answer(kDriver).number, 2u);
  pass(3 * kSecond, {kDriver});
  EXPECT_EQ(last<View>(kDriver)->nodes.at(0).state, NodeState::kDead);
}

TEST_F(HeadMembers, ADrainedNodeIsGoneWhenItSaysSoOrAtItsDeadline) {
  join(kNodeA);
  join(kNodeB);
  request(kNodeB, 1, DrainNode{kNodeA, 3 * kSecond, "a new kernel"});
  EXPECT_EQ(last<Drain>(kNodeA)->reason, "a new kernel");
  EXPECT_EQ(last<View>(kNodeB)->nodes.at(0).state, NodeState::kDraining);
  pass(2 * kSecond, {kNodeA, kNodeB});
  EXPECT_FALSE(head->is_declared_dead(kNodeA));
  pass(3 * kSecond / 2, {kNodeB});
  EXPECT_TRUE(head->is_declared_dead(kNodeA));
}

TEST_F(HeadMembers, ARequestThatIsRepeatedIsAnsweredTheSameAndNotDoneTwice) {
  join(kDriver);
  const JobId job = start_job();
  start_head();
  join(kDriver, {}, false);
  request(kDriver, 1, StartJob{"bundle", "program", "space"});
  EXPECT_EQ(std::get<JobInfo>(answer(kDriver).body).job, job);
  EXPECT_EQ(head->jobs().size(), 1u);
  tell(kDriver, Heartbeat{{}, 0, 0, 2});
  for (const auto& [key, value] : disk) EXPECT_FALSE(key.starts_with("answer/"));
}

TEST_F(HeadMembers, AJobEndsWithItsDriverAndWhoWasAwayIsToldLater) {
  join(kDriver);
  join(kNodeA);
  join(kNodeB);
  const JobId job = start_job();
  request(kNodeA, 1, LookUpJob{job});
  request(kNodeB, 1, LookUpJob{job});
  closes(kNodeB);
  request(kDriver, 2, Leave{"done"});
  EXPECT_EQ(last<JobEnded>(kNodeA)->job, job);
  Resume resume;
  resume.jobs = {job};
  join(kNodeB, resume, false);
  EXPECT_EQ(last<JobEnded>(kNodeB)->job, job);
  EXPECT_TRUE(head->jobs().empty());
}

TEST_F(HeadMembers, OnlyWhoKnowsOfAJobHearsOfItsEnd) {
  join(kDriver);
  join(kNodeA);
  join(kNodeB);
  const JobId job = start_job();
  request(kNodeA, 1, LookUpJob{job});
  request(kNodeB, 1, EndJob{job, "enough"});
  EXPECT_EQ(last<JobEnded>(kNodeA)->job, job);
  EXPECT_EQ(last<JobEnded>(kDriver)->job, job);
  EXPECT_EQ(count<JobEnded>(kNodeB), 0);
  // Its answer was lost, and it asks again: what it hears of is over.
  request(kDriver, 1, StartJob{"bundle", "program", "space"});
  EXPECT_EQ(count<JobEnded>(kDriver), 2);
}

class ManyMembers : public HeadTest {
 protected:
  static constexpr NodeId kNodeC{0xc};
  ManyMembers() {
    options.news_pause_of_member_ns = kSecond / 10;
    options.view_nodes_max = 2;
    start_head();
  }
  // Messages of what the node's connection was told that others were told too.
  int shared_with_others(NodeId node) {
    int sum = 0;
    for (const auto& [message, to] : shared)
      sum += to.size() > 1 && std::count(to.begin(), to.end(), connection_of.at(node)) > 0;
    return sum;
  }
};

TEST_F(ManyMembers, AreToldAtOnceOfOneThatJoinsAndTogetherOfThoseThatFollow) {
  join(kDriver);
  pass(kSecond, {kDriver});
  join(kNodeA);
  EXPECT_EQ(last<View>(kDriver)->nodes.at(0).node, kNodeA);
  const int views = count<View>(kDriver);
  join(kNodeB);
  join(kNodeC);
  EXPECT_EQ(count<View>(kDriver), views) << "it was told just now";
  now += kSecond / 2;
  head->tick(now);
  EXPECT_EQ(count<View>(kDriver), views + 1);
  EXPECT_EQ(last<View>(kDriver)->nodes.size(), 2u);
}

TEST_F(ManyMembers, KnowOfANodeBeforeAnythingNamesIt) {
  join(kDriver);
  const JobId job = start_job();
  tell(kDriver, Watch{kActor, true});
  request(kDriver, 2, creation(kActor, job));
  now += kSecond / 100;
  join(kNodeA);
  EXPECT_EQ(last<PlaceActor>(kNodeA)->actor, kActor);
  const auto& messages = said[connection_of.at(kDriver)];
  std::size_t shown = messages.size();
  std::size_t named = messages.size();
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto* view = std::get_if<View>(&messages[i]);
    const auto* state = std::get_if<ActorState>(&messages[i]);
    if (view != nullptr && !view->nodes.empty() && view->nodes.back().node == kNodeA) shown = std::min(shown, i);
    if (state != nullptr && state->node == kNodeA) named = std::min(named, i);
  }
  EXPECT_LT(named, messages.size());
  EXPECT_LT(shown, named);
}

TEST_F(ManyMembers, WhoJoinTogetherShareTheirView) {
  for (std::uint64_t node = 1; node <= 20; ++node) join(NodeId{node});
  const View end = *last<View>(NodeId{20});
  EXPECT_TRUE(end.is_full && end.is_last);
  EXPECT_GT(shared_with_others(NodeId{20}), 0);
  // A dead one is in no view of later ones.
  closes(NodeId{3});
  std::vector<NodeId> others;
  for (std::uint64_t node = 1; node <= 20; ++node)
    if (node != 3) others.push_back(NodeId{node});
  pass(2 * kSecond, others);
  ASSERT_TRUE(head->is_declared_dead(NodeId{3}));
  join(NodeId{21});
  std::size_t named = 0;
  for (const ToMember& message : said[connection_of.at(NodeId{21})]) {
    const auto* view = std::get_if<View>(&message);
    if (view == nullptr) continue;
    EXPECT_TRUE(view->is_full);
    named += view->nodes.size();
    for (const NodeView& node : view->nodes) EXPECT_NE(node.node, NodeId{3});
  }
  EXPECT_EQ(named, 20u);
}

TEST_F(ManyMembers, WaitForTheirViewsWhileOthersAreOnTheirWay) {
  options.named_in_flight_max = 2;
  start_head();
  join(kNodeA);
  join(kNodeB);
  join(kDriver);
  EXPECT_EQ(count<View>(kNodeA), 1);
  EXPECT_EQ(count<View>(kNodeB), 0);
  EXPECT_EQ(count<Joined>(kNodeB), 1) << "a member it is";
  Heartbeat seen;
  seen.view_seen = last<View>(kNodeA)->version;
  tell(kNodeA, seen);
  EXPECT_EQ(last<View>(kNodeB)->is_full, true);
  EXPECT_EQ(count<View>(kDriver), 0);
  closes(kNodeB);  // it will never see it
  EXPECT_EQ(last<View>(kDriver)->is_full, true);
}

TEST_F(ManyMembers, AreNotToldAgainOfAllWhenOnlyLoadsHaveChangedSince) {
  join(kNodeA);
  join(kNodeB);
  pass(kSecond, {kNodeA, kNodeB});
  Heartbeat busy;
  busy.load.used_by_tasks = cpus(1);
  tell(kNodeA, busy);
  join(kDriver);
  const JobId job = start_job();  // whose driver is shown to A before the round
  request(kNodeA, 1, LookUpJob{job});
  request(kNodeB, 1, LookUpJob{job});
  tell(kNodeA, Heartbeat{});
  pass(kSecond, {kNodeA, kNodeB, kDriver});
  join(kNodeC);
  EXPECT_EQ(last<View>(kNodeA)->nodes.size(), 1u);
  EXPECT_EQ(last<View>(kNodeB)->nodes.size(), 1u);
}

TEST_F(HeadMembers, ObjectsThatOthersReferToAreSaidOfTheirNode) {
  join(kNodeA);
  join(kNodeB);
  Heartbeat holds;
  holds.load.has_objects = true;
  tell(kNodeA, holds);
  join(kDriver);
  const std::vector<NodeView> nodes = last<View>(kDriver)->nodes;
  const auto holder = std::find_if(nodes.begin(), nodes.end(), [](const NodeView& it) { return it.has_objects; });
  ASSERT_NE(holder, nodes.end());
  EXPECT_EQ(holder->node, kNodeA);
  EXPECT_EQ(std::count_if(nodes.begin(), nodes.end(), [](const NodeView& it) { return it.has_objects; }), 1);
}

TEST_F(ManyMembers, AreToldOfLoadsInOneMessageForAll) {
  for (std::uint64_t node = 1; node <= 20; ++node) join(NodeId{node});
  std::vector<NodeId> all;
  for (const auto& view : head->nodes()) all.push_back(view.node);
  pass(3 * kSecond, all);
  shared.clear();
  Heartbeat heartbeat;
  heartbeat.load.used_by_tasks = cpus(1);
  heartbeat.view_seen = UINT64_MAX;
  tell(NodeId{7}, heartbeat);
  EXPECT_TRUE(shared.empty());
  now += kViewPause_ns;
  head->tick(now);
  ASSERT_EQ(shared.size(), 1u);
  EXPECT_EQ(shared.begin()->second.size(), 20u);
}

TEST_F(HeadMembers, DamagedRecordsAreNamed) {
  join(kNodeA);
  disk[node_key(kNodeA)] += "x";
  Head other({}, *this);
  const auto restored = other.restore({disk.begin(), disk.end()}, now);
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().code, ErrorCode::kMalformed);
  EXPECT_NE(restored.error().message.find(node_key(kNodeA)), std::string::npos);
}

}  // namespace
}  // namespace rayx::registry
