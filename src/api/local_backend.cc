// RAYX_LOCAL=1: everything runs inside the calling process, at the moment it is submitted and in the thread that submits it. The
// bytes, the errors and the counts are those of the process backend, so what works here fails there only where processes matter.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <string>

#include "api/local_cluster.hpp"
#include "api/local_nodes.hpp"
#include "base/check.hpp"
#include "base/where.hpp"
#include "rayx/detail/ref_count.hpp"
#include "rayx/detail/ref_positions.hpp"
#include "rayx/detail/remote_failure.hpp"
#include "rayx/node_info.hpp"
#include "worker/encoded_value.hpp"
#include "worker/where_text.hpp"

namespace rayx::detail {
namespace {

constexpr std::align_val_t kBlockAlign{64};
constexpr base::NodeId kNode{1};

class LocalBackend final : public Backend {
 public:
  explicit LocalBackend(const Config& config) : cpus_(*config.num_cpus), store_bytes_(*config.store_bytes) {}

  RefCell* submit_task(const TaskCall& call, Failure& failure) override;
  RefCell* create_actor(const TaskCall& call, const ActorOptions* options, Failure& failure) override;
  RefCell* call_actor(RefCell* actor, const TaskCall& call, Failure& failure) override;
  bool kill_actor(RefCell* actor, Failure& failure) override;
  RefCell* ask_cluster(ClusterQuestion question, std::span<const std::byte> argument, Failure& failure) override;

  RefCell* put(const Encoded& value, Failure& failure) override;
  bool reserve(std::uint64_t size, Block& block, Failure& failure) override;
  void abandon(Block& block) noexcept override;

  WaitState wait_one(RefCell* ref, DeadlineNs deadline, Failure& failure) override;
  WaitState wait_many(std::span<RefCell* const> refs, std::size_t count, DeadlineNs deadline,
                      Failure& failure) override;
  bool read(RefCell* ref, ValueView& view, Failure& failure) override;

  void drop(RefCell* ref) noexcept override;
  RefName export_ref(RefCell* ref) override;
  RefCell* import_ref(const RefName& name, Failure& failure) override;

  double cpus() const noexcept override { return cpus_; }
  std::string_view task_name(const ExecContext& context) const noexcept override {
    return static_cast<const Execution*>(context.executor)->name;
  }
  void shutdown() noexcept override;

 private:
  // The arguments of one execution. Their block becomes an object of its own when an Array is kept out of it.
  struct Execution {
    LocalBackend* backend;
    Block block;
    std::string_view name;  // TaskOptions::name
    LocalNode* pinned = nullptr;
  };

  bool refuse_when_stopping(const TaskCall& call, Failure& failure);
  RefCell* find_actor(std::string_view name);
  // The node of a question, if somebody still has it: with one more count.
  LocalNode* find_question(std::uint64_t number) {
    return pool_.find_and_count(static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(number >> 32),
                                runtime());
  }
  bool is_meant(const TaskCall& call, const std::vector<LabelSelector>& labels, Failure& failure);
  LocalNode* new_node() { return pool_.take(runtime()); }
  LocalNode* run(const TaskCall& call, void*& instance);
  void fill(LocalNode& node, const std::byte* small, std::uint64_t size, const Block& block, std::uint32_t flags);
  void fill_bytes(LocalNode& node, std::span<const std::byte> value);
  void fill_error(LocalNode& node, const RemoteFailure& error);
  static ValueView view_of(const LocalNode& node);
  static RefCell* pin_arguments(ExecContext& context);
  LocalNode* find_named(std::string_view name);
  RefCell* name_is_taken(const std::string& name);
  void end_actor(LocalActor& actor) noexcept;
  static void hide_own_call(LocalActor& actor, LocalNode& node);
  static void show_own_calls(LocalActor& actor) noexcept;

  const double cpus_;
  const std::uint64_t store_bytes_;
  std::atomic<std::uint64_t> used_bytes_{0};
  std::atomic<bool> stopping_{false};
  std::mutex names_mutex_;
  std::map<std::string, RefName, std::less<>> names_;  // of living actors
  LocalPool& pool_ = LocalPool::instance();
  LocalCluster cluster_{{[this](std::uint64_t question, std::span<const std::byte> value) {
                           LocalNode* const node = find_question(question);
                           if (node == nullptr) return;
                           fill_bytes(*node, value);
                           drop_ref(&node->cell);
                         },
                         [this](std::uint64_t question, ErrorCode code, const std::string& why) {
                           LocalNode* const node = find_question(question);
                           if (node == nullptr) return;
                           RemoteFailure error;
                           error.code = code;
                           error.message = why;
                           fill_error(*node, error);
                           drop_ref(&node->cell);
                         }}};
};

// ---- Memory

bool LocalBackend::reserve(std::uint64_t size, Block& block, Failure& failure) {
  const std::uint64_t used = used_bytes_.fetch_add(size, std::memory_order_relaxed);
  void* memory = nullptr;
  if (size <= store_bytes_ && used <= store_bytes_ - size) memory = ::operator new(size, kBlockAlign, std::nothrow);
  if (memory == nullptr) {
    used_bytes_.fetch_sub(size, std::memory_order_relaxed);
    failure = std::make_unique<Error>(
        Error{ErrorCode::kStoreFull,
              "rayx: the object store is full: " + std::to_string(size) + " bytes were asked for, " +
                  std::to_string(used) + " of " + std::to_string(store_bytes_) +
                  " are used. Nothing was waited for, as with RAYX_LOCAL nothing else runs. Drop references, or "
                  "raise Config::store_bytes (RAYX_STORE_BYTES)"});
    return false;
  }
  block = {static_cast<std::byte*>(memory), size, 0};
  return true;
}

void LocalBackend::abandon(Block& block) noexcept {
  if (block.data == nullptr) return;
  ::operator delete(block.data, kBlockAlign);
  used_bytes_.fetch_sub(block.size, std::memory_order_relaxed);
  block = {};
}

// ---- Values

void LocalBackend::fill(LocalNode& node, const std::byte* small, std::uint64_t size, const Block& block,
                        std::uint32_t flags) {
  node.record.size = static_cast<std::uint32_t>(size);
  if (block.data != nullptr) {
    node.block = block;
    node.record.state.store(kRecordDoneBlock | flags, std::memory_order_release);
    return;
  }
  RAYX_CHECK(size <= kRecordInlineBytes, "a small value must fit into its record", size);
  if (small != nullptr && small != node.record.payload && size > 0) std::memcpy(node.record.payload, small, size);
  node.record.state.store(kRecordDoneInline | flags, std::memory_order_release);
}

void LocalBackend::fill_bytes(LocalNode& node, std::span<const std::byte> value) {
  if (value.size() <= kRecordInlineBytes) return fill(node, value.data(), value.size(), {}, 0);
  Block block;
  Failure no_room;
  if (reserve(value.size(), block, no_room)) {
    std::memcpy(block.data, value.data(), value.size());
    return fill(node, nullptr, value.size(), block, 0);
  }
  RemoteFailure error;
  error.code = no_room->code;
  error.message = no_room->message;
  fill_error(node, error);
}

void LocalBackend::fill_error(LocalNode& node, const RemoteFailure& error) {
  const std::size_t size = encoded_size(error);
  Block block;
  Failure no_room;
  if (size > kRecordInlineBytes && reserve(size, block, no_room)) {
    encode(error, block.data, size);
    fill(node, nullptr, size, block, kRecordIsError);
    return;
  }
  const std::size_t cut = std::min(size, kRecordInlineBytes);
  encode(error, node.record.payload, cut);
  fill(node, node.record.payload, cut, {}, kRecordIsError);
}

ValueView LocalBackend::view_of(const LocalNode& node) {
  const std::uint32_t hidden = node.hidden_state.load(std::memory_order_acquire);
  const std::uint32_t state = hidden != 0 ? hidden : node.record.state.load(std::memory_order_acquire);
  ValueView view;
  view.is_error = (state & kRecordIsError) != 0;
  view.has_refs = (state & kRecordHasRefs) != 0;
  view.data = node.block.data != nullptr ? node.block.data : node.record.payload;
  view.size = node.block.data != nullptr ? node.block.size : node.record.size;
  return view;
}

RefCell* LocalBackend::put(const Encoded& value, Failure&) {
  LocalNode* const node = new_node();
  for (RefCell* cell : value.refs) count_up(cell);
  node->contained.assign(value.refs.begin(), value.refs.end());
  fill(*node, value.small, value.size, value.block, value.refs.empty() ? 0u : std::uint32_t{kRecordHasRefs});
  return &node->cell;
}

bool LocalBackend::read(RefCell* ref, ValueView& view, Failure&) {
  view = view_of(*LocalNode::of(ref));
  return true;
}

// What is submitted is done when submit returns, so nothing is ever waited for, except by a task for itself; by an actor for
// what it has called of itself; and for what another thread may publish.
WaitState LocalBackend::wait_one(RefCell* ref, DeadlineNs deadline, Failure& failure) {
  return wait_many({&ref, 1}, 1, deadline, failure);
}

WaitState LocalBackend::wait_many(std::span<RefCell* const> refs, std::size_t count, DeadlineNs deadline,
                                  Failure& failure) {
  std::size_t ready = 0;
  for (RefCell* ref : refs) ready += is_ready(ref) ? 1 : 0;
  if (ready >= count) return WaitState::kReady;
  const auto is_from_outside = [](RefCell* ref) { return LocalNode::of(ref)->is_from_outside; };
  if (std::any_of(refs.begin(), refs.end(), is_from_outside)) {
    const auto enough = [&] {
      return static_cast<std::size_t>(std::count_if(refs.begin(), refs.end(), &is_ready)) >= count;
    };
    return cluster_.wait(enough, deadline) ? WaitState::kReady : WaitState::kTimedOut;
  }
  if (deadline != kNever) return WaitState::kTimedOut;
  for (RefCell* ref : refs) {
    LocalNode& node = *LocalNode::of(ref);
    if (node.hidden_state.load(std::memory_order_acquire) == 0) continue;
    if (node.hidden_by == std::this_thread::get_id()) {
      failure = own_call_failure(refs.size() == 1 ? "get" : "wait");
      return WaitState::kFailed;
    }
    node.record.state.wait(kRecordPending, std::memory_order_acquire);  // a thread of the actor's
    if (++ready >= count) return WaitState::kReady;
  }
  failure = std::make_unique<Error>(
      Error{ErrorCode::kInvalidArgument,
            "rayx: with RAYX_LOCAL a task waits for a result that only it can make. It would wait for ever"});
  return WaitState::kFailed;
}

// ---- References

RefName LocalBackend::export_ref(RefCell* ref) {
  const LocalNode* const node = LocalNode::of(ref);
  return {{node->index, std::uint64_t{node->generation} << 32 | runtime()}};
}

RefCell* LocalBackend::import_ref(const RefName& name, Failure& failure) {
  LocalNode* node = nullptr;
  if (name.words[0] <= UINT32_MAX && static_cast<std::uint32_t>(name.words[1]) == runtime()) {
    node = pool_.find_and_count(static_cast<std::uint32_t>(name.words[0]),
                                static_cast<std::uint32_t>(name.words[1] >> 32), runtime());
  }
  if (node != nullptr) return &node->cell;
  failure = std::make_unique<Error>(
      Error{ErrorCode::kMalformed,
            "rayx: a reference inside a value names nothing: the bytes were damaged, or come from another runtime"});
  return nullptr;
}

void LocalBackend::drop(RefCell* ref) noexcept {
  std::vector<LocalNode*> dead{LocalNode::of(ref)};  // not by recursion: a list of references may be long
  while (!dead.empty()) {
    LocalNode* const node = dead.back();
    dead.pop_back();
    for (RefCell* cell : node->contained) {
      if (cell->refs.fetch_sub(1, std::memory_order_acq_rel) == 1 && cell->runtime == runtime())
        dead.push_back(LocalNode::of(cell));
    }
    node->contained.clear();
    if (node->actor != nullptr) {
      const std::unique_ptr<LocalActor> actor = std::move(node->actor);
      end_actor(*actor);
    }
    abandon(node->block);
    pool_.give_back(node);
  }
}

// ---- Calls

bool LocalBackend::refuse_when_stopping(const TaskCall& call, Failure& failure) {
  if (!stopping_.load(std::memory_order_acquire)) return false;
  Block block = call.arguments.block;
  abandon(block);
  failure = std::make_unique<Error>(
      Error{ErrorCode::kShuttingDown,
            "rayx: " + std::string(call.function->name()) +
                " was called while the runtime shuts down. Destructors of actors can only use what is there already"});
  return true;
}

RefCell* LocalBackend::pin_arguments(ExecContext& context) {
  auto& execution = *static_cast<Execution*>(context.executor);
  LocalBackend& self = *execution.backend;
  if (execution.pinned == nullptr) {
    execution.pinned = self.new_node();
    self.fill(*execution.pinned, nullptr, execution.block.size, execution.block, 0);
    execution.block = {};
  }
  count_up(&execution.pinned->cell);
  return &execution.pinned->cell;
}

// Runs the call in this thread and returns the node with its result.
LocalNode* LocalBackend::run(const TaskCall& call, void*& instance) {
  LocalNode* const result = new_node();
  Execution execution{this, call.arguments.block, call.options != nullptr ? call.options->name : std::string_view()};

  std::vector<ArgumentPart> parts;
  parts.reserve(call.dependencies.size());
  for (const Dependency& dependency : call.dependencies) {
    const ValueView view = view_of(*LocalNode::of(dependency.ref));
    if (view.is_error) {  // the call fails as what it needs has failed
      fill_error(*result, decode_failure({view.data, view.size}));
      abandon(execution.block);
      return result;
    }
    parts.push_back({view.data, view.size, dependency.position, dependency.ref});
  }

  ExecContext context;
  context.arguments = execution.block.data != nullptr ? execution.block.data : call.arguments.small;
  context.arguments_size = call.arguments.size;
  context.parts = parts;
  context.instance = instance;
  context.inline_result = result->record.payload;
  context.backend = this;
  context.keep_arguments = execution.block.data != nullptr ? &pin_arguments : nullptr;
  context.executor = &execution;
  execute(*call.function, context);
  instance = context.instance;

  for (RefCell* cell : context.result.refs) count_up(cell);
  result->contained.assign(context.result.refs.begin(), context.result.refs.end());
  std::uint32_t flags = context.is_error ? std::uint32_t{kRecordIsError} : 0;
  if (!context.result.refs.empty()) flags |= kRecordHasRefs;
  release_result_refs(context);
  fill(*result, result->record.payload, context.result.size, context.result.block, flags);

  abandon(execution.block);
  if (execution.pinned != nullptr) drop_ref(&execution.pinned->cell);
  return result;
}

RefCell* LocalBackend::submit_task(const TaskCall& call, Failure& failure) {
  if (refuse_when_stopping(call, failure)) return nullptr;
  if (call.options != nullptr && !is_meant(call, call.options->labels, failure)) return nullptr;
  void* none = nullptr;
  return &run(call, none)->cell;
}

// ---- Actors

RefCell* LocalBackend::create_actor(const TaskCall& call, const ActorOptions* options, Failure& failure) {
  if (refuse_when_stopping(call, failure)) return nullptr;
  if (options != nullptr && !is_meant(call, options->labels, failure)) return nullptr;
  const bool is_named = options != nullptr && !options->name.empty();
  if (LocalNode* const taken = is_named ? find_named(options->name) : nullptr) {
    Block block = call.arguments.block;
    abandon(block);
    if (options->get_if_exists) return &taken->cell;
    drop_ref(&taken->cell);
    return name_is_taken(options->name);
  }
  void* instance = nullptr;
  LocalNode* const node = run(call, instance);
  auto actor = std::make_unique<LocalActor>();
  actor->instance = instance;
  actor->destroy = call.function->destroy;
  actor->class_name = is_named ? options->name : call.function->name();
  actor->type = call.function->class_name();
  const ValueView view = view_of(*node);
  if (view.is_error) {
    const RemoteFailure died = actor_died_of_constructor(decode_failure({view.data, view.size}), actor->class_name);
    actor->died_of = died.message;
    abandon(node->block);
    fill_error(*node, died);
  }
  node->actor = std::move(actor);
  if (is_named && node->actor->died_of.empty()) {
    node->actor->name = options->name;
    const std::lock_guard lock(names_mutex_);
    names_[node->actor->name] = export_ref(&node->cell);
  }
  if (options != nullptr && options->detached && node->actor->died_of.empty()) {
    node->actor->is_kept = true;  // until kill() or the end
    count_up(&node->cell);
  }
  return &node->cell;
}

// The living actor with that name, with one more count.
LocalNode* LocalBackend::find_named(std::string_view name) {
  const std::lock_guard lock(names_mutex_);
  const auto found = names_.find(name);
  Failure gone;
  RefCell* const cell = found == names_.end() ? nullptr : import_ref(found->second, gone);
  return cell == nullptr ? nullptr : LocalNode::of(cell);
}

// As with processes: the actor is there, and dead.
RefCell* LocalBackend::name_is_taken(const std::string& name) {
  LocalNode* const node = new_node();
  node->actor = std::make_unique<LocalActor>();
  node->actor->class_name = name;
  node->actor->died_of = "rayx: actor " + name + " died: an actor called \"" + name +
                         "\" lives already: kill it, take another name, or ask for get_if_exists";
  RemoteFailure died;
  died.code = ErrorCode::kActorDied;
  died.message = node->actor->died_of;
  fill_error(*node, died);
  return &node->cell;
}

// This process is the only node.
// Whether this process is a node that is meant by the labels. If not, the call's arguments are given back.
bool LocalBackend::is_meant(const TaskCall& call, const std::vector<LabelSelector>& labels, Failure& failure) {
  if (labels.empty()) return true;
  const base::Where where = worker::where_of(labels, false);
  if (base::matches(kNode, {}, where.selectors)) return true;
  Block block = call.arguments.block;
  abandon(block);
  failure = std::make_unique<Error>(Error{
      ErrorCode::kInvalidArgument, "rayx: " + std::string(call.function->name()) +
                                       " may run only on a node with labels of which " +
                                       base::to_text(where.selectors) +
                                       ", and with RAYX_LOCAL this process is the only node and has none. Ask for "
                                       "less (labels), or run without RAYX_LOCAL"});
  return false;
}

RefCell* LocalBackend::ask_cluster(ClusterQuestion question, std::span<const std::byte> argument, Failure&) {
  if (question == ClusterQuestion::kFindActor)
    return find_actor({reinterpret_cast<const char*>(argument.data()), argument.size()});
  LocalNode* const answer = new_node();
  if (LocalCluster::knows(question)) {
    answer->is_from_outside = question == ClusterQuestion::kRead;
    cluster_.ask(question, argument, std::uint64_t{answer->generation} << 32 | answer->index);
  } else {
    fill_bytes(*answer, worker::EncodedValue(std::vector<NodeInfo>{
                                                 {base::to_text(kNode), "this process", cpus_, store_bytes_, {}, true}})
                            .bytes());
  }
  return &answer->cell;
}

RefCell* LocalBackend::find_actor(std::string_view name) {
  LocalNode* const answer = new_node();
  LocalNode* const found = find_named(name);
  if (found == nullptr) {
    RemoteFailure error;
    error.code = ErrorCode::kNotFound;
    error.message = "rayx: get_actor: no living actor is called \"" + std::string(name) + "\"";
    fill_error(*answer, error);
    return &answer->cell;
  }
  const std::string handle = value_of_one_ref(export_ref(&found->cell));
  answer->contained.push_back(&found->cell);
  fill(*answer, reinterpret_cast<const std::byte*>(handle.data()), handle.size(), {}, kRecordHasRefs | kRecordAdopted);
  return &answer->cell;
}

RefCell* LocalBackend::call_actor(RefCell* cell, const TaskCall& call, Failure& failure) {
  if (refuse_when_stopping(call, failure)) return nullptr;
  LocalActor* const actor = LocalNode::of(cell)->actor.get();
  RAYX_CHECK(actor != nullptr, "the reference is not an actor's", call.function->name());
  const std::lock_guard lock(actor->mutex);
  const auto fail = [&](const RemoteFailure& error) {
    Block block = call.arguments.block;
    abandon(block);
    LocalNode* const node = new_node();
    fill_error(*node, error);
    return &node->cell;
  };
  if (!actor->died_of.empty()) {
    RemoteFailure died;
    died.code = ErrorCode::kActorDied;
    died.message = actor->died_of;
    died.function = call.function->name();
    return fail(died);
  }
  if (call.function->class_name() != actor->type) return fail(call_of_other_class(*call.function, actor->type));
  ++actor->running;
  LocalNode* const node = run(call, actor->instance);
  if (--actor->running > 0) {
    hide_own_call(*actor, *node);
  } else {
    show_own_calls(*actor);
    if (!actor->died_of.empty()) end_actor(*actor);
  }
  return &node->cell;
}

void LocalBackend::hide_own_call(LocalActor& actor, LocalNode& node) {
  count_up(&node.cell);
  actor.own_calls.push_back(&node);
  node.hidden_by = std::this_thread::get_id();
  node.hidden_state.store(node.record.state.load(std::memory_order_relaxed), std::memory_order_relaxed);
  node.record.state.store(kRecordPending, std::memory_order_relaxed);  // nobody else has it yet
}

void LocalBackend::show_own_calls(LocalActor& actor) noexcept {
  for (LocalNode* node : std::exchange(actor.own_calls, {})) {
    node->record.state.store(node->hidden_state.load(std::memory_order_relaxed), std::memory_order_release);
    node->hidden_state.store(0, std::memory_order_release);
    node->record.state.notify_all();
    drop_ref(&node->cell);
  }
}

bool LocalBackend::kill_actor(RefCell* cell, Failure&) {
  LocalActor* const actor = LocalNode::of(cell)->actor.get();
  RAYX_CHECK(actor != nullptr, "the reference is not an actor's");
  bool was_kept = false;
  {
    const std::lock_guard lock(actor->mutex);
    if (!actor->died_of.empty()) return true;
    was_kept = std::exchange(actor->is_kept, false);
    actor->died_of =
        "rayx: actor " + actor->class_name +
        " died: rayx::kill() ended it. Its calls are not tried again; make a new one with rayx::actor<T>()";
    if (actor->running == 0) end_actor(*actor);
  }
  if (was_kept) drop_ref(cell);
  return true;
}

void LocalBackend::end_actor(LocalActor& actor) noexcept {
  if (!actor.name.empty()) {
    const std::lock_guard lock(names_mutex_);
    names_.erase(std::exchange(actor.name, {}));
  }
  void* const instance = std::exchange(actor.instance, nullptr);
  if (instance != nullptr) actor.destroy(instance);
}

// ---- The end

void LocalBackend::shutdown() noexcept {
  stopping_.store(true, std::memory_order_release);
  std::vector<LocalNode*> live = pool_.live(runtime());
  for (LocalNode* node : live) {
    if (node->actor != nullptr) end_actor(*node->actor);
  }
  // Blocks stay: the user may hold an Array in one. The pool still names them, and they go with the process.
  for (LocalNode* node : pool_.live(runtime())) node->cell.record.store(&kRecordOfNoRuntime, std::memory_order_relaxed);
}

}  // namespace

std::unique_ptr<Backend> make_local_backend(const Config& config, Failure&) {
  return std::make_unique<LocalBackend>(config);
}

}  // namespace rayx::detail
