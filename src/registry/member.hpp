// A node's, driver's or client's side of the conversation with the head: it joins, says that it lives, repeats what was not
// answered, keeps the view of the cluster, and knows when it is no longer part of it. A decider, as the head is.
//
// It asks for connections by a session number; only the newest session counts, so that nothing that belongs to an earlier
// connection is heard after a later one was begun: what it lists in Join is then all that can ever have reached it.
//
// An effect may call request, watch and the like, and start_anew may call rejoin; not the on_… events, nor tick.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "registry/limits.hpp"
#include "registry/messages.hpp"

namespace rayx::registry {

using ConnectionId = std::uint64_t;

class MemberEffects {
 public:
  virtual ~MemberEffects() = default;
  // on_connected or on_connect_failed with the same number follows.
  virtual void connect(std::uint64_t session) = 0;
  virtual void send(ConnectionId to, ToHead message) = 0;
  virtual void close(ConnectionId connection) = 0;  // on_closed does not follow

  virtual void answered(const Answer& answer) = 0;
  virtual void node_changed(const NodeView& node) = 0;
  virtual void start_actor(const PlaceActor& place) = 0;  // actor_alive or actor_ended follows
  virtual void end_actor(ActorId actor, Incarnation incarnation, EndCause cause) = 0;  // actor_ended follows
  // All of the job is to end. Its actors are ended one by one, but for the detached ones.
  virtual void job_ended(JobId job, const std::string& why) = 0;
  virtual void job_over(JobId job) = 0;  // its detached actors have ended here too: nothing of it is left
  virtual void actor_changed(const ActorState& state) = 0;
  // What is published from now on comes; or nothing will, and the member has forgotten the channel. Again after each break of the
  // connection. (Not everybody subscribes.)
  virtual void subscribed(const std::string& channel, bool is_refused) {
    static_cast<void>(channel);
    static_cast<void>(is_refused);
  }
  virtual void published(const Published& message) = 0;
  // Between two messages of the channel; nothing: nobody knows how many, since the head was started again.
  virtual void missed(const std::string& channel, std::optional<std::uint64_t> count) = 0;
  virtual void drain(TimeNs within_ns, const std::string& reason) = 0;
  virtual void left() = 0;  // after leave or drain_done: it is no member any more
  // The head has given this life of the process up: everything that it runs for jobs is to end now. Then rejoin.
  virtual void start_anew(const std::string& message) = 0;
  virtual void end_yourself(const std::string& message) = 0;
};

struct Identity {
  NodeId node;
  MemberKind kind = MemberKind::kNode;
  std::string name;
  std::string address;
  std::uint32_t pid = 0;
  std::string build;
  Resources resources;
  Labels labels;
};

class Member {
 public:
  Member(Identity identity, MemberEffects& effects) : identity_(std::move(identity)), effects_(effects) {}

  void start(TimeNs now_ns);
  void rejoin(NodeId node, TimeNs now_ns);  // after start_anew, under a new id

  void on_connected(std::uint64_t session, ConnectionId connection, TimeNs now_ns);
  void on_connect_failed(std::uint64_t session, TimeNs now_ns);
  void on_message(ConnectionId connection, const ToMember& message, TimeNs now_ns);
  void on_closed(ConnectionId connection, TimeNs now_ns);
  void tick(TimeNs now_ns);
  TimeNs next_deadline_ns() const { return deadline_ns_; }

  // Sent now or when there is a head again, and repeated until it is answered: effects.answered. 0: kOpenRequestsMax are open.
  RequestNumber request(RequestBody body);
  void watch(ActorId actor);  // actor_changed, until it is dead
  void unwatch(ActorId actor);
  void subscribe(const std::string& channel);  // subscribed, at once or later
  void unsubscribe(const std::string& channel);
  void set_load(Load load) { load_ = std::move(load); }  // goes with the next heartbeat
  void leave(std::string why);
  void drain_done();
  // What became of start_actor and end_actor.
  void actor_alive(ActorId actor, Incarnation incarnation);
  void actor_ended(ActorId actor, Incarnation incarnation, EndCause cause, std::string message);

  const Identity& identity() const { return identity_; }
  const std::map<NodeId, NodeView>& nodes() const { return nodes_; }
  bool is_joined() const { return link_ == Link::kJoined; }
  bool is_over() const { return link_ == Link::kOver; }
  const std::map<RequestNumber, RequestBody>& open_requests() const { return open_; }
  bool is_watching(ActorId actor) const { return watched_.contains(actor); }
  bool is_subscribed(const std::string& channel) const { return channels_.contains(channel); }
  // MemberEffects::subscribed was called.
  bool is_confirmed(const std::string& channel) const {
    const auto found = channels_.find(channel);
    return found != channels_.end() && found->second;
  }
  std::vector<JobId> jobs() const;

 private:
  enum class Link : std::uint8_t { kPause, kConnecting, kJoining, kJoined, kGivenUp, kOver };
  struct Running {
    RunningActor it;
    JobId job;
  };
  using Placement = std::pair<ActorId, Incarnation>;

  // What is not in the Join goes behind it.
  bool has_said_join() const { return link_ == Link::kJoining || link_ == Link::kJoined; }
  void begin(TimeNs now_ns);
  void compute_deadline();
  void pause();
  void drop_connection();
  void send_join();
  void send_heartbeat();
  void send_request(RequestNumber number, const RequestBody& body);
  RequestNumber make_request(RequestBody body);
  RequestNumber answered_below() const { return open_.empty() ? last_request_ + 1 : open_.begin()->first; }
  void take(const Joined& joined);
  void take(const Refused& refused);
  void take(const View& view);
  void take(const JobEnded& ended);
  void take(const PlaceActor& place);
  void take(const EndActor& end);
  void take(const ActorState& state);
  void take(const Subscribed& subscribed);
  void take(const Published& published);
  void take(const Answer& answer);
  void look_whether_over(JobId job);
  void lose_everything(const std::string& message);
  void finish_life(const std::string& message);

  Identity identity_;
  MemberEffects& effects_;
  TimeNs now_ns_ = 0;
  TimeNs deadline_ns_ = base::kNever;

  Link link_ = Link::kOver;
  std::uint64_t session_ = 0;
  ConnectionId connection_ = 0;
  TimeNs pause_until_ns_ = 0;
  TimeNs pause_ns_ = kReconnectPauseMin_ns;
  TimeNs attempt_until_ns_ = 0;  // of kConnecting
  TimeNs heard_ns_ = 0;          // in this connection
  TimeNs head_ns_ = 0;           // when the head was heard at all
  TimeNs heartbeat_due_ns_ = 0;
  TimeNs heartbeat_ns_ = kHeartbeat_ns;
  TimeNs silence_ns_ = kSilence_ns;
  TimeNs lease_ns_ = kLease_ns;
  bool has_joined_ = false;  // under this id
  bool is_leaving_ = false;
  std::uint64_t cluster_ = 0;

  RequestNumber last_request_ = 0;
  std::map<RequestNumber, RequestBody> open_;
  std::map<ActorId, RequestNumber> creating_;  // the open CreateActor of each

  std::map<NodeId, NodeView> nodes_;
  std::uint64_t view_version_ = 0;
  std::set<NodeId> named_;               // in the messages of a full view so far
  std::map<JobId, bool> jobs_;           // true: it has ended, and detached actors of it run here
  std::map<Placement, Running> actors_;  // until the head has confirmed their end
  std::set<ActorId> watched_;
  std::map<std::string, std::optional<ChannelPosition>> channels_;
  std::uint64_t published_ = 0;  // in this connection
  Load load_;
};

}  // namespace rayx::registry
