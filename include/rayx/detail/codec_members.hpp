// The members of a plain aggregate, without a macro: how many there are, their types, and each of them.
//
// Counting. `T{{}, {}, {}}` is valid for as many members as there are, C arrays and nested aggregates counting once, provided each
// can be made from {}. Where one cannot (no default constructor, a reference), values that convert to anything take the place of
// {}; there a C array takes one for each of its elements, which is found out and taken off again.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

namespace rayx::codec::detail {

inline constexpr std::size_t kMembersMax = 32;
inline constexpr std::size_t kMembersTooMany = kMembersMax + 1;
inline constexpr std::size_t kMembersUnknown = kMembersMax + 2;

template <class... Ts>
struct TypeList {};

// Only ever in unevaluated code. The values are preferred to the references because this is not const.
struct Anything {
  template <class U>
  operator U();
  template <class U>
  operator U&() const;
};
template <class T>
struct AnyBaseOf {
  template <class U>
    requires(std::is_base_of_v<U, T> && !std::is_same_v<U, T>)
  operator U();
};

// An aggregate's first elements are its bases.
template <class T>
inline constexpr bool kHasBase = requires { T{AnyBaseOf<T>{}}; };

template <class T, std::size_t kCount>
inline constexpr bool kTakesBraces = false;
// clang-format off
template <class T>
inline constexpr bool kTakesBraces<T, 1> = requires { T{{}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 2> = requires { T{{}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 3> = requires { T{{}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 4> = requires { T{{}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 5> = requires { T{{}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 6> = requires { T{{}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 7> = requires { T{{}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 8> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 9> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 10> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 11> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 12> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 13> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 14> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 15> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 16> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 17> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 18> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 19> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 20> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 21> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 22> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 23> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 24> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 25> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 26> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 27> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 28> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 29> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 30> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 31> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 32> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
template <class T>
inline constexpr bool kTakesBraces<T, 33> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; };
// clang-format on

// The same with something other than {} for the last.
template <class T, std::size_t kCount, class Last>
inline constexpr bool kTakesBracesThen = false;
// clang-format off
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 0, Last> = requires { T{Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 1, Last> = requires { T{{}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 2, Last> = requires { T{{}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 3, Last> = requires { T{{}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 4, Last> = requires { T{{}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 5, Last> = requires { T{{}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 6, Last> = requires { T{{}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 7, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 8, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 9, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 10, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 11, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 12, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 13, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 14, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 15, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 16, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 17, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 18, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 19, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 20, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 21, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 22, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 23, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 24, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 25, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 26, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 27, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 28, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 29, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 30, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 31, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
template <class T, class Last>
inline constexpr bool kTakesBracesThen<T, 32, Last> = requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, Last{}}; };
// clang-format on

template <class T, std::size_t kCount = 0>
consteval std::size_t count_braces() {
  if constexpr (kTakesBraces<T, kCount + 1>) {
    return count_braces<T, kCount + 1>();
  } else {
    return kCount;
  }
}

template <std::size_t>
using AnythingAt = Anything;

template <class T, class Before, class Inside, class After>
inline constexpr bool kTakesNested = false;
template <class T, std::size_t... kBefore, std::size_t... kInside, std::size_t... kAfter>
inline constexpr bool
    kTakesNested<T, std::index_sequence<kBefore...>, std::index_sequence<kInside...>, std::index_sequence<kAfter...>> =
        requires {
          T{AnythingAt<kBefore>{}..., {AnythingAt<kInside>{}...}, AnythingAt<kAfter>{}...};
        };
// Whether T can be made from `kBefore` anythings, one braced list of `kInside`, and `kAfter` more.
template <class T, std::size_t kBefore, std::size_t kInside, std::size_t kAfter>
inline constexpr bool kTakes = kTakesNested<T, std::make_index_sequence<kBefore>, std::make_index_sequence<kInside>,
                                            std::make_index_sequence<kAfter>>;

template <class T, class Sequence>
inline constexpr bool kTakesSequence = false;
template <class T, std::size_t... kIndex>
inline constexpr bool kTakesSequence<T, std::index_sequence<kIndex...>> = requires { T{AnythingAt<kIndex>{}...}; };
template <class T, std::size_t kCount>
inline constexpr bool kTakesAnything = kTakesSequence<T, std::make_index_sequence<kCount>>;

inline constexpr std::size_t kInitializersMax = 96;

// The largest number of anythings that T takes, elements of C arrays one by one; 0 if none.
template <class T, std::size_t kCount = 1, bool kFound = false>
consteval std::size_t count_initializers() {
  if constexpr (kCount > kInitializersMax) {
    return kFound ? kInitializersMax + 1 : 0;
  } else if constexpr (kTakesAnything<T, kCount>) {
    return count_initializers<T, kCount + 1, true>();
  } else if constexpr (kFound) {
    return kCount - 1;
  } else {
    return count_initializers<T, kCount + 1, false>();
  }
}

// How many of T's kTotal initializers the member that starts at kAt takes: 1, or the elements of a C array. A list of exactly as
// many as the array has, followed by exactly what then is left, fits; with one more behind it, it fits only if the list was
// for a member that is no array.
template <class T, std::size_t kTotal, std::size_t kAt, std::size_t kElements = 2>
consteval std::size_t initializers_of_member() {
  if constexpr (kAt + kElements > kTotal) {
    return 1;
  } else if constexpr (kElements == 2 && (kTakes<T, kAt, 0, kTotal - kAt - 1> || kTakes<T, kAt, 1, kTotal - kAt - 1>)) {
    return 1;
  } else if constexpr (kTakes<T, kAt, kElements, kTotal - kAt - kElements> &&
                       !kTakes<T, kAt, kElements, kTotal - kAt - kElements + 1>) {
    return kElements;
  } else {
    return initializers_of_member<T, kTotal, kAt, kElements + 1>();
  }
}
template <class T, std::size_t kTotal, std::size_t kAt = 0, std::size_t kMembers = 0>
consteval std::size_t count_with_anything() {
  if constexpr (kAt >= kTotal) {
    return kMembers;
  } else {
    return count_with_anything<T, kTotal, kAt + initializers_of_member<T, kTotal, kAt>(), kMembers + 1>();
  }
}

template <class T, class Sequence>
inline constexpr bool kTakesMore = false;
template <class T, std::size_t... kIndex>
inline constexpr bool kTakesMore<T, std::index_sequence<kIndex...>> = requires {
                                                                        T{AnythingAt<kIndex>{}..., {}};
                                                                      };

// For an aggregate without bases: how many members, kMembersTooMany or kMembersUnknown.
template <class T>
consteval std::size_t count_members() {
  if constexpr (std::is_empty_v<T>) {
    return 0;
  } else {
    constexpr std::size_t kBraces = count_braces<T>();
    if constexpr (kBraces > kMembersMax) {
      return kMembersTooMany;
    } else if constexpr (kBraces > 0 && !kTakesBracesThen<T, kBraces, Anything>) {
      return kBraces;
    } else {
      constexpr std::size_t kTotal = count_initializers<T>();
      if constexpr (kTotal == 0 || kTotal > kInitializersMax) {
        return kMembersUnknown;
      } else if constexpr (kTakesMore<T, std::make_index_sequence<kTotal>>) {
        return kMembersUnknown;  // a member is there that Anything could not become
      } else {
        constexpr std::size_t kMembers = count_with_anything<T, kTotal>();
        return kMembers > kMembersMax ? kMembersTooMany : kMembers;
      }
    }
  }
}
template <class T>
inline constexpr std::size_t kMembers = count_members<T>();

// Whether one of the members becomes a Wanted: a type of no use but for conversions. Arrays and aggregates are looked into, by their
// first element.
template <class T, class Wanted, class Before, class After>
inline constexpr bool kTakesAt = false;
template <class T, class Wanted, std::size_t... kBefore, std::size_t... kAfter>
inline constexpr bool kTakesAt<T, Wanted, std::index_sequence<kBefore...>, std::index_sequence<kAfter...>> =
    requires {
      T{AnythingAt<kBefore>{}..., Wanted{}, AnythingAt<kAfter>{}...};
    };
template <class T, class Wanted, std::size_t kTotal, std::size_t kAt = 0>
consteval bool takes_among_anything() {
  if constexpr (kAt >= kTotal) {
    return false;
  } else if constexpr (kTakesAt<T, Wanted, std::make_index_sequence<kAt>, std::make_index_sequence<kTotal - kAt - 1>>) {
    return true;
  } else {
    return takes_among_anything<T, Wanted, kTotal, kAt + 1>();
  }
}
template <class T, class Wanted, std::size_t kAt = 0>
consteval bool takes_among_braces() {
  if constexpr (kAt >= kMembersMax) {
    return false;
  } else if constexpr (kTakesBracesThen<T, kAt, Wanted>) {
    return true;
  } else if constexpr (!kTakesBraces<T, kAt + 1>) {
    return false;
  } else {
    return takes_among_braces<T, Wanted, kAt + 1>();
  }
}
template <class T, class Wanted>
consteval bool takes_in_member() {
  if constexpr (takes_among_braces<T, Wanted>()) {
    return true;
  } else if constexpr (count_braces<T>() == kMembers<T>) {
    return false;
  } else {
    return takes_among_anything<T, Wanted, count_initializers<T>()>();
  }
}

// visit calls f with each member of a T or const T; Types names their declared types, references and arrays as they are.
template <std::size_t kCount>
struct Members;
template <>
struct Members<0> {
  template <class T, class F>
  static constexpr decltype(auto) visit(T&, F&& f) {
    return f();
  }
  template <class T>
  static TypeList<> types(T&);
};
// clang-format off
template <>
struct Members<1> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0] = value; return f(m0); }
  template <class T> static auto types(T& value) { auto& [m0] = value; return TypeList<decltype(m0)>{}; }
};
template <>
struct Members<2> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1] = value; return f(m0, m1); }
  template <class T> static auto types(T& value) { auto& [m0, m1] = value; return TypeList<decltype(m0), decltype(m1)>{}; }
};
template <>
struct Members<3> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2] = value; return f(m0, m1, m2); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2)>{}; }
};
template <>
struct Members<4> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3] = value; return f(m0, m1, m2, m3); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3)>{}; }
};
template <>
struct Members<5> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4] = value; return f(m0, m1, m2, m3, m4); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4)>{}; }
};
template <>
struct Members<6> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5] = value; return f(m0, m1, m2, m3, m4, m5); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5)>{}; }
};
template <>
struct Members<7> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6] = value; return f(m0, m1, m2, m3, m4, m5, m6); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6)>{}; }
};
template <>
struct Members<8> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7)>{}; }
};
template <>
struct Members<9> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8)>{}; }
};
template <>
struct Members<10> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9)>{}; }
};
template <>
struct Members<11> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10)>{}; }
};
template <>
struct Members<12> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11)>{}; }
};
template <>
struct Members<13> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12)>{}; }
};
template <>
struct Members<14> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13)>{}; }
};
template <>
struct Members<15> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14)>{}; }
};
template <>
struct Members<16> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15)>{}; }
};
template <>
struct Members<17> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15), decltype(m16)>{}; }
};
template <>
struct Members<18> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15), decltype(m16), decltype(m17)>{}; }
};
template <>
struct Members<19> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15), decltype(m16), decltype(m17), decltype(m18)>{}; }
};
template <>
struct Members<20> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15), decltype(m16), decltype(m17), decltype(m18), decltype(m19)>{}; }
};
template <>
struct Members<21> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15), decltype(m16), decltype(m17), decltype(m18), decltype(m19), decltype(m20)>{}; }
};
template <>
struct Members<22> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15), decltype(m16), decltype(m17), decltype(m18), decltype(m19), decltype(m20), decltype(m21)>{}; }
};
template <>
struct Members<23> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15), decltype(m16), decltype(m17), decltype(m18), decltype(m19), decltype(m20), decltype(m21), decltype(m22)>{}; }
};
template <>
struct Members<24> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15), decltype(m16), decltype(m17), decltype(m18), decltype(m19), decltype(m20), decltype(m21), decltype(m22), decltype(m23)>{}; }
};
template <>
struct Members<25> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15), decltype(m16), decltype(m17), decltype(m18), decltype(m19), decltype(m20), decltype(m21), decltype(m22), decltype(m23), decltype(m24)>{}; }
};
template <>
struct Members<26> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15), decltype(m16), decltype(m17), decltype(m18), decltype(m19), decltype(m20), decltype(m21), decltype(m22), decltype(m23), decltype(m24), decltype(m25)>{}; }
};
template <>
struct Members<27> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15), decltype(m16), decltype(m17), decltype(m18), decltype(m19), decltype(m20), decltype(m21), decltype(m22), decltype(m23), decltype(m24), decltype(m25), decltype(m26)>{}; }
};
template <>
struct Members<28> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15), decltype(m16), decltype(m17), decltype(m18), decltype(m19), decltype(m20), decltype(m21), decltype(m22), decltype(m23), decltype(m24), decltype(m25), decltype(m26), decltype(m27)>{}; }
};
template <>
struct Members<29> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15), decltype(m16), decltype(m17), decltype(m18), decltype(m19), decltype(m20), decltype(m21), decltype(m22), decltype(m23), decltype(m24), decltype(m25), decltype(m26), decltype(m27), decltype(m28)>{}; }
};
template <>
struct Members<30> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15), decltype(m16), decltype(m17), decltype(m18), decltype(m19), decltype(m20), decltype(m21), decltype(m22), decltype(m23), decltype(m24), decltype(m25), decltype(m26), decltype(m27), decltype(m28), decltype(m29)>{}; }
};
template <>
struct Members<31> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15), decltype(m16), decltype(m17), decltype(m18), decltype(m19), decltype(m20), decltype(m21), decltype(m22), decltype(m23), decltype(m24), decltype(m25), decltype(m26), decltype(m27), decltype(m28), decltype(m29), decltype(m30)>{}; }
};
template <>
struct Members<32> {
  template <class T, class F> static constexpr decltype(auto) visit(T& value, F&& f) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31] = value; return f(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31); }
  template <class T> static auto types(T& value) { auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31] = value; return TypeList<decltype(m0), decltype(m1), decltype(m2), decltype(m3), decltype(m4), decltype(m5), decltype(m6), decltype(m7), decltype(m8), decltype(m9), decltype(m10), decltype(m11), decltype(m12), decltype(m13), decltype(m14), decltype(m15), decltype(m16), decltype(m17), decltype(m18), decltype(m19), decltype(m20), decltype(m21), decltype(m22), decltype(m23), decltype(m24), decltype(m25), decltype(m26), decltype(m27), decltype(m28), decltype(m29), decltype(m30), decltype(m31)>{}; }
};
// clang-format on

template <class T>
using MemberTypes = decltype(Members<kMembers<T>>::types(std::declval<T&>()));

}  // namespace rayx::codec::detail
