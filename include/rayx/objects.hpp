// put, get, wait: values into the store and out of it.
#pragma once

#include <iterator>
#include <tuple>
#include <type_traits>
#include <variant>
#include <vector>

#include <rayx/detail/call_plan.hpp>
#include <rayx/detail/values.hpp>
#include <rayx/object_ref.hpp>

namespace rayx {

namespace detail {

template <class T>
T get_from(RefCell* cell, DeadlineNs deadline, Duration timeout) {
  // Reachable for values that cannot be encoded only after a compile error elsewhere has said so.
  if constexpr (std::is_void_v<T>) {
    await_value(cell, deadline, timeout, "get");
  } else if constexpr (codec::is_encodable_v<T>) {
    const ValueView view = await_value(cell, deadline, timeout, "get");
    return decode_whole<T>(view.data, view.size, cell);
  } else {
    throw_empty("get");
  }
}

template <class T>
T get_now(RefCell* cell, Duration timeout) {
  if (cell == nullptr) [[unlikely]]
    throw_empty("get");
  Record* const record = cell->record.load(std::memory_order_relaxed);
  const std::uint32_t state = record->state.load(std::memory_order_acquire);
  if ((state & (kRecordStateMask | kRecordIsError | kRecordHasRefs)) == kRecordDoneInline) [[likely]] {
    if constexpr (std::is_void_v<T>) {
      return;
    } else if constexpr (codec::is_encodable_v<T>) {
      return decode_whole<T>(record->payload, record->size, cell);
    }
  }
  return get_from<T>(cell, timeout == kForever ? kNever : deadline_after(timeout), timeout);
}

template <class T>
using TupleElement = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
TupleElement<T> get_element(const ObjectRef<T>& ref, DeadlineNs deadline, Duration timeout) {
  if constexpr (std::is_void_v<T>) {
    get_from<void>(RefAccess::cell(ref), deadline, timeout);
    return {};
  } else {
    return get_from<T>(RefAccess::cell(ref), deadline, timeout);
  }
}

template <class T>
inline constexpr Problem kPutProblem = problem_of_encoding(codec::problem_of<T>());

// Whether A is something whose value get() waits for, and whether it is several.
template <class A>
inline constexpr bool kIsRefs = false;
template <class T>
inline constexpr bool kIsRefs<std::vector<ObjectRef<T>>> = true;
template <class... Ts>
inline constexpr bool kIsRefs<std::tuple<ObjectRef<Ts>...>> = true;
template <class A>
inline constexpr bool kIsWaitable = false;
template <class T>
inline constexpr bool kIsWaitable<std::vector<ObjectRef<T>>> = true;
template <>
inline constexpr bool kIsWaitable<std::vector<AnyRef>> = true;
template <class A>
inline constexpr bool kIsNever = false;

// The type of the object that put makes: string literals become strings.
template <class A>
using PutValue =
    std::conditional_t<std::is_same_v<std::decay_t<A>, const char*> || std::is_same_v<std::decay_t<A>, char*>,
                       std::string, std::decay_t<A>>;

// Whether get takes these: references in their forms with or without a duration, or several references.
template <class... Args>
inline constexpr bool kIsGet = sizeof...(Args) > 2 && (kIsObjectRef<Args> && ...);
template <class A>
inline constexpr bool kIsGet<A> = kIsObjectRef<A> || kIsRefs<A>;
template <class A, class B>
inline constexpr bool kIsGet<A, B> = kIsObjectRef<A> ? kIsObjectRef<B> || std::is_convertible_v<const B&, Duration>
                                                     : kIsRefs<A> && std::is_convertible_v<const B&, Duration>;
// Whether the arguments are one for which Is holds, and perhaps one that converts to Option.
template <bool kIsFirst, class Option, class... Rest>
inline constexpr bool kIsWith = kIsFirst && sizeof...(Rest) <= 1 && (std::is_convertible_v<const Rest&, Option> && ...);
// The position of the first argument that is no ObjectRef, from 1; one more than there are if all are.
template <class... Args>
consteval std::size_t first_no_ref() {
  std::size_t position = 1;
  (void)((kIsObjectRef<Args> && (++position, true)) && ...);
  return position;
}

}  // namespace detail

// Puts a value into the object store and returns its reference. Copies it once; up to 40 encoded bytes cost about 15 ns and
// touch no store. Throws OutOfMemory when the store stays full for Config::store_timeout. Any thread.
template <class A>
ObjectRef<detail::PutValue<A>> put(const A& value) {
  using Value = detail::PutValue<A>;
  if constexpr (std::is_array_v<A> && !codec::is_encodable_v<Value>) {
    static_assert(
        detail::kIsNever<A>,
        "rayx: put: argument 1 is a C array, which is passed as a pointer in C++. Use std::array or std::vector");
    return {};
  } else if constexpr (!codec::is_encodable_v<Value>) {
    using detail::Problem;
    constexpr Problem kOfValue = detail::kPutProblem<Value>;
    static_assert(
        kOfValue != Problem::kPointer,
        "rayx: put: argument 1 is or holds a pointer or reference, which means nothing in another process. Put "
        "the value");
    static_assert(kOfValue != Problem::kView,
                  "rayx: put: argument 1 is or holds a view into other memory. Put a container or rayx::Array");
    static_assert(
        kOfValue != Problem::kFunctionValue,
        "rayx: put: argument 1 is or holds a function or a lambda with captures. Put the values that it needs");
    static_assert(
        kOfValue != Problem::kNotEncodable,
        "rayx: put: argument 1 is of a class that cannot be encoded. Make it a plain aggregate, or add the function "
        "rayx_serialize(archive, value) beside it (docs/design/codec.md)");
    return {};
  } else {
    detail::Backend& backend = detail::require_backend("put");
    alignas(8) std::byte small[detail::kRecordInlineBytes];
    detail::Encoding<Value> encoding(backend, "put", small, codec::to_parameter<Value>(value));
    detail::Failure failure;
    detail::RefCell* const cell = backend.put(encoding.hand_over(), failure);
    if (cell == nullptr) [[unlikely]]
      detail::throw_failure(std::move(failure), "put");
    return detail::RefAccess::adopt<ObjectRef<Value>>(cell);
  }
}

// Other than one argument gives one line.
template <class... Args>
  requires(sizeof...(Args) != 1)
detail::AfterError put(const Args&...) {
  static_assert(sizeof...(Args) != 0, "rayx: put: argument 1 is missing: the value");
  static_assert(
      sizeof...(Args) == 0,
      "rayx: put: argument 2 is one too many: put takes one value. Put each by itself, or a std::tuple of them");
  return {};
}

// Copies nothing: the array is sealed where it was built. The builder is empty afterwards.
template <class T>
ObjectRef<Array<T>> put(ArrayBuilder<T>&& builder) {
  return detail::RefAccess::adopt<ObjectRef<Array<T>>>(detail::put_array(detail::ArrayAccess::take(builder)));
}

// Waits for `ref` and returns its value. An Array<T> is not copied: it keeps the object in the store until it is destroyed. A
// worker that waits here lends its CPU to other tasks. Throws the task's own exception if it failed (RemoteError<E>, TaskError,
// WorkerDied, ...) and TimeoutError when `timeout` has passed. Any thread. Costs a few ns when the value is there.
template <class T>
T get(const ObjectRef<T>& ref, Duration timeout = kForever) {
  return detail::get_now<T>(detail::RefAccess::cell(ref), timeout);
}

// The values of all, in order; the first error in that order is thrown. `timeout` is for all together.
template <class T>
auto get(const std::vector<ObjectRef<T>>& refs, Duration timeout = kForever) {
  const detail::DeadlineNs deadline = timeout == kForever ? detail::kNever : detail::deadline_after(timeout);
  if constexpr (std::is_void_v<T>) {
    for (const auto& ref : refs) detail::get_from<void>(detail::RefAccess::cell(ref), deadline, timeout);
  } else {
    std::vector<T> values;
    values.reserve(refs.size());
    for (const auto& ref : refs) {
      if (timeout == kForever) {
        values.push_back(detail::get_now<T>(detail::RefAccess::cell(ref), kForever));
      } else {
        values.push_back(detail::get_from<T>(detail::RefAccess::cell(ref), deadline, timeout));
      }
    }
    return values;
  }
}

// Several of different types: a tuple of the values, std::monostate for void.
template <class... Ts>
std::tuple<detail::TupleElement<Ts>...> get(const std::tuple<ObjectRef<Ts>...>& refs, Duration timeout = kForever) {
  const detail::DeadlineNs deadline = timeout == kForever ? detail::kNever : detail::deadline_after(timeout);
  return std::apply(
      [&](const ObjectRef<Ts>&... each) {
        return std::tuple<detail::TupleElement<Ts>...>{detail::get_element(each, deadline, timeout)...};
      },
      refs);
}
template <class A, class B, class... Rest>
std::tuple<detail::TupleElement<A>, detail::TupleElement<B>, detail::TupleElement<Rest>...> get(
    const ObjectRef<A>& a, const ObjectRef<B>& b, const ObjectRef<Rest>&... rest) {
  return {detail::get_element(a, detail::kNever, kForever), detail::get_element(b, detail::kNever, kForever),
          detail::get_element(rest, detail::kNever, kForever)...};
}

// Other arguments give one line.
template <class... Args>
  requires(!detail::kIsGet<Args...>)
detail::AfterError get(const Args&...) {
  constexpr std::size_t kCount = sizeof...(Args);
  if constexpr (kCount == 0) {
    static_assert(kCount != 0, "rayx: get: argument 1 is missing: give an ObjectRef");
  } else {
    constexpr std::size_t kAt = detail::first_no_ref<Args...>();
    constexpr bool kIsFirst = detail::kIsGet<std::tuple_element_t<0, std::tuple<Args...>>>;
    static_assert(kIsFirst,
                  "rayx: get: argument 1 is not an ObjectRef, nor a std::vector or std::tuple of them. Of an AnyRef "
                  "take ref.as<T>() first");
    static_assert(!kIsFirst || kCount != 2,
                  "rayx: get: argument 2 is neither a duration nor an ObjectRef. A timeout has a unit: "
                  "rayx::get(ref, std::chrono::seconds(3))");
    static_assert(!kIsFirst || kCount == 2 || kAt > 2,
                  "rayx: get: argument 2 is not an ObjectRef. For a timeout give the references together: "
                  "rayx::get(std::tuple(a, b), timeout)");
    static_assert(!kIsFirst || kCount == 2 || kAt != 3,
                  "rayx: get: argument 3 is not an ObjectRef. For a timeout give the references together: "
                  "rayx::get(std::tuple(a, b), timeout)");
    static_assert(
        !kIsFirst || kCount == 2 || kAt < 4,
        "rayx: get: argument 4 or a later one is not an ObjectRef. For a timeout give the references together: "
        "rayx::get(std::tuple(a, b), timeout)");
  }
  return {};
}

// get() with the error as a value: code and text of what would have been thrown. The reference itself must be valid.
template <class T>
Result<T> try_get(const ObjectRef<T>& ref, Duration timeout = kForever) {
  detail::RefCell* const cell = detail::RefAccess::cell(ref);
  const detail::DeadlineNs deadline = timeout == kForever ? detail::kNever : detail::deadline_after(timeout);
  Result<detail::ValueView> view = detail::try_await_value(cell, deadline, timeout, "try_get");
  if (!view) return view.error();
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return detail::decode_whole<T>(view->data, view->size, cell);
  }
}

template <class... None>
  requires(sizeof...(None) == 0)
detail::AfterError try_get() {
  static_assert(sizeof...(None) != 0, "rayx: try_get: argument 1 is missing: the ObjectRef");
  return {};
}
template <class A, class... Rest>
  requires(!detail::kIsWith<detail::kIsObjectRef<A>, Duration, Rest...>)
detail::AfterError try_get(const A&, const Rest&...) {
  static_assert(detail::kIsObjectRef<A>, "rayx: try_get: argument 1 is not an ObjectRef");
  static_assert(!detail::kIsObjectRef<A>,
                "rayx: try_get: argument 2 is not a duration, the only one after the ObjectRef. A timeout has a unit: "
                "rayx::try_get(ref, std::chrono::seconds(3))");
  return {};
}

struct WaitOptions {
  std::size_t count = 1;        // 1 to the number of references
  Duration timeout = kForever;  // 0: only look
};
template <class Ref>
struct WaitResult {
  std::vector<Ref> ready;    // at most `count`, in the order in which they were given
  std::vector<Ref> pending;  // the others, in order; may be ready too
};

// Waits until `count` of the references are ready (with a value or an error) or the timeout has passed, and splits them. Move the
// vector in: then no reference is counted or copied. Ref is ObjectRef<T>, or AnyRef for different types in one wait. Does not throw
// the tasks' errors. Any thread.
template <class Ref>
  requires detail::kIsWaitable<std::vector<Ref>>
WaitResult<Ref> wait(std::vector<Ref> refs, WaitOptions options = {}) {
  detail::require_count(options.count, refs.size(), "wait");
  WaitResult<Ref> result;
  result.ready.reserve(options.count);
  const auto split = [&] {
    auto kept = refs.begin();
    auto it = refs.begin();
    for (; it != refs.end() && result.ready.size() < options.count; ++it) {
      if (it->is_ready()) {
        result.ready.push_back(std::move(*it));
      } else {
        if (kept != it) *kept = std::move(*it);
        ++kept;
      }
    }
    if (kept != it) refs.erase(kept, it);
  };
  split();
  if (result.ready.size() < options.count) {
    std::vector<detail::RefCell*> cells;
    cells.reserve(refs.size());
    for (const Ref& ref : refs) cells.push_back(detail::RefAccess::cell(ref));
    detail::await_many(cells, options.count - result.ready.size(),
                       options.timeout == kForever ? detail::kNever : detail::deadline_after(options.timeout), "wait");
    split();
  }
  result.pending = std::move(refs);
  return result;
}

template <class... None>
  requires(sizeof...(None) == 0)
detail::AfterError wait() {
  static_assert(sizeof...(None) != 0, "rayx: wait: argument 1 is missing: a std::vector of ObjectRef<T>, or of AnyRef");
  return {};
}
template <class A, class... Rest>
  requires(!detail::kIsWith<detail::kIsWaitable<A>, WaitOptions, Rest...>)
detail::AfterError wait(const A&, const Rest&...) {
  static_assert(detail::kIsWaitable<A>,
                "rayx: wait: argument 1 is not a std::vector of ObjectRef<T>, or of AnyRef for different types: "
                "rayx::wait(std::vector{a, b})");
  static_assert(!detail::kIsWaitable<A>,
                "rayx: wait: argument 2 is not WaitOptions: rayx::wait(refs, {.count = 1, .timeout = "
                "std::chrono::seconds(3)})");
  return {};
}

// The references one by one in the order in which they become ready: for (auto& ref : rayx::as_completed(std::move(refs))). An
// input range: once through. Incrementing waits.
template <class Ref>
class AsCompleted {
 public:
  class iterator {
   public:
    using value_type = Ref;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;
    iterator() = default;
    explicit iterator(AsCompleted* range) : range_(range) { range_->advance(); }
    Ref& operator*() const noexcept { return range_->current_; }  // may be moved from
    iterator& operator++() {
      range_->advance();
      return *this;
    }
    void operator++(int) { range_->advance(); }
    friend bool operator==(const iterator& it, std::default_sentinel_t) noexcept { return it.is_at_end(); }
    bool is_at_end() const noexcept { return range_->at_end_; }

   private:
    AsCompleted* range_ = nullptr;
  };

  explicit AsCompleted(std::vector<Ref> refs) : pending_(std::move(refs)) {}
  iterator begin() { return iterator(this); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  void advance() {
    if (next_ == ready_.size()) {
      if (pending_.empty()) {
        at_end_ = true;
        return;
      }
      WaitResult<Ref> first = wait(std::move(pending_), {.count = 1});
      const std::size_t rest = first.pending.size();
      WaitResult<Ref> others;  // all that are ready by now, so that a scan serves many steps
      if (rest > 0) others = wait(std::move(first.pending), {.count = rest, .timeout = Duration::zero()});
      ready_ = std::move(first.ready);
      for (Ref& ref : others.ready) ready_.push_back(std::move(ref));
      pending_ = std::move(others.pending);
      next_ = 0;
    }
    current_ = std::move(ready_[next_++]);
  }
  std::vector<Ref> pending_;
  std::vector<Ref> ready_;
  std::size_t next_ = 0;
  Ref current_;
  bool at_end_ = false;
};
template <class Ref>
  requires detail::kIsWaitable<std::vector<Ref>>
AsCompleted<Ref> as_completed(std::vector<Ref> refs) {
  return AsCompleted<Ref>(std::move(refs));
}
template <class... None>
  requires(sizeof...(None) == 0)
std::span<AnyRef> as_completed() {
  static_assert(sizeof...(None) != 0,
                "rayx: as_completed: argument 1 is missing: a std::vector of ObjectRef<T>, or of AnyRef");
  return {};
}
template <class A, class... Rest>
  requires(!detail::kIsWaitable<A> || sizeof...(Rest) > 0)
std::span<AnyRef> as_completed(const A&, const Rest&...) {
  static_assert(
      detail::kIsWaitable<A>,
      "rayx: as_completed: argument 1 is not a std::vector of ObjectRef<T>, or of AnyRef for different types");
  static_assert(!detail::kIsWaitable<A>, "rayx: as_completed: argument 2 is one too many: it takes the references");
  return {};
}

}  // namespace rayx
