// Tasks: functions that run in another process.
#pragma once

#include <rayx/detail/call_plan.hpp>
#include <rayx/detail/invoke.hpp>
#include <rayx/objects.hpp>

#pragma GCC visibility push(default)
namespace rayx {

// A stateless function object with its first arguments, made by bind(). Callable where it is, and the first argument of remote,
// map and parallel_for.
template <class Callee, class... Values>
struct Bound {
  std::tuple<Values...> values;
};

namespace detail {

void check_options(const TaskOptions& options);

template <class F>
inline constexpr bool kIsBound = false;
template <class Callee, class... Values>
inline constexpr bool kIsBound<Bound<Callee, Values...>> = true;

// The reference that a call of Callee returns.
template <class Callee, class... Args>
struct CallResult {
  using Type = ObjectRef<void>;
};
template <class Callee, class... Args>
  requires Callee::template
Sig<Args...>::kKnown struct CallResult<Callee, Args...> {
  using Type =
      ObjectRef<typename ResultValue<std::remove_cvref_t<typename Callee::template Sig<Args...>::Result>>::Type>;
};

template <class Callee, class... Args>
RefCell* submit(const TaskOptions* options, const Args&... args) {
  return Call<Callee, Args...>::make(
      require_backend("remote"), "remote", options,
      [](Backend& backend, const TaskCall& call, Failure& failure) { return backend.submit_task(call, failure); },
      args...);
}

// remote() with or without options in front of the arguments.
template <class Callee, class... Args>
struct TaskCaller {
  static constexpr Finding kFinding = find_problem<Callee, Args...>();
  using Ref = typename CallResult<Callee, Args...>::Type;
  static Ref call(const Args&... args) { return RefAccess::adopt<Ref>(submit<Callee>(nullptr, args...)); }
};
template <class Callee, class... Args>
struct TaskCaller<Callee, TaskOptions, Args...> {
  static constexpr Finding kFinding = find_problem<Callee, Args...>();
  using Ref = typename CallResult<Callee, Args...>::Type;
  static Ref call(const TaskOptions& options, const Args&... args) {
    check_options(options);
    return RefAccess::adopt<Ref>(submit<Callee>(&options, args...));
  }
};

template <auto kTarget>
struct CalleeOfValue {
  using Type = FunctionCallee<kTarget>;
};
template <auto kTarget>
  requires std::is_class_v<decltype(kTarget)>
struct CalleeOfValue<kTarget> {
  using Type = ObjectCallee<std::remove_const_t<decltype(kTarget)>>;
};
template <class R, class... Ps, R (*kTarget)(Ps...)>
  requires(!CanCall<kTarget, Ps...> && requires { (static_cast<Ps>(std::declval<Ps>()), ...); })
struct CalleeOfValue<kTarget> {
  using Type = DeletedCallee;
};
template <auto kTarget>
using CalleeOf = typename CalleeOfValue<kTarget>::Type;

template <class F>
consteval Finding find_target_problem() {
  if constexpr (kIsStateless<F>) return {};
  if constexpr (std::is_class_v<F>) return {Problem::kCaptures, 0};
  if constexpr (std::is_pointer_v<F>) return {Problem::kFunctionPointer, 0};
  return {Problem::kNotCallable, 0};
}

// Of the object that is called, else of the call.
template <class F, class Caller>
consteval Finding find_object_problem() {
  if constexpr (constexpr Finding kOfTarget = find_target_problem<F>(); kOfTarget.problem != Problem::kNone) {
    return kOfTarget;
  } else {
    return Caller::kFinding;
  }
}

}  // namespace detail

// Runs kFunction(args...) as a task and returns at once: remote<square>(3). kFunction is a function or a captureless lambda; of
// overloaded functions one is chosen by a cast: remote<static_cast<int (*)(int)>(f)>(3). An argument may be an ObjectRef where the
// parameter is a value: the task starts when it is ready. An optional first argument of type TaskOptions sets the policy. Waits
// only where the queue is full (QueueFull after Config::submit_timeout). What the task throws is thrown by get(). Any thread.
template <auto kFunction, class... Args>
auto remote(const Args&... args) {
  using Caller = detail::TaskCaller<detail::CalleeOf<kFunction>, std::decay_t<const Args>...>;
  if constexpr (constexpr detail::Finding kFound = Caller::kFinding; kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
    return typename Caller::Ref();
  } else {
    return Caller::call(args...);
  }
}

// The same for a captureless lambda or another stateless function object, or for what bind() returns:
// remote([](int a, int b) { return a + b; }, 1, 2).
template <class F, class... Args>
  requires(!detail::kIsBound<F> && !std::is_same_v<F, TaskOptions>)
auto remote(const F&, const Args&... args) {
  using Caller = detail::TaskCaller<detail::ObjectCallee<F>, std::decay_t<const Args>...>;
  if constexpr (constexpr detail::Finding kFound = detail::find_object_problem<std::decay_t<const F>, Caller>();
                kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
    if constexpr (detail::find_target_problem<std::decay_t<const F>>().problem != detail::Problem::kNone) {
      return ObjectRef<void>();
    } else {
      return typename Caller::Ref();
    }
  } else {
    return Caller::call(args...);
  }
}
template <class Callee, class... Values, class... Args>
auto remote(const Bound<Callee, Values...>& bound, const Args&... args) {
  using Caller = detail::TaskCaller<Callee, Values..., std::decay_t<const Args>...>;
  if constexpr (constexpr detail::Finding kFound = Caller::kFinding; kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
    return typename Caller::Ref();
  } else {
    return std::apply([&](const Values&... values) { return Caller::call(values..., args...); }, bound.values);
  }
}
template <class Callee, class... Values, class... Args>
auto remote(const Bound<Callee, Values...>& bound, const TaskOptions& options, const Args&... args) {
  using Caller = detail::TaskCaller<Callee, TaskOptions, Values..., std::decay_t<const Args>...>;
  if constexpr (constexpr detail::Finding kFound = Caller::kFinding; kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
    return typename Caller::Ref();
  } else {
    return std::apply([&](const Values&... values) { return Caller::call(options, values..., args...); }, bound.values);
  }
}

// What is called in another way gives one line.
template <class... Args>
ObjectRef<void> remote(const TaskOptions&, const Args&...) {
  static_assert(detail::kIsNever<detail::TypeList<Args...>>,
                "rayx: remote: argument 1 is TaskOptions, which come after the function: rayx::remote(lambda, options, "
                "arguments...)");
  return {};
}
template <class F, class A, class... Args>
  requires(!std::is_same_v<F, A> && !detail::kIsBound<A>)
ObjectRef<void> remote(const A&, const Args&...) {
  static_assert(std::is_same_v<F, A>,
                "rayx: remote: argument 1 is not of the type that is named before it. A task is a function or lambda: "
                "rayx::remote<function>(arguments...); for an object in a process of its own: rayx::actor<Class>"
                "(arguments...)");
  return {};
}
template <class... F>
  requires(sizeof...(F) <= 1)
ObjectRef<void> remote() {
  static_assert(sizeof...(F) > 1,
                "rayx: remote: argument 1 is missing: the function, as in rayx::remote<function>(arguments...) or "
                "rayx::remote(lambda, arguments...)");
  return {};
}

// A function together with its first arguments, to be completed by the arguments of remote or the items of map:
// map(rayx::bind<scale>(2.5), values). The values are copied into each task; bind an ObjectRef for what is large.
template <auto kFunction, class... Values>
auto bind(Values&&... values) {
  return Bound<detail::CalleeOf<kFunction>, std::decay_t<Values>...>{{std::forward<Values>(values)...}};
}
template <class F, class... Values>
auto bind(const F&, Values&&... values) {
  if constexpr (constexpr detail::Finding kFound = detail::find_target_problem<std::decay_t<const F>>();
                kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
    return detail::AfterError();
  } else
    return Bound<detail::ObjectCallee<std::decay_t<const F>>, std::decay_t<Values>...>{
        {std::forward<Values>(values)...}};
}
template <class... F>
  requires(sizeof...(F) <= 1)
detail::AfterError bind() {
  static_assert(sizeof...(F) > 1,
                "rayx: bind: argument 1 is missing: the function, as in rayx::bind<function>(values...) or "
                "rayx::bind(lambda, values...)");
  return {};
}

}  // namespace rayx
#pragma GCC visibility pop
