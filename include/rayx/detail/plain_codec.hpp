// A small codec for the door while <rayx/codec.hpp> is not there: numbers, enums, strings, vectors, maps, tuples, optional,
// unique_ptr, ObjectRef, Array and plain aggregates of up to eight of them. values.hpp is the only header that includes it.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <rayx/array.hpp>
#include <rayx/detail/array_access.hpp>
#include <rayx/errors.hpp>

namespace rayx::detail {

enum class Flaw { kNone, kPointer, kView, kUnknown };

// ---- Passes

struct SizePass {
  std::uint64_t at = 0;
  std::uint32_t refs = 0;
  void bytes(const void*, std::uint64_t count) noexcept { at += count; }
  void align(std::uint64_t to) noexcept { at = (at + to - 1) & ~(to - 1); }
  void ref(RefCell* cell) noexcept {
    at += sizeof(RefName);
    if (cell != nullptr) ++refs;
  }
};

struct WritePass {
  std::byte* out;
  Backend* backend;
  std::vector<RefCell*>* cells;  // nullptr: the size pass found no references
  std::vector<RefName>* names;
  std::uint64_t at = 0;
  void bytes(const void* from, std::uint64_t count) noexcept {
    if (count > 0) std::memcpy(out + at, from, count);
    at += count;
  }
  void align(std::uint64_t to) noexcept {
    while (at % to != 0) out[at++] = std::byte{0};
  }
  void ref(RefCell* cell) {
    RefName name;
    if (cell != nullptr) {
      name = backend->export_ref(cell);
      cells->push_back(cell);
      names->push_back(name);
    }
    bytes(&name, sizeof(name));
  }
};

struct ReadPass {
  const std::byte* in;
  std::uint64_t size;
  // Counts up and returns what keeps `in` alive; nullptr: copy.
  RefCell* (*keep)(void* context) = nullptr;
  void* context = nullptr;
  std::uint64_t at = 0;
  const std::byte* take(std::uint64_t count) {
    if (count > size - at)
      throw_error({ErrorCode::kMalformed,
                   "rayx: a value's bytes end too early; they were not made by this program or were damaged"});
    const std::byte* const there = in + at;
    at += count;
    return there;
  }
  void align(std::uint64_t to) { take((to - at % to) % to); }
  std::uint64_t count(std::uint64_t bytes_each_min) {
    std::uint64_t n;
    std::memcpy(&n, take(sizeof(n)), sizeof(n));
    if (n > (size - at) / bytes_each_min) take(UINT64_MAX);
    return n;
  }
};

// ---- Aggregates

struct AnyField {
  template <class T>
  operator T() const;
};
template <class T, std::size_t... kIndex>
consteval bool takes_fields(std::index_sequence<kIndex...>) {
  return requires { T{((void)kIndex, AnyField{})...}; };
}
template <class T, std::size_t kTry = 8>
consteval std::size_t field_count() {
  if constexpr (kTry == 0) {
    return 0;
  } else if constexpr (takes_fields<T>(std::make_index_sequence<kTry>{})) {
    return kTry;
  } else {
    return field_count<T, kTry - 1>();
  }
}
template <class T>
constexpr auto fields_of(T& value) {
  constexpr std::size_t kCount = field_count<std::remove_const_t<T>>();
  if constexpr (kCount == 0) {
    return std::tuple<>();
  } else if constexpr (kCount == 1) {
    auto& [a] = value;
    return std::tie(a);
  } else if constexpr (kCount == 2) {
    auto& [a, b] = value;
    return std::tie(a, b);
  } else if constexpr (kCount == 3) {
    auto& [a, b, c] = value;
    return std::tie(a, b, c);
  } else if constexpr (kCount == 4) {
    auto& [a, b, c, d] = value;
    return std::tie(a, b, c, d);
  } else if constexpr (kCount == 5) {
    auto& [a, b, c, d, e] = value;
    return std::tie(a, b, c, d, e);
  } else if constexpr (kCount == 6) {
    auto& [a, b, c, d, e, f] = value;
    return std::tie(a, b, c, d, e, f);
  } else if constexpr (kCount == 7) {
    auto& [a, b, c, d, e, f, g] = value;
    return std::tie(a, b, c, d, e, f, g);
  } else {
    auto& [a, b, c, d, e, f, g, h] = value;
    return std::tie(a, b, c, d, e, f, g, h);
  }
}

// ---- Types

template <class T>
struct Plain {
  static consteval Flaw flaw() {
    if constexpr (std::is_pointer_v<T> || std::is_member_pointer_v<T> || std::is_null_pointer_v<T> ||
                  std::is_function_v<T>) {
      return Flaw::kPointer;
    } else if constexpr (std::is_reference_v<T>) {
      return Flaw::kView;
    } else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
      return Flaw::kNone;
    } else if constexpr (std::is_aggregate_v<T> && !std::is_array_v<T> && !std::is_union_v<T>) {
      return []<class... Fs>(std::type_identity<std::tuple<Fs&...>>) {
        Flaw found = Flaw::kNone;
        ((found = found == Flaw::kNone ? Plain<Fs>::flaw() : found), ...);
        return found;
      }(std::type_identity<decltype(fields_of(std::declval<T&>()))>{});
    } else {
      return Flaw::kUnknown;
    }
  }
  template <class Pass>
  static void pass(Pass& out, const T& value) {
    if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
      out.align(alignof(T));
      out.bytes(&value, sizeof(T));
    } else {
      std::apply([&]<class... Fs>(const Fs&... fields) { (Plain<Fs>::pass(out, fields), ...); }, fields_of(value));
    }
  }
  static T read(ReadPass& in) {
    if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
      T value;
      in.align(alignof(T));
      std::memcpy(&value, in.take(sizeof(T)), sizeof(T));
      return value;
    } else {
      T value{};
      std::apply([&]<class... Fs>(Fs&... fields) { ((fields = Plain<Fs>::read(in)), ...); }, fields_of(value));
      return value;
    }
  }
};

template <class C>
struct PlainText {
  static consteval Flaw flaw() { return Flaw::kNone; }
  template <class Pass>
  static void pass(Pass& out, const C& text) {
    const std::uint64_t count = text.size();
    Plain<std::uint64_t>::pass(out, count);
    out.bytes(text.data(), count);
  }
  static C read(ReadPass& in) {
    in.align(8);
    const std::uint64_t count = in.count(1);
    return C(reinterpret_cast<const char*>(in.take(count)), count);
  }
};
template <>
struct Plain<std::string> : PlainText<std::string> {};
template <>
struct Plain<std::string_view> : PlainText<std::string_view> {
  static consteval Flaw flaw() { return Flaw::kView; }
};

// Elements that are bytes lie 64-byte aligned behind their count, so that vector, span and Array have the same encoding.
template <class T>
inline constexpr bool kIsFlat = std::is_arithmetic_v<T> || std::is_enum_v<T>;

template <class Range, class T>
struct PlainRange {
  static consteval Flaw flaw() { return Plain<T>::flaw(); }
  template <class Pass>
  static void pass(Pass& out, const Range& range) {
    const std::uint64_t count = range.size();
    if constexpr (kCanBeInArray<T> && !kIsBool) {
      out.align(64);
      out.bytes(&count, sizeof(count));
      out.align(64);
      out.bytes(range.data(), count * sizeof(T));
    } else {
      Plain<std::uint64_t>::pass(out, count);
      for (const T& element : range) Plain<T>::pass(out, element);
    }
  }
  static constexpr bool kIsBool = std::is_same_v<T, bool>;
  static std::pair<const T*, std::size_t> flat(ReadPass& in) {
    in.align(64);
    const std::uint64_t count = in.count(1);
    in.align(64);
    if (count > (in.size - in.at) / sizeof(T)) in.take(UINT64_MAX);
    return {reinterpret_cast<const T*>(in.take(count * sizeof(T))), count};
  }
};
template <class T>
struct Plain<std::vector<T>> : PlainRange<std::vector<T>, T> {
  using Base = PlainRange<std::vector<T>, T>;
  static std::vector<T> read(ReadPass& in) {
    if constexpr (kCanBeInArray<T> && !Base::kIsBool) {
      const auto [data, count] = Base::flat(in);
      std::vector<T> values(count);
      if (count > 0) std::memcpy(static_cast<void*>(values.data()), data, count * sizeof(T));
      return values;
    } else {
      in.align(8);
      const std::uint64_t count = in.count(1);
      std::vector<T> values;
      values.reserve(count);
      for (std::uint64_t i = 0; i < count; ++i) values.push_back(Plain<T>::read(in));
      return values;
    }
  }
};
template <class T>
struct Plain<std::span<const T>> : PlainRange<std::span<const T>, T> {
  using Base = PlainRange<std::span<const T>, T>;
  static consteval Flaw flaw() { return Flaw::kView; }
  static std::span<const T> read(ReadPass& in) {
    const auto [data, count] = Base::flat(in);
    return {data, count};
  }
};
template <class T>
struct Plain<Array<T>> : PlainRange<Array<T>, T> {
  using Base = PlainRange<Array<T>, T>;
  static Array<T> read(ReadPass& in) {
    const auto [data, count] = Base::flat(in);
    RefCell* const keep = in.keep == nullptr || count == 0 ? nullptr : in.keep(in.context);
    return ArrayAccess::make(data, count, keep);
  }
};
template <class T>
struct Plain<std::unique_ptr<T>> {
  static consteval Flaw flaw() { return Plain<T>::flaw(); }
  template <class Pass>
  static void pass(Pass& out, const std::unique_ptr<T>& pointer) {
    Plain<bool>::pass(out, pointer != nullptr);
    if (pointer) Plain<T>::pass(out, *pointer);
  }
  static std::unique_ptr<T> read(ReadPass& in) {
    return Plain<bool>::read(in) ? std::make_unique<T>(Plain<T>::read(in)) : nullptr;
  }
};
template <class T>
struct Plain<std::optional<T>> {
  static consteval Flaw flaw() { return Plain<T>::flaw(); }
  template <class Pass>
  static void pass(Pass& out, const std::optional<T>& value) {
    Plain<bool>::pass(out, value.has_value());
    if (value) Plain<T>::pass(out, *value);
  }
  static std::optional<T> read(ReadPass& in) {
    if (!Plain<bool>::read(in)) return std::nullopt;
    return Plain<T>::read(in);
  }
};
template <class... Ts>
struct PlainTuple {
  static consteval Flaw flaw() {
    Flaw found = Flaw::kNone;
    ((found = found == Flaw::kNone ? Plain<Ts>::flaw() : found), ...);
    return found;
  }
  template <class Pass, class Tuple>
  static void pass(Pass& out, const Tuple& value) {
    std::apply([&](const Ts&... fields) { (Plain<Ts>::pass(out, fields), ...); }, value);
  }
};
template <class... Ts>
struct Plain<std::tuple<Ts...>> : PlainTuple<Ts...> {
  static std::tuple<Ts...> read(ReadPass& in) { return std::tuple<Ts...>{Plain<Ts>::read(in)...}; }
};
template <class A, class B>
struct Plain<std::pair<A, B>> : PlainTuple<A, B> {
  static std::pair<A, B> read(ReadPass& in) { return std::pair<A, B>{Plain<A>::read(in), Plain<B>::read(in)}; }
};
template <class K, class V>
struct Plain<std::map<K, V>> {
  static consteval Flaw flaw() { return PlainTuple<K, V>::flaw(); }
  template <class Pass>
  static void pass(Pass& out, const std::map<K, V>& values) {
    Plain<std::uint64_t>::pass(out, values.size());
    for (const auto& [key, value] : values) {
      Plain<K>::pass(out, key);
      Plain<V>::pass(out, value);
    }
  }
  static std::map<K, V> read(ReadPass& in) {
    std::map<K, V> values;
    in.align(8);
    for (std::uint64_t left = in.count(1); left > 0; --left) {
      K key = Plain<K>::read(in);
      values.emplace(std::move(key), Plain<V>::read(in));
    }
    return values;
  }
};
template <class T>
struct PlainReference {
  static consteval Flaw flaw() { return Flaw::kNone; }
  template <class Pass>
  static void pass(Pass& out, const T& ref) {
    out.align(8);
    out.ref(RefAccess::cell(ref));
  }
  static T read(ReadPass& in) {
    RefName name;
    in.align(8);
    std::memcpy(&name, in.take(sizeof(name)), sizeof(name));
    return RefAccess::adopt<T>(import_name(name));
  }
};
template <class T>
struct Plain<ObjectRef<T>> : PlainReference<ObjectRef<T>> {};

// As a parameter itself a view is read in place; inside other values it is refused.
template <class T>
inline constexpr bool kIsParameterView = false;
template <>
inline constexpr bool kIsParameterView<std::string_view> = true;
template <class T>
inline constexpr bool kIsParameterView<std::span<const T>> = true;

template <class T, bool kParameter>
inline constexpr Flaw kFlaw = kParameter && kIsParameterView<T> ? Flaw::kNone : Plain<T>::flaw();

}  // namespace rayx::detail
