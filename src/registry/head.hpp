// What the head of a cluster knows and decides: who is a member, which jobs there are, where actors live, who has which name,
// keys and values, and who is told what. A decider: no sockets, no disk, no clock, no threads.
//
// Everything that must survive a kill is written as pairs of bytes (records.hpp), one batch for each event. What is said to a
// member after a change leaves only when the change is on disk (on_persisted), so nobody knows what a restarted head does not.
// The one exception says nothing: the answer to a heartbeat.
//
// The owner calls with the messages of connections in their order, never after on_closed of the same connection, and calls
// tick no later than next_deadline_ns.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <rayx/result.hpp>

#include "registry/actor_states.hpp"
#include "registry/channels.hpp"
#include "registry/key_values.hpp"
#include "registry/limits.hpp"
#include "registry/messages.hpp"
#include "registry/records.hpp"

namespace rayx::registry {

using ConnectionId = std::uint64_t;  // the owner's, never 0, never used twice
using BatchId = std::uint64_t;       // of writes, counts from 1 in one life of the head

using SharedMessage = std::shared_ptr<const ToMember>;

struct Write {
  std::string key;
  std::optional<std::string> value;  // nothing: it is erased
};

class HeadEffects {
 public:
  virtual ~HeadEffects() = default;
  // Nothing happens if it is closed.
  virtual void send(ConnectionId to, ToMember message) = 0;
  // The same for a message that goes to many: one that is told the same pointer again need not make it into bytes again.
  virtual void send_shared(ConnectionId to, const SharedMessage& message) { send(to, *message); }
  // What was sent before still goes out. on_closed does not follow.
  virtual void close(ConnectionId connection) = 0;
  // One transaction; batches become durable in their order. on_persisted follows; it may be called from in here.
  virtual void persist(BatchId batch, std::vector<Write> writes) = 0;
};

struct HeadOptions {
  std::uint64_t cluster = 0;  // of a new cluster: drawn by the owner
  TimeNs heartbeat_ns = kHeartbeat_ns;
  TimeNs silence_ns = kSilence_ns;
  TimeNs driver_silence_ns = kDriverSilence_ns;
  TimeNs reconnect_ns = kReconnectGrace_ns;
  TimeNs rejoin_ns = kRejoinGrace_ns;
  TimeNs lease_ns = kLease_ns;
  TimeNs news_pause_of_member_ns = kNewsPauseOfMember_ns;
  std::size_t view_nodes_max = kNodesOfOneView;
  std::size_t named_in_flight_max = kNamedInFlightMax;
  std::size_t large_view = kLargeView;
  std::size_t loads_told_each_pause = kLoadsTold_per_second / (kSecond_ns / kViewPause_ns);
  std::size_t unseen_max = kUnseenMax;
  std::size_t publish_queue_max = kPublishQueueMax;
  std::size_t dead_actors_kept = kDeadActorsKept;
};

class Head {
 public:
  Head(HeadOptions options, HeadEffects& effects);

  // Before anything else: the pairs that were durable when the head before ended; none for a new cluster. kMalformed: they
  // were written by another version, or damaged.
  Result<void> restore(const std::vector<std::pair<std::string, std::string>>& pairs, TimeNs now_ns);

  void on_opened(ConnectionId connection, TimeNs now_ns);
  void on_message(ConnectionId connection, ToHead message, TimeNs now_ns);
  void on_closed(ConnectionId connection, TimeNs now_ns);
  void on_persisted(BatchId batch, TimeNs now_ns);
  void tick(TimeNs now_ns);
  TimeNs next_deadline_ns() const { return deadline_ns_; }

  // For reports and tests.
  struct ActorInfo {
    ActorId actor;
    ActorPhase phase = ActorPhase::kPending;
    Incarnation incarnation = 0;
    NodeId node;
    JobId job;
    std::string name_space;
    std::string name;
    std::uint32_t restarts = 0;
    bool is_feasible = true;  // it does not wait, or some member could hold it if it were empty
    bool is_detached = false;
  };
  std::uint64_t cluster() const { return cluster_.cluster; }
  std::uint64_t epoch() const { return cluster_.epoch; }
  std::vector<NodeView> nodes() const;
  std::vector<ActorInfo> actors() const;
  std::vector<JobInfo> jobs() const;  // that are not over
  std::map<NodeId, Load> loads() const;
  bool is_declared_dead(NodeId node) const { return dead_.contains(node); }
  // Everything that must hold between two calls.
  bool is_valid() const;

 private:
  using Placement = std::pair<ActorId, Incarnation>;
  struct Member {
    NodeRecord record;
    ConnectionId connection = 0;  // 0: away
    std::uint64_t session = 0;
    TimeNs deadline_ns = 0;  // then it is dead
    TimeNs drain_ns = base::kNever;
    Load load;
    Resources given;
    std::map<Placement, Resources> lent;  // what `given` is the sum of. Until the node says that the process is gone
    std::optional<int> rank;              // in places_
    // Versions of the view. What others are told of it:
    std::uint64_t load_changed = 0;  // 0: not since its news
    std::uint64_t news = 0;          // it came, or drains
    // and what it was told of others:
    std::uint64_t loads_told = 0;  // all changes of loads up to here
    std::uint64_t news_told = 0;
    std::uint64_t view_sent = 0;  // the last message; 0: it needs a full view
    int views_unseen = 0;
    std::size_t named_in_flight = 0;  // in a large view, until it has seen that
    std::uint64_t large_view = 0;     // its version
    std::set<ActorId> watched;
    std::set<JobId> jobs;  // that are not over and that it knows of
    std::map<RequestNumber, Answer> answers;
    RequestNumber answered_below = 1;
  };
  struct Actor {
    ActorSpec spec;
    ActorStateRecord state;
    std::uint64_t waits_since = 0;  // its place in waiting_, 0 if it does not wait
    NodeId refused_by;              // could not start it when asked last: others are asked first
  };
  struct Held {
    BatchId after = 0;
    ConnectionId connection = 0;
    std::optional<ToMember> message;
    SharedMessage shared;  // if there is neither, the connection is to be closed
  };

  // head.cc: events and what leaves
  void begin(TimeNs now_ns);
  void finish();
  void send(ConnectionId connection, ToMember message) { outgoing_.push_back({0, connection, std::move(message), {}}); }
  void send_shared(ConnectionId connection, const SharedMessage& message) {
    outgoing_.push_back({0, connection, std::nullopt, message});
  }
  void send_to(NodeId node, ToMember message);
  void serves(NodeId node, Member& member, JobId job);
  void subscribe(NodeId node, ConnectionId connection, const std::string& channel);
  void close(ConnectionId connection);
  void is_away(NodeId node, Member& member);
  void write(std::string key, std::optional<std::string> value) { batch_[std::move(key)] = std::move(value); }
  void let_out();
  void expect(TimeNs until_ns) { earliest_ns_ = std::min(earliest_ns_, until_ns); }

  // head_members.cc
  void join(ConnectionId connection, const Join& join);
  void refuse(ConnectionId connection, RefusedWhy why, std::string message);
  void heartbeat(NodeId node, Member& member, const Heartbeat& heartbeat);
  void remove_member(NodeId node, const std::string& reason, bool is_told);
  void start_drain(NodeId node, Member& member, TimeNs within_ns, const std::string& reason);
  void look_at_deadlines();
  void is_heard(Member& member, MemberKind kind);

  // head_views.cc
  using Messages = std::vector<SharedMessage>;
  void has_news(NodeId node, Member& member);
  void has_load(NodeId node, Member& member);
  void is_gone(NodeId node, const Member& member, const std::string& reason);
  void forget_changes(const Member& member);
  void expect_news();
  void expect_loads_for(const Member& member);
  TimeNs loads_due_ns() const;
  NodeView view_of(NodeId node, const Member& member) const;
  Messages messages_of(std::vector<NodeView> nodes, bool is_full, bool is_end) const;
  std::vector<NodeView> news_since(std::uint64_t version) const;
  std::vector<NodeView> loads_since(std::uint64_t version) const;
  void send_full_views();
  void send_full_view(Member& member);
  bool may_send(std::size_t named) const;
  void flies(Member& member, std::size_t named);
  void landed(Member& member);
  void send_news(Member& member, const Messages& messages);
  void show(NodeId named, Member& to);
  void send_news_to_all();
  void send_loads();

  // head_requests.cc
  void request(NodeId node, const Request& request);
  Answer answer_to(NodeId node, const RequestBody& body);
  void has_answers_below(NodeId node, Member& member, RequestNumber number);
  Answer kv_put(const KvPut& put);
  Answer kv_delete(const KvDelete& request);
  Answer list_names(const ListNames& wanted) const;
  Answer list_waiting() const;

  // head_jobs.cc
  Answer start_job(NodeId driver, const StartJob& request);
  void end_job(JobId job, const std::string& why);
  void forget_job_if_over(JobId job);
  JobRecord* find_job(JobId job);

  // head_actors.cc
  Answer create_actor(NodeId owner, const CreateActor& request);
  std::optional<ActorId> find_name(const std::string& space, const std::string& name, bool or_detached) const;
  Answer kill_actor(const KillActor& request);
  void made(NodeId node, ActorId actor, Incarnation incarnation);
  void died(NodeId node, ActorId actor, Incarnation incarnation, EndCause cause, const std::string& message);
  void lost(ActorId id, Actor& actor, EndCause cause, const std::string& message);
  void end_actor(ActorId id, Actor& actor, EndCause cause, const std::string& message);
  void move(ActorId id, Actor& actor, ActorEvent event);
  void forget_actor(ActorId id);
  void index(ActorId id, const Actor& actor);
  std::vector<ActorId> placed_on(NodeId node) const;
  void resume_actors(NodeId node, Member& member, const Resume& resume);
  void watch(NodeId node, Member& member, const Watch& watch);
  ActorState state_of(ActorId id) const;

  // head_places.cc
  void lend(NodeId node, Member& member, Placement placement, const Resources& resources);
  void give_back(NodeId node, Member& member, Placement placement);
  void rank(NodeId node, Member& member);
  void unrank(NodeId node, Member& member);
  void place_waiting();
  void hand_out(ActorId id, Actor& actor, NodeId node);
  bool is_feasible(const CreateActor& wanted) const;

  const HeadOptions options_;
  HeadEffects& effects_;
  ClusterRecord cluster_;
  TimeNs now_ns_ = 0;
  TimeNs deadline_ns_ = base::kNever;
  TimeNs lenient_until_ns_ = 0;  // nobody is given up before: the head stood still
  TimeNs earliest_ns_ =
      base::kNever;  // no deadline of a member or a stranger lies before; nobody looks at all at each event

  std::map<ConnectionId, NodeId> joined_;     // whose connection it is
  std::map<ConnectionId, TimeNs> strangers_;  // until when it may be one
  std::map<NodeId, Member> members_;          // that are not dead
  std::map<NodeId, DeadRecord> dead_;
  std::map<std::uint64_t, NodeId> dead_order_;
  std::uint64_t last_dead_ = 0;

  std::uint64_t version_ = 0;                            // of the view
  std::map<std::uint64_t, NodeId> news_;                 // members by Member::news
  std::map<std::uint64_t, NodeId> loads_;                // by Member::load_changed
  std::deque<std::pair<std::uint64_t, NodeView>> gone_;  // the dead, by version, until all members have been told
  std::uint64_t last_news_ = 0;                          // version of the newest news, or death
  TimeNs news_due_ns_ = base::kNever;
  std::set<std::uint64_t> news_rounds_ = {0};  // versions at which news were told since all had been told
  TimeNs news_sent_ns_ = 0;
  TimeNs loads_from_ns_ = base::kNever;  // since when somebody is to be told of loads
  NodeId loads_turn_;                    // whose turn it is
  // What who joins next need not be made again for: a full view but for its end, which is the news since.
  struct FullView {
    std::uint64_t version = 0;  // 0: there is none
    TimeNs made_ns = 0;
    std::size_t news_since = 0;
    Messages messages;
  };
  FullView full_view_;
  std::deque<NodeId> viewless_;  // who waits for a full view; also some that do no more
  std::size_t named_in_flight_ = 0;

  std::map<JobId, JobRecord> jobs_;
  std::map<ActorId, Actor> actors_;
  // The same by what they end with, or are asked for by.
  std::set<std::pair<NodeId, ActorId>> placed_;                   // on which node
  std::set<std::pair<NodeId, ActorId>> owned_;                    // whose process made it; not dead, not detached
  std::set<std::pair<JobId, ActorId>> of_job_;                    // also the dead
  std::map<JobId, std::size_t> living_;                           // of a job, if there are any
  std::set<std::pair<JobId, NodeId>> serving_;                    // members that know of a job, and are told of its end
  std::map<std::pair<std::string, std::string>, ActorId> names_;  // namespace, name
  std::map<std::uint64_t, ActorId> waiting_;                      // in the order in which they began to wait
  std::uint64_t last_waiting_ = 0;
  std::map<std::uint64_t, ActorId> dead_actors_;
  std::uint64_t last_dead_actor_ = 0;
  std::map<ActorId, std::set<NodeId>> watchers_;
  bool may_place_ = false;  // something changed since the last look at waiting_
  // Those that can take actors, in the order in which they are asked for room (placement.hpp).
  std::map<std::pair<int, NodeId>, const Member*> places_;

  KeyValues values_;
  Channels channels_;

  // What this event writes and says.
  std::map<std::string, std::optional<std::string>> batch_;
  std::vector<Held> outgoing_;
  BatchId last_batch_ = 0;
  BatchId persisted_ = 0;
  std::deque<Held> held_;  // behind writes that are not durable
  std::map<ConnectionId, std::size_t> held_count_;
};

}  // namespace rayx::registry
