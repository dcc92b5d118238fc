#include "rayx/runtime.hpp"

#include <memory>
#include <mutex>
#include <vector>

#include "api/config.hpp"
#include "api/inside_task.hpp"
#include "observe/stack_capture.hpp"
#include "process/take_over.hpp"
#include "rayx/detail/backend.hpp"
#include "rayx/errors.hpp"

namespace rayx {
namespace detail {

constinit std::atomic<Backend*> g_current_backend{nullptr};
constinit Record kRecordOfNoRuntime{
    .state = kRecordPending, .generation = 0, .queued_at = 0, .size = 0, .reserved = 0, .payload = {}};

namespace {

// init and shutdown, one at a time. Never destroyed: static destructors of the user's may still come here.
struct Owner {
  std::mutex mutex;
  std::unique_ptr<Backend> current;
  // Those that were shut down: a thread may still be on its way out of one.
  std::vector<std::unique_ptr<Backend>> retired;
};
Owner& owner() {
  static Owner* const instance = new Owner;
  return *instance;
}

constinit std::atomic<std::uint32_t> g_runtimes{0};

void shut_down(std::uint32_t number) {
  Owner& all = owner();
  const std::lock_guard lock(all.mutex);
  if (all.current == nullptr || (number != 0 && all.current->runtime() != number)) return;
  // Still the current one while it ends: destructors of actors in this process may get() what is there.
  all.current->shutdown();
  set_current_backend(nullptr);
  all.retired.push_back(std::move(all.current));
}

}  // namespace

Backend::Backend() : runtime_(g_runtimes.fetch_add(1, std::memory_order_relaxed) + 1) {}

void set_current_backend(Backend* backend) noexcept {
  static std::once_flag warmed_up;
  std::call_once(warmed_up, observe::warm_up_stack_capture);
  g_current_backend.store(backend, std::memory_order_release);
}

}  // namespace detail

Runtime init(const Config& config) {
  using namespace detail;
  // A static constructor's init() in the fork server: the constructors after it have to run before workers are forked.
  if (process::take_over_replaces_main()) return Runtime();
  Owner& all = owner();
  const std::lock_guard lock(all.mutex);
  if (current_backend() != nullptr) {
    throw_error({ErrorCode::kAlreadyInitialized,
                 "rayx: init: this process has a runtime already. Use it, or end it first with rayx::shutdown() or by "
                 "destroying "
                 "its Runtime"});
  }
  Result<Config> resolved = resolve_config(config);
  if (!resolved) throw_error(resolved.error());
  Failure failure;
  all.current = *resolved->local ? make_local_backend(*resolved, failure) : make_process_backend(*resolved, failure);
  if (all.current == nullptr) {
    throw_error(failure != nullptr ? std::move(*failure)
                                   : Error{ErrorCode::kSystemError, "rayx: init: no runtime could be made"});
  }
  set_current_backend(all.current.get());
  return Runtime(all.current->runtime());
}

void shutdown() {
  if (detail::t_task_depth > 0) {
    detail::throw_error(
        {ErrorCode::kInvalidArgument,
         "rayx: shutdown: called inside a task, which would end the runtime that runs it. Return from the task and "
         "shut down in the program that called init()"});
  }
  detail::shut_down(0);
}

bool is_initialized() noexcept { return detail::current_backend() != nullptr; }

Runtime::~Runtime() {
  if (number_ != 0) detail::shut_down(number_);
}

}  // namespace rayx
