// What sort of type T is to the codec. Containers are known by their shape, so that no container header is included here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include <rayx/detail/codec_members.hpp>
#include <rayx/detail/codec_stream.hpp>

namespace rayx::codec {

// The customisation point of other rooms: a specialisation says how a T becomes bytes.
//   static void size(const T&, SizeContext&);
//   static void encode(const T&, Encoder&);      writes what size() has added, and calls Encoder::require for it
//   static T decode(Decoder&);                   after Decoder::fail any T, an empty one
// and, if it applies:
//   static constexpr std::size_t kFixedSize;     encodings of all values have this size
//   static constexpr std::size_t kMinSize;       no encoding is smaller; 0 if not given
//   static constexpr bool kHoldsRefs = true;     it calls add_ref and write_ref
//   static constexpr Problem kProblem;           why T cannot be encoded after all
// It must be declared before the codec meets T.
template <class T>
struct Codec;

// A class that has no default constructor and a rayx_serialize function is decoded into T(Blank{}).
struct Blank {
  explicit Blank() = default;
};

namespace detail {

enum class Kind : std::uint8_t {
  kNone,       // cannot be encoded; codec_problem.hpp says why
  kCustom,     // Codec<T>
  kSerialize,  // rayx_serialize(archive, T&) is found by argument-dependent look-up
  kFlat,       // memcpy
  kArray,      // std::array or C array of what is not flat
  kRun,        // contiguous container of flat elements: one memcpy
  kBits,       // vector<bool>
  kSequence,   // list, deque, vector
  kForwardList,
  kSet,
  kMap,
  kOptional,
  kVariant,
  kTuple,  // and pair
  kPath,
  kPointer,  // unique_ptr, shared_ptr
  kAggregate,
  kView,  // span, string_view: as parameters only
};

template <class T>
concept Complete = requires { sizeof(T); };
template <class T>
concept HasCodec = requires { sizeof(Codec<T>); };

// Stands for the archives in the question whether there is a rayx_serialize.
struct AnyArchive {
  static constexpr bool kIsDecoding = false;
  template <class... Ts>
  void operator()(Ts&...) {}
  void fail(const char*) {}
};
template <class T>
concept HasSerialize =
    std::is_class_v<T> && requires(AnyArchive& archive, T& value) { rayx_serialize(archive, value); };

template <class T>
inline constexpr bool kIsStdArray = false;
template <class T, std::size_t kCount>
inline constexpr bool kIsStdArray<std::array<T, kCount>> = true;

template <class T>
inline constexpr bool kIsVariant = false;
template <class... Ts>
inline constexpr bool kIsVariant<std::variant<Ts...>> = true;

template <class T>
inline constexpr bool kIsTuple = false;
template <class... Ts>
inline constexpr bool kIsTuple<std::tuple<Ts...>> = true;
template <class A, class B>
inline constexpr bool kIsTuple<std::pair<A, B>> = true;

template <class T>
inline constexpr bool kIsUniquePtr = false;
template <class T, class D>
inline constexpr bool kIsUniquePtr<std::unique_ptr<T, D>> = true;
template <class T>
inline constexpr bool kIsSharedPtr = false;
template <class T>
inline constexpr bool kIsSharedPtr<std::shared_ptr<T>> = true;

template <class T>
inline constexpr bool kIsSpan = false;
template <class T, std::size_t kExtent>
inline constexpr bool kIsSpan<std::span<T, kExtent>> = true;
template <class T>
inline constexpr bool kIsStringView = false;
template <class C, class Traits>
inline constexpr bool kIsStringView<std::basic_string_view<C, Traits>> = true;

// A class template of types, itself and no class derived from one: a derived class may have members that its base's shape
// does not show.
template <class T>
inline constexpr bool kIsTemplate = false;
template <template <class...> class Template, class... Ts>
inline constexpr bool kIsTemplate<Template<Ts...>> = true;

template <class T>
concept OptionalShape = kIsTemplate<T> && requires(T& v, const T& c) {
                                            typename T::value_type;
                                            { c.has_value() } -> std::same_as<bool>;
                                            { *v } -> std::same_as<typename T::value_type&>;
                                            v.reset();
                                          } && std::is_constructible_v<T, std::in_place_t> ==
std::is_default_constructible_v<typename T::value_type> && !requires { typename T::error_type; };

template <class T>
concept PathShape = std::is_class_v<T> && requires(const T& c) {
                                            typename T::string_type;
                                            { c.native() } -> std::same_as<const typename T::string_type&>;
                                            { c.has_root_directory() } -> std::same_as<bool>;
                                          } && std::is_constructible_v<T, typename T::string_type>;

template <class T>
concept ContainerShape = kIsTemplate<T> && std::is_default_constructible_v<T> && requires(T& v, const T& c) {
                                                                                   typename T::value_type;
                                                                                   typename T::allocator_type;
                                                                                   c.begin() != c.end();
                                                                                   v.clear();
                                                                                 } && !
std::is_same_v<typename T::value_type, T>;

template <class T>
concept SequenceShape = ContainerShape<T> && requires(T& v, const T& c, typename T::value_type& e) {
                                               { c.size() } -> std::convertible_to<std::size_t>;
                                               v.push_back(std::move(e));
                                             };
template <class T>
concept ContiguousShape =
    SequenceShape<T> && requires(const T& c) {
                          { c.data() } -> std::same_as<const typename T::value_type*>;
                        } && std::is_constructible_v<T, const typename T::value_type*, const typename T::value_type*>;
template <class T>
concept BitsShape = SequenceShape<T> && std::is_same_v<typename T::value_type, bool> && requires(T& v) { v.flip(); };
template <class T>
concept ForwardListShape =
    ContainerShape<T> && requires(T& v, typename T::value_type& e) { v.insert_after(v.before_begin(), std::move(e)); };
template <class T>
concept SetShape = ContainerShape<T> && requires(T& v, const T& c, typename T::value_type& e) {
                                          typename T::key_type;
                                          { c.size() } -> std::convertible_to<std::size_t>;
                                          v.emplace_hint(c.end(), std::move(e));
                                        };
template <class T>
concept MapShape = SetShape<T> && requires { typename T::mapped_type; };

// A comparator or hash with state would be lost.
template <class F>
inline constexpr bool kIsStateless = std::is_empty_v<F> && std::is_default_constructible_v<F>;
template <class T>
consteval bool has_stateless_functions() {
  if constexpr (requires { typename T::hasher; }) {
    return kIsStateless<typename T::hasher> && kIsStateless<typename T::key_equal>;
  } else if constexpr (requires { typename T::key_compare; }) {
    return kIsStateless<typename T::key_compare>;
  } else {
    return true;
  }
}

template <class T>
inline constexpr bool kIsBitset = false;
template <template <std::size_t> class B, std::size_t kBits>
inline constexpr bool kIsBitset<B<kBits>> = requires(B<kBits> & b) {
                                              b.flip();
                                              b.to_ullong();
                                            };

template <class T>
consteval bool is_closure() {
  const std::string_view name = __PRETTY_FUNCTION__;
  return name.find("<lambda") != std::string_view::npos || name.find("(lambda at") != std::string_view::npos;
}

// Trivially copyable classes of the standard library, and their like, that hold pointers which cannot be seen from outside.
// Views of <ranges> among them: a class that can be iterated and is neither an array nor an aggregate, whose members would be seen,
// may iterate over what lies elsewhere.
template <class T>
concept PointerInside = kIsSpan<T> || kIsStringView<T> ||
                        (!std::is_aggregate_v<T> && requires(T & v) { v.begin() != v.end(); }) ||
                        requires(const T& v) {
                          typename T::type;
                          v.get();
                          v.operator typename T::type &();
                        } || requires { typename T::iterator_category; } ||
                        requires { typename T::iterator_concept; } ||
                        requires(const T& v) {
                          *v;
                          ++const_cast<T&>(v);
                        } || requires { T::from_address(nullptr); } ||
                        requires(const T& v) {
                          v.category();
                          v.message();
                        } || requires(const T& v) {
                               v.hash_code();
                               v.name();
                             } || requires(const T& v) {
                                    v.file_name();
                                    v.function_name();
                                  } || requires(const T& v) {
                                         v.begin();
                                         v.end();
                                         requires std::is_pointer_v<decltype(v.begin())>;
                                         requires sizeof(T) <= 16;
                                       };

template <class T>
consteval bool is_flat();

template <class... Ts>
consteval bool are_flat(TypeList<Ts...>) {
  return (is_flat<std::remove_cv_t<Ts>>() && ...);
}

template <class T>
inline constexpr bool kIsPlainAggregate = std::is_aggregate_v<T> && std::is_class_v<T> && !kIsStdArray<T>;

struct AnyUnion {
  template <class U>
    requires(std::is_union_v<U> && !HasCodec<U>)
  operator U();
};
// A union without a name shows its alternatives as members of the class, and no structured binding can be made then.
template <class T>
inline constexpr bool kHasUnion = takes_in_member<T, AnyUnion>();

// Whether the members of a plain aggregate can be named.
template <class T>
consteval bool has_visible_members() {
  if constexpr (std::is_empty_v<T>) {
    return true;
  } else if constexpr (kHasBase<T>) {
    return false;
  } else {
    return kMembers<T> <= kMembersMax && !kHasUnion<T>;
  }
}

// Whether a T is the bytes that it consists of: a memcpy there and back.
template <class T>
consteval bool is_flat() {
  if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
    return true;
  } else if constexpr (std::is_bounded_array_v<T>) {
    return is_flat<std::remove_cv_t<std::remove_all_extents_t<T>>>();
  } else if constexpr (!std::is_class_v<T> || !Complete<T>) {
    return false;
  } else if constexpr (HasCodec<T> || HasSerialize<T>) {
    return false;
  } else if constexpr (!std::is_trivially_copyable_v<T> || !std::is_move_constructible_v<T> || std::is_volatile_v<T>) {
    return false;
  } else if constexpr (std::is_empty_v<T>) {
    return !is_closure<T>() || std::is_default_constructible_v<T>;
  } else if constexpr (kIsStdArray<T>) {
    return is_flat<std::remove_cv_t<typename T::value_type>>();
  } else if constexpr (kIsVariant<T> || kIsTuple<T> || OptionalShape<T> || PointerInside<T>) {
    return false;
  } else if constexpr (kIsPlainAggregate<T>) {
    if constexpr (has_visible_members<T>()) {
      return are_flat(MemberTypes<T>{});
    } else {
      return false;
    }
  } else {
    return !std::is_polymorphic_v<T> && !is_closure<T>();  // its private members cannot be seen
  }
}
template <class T>
inline constexpr bool kIsFlat = is_flat<T>();

// Arrays are placed where this says; an in-place view of T needs it.
template <class T>
consteval Kind find_kind() {
  if constexpr (std::is_bounded_array_v<T>) {
    return kIsFlat<T> ? Kind::kFlat : Kind::kArray;
  } else if constexpr (!std::is_object_v<T> || !Complete<T>) {
    return Kind::kNone;
  } else if constexpr (HasCodec<T>) {
    return Kind::kCustom;
  } else if constexpr (HasSerialize<T>) {
    return Kind::kSerialize;
  } else if constexpr (kIsSpan<T> || kIsStringView<T>) {
    return Kind::kView;
  } else if constexpr (kIsFlat<T>) {
    return Kind::kFlat;
  } else if constexpr (kIsStdArray<T>) {
    return Kind::kArray;
  } else if constexpr (kIsVariant<T>) {
    return Kind::kVariant;
  } else if constexpr (kIsTuple<T>) {
    return Kind::kTuple;
  } else if constexpr (kIsUniquePtr<T> || kIsSharedPtr<T>) {
    return Kind::kPointer;
  } else if constexpr (PathShape<T>) {
    return Kind::kPath;
  } else if constexpr (OptionalShape<T>) {
    return Kind::kOptional;
  } else if constexpr (BitsShape<T>) {
    return Kind::kBits;
  } else if constexpr (MapShape<T>) {
    return Kind::kMap;
  } else if constexpr (SetShape<T>) {
    return Kind::kSet;
  } else if constexpr (ContiguousShape<T>) {
    return kIsFlat<typename T::value_type> ? Kind::kRun : Kind::kSequence;
  } else if constexpr (SequenceShape<T>) {
    return Kind::kSequence;
  } else if constexpr (ForwardListShape<T>) {
    return Kind::kForwardList;
  } else if constexpr (kIsPlainAggregate<T>) {
    return has_visible_members<T>() ? Kind::kAggregate : Kind::kNone;
  } else {
    return Kind::kNone;
  }
}
template <class T>
inline constexpr Kind kKind = find_kind<T>();

// ---- The types that a T is made of

template <class... Ts, class... Us>
TypeList<Ts..., Us...> join(TypeList<Ts...>, TypeList<Us...>);

template <class T>
struct ArgumentsOf;
template <template <class...> class Template, class... Ts>
struct ArgumentsOf<Template<Ts...>> {
  using Types = TypeList<Ts...>;
};

template <class T, Kind = kKind<T>>
struct Parts {
  using Types = TypeList<>;
};
template <class T>
struct Parts<T, Kind::kArray> {
  using Types = TypeList<std::remove_cvref_t<decltype(std::declval<T&>()[0])>>;
};
template <class T>
struct Parts<T, Kind::kSequence> {
  using Types = TypeList<typename T::value_type>;
};
template <class T>
struct Parts<T, Kind::kForwardList> : Parts<T, Kind::kSequence> {};
template <class T>
struct Parts<T, Kind::kSet> : Parts<T, Kind::kSequence> {};
template <class T>
struct Parts<T, Kind::kOptional> : Parts<T, Kind::kSequence> {};
template <class T>
struct Parts<T, Kind::kMap> {
  using Types = TypeList<typename T::key_type, typename T::mapped_type>;
};
template <class T>
struct Parts<T, Kind::kVariant> : ArgumentsOf<T> {};
template <class T>
struct Parts<T, Kind::kTuple> : ArgumentsOf<T> {};
template <class T>
struct Parts<T, Kind::kPointer> {
  using Types = TypeList<std::remove_cv_t<typename T::element_type>>;
};
template <class T>
struct Parts<T, Kind::kAggregate> {
  using Types = MemberTypes<T>;
};

// Codec<T>::kHoldsRefs anywhere inside. kSerialize: cannot be seen, so yes.
template <class T, class... Seen>
consteval bool may_hold_refs();
template <class... Seen, class... Parts>
consteval bool any_may_hold_refs(TypeList<Parts...>) {
  return (may_hold_refs<std::remove_cvref_t<Parts>, Seen...>() || ...);
}
template <class T, class... Seen>
consteval bool may_hold_refs() {
  if constexpr ((std::is_same_v<T, Seen> || ...)) {
    return false;
  } else if constexpr (kKind<T> == Kind::kCustom) {
    if constexpr (requires { Codec<T>::kHoldsRefs; }) {
      return Codec<T>::kHoldsRefs;
    } else {
      return false;
    }
  } else if constexpr (kKind<T> == Kind::kSerialize) {
    return true;
  } else {
    return any_may_hold_refs<T, Seen...>(typename Parts<T>::Types{});
  }
}

}  // namespace detail

// Whether a value of type T may contain references, so that there is anything to hear for a RefSink.
template <class T>
inline constexpr bool kMayHoldRefs = detail::may_hold_refs<std::remove_cv_t<T>>();

}  // namespace rayx::codec
