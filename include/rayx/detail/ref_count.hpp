// Counting references, and what every function of the door asks of a reference first.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include <rayx/detail/backend.hpp>

#pragma GCC visibility push(default)
namespace rayx::detail {

inline void count_up(RefCell* cell) noexcept { cell->refs.fetch_add(1, std::memory_order_relaxed); }

inline void drop_ref(RefCell* cell) noexcept {
  // With one reference left nobody else can count: no read-modify-write.
  if (cell->refs.load(std::memory_order_acquire) != 1 && cell->refs.fetch_sub(1, std::memory_order_acq_rel) != 1)
    return;
  Backend* const backend = current_backend();
  if (backend != nullptr && backend->runtime() == cell->runtime) [[likely]]
    backend->drop(cell);
}

inline bool is_ready(const RefCell* cell) noexcept {
  return is_done(cell->record.load(std::memory_order_relaxed)->state.load(std::memory_order_acquire));
}

// The only way into the private cell of ObjectRef, ActorHandle and AnyRef.
struct RefAccess {
  template <class Ref>
  static RefCell* cell(const Ref& ref) noexcept {
    if constexpr (requires { ref.ref_; }) {
      return ref.ref_.cell_;
    } else {
      return ref.cell_;
    }
  }
  template <class Ref>
  static Ref adopt(RefCell* cell) noexcept {  // takes over one count
    Ref ref;
    if constexpr (requires { ref.ref_; }) {
      ref.ref_.cell_ = cell;
    } else {
      ref.cell_ = cell;
    }
    return ref;
  }
  template <class Ref>
  static RefCell* release(Ref& ref) noexcept {
    return std::exchange(ref.cell_, nullptr);
  }
};

// ---- In the library. `what` is the door's function, for the messages.

// The runtime, or NotInitialized with what to do.
[[noreturn]] void throw_no_runtime(const char* what);
inline Backend& require_backend(const char* what) {
  Backend* const backend = current_backend();
  if (backend == nullptr) [[unlikely]]
    throw_no_runtime(what);
  return *backend;
}
// The runtime that `cell` belongs to. Throws InvalidArgument for an empty reference, NotInitialized if its runtime is gone.
Backend& require_backend_of(const RefCell* cell, const char* what);
[[noreturn]] void throw_empty(const char* what);

DeadlineNs deadline_after(Duration timeout) noexcept;
// Waits until it is done and returns its value; throws its error, TimeoutError at the deadline.
ValueView await_value(RefCell* cell, DeadlineNs deadline, Duration timeout, const char* what);
// The same without exceptions for what the world may do.
Result<ValueView> try_await_value(RefCell* cell, DeadlineNs deadline, Duration timeout, const char* what);
// Until `count` are done or the deadline has passed (then false).
bool await_many(std::span<RefCell* const> cells, std::size_t count, DeadlineNs deadline, const char* what);
void require_count(std::size_t count, std::size_t refs, const char* what);

void kill_actor(RefCell* actor);

[[noreturn]] void throw_failure(Failure failure, const char* what);

}  // namespace rayx::detail
#pragma GCC visibility pop
