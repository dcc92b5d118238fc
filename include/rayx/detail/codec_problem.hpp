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
    } else if constexpr (kMembers<T> <= kMembersMax) {
      return Problem::kUnion;
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
      if (std::is_array_v<Element> || requires(const T& v) { v[0]; }) return Problem::kPointerToArray;
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

// kNone if values of type T can be encoded and decoded, else the first problem found inside it. Never an error by itself.
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

// The one error of an instantiation; the caller does nothing else if it is false. A message has to be a literal.
// clang-format off
template <Problem kProblem>
consteval bool require_none() {
  static_assert(kProblem != Problem::kPointer, "rayx: the type is or holds a raw pointer, which means nothing in another process. Use the value, std::unique_ptr, a container or an ObjectRef");
  static_assert(kProblem != Problem::kReference, "rayx: the type is or holds a reference, which means nothing in another process. Hold the value");
  static_assert(kProblem != Problem::kView, "rayx: the type is or holds a view, iterator or reference into other memory. Hold a container or rayx::Array (a parameter itself may be std::span<const T> of plain elements, or std::string_view)");
  static_assert(kProblem != Problem::kMutableView, "rayx: the parameter is a std::span of elements that are not const: writing would change the task's copy only. Take std::span<const T>, or a container by value");
  static_assert(kProblem != Problem::kMutableReference, "rayx: the parameter is a reference that is not const: writing would change the task's copy only. Take it by value or by const reference, and return what changed");
  static_assert(kProblem != Problem::kFunction, "rayx: the type is or holds a function, which may not be at the same place in another process. Name it in the call: rayx::remote<function>(...)");
  static_assert(kProblem != Problem::kClosure, "rayx: the type is or holds a lambda with captures, which cannot be seen from outside. Pass the captured values themselves");
  static_assert(kProblem != Problem::kAtomic, "rayx: the type is or holds an atomic, which other processes would not share. Hold the plain value, or use an actor");
  static_assert(kProblem != Problem::kLock, "rayx: the type is or holds a lock, thread or condition, which other processes would not share. Keep it in an actor");
  static_assert(kProblem != Problem::kStream, "rayx: the type is or holds a stream or file, which belongs to this process. Pass the path or the contents");
  static_assert(kProblem != Problem::kPolymorphic, "rayx: the type holds a smart pointer to a class with virtual functions: the derived part would be lost. Use std::variant, or a final class");
  static_assert(kProblem != Problem::kPointerToArray, "rayx: the type holds a smart pointer to an array, which does not know its length. Use std::vector");
  static_assert(kProblem != Problem::kDeleter, "rayx: the type holds a std::unique_ptr with a deleter of its own. Use the default deleter, or pass what it was made from");
  static_assert(kProblem != Problem::kComparator, "rayx: the type holds a container whose comparator or hash has state, which would be lost. Use a class without members");
  static_assert(kProblem != Problem::kArrayMember, "rayx: the type holds a C array of non-trivial elements in a class that cannot be default-constructed and assigned. Use std::array");
  static_assert(kProblem != Problem::kUnion, "rayx: the type is or holds a union, which does not know what is in it. Use std::variant");
  static_assert(kProblem != Problem::kBase, "rayx: the type is or holds an aggregate with a base class, whose members cannot be seen. Make the base a member, or add rayx_serialize (docs/design/codec.md)");
  static_assert(kProblem != Problem::kTooManyMembers, "rayx: the type is or holds an aggregate with more than 32 members. Group them in structs, or add rayx_serialize (docs/design/codec.md)");
  static_assert(kProblem != Problem::kHiddenMembers, "rayx: the type is or holds an aggregate whose members cannot be counted. Give them default constructors, or add rayx_serialize (docs/design/codec.md)");
  static_assert(kProblem != Problem::kNotMovable, "rayx: the type is or holds a class that cannot be moved, so it cannot be returned from decoding. Hold it by std::unique_ptr");
  static_assert(kProblem != Problem::kNoDefault, "rayx: the type is or holds a class with rayx_serialize but neither a default constructor nor one that takes rayx::codec::Blank");
  static_assert(kProblem != Problem::kIncomplete, "rayx: the type is or holds a class that is only declared here, or an array without a length. Include its definition");
  static_assert(kProblem != Problem::kVoid, "rayx: the type is void, which has no value");
  static_assert(kProblem != Problem::kClass, "rayx: the type is or holds a class that the codec does not know. Make it a plain aggregate, or add the function rayx_serialize(archive, value) beside it (docs/design/codec.md)");
  return kProblem == Problem::kNone;
}
// clang-format on

}  // namespace detail

}  // namespace rayx::codec
