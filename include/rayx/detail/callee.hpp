// What is called: a function, a stateless function object, a constructor, a method. Each callee type answers the same questions:
// its signature, its name, and how it is called in the worker.
#pragma once

#include <string>

#include <rayx/detail/backend.hpp>
#include <rayx/detail/function_name.hpp>
#include <rayx/detail/signature.hpp>
#include <rayx/object_ref.hpp>

namespace rayx::detail {

// What an argument is passed as where the parameters are not known (generic lambdas, constructors): ObjectRef<T> stands for its
// T, and a string literal is a string.
template <class T>
struct AwaitedType {
  using Type = T;
};
template <class T>
struct AwaitedType<ObjectRef<T>> {
  using Type = T;
};
template <>
struct AwaitedType<const char*> {
  using Type = std::string;
};
template <>
struct AwaitedType<char*> {
  using Type = std::string;
};
template <class A>
using Awaited = typename AwaitedType<std::decay_t<A>>::Type;

// The name of a function object in errors: its type, but for those of rayx that stand for a function of the user's.
template <class F>
struct NameOf {
  static std::string_view name() { return name_of_type<F>(); }
};

// The signature of a function object with several call operators, none of which takes the arguments.
struct DoesNotFit {
  static constexpr bool kKnown = false;
};

template <auto kFunction>
struct FunctionCallee {
  static constexpr FunctionKind kKind = FunctionKind::kTask;
  using Target = std::remove_const_t<decltype(kFunction)>;
  template <class... Args>
  using Sig = Signature<std::conditional_t<std::is_member_pointer_v<Target>, void, Target>>;
  static std::string_view name() { return name_of_value<kFunction>(); }
  template <class... Ps>
  static decltype(auto) call(void*&, Ps&&... arguments) {
    return kFunction(std::forward<Ps>(arguments)...);
  }
};

// A function that is declared with = delete: g++ 12 takes it as a template argument, and then has an error for each mention.
struct Deleted {
  static constexpr bool kKnown = false;
};
template <auto kFunction, class... Ps>
concept CanCall = requires { kFunction(std::declval<Ps>()...); };
struct DeletedCallee {
  template <class... Args>
  using Sig = Deleted;
};

template <class F>
struct ObjectCallee {
  static constexpr FunctionKind kKind = FunctionKind::kTask;
  template <class... Args>
  struct Generic {
    using Type = DoesNotFit;
  };
  template <class... Args>
    requires std::is_invocable_v<const F&, Awaited<Args>...>
  struct Generic<Args...> {
    using Type = Signature<std::invoke_result_t<const F&, Awaited<Args>...>(Awaited<Args>...)>;
  };
  template <class G, class... Args>
  struct Pick : Generic<Args...> {};
  template <HasOneCallOperator G, class... Args>
  struct Pick<G, Args...> {
    using Type = Signature<decltype(&G::operator())>;
  };
  template <class... Args>
  using Sig = typename Pick<F, Args...>::Type;
  static std::string_view name() { return NameOf<F>::name(); }
  template <class... Ps>
  static decltype(auto) call(void*&, Ps&&... arguments) {
    return F{}(std::forward<Ps>(arguments)...);
  }
};

template <class T, class... Args>
inline constexpr bool kCanMake = std::is_constructible_v<T, Args...> || requires { T{std::declval<Args>()...}; };

// Constructors have no signature: each argument is passed as the type that it has, references awaited unless T wants them.
template <class T>
struct ConstructorCallee {
  static constexpr FunctionKind kKind = FunctionKind::kActorConstructor;
  template <class... Args>
  struct Pick {
    using Type = Signature<void(Awaited<Args>...)>;
  };
  template <class... Args>
    requires(!kCanMake<T, Awaited<Args>...> && kCanMake<T, std::decay_t<Args>...>)
  struct Pick<Args...> {
    using Type = Signature<void(std::decay_t<Args>...)>;
  };
  template <class... Args>
  using Sig = typename Pick<Args...>::Type;
  template <class... Args>
  static constexpr bool kMakes = kCanMake<T, Awaited<Args>...> || kCanMake<T, std::decay_t<Args>...>;
  static std::string_view name() { return name_of_type<T>(); }
  static std::string_view class_name() { return name_of_type<T>(); }
  template <class... Ps>
  static void call(void*& instance, Ps&&... arguments) {
    if constexpr (std::is_constructible_v<T, Ps...>) {
      instance = new T(std::forward<Ps>(arguments)...);
    } else {
      instance = new T{std::forward<Ps>(arguments)...};
    }
  }
  static void destroy(void* instance) { delete static_cast<T*>(instance); }
};

template <class T, auto kMethod>
struct MethodCallee {
  static constexpr FunctionKind kKind = FunctionKind::kActorMethod;
  template <class... Args>
  using Sig = Signature<std::remove_const_t<decltype(kMethod)>>;
  static std::string_view name() { return name_of_value<kMethod>(); }
  static std::string_view class_name() { return name_of_type<T>(); }
  template <class... Ps>
  static decltype(auto) call(void*& instance, Ps&&... arguments) {
    return (static_cast<T*>(instance)->*kMethod)(std::forward<Ps>(arguments)...);
  }
};

}  // namespace rayx::detail
