// The relay of a job on one node: what crosses to and from other nodes goes through it. To its own node it is one more executor,
// which claims tasks of the lanes and completes their records when the answers come, and one more client, which submits what
// other nodes hand to it. docs/design/cluster.md has the whole picture.
//
// Threads: one of its own looks for tasks and for completions; the network's threads call receive, add_peer, remove_peer; the
// node's thread calls add_lane. Its books are the client's, under the client's lock.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <rayx/node_info.hpp>

#include "base/clock.hpp"
#include "base/cluster_ids.hpp"
#include "base/thread.hpp"
#include "node/relay_news.hpp"
#include "relay/actors.hpp"
#include "relay/frames.hpp"
#include "relay/peer.hpp"
#include "relay/places.hpp"
#include "relay/references.hpp"
#include "relay/subscriptions.hpp"
#include "shm/lane_puller.hpp"
#include "worker/client.hpp"

namespace rayx::relay {

// So long a task waits for a worker of its own node before another node may do it: within it a worker is started, or comes back.
inline constexpr base::TimeNs kPatience_ns = 3'000'000;

// Between two looks whether tasks at other nodes are to be asked back, while more are there than can run.
inline constexpr base::TimeNs kRecallPause_ns = 5'000'000;

struct RelayConfig {
  worker::ClientConfig client;
  std::shared_ptr<const shm::Arena> arena;  // the client's: what is being sent is read after the relay's end
  std::uint64_t cpu_units = 0;              // that this node gives to tasks of other nodes; said to every peer
  base::NodeId node;                        // of this arena; never 0
  base::SiteId site;                        // nothing, where it is not known yet, or there are no other programs
  std::string name;                         // of this node, for people
  base::Labels labels;
  Places* places = nullptr;                  // see there
  base::TimeNs patience_ns = kPatience_ns;   // see choice.cc
  std::function<std::uint64_t()> store_use;  // bytes of the store that are in use
  std::chrono::nanoseconds store_timeout =
      std::chrono::seconds(10);  // so long a value that somebody waits for waits for room
};

// Of the store: so much may be results that others have not sent for. With more the others take them as soon as they have room.
inline constexpr std::uint64_t kKeptForOthersShare = 2;

// Then a result may come although nobody is known to wait for it: who only looks at a reference would never see it.
inline constexpr base::TimeNs kUnwantedPatience_ns = 30'000'000'000;

class Loopback;

class Relay final : public worker::Client, public PlaceEvents, private Subscriptions::Sink {
 public:
  explicit Relay(const RelayConfig& config);
  ~Relay() override;

  // News of the node. Node's thread; does not wait for the lock, since its holder may wait for the node's thread.
  void hear(node::RelayNews news);

  // Which site it is, before it is linked to one of another program.
  void belongs_to(const base::SiteId& site);
  // A link to another relay of the job is open. Any thread; what follows about this peer, one thread at a time. `node`: which
  // node it is, if that is known; else its first frame says it.
  // `known_as`: of another program; it knows this site by that.
  PeerId add_peer(std::string name, std::shared_ptr<PeerLink> link, base::NodeId node = {}, base::NodeId known_as = {});
  // Peers may come at any time: what is queued waits for them. Until this is said it fails when the last peer is gone; `why` for when
  // none will come any more. Any thread.
  void expect_peers(bool may_come, const std::string& why = {});
  // A frame has come. A damaged frame is an error, and the caller closes the link.
  Result<void> receive(PeerId peer, std::span<const std::byte> frame);
  // A chunk of a value's stream: where its bytes go until `value_arrived`; nothing, if it has no room here.
  std::span<std::byte> place_for_value(PeerId peer, std::uint64_t stream, std::uint64_t offset, std::uint64_t bytes);
  void value_arrived(PeerId peer, std::uint64_t stream, std::uint64_t bytes);
  // The link of a peer is not congested any more.
  void peer_is_writable(PeerId peer);
  // Its node is being drained: it gets no further task; what it has goes on. Idle: it has none, and no actor that was called from here.
  void retire_peer(PeerId peer);
  bool is_peer_idle(PeerId peer);
  // The link is closed: what was there is lost, as with a worker that died; what is here for it is dropped.
  void remove_peer(PeerId peer, const std::string& how);

  // ---- PlaceEvents
  void creation_answered(registry::ActorId actor, const registry::Answer& answer) override;
  void actor_looked_up(std::uint64_t question, const registry::Answer& answer) override;
  void actor_changed(const registry::ActorState& state) override;
  void start_actor(const registry::PlaceActor& place) override;
  void end_actor(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause) override;
  void answered(std::uint64_t question, const registry::Answer& said) override;
  void subscribed(const std::string& channel, bool is_refused) override;
  void published(const registry::Published& message) override;
  void missed(const std::string& channel, std::optional<std::uint64_t> count) override;
  void peer_failed(registry::NodeId node, const std::string& why) override;
  void node_changed(const registry::NodeView& node) override;

  // For the node: who may do tasks of a class.
  node::ClassPlaces places_of_class(const base::Where& where);
  std::uint64_t total_units();    // that all peers have, other jobs' parts too
  std::uint64_t units_for_job();  // of them, what this job may reckon with
  base::NodeId node() const noexcept { return node_; }
  // How many objects of this node other nodes may use, and how many of others this one knows. For tests.
  struct References {
    std::size_t exports = 0;
    std::size_t proxies = 0;
    std::size_t actors = 0;  // that live elsewhere and have handles here, or live here and have handles elsewhere
  };
  References references();
  void shutdown() noexcept override;

  // Looks for work. Any thread.
  void wake();

 private:
  using Part = FrameHandler::Part;
  using Lanes = std::map<base::ActorId, node::LaneName>;
  class Incoming;
  // A task of this node that is at another one.
  struct SentRow {
    std::uint32_t life = 1;
    std::uint32_t owner = 0;
    std::uint32_t record = 0;
    std::uint32_t generation = 0;
    std::uint32_t lane = 0;
    PeerId peer = 0;
    base::ActorId actor;      // whose call or constructor it is: RemoteActor::id
    std::uint64_t order = 0;  // of a call: later ones have higher numbers
    registry::Incarnation incarnation = 0;
    std::vector<std::uint64_t> elsewhere;  // ObjectKeys of what it needs, that was not here either
    base::TimeNs sent_ns = 0;              // of a task
    bool has_slot = true;                  // of the peer's window
    bool is_made = false;                  // its value is offered
    bool is_spent = false;                 // and was refused, as nobody has a reference any more
    bool is_used = false;
  };
  // A task of another node that is here.
  struct TakenRow {
    TaskNumber number = 0;
    PeerId peer = 0;
    worker::RefCell* cell = nullptr;
    std::uint64_t cpu_units = 0;                // of a task
    std::optional<ReturnReason> returned = {};  // it fails because an argument cannot come: nobody has begun it
  };
  struct LaneServed {
    std::uint32_t lane;
    std::uint64_t cpu_units;
    base::Where where;
    bool is_here = true;       // workers of this node do its tasks; else the relay sends all of them away
    bool is_hopeless = false;  // the only nodes that may do its tasks are gone for good
    // Of one that is here, see choice.cc:
    base::TimeNs full_since_ns = base::kNever;  // something lies in it that no worker has taken
    base::TimeNs rest_until_ns = 0;             // its tasks are too short to be sent away
    base::TimeNs announce_at_ns = 0;            // before that nobody need wake the relay for it
    bool was_woken = false;                     // or may have been, for it
  };
  // A node of the cluster that may do tasks.
  struct OtherNode {
    registry::NodeView view;
    base::TimeNs way_at_ns = 0;  // when a link to it may be asked for
    std::uint64_t cpu_units() const { return static_cast<std::uint64_t>(std::max<base::Units>(view.total.cpus, 0)); }
  };

  // relay_values.cc: values with the references inside them
  struct Named {
    std::uint64_t position;
    worker::RefCell* cell;  // one count
  };
  struct Piece {  // a value on its way out
    std::span<const std::byte> bytes;
    std::vector<Named> names;
    std::shared_ptr<void> keep;         // of the bytes, if they go as a stream
    shm::ObjectKey key;                 // of the object, if it is one
    worker::RefCell* cell = nullptr;    // of the object, whose count is `keep`'s, if it is one and goes as a stream
    std::uint64_t bytes_elsewhere = 0;  // instead of `bytes`: `cell` is a name of the value, which is not here
    std::uint64_t size() const { return bytes_elsewhere != 0 ? bytes_elsewhere : bytes.size(); }
    bool is_stream() const { return size() >= kStreamBytesMin; }
    std::uint64_t length() const {
      return bytes.size() | (is_stream() ? kByStream : 0) | (names.empty() ? 0 : kHasNames);
    }
  };
  struct Cargo {  // what goes with a frame
    OfferedFor what = OfferedFor::kTask;
    std::uint64_t subject = 0;
    std::vector<OutgoingValue> streams;
    std::vector<worker::RefCell*> named;  // one count each
    std::shared_ptr<void> until_sent;     // goes when the frame has left
    std::uint64_t key = 0;                // see OfferHead
  };
  struct Needs {  // of a task
    Piece arguments;
    std::vector<std::pair<std::uint32_t, Piece>> parts;
    ErrorCode code = ErrorCode::kMalformed;  // of what makes them useless
  };
  struct Arrived {  // a value that has come; its names mean something here
    std::span<const std::byte> bytes;
    worker::BlockRef block{0, 0};  // instead of them, if its size is not 0; the holder's
    std::vector<std::byte> copy;
    std::vector<worker::RefCell*> refs;  // one count each
    bool is_whole = true;                // else there was no memory, or the bytes are damaged
  };
  std::optional<detail::RemoteFailure> read_names(std::span<const std::byte> value, bool has_refs,
                                                  std::vector<Named>& names, const char* whose);
  void drop_names(std::vector<Named>& names);
  void put_value(FrameWriter& writer, Peer& peer, Piece& piece, Cargo& cargo);
  // The frame, if it is one of its own because values go as streams; and what it names is let go when that is safe.
  void send_cargo(Peer& peer, FrameWriter& own, Cargo& cargo);
  bool read_task(const shm::LanePuller::Task& task, Needs& needs, std::string& problem, bool may_be_elsewhere = false);
  // nullptr: it came from no peer, but in the creation of an actor.
  Arrived take_arrived(Peer* peer, const WireValue& value);
  void forget(Arrived& arrived);  // what is left of it
  std::shared_ptr<void> keep_while_sent(std::vector<worker::RefCell*> cells);
  void drop_sent();

  // references.cc: objects that more than one node uses
  NameEntry name_for(Peer& peer, const Named& named);
  worker::RefCell* cell_for(Peer* peer, const NameEntry& name);
  Export& export_of(worker::RefCell* cell, std::uint64_t& key);
  std::uint64_t name_export(Peer& peer, worker::RefCell* cell);
  void give_back_name(std::uint64_t key, PeerId peer, std::uint64_t count);
  void forget_export(std::uint64_t key);
  void ask_for_hold(Proxy& proxy);
  void hold_is_refused(std::uint64_t tag, const std::string& why);
  void send_for(Proxy& proxy);
  void send_value(Peer& peer, std::uint64_t key);
  void send_due(Peer& peer);
  void value_is_there(worker::Index index);
  void has_come(Proxy& proxy, Arrived& value, bool is_stream, bool is_error);
  void complete_fetched(Proxy& proxy, Arrived& value, bool is_error);
  void fetch_again();
  void cut_off(Proxy& proxy, const std::string& why);
  void forget_row(std::uint64_t tag);
  void return_to_lenders(Proxy& proxy);
  void peer_has_a_number(Peer& peer, base::NodeId node);
  void forget_references_of(const Peer& peer, const std::string& why);
  worker::RefCell* lost_cell(const RemoteKey& object, const std::string& why);
  Peer* peer_on(base::NodeId node);
  // What a name says that this site is.
  base::NodeId me_for(const Peer& peer) const { return peer.is_foreign() ? peer.known_as : node_; }
  Peer* find_peer(PeerId id);
  Proxy* find_proxy(const RemoteKey& object);
  static detail::RemoteFailure owner_died(const std::string& how);

  // actors_out.cc: actors that live elsewhere
  void take_news();
  RemoteActor& add_remote_actor(base::ActorId id, node::LaneName lane);
  RemoteActor* actor_of(node::LaneName lane);
  void forget_remote_actor(RemoteActor& actor);
  void release_actor(node::LaneName lane, bool is_maker_gone);
  void kill(RemoteActor& actor);
  void actor_is_dead(RemoteActor& actor, std::string how);
  bool pull_calls();
  bool pull_calls(RemoteActor& actor);
  static bool may_call(const RemoteActor& actor, const Peer& peer);
  static bool is_there(const RemoteActor& actor);
  bool can_pull(const RemoteActor& actor);
  template <class Use>
  void with_actors(base::ActorId target, Use&& use);
  void link_to_itself();
  bool find_way_to(RemoteActor& actor);
  bool take_call(RemoteActor& actor, shm::LanePuller::Task& task);
  bool send_again(RemoteActor& actor, Peer& peer);
  void fail_again(RemoteActor& actor, const std::string& how);
  bool is_made_again(RemoteActor& actor, SentRow& row);
  void lose(SentRow& row, std::span<const std::byte> error);
  void send_call(RemoteActor& actor, Peer& peer, const shm::LanePuller::Task& task, std::uint64_t order);
  std::shared_ptr<void> tell_when_sent(base::ActorId actor);
  void fail_call(const SentRow& row, const std::string& how);
  void create(RemoteActor& actor, const shm::LanePuller::Task& task);
  void never_begins(const RemoteActor& actor, registry::EndCause cause, std::string how);
  bool write_creation(RemoteActor& actor, const shm::LanePuller::Task& task, std::string& creation,
                      std::string& problem);
  NameEntry name_in_creation(RemoteActor& actor, const Named& named);
  void forget_creation(RemoteActor& actor);
  void watch(RemoteActor& actor);
  void is_at(RemoteActor& actor, const registry::ActorState& state) const;
  void constructor_is_over(RemoteActor& actor);
  void row_has_changed(RemoteActor& actor, const registry::ActorState& state);
  void watch_again();
  void actors_without_way(base::NodeId node, const std::string& why);
  void forget_actors_of(const Peer& peer, const std::string& how);

  // foreign.cc: sites of other programs
  void say_modules(Peer& peer);
  void on_modules(Peer& peer, std::span<const std::byte> text);
  static worker::FunctionNumber translate(const Peer& peer, worker::FunctionNumber number);

  // cluster_questions.cc
  bool answer_questions();
  using Question = detail::ClusterQuestion;
  void ask(const shm::LanePuller::Task& task);
  std::string answer_question(std::uint32_t index, Question question, std::span<const std::byte> argument);
  template <class Use>
  void answer_from_outside(Use&& use);
  template <class T>
  void answer(std::uint64_t question, const T& value);
  void refuse(std::uint64_t question, ErrorCode code, const std::string& why) override;
  void begin_reading(const std::string& channel) override;
  void end_reading(const std::string& channel) override;
  void reader_is_there(std::uint64_t question, std::uint64_t reader) override;
  void give_news(std::uint64_t question, const detail::News& news) override;
  std::vector<NodeInfo> list_nodes() const;
  worker::RefCell* handle_of(base::ActorId target, node::LaneName lane);
  void complete_with_handle(const SentRow& row, worker::RefCell* handle);

  // actors_in.cc: actors of this node
  void prepare_lanes(const std::vector<NameEntry>& handles, base::NodeId home, Lanes& lanes);
  void give_back_lanes(Lanes& lanes);
  RemoteActor* row_for_proxies(base::ActorId target);
  bool make_handle(Proxy& proxy, const NameEntry& name, Lanes& lanes);
  void handle_is_freed(const Proxy& proxy);
  void name_actor(NameEntry& entry, worker::RefCell* cell, base::NodeId peer);
  std::map<base::ActorId, ActorHere>::iterator here_in(node::LaneName lane);
  void constructor_is_done(node::LaneName lane, worker::RefCell* cell, bool is_lost);
  void process_of_actor_has_ended(node::LaneName lane);
  void forget_actor_here(std::map<base::ActorId, ActorHere>::iterator here, const std::string& how);

  // relay_out.cc: tasks of this node
  PeerId add_peer_locked(std::string name, std::shared_ptr<PeerLink> link, base::NodeId node, base::NodeId known_as);
  void count_peers();
  static SentRow row_of(const shm::LanePuller::Task& task, std::uint32_t lane);
  std::uint32_t take_row(const SentRow& row);
  TaskNumber number_of(const SentRow& row) const;
  void pull();
  bool take_turn();
  bool is_left_alone() const;
  bool fail_queued();
  void hand_out(const shm::LanePuller::Task& task, const LaneServed& lane, Peer& chosen, base::TimeNs now);
  void write_task(Needs& needs, TaskHead head, Peer& peer);
  SentRow* find_sent(TaskNumber number, PeerId peer);
  void forget_sent(SentRow& row);
  void complete(const SentRow& row, Arrived& value, bool is_error);
  void complete_with_error(const SentRow& row, std::span<const std::byte> error);
  void complete_with_problem(const SentRow& row, const std::string& problem, ErrorCode code = ErrorCode::kMalformed);
  void complete_without_memory(const SentRow& row, const std::string& why);
  void complete_without_room(const SentRow& row, std::uint64_t bytes);
  bool is_full_everywhere(const SentRow& row, base::TimeNs now) const;
  void give_back(const SentRow& row, std::uint32_t flags);
  void tell_lost(const SentRow& row, std::span<const std::byte> error);
  bool sleep_until_work(shm::ProcessSlot& slot);
  static std::vector<std::byte> bytes_of(const detail::RemoteFailure& error);

  // choice.cc: who does the tasks that are made here
  bool may_do(const LaneServed& lane, const Peer& peer) const;
  bool gives_away(const LaneServed& lane, base::TimeNs now) const;
  bool has_room(const LaneServed& lane, Peer& peer, base::TimeNs now) const;
  Peer* choose_peer(const LaneServed& lane, base::TimeNs now);
  std::vector<std::pair<Peer*, std::uint64_t>> bytes_at_peers(const Needs& needs);
  Peer& choose_nearest(const LaneServed& lane, const Needs& needs, Peer& chosen, base::TimeNs now);
  void look_for_overflow(base::TimeNs now);
  void ask_for_capacity(bool needs_more, base::TimeNs now);
  bool find_way_to_another(base::TimeNs now);
  void reach_all(const LaneServed& lane);
  bool is_hopeless(const base::Where& where) const;
  bool fail_hopeless();
  std::uint64_t idle_units();
  std::uint64_t share_units() const;
  CapacityHead capacity_for(const Peer& peer);
  void say_capacity(Peer& peer);
  void say_what_is_lent(base::TimeNs now);
  void set_slots(Peer& peer);
  void look_whether_worthwhile(Peer& peer, std::uint32_t lane, base::TimeNs now);

  // recall.cc: tasks that lie at another node while CPUs elsewhere are idle
  void look_for_recall(base::TimeNs now);
  std::uint64_t room_elsewhere(const LaneServed& lane, base::TimeNs now);
  void on_recall(const RecallHead& asked);

  // spread.cc: one value for many nodes
  void serve(Peer& peer, std::uint64_t key, bool is_direct);
  void on_fetch_from(Peer& peer, const LentHead& where);
  void fetch_directly(Proxy& proxy);
  void node_has_no_copies(base::NodeId node);
  void ask_for_copies(Peer& peer);
  void on_fetch_copy(Peer& peer, const LentHead& object);
  void on_copied(Peer& peer, const CopiedHead& object, const WireValue& value);
  void send_copy(Peer& peer, const Proxy& proxy);
  void serve_copies(const RemoteKey& object, const std::vector<PeerId>& peers);

  // arguments.cc: large arguments, which come by name
  struct ArgumentsOf {  // of one task
    std::vector<std::uint64_t> tags;
    std::uint64_t bytes = 0;
    base::TimeNs since_ns = 0;  // it is the first of those that wait
  };
  struct Kept {
    worker::BlockRef block;
    base::TimeNs until_ns = 0;
  };
  void put_parts(FrameWriter& writer, Peer& peer, std::vector<std::pair<std::uint32_t, Piece>>& parts, Cargo& cargo);
  void put_by_name(FrameWriter& writer, Peer& peer, std::uint32_t position, Piece& piece, Cargo& cargo);
  NameEntry name_of_argument(Peer& peer, worker::RefCell* cell);
  worker::RefCell* take_named_part(Peer& peer, const Part& part, ArgumentsOf& arguments);
  void want_arguments(std::uint32_t row, ArgumentsOf arguments, bool may_be_given_back);
  void look_at_wants(base::TimeNs now);
  void argument_is_settled(Proxy& proxy, std::optional<ReturnReason> failed);
  bool use_kept(Proxy& proxy);
  void drop_oldest_kept();
  bool drop_all_kept();
  bool is_store_full() const;
  void look_at_kept(base::TimeNs now);
  bool look_at_large_values(base::TimeNs now);
  base::TimeNs large_values_at_ns() const {
    return std::min({offers_at_ns_, staying_at_ns_, wants_at_ns_, kept_at_ns_});
  }

  // relay_in.cc: tasks of other nodes
  // Takes all of them in any case, so that nothing is left of a task; `is_whole` is false from then on if one could not be kept. The caller
  // drops what is returned.
  std::vector<detail::Dependency> take_parts(Peer& peer, std::span<const Part> parts, bool& is_whole,
                                             detail::Failure& failure, ArgumentsOf& arguments);
  worker::RefCell* submit(Peer& peer, const TaskHead& task, const WireValue& arguments, std::span<const Part> parts,
                          std::uint64_t tag, ReturnReason& reason);
  // An object of the relay's own; nullptr: no memory.
  worker::RefCell* keep_value(Arrived& value, detail::Failure& failure);
  void send_done(Peer& peer);
  void answer(Peer& peer, const TakenRow& row, bool is_lost);
  std::uint32_t take_taken(const TakenRow& row);
  void forget_taken(std::uint32_t index);
  void refuse(Peer& peer, TaskNumber number, ReturnReason reason);

  // transfers.cc: room for values that come as streams
  struct Offer {
    PeerId peer = 0;
    OfferHead head{};
    std::vector<ValueHead> values;
    std::uint64_t bytes = 0;
    base::TimeNs since_ns = 0;
    base::TimeNs wanted_since_ns = base::kNever;  // somebody waits for it
    std::uint64_t passed_bytes = 0;               // that were let in before it while it found no room
    worker::RefCell* name = nullptr;              // of a result: one count of what stands for it
    shm::ObjectKey record;                        // that waits for it and says kRecordElsewhere; 0: none
    bool is_staying = false;                      // it lies in staying_
  };
  using Offers = std::list<Offer>;
  enum class Room : std::uint8_t { kIs, kIsBusy, kNone };  // kIsBusy: there will be, when what comes has come
  void on_offer(Peer& peer, const OfferHead& offer, std::span<const ValueHead> values);
  void on_admit(Peer& peer, const AdmitHead& answer);
  void look_at_offers(base::TimeNs now);
  bool is_over(const Offer& offer, base::TimeNs now);
  bool is_wanted(const Offer& offer);
  bool is_argument(const Offer& offer);
  bool may_come_unwanted(const Offer& offer, std::uint64_t largest, base::TimeNs now);
  Room make_room(Peer& peer, const Offer& offer);
  Offers::iterator answer_offer(Offers::iterator offer, bool has_room);
  void free_slot(Peer& peer, SentRow& row, base::TimeNs now);
  // The block of a value that has come, which is the caller's from then on. size 0: it has not, or there was no room.
  worker::BlockRef take_value(Peer& peer, std::uint64_t stream);
  void forget_transfers_of(Peer& peer);

  // elsewhere.cc: results that stay where they were made, as long as only tasks need them that may run there
  void stays_elsewhere(Offers::iterator offer, const SentRow& row);
  void is_elsewhere_no_longer(Offer& offer);
  std::uint32_t state_of_result(const Offer& offer);
  bool may_stay(const Offer& offer, base::TimeNs now);
  void set_aside(Offers::iterator offer, base::TimeNs now);
  Offers::iterator take_up(Offers::iterator staying);
  void look_at_staying(base::TimeNs now);
  void forget_elsewhere_of(std::uint32_t owner);
  void want_what_was_elsewhere(const SentRow& row);
  void result_is_looked_for(std::uint64_t tag) override;

  void flush(Peer& peer);
  void flush_all_peers();

  // What frames say. The first takes the lock itself, the others are called under it.
  void on_task(Peer& peer, const TaskHead& task, const WireValue& arguments, std::span<const Part> parts);
  void on_result(Peer& peer, const ResultHead& result, const WireValue& value);
  void on_lost(Peer& peer, const ResultHead& result, std::span<const std::byte> error);
  void on_returned(Peer& peer, const ReturnHead& task);
  void on_capacity(Peer& peer, const CapacityHead& capacity);
  void on_fetch(Peer& peer, const FetchHead& object);
  void on_fetched(Peer& peer, const FetchedHead& object, const WireValue& value);
  void on_release(Peer& peer, const CountHead& object);
  void on_ask_hold(Peer& peer, const KeyHead& object);
  void on_hold_answer(Peer& peer, const CountHead& object);
  void on_lent_back(Peer& peer, const LentHead& object);
  void on_call(Peer& peer, const CallHead& call, const WireValue& arguments, std::span<const Part> parts);
  void on_kill_actor(Peer& peer, const ActorHead& actor);
  void on_release_actor(Peer& peer, const ActorHead& actor);
  void on_actor_released(Peer& peer, const ActorHead& actor);

  // Client's hooks, under its lock
  void task_is_done(std::uint64_t tag, worker::RefCell* cell, bool is_lost) override;
  void process_has_died(std::uint32_t slot) override;
  void before_turn() override { take_news(); }
  void after_turn() override {
    look_at_large_values(clock_.now_ns());
    flush_all_peers();
  }
  void proxy_is_wanted(std::uint64_t tag) override;
  void proxy_is_freed(std::uint64_t tag) override;
  bool takes_block_of_proxy(std::uint64_t tag, const worker::BlockRef& block) override;
  void foreign_is_done(worker::Index borrowed) override { value_is_there(borrowed); }

  // What is being sent outlives the relay, and then lets go of nothing. Whoever has sent it may hold the relay's lock.
  struct Life {
    std::mutex mutex;
    Relay* relay;
    std::vector<worker::RefCell*> sent;   // one count each, which the relay is to drop
    std::vector<base::ActorId> streamed;  // see RemoteActor::is_sending_stream
  };
  const base::SteadyClock clock_;
  const std::shared_ptr<const shm::Arena> shared_arena_;
  const std::shared_ptr<Life> life_;
  const std::uint64_t cpu_units_;
  const base::NodeId node_;
  base::SiteId site_;
  const std::string name_;
  const base::Labels labels_;
  Places* const places_;
  const base::TimeNs patience_ns_;
  const std::chrono::nanoseconds store_timeout_;
  shm::LanePuller puller_;
  std::vector<LaneServed> lanes_served_;
  std::map<base::NodeId, OtherNode> others_;
  std::map<base::NodeId, registry::NodeView> listed_;  // instead of them, of detached actors' sites
  base::NodeId last_way_;                              // to which one was asked for last
  base::TimeNs overflow_at_ns_ = base::kNever;         // when it is to be looked for again
  base::TimeNs recall_at_ns_ = base::kNever;           // when tasks may be asked back
  base::TimeNs ask_at_ns_ = 0;                         // when the others may be asked what they have idle
  base::TimeNs ask_pause_ns_ = 0;
  bool has_lent_news_ = false;       // what workers have lent has changed, and the peers are to hear of it
  base::TimeNs say_lent_at_ns_ = 0;  // not before
  std::map<PeerId, std::unique_ptr<Peer>> peers_;
  std::atomic<std::uint32_t> peers_count_{0};
  PeerId next_peer_ = 1;
  bool had_peers_ = false;
  bool may_get_peers_ = false;
  std::string last_loss_;  // what became of the peer that went last
  std::vector<SentRow> sent_;
  std::vector<std::uint32_t> free_sent_;
  std::vector<TakenRow> taken_;
  std::vector<std::uint32_t> free_taken_;
  const std::uint64_t store_bytes_;
  const std::function<std::uint64_t()> store_use_;
  Offers offers_;                             // of all peers, in the order in which they came
  bool has_offers_to_look_at_ = false;        // a new one, or there is room again
  base::TimeNs offers_at_ns_ = base::kNever;  // when they are to be looked at again
  base::TimeNs offers_pause_ns_ = 0;
  Offers staying_;                                                 // results that are not to come yet
  std::unordered_map<std::uint64_t, Offers::iterator> elsewhere_;  // by Offer::record
  base::TimeNs staying_at_ns_ = base::kNever;
  std::deque<ArgumentsOf> wants_;            // tasks whose arguments are not sent for yet
  bool has_wants_to_look_at_ = false;        // a new one, or one may be sent for
  base::TimeNs wants_at_ns_ = base::kNever;  // when they are to be looked at again
  std::uint64_t coming_bytes_ = 0;           // of arguments that were sent for
  std::map<RemoteKey, Kept> kept_;           // values that nothing uses
  std::deque<std::pair<base::TimeNs, RemoteKey>> kept_in_order_;
  std::uint64_t kept_bytes_ = 0;
  base::TimeNs kept_at_ns_ = base::kNever;
  std::uint64_t incoming_bytes_ = 0;                                 // of all peers
  std::unordered_map<std::uint64_t, Export> exports_;                // by key
  std::unordered_map<worker::Index, std::uint64_t> exported_index_;  // to the key
  std::unordered_map<std::uint64_t, Proxy> proxies_;                 // by tag
  std::map<RemoteKey, std::uint64_t> proxy_of_;                      // to the tag; those that are not cut off
  std::uint64_t next_tag_ = 1;
  base::TimeNs fetch_again_ns_ = base::kNever;
  base::TimeNs watch_again_ns_ = base::kNever;
  std::uint64_t last_call_ = 0;        // SentRow::order
  std::atomic<bool> has_sent_{false};  // Life::sent or streamed has something
  std::map<base::ActorId, RemoteActor> remote_actors_;
  std::vector<base::ActorId> remote_of_lane_;
  std::map<base::ActorId, PeerId> releasing_;  // whose node is told that nobody has a handle; then the head
  std::map<base::ActorId, ActorHere> actors_here_;
  Subscriptions subscriptions_{*this};
  std::map<base::ActorId, std::string> ends_;  // how actors of this node ended
  std::deque<base::ActorId> ends_in_order_;
  std::mutex start_mutex_;
  Lanes lanes_of_start_;
  std::shared_ptr<Loopback> loopback_;
  std::mutex news_mutex_;
  std::vector<node::RelayNews> news_;
  std::atomic<bool> has_news_{false};
  std::atomic<bool> is_ending_{false};
  base::Thread thread_;
};

}  // namespace rayx::relay
