// What the templates of the door call: nothing here knows a T.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>

#include "api/inside_task.hpp"
#include "base/check.hpp"
#include "base/where.hpp"
#include "process/take_over.hpp"
#include "rayx/actor.hpp"
#include "rayx/detail/ref_codec.hpp"
#include "rayx/detail/ref_count.hpp"
#include "rayx/detail/remote_failure.hpp"
#include "rayx/detail/values.hpp"
#include "rayx/errors.hpp"
#include "rayx/nodes.hpp"
#include "rayx/parallel.hpp"
#include "shm/node_protocol.hpp"

#include "base/clock.hpp"

namespace rayx::detail {
namespace {

std::string text_of(Duration duration) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  if (ms >= 10 || duration == Duration::zero()) return std::to_string(ms) + " ms";
  return std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(duration).count()) + " us";
}

Error timeout_error(Duration timeout, const char* what) {
  return {ErrorCode::kTimeout,
          std::string("rayx: ") + what + ": not ready within " + text_of(timeout) +
              "; the task goes on. Call it again to wait longer, or look at what the task waits for"};
}

Error no_runtime_error(const char* what) {
  if (process::take_over_replaces_main()) {
    return {ErrorCode::kNotInitialized,
            std::string("rayx: ") + what +
                ": called by a static constructor of the program, which runs once more where workers are made. Submit "
                "tasks from main, or in the constructor only if rayx::is_initialized()"};
  }
  return {ErrorCode::kNotInitialized,
          std::string("rayx: ") + what +
              ": this process has no runtime. Call rayx::init() first and keep the Runtime that it "
              "returns until all results are there"};
}
Error other_runtime_error(const char* what) {
  return {ErrorCode::kNotInitialized,
          std::string("rayx: ") + what +
              ": the reference belongs to a runtime that was shut down, and its value went with it. "
              "Make it again with this runtime"};
}

std::string cpus_text(double cpus) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.15g", cpus);
  return text;
}

void check_labels(const std::vector<LabelSelector>& labels, const char* options) {
  const auto refuse = [&](const std::string& what) {
    throw_error({ErrorCode::kInvalidArgument, "rayx: " + std::string(options) + "::labels: " + what});
  };
  std::size_t bytes = 0;
  const auto check = [&](const std::string& text, const char* what) {
    if (text.size() > base::kLabelBytesMax)
      refuse(std::string(what) + " has " + std::to_string(text.size()) + " bytes; it may have " +
             std::to_string(base::kLabelBytesMax));
    bytes += text.size() + 1;
  };
  for (const LabelSelector& selector : labels) {
    if (selector.key.empty()) refuse("a selector has no key");
    if (selector.values.empty() || selector.values.size() > base::kLabelBytesMax)
      refuse("the selector of \"" + selector.key + "\" has " + std::to_string(selector.values.size()) +
             " values; it may have 1 to " + std::to_string(base::kLabelBytesMax));
    check(selector.key, "a key");
    for (const std::string& value : selector.values) check(value, "a value");
  }
  constexpr std::size_t kBytesMax = 4'000;
  if (labels.size() > base::kSelectorsMax || bytes > kBytesMax)
    refuse(std::to_string(labels.size()) + " selectors have " + std::to_string(bytes) + " bytes; there may be " +
           std::to_string(base::kSelectorsMax) + ", of " + std::to_string(kBytesMax) + " bytes together");
}

void check_cpus(double cpus, const char* what, const char* who) {
  if (!std::isfinite(cpus) || cpus < 0 || cpus > 1024) {
    throw_error({ErrorCode::kInvalidArgument,
                 std::string("rayx: ") + what + "::num_cpus is " + cpus_text(cpus) + "; it must be from 0 to 1024"});
  }
  const Backend* const backend = current_backend();
  if (backend == nullptr || cpus <= backend->cpus() || !backend->is_alone()) return;
  throw_error(
      {ErrorCode::kInvalidArgument, std::string("rayx: ") + what + "::num_cpus is " + cpus_text(cpus) +
                                        ", and the runtime has " + cpus_text(backend->cpus()) + " in all: the " + who +
                                        " could never run. Ask for less, or raise Config::num_cpus (RAYX_NUM_CPUS)"});
}

}  // namespace

void throw_no_runtime(const char* what) { throw_error(no_runtime_error(what)); }

void throw_empty(const char* what) {
  throw_error(
      {ErrorCode::kInvalidArgument,
       std::string("rayx: ") + what +
           ": the reference is empty: it was default-constructed or moved from. Use the one that it was moved to"});
}

void throw_failure(Failure failure, const char* what) {
  RAYX_CHECK(failure != nullptr, "a backend must say why it failed", what);
  throw_error(std::move(*failure));
}

Backend& require_backend_of(const RefCell* cell, const char* what) {
  if (cell == nullptr) throw_empty(what);
  Backend& backend = require_backend(what);
  if (backend.runtime() != cell->runtime) throw_error(other_runtime_error(what));
  return backend;
}

DeadlineNs deadline_after(Duration timeout) noexcept {
  if (timeout <= Duration::zero()) return kPoll;
  return base::deadline_ns(base::SteadyClock().now_ns(), timeout);
}

Result<ValueView> try_await_value(RefCell* cell, DeadlineNs deadline, Duration timeout, const char* what) {
  Backend& backend = require_backend_of(cell, what);
  Failure failure;
  if (!is_ready(cell)) {
    switch (backend.wait_one(cell, deadline, failure)) {
      case WaitState::kReady: break;
      case WaitState::kTimedOut: return timeout_error(timeout, what);
      case WaitState::kFailed:
        RAYX_CHECK(failure != nullptr, "a backend must say why it failed", what);
        return *failure;
    }
  }
  ValueView view;
  if (!backend.read(cell, view, failure)) {
    RAYX_CHECK(failure != nullptr, "a backend must say why it failed", what);
    return *failure;
  }
  if (!view.is_error) return view;
  RemoteFailure remote = decode_failure({view.data, view.size});
  if (remote.code != ErrorCode::kTaskFailed) return Error{remote.code, with_stack(remote)};
  return Error{remote.code, "rayx: task " + remote.function + " threw " + remote.type + ": " + remote.message};
}

ValueView await_value(RefCell* cell, DeadlineNs deadline, Duration timeout, const char* what) {
  Backend& backend = require_backend_of(cell, what);
  Failure failure;
  if (!is_ready(cell)) {
    switch (backend.wait_one(cell, deadline, failure)) {
      case WaitState::kReady: break;
      case WaitState::kTimedOut: throw_error(timeout_error(timeout, what));
      case WaitState::kFailed: throw_failure(std::move(failure), what);
    }
  }
  ValueView view;
  if (!backend.read(cell, view, failure)) throw_failure(std::move(failure), what);
  if (view.is_error) throw_failure(std::span(view.data, view.size));
  return view;
}

bool await_many(std::span<RefCell* const> cells, std::size_t count, DeadlineNs deadline, const char* what) {
  for (const RefCell* cell : cells) require_backend_of(cell, what);
  Failure failure;
  switch (require_backend(what).wait_many(cells, count, deadline, failure)) {
    case WaitState::kReady: return true;
    case WaitState::kTimedOut: return false;
    case WaitState::kFailed: throw_failure(std::move(failure), what);
  }
  return false;
}

void require_count(std::size_t count, std::size_t refs, const char* what) {
  if (count >= 1 && count <= refs) return;
  throw_error({ErrorCode::kInvalidArgument, std::string("rayx: ") + what + ": count is " + std::to_string(count) +
                                                " of " + std::to_string(refs) +
                                                " references; it must be from 1 to their number"});
}

void kill_actor(RefCell* actor) {
  Failure failure;
  if (!require_backend_of(actor, "kill").kill_actor(actor, failure)) throw_failure(std::move(failure), "kill");
}

void check_options(const TaskOptions& options) {
  check_cpus(options.num_cpus, "TaskOptions", "task");
  check_labels(options.labels, "TaskOptions");
  if (options.max_retries >= -1) return;
  throw_error({ErrorCode::kInvalidArgument, "rayx: TaskOptions::max_retries is " + std::to_string(options.max_retries) +
                                                "; it must be 0 or more, or -1 for ever"});
}
void check_options(const ActorOptions& options) {
  check_cpus(options.num_cpus, "ActorOptions", "actor");
  check_labels(options.labels, "ActorOptions");
  const auto refuse = [](const std::string& what) {
    throw_error({ErrorCode::kInvalidArgument, "rayx: ActorOptions::" + what});
  };
  if (options.name.size() > shm::kActorNameBytesMax)
    refuse("name has " + std::to_string(options.name.size()) + " bytes; it may have " +
           std::to_string(shm::kActorNameBytesMax));
  if (options.get_if_exists && options.name.empty())
    refuse("get_if_exists is set and name is empty: there is nothing to look for");
  if (options.detached && options.name.empty())
    refuse("detached is set and name is empty: when this program has ended nobody could find the actor, or end it");
  for (const auto& [value, field] :
       {std::pair(options.max_restarts, "max_restarts"), std::pair(options.max_task_retries, "max_task_retries")})
    if (value < -1)
      refuse(std::string(field) + " is " + std::to_string(value) + "; it must be 0 or more, or -1 for ever");
}

RefCell* ask_cluster(ClusterQuestion question, const std::string& argument, const char* what) {
  Failure failure;
  RefCell* const answer = require_backend(what).ask_cluster(question, std::as_bytes(std::span(argument)), failure);
  if (answer == nullptr) throw_failure(std::move(failure), what);
  return answer;
}
RefCell* ask_for_actor(const std::string& name) { return ask_cluster(ClusterQuestion::kFindActor, name, "get_actor"); }
RefCell* ask_for_nodes() { return ask_cluster(ClusterQuestion::kListNodes, {}, "nodes"); }

std::size_t chunk_size(std::size_t items, std::size_t chunk) {
  constexpr double kTasksForEachCpu = 4;
  if (chunk > 0) return chunk;
  const double cpus = std::max(1.0, require_backend("map").cpus());
  return std::max<std::size_t>(
      1, static_cast<std::size_t>(std::ceil(static_cast<double>(items) / (cpus * kTasksForEachCpu))));
}

// ---- Arrays

ArrayBlock reserve_array(std::size_t count, std::size_t element_bytes, std::size_t element_align) {
  if (count > UINT64_MAX / 4 / element_bytes) {
    throw_error({ErrorCode::kInvalidArgument, "rayx: ArrayBuilder: " + std::to_string(count) + " elements of " +
                                                  std::to_string(element_bytes) +
                                                  " bytes are more than any memory holds"});
  }
  // As Codec<Array<T>> measures and writes it.
  codec::SizeContext sizes;
  sizes.add(sizeof(std::uint64_t));
  if (count > 0) sizes.add_run(count * element_bytes, element_align);
  Backend& backend = require_backend("ArrayBuilder");
  ArrayBlock array{{}, sizes.size() - count * element_bytes, backend.runtime()};
  Failure failure;
  if (!backend.reserve(sizes.size(), array.block, failure)) throw_failure(std::move(failure), "ArrayBuilder");
  const std::uint64_t encoded_count = count;
  std::memset(array.block.data, 0, array.data_offset);
  std::memcpy(array.block.data, &encoded_count, sizeof(encoded_count));
  return array;
}

void abandon_array(ArrayBlock& array) noexcept {
  Backend* const backend = current_backend();
  if (backend != nullptr && backend->runtime() == array.runtime) backend->abandon(array.block);
  array = {};
}

RefCell* put_array(ArrayBlock array) {
  if (array.block.data == nullptr) {
    throw_error({ErrorCode::kInvalidArgument, "rayx: put: the ArrayBuilder is empty: it was put or moved from before"});
  }
  Backend& backend = require_backend("put");
  if (backend.runtime() != array.runtime) throw_error(other_runtime_error("put"));
  Encoded value;
  value.size = array.block.size;
  value.block = array.block;
  Failure failure;
  RefCell* const cell = backend.put(value, failure);
  if (cell == nullptr) throw_failure(std::move(failure), "put");
  return cell;
}

// ---- References inside values

RefName export_name(RefCell* cell) { return require_backend_of(cell, "a reference inside a value").export_ref(cell); }

RefCell* import_name(const RefName& name, Failure& failure) noexcept {
  Backend* const backend = current_backend();
  if (backend != nullptr) return backend->import_ref(name, failure);
  failure = std::make_unique<Error>(no_runtime_error("a reference inside a value"));
  return nullptr;
}

void hold_result_refs(ExecContext& context, std::span<RefCell* const> cells) {
  context.result_refs = new RefCell*[cells.size()];
  context.result_refs_count = static_cast<std::uint32_t>(cells.size());
  std::copy(cells.begin(), cells.end(), context.result_refs);
  for (RefCell* cell : cells) count_up(cell);
}

void release_result_refs(ExecContext& context) noexcept {
  for (std::uint32_t i = 0; i < context.result_refs_count; ++i) drop_ref(context.result_refs[i]);
  delete[] context.result_refs;
  context.result_refs = nullptr;
  context.result_refs_count = 0;
  context.result.refs = {};
}

}  // namespace rayx::detail
