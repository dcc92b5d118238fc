// Why a type cannot be encoded: found at compile time through containers and aggregates, without an error of the compiler.
#pragma once

#include <rayx/detail/codec_kind.hpp>

namespace rayx::codec {

enum class Problem : std::uint8_t {
  kNone,
  kPointer,
  kReference,
  kView,
  kMutableView,       // a parameter std::span<T> without const
  kMutableReference,  // a parameter T&
  kFunction,
  kClosure,
  kAtomic,
  kLock,
  kStream,
  kPolymorphic,
  kPointerToArray,
  kDeleter,
  kComparator,
  kArrayMember,
  kUnion,
  kBase,
  kTooManyMembers,
  kHiddenMembers,
  kNotMovable,
  kNoDefault,
  kIncomplete,
  kVoid,
  kClass,
};

// One line, beginning with "rayx: ".
constexpr const char* message_of(Problem problem) {
  switch (problem) {
    case Problem::kNone: return nullptr;
#define RAYX_CODEC_PROBLEM(name, text) \
  case Problem::name:                  \
    return "rayx: " text;
#include <rayx/detail/codec_problem_texts.inc>
#undef RAYX_CODEC_PROBLEM
  }
  return nullptr;
}

namespace detail {

// For a class or union that has no kind.
template <class T>
consteval Problem problem_of_class() {
  if constexpr (std::is_union_v<T>) {
    return Problem::kUnion;
  } else if constexpr (is_closure<T>()) {
    return Problem::kClosure;
  } else if constexpr (PointerInside<T>) {
    return Problem::kView;
  } else if constexpr (
      requires(T & v) {
        v.lock();
        v.unlock();
      } ||
      requires(T & v) {
        v.notify_all();
        v.native_handle();
      }) {
    return Problem::kLock;
  } else if constexpr (
      requires(T & v) { v.is_lock_free(); } || requires(T & v) { v.test_and_set(); }) {
    return Problem::kAtomic;
  } else if constexpr (requires(T & v) {
                         v.rdbuf();
                         v.rdstate();
                       }) {
    return Problem::kStream;
  } else if constexpr (requires(const T& v) {
                         v.target_type();
                         static_cast<bool>(v);
                       }) {
    return Problem::kFunction;
  } else if constexpr (kIsPlainAggregate<T>) {
    if constexpr (kHasBase<T>) {
      return Problem::kBase;
    } else {
      return kMembers<T> == kMembersTooMany ? Problem::kTooManyMembers : Problem::kHiddenMembers;
    }
  } else {
    return Problem::kClass;
  }
}

template <class T>
consteval bool has_array_member() {
  return []<class... Ms>(TypeList<Ms...>) { return (std::is_array_v<Ms> || ...); }(MemberTypes<T>{});
}

// What is wrong with T itself, whatever it contains.
template <class T>
consteval Problem problem_of_outside() {
  if constexpr (kKind<T> == Kind::kNone) {
    return problem_of_class<T>();
  } else if constexpr (kKind<T> == Kind::kCustom) {
    if constexpr (requires { Codec<T>::kProblem; }) {
      return Codec<T>::kProblem;
    } else {
      return Problem::kNone;
    }
  } else if constexpr (kKind<T> == Kind::kView) {
    return Problem::kView;
  } else if constexpr (kKind<T> == Kind::kSerialize) {
    if constexpr (!std::is_move_constructible_v<T>) {
      return Problem::kNotMovable;
    } else {
      return std::is_default_constructible_v<T> || std::is_constructible_v<T, Blank> ? Problem::kNone
                                                                                     : Problem::kNoDefault;
    }
  } else if constexpr (kKind<T> == Kind::kPointer) {
    using Element = typename T::element_type;
    if constexpr (requires { typename T::deleter_type; }) {
      if (std::is_array_v<Element> || std::is_same_v<T, std::unique_ptr<Element[]>>) return Problem::kPointerToArray;
      if (!std::is_same_v<typename T::deleter_type, std::default_delete<Element>>) return Problem::kDeleter;
    }
    if constexpr (!std::is_same_v<T, std::shared_ptr<Element>> && !requires { typename T::deleter_type; }) {
      return Problem::kPointerToArray;  // shared_ptr<E[]>
    } else if constexpr (Complete<Element> && std::is_class_v<Element>) {
      return std::is_polymorphic_v<Element> && !std::is_final_v<Element> ? Problem::kPolymorphic : Problem::kNone;
    } else {
      return Problem::kNone;
    }
  } else if constexpr (kKind<T> == Kind::kSet || kKind<T> == Kind::kMap) {
    return has_stateless_functions<T>() ? Problem::kNone : Problem::kComparator;
  } else if constexpr (kKind<T> == Kind::kAggregate) {
    // Assigned to, member by member, where an array stands in the way of initialisation.
    if constexpr (has_array_member<T>() && !(std::is_default_constructible_v<T> && std::is_move_assignable_v<T>)) {
      return Problem::kArrayMember;
    } else {
      return Problem::kNone;
    }
  } else {
    return Problem::kNone;
  }
}

template <class T, class... Seen>
consteval Problem find_problem();

template <class... Seen, class... Parts>
consteval Problem find_problem_in(TypeList<Parts...>) {
  Problem first = Problem::kNone;
  (void)((first = find_problem<Parts, Seen...>(), first == Problem::kNone) && ...);
  return first;
}

// Seen: the types around T. One that contains itself (by a container or pointer) is looked at once.
template <class T, class... Seen>
consteval Problem find_problem() {
  if constexpr (std::is_const_v<T>) {
    return find_problem<std::remove_const_t<T>, Seen...>();
  } else if constexpr ((std::is_same_v<T, Seen> || ...)) {
    return Problem::kNone;
  } else if constexpr (std::is_reference_v<T>) {
    return Problem::kReference;
  } else if constexpr (std::is_void_v<T>) {
    return Problem::kVoid;
  } else if constexpr (std::is_function_v<std::remove_pointer_t<T>> || std::is_member_pointer_v<T>) {
    return Problem::kFunction;
  } else if constexpr (std::is_pointer_v<T> || std::is_null_pointer_v<T>) {
    return Problem::kPointer;
  } else if constexpr (std::is_unbounded_array_v<T> || !Complete<T>) {
    return Problem::kIncomplete;
  } else if constexpr (problem_of_outside<T>() != Problem::kNone) {
    return problem_of_outside<T>();
  } else {
    return find_problem_in<Seen..., T>(typename Parts<T>::Types{});
  }
}

template <class T>
inline constexpr Problem kProblem = find_problem<T>();

// Views that may be parameters.
template <class P>
inline constexpr bool kIsParameterView = false;
template <class T, std::size_t kExtent>
inline constexpr bool kIsParameterView<std::span<const T, kExtent>> = kIsFlat<T>;
template <class C, class Traits>
inline constexpr bool kIsParameterView<std::basic_string_view<C, Traits>> = true;

template <class P>
consteval Problem find_parameter_problem() {
  using Parameter = std::remove_cvref_t<P>;
  if constexpr (std::is_lvalue_reference_v<P> && !std::is_const_v<std::remove_reference_t<P>>) {
    return Problem::kMutableReference;
  } else if constexpr (kIsParameterView<Parameter>) {
    return Problem::kNone;
  } else if constexpr (kIsSpan<Parameter>) {
    return std::is_const_v<typename Parameter::element_type> ? Problem::kView : Problem::kMutableView;
  } else {
    return kProblem<Parameter>;
  }
}

}  // namespace detail

// kNone if values of type T can be encoded and decoded, else the first problem found inside it. Never an error by itself, but
// for what cannot be looked at without one: aggregates with anonymous unions.
template <class T>
consteval Problem problem_of() {
  return detail::kProblem<T>;
}
template <class T>
inline constexpr bool is_encodable_v = detail::kProblem<T> == Problem::kNone;

// The same for the type of a function's parameter: references to const and rvalues are looked through, and std::span<const T>
// of flat elements and std::string_view are allowed.
template <class P>
consteval Problem problem_of_parameter() {
  return detail::find_parameter_problem<P>();
}

namespace detail {

// The one error of an instantiation; the caller does nothing else if it is false.
template <Problem kProblem>
consteval bool require_none() {
#define RAYX_CODEC_PROBLEM(name, text) static_assert(kProblem != Problem::name, "rayx: " text);
#include <rayx/detail/codec_problem_texts.inc>
#undef RAYX_CODEC_PROBLEM
  return kProblem == Problem::kNone;
}

}  // namespace detail

}  // namespace rayx::codec
