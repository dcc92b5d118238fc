#include "worker/executor_loop.hpp"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include <rayx/detail/remote_failure.hpp>

#include "worker/object_there.hpp"

namespace rayx::worker {

using detail::ArgumentPart;
using detail::ExecContext;
using detail::FunctionInfo;
using detail::RemoteFailure;

// What a task's arguments need while it runs.
struct ExecutorLoop::Arguments {
  std::vector<ArgumentPart> parts;
  std::vector<RefCell*> held;
  ~Arguments() {
    for (RefCell* cell : held) detail::drop_ref(cell);
  }
};

namespace {

// What a task may need that is begun at the floor: its own frames, and a crash report.
constexpr std::size_t kStackReserve_bytes = 1 << 20;

std::uintptr_t find_stack_floor() {
  pthread_attr_t attributes;
  if (::pthread_getattr_np(::pthread_self(), &attributes) != 0) return 0;
  void* begin = nullptr;
  std::size_t bytes = 0;
  const bool is_known = ::pthread_attr_getstack(&attributes, &begin, &bytes) == 0;
  ::pthread_attr_destroy(&attributes);
  return is_known ? reinterpret_cast<std::uintptr_t>(begin) + std::min(kStackReserve_bytes, bytes / 4) : 0;
}

}  // namespace

ExecutorLoop::ExecutorLoop(Client& client, std::uint32_t me)
    : client_(client), control_(client.control()), me_(me), executor_(control_, me) {
  client_.serve_as_executor(&executor_, this);
  stack_floor_ = find_stack_floor();
}

// ---- The loop

void ExecutorLoop::follow_lease() {
  const std::uint32_t lease = control_.slot(me_).lease.load(std::memory_order_acquire);
  if (lease == lease_) [[likely]]
    return;
  lease_ = lease;
  serves_ = 0;
  executor_.leave_lane();
  if (lease == 0 || lease == shm::kLeaseLeave) return;
  if (shm::LeaseWord::is_leave(lease)) {
    if (!client_.leave_if_unused()) return client_.node().tell(shm::NodeQuestion::kStays);
    lease_ = shm::kLeaseLeave;
    return;
  }
  const std::uint32_t lane_plus_1 = shm::LeaseWord::lane_plus_1(lease);
  if (shm::LeaseWord::is_taken_back(lease)) return client_.node().tell(shm::NodeQuestion::kLeftLane, lane_plus_1);
  const shm::LaneState& lane = control_.lane(lane_plus_1 - 1).state();
  const std::uint64_t members = lane.members.load(std::memory_order_acquire);
  for (int member = 0; member < 64; ++member)
    if ((members >> member & 1) != 0 && lane.member_slot[member].load(std::memory_order_relaxed) == me_) {
      executor_.join_lane(lane_plus_1 - 1, member);
      serves_ = lane_plus_1;
      cpu_units_ = lane.cpu_units.load(std::memory_order_relaxed);
      return;
    }
}

int ExecutorLoop::serve() {
  shm::Backoff backoff;
  shm::Executor::Task task;
  const auto has_news = [&] {
    return control_.slot(me_).lease.load(std::memory_order_acquire) != lease_ || client_.needs_attention();
  };
  for (;;) {
    follow_lease();
    if (lease_ == shm::kLeaseLeave) break;
    if (serves_ != 0 && executor_.take(task)) {
      backoff.reset();
      run(task);
      continue;
    }
    executor_.wait_once(backoff, has_news);
    if (client_.needs_attention()) client_.attend_now();
  }
  leave();
  return 0;
}

void ExecutorLoop::leave() {
  if (instance_ != nullptr && constructor_ != nullptr && constructor_->destroy != nullptr)
    constructor_->destroy(std::exchange(instance_, nullptr));
}

// ---- One task

namespace {

// Its parent goes on with the task, so nothing that the worker has may be touched.
[[noreturn]] void end_forked_child(const FunctionInfo& info) {
  const std::string text = "rayx: a process that " + std::string(info.name()) +
                           " had forked came back from the task and was ended. End it with _exit() or exec()\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
  ::_exit(1);
}

}  // namespace

ExecutorLoop::Ready ExecutorLoop::prepare(const shm::Executor::Task& task, Arguments& arguments, ExecContext& context,
                                          RemoteFailure& error) {
  const shm::Arena& arena = client_.arena();
  const auto flags = static_cast<std::uint8_t>(task.body.function_and_flags >> 8);
  const auto refuse = [&](const char* what) {
    error.code = ErrorCode::kMalformed;
    error.message = std::string("rayx: a task's arguments are damaged: ") + what;
    return Ready::kNo;
  };
  const auto set_block = [&](const BlockRef& block) {
    if (!arena.contains(block.offset, block.size)) return false;
    context.arguments = arena.address(block.offset);
    context.arguments_size = block.size;
    return true;
  };
  if ((flags & shm::kTaskArgumentsInParts) == 0) {
    if ((flags & shm::kTaskArgumentsInBlock) == 0) {
      context.arguments = task.body.arguments;
      context.arguments_size = shm::inline_bytes_of(task.body.function_and_flags);
      return Ready::kYes;
    }
    BlockRef block;
    std::memcpy(&block, task.body.arguments, sizeof(block));
    return set_block(block) ? Ready::kYes : refuse("their block lies outside the store");
  }
  BlockRef where;
  std::memcpy(&where, task.body.arguments, sizeof(where));
  if (!arena.contains(where.offset, where.size) || where.size < sizeof(CallBlock))
    return refuse("their table lies outside the store");
  const auto& table = *reinterpret_cast<const CallBlock*>(arena.address(where.offset));
  if (table.parts > (where.size - sizeof(CallBlock)) / sizeof(CallPart)) return refuse("their table is cut");
  if (table.block.size != 0) {
    if (!set_block(table.block)) return refuse("their block lies outside the store");
  } else {
    context.arguments = table.inline_arguments;
    context.arguments_size = std::min<std::uint64_t>(table.inline_bytes, shm::kCellInlineBytes);
  }
  const auto* part = reinterpret_cast<const CallPart*>(&table + 1);
  for (std::uint32_t i = 0; i < table.parts; ++i, ++part) {
    const shm::ObjectKey key{part->key};
    PartForm form = part->form;
    const std::byte* payload = part->payload;
    std::uint64_t size = part->size;
    if (form == PartForm::kPending) {
      if (key.owner() != task.owner || key.record() >= shm::kRecordsPerSlab * shm::kRecordSlabsMax)
        return refuse("a part names no record");
      const Record& record = control_.records_of(key.owner()).at(key.record());
      if (!wait_for(task.owner, key, record)) return Ready::kNotYet;
      const std::uint32_t state = record.state.load(std::memory_order_acquire);
      payload = record.payload;
      size = record.size;
      form = (state & detail::kRecordStateMask) == detail::kRecordDoneBlock ? PartForm::kBlock : PartForm::kInline;
      if ((state & detail::kRecordIsError) != 0) {  // the call fails as what it needs has failed
        BlockRef block{};
        if (form == PartForm::kBlock) std::memcpy(&block, payload, sizeof(block));
        if (form == PartForm::kBlock && !arena.contains(block.offset, block.size))
          return refuse("an error lies outside the store");
        error = form == PartForm::kBlock
                    ? detail::decode_failure({arena.address(block.offset), block.size})
                    : detail::decode_failure({payload, std::min<std::uint64_t>(size, detail::kRecordInlineBytes)});
        return Ready::kNo;
      }
    }
    if (form == PartForm::kInline) {
      arguments.parts.push_back(
          {payload, std::min<std::uint64_t>(size, detail::kRecordInlineBytes), part->position, nullptr});
      continue;
    }
    BlockRef block;
    std::memcpy(&block, payload, sizeof(block));
    if (!arena.contains(block.offset, block.size)) return refuse("a value lies outside the store");
    RefCell* const cell = client_.hold(key);
    if (cell == nullptr) {
      const bool is_gone = !is_object_there(control_, key);
      error.code = is_gone ? ErrorCode::kOwnerDied : ErrorCode::kStoreFull;
      error.message = is_gone ? "rayx: the process that owned an argument died, and the value with it"
                              : std::string("rayx: an argument cannot be taken: ") + kNoRoomForHolds;
      return Ready::kNo;
    }
    arguments.held.push_back(cell);
    arguments.parts.push_back({arena.address(block.offset), block.size, part->position, cell});
  }
  context.parts = arguments.parts;
  return Ready::kYes;
}

// Whether a value that was not there when the task was queued is there now, or in a moment. Its task was queued before, so it is
// done, or running elsewhere, or is to be taken here.
bool ExecutorLoop::wait_for(std::uint32_t owner, shm::ObjectKey key, const Record& record) {
  constexpr std::uint32_t kPauses = 80;     // about 2 us
  constexpr std::uint32_t kDepthMax = 256;  // of tasks that were taken for their results, one below the other
  const auto is_done = [&] {
    return shm::generation_of(record) == key.generation() &&
           detail::is_done(record.state.load(std::memory_order_acquire));
  };
  if (is_done()) [[likely]]
    return true;
  const std::uint64_t queued_at = record.queued_at.load(std::memory_order_relaxed);
  shm::Executor::Task task;
  if (queued_at != 0 && queued_at >> 48 == serves_ && executor_.depth() < kDepthMax &&
      executor_.take_at(owner, static_cast<std::uint32_t>(queued_at >> 48) - 1,
                        queued_at & shm::CellWord::kPositionMask, task)) {
    run(task);
  }
  for (std::uint32_t i = 0; i < kPauses && !is_done(); ++i) shm::cpu_relax();
  if (is_done()) return true;
  client_.want_here(key);
  return false;
}

void ExecutorLoop::run(const shm::Executor::Task& task) {
  const FunctionNumber number = task.body.function_and_flags >> 16;
  const FunctionInfo* info = client_.numbers().find_cached(number);
  RemoteFailure error;
  error.pid = 0;
  if (info == nullptr) [[unlikely]] {
    const auto found = client_.numbers().find(number);
    if (!found) {
      error.code = found.error().code;
      error.message = found.error().message;
      publish_error(task, error);
      return;
    }
    info = *found;
  }
  if (info->kind == detail::FunctionKind::kActorMethod && instance_ == nullptr) [[unlikely]] {
    if (actor_error_.empty()) {
      error.code = ErrorCode::kActorDied;
      error.function = info->name();
      error.message = "rayx: the actor was called before it was made";
      publish_error(task, error);
    } else {
      publish_bytes_as_error(task, actor_error_);
    }
    return;
  }
  // A handle by name says what class it is of, and may be wrong.
  if (info != fitting_ && info->kind == detail::FunctionKind::kActorMethod) [[unlikely]] {
    if (info->class_name() != constructor_->class_name()) {
      publish_error(task, detail::call_of_other_class(*info, constructor_->class_name()));
      return;
    }
    fitting_ = info;
  }
  ExecContext context;
  context.inline_result = control_.records_of(task.owner).at(task.body.record).payload;
  context.backend = &client_;
  context.instance = instance_;
  {
    Arguments arguments;
    const Ready ready = prepare(task, arguments, context, error);
    if (ready == Ready::kNotYet) [[unlikely]] {
      executor_.hand_back(task);
      return;
    }
    if (ready == Ready::kNo) [[unlikely]] {
      if (error.function.empty()) error.function = info->name();
      publish_error(task, error);
      return;
    }
    const actor::Caller before =
        std::exchange(caller_, info->kind == detail::FunctionKind::kTask ? ++tasks_run_ : actor::Caller{0});
    execute(*info, context);
    if (is_forked_child) [[unlikely]]
      end_forked_child(*info);
    caller_ = before;
  }
  if (info->kind == detail::FunctionKind::kActorConstructor) [[unlikely]] {
    constructor_has_run(task, *info, context);
    return;
  }
  publish(task, context);
}

void ExecutorLoop::constructor_has_run(const shm::Executor::Task& task, const FunctionInfo& info,
                                       ExecContext& context) {
  constructor_ = &info;
  if (!context.is_error) {
    instance_ = context.instance;
    publish(task, context);
    return;
  }
  const std::byte* bytes = context.result.block.data != nullptr ? context.result.block.data : context.inline_result;
  const RemoteFailure died =
      detail::actor_died_of_constructor(detail::decode_failure({bytes, context.result.size}), info.name());
  client_.abandon(context.result.block);
  actor_error_.resize(encoded_size(died));
  encode(died, actor_error_.data(), actor_error_.size());
  publish_bytes_as_error(task, actor_error_);
}

void ExecutorLoop::publish(const shm::Executor::Task& task, ExecContext& context) {
  Record& record = control_.records_of(task.owner).at(task.body.record);
  std::uint32_t done = context.is_error ? std::uint32_t{detail::kRecordIsError} : 0u;
  if (context.result.block.data != nullptr) [[unlikely]] {
    const BlockRef block{context.result.block.backend_word, context.result.size};
    if (!client_.give_block(context.result.block, {task.owner, task.body.record, task.body.generation})) {
      // Others may hold it. The code alone; decode_failure knows the text.
      record.payload[0] = static_cast<std::byte>(ErrorCode::kOwnerDied);
      record.size = 1;
      executor_.finish(task, detail::kRecordDoneInline | detail::kRecordIsError);
      detail::release_result_refs(context);
      return;
    }
    std::memcpy(record.payload, &block, sizeof(block));
    done |= detail::kRecordDoneBlock;
  } else {
    record.size = static_cast<std::uint32_t>(context.result.size);
    done |= detail::kRecordDoneInline;
  }
  if (context.result_refs_count == 0) [[likely]] {
    executor_.finish(task, done);
    return;
  }
  std::vector<RefCell*> cells(context.result_refs, context.result_refs + context.result_refs_count);
  delete[] std::exchange(context.result_refs, nullptr);
  context.result_refs_count = 0;
  record.reserved = me_ + 1;
  client_.keep_until_adopted(shm::ObjectKey::make(task.owner, task.body.record, task.body.generation),
                             std::move(cells));
  executor_.finish_and_tell(task, done | detail::kRecordHasRefs);
}

void ExecutorLoop::publish_error(const shm::Executor::Task& task, const RemoteFailure& error) {
  std::vector<std::byte> bytes(encoded_size(error));
  encode(error, bytes.data(), bytes.size());
  publish_bytes_as_error(task, bytes);
}

void ExecutorLoop::publish_bytes_as_error(const shm::Executor::Task& task, const std::vector<std::byte>& bytes) {
  ExecContext context;
  context.backend = &client_;
  context.is_error = true;
  context.result.size = bytes.size();
  Record& record = control_.records_of(task.owner).at(task.body.record);
  detail::Failure no_room;
  if (bytes.size() > detail::kRecordInlineBytes && client_.reserve(bytes.size(), context.result.block, no_room)) {
    std::memcpy(context.result.block.data, bytes.data(), bytes.size());
  } else {
    context.result.size = std::min(bytes.size(), detail::kRecordInlineBytes);
    std::memcpy(record.payload, bytes.data(), context.result.size);
  }
  publish(task, context);
}

}  // namespace rayx::worker
