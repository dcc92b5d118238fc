// How each kind of type becomes bytes and comes back. Every Value<T> has
//   kFixed   the size of all encodings, or kNotFixed       kMin    no encoding is smaller
//   size     adds up                                       write   writes as much
//   read     reads; after a failure some T, which nobody will see
// Elements of containers have at least one byte each (a filler if need be), so that a length can be checked against what is left.
#pragma once

#include <memory>
#include <new>
#include <string>
#include <tuple>
#include <variant>

#include <rayx/detail/codec_problem.hpp>

namespace rayx::codec::detail {

inline constexpr std::size_t kNotFixed = SIZE_MAX;

template <class T, Kind = kKind<T>>
struct Value;

template <class T>
T read_value(Decoder& d) {
  return Value<T>::read(d);
}

// C arrays cannot be returned; they are read in place (read_into). Their `read` is never called.
template <class T>
using Readable = std::conditional_t<std::is_array_v<T>, void, T>;

constexpr std::size_t add_fixed(std::size_t a, std::size_t b) {
  return a == kNotFixed || b == kNotFixed ? kNotFixed : a + b;
}
template <class... Ts>
consteval std::size_t fixed_of(TypeList<Ts...>) {
  std::size_t sum = 0;
  ((sum = add_fixed(sum, Value<std::remove_cv_t<Ts>>::kFixed)), ...);
  return sum;
}
template <class... Ts>
consteval std::size_t min_of(TypeList<Ts...>) {
  return (std::size_t{0} + ... + Value<std::remove_cv_t<Ts>>::kMin);
}

// ---- Flat: the object's own bytes. What not every pattern of bytes may be is checked on the way in.

template <class T>
consteval bool needs_check() {
  if constexpr (std::is_same_v<T, bool> || kIsBitset<T>) {
    return true;
  } else if constexpr (std::is_array_v<T>) {
    return needs_check<std::remove_cv_t<std::remove_all_extents_t<T>>>();
  } else if constexpr (kIsStdArray<T>) {
    return needs_check<std::remove_cv_t<typename T::value_type>>();
  } else if constexpr (kIsPlainAggregate<T> && !std::is_empty_v<T>) {
    return []<class... Ms>(TypeList<Ms...>) { return (needs_check<std::remove_cv_t<Ms>>() || ...); }(MemberTypes<T>{});
  } else {
    return false;
  }
}

// The value is looked at as bytes: a bool that is neither must not be read as one.
template <class T>
bool is_valid(const T& value) {
  if constexpr (!needs_check<T>()) {
    return true;
  } else if constexpr (std::is_same_v<T, bool>) {
    unsigned char byte;
    std::memcpy(&byte, &value, 1);
    return byte <= 1;
  } else if constexpr (kIsBitset<T>) {
    return value == T(value).flip().flip();  // flip clears the bits beyond the last
  } else if constexpr (std::is_array_v<T> || kIsStdArray<T>) {
    for (const auto& element : value) {
      if (!is_valid(element)) return false;
    }
    return true;
  } else {
    return Members<kMembers<T>>::visit(value, [](const auto&... members) { return (is_valid(members) && ...); });
  }
}

// T from its bytes; for types without a default constructor, too.
template <class T>
T from_bytes(const std::byte* from) {
  if constexpr (std::is_trivially_default_constructible_v<T> && !std::is_const_v<T>) {
    T value;
    std::memcpy(static_cast<void*>(&value), from, sizeof(T));
    return value;
  } else {
    struct Bytes {
      std::byte bytes[sizeof(T)];
    } bytes;
    std::memcpy(&bytes, from, sizeof(T));
    return __builtin_bit_cast(T, bytes);
  }
}
template <class T>
inline constexpr std::byte kZeroBytes[sizeof(T)] = {};

template <class T>
struct Value<T, Kind::kFlat> {
  static constexpr std::size_t kFixed = sizeof(T);
  static constexpr std::size_t kMin = sizeof(T);
  static void size(const T&, SizeContext& c) { c.add(sizeof(T)); }
  static void write(const T& value, Encoder& e) { e.store(value); }
  static Readable<T> read(Decoder& d) {
    const std::byte* from = d.take(sizeof(T));
    if (from == nullptr) [[unlikely]]
      return from_bytes<T>(kZeroBytes<T>);
    if constexpr (std::is_same_v<T, bool>) {
      if (std::to_integer<unsigned>(*from) > 1) [[unlikely]]
        d.fail("a bool is neither 0 nor 1");
      return std::to_integer<unsigned>(*from) == 1;
    } else if constexpr (needs_check<T>()) {
      T value = from_bytes<T>(from);
      if (!is_valid(value)) [[unlikely]] {
        d.fail("a bool is neither 0 nor 1, or a bitset has bits beyond its end");
        return from_bytes<T>(kZeroBytes<T>);
      }
      return value;
    } else {
      return from_bytes<T>(from);
    }
  }
};

// Whether the elements of a run are all values of T.
template <class T>
bool is_valid_run(const std::byte* from, std::size_t count) {
  if constexpr (std::is_same_v<T, bool>) {
    for (std::size_t i = 0; i < count; ++i) {
      if (std::to_integer<unsigned>(from[i]) > 1) return false;
    }
  } else if constexpr (needs_check<T>()) {
    for (std::size_t i = 0; i < count; ++i) {
      if (!is_valid(from_bytes<T>(from + i * sizeof(T)))) return false;
    }
  }
  return true;
}
template <class T>
bool is_aligned_for(const std::byte* from) {
  return reinterpret_cast<std::uintptr_t>(from) % alignof(T) == 0;
}

// A checked run of T where it lies; nullptr and count 0 if there is none.
template <class T>
struct Run {
  const std::byte* bytes = nullptr;
  std::size_t count = 0;
};
template <class T>
Run<T> read_run_of(Decoder& d, std::size_t count) {
  const std::byte* const bytes = d.take_run(count, sizeof(T), alignof(T));
  if (bytes == nullptr) return {};
  if (!is_valid_run<T>(bytes, count)) [[unlikely]] {
    d.fail("an element of an array is not valid: a bool is neither 0 nor 1");
    return {};
  }
  return {bytes, count};
}
template <class T>
Run<T> read_run(Decoder& d) {
  return read_run_of<T>(d, d.read_count(sizeof(T)));
}

// Containers with contiguous elements: count, padding, elements.
template <class T>
struct Value<T, Kind::kRun> {
  using Element = typename T::value_type;
  static constexpr std::size_t kFixed = kNotFixed;
  static constexpr std::size_t kMin = sizeof(std::uint64_t);
  static void size(const T& value, SizeContext& c) {
    c.add(sizeof(std::uint64_t));
    if (value.size() != 0) c.add_run(value.size() * sizeof(Element), alignof(Element));
  }
  static void write(const T& value, Encoder& e) {
    e.write_count(value.size());
    e.write_run(value.data(), value.size() * sizeof(Element), alignof(Element));
  }
  static T read(Decoder& d) {
    const Run<Element> run = read_run<Element>(d);
    if (run.bytes == nullptr) return T();
    if (is_aligned_for<Element>(run.bytes)) [[likely]] {
      const auto* const first = reinterpret_cast<const Element*>(run.bytes);
      return T(first, first + run.count);
    }
    T value;
    if constexpr (requires { value.reserve(run.count); }) value.reserve(run.count);
    for (std::size_t i = 0; i < run.count; ++i) value.push_back(from_bytes<Element>(run.bytes + i * sizeof(Element)));
    return value;
  }
};

// ---- Containers: count, elements

template <class T>
inline constexpr std::size_t kFillerBytes = Value<T>::kMin == 0 ? 1 : 0;

template <class T>
void size_element(const T& element, SizeContext& c) {
  Value<T>::size(element, c);
  c.add(kFillerBytes<T>);
}
template <class T>
void write_element(const T& element, Encoder& e) {
  Value<T>::write(element, e);
  if constexpr (kFillerBytes<T> != 0) {
    e.require(1);
    e.store(std::byte{0});
  }
}
template <class T>
T read_element(Decoder& d) {
  if constexpr (kFillerBytes<T> == 0) {
    return Value<T>::read(d);
  } else {
    T value = Value<T>::read(d);
    d.take(1);
    return value;
  }
}
template <class T>
inline constexpr std::size_t kElementFixed = add_fixed(Value<T>::kFixed, kFillerBytes<T>);

template <class C>
std::size_t count_of(const C& container) {
  if constexpr (requires { container.size(); }) {
    return container.size();
  } else {
    std::size_t count = 0;
    for (auto i = container.begin(); i != container.end(); ++i) ++count;
    return count;
  }
}

// Not more than a few times what is left is set aside before elements have been seen.
template <class Element, class C>
void reserve_some(C& container, std::size_t count, const Decoder& d) {
  if constexpr (requires { container.reserve(count); }) {
    const std::size_t plausible = 16 + 4 * d.left() / sizeof(Element);
    container.reserve(count < plausible ? count : plausible);
  }
}

// What lists, sets and their like share. Derived::insert reads one element into the container.
template <class T, class Derived>
struct Elementwise {
  using Element = std::remove_cv_t<typename T::value_type>;
  static constexpr std::size_t kFixed = kNotFixed;
  static constexpr std::size_t kMin = sizeof(std::uint64_t);
  static void size(const T& value, SizeContext& c) {
    c.add(sizeof(std::uint64_t));
    if constexpr (kElementFixed<Element> != kNotFixed && !kMayHoldRefs<Element>) {
      c.add(count_of(value) * kElementFixed<Element>);
    } else {
      if (!c.enter(kNestingCost<Element>)) return;
      for (const auto& element : value) size_element<Element>(element, c);
      c.leave(kNestingCost<Element>);
    }
  }
  static void write(const T& value, Encoder& e) {
    const std::size_t count = count_of(value);
    e.write_count(count);
    if constexpr (kElementFixed<Element> != kNotFixed) e.require(count * kElementFixed<Element>);
    for (const auto& element : value) write_element<Element>(element, e);
  }
  static T read(Decoder& d) {
    T value;
    const std::size_t count = d.read_count(Value<Element>::kMin + kFillerBytes<Element>);
    if (count == 0 || !d.enter(kNestingCost<Element>)) return value;
    reserve_some<Element>(value, count, d);
    Derived::insert_all(value, count, d);
    d.leave(kNestingCost<Element>);
    return value;
  }
};

template <class T>
struct Value<T, Kind::kSequence> : Elementwise<T, Value<T, Kind::kSequence>> {
  static void insert_all(T& value, std::size_t count, Decoder& d) {
    for (; count > 0 && !d.failed(); --count) value.push_back(read_element<typename T::value_type>(d));
  }
};
template <class T>
struct Value<T, Kind::kForwardList> : Elementwise<T, Value<T, Kind::kForwardList>> {
  static void insert_all(T& value, std::size_t count, Decoder& d) {
    auto last = value.before_begin();
    for (; count > 0 && !d.failed(); --count) last = value.insert_after(last, read_element<typename T::value_type>(d));
  }
};
// Elements come in order, so each belongs at the end; where damage has put them out of order they still go where they belong.
template <class T>
struct Value<T, Kind::kSet> : Elementwise<T, Value<T, Kind::kSet>> {
  static void insert_all(T& value, std::size_t count, Decoder& d) {
    for (; count > 0 && !d.failed(); --count) value.emplace_hint(value.end(), read_element<typename T::value_type>(d));
  }
};
template <class T>
struct Value<T, Kind::kMap> : Elementwise<T, Value<T, Kind::kMap>> {
  static void insert_all(T& value, std::size_t count, Decoder& d) {
    using Pair = std::pair<typename T::key_type, typename T::mapped_type>;
    for (; count > 0 && !d.failed(); --count) {
      // The key is read first; as function arguments the two would come in any order.
      typename T::key_type key = read_value<typename T::key_type>(d);
      typename T::mapped_type mapped = read_value<typename T::mapped_type>(d);
      if constexpr (kFillerBytes<Pair> != 0) d.take(1);
      value.emplace_hint(value.end(), std::move(key), std::move(mapped));
    }
  }
};

// Count, then the bits, eight to a byte.
template <class T>
struct Value<T, Kind::kBits> {
  static constexpr std::size_t kFixed = kNotFixed;
  static constexpr std::size_t kMin = sizeof(std::uint64_t);
  static std::size_t bytes_of(std::size_t bits) { return bits / 8 + (bits % 8 != 0); }
  static void size(const T& value, SizeContext& c) { c.add(sizeof(std::uint64_t) + bytes_of(value.size())); }
  static void write(const T& value, Encoder& e) {
    const std::size_t count = value.size();
    e.write_count(count);
    e.require(bytes_of(count));
    auto bit = value.begin();
    for (std::size_t i = 0; i < count; i += 8) {
      unsigned byte = 0;
      for (std::size_t j = 0; j < 8 && i + j < count; ++j, ++bit) byte |= static_cast<unsigned>(*bit) << j;
      e.store(static_cast<std::byte>(byte));
    }
  }
  static T read(Decoder& d) {
    const auto count = d.load<std::uint64_t>();
    if (count / 8 > d.left() || bytes_of(count) > d.left()) {
      d.fail("a length is larger than what is left");
      return T();
    }
    const std::byte* const bytes = d.take(bytes_of(count));
    T value(static_cast<std::size_t>(count));
    auto bit = value.begin();
    for (std::size_t i = 0; i < count; ++i, ++bit) *bit = (std::to_integer<unsigned>(bytes[i / 8]) >> (i % 8) & 1) != 0;
    return value;
  }
};

// As the string that it has here: char on this platform.
template <class T>
struct Value<T, Kind::kPath> {
  using Text = Value<typename T::string_type>;
  static constexpr std::size_t kFixed = kNotFixed;
  static constexpr std::size_t kMin = Text::kMin;
  static void size(const T& value, SizeContext& c) { Text::size(value.native(), c); }
  static void write(const T& value, Encoder& e) { Text::write(value.native(), e); }
  static T read(Decoder& d) { return T(Text::read(d)); }
};

// ---- A byte that says which, then the value

template <class T>
struct Value<T, Kind::kOptional> {
  using Element = std::remove_cv_t<typename T::value_type>;
  static constexpr std::size_t kFixed = kNotFixed;
  static constexpr std::size_t kMin = 1;
  static void size(const T& value, SizeContext& c) {
    c.add(1);
    if (!value.has_value() || !c.enter(kNestingCost<Element>)) return;
    Value<Element>::size(*value, c);
    c.leave(kNestingCost<Element>);
  }
  static void write(const T& value, Encoder& e) {
    e.require(1);
    e.store(static_cast<std::byte>(value.has_value()));
    if (!value.has_value()) return;
    if constexpr (Value<Element>::kFixed != kNotFixed) e.require(Value<Element>::kFixed);
    Value<Element>::write(*value, e);
  }
  static T read(Decoder& d) {
    if (!read_value<bool>(d) || !d.enter(kNestingCost<Element>)) return T();
    T value(read_value<Element>(d));
    d.leave(kNestingCost<Element>);
    return value;
  }
};

// unique_ptr, shared_ptr: the value that is pointed to, or none. Two shared_ptrs to one value become two values.
template <class T>
struct Value<T, Kind::kPointer> {
  using Element = std::remove_cv_t<typename T::element_type>;
  static constexpr std::size_t kFixed = kNotFixed;
  static constexpr std::size_t kMin = 1;
  static void size(const T& value, SizeContext& c) {
    c.add(1);
    if (value == nullptr || !c.enter(kNestingCost<Element>)) return;
    Value<Element>::size(*value, c);
    c.leave(kNestingCost<Element>);
  }
  static void write(const T& value, Encoder& e) {
    e.require(1);
    e.store(static_cast<std::byte>(value != nullptr));
    if (value == nullptr) return;
    if constexpr (Value<Element>::kFixed != kNotFixed) e.require(Value<Element>::kFixed);
    Value<Element>::write(*value, e);
  }
  static T read(Decoder& d) {
    if (!read_value<bool>(d) || !d.enter(kNestingCost<Element>)) return T();
    T value(new Element(read_value<Element>(d)));
    d.leave(kNestingCost<Element>);
    return value;
  }
};

template <class... Ts>
struct Value<std::variant<Ts...>, Kind::kVariant> {
  using T = std::variant<Ts...>;
  static_assert(sizeof...(Ts) < 256, "rayx: a std::variant of 256 or more alternatives cannot be encoded");
  static constexpr std::size_t kFixed = kNotFixed;
  static constexpr std::size_t kMin = 1;

  static void size(const T& value, SizeContext& c) {
    c.add(1);
    if (value.valueless_by_exception()) {
      c.fail("a std::variant is valueless_by_exception");
    } else if (c.enter(kNestingCost<T>)) {
      with_alternative(value, [&c]<class A>(const A& held) { Value<A>::size(held, c); });
      c.leave(kNestingCost<T>);
    }
  }
  static void write(const T& value, Encoder& e) {
    e.require(1);
    e.store(static_cast<std::uint8_t>(value.index()));
    with_alternative(value, [&e]<class A>(const A& held) {
      if constexpr (Value<A>::kFixed != kNotFixed) e.require(Value<A>::kFixed);
      Value<A>::write(held, e);
    });
  }
  static T read(Decoder& d) {
    std::size_t index = d.load<std::uint8_t>();
    if (index >= sizeof...(Ts) || !d.enter(kNestingCost<T>)) {
      d.fail("a std::variant has no such alternative");
      index = 0;
    }
    T value = read_alternative<0>(d, index);
    d.leave(kNestingCost<T>);  // unbalanced after a failure, when nobody counts
    return value;
  }

 private:
  template <std::size_t kIndex = 0, class F>
  static void with_alternative(const T& value, F&& f) {
    if constexpr (kIndex < sizeof...(Ts)) {
      if (const auto* const held = std::get_if<kIndex>(&value); held != nullptr) {
        f(*held);
      } else {
        with_alternative<kIndex + 1>(value, f);
      }
    }
  }
  template <std::size_t kIndex>
  static T read_alternative(Decoder& d, std::size_t index) {
    if constexpr (kIndex + 1 < sizeof...(Ts)) {
      if (index != kIndex) return read_alternative<kIndex + 1>(d, index);
    }
    return T(std::in_place_index<kIndex>, read_value<std::variant_alternative_t<kIndex, T>>(d));
  }
};

// ---- One after another

template <class T>
struct Value<T, Kind::kTuple> {
  using Types = typename ArgumentsOf<T>::Types;
  static constexpr std::size_t kFixed = fixed_of(Types{});
  static constexpr std::size_t kMin = min_of(Types{});
  static void size(const T& value, SizeContext& c) {
    std::apply([&c]<class... Ts>(const Ts&... members) { (Value<Ts>::size(members, c), ...); }, value);
  }
  static void write(const T& value, Encoder& e) {
    std::apply([&e]<class... Ts>(const Ts&... members) { (Value<Ts>::write(members, e), ...); }, value);
  }
  static T read(Decoder& d) { return read_members(d, Types{}); }

 private:
  template <class... Ts>
  static T read_members([[maybe_unused]] Decoder& d, TypeList<Ts...>) {
    return T{read_value<std::remove_cv_t<Ts>>(d)...};  // braces: from left to right
  }
};

// std::array and C arrays of what is not flat.
template <class T>
struct Value<T, Kind::kArray> {
  using Element = std::remove_cvref_t<decltype(std::declval<T&>()[0])>;
  static constexpr std::size_t kCount = [] {
    if constexpr (std::is_array_v<T>) {
      return std::extent_v<T>;
    } else {
      return std::tuple_size_v<T>;
    }
  }();
  static constexpr std::size_t kFixed =
      Value<Element>::kFixed == kNotFixed ? kNotFixed : kCount * Value<Element>::kFixed;
  static constexpr std::size_t kMin = kCount * Value<Element>::kMin;
  static void size(const T& value, SizeContext& c) {
    for (const Element& element : value) Value<Element>::size(element, c);
  }
  static void write(const T& value, Encoder& e) {
    for (const Element& element : value) Value<Element>::write(element, e);
  }
  static Readable<T> read(Decoder& d) { return read_elements(d, std::make_index_sequence<kCount>{}); }

 private:
  template <std::size_t... kIndex>
  static Readable<T> read_elements([[maybe_unused]] Decoder& d, std::index_sequence<kIndex...>) {
    if constexpr (kCount == 0) {
      return T{};
    } else {
      return T{{(static_cast<void>(kIndex), read_value<Element>(d))...}};
    }
  }
};

// Reads into a member that is there already.
template <class M>
void read_into(M& member, Decoder& d) {
  if constexpr (std::is_array_v<M> && kKind<M> != Kind::kFlat) {
    for (auto& element : member) read_into(element, d);
  } else if constexpr (std::is_array_v<M>) {
    const std::byte* const from = d.take(sizeof(M));
    if (from == nullptr) return;
    std::memcpy(static_cast<void*>(&member), from, sizeof(M));
    if (!is_valid(member)) [[unlikely]] {
      std::memset(static_cast<void*>(&member), 0, sizeof(M));
      d.fail("a bool is neither 0 nor 1");
    }
  } else {
    member = read_value<M>(d);
  }
}

template <class T>
struct Value<T, Kind::kAggregate> {
  using Types = MemberTypes<T>;
  static constexpr std::size_t kFixed = fixed_of(Types{});
  static constexpr std::size_t kMin = min_of(Types{});
  static void size(const T& value, SizeContext& c) {
    Members<kMembers<T>>::visit(value, [&c]<class... Ms>(const Ms&... members) { (Value<Ms>::size(members, c), ...); });
  }
  static void write(const T& value, Encoder& e) {
    Members<kMembers<T>>::visit(value,
                                [&e]<class... Ms>(const Ms&... members) { (Value<Ms>::write(members, e), ...); });
  }
  static T read(Decoder& d) {
    if constexpr (has_array_member<T>()) {
      T value = T();  // clang 15 does not survive braces here where the array has arrays
      Members<kMembers<T>>::visit(value, [&d](auto&... members) { (read_into(members, d), ...); });
      return value;
    } else {
      return read_members(d, Types{});
    }
  }

 private:
  template <class... Ms>
  static T read_members(Decoder& d, TypeList<Ms...>) {
    return T{read_value<std::remove_cv_t<Ms>>(d)...};  // in order, and straight into the members
  }
};

// ---- Classes that say themselves

template <class T>
struct Value<T, Kind::kCustom> {
  static constexpr std::size_t kFixed = [] {
    if constexpr (requires { Codec<T>::kFixedSize; }) {
      return Codec<T>::kFixedSize;
    } else {
      return kNotFixed;
    }
  }();
  static constexpr std::size_t kMin = [] {
    if constexpr (requires { Codec<T>::kMinSize; }) {
      return Codec<T>::kMinSize;
    } else {
      return kFixed == kNotFixed ? 0 : kFixed;
    }
  }();
  static void size(const T& value, SizeContext& c) { Codec<T>::size(value, c); }
  static void write(const T& value, Encoder& e) { Codec<T>::encode(value, e); }
  static T read(Decoder& d) { return Codec<T>::decode(d); }
};

// The archives that rayx_serialize is called with, one for each pass.
class SizeArchive {
 public:
  static constexpr bool kIsDecoding = false;
  explicit SizeArchive(SizeContext& context) : context_(context) {}
  template <class... Ms>
  void operator()(const Ms&... members) {
    (add(members), ...);
  }
  void fail(const char* problem) { context_.fail(problem); }

 private:
  template <class M>
  void add(const M& member) {
    if constexpr (require_none<kProblem<M>>()) Value<M>::size(member, context_);
  }
  SizeContext& context_;
};
class EncodeArchive {
 public:
  static constexpr bool kIsDecoding = false;
  explicit EncodeArchive(Encoder& encoder) : encoder_(encoder) {}
  template <class... Ms>
  void operator()(const Ms&... members) {
    (add(members), ...);
  }
  void fail(const char*) {}

 private:
  template <class M>
  void add(const M& member) {
    if constexpr (kProblem<M> == Problem::kNone) {
      if constexpr (Value<M>::kFixed != kNotFixed) encoder_.require(Value<M>::kFixed);
      Value<M>::write(member, encoder_);
    }
  }
  Encoder& encoder_;
};
class DecodeArchive {
 public:
  static constexpr bool kIsDecoding = true;
  explicit DecodeArchive(Decoder& decoder) : decoder_(decoder) {}
  template <class... Ms>
  void operator()(Ms&... members) {
    (read(members), ...);
  }
  void fail(const char* problem) { decoder_.fail(problem); }

 private:
  template <class M>
  void read(M& member) {
    if constexpr (require_none<kProblem<M>>()) read_into(member, decoder_);
  }
  Decoder& decoder_;
};

template <class T>
struct Value<T, Kind::kSerialize> {
  static constexpr std::size_t kFixed = kNotFixed;
  static constexpr std::size_t kMin = 0;
  static void size(const T& value, SizeContext& c) {
    SizeArchive archive(c);
    if (!c.enter(kNestingCost<T>)) return;
    rayx_serialize(archive, const_cast<T&>(value));
    c.leave(kNestingCost<T>);
  }
  static void write(const T& value, Encoder& e) {
    EncodeArchive archive(e);
    rayx_serialize(archive, const_cast<T&>(value));
  }
  static T read(Decoder& d) {
    if constexpr (std::is_default_constructible_v<T>) {
      T value{};
      read_members(value, d);
      return value;
    } else {
      T value(Blank{});
      read_members(value, d);
      return value;
    }
  }

 private:
  static void read_members(T& value, Decoder& d) {
    DecodeArchive archive(d);
    if (!d.enter(kNestingCost<T>)) return;
    rayx_serialize(archive, value);
    d.leave(kNestingCost<T>);
  }
};

// Views are written as the container that they look at. Only as parameters; see codec_parameter.hpp for the way back.
template <class T>
struct Value<T, Kind::kView> {
  using Element = std::remove_cv_t<typename T::value_type>;
  static constexpr std::size_t kFixed = kNotFixed;
  static constexpr std::size_t kMin = sizeof(std::uint64_t);
  static void size(const T& value, SizeContext& c) {
    c.add(sizeof(std::uint64_t));
    if (value.size() != 0) c.add_run(value.size() * sizeof(Element), alignof(Element));
  }
  static void write(const T& value, Encoder& e) {
    e.write_count(value.size());
    e.write_run(value.data(), value.size() * sizeof(Element), alignof(Element));
  }
};

}  // namespace rayx::codec::detail
