#include "registry/member.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace rayx::registry {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr TimeNs kSecond = 1'000'000'000;
constexpr ActorId kActor{5};
constexpr JobId kJob{3};

class MemberTest : public testing::Test, public MemberEffects {
 protected:
  MemberTest() {
    Identity identity;
    identity.node = {0xa};
    member.emplace(identity, *this);
    member->start(now);
  }

  // MemberEffects
  void connect(std::uint64_t session) override { asked_session = session; }
  void send(ConnectionId, ToHead message) override { sent.push_back(std::move(message)); }
  void close(ConnectionId connection) override { closed.push_back(connection); }
  void answered(const Answer& answer) override { answers.push_back(answer); }
  void node_changed(const NodeView& node) override {
    log.push_back("node " + std::to_string(node.node.value) + (node.state == NodeState::kDead ? " dead" : ""));
  }
  void start_actor(const PlaceActor& place) override { log.push_back("start " + std::to_string(place.incarnation)); }
  void end_actor(ActorId, Incarnation incarnation, EndCause) override {
    log.push_back("end " + std::to_string(incarnation));
  }
  void job_ended(JobId job, const std::string&) override { log.push_back("job ended " + std::to_string(job.value)); }
  void job_over(JobId job) override { log.push_back("job over " + std::to_string(job.value)); }
  void actor_changed(const ActorState& state) override { log.push_back(std::string("actor ") + to_text(state.phase)); }
  void published(const Published& message) override { log.push_back(message.payload); }
  void missed(const std::string&, std::optional<std::uint64_t> count) override {
    log.push_back("missed " + (count ? std::to_string(*count) : "?"));
  }
  void drain(TimeNs, const std::string& reason) override { log.push_back("drain " + reason); }
  void left() override { log.push_back("left"); }
  void start_anew(const std::string&) override { log.push_back("start anew"); }
  void end_yourself(const std::string&) override { log.push_back("end"); }

  void connected() { member->on_connected(asked_session, ++connection, now); }
  void told(const ToMember& message) { member->on_message(connection, message, now); }
  void joined() {
    connected();
    told(Joined{77, 1, kHeartbeat_ns, kSilence_ns, kLease_ns});
    told(View{1, true, true, {}});
  }
  void pass(TimeNs time) {
    for (const TimeNs end = now + time; now < end;) {
      now = std::max(now, std::min(end, member->next_deadline_ns()));
      member->tick(now);
      if (member->is_over()) return;
    }
  }
  void breaks() {
    member->on_closed(connection, now);
    pass(kSecond / 5);
  }
  template <class Message>
  std::vector<Message> all() {
    std::vector<Message> found;
    for (const ToHead& message : sent)
      if (const auto* it = std::get_if<Message>(&message)) found.push_back(*it);
    return found;
  }
  static NodeView node(std::uint64_t id) {
    NodeView view;
    view.node = {id};
    return view;
  }
  static PlaceActor place(Incarnation incarnation) {
    PlaceActor place;
    place.actor = kActor;
    place.incarnation = incarnation;
    place.job.job = kJob;
    return place;
  }

  TimeNs now = kSecond;
  std::uint64_t asked_session = 0;
  ConnectionId connection = 0;
  std::vector<ToHead> sent;
  std::vector<ConnectionId> closed;
  std::vector<Answer> answers;
  std::vector<std::string> log;
  std::optional<Member> member;
};

TEST_F(MemberTest, JoinsAndSaysThatItLives) {
  joined();
  EXPECT_TRUE(member->is_joined());
  EXPECT_TRUE(all<Join>().at(0).is_first);
  for (int i = 0; i < 4; ++i) {
    pass(kHeartbeat_ns);
    told(HeartbeatSeen{});
  }
  EXPECT_EQ(all<Heartbeat>().size(), 1u + 4u) << "the first one says that it has its view";
  EXPECT_EQ(all<Heartbeat>().at(0).view_seen, 1u);
  EXPECT_THAT(log, IsEmpty());
}

TEST_F(MemberTest, RepeatsWhatWasNotAnswered) {
  EXPECT_NE(member->request(KvGet{"space", "a"}), 0u);
  EXPECT_THAT(all<Request>(), IsEmpty());
  joined();
  EXPECT_EQ(all<Request>().size(), 1u);
  breaks();
  joined();
  ASSERT_EQ(all<Request>().size(), 2u);
  EXPECT_EQ(all<Request>()[0].number, all<Request>()[1].number);
  told(Answer{1, Status::kNotFound, "none", {}});
  told(Answer{1, Status::kNotFound, "none", {}});
  EXPECT_EQ(answers.size(), 1u);
  breaks();
  joined();
  EXPECT_EQ(all<Request>().size(), 2u);
  EXPECT_FALSE(all<Join>().back().is_first);
}

TEST_F(MemberTest, EndsItselfWhenItHasHeardNoHeadForTheTimeOfTheLease) {
  joined();
  member->on_closed(connection, now);
  pass(29 * kSecond);
  EXPECT_THAT(log, IsEmpty());
  pass(2 * kSecond);
  EXPECT_THAT(log, ElementsAre("end"));
  EXPECT_TRUE(member->is_over());
}

TEST_F(MemberTest, ThatStoodStillAsksBeforeItEndsItself) {
  joined();
  now += 60 * kSecond;
  member->tick(now);
  EXPECT_THAT(log, IsEmpty());
  told(Refused{RefusedWhy::kDeclaredDead, "it was silent"});
  EXPECT_THAT(log, ElementsAre("start anew"));
}

TEST_F(MemberTest, AnswersItsOpenRequestsItselfWhenItIsGivenUp) {
  joined();
  member->request(KvGet{"space", "a"});
  told(Refused{RefusedWhy::kUnknown, "who?"});
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, Status::kLost);
  member->rejoin(NodeId{0xb}, now);
  joined();
  EXPECT_EQ(all<Join>().back().node, NodeId{0xb});
  EXPECT_TRUE(all<Join>().back().is_first);
  EXPECT_GT(all<Join>().back().session, all<Join>().front().session);
}

TEST_F(MemberTest, NamesWhatItRunsUntilItsEndIsConfirmed) {
  joined();
  told(place(1));
  told(place(1));
  member->actor_alive(kActor, 1);
  breaks();
  joined();
  ASSERT_EQ(all<Join>().back().resume.actors.size(), 1u);
  EXPECT_TRUE(all<Join>().back().resume.actors[0].is_alive);
  member->actor_ended(kActor, 1, EndCause::kCrashed, "signal 11");
  breaks();
  joined();
  ASSERT_EQ(all<Join>().back().resume.actors.size(), 1u);
  EXPECT_TRUE(all<Join>().back().resume.actors[0].is_ended);
  told(EndActor{kActor, 1, EndCause::kKilled});
  for (const Request& request : all<Request>()) told(Answer{request.number, Status::kOk, {}, {}});
  breaks();
  joined();
  EXPECT_THAT(all<Join>().back().resume.actors, IsEmpty());
  EXPECT_THAT(log, ElementsAre("start 1"));
}

TEST_F(MemberTest, AJobIsOverWhenNothingOfItIsLeft) {
  joined();
  told(place(1));
  told(JobEnded{kJob, "done"});
  told(EndActor{kActor, 1, EndCause::kJobEnded});
  member->actor_ended(kActor, 1, EndCause::kJobEnded, "");
  EXPECT_THAT(log, ElementsAre("start 1", "job ended 3", "end 1"));
  told(Answer{all<Request>().back().number, Status::kOk, {}, {}});
  EXPECT_EQ(log.back(), "job over 3");
  EXPECT_THAT(member->jobs(), IsEmpty());
}

TEST_F(MemberTest, WhoIsMissingInAFullViewIsDead) {
  joined();
  told(View{2, false, true, {node(1), node(2)}});
  told(View{3, true, true, {node(2)}});
  EXPECT_THAT(log, ElementsAre("node 1", "node 2", "node 1 dead"));
  EXPECT_EQ(member->nodes().size(), 1u);
}

TEST_F(MemberTest, AFullViewIsCompleteWithItsLastMessage) {
  joined();
  told(View{2, false, true, {node(1), node(2)}});
  told(View{3, true, false, {node(2)}});
  EXPECT_EQ(member->nodes().size(), 2u);
  told(View{3, true, true, {node(3)}});
  EXPECT_THAT(log, ElementsAre("node 1", "node 2", "node 1 dead", "node 3"));
}

TEST_F(MemberTest, AsksForAnActorOnlyWhenItsCreationIsKnown) {
  CreateActor creation;
  creation.actor = kActor;
  member->request(creation);
  member->watch(kActor);
  joined();
  EXPECT_THAT(all<Join>().back().resume.watched, IsEmpty());
  EXPECT_THAT(all<Watch>(), IsEmpty());
  told(Answer{1, Status::kOk, {}, kActor});
  EXPECT_EQ(all<Watch>().size(), 1u);
  breaks();
  joined();
  EXPECT_THAT(all<Join>().back().resume.watched, ElementsAre(kActor));
  told(ActorState{kActor, ActorPhase::kDead, 1, {}, EndCause::kKilled, ""});
  EXPECT_FALSE(member->is_watching(kActor));
}

// What was asked for between Join and its answer was never asked for: its calls waited for ever.
TEST_F(MemberTest, WatchesAndSubscribesWhileItJoins) {
  connected();
  member->watch(kActor);
  member->subscribe("a");
  EXPECT_THAT(all<Join>().back().resume.watched, IsEmpty());
  EXPECT_EQ(all<Watch>().size(), 1u);
  EXPECT_EQ(all<Subscribe>().size(), 1u);
}

TEST_F(MemberTest, KnowsWhatItMissedWhileItWasAway) {
  member->subscribe("a");
  joined();
  told(Subscribed{{"a", 1, 10}});
  told(Published{"a", 1, 11, 0, "eleven"});
  breaks();
  joined();
  told(Subscribed{{"a", 1, 15}});
  breaks();
  joined();
  told(Subscribed{{"a", 2, 3}});
  EXPECT_THAT(log, ElementsAre("eleven", "missed 4", "missed ?"));
}

TEST_F(MemberTest, LeavesAlsoWhenTheAnswerIsLost) {
  joined();
  member->leave("done");
  breaks();
  connected();
  told(Refused{RefusedWhy::kDeclaredDead, "it left"});
  EXPECT_THAT(log, ElementsAre("left"));
  EXPECT_TRUE(member->is_over());
}

TEST_F(MemberTest, AConnectionThatComesTooLateIsClosed) {
  const std::uint64_t first = asked_session;
  pass(kConnectTimeout_ns + kSecond);
  EXPECT_GT(asked_session, first);
  member->on_connected(first, 9, now);
  EXPECT_THAT(closed, ElementsAre(9u));
  EXPECT_THAT(all<Join>(), IsEmpty());
}

}  // namespace
}  // namespace rayx::registry
