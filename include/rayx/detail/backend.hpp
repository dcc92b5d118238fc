// The erased boundary: below this header there are bytes and no T. The templates of the door encode and decode, a Backend
// moves bytes. Standard library only. LocalBackend (src/api) runs everything in the calling process; the process backend
// shares memory with workers.
//
// The encoding of a value is the same wherever it goes: the bytes of put(x), of a task's result and of an argument that is a
// value are equal, so a result can be handed to the next task untouched.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include <rayx/detail/record.hpp>
#include <rayx/options.hpp>
#include <rayx/result.hpp>

#pragma GCC visibility push(default)
namespace rayx::detail {

class Backend;
struct ExecContext;

// Nothing, or why it failed: 8 bytes that cost nothing on the fast path. The door turns it into an exception.
using Failure = std::unique_ptr<Error>;

// Nanoseconds of std::chrono::steady_clock. kPoll: look once and never sleep.
using DeadlineNs = std::int64_t;
inline constexpr DeadlineNs kNever = INT64_MAX;
inline constexpr DeadlineNs kPoll = 0;

// ---------------------------------------------------------------------------------------------------------------------------
// References

// The process-private, counted head of one object, task result or actor. An ObjectRef<T> is one pointer to it.
//
// The door counts: copies add to `refs`; whoever takes it to zero calls Backend::drop once. With refs == 1 nobody else can
// count, so the last drop needs no read-modify-write. All other fields are the backend's; the door reads `record` and
// `runtime` only.
//
// Life after shutdown: user objects may hold references longer than the runtime lives. So (1) the memory of a cell stays
// readable until the process ends (pool it and never unmap the pool); (2) Backend::shutdown points `record` of every live cell
// at kRecordOfNoRuntime, which is for ever pending, so that the inlined fast path of get() never touches unmapped memory; (3) the
// door compares `runtime` with Backend::runtime() before it hands a cell to a backend: a cell of an earlier runtime is never
// handed on, and its drop does nothing.
struct alignas(32) RefCell {
  std::atomic<std::uint32_t> refs{0};
  std::uint32_t runtime = 0;             // Backend::runtime() of the backend that made it
  std::atomic<Record*> record{nullptr};  // where its state and small value are; relaxed loads
  std::uint64_t backend_word[2] = {0, 0};
};
static_assert(sizeof(RefCell) == 32);

// Never done. See RefCell.
extern Record kRecordOfNoRuntime;

// A reference as bytes inside another value, 16 of them. Means something in this cluster only. All zero: no reference.
struct RefName {
  std::uint64_t words[2] = {0, 0};
  bool operator==(const RefName&) const = default;
};

// ---------------------------------------------------------------------------------------------------------------------------
// Functions

enum class FunctionKind : std::uint8_t { kTask, kActorConstructor, kActorMethod };

// One for each function, constructor or method that the program uses with rayx, in static storage. All are linked into one
// list by static constructors, before main and by dlopen, so a worker can check that an address names one of them before it
// calls it. The process backend names `info - load address of its module`, not `thunk`: it is data, and checkable.
struct FunctionInfo {
  void (*thunk)(ExecContext&);  // see ExecContext
  // Only for kActorConstructor: ends the life of the instance.
  void (*destroy)(void* instance);
  std::string_view (*name)();        // as the user wrote it: "square", "Counter::add". Static storage
  std::string_view (*class_name)();  // of constructors and methods: the class of the handle. nullptr: a task
  std::uint16_t parameter_count;
  FunctionKind kind;
  FunctionInfo* next = nullptr;
};

void register_function(FunctionInfo& info) noexcept;  // static constructors only; any thread
// The head of the list. What is on it stays on it until the process ends (modules that are closed by dlclose are not supported).
const FunctionInfo* first_function() noexcept;
// Whether `candidate` is on the list. Walks it once after each change and then answers by binary search. Any thread.
bool is_function(const void* candidate);

// ---------------------------------------------------------------------------------------------------------------------------
// Memory

// Memory that one writer fills and then gives back to the backend, by seal or abandon. 64-byte aligned.
struct Block {
  std::byte* data = nullptr;
  std::uint64_t size = 0;
  std::uint64_t backend_word = 0;  // names it to the backend
};

// An encoding. Either small (size <= kRecordInlineBytes, bytes in the caller's stack) or in a block that came from reserve (then of
// any size: an ArrayBuilder of few elements is a block too).
struct Encoded {
  const std::byte* small = nullptr;  // nullptr: in the block, whose ownership passes to the callee, also when it fails
  std::uint64_t size = 0;
  Block block;
  // The references whose names are inside the bytes (each once or more). The caller holds them until the call returns; the
  // callee keeps them alive as long as the bytes live. Where there are any, the encoding ends with where their names stand
  // (detail/ref_positions.hpp), included in `size`.
  std::span<RefCell* const> refs;
};

// ---------------------------------------------------------------------------------------------------------------------------
// Calls

// An argument that was given as ObjectRef<T> for a parameter T.
struct Dependency {
  RefCell* ref;
  std::uint32_t position;  // of the parameter, from 0
};

// A task, an actor's creation or a call of its method. Lives on the caller's stack for the duration of the call.
struct TaskCall {
  const FunctionInfo* function;
  // The parameters that are values, in order, one after another as one encoding. Those that are dependencies are left out.
  Encoded arguments;
  std::span<const Dependency> dependencies;  // by ascending position; the caller holds them until the call returns
  const TaskOptions* options = nullptr;      // nullptr: all defaults. For create_actor and call_actor see there
};

// ---------------------------------------------------------------------------------------------------------------------------
// Execution: what a worker hands to a thunk

// A dependency's value: the bytes of the object that was passed.
struct ArgumentPart {
  const std::byte* data;
  std::uint64_t size;
  std::uint32_t position;
  RefCell* keep;  // an Array that lies in `data` counts it up; nullptr: `data` dies with the call, so it must be copied
};

// Filled by the executor, used by one thread for one execution. A dependency that failed never gets here: the executor
// completes the task with that dependency's error and does not call the thunk.
//
// The executor calls `execute(info, context)` (below), never the thunk itself. After it exactly one of these holds:
//   is_error == false, result.block.data == nullptr: result.size bytes are at inline_result
//   is_error == false, result.block.data != nullptr: the value is in the block (not sealed yet)
//   is_error == true:  the same two, for an encoded error (detail/remote_failure.hpp)
// For kActorConstructor the thunk sets `instance` and leaves an empty result.
struct ExecContext {
  const std::byte* arguments = nullptr;  // TaskCall::arguments
  std::uint64_t arguments_size = 0;
  std::span<const ArgumentPart> parts;  // by ascending position
  void* instance = nullptr;             // methods: the actor. Constructors: set by the thunk
  std::byte* inline_result = nullptr;   // kRecordInlineBytes, 8-byte aligned: the record's payload itself, or scratch
  Backend* backend = nullptr;
  // Counts up and returns what keeps `arguments` alive, for an Array passed by value and kept by the user; nullptr: copy it.
  RefCell* (*keep_arguments)(ExecContext&) = nullptr;
  void* executor = nullptr;  // the executor's own

  Encoded result;
  bool is_error = false;
  // Holds the references named in the result: the executor drops each once when the owner has adopted them.
  RefCell** result_refs = nullptr;
  std::uint32_t result_refs_count = 0;
};

// Runs the thunk. Never throws: whatever the user's code throws becomes an encoded error with type, message, function and
// stack. An error for which reserve fails is cut to fit the inline bytes. Frees nothing of the context's result.
void execute(const FunctionInfo& info, ExecContext& context) noexcept;
// Frees what `execute` gathered in result_refs: drops each and forgets them.
void release_result_refs(ExecContext& context) noexcept;

// ---------------------------------------------------------------------------------------------------------------------------

// What a runtime knows beyond its own process's books. The result is a value as a task's would be.
enum class ClusterQuestion : std::uint8_t {
  kFindActor = 1,  // argument: a name. Result: a handle of the living actor that has it; kNotFound
  kListNodes = 2,  // Result: std::vector<NodeInfo>
  // Of the cluster's keys, see KeyWords. Result: ClusterAnswer
  kPutKey = 3,
  kGetKey = 4,
  kEraseKey = 5,
  kListKeys = 6,
  // Of its channels.
  kPublish = 7,      // ChannelWords. Result: ClusterAnswer
  kSubscribe = 8,    // ChannelWords. Result: std::uint64_t, the reader's number
  kRead = 9,         // ReadWords. Result: News, as soon as there is any
  kUnsubscribe = 10  // ReadWords. Result: ClusterAnswer
};

enum class WaitState : std::uint8_t {
  kReady,     // it is done, with a value or an error
  kTimedOut,  // the deadline passed
  kFailed,    // cannot be waited for: see the Failure
};

// The bytes of a value or an error that is done. Valid as long as the cell's count is above zero.
struct ValueView {
  const std::byte* data = nullptr;
  std::uint64_t size = 0;  // with the positions of the references, if has_refs
  bool is_error = false;
  bool has_refs = false;
};

// One for each runtime. Every function may be called by any thread, also inside a task (there it is the worker's).
// Each RefCell* that is returned has refs == 1: the caller's. Functions that can fail return nullptr, false or kFailed and set
// the Failure; arguments that were passed for keeps (blocks) are given back by the callee in that case.
class Backend {
 public:
  virtual ~Backend() = default;
  std::uint32_t runtime() const noexcept { return runtime_; }  // differs for each init() of this process, never 0
  // For large runs of bytes into blocks; nullptr: memcpy.
  using BulkCopy = void (*)(void* to, const void* from, std::size_t bytes);
  BulkCopy bulk_copy() const noexcept { return bulk_copy_; }

  // At once, without waiting for a result; waits where a queue or the store is full, as long as the Config says.
  virtual RefCell* submit_task(const TaskCall& call, Failure& failure) = 0;
  // The cell is the actor's: its record is done when the constructor has run, with an error if it threw. When its count is
  // zero in all processes the actor ends, after the calls that were made before.
  virtual RefCell* create_actor(const TaskCall& call, const ActorOptions* options, Failure& failure) = 0;
  // Calls of one caller with one cell run in the order in which they were made; one whose dependency is not ready holds back
  // the later ones. A caller is a thread of the driver, one actor over all its calls, or one run of a task. `options` of the
  // call is nullptr.
  virtual RefCell* call_actor(RefCell* actor, const TaskCall& call, Failure& failure) = 0;
  virtual bool kill_actor(RefCell* actor, Failure& failure) = 0;
  virtual RefCell* ask_cluster(ClusterQuestion question, std::span<const std::byte> argument, Failure& failure) = 0;

  // put: Encoded small, or reserve, fill, put. Putting a block copies nothing: it is sealed where it is.
  virtual RefCell* put(const Encoded& value, Failure& failure) = 0;
  // May wait for room. The bytes are not cleared. `size` > 0.
  virtual bool reserve(std::uint64_t size, Block& block, Failure& failure) = 0;
  virtual void abandon(Block& block) noexcept = 0;

  virtual WaitState wait_one(RefCell* ref, DeadlineNs deadline, Failure& failure) = 0;
  // Until at least `count` of them are done. Which ones is read from their records, see is_ready().
  virtual WaitState wait_many(std::span<RefCell* const> refs, std::size_t count, DeadlineNs deadline,
                              Failure& failure) = 0;
  // The value of a ref that is done; adopts the references inside it, if that is still to be done. May fail: lost objects.
  virtual bool read(RefCell* ref, ValueView& view, Failure& failure) = 0;

  virtual void drop(RefCell* ref) noexcept = 0;  // its count is zero
  // The name to write into a value. The name is good as long as the cell or the bytes that it is written into live.
  virtual RefName export_ref(RefCell* ref) = 0;
  // A cell for a name read from bytes that are alive: a new one, or one on which the backend itself holds a count (the door
  // drops a cell with refs == 1 without a read-modify-write, so nobody may raise the count of a cell that he does not hold).
  virtual RefCell* import_ref(const RefName& name, Failure& failure) = 0;

  virtual double cpus() const noexcept = 0;  // for automatic chunk sizes; 0 if the runtime has none
  // What needs more than cpus() can never run. Else that is up to the nodes of a cluster, which come and go.
  virtual bool is_alone() const noexcept { return true; }
  // Of the object store, by everybody, with the tables of the processes that use it; 0 if unknown.
  virtual std::uint64_t store_used_bytes() noexcept { return 0; }
  // TaskOptions::name of the task that runs with `context`, for the error that it ends with; empty: it has none.
  virtual std::string_view task_name(const ExecContext& context) const noexcept {
    static_cast<void>(context);
    return {};
  }
  // Ends what runs here; see RefCell for what becomes of the cells. Called once, not concurrently with anything.
  virtual void shutdown() noexcept = 0;

 protected:
  Backend();
  BulkCopy bulk_copy_ = nullptr;  // set by the constructors of those that have a better one

 private:
  const std::uint32_t runtime_;
};

// The runtime of this process, or of the worker that this process is; nullptr outside. The pointer is written by init and
// shutdown (release) and read with acquire on every call.
extern std::atomic<Backend*> g_current_backend;
inline Backend* current_backend() noexcept { return g_current_backend.load(std::memory_order_acquire); }
// For workers, which have no init(): makes `backend` (may be nullptr) the current one.
void set_current_backend(Backend* backend) noexcept;

// What an actor gets that waits, in `what`, for a call of its own.
Failure own_call_failure(const char* what);

// The factories that init() chooses from. A Failure's code is kInvalidConfig, kUnsupported, kSystemError...
std::unique_ptr<Backend> make_local_backend(const Config& config, Failure& failure);
std::unique_ptr<Backend> make_process_backend(const Config& config, Failure& failure);

}  // namespace rayx::detail
#pragma GCC visibility pop
