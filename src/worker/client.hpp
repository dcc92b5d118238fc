// The process backend: what a process (the driver, or a worker inside a task) does with tasks, actors and objects. Its own
// books are in private memory under one lock; what others must see is in the arena.
//
// Who does what: a thread that submits publishes; a thread that waits looks after completions while it is awake ("attends"); when
// nobody attends, the service thread is woken for completions that somebody wants to hear of, for deaths and for the backlog.
#pragma once

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include <rayx/detail/backend.hpp>
#include <rayx/detail/ref_count.hpp>
#include <rayx/detail/remote_failure.hpp>

#include "actor/call_order.hpp"
#include "base/thread.hpp"
#include "owner/ledger.hpp"
#include "shm/arena.hpp"
#include "shm/control.hpp"
#include "shm/copy.hpp"
#include "shm/death_note.hpp"
#include "shm/executor.hpp"
#include "shm/slab.hpp"
#include "worker/entry.hpp"
#include "worker/memory_source.hpp"
#include "worker/modules.hpp"
#include "worker/node_asker.hpp"
#include "worker/owner_mutex.hpp"

namespace rayx::worker {

inline constexpr std::uint32_t kClassQueueCells = 4096;
inline constexpr std::uint32_t kActorQueueCells = 512;
inline constexpr std::uint32_t kServiceQueueCells = 64;

// One lane as this process submits to it.
struct LaneUse {
  std::uint32_t lane = 0;
  std::uint32_t generation = 0;
  shm::Lane shared;
  shm::TaskQueue queue;
  shm::Offset queue_extent = shm::kNoOffset;
  std::uint64_t tail = 0;
  std::deque<Index> backlog;
  struct Pushed {
    Index task = 0;
    std::uint32_t generation = 0;
  };
  std::vector<Pushed> pushed;  // by position
};

// An actor of which this process has handles. More than one: the same actor came here under several names.
struct ActorUse {
  LaneUse lane;
  std::vector<Index> handles;   // their entries
  std::vector<Index> dropping;  // of these: nobody has a reference, and calls are not done
  actor::CallOrder order;
};

struct ClientConfig {
  const shm::Arena* arena = nullptr;
  std::uint32_t processes = shm::kProcessesMax;
  std::uint32_t lanes = shm::kLanesMax;
  std::uint32_t me = 0;
  FunctionNumbers* numbers = nullptr;
  MemorySource* memory = nullptr;
  NodeAsker* asker = nullptr;
  double cpus = 1;
  bool is_alone = true;  // see Backend
  std::chrono::nanoseconds submit_timeout = std::chrono::seconds(60);
  std::size_t pending_max = 1'000'000;  // tasks of one lane that wait in private memory for room in its queue
};

// A task of another node, which names its function by number and has its arguments as bytes.
struct NumberedCall {
  FunctionNumber function = 0;
  std::span<const std::byte> arguments;
  BlockRef block{0, 0};                              // instead of them, if its size is not 0; the callee's from then on
  std::span<const detail::Dependency> dependencies;  // in this process
  std::span<RefCell* const> refs;                    // whose names are inside the arguments
  std::uint64_t tag = 0;                             // for task_is_done
};

// Runs a task that was taken. The executor's loop.
class TaskRunner {
 public:
  virtual ~TaskRunner() = default;
  virtual void run(const shm::Executor::Task& task) = 0;
  // Of one task of the lane that it serves; what it holds also while its lease is being taken back.
  virtual std::uint32_t cpu_units() const = 0;
  // Whether its stack has room for one more task below those that wait.
  virtual bool may_nest() const = 0;
  // Who makes the calls of actors that its thread makes now: each task is another caller, an actor is one over all its calls.
  virtual actor::Caller caller() const = 0;
};

class Client : public detail::Backend {
 public:
  explicit Client(const ClientConfig& config);
  ~Client() override;

  // ---- detail::Backend
  RefCell* submit_task(const detail::TaskCall& call, detail::Failure& failure) override;
  RefCell* create_actor(const detail::TaskCall& call, const ActorOptions* options, detail::Failure& failure) override;
  RefCell* call_actor(RefCell* actor, const detail::TaskCall& call, detail::Failure& failure) override;
  bool kill_actor(RefCell* actor, detail::Failure& failure) override;
  RefCell* ask_cluster(detail::ClusterQuestion question, std::span<const std::byte> argument,
                       detail::Failure& failure) override;
  RefCell* put(const detail::Encoded& value, detail::Failure& failure) override;
  bool reserve(std::uint64_t size, detail::Block& block, detail::Failure& failure) override;
  void abandon(detail::Block& block) noexcept override;
  detail::WaitState wait_one(RefCell* ref, detail::DeadlineNs deadline, detail::Failure& failure) override;
  detail::WaitState wait_many(std::span<RefCell* const> refs, std::size_t count, detail::DeadlineNs deadline,
                              detail::Failure& failure) override;
  bool read(RefCell* ref, detail::ValueView& view, detail::Failure& failure) override;
  void drop(RefCell* ref) noexcept override;
  detail::RefName export_ref(RefCell* ref) override;
  RefCell* import_ref(const detail::RefName& name, detail::Failure& failure) override;
  double cpus() const noexcept override { return cpus_; }
  bool is_alone() const noexcept override { return is_alone_; }
  std::string_view task_name(const detail::ExecContext& context) const noexcept override;
  // Ends the service thread and makes every cell harmless. The arena stays mapped.
  void shutdown() noexcept override;

  // ---- For the executor's loop of this process
  void serve_as_executor(shm::Executor* executor, TaskRunner* runner) {
    executor_ = executor;
    runner_ = runner;
    executor_thread_ = base::this_thread_id();
  }
  const shm::Arena& arena() const noexcept { return *arena_; }
  // In a child that the user's program has forked: what is shared is the parent's.
  bool is_in_forked_child() const noexcept { return ::getpid() != pid_; }
  // After shutdown: where values lie that the program still has references to, and may be reading.
  const std::vector<shm::Arena::Piece>& kept_values() const noexcept { return kept_values_; }
  const shm::Control& control() const noexcept { return control_; }
  FunctionNumbers& numbers() noexcept { return *numbers_; }
  NodeAsker& node() noexcept { return node_; }
  // A block that is the result of `owner`'s task: belongs to it from now on. False: that owner is dead; the block is freed.
  bool give_block(const detail::Block& block, const shm::BlockOwner& owner);
  // A hold on another's object while an executor uses its block; the cell has one count. nullptr: its owner is gone.
  RefCell* hold(shm::ObjectKey key);
  // A task has come to a worker of this node that needs it; if it was made on another one, it has to come.
  void want_here(shm::ObjectKey key) const;
  // Keeps the references inside a result until the owner of the record has adopted them.
  void keep_until_adopted(shm::ObjectKey record, std::vector<RefCell*> cells);
  // Deaths, completions, backlog: what a thread that is awake anyhow does now and then. Cheap when there is nothing.
  void attend_now();
  bool needs_attention() const noexcept;
  // The end of a worker without work, unless it owns what others use, or what is still to be done. True: nothing more is begun.
  bool leave_if_unused();
  // What of its books is in use. For tests.
  struct Books {
    std::size_t owned = 0;
    std::size_t borrowed = 0;
    std::size_t adoptions = 0;  // references in results that their owners have not taken over
  };
  Books books();

  NodeAsker::Answer open_actor_lane(std::uint64_t cpu_units, shm::ActorWish wish, std::string_view name,
                                    const std::string& where, detail::Failure& failure);

  // ---- owner::Ledger's world; under the lock
  owner::Node& node(Index index) noexcept { return entry(index).node; }
  void enqueue(Index task);
  void fail_as(Index task, Index cause);
  void fail_lost(Index task);
  void release_needs(Index task);
  bool is_held_elsewhere(Index object);
  void free(Index object);

 protected:
  using Lock = std::unique_lock<OwnerMutex>;
  struct RetiredQueue {
    shm::Offset extent;
    std::uint32_t lane;
    std::uint32_t generation;
  };
  struct PendingAdoption {
    shm::ObjectKey record;
    std::vector<RefCell*> cells;
  };

  Entry& entry(Index index) noexcept {
    return (index & kBorrowedBit) == 0 ? owned_.at(index) : borrowed_.at(index & ~kBorrowedBit);
  }
  static Entry* resolve(RefCell* cell) noexcept {
    Entry* const e = Entry::of(cell);
    return e->kind == EntryKind::kAlias ? e->target() : e;
  }
  Record& record_of(const Entry& e) const noexcept { return *e.cell.record.load(std::memory_order_relaxed); }
  // The runtime was shut down while this thread came here: what lies in the arena is gone. Under the lock.
  bool is_over() const noexcept { return stopping_.load(std::memory_order_relaxed); }
  bool in_executor() const noexcept { return executor_ != nullptr && base::this_thread_id() == executor_thread_; }

  LaneUse* service_lane(detail::Failure& failure);
  std::shared_ptr<LaneUse> open_lane(std::uint32_t lane, std::uint32_t cells, detail::Failure& failure);
  bool place_arguments(std::span<const std::byte> arguments, Lock* lock, detail::Failure& failure, BlockRef& block);
  Entry* fill_bytes(EntryKind kind, detail::TaskCall& call, FunctionNumber function,
                    std::span<const std::byte> arguments, const BlockRef& block, detail::Failure& failure);

  // client_memory.cc
  Result<LeasedMemory> lease(std::uint64_t slab_or_bytes, bool may_wait);
  bool allocate(std::uint64_t size, bool may_wait, Lock* lock, detail::Failure& failure, shm::Offset& offset);
  void free_block(const BlockRef& block, const shm::BlockOwner& owner);
  void rename_block(const BlockRef& block, const shm::BlockOwner& owner);
  shm::Offset lease_table(std::uint64_t bytes, detail::Failure& failure);
  bool add_records(detail::Failure& failure);
  Entry* take_entry(EntryKind kind, detail::Failure& failure);
  void give_back_slabs();

  // For a client whose references nobody outside of it has.
  void free_entries_at_end() noexcept { owned_.free_at_end(), borrowed_.free_at_end(), aliases_.free_at_end(); }

  // client_foreign.cc: for a relay, whose tasks and values are other nodes'. Under the lock; none waits.
  // Not tried again when its worker dies. task_is_done follows, once.
  RefCell* submit_numbered(LaneUse& use, const NumberedCall& call, detail::Failure& failure);
  // An actor of this node, in a lane that the node has given for it. The cell is its handle's; task_is_done when it is made.
  RefCell* start_numbered(std::uint32_t lane, std::uint32_t generation, const NumberedCall& constructor,
                          detail::Failure& failure);
  RefCell* call_numbered(RefCell* actor, const NumberedCall& call, actor::Caller caller, detail::Failure& failure);
  Entry* fill_numbered(EntryKind kind, const NumberedCall& call, detail::Failure& failure);
  // `refs` of what it keeps are inside the value; it counts them up.
  RefCell* keep_copy(std::span<const std::byte> value, std::span<RefCell* const> refs, detail::Failure& failure);
  // One that `allocate` gave; the callee's.
  RefCell* keep_block(const BlockRef& block, std::span<RefCell* const> refs, detail::Failure& failure);
  RefCell* hold_locked(shm::ObjectKey key);
  // A copy in a block that belongs to the record of another process.
  std::optional<BlockRef> place_for(std::span<const std::byte> value, const shm::BlockOwner& owner,
                                    detail::Failure& failure);
  void hand_block_over(const BlockRef& block, const shm::BlockOwner& owner);
  detail::ValueView view_of_cell(RefCell* cell) const { return view_of(*resolve(cell)); }
  void tell_if_watched(Entry& e);
  detail::RemoteFailure take_loss(Entry& e);
  void take_lost(Entry& e);
  // `is_lost`: its worker died, and the value is the error that says so. The cell has one count for the callee.
  virtual void task_is_done(std::uint64_t tag, RefCell* cell, bool is_lost) {
    static_cast<void>(tag), static_cast<void>(cell), static_cast<void>(is_lost);
  }
  // Before this process says that it knows of the death.
  virtual void process_has_died(std::uint32_t slot) { static_cast<void>(slot); }
  // Around a look at completions and deaths. What was told to this process before a handle was dropped comes before the drop.
  virtual void before_turn() {}
  virtual void after_turn() {}

  // client_proxies.cc: for a relay. A proxy is an object of this process that stands for one of another node: it has no value until
  // it is given one, and is freed when nobody on this node uses it. Under the lock.
  Index make_proxy(std::uint64_t tag, detail::Failure& failure);  // with one count, the callee's; kNoIndex: no memory
  RefCell* first_cell(Index index) { return &entry(index).cell; }
  static Index index_of(RefCell* cell) noexcept { return resolve(cell)->index; }
  static bool is_proxy(RefCell* cell) noexcept { return resolve(cell)->kind == EntryKind::kProxy; }
  static std::uint64_t proxy_tag(RefCell* cell) noexcept { return resolve(cell)->cell.backend_word[0]; }
  RefCell* another_cell(Index index) { return alias_of(entry(index)); }
  detail::RefName name_in_values(RefCell* cell);  // as export_ref
  // The value of a proxy. `refs` of what it has inside: counted up. False: no memory; the block is freed.
  bool complete_proxy(Index proxy, std::span<const std::byte> value, std::span<RefCell* const> refs, bool is_error,
                      detail::Failure& failure);
  void complete_proxy(Index proxy, const BlockRef& block, std::span<RefCell* const> refs, bool is_error);
  void fail_proxy(Index proxy, const detail::RemoteFailure& error);
  // It is an actor's handle, whose calls go to a lane of this node, and needs no value.
  void make_actor_proxy(Index proxy, std::uint32_t lane, std::uint32_t generation);
  // Whether another process's object is done; if not, foreign_is_done follows.
  bool is_done_or_listen(Index borrowed);
  void look_at_proxy(Entry& e, std::uint32_t word);
  virtual void proxy_is_wanted(std::uint64_t tag) { static_cast<void>(tag); }  // also when it was wanted before
  // It stands for the value of a task's record, of which somebody has said that it is wanted, or not wanted any more.
  virtual void result_is_looked_for(std::uint64_t tag) { static_cast<void>(tag); }
  virtual void proxy_is_freed(std::uint64_t tag) { static_cast<void>(tag); }
  // Before that, if its value is no error, has no references inside and lies in a block. True: the block is the callee's from then on.
  virtual bool takes_block_of_proxy(std::uint64_t tag, const BlockRef& block) {
    static_cast<void>(tag), static_cast<void>(block);
    return false;
  }
  bool is_block_taken(const Entry& e, std::uint32_t state, const BlockRef& block);
  virtual void foreign_is_done(Index borrowed) { static_cast<void>(borrowed); }

  // client_submit.cc
  // `where`: base::encode of it.
  std::shared_ptr<LaneUse> find_class(std::uint64_t units, const std::string& where, detail::Failure& failure);
  std::optional<NodeAsker::Answer> ask_with_block(shm::NodeQuestion question, std::uint64_t argument,
                                                  std::string_view block, detail::Failure& failure);
  bool open_queue(LaneUse& use, std::uint32_t cells, detail::Failure& failure);
  shm::Offset take_retired_queue();
  bool wait_for_room(LaneUse& use, Lock& lock, detail::Failure& failure);
  Entry* prepare_call(const detail::TaskCall& call, EntryKind kind, Lock& lock, detail::Failure& failure);
  void fill_call(Entry& e, const detail::TaskCall& call, FunctionNumber number);
  void hand_in(Entry& e, std::int32_t retries, Entry* unready_actor = nullptr);
  bool may_follow(const Entry& e);
  void take_returned(Entry& e);
  static std::vector<Index> needs_of(const Entry& e);
  bool listen_to(Index need, bool may_go);
  void listen_to(std::vector<Index>& needs, bool may_go);
  bool build_parts(Entry& e);
  void push(LaneUse& use, Index task);
  bool push_now(LaneUse& use, Index task);
  void ask_for_room(LaneUse& use);
  void flush(LaneUse& use);
  void flush_all();
  void ask_for_executors(LaneUse& use);
  void drain_queue(LaneUse& use);
  void share_name(Entry& e, std::string_view name);
  void give_back_arguments(const detail::Encoded& arguments) noexcept;

  // client_actors.cc
  ActorUse* actor_use(Entry& actor, detail::Failure& failure);
  ActorUse& join_actor(Index handle, std::uint32_t lane, std::uint32_t generation);
  void hand_over(ActorUse& use, actor::Call call);
  void actor_call_settled(Entry& e);
  bool is_call_done(actor::Call call);
  void let_go(ActorUse& use);
  void are_let_go(ActorUse& use);
  actor::Caller this_caller() const;
  void look_at_actor_ends();
  void actor_handle_dropped(Entry& actor);
  void forget_actor(Entry& actor);
  void hand_in_constructor(std::shared_ptr<ActorUse> use, Entry& e);
  void actor_handle_revived(Index handle);
  void hand_in_call(ActorUse& use, Entry& actor, Entry& e, const actor::Caller* named_caller);
  detail::RemoteFailure end_of_lane(std::uint32_t lane, std::uint32_t generation);
  void fail_call(const ActorUse& use, Entry& call);

  // client_refs.cc
  void drop_locked(RefCell* cell);
  void drop_cell(RefCell* cell);
  void last_cell_dropped(Entry& e);
  RefCell* import_locked(const detail::RefName& name);
  RefCell* alias_of(Entry& e);
  Entry* borrow(shm::ObjectKey key, const detail::RefName& name);
  std::uint32_t contain(Entry& e, std::span<RefCell* const> refs);
  void adopt(Entry& e);
  void complete_with_error(Index task, const detail::RemoteFailure& error);
  detail::ValueView view_of(const Entry& e) const;
  std::string function_name(const Entry& e);
  detail::RefName name_of(const Entry& e);

  // client_wait.cc
  class Attending;
  bool run_inline(Entry& e, Attending& attendance);
  bool is_own_call(const Entry& e) const;
  void want(const Entry& e) const;
  base::TimeNs nap_ns(base::TimeNs left_ns) const noexcept;

  // client_elsewhere.cc
  static bool may_stay_elsewhere(const Entry& e);
  bool is_unwanted(const Entry& e);
  void made_elsewhere(Entry& e, std::uint32_t word);
  void keep_lineage_only(Entry& e);
  void need_lineage_again(Entry& e);
  void unpin(Index need);
  void take_spent(Entry& e, std::uint32_t word);
  void begin_again(Entry& e);
  void end_unread(Entry& e);
  void tell_who_has_it(const Record& record) const;

  // client_service.cc
  static detail::Failure shut_down_failure(const char* what);
  void ensure_service();
  void serve();
  bool take_completed();
  bool drive();  // under the lock; whether there was anything to do
  bool has_work() const noexcept;
  void on_completed(Index index);
  void take_back_from(std::uint32_t dead);
  void free_blocks_of_buried();
  static bool is_readable(std::uint32_t word);
  void owner_has_died(Entry& e);
  bool is_owner_gone(shm::ObjectKey key) const;
  void look_at_foreign();
  void release_adopted();
  void bump_epoch();

  const shm::Arena* arena_;
  shm::Control control_;
  shm::DeathNotes notes_;
  const std::uint32_t me_;
  shm::Records records_;
  FunctionNumbers* numbers_;
  MemorySource* memory_;
  NodeAsker& node_;
  const double cpus_;
  const bool is_alone_;
  const std::chrono::nanoseconds submit_timeout_;
  const std::size_t pending_max_;
  const std::uint32_t first_generation_;
  const std::uint64_t name_mark_;  // the second word of a name that is no actor's
  const bool is_in_cluster_;       // there may be proxies
  const pid_t pid_ = ::getpid();

  OwnerMutex mutex_;
  owner::Ledger<Client> ledger_{*this};
  shm::SlabAllocator slabs_;
  shm::HoldTable holds_;
  EntryPool owned_;
  EntryPool borrowed_;
  EntryPool aliases_;
  std::vector<Index> free_owned_;
  std::vector<Index> free_borrowed_;
  std::vector<Index> free_aliases_;
  std::uint32_t record_slabs_ = 0;
  std::unordered_map<std::uint64_t, Index> borrowed_by_key_;
  std::vector<Index> foreign_watch_;             // borrowed, not done, and something here waits for it
  std::vector<std::shared_ptr<LaneUse>> lanes_;  // by lane; classes only
  std::vector<ActorUse*> actor_of_lane_ = std::vector<ActorUse*>(shm::kLanesMax);
  std::unordered_map<Index, std::shared_ptr<ActorUse>> actors_;                        // by the entry of the handle
  std::map<std::pair<std::uint64_t, std::string>, std::shared_ptr<LaneUse>> classes_;  // by cpu units, and where
  std::atomic<LaneUse*> one_cpu_{nullptr};
  std::vector<PendingAdoption> pending_adoptions_;
  std::vector<RetiredQueue> retired_queues_;
  std::map<std::uint32_t, std::uint32_t>
      orphan_owners_;  // dead slot -> generation base; blocks of theirs are kept here
  std::atomic<std::size_t> backlogged_{0};
  std::size_t actors_dropping_ = 0;  // of which a handle has no reference left, and calls are not done
  std::uint32_t dying_ = UINT32_MAX;
  // How the task died that is being taken back from another node, and which it is.
  const detail::RemoteFailure* lost_elsewhere_ = nullptr;
  Index lost_elsewhere_index_ = kNoIndex;
  std::vector<RefCell*> to_drop_;
  bool is_dropping_ = false;

  shm::Executor* executor_ = nullptr;
  TaskRunner* runner_ = nullptr;
  base::ThreadId executor_thread_{};

  std::mutex service_mutex_;  // start and end of the service thread
  std::atomic<bool> has_service_{false};
  base::Thread service_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint32_t> attendees_{0};
  std::atomic<std::uint32_t> epoch_{0};  // raised when something was completed, for wait_many
  std::atomic<std::uint32_t> epoch_sleepers_{0};
  std::vector<shm::Arena::Piece> kept_values_;
};

}  // namespace rayx::worker
