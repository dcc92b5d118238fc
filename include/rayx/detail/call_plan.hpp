// How the arguments of one call reach the parameters, decided at compile time; and what is wrong with the call, if anything.
#pragma once

#include <array>

#include <rayx/detail/callee.hpp>
#include <rayx/detail/values.hpp>

namespace rayx::detail {

enum class Problem {
  kNone,
  // of the callee
  kNotCallable,
  kCaptures,
  kFunctionPointer,
  kDeleted,
  kNotMethod,
  kNotConstructible,
  kNotActorClass,
  kDoesNotFit,  // a function object that is a template or overloaded
  kNotItems,
  kItemsNotSent,
  kNotIndex,
  kResultPointer,
  kResultReference,
  kResultView,
  kResultNotEncodable,
  // of one argument
  kMissing,
  kTooMany,
  kMutableReference,
  kPointer,
  kView,
  kFunctionValue,
  kNotEncodable,
  kNotConvertible,
  kOtherRef,
};

struct Finding {
  Problem problem = Problem::kNone;
  int position = 0;  // of the argument, from 1; 0: the callee itself
};

// What a function of the door returns after its one error line: converts to anything, so that the line stays the only one.
struct AfterError {
  template <class T>
  operator T() const;
};

// The codec knows more kinds than a line about a call can tell apart.
consteval Problem problem_of_encoding(codec::Problem problem) {
  switch (problem) {
    case codec::Problem::kNone: return Problem::kNone;
    case codec::Problem::kMutableReference:
    case codec::Problem::kMutableView: return Problem::kMutableReference;
    case codec::Problem::kPointer:
    case codec::Problem::kReference: return Problem::kPointer;
    case codec::Problem::kView: return Problem::kView;
    case codec::Problem::kFunction:
    case codec::Problem::kClosure: return Problem::kFunctionValue;
    default: return Problem::kNotEncodable;
  }
}

// What parameter P is decoded as when its argument has type A: the parameter's own type, or the type of the object that a
// reference names, which then converts.
template <class P, class A, class Parameter = std::remove_cvref_t<P>, class Argument = std::remove_cvref_t<A>>
struct Passing {
  static constexpr bool kIsDependency = kIsObjectRef<Argument> && !kIsObjectRef<Parameter>;
  using Decoded = Parameter;
};
template <class P, class A, class Parameter, class U>
  requires(!kIsObjectRef<Parameter>)
struct Passing<P, A, Parameter, ObjectRef<U>> {
  static constexpr bool kIsDependency = true;
  using Decoded = U;
};

// Conversions that a call allows and nobody means: a pointer as a bool, nullptr as a string. Narrowing stays allowed.
template <class Parameter, class Argument>
inline constexpr bool kIsMistake = (std::is_same_v<Parameter, bool> && std::is_pointer_v<Argument>) ||
                                   (std::is_null_pointer_v<Argument> && requires { typename Parameter::traits_type; });

template <class P, class A>
consteval Problem problem_of_argument() {
  using Parameter = std::remove_cvref_t<P>;
  using Argument = std::remove_cvref_t<A>;
  if constexpr (problem_of_encoding(codec::problem_of_parameter<P>()) != Problem::kNone) {
    return problem_of_encoding(codec::problem_of_parameter<P>());
  } else if constexpr (Passing<P, A>::kIsDependency) {
    using Value = typename Passing<P, A>::Decoded;
    if constexpr (std::is_void_v<Value>) {
      return Problem::kOtherRef;
    } else {
      return std::is_same_v<Value, Parameter> || std::is_convertible_v<Value, Parameter> ? Problem::kNone
                                                                                         : Problem::kOtherRef;
    }
  } else if constexpr (kIsObjectRef<Parameter> && kIsObjectRef<Argument>) {
    return std::is_same_v<Parameter, Argument> ? Problem::kNone : Problem::kOtherRef;
  } else {
    return codec::kIsParameterFor<P, Argument> && !kIsMistake<Parameter, Argument> ? Problem::kNone
                                                                                   : Problem::kNotConvertible;
  }
}

template <class R>
consteval Problem problem_of_result() {
  if constexpr (std::is_void_v<R>) {
    return Problem::kNone;
  } else if constexpr (std::is_reference_v<R>) {
    return Problem::kResultReference;
  } else {
    switch (problem_of_encoding(codec::problem_of<typename ResultValue<std::remove_cv_t<R>>::Type>())) {
      case Problem::kNone: return Problem::kNone;
      case Problem::kPointer: return Problem::kResultPointer;
      case Problem::kView: return Problem::kResultView;
      default: return Problem::kResultNotEncodable;
    }
  }
}

template <class Parameters, class... Args>
struct Plan;

template <class... Ps, class... Args>
  requires(sizeof...(Ps) == sizeof...(Args))
struct Plan<TypeList<Ps...>, Args...> {
  static constexpr std::size_t kDependencies = (std::size_t{0} + ... + std::size_t{Passing<Ps, Args>::kIsDependency});
  using Decoded = TypeList<typename Passing<Ps, Args>::Decoded...>;
  static consteval Finding find() {
    constexpr std::array<Problem, sizeof...(Ps) + 1> kProblems{problem_of_argument<Ps, Args>()..., Problem::kNone};
    for (std::size_t i = 0; i < sizeof...(Ps); ++i) {
      if (kProblems[i] != Problem::kNone) return {kProblems[i], static_cast<int>(i) + 1};
    }
    return {};
  }
};
template <class... Ps, class... Args>
  requires(sizeof...(Ps) != sizeof...(Args))
struct Plan<TypeList<Ps...>, Args...> {
  static consteval Finding find() {
    if (sizeof...(Args) < sizeof...(Ps)) return {Problem::kMissing, static_cast<int>(sizeof...(Args)) + 1};
    return {Problem::kTooMany, static_cast<int>(sizeof...(Ps)) + 1};
  }
};

// Everything that can be wrong with the call of Callee with Args, the first thing first.
template <class Callee, class... Args>
consteval Finding find_problem() {
  using Sig = typename Callee::template Sig<Args...>;
  if constexpr (std::is_same_v<Sig, Deleted>) {
    return {Problem::kDeleted, 0};
  } else if constexpr (!Sig::kKnown) {
    return {std::is_same_v<Sig, DoesNotFit> ? Problem::kDoesNotFit : Problem::kNotCallable, 0};
  } else {
    constexpr Finding kOfArguments = Plan<typename Sig::Parameters, Args...>::find();
    if constexpr (kOfArguments.problem != Problem::kNone) return kOfArguments;
    return {problem_of_result<typename Sig::Result>(), 0};
  }
}

}  // namespace rayx::detail
