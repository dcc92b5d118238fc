// The parameters and the result of what can be called: functions, captureless function objects, methods.
#pragma once

#include <tuple>
#include <type_traits>
#include <utility>

namespace rayx::detail {

template <class... Ts>
struct TypeList {
  static constexpr std::size_t kSize = sizeof...(Ts);
  template <template <class...> class Target>
  using Into = Target<Ts...>;
};

template <std::size_t kIndex, class List>
struct TypeAt;
template <std::size_t kIndex, class... Ts>
struct TypeAt<kIndex, TypeList<Ts...>> : std::tuple_element<kIndex, std::tuple<Ts...>> {};

template <class F>
struct Signature {
  static constexpr bool kKnown = false;
};
template <class R, class... Ps>
struct Signature<R(Ps...)> {
  static constexpr bool kKnown = true;
  using Result = R;
  using Parameters = TypeList<Ps...>;
  using Class = void;
};
template <class R, class... Ps>
struct Signature<R(Ps...) noexcept> : Signature<R(Ps...)> {};
template <class F>
  requires std::is_function_v<F>
struct Signature<F*> : Signature<F> {};

template <class R, class C, class... Ps>
struct MethodSignature : Signature<R(Ps...)> {
  using Class = C;
};
#define RAYX_METHOD_SIGNATURE(qualifiers)  \
  template <class R, class C, class... Ps> \
  struct Signature<R (C::*)(Ps...) qualifiers> : MethodSignature<R, C, Ps...> {}
RAYX_METHOD_SIGNATURE();
RAYX_METHOD_SIGNATURE(const);
RAYX_METHOD_SIGNATURE(&);
RAYX_METHOD_SIGNATURE(const&);
RAYX_METHOD_SIGNATURE(noexcept);
RAYX_METHOD_SIGNATURE(const noexcept);
RAYX_METHOD_SIGNATURE(&noexcept);
RAYX_METHOD_SIGNATURE(const& noexcept);
#undef RAYX_METHOD_SIGNATURE

// A function object whose type is all there is to it: another process can make its own. Captureless lambdas since C++20.
template <class F>
inline constexpr bool kIsStateless = std::is_class_v<F> && std::is_empty_v<F> && std::is_default_constructible_v<F>;

template <class F>
concept HasOneCallOperator = requires { &F::operator(); };

template <class F>
concept Callable = HasOneCallOperator<F> || Signature<F>::kKnown;

}  // namespace rayx::detail
