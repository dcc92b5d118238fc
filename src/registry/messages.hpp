// What the head and its members say to each other. A member is a node, a driver or a client; it has one connection to the head.
// Within a connection messages arrive in order or not at all; a connection that breaks loses what was on its way. What must
// not be lost is a Request, which the member repeats until it has the Answer, or is said again by Join::resume.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "base/cluster_ids.hpp"

namespace rayx::registry {

using base::ActorId;
using base::JobId;
using base::Labels;
using base::LabelSelector;
using base::NodeId;
using base::Resources;
using base::TimeNs;

// Where detached actors have their names: whatever program asks for one finds it.
inline constexpr const char* kDetachedSpace = "detached";

using RequestNumber = std::uint64_t;  // counts from 1 in one life of a member
using Incarnation = std::uint32_t;    // of an actor, from 1. Each is handed to one node, once

enum class MemberKind : std::uint8_t { kNode, kDriver, kClient };
enum class NodeState : std::uint8_t { kAlive, kDraining, kDead };
enum class ActorPhase : std::uint8_t { kPending, kStarting, kAlive, kRestarting, kDead };
enum class EndCause : std::uint8_t {
  kNone,
  kKilled,             // somebody asked for it
  kCrashed,            // its process ended
  kConstructorFailed,  // its constructor threw: another try would too
  kNoProcess,          // its process could not be started; nothing of it ran
  kNodeDied,
  kOwnerDied,  // the process that made it is gone, and it is not detached
  kJobEnded,
};

// For who reads them from bytes.
constexpr MemberKind last_of(MemberKind) { return MemberKind::kClient; }
constexpr NodeState last_of(NodeState) { return NodeState::kDead; }
constexpr ActorPhase last_of(ActorPhase) { return ActorPhase::kDead; }
constexpr EndCause last_of(EndCause) { return EndCause::kJobEnded; }

struct JobInfo {
  JobId job;
  NodeId driver;
  std::string bundle;  // hash of the executable and what it needs
  std::string program;
  std::string name_space;
  bool operator==(const JobInfo&) const = default;
};

// ---- Member to head: the link

struct RunningActor {
  ActorId actor;
  Incarnation incarnation = 0;
  Resources resources;
  bool is_ended = false;  // its ActorDied is not answered; it is repeated
  bool is_alive = false;  // its constructor is done
  bool operator==(const RunningActor&) const = default;
};

struct ChannelPosition {
  std::string channel;
  std::uint64_t epoch = 0;
  std::uint64_t number = 0;
};

// What the head cannot know after a break. (Names are the head's own: they live and die with its actors.)
struct Resume {
  std::uint64_t cluster = 0;
  std::vector<JobId> jobs;
  std::vector<RunningActor> actors;
  std::vector<ActorId> watched;
  std::vector<std::string> channels;
};

struct Join {
  std::uint16_t protocol = 0;
  std::string build;
  NodeId node;
  std::uint64_t session = 0;  // raised with each attempt: one that was overtaken by a later one is worth nothing
  bool is_first = true;       // it has never been Joined under this id
  MemberKind kind = MemberKind::kNode;
  std::string name;
  std::string address;
  std::uint32_t pid = 0;
  Resources resources;
  Labels labels;
  Resume resume;
};

struct Demand {
  JobId job;
  Resources each;
  std::uint64_t count = 0;
};
struct Load {
  Resources used_by_tasks;  // beside actors, which the head has placed and knows
  std::vector<Demand> queued;
  bool has_objects = false;  // that other nodes refer to
};
struct Heartbeat {
  Load load;
  std::uint64_t view_seen = 0;
  std::uint64_t published_seen = 0;  // in this connection
  RequestNumber answered_below = 0;
};
struct Watch {
  ActorId actor;
  bool is_on = true;
};
struct Subscribe {
  std::string channel;
  bool is_on = true;
};
struct PublishedSeen {
  std::uint64_t count = 0;  // in this connection
};

// ---- Member to head: requests

struct StartJob {
  std::string bundle;
  std::string program;
  std::string name_space;  // empty: one of its own
};
struct EndJob {
  JobId job;
  std::string why;
};
struct LookUpJob {
  JobId job;
};
struct CreateActor {
  ActorId actor;
  JobId job;
  Resources resources;
  std::vector<LabelSelector> selectors;
  std::string name;        // empty: none
  std::string name_space;  // empty: the job's
  bool get_if_exists = false;
  bool is_detached = false;
  bool is_owned =
      false;  // a detached actor has made it: it may begin after the job's end, and ends with the member that asks for it
  std::uint32_t max_restarts = 0;
  std::uint32_t max_task_retries = 0;  // for those who call it; the head only passes it on
  std::string creation;                // opaque to the head
  std::string site = {};  // likewise, of a detached one: what a node needs to serve it without the job's driver
  // Unless kNone it has ended before it could begin: others may have its handle, and ask what became of it.
  EndCause ended = EndCause::kNone;
  std::string how_it_ended = {};
};
inline bool ends_with_its_owner(const CreateActor& it) { return !it.is_detached || it.is_owned; }
struct KillActor {
  ActorId actor;
  bool no_restart = true;
};
struct ActorPlaced {  // its constructor is done
  ActorId actor;
  Incarnation incarnation = 0;
};
struct ActorDied {
  ActorId actor;
  Incarnation incarnation = 0;
  EndCause cause = EndCause::kCrashed;
  std::string message;
};
struct LookUpName {
  std::string name_space;  // empty: the job's, and then kDetachedSpace
  std::string name;
  JobId job = {};
};
struct ListNames {
  std::string name_space;
  std::string after;  // names behind this one
};
struct ListWaiting {};  // actors that no node has room for
struct KvPut {
  std::string name_space;
  std::string key;
  std::string value;
  bool overwrite = true;
};
struct KvGet {
  std::string name_space;
  std::string key;
};
struct KvDelete {
  std::string name_space;
  std::string key;
};
struct KvKeys {
  std::string name_space;
  std::string prefix;
  std::string after;
};
struct Publish {
  std::string channel;
  std::string payload;
};
struct DrainNode {
  NodeId node;
  TimeNs within_ns = 0;
  std::string reason;
};
struct DrainDone {};
struct Leave {
  std::string why;
};

using RequestBody =
    std::variant<StartJob, EndJob, LookUpJob, CreateActor, KillActor, ActorPlaced, ActorDied, LookUpName, ListNames,
                 ListWaiting, KvPut, KvGet, KvDelete, KvKeys, Publish, DrainNode, DrainDone, Leave>;
struct Request {
  RequestNumber number = 0;
  RequestNumber answered_below = 0;  // the member has the answers of all below
  RequestBody body;
};

using ToHead = std::variant<Join, Heartbeat, Watch, Subscribe, PublishedSeen, Request>;

// ---- Head to member

struct Joined {
  std::uint64_t cluster = 0;
  std::uint64_t epoch = 0;  // of the head: raised with each start of it
  TimeNs heartbeat_ns = 0;
  TimeNs silence_ns = 0;
  TimeNs lease_ns = 0;
};
enum class RefusedWhy : std::uint8_t { kProtocol, kDeclaredDead, kUnknown, kFull };
constexpr RefusedWhy last_of(RefusedWhy) { return RefusedWhy::kFull; }
struct Refused {
  RefusedWhy why = RefusedWhy::kUnknown;
  std::string message;
};
struct HeartbeatSeen {};

struct NodeView {
  NodeId node;
  NodeState state = NodeState::kAlive;
  MemberKind kind = MemberKind::kNode;
  std::string name;
  std::string address;
  Resources total;
  Resources free;
  Labels labels;
  std::string reason;        // of kDraining and kDead
  bool has_objects = false;  // see Load
  bool operator==(const NodeView&) const = default;
};
// A full one names all that are not dead, perhaps in several messages; a delta those that have changed since the one before on
// this connection.
struct View {
  std::uint64_t version = 0;
  bool is_full = false;
  bool is_last = true;  // of the messages of a full one
  std::vector<NodeView> nodes;
};
struct JobEnded {
  JobId job;
  std::string why;
};
struct PlaceActor {
  ActorId actor;
  Incarnation incarnation = 0;
  JobInfo job;
  bool is_job_ended = false;  // it outlives its job
  Resources resources;
  bool is_detached = false;
  bool is_restart = false;
  std::string name;
  std::string name_space;
  std::string creation;
  std::string site = {};
};
struct EndActor {
  ActorId actor;
  Incarnation incarnation = 0;
  EndCause cause = EndCause::kKilled;
};
struct ActorState {
  ActorId actor;
  ActorPhase phase = ActorPhase::kDead;
  Incarnation incarnation = 0;
  NodeId node;  // of kStarting and kAlive
  EndCause cause = EndCause::kNone;
  std::string message;
  std::uint32_t max_restarts = 0;
  std::uint32_t max_task_retries = 0;
  JobId job = {};
  bool is_detached = false;
};
struct Drain {
  TimeNs within_ns = 0;
  std::string reason;
};
struct Subscribed {
  ChannelPosition position;  // what is published after it comes
  bool is_refused = false;   // nothing comes: there are too many channels
};
struct Published {
  std::string channel;
  std::uint64_t epoch = 0;  // of the head: numbers begin anew with each
  std::uint64_t number = 0;
  std::uint64_t missed = 0;  // between the one before and this one
  std::string payload;
};

enum class Status : std::uint8_t {
  kOk,
  kNotFound,
  kExists,    // the name is taken; the key is there
  kInvalid,   // a size or a value is outside of its limits
  kFull,      // a limit of the cluster is reached
  kJobEnded,  // the job is over or was never there
  kLost,      // the member was given up by the head, or left, before the answer came. Whether it was done is not known
};
constexpr Status last_of(Status) { return Status::kLost; }
struct Listed {
  std::vector<std::string> names;
  bool is_cut = false;  // more lie behind the last one
};
using AnswerBody = std::variant<std::monostate, JobInfo, ActorId, std::string, Listed>;
struct Answer {
  RequestNumber number = 0;
  Status status = Status::kOk;
  std::string message;  // in words, unless kOk
  AnswerBody body;
};

using ToMember = std::variant<Joined, Refused, HeartbeatSeen, View, JobEnded, PlaceActor, EndActor, ActorState, Drain,
                              Subscribed, Published, Answer>;

const char* to_text(ActorPhase phase);
const char* to_text(EndCause cause);

}  // namespace rayx::registry
