#include "api/inside_task.hpp"
#include "base/check.hpp"
#include "observe/frames.hpp"
#include "observe/stack_capture.hpp"
#include "rayx/detail/backend.hpp"
#include "rayx/detail/remote_failure.hpp"

namespace rayx::detail {
namespace {

void drop_block(ExecContext& context) {
  if (context.result.block.data != nullptr) context.backend->abandon(context.result.block);
  context.result.block = {};
}

// Errors for which there is no memory are cut to what the record holds.
void store_error(const RemoteFailure& failure, ExecContext& context) noexcept {
  drop_block(context);
  release_result_refs(context);
  context.is_error = true;
  context.result.small = nullptr;
  std::size_t size = encoded_size(failure);
  if (size > kRecordInlineBytes) {
    Failure no_room;
    if (context.backend->reserve(size, context.result.block, no_room)) {
      encode(failure, context.result.block.data, size);
      context.result.size = size;
      return;
    }
    context.result.block = {};
    size = kRecordInlineBytes;
  }
  encode(failure, context.inline_result, size);
  context.result.size = size;
}

void store_exception(const FunctionInfo& info, const observe::StackCapture& stack, ExecContext& context) noexcept {
  try {
    RemoteFailure failure = describe_current_exception(task_title(info.name(), context.backend->task_name(context)));
    // One that came here from another task shows where that one threw, and ours name what they are about.
    if (failure.code == ErrorCode::kTaskFailed && failure.stack.empty() && stack.count > 0) {
      failure.stack = observe::encode_frames(observe::locate({stack.addresses, static_cast<std::size_t>(stack.count)}));
    }
    store_error(failure, context);
  } catch (...) {  // no memory even to describe it
    RemoteFailure failure;
    failure.message = "out of memory";
    store_error(failure, context);
  }
}

struct Call {
  const FunctionInfo& info;
  ExecContext& context;
};

// The name tells stacks where the user's part of them ends (observe/symbolise.cc), also where debug information leaves the namespace out.
void rayx_capture_call_thunk(void* pointer) {
  const Call& it = *static_cast<Call*>(pointer);
  it.info.thunk(it.context);
}

}  // namespace

void execute(const FunctionInfo& info, ExecContext& context) noexcept {
  RAYX_DCHECK(context.backend != nullptr && context.inline_result != nullptr, "executor must fill the context");
  const InsideTask inside;
  observe::StackCapture stack;
  try {
    Call call{info, context};
    observe::capture_call(rayx_capture_call_thunk, &call, stack);
  } catch (...) {
    store_exception(info, stack, context);
  }
}

}  // namespace rayx::detail
