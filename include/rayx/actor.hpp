// Actors: objects that live in a process of their own and keep state.
#pragma once

#include <rayx/remote.hpp>

#pragma GCC visibility push(default)
namespace rayx {

namespace detail {
void check_options(const ActorOptions& options);
RefCell* ask_for_actor(const std::string& name);  // the answer is a handle, or an error

template <class T, class... Args>
struct ActorMaker {
  static consteval Finding find() {
    if constexpr (!std::is_class_v<T> || std::is_const_v<T> || std::is_volatile_v<T> || !codec::detail::Complete<T>) {
      return {Problem::kNotActorClass, 0};
    } else {
      constexpr Finding kFound = find_problem<ConstructorCallee<T>, Args...>();
      if (kFound.problem != Problem::kNone || ConstructorCallee<T>::template kMakes<Args...>) return kFound;
      return {Problem::kNotConstructible, 0};
    }
  }
  static constexpr Finding kFinding = find();
  static RefCell* make(const Args&... args) { return make_with(nullptr, args...); }
  static RefCell* make_with(const ActorOptions* options, const Args&... args) {
    return Call<ConstructorCallee<T>, Args...>::make(
        require_backend("actor"), "actor", nullptr,
        [options](Backend& backend, const TaskCall& call, Failure& failure) {
          return backend.create_actor(call, options, failure);
        },
        args...);
  }
};
template <class T, class... Args>
struct ActorMaker<T, ActorOptions, Args...> : ActorMaker<T, Args...> {
  static RefCell* make(const ActorOptions& options, const Args&... args) {
    check_options(options);
    return ActorMaker<T, Args...>::make_with(&options, args...);
  }
};

template <class T, auto kMethod>
consteval Problem problem_of_method() {
  using Sig = Signature<std::remove_const_t<decltype(kMethod)>>;
  if constexpr (!std::is_member_function_pointer_v<decltype(kMethod)> || !Sig::kKnown) {
    return Problem::kNotMethod;
  } else {
    return std::is_base_of_v<typename Sig::Class, T> ? Problem::kNone : Problem::kNotMethod;
  }
}
}  // namespace detail

// Names an actor. One pointer; copies count, moves do not. Handles may be arguments and results, alone and inside values. The actor
// ends when its last handle in any process is gone, after the calls made before, and with the process that made it: one that is to
// outlive a task or an actor is made in the driver. Calls of one caller with one handle run in the order in which they were made; a
// caller is a thread of the driver, an actor over all its calls, or one run of a task.
template <class T>
class [[nodiscard]] ActorHandle {
 public:
  ActorHandle() noexcept = default;
  explicit operator bool() const noexcept { return static_cast<bool>(ref_); }
  friend bool operator==(const ActorHandle&, const ActorHandle&) = default;

  // Calls the method and returns at once: counter.call<&Counter::add>(3). Of overloaded methods one is chosen by a cast. Inherited,
  // const and noexcept methods too. Arguments and errors as for remote(); ActorDied when the actor's process is gone.
  template <auto kMethod, class... Args>
  auto call(const Args&... args) const {
    using Callee = detail::MethodCallee<T, kMethod>;
    using Ref = typename detail::CallResult<Callee, std::decay_t<const Args>...>::Type;
    constexpr detail::Finding kFound = find<kMethod, std::decay_t<const Args>...>();
    if constexpr (kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
      return Ref();
    } else {
      detail::RefCell* const actor = detail::RefAccess::cell(ref_);
      return detail::RefAccess::adopt<Ref>(detail::Call<Callee, std::decay_t<const Args>...>::make(
          detail::require_backend_of(actor, "call"), "call", nullptr,
          [actor](detail::Backend& backend, const detail::TaskCall& call, detail::Failure& failure) {
            return backend.call_actor(actor, call, failure);
          },
          args...));
    }
  }
  template <class... Args>
  ObjectRef<void> call(const Args&...) const {
    static_assert(detail::kIsNever<detail::TypeList<Args...>>,
                  "rayx: call: argument 1 is not where the method goes: handle.call<&Class::method>(arguments...)");
    return {};
  }

 private:
  template <auto kMethod, class... Args>
  static consteval detail::Finding find() {
    if constexpr (detail::problem_of_method<T, kMethod>() != detail::Problem::kNone) {
      return {detail::problem_of_method<T, kMethod>(), 0};
    } else {
      return detail::find_problem<detail::MethodCallee<T, kMethod>, Args...>();
    }
  }
  friend struct detail::RefAccess;
  ObjectRef<void> ref_;
};

// Starts a process that makes a T from the arguments, and returns at once. What the constructor throws is thrown by the get() of
// each call, as ActorDied. An optional first argument of type ActorOptions sets the policy.
template <class T, class... Args>
ActorHandle<T> actor(const Args&... args) {
  using Maker = detail::ActorMaker<T, std::decay_t<const Args>...>;
  if constexpr (constexpr detail::Finding kFound = Maker::kFinding; kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
    return {};
  } else {
    return detail::RefAccess::adopt<ActorHandle<T>>(Maker::make(args...));
  }
}

// The living actor that was made with that ActorOptions::name by any process of the program; or else the detached one that any program
// of the cluster has made with it. Asks the cluster's head once (well
// below a millisecond in one process, a network round trip in a cluster). NotFound: there is none at present. A T that is not the
// actor's class, or another build of it: each call ends with InvalidArgument. The handle counts as others do, but for one thing: it does not keep the
// actor alive. That ends with the last handle that descends from the one that actor<T>() returned. Any thread, also inside a task.
template <class T>
ActorHandle<T> get_actor(const std::string& name) {
  static_assert(std::is_class_v<T>, "rayx: get_actor: T is not a class");
  return get(detail::RefAccess::adopt<ObjectRef<ActorHandle<T>>>(detail::ask_for_actor(name)));
}

// Ends the actor's process at once, whatever it does. Calls that are not done fail with ActorDied. Again: nothing happens.
template <class T>
void kill(const ActorHandle<T>& handle) {
  detail::kill_actor(detail::RefAccess::cell(handle));
}

namespace detail {
template <class A>
inline constexpr bool kIsActorHandle = false;
template <class T>
inline constexpr bool kIsActorHandle<ActorHandle<T>> = true;
}  // namespace detail
template <class... Args>
  requires(sizeof...(Args) != 1 || !(detail::kIsActorHandle<Args> && ...))
void kill(const Args&...) {
  static_assert(sizeof...(Args) != 0, "rayx: kill: argument 1 is missing: the ActorHandle");
  static_assert(sizeof...(Args) != 1,
                "rayx: kill: argument 1 is not an ActorHandle. A task or an object is not killed");
  static_assert(sizeof...(Args) < 2, "rayx: kill: argument 2 is one too many: kill takes one ActorHandle");
}

}  // namespace rayx

template <class T>
struct rayx::codec::Codec<rayx::ActorHandle<T>> : rayx::detail::RefCodec<rayx::ActorHandle<T>> {};
#pragma GCC visibility pop
