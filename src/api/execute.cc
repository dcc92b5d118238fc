#include <cstdlib>

#include "api/inside_task.hpp"
#include "api/throw_stack.hpp"
#include "base/check.hpp"
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

void store_exception(const FunctionInfo& info, ExecContext& context) noexcept {
  try {
    store_error(describe_current_exception(info.name()), context);
  } catch (...) {  // no memory even to describe it
    RemoteFailure failure;
    failure.message = "out of memory";
    store_error(failure, context);
  }
}

}  // namespace

void execute(const FunctionInfo& info, ExecContext& context) noexcept {
  RAYX_DCHECK(context.backend != nullptr && context.inline_result != nullptr, "executor must fill the context");
  const InsideTask inside;
  try {
    info.thunk(context);
  } catch (const ThrowStackProbe&) {  // never: notes the stack while it still stands
    std::abort();
  } catch (...) {
    store_exception(info, context);
  }
}

}  // namespace rayx::detail
