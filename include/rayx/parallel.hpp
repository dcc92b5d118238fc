// Loops as tasks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <iterator>

#include <rayx/remote.hpp>

#pragma GCC visibility push(default)
namespace rayx {

struct ChunkOptions {
  // Items for one task. 0: so that each CPU gets about four tasks, which evens out items of different cost.
  std::size_t chunk = 0;
  TaskOptions task = {};
};

namespace detail {

std::size_t chunk_size(std::size_t items, std::size_t chunk);

// What the function is called with for parameter P: the argument itself; where P is T&&, a copy of what stays.
template <class P, class A>
decltype(auto) as_argument(A&& argument) {
  if constexpr (std::is_rvalue_reference_v<P> && std::is_lvalue_reference_v<A>) {
    return std::remove_cvref_t<A>(argument);
  } else {
    return std::forward<A>(argument);
  }
}
template <class Callee, class... Ps, class... Args>
decltype(auto) call_in_loop(TypeList<Ps...>, Args&&... args) {
  void* none = nullptr;
  return Callee::call(none, as_argument<Ps>(std::forward<Args>(args))...);
}

// The task of map: a chunk of items, and the values that were bound. Named by the callee (NameOf below). kAwaits: the items are
// references, and the function takes what they refer to.
template <class Callee, class R, bool kAwaits, class Item, class... Values>
struct MapChunk {
  auto operator()(const std::vector<Item>& items, const Values&... values) const {
    using Parameters = typename Callee::template Sig<Values..., Item>::Parameters;
    const auto call = [&](const Item& item) -> decltype(auto) {
      if constexpr (kAwaits) {
        return call_in_loop<Callee>(Parameters{}, values..., get(item));
      } else {
        return call_in_loop<Callee>(Parameters{}, values..., item);
      }
    };
    if constexpr (std::is_void_v<R>) {
      for (const Item& item : items) call(item);
    } else {
      std::vector<R> results;
      results.reserve(items.size());
      for (const Item& item : items) results.push_back(call(item));
      return results;
    }
  }
};
template <class Callee, class Index, class... Values>
struct ForChunk {
  void operator()(Index first, Index last, const Values&... values) const {
    using Parameters = typename Callee::template Sig<Values..., Index>::Parameters;
    for (Index i = first; i != last; ++i) static_cast<void>(call_in_loop<Callee>(Parameters{}, values..., i));
  }
};
template <class Callee, class R, bool kAwaits, class Item, class... Values>
struct NameOf<MapChunk<Callee, R, kAwaits, Item, Values...>> : Callee {};
template <class Callee, class Index, class... Values>
struct NameOf<ForChunk<Callee, Index, Values...>> : Callee {};

template <class Items>
concept ItemRange = requires(const Items& items) {
                      *std::begin(items);
                      std::begin(items) != std::end(items);
                    };
template <class Items>
struct ItemOfRange {
  using Type = void;
};
template <ItemRange Items>
struct ItemOfRange<Items> {
  using Type = std::remove_cvref_t<decltype(*std::begin(std::declval<const Items&>()))>;
};

template <class Parameters>
struct LastOf {
  using type = void;
};
template <class... Ps>
  requires(sizeof...(Ps) > 0)
struct LastOf<TypeList<Ps...>> : TypeAt<sizeof...(Ps) - 1, TypeList<Ps...>> {};

// The results of a function over items, in order; nothing for void.
template <class Callee, class Items, class... Bound>
struct MapCall {
  using Item = typename ItemOfRange<Items>::Type;
  static consteval Finding find() {
    if constexpr (!ItemRange<Items>) {
      return {Problem::kNotItems, 0};
    } else {
      constexpr Finding kOfCall = find_problem<Callee, Bound..., Item>();
      if constexpr (kOfCall.problem != Problem::kNone) return kOfCall;
      if constexpr (!std::is_copy_constructible_v<Item>) return {Problem::kItemsNotSent, 0};
      if constexpr (!codec::is_encodable_v<Item>) return {Problem::kItemsNotSent, 0};
      return {};
    }
  }
  static constexpr Finding kFinding = find();
  template <class Range>
  struct Result {
    using Type = void;
  };
  template <ItemRange Range>
  struct Result<Range> {
    using Type = typename CallResult<Callee, Bound..., Item>::Type::Value;
  };
  using R = typename Result<Items>::Type;
  using Results =
      std::conditional_t<std::is_void_v<R>, void, std::vector<std::conditional_t<std::is_void_v<R>, int, R>>>;

  static Results run(const Items& items, const ChunkOptions& options, const Bound&... bound) {
    using Parameter = typename LastOf<typename Callee::template Sig<Bound..., Item>::Parameters>::type;
    using Chunk = MapChunk<Callee, R, Passing<Parameter, Item>::kIsDependency, Item, Awaited<Bound>...>;
    auto at = std::begin(items);
    const auto end = std::end(items);
    auto left = static_cast<std::size_t>(std::distance(at, end));
    const std::size_t all = left;
    const std::size_t chunk = chunk_size(all, options.chunk);
    std::vector<ObjectRef<Results>> parts;
    while (left > 0) {
      const std::size_t count = std::min(left, chunk);
      std::vector<Item> part;
      part.reserve(count);
      for (std::size_t i = 0; i < count; ++i, ++at) part.push_back(*at);
      parts.push_back(remote(Chunk{}, options.task, part, bound...));
      left -= count;
    }
    if constexpr (std::is_void_v<R>) {
      get(parts);
    } else {
      Results results;
      results.reserve(all);
      for (auto& part : parts) {
        Results values = get(part);
        std::move(values.begin(), values.end(), std::back_inserter(results));
        part = {};
      }
      return results;
    }
  }
};

// Distances between indices, and indices at a distance, in an unsigned type: in Index itself INT_MAX - INT_MIN overflows.
template <class Index>
constexpr std::uint64_t index_count(Index first, Index last) {
  return first < last ? static_cast<std::uint64_t>(last) - static_cast<std::uint64_t>(first) : 0;
}
template <class Index>
constexpr Index index_at(Index first, std::uint64_t distance) {
  return static_cast<Index>(static_cast<std::uint64_t>(first) + distance);
}
// Calls use(first, last) for each chunk, in order.
template <class Index, class Use>
constexpr void split_indices(Index first, Index last, std::uint64_t chunk, const Use& use) {
  const std::uint64_t count = index_count(first, last);
  for (std::uint64_t at = 0; at < count;) {
    const std::uint64_t next = at + std::min(chunk, count - at);
    use(index_at(first, at), index_at(first, next));
    at = next;
  }
}

template <class T>
inline constexpr bool kIsIndex = std::is_integral_v<T> && !std::is_same_v<T, bool>;

// `i` as an Index that may have another sign. Throws where a loop would silently run from or to another number.
template <class Index, class I>
Index to_index(I i) {
  const auto index = static_cast<Index>(i);
  if constexpr (std::is_signed_v<I> && !std::is_signed_v<Index>) {
    if (i < 0) [[unlikely]]
      throw_error({ErrorCode::kInvalidArgument, "rayx: parallel_for: " + std::to_string(i) +
                                                    " does not go with the other bound, which is unsigned. Give both "
                                                    "the same signed type"});
  }
  return index;
}

// The loop of a function over [first, last), whose types may differ: parallel_for(0, values.size(), f).
template <class Callee, class First, class Last, class... Bound>
struct ForCall {
  static consteval Finding find() {
    if constexpr (!kIsIndex<First> || !kIsIndex<Last>) {
      return {Problem::kNotIndex, 0};
    } else {
      return find_problem<Callee, Bound..., std::common_type_t<First, Last>>();
    }
  }
  static constexpr Finding kFinding = find();

  static void run(First first, Last last, const ChunkOptions& options, const Bound&... bound) {
    using Index = std::common_type_t<First, Last>;
    const Index begin = to_index<Index>(first);
    const Index end = to_index<Index>(last);
    if (!(begin < end)) return;
    const std::size_t chunk = chunk_size(static_cast<std::size_t>(index_count(begin, end)), options.chunk);
    std::vector<ObjectRef<void>> parts;
    split_indices(begin, end, chunk, [&](Index from, Index to) {
      parts.push_back(remote(ForChunk<Callee, Index, Awaited<Bound>...>{}, options.task, from, to, bound...));
    });
    get(parts);
  }
};

// Whether the arguments are kCount, and perhaps options.
template <std::size_t kCount, class... Args>
consteval bool is_loop() {
  if constexpr (sizeof...(Args) == kCount + 1) {
    return std::is_convertible_v<const std::tuple_element_t<kCount, std::tuple<Args...>>&, ChunkOptions>;
  } else {
    return sizeof...(Args) == kCount;
  }
}

}  // namespace detail

// fn(item) for each item, as tasks of several items each; the results in order (nothing for void). Returns when all are done; throws the
// first error in order. fn is a function (map<fn>(items)), a captureless lambda, or bind() of one with its first values. Items are
// a vector or any other range, which is copied; of ObjectRefs each is awaited where fn takes the value.
template <auto kFunction, class Items>
auto map(const Items& items, const ChunkOptions& options = {}) {
  using Call = detail::MapCall<detail::CalleeOf<kFunction>, Items>;
  if constexpr (constexpr detail::Finding kFound = Call::kFinding; kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
    return typename Call::Results();
  } else {
    return Call::run(items, options);
  }
}
template <class F, class Items>
auto map(const F&, const Items& items, const ChunkOptions& options = {}) {
  using Call = detail::MapCall<detail::ObjectCallee<F>, Items>;
  if constexpr (constexpr detail::Finding kFound = detail::find_object_problem<F, Call>();
                kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
    if constexpr (detail::find_target_problem<F>().problem != detail::Problem::kNone) {
      return detail::AfterError();
    } else {
      return typename Call::Results();
    }
  } else {
    return Call::run(items, options);
  }
}
template <class Callee, class... Values, class Items>
auto map(const Bound<Callee, Values...>& bound, const Items& items, const ChunkOptions& options = {}) {
  using Call = detail::MapCall<Callee, Items, Values...>;
  if constexpr (constexpr detail::Finding kFound = Call::kFinding; kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
    return typename Call::Results();
  } else {
    return std::apply([&](const Values&... values) { return Call::run(items, options, values...); }, bound.values);
  }
}
// map<fn>({1, 2, 3}): braces have no type of their own.
template <auto kFunction, class Item>
auto map(std::initializer_list<Item> items, const ChunkOptions& options = {}) {
  return map<kFunction, std::initializer_list<Item>>(items, options);
}
template <class F, class Item>
auto map(const F& fn, std::initializer_list<Item> items, const ChunkOptions& options = {}) {
  return map<F, std::vector<Item>>(fn, std::vector<Item>(items), options);
}

// Other arguments give one line.
template <auto kFunction, class... Args>
  requires(!detail::is_loop<1, Args...>())
detail::AfterError map(const Args&...) {
  static_assert(sizeof...(Args) != 0, "rayx: map: argument 1 is missing: the items, as in rayx::map<function>(items)");
  static_assert(sizeof...(Args) == 0,
                "rayx: map: argument 2 is not ChunkOptions. map goes over one range of items; other values are bound: "
                "rayx::map(rayx::bind<function>(values...), items)");
  return {};
}
template <class... Args>
  requires(!detail::is_loop<2, Args...>())
detail::AfterError map(const Args&...) {
  static_assert(sizeof...(Args) != 0, "rayx: map: argument 1 is missing: the function, as in rayx::map(lambda, items)");
  static_assert(sizeof...(Args) != 1, "rayx: map: argument 2 is missing: rayx::map(lambda, items)");
  static_assert(sizeof...(Args) < 2,
                "rayx: map: argument 3 is not ChunkOptions. map goes over one range of items; other values are bound: "
                "rayx::map(rayx::bind<function>(values...), items)");
  return {};
}

// fn(i) for each i in [first, last), as tasks of several steps each. Returns when all are done; throws the first error in order. fn
// runs in other processes: it cannot write into the caller's memory. Results go through map, actors or the store.
template <auto kFunction, class First, class Last>
void parallel_for(First first, Last last, const ChunkOptions& options = {}) {
  using Call = detail::ForCall<detail::CalleeOf<kFunction>, First, Last>;
  if constexpr (constexpr detail::Finding kFound = Call::kFinding; kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
  } else {
    Call::run(first, last, options);
  }
}
template <class First, class Last, class F>
void parallel_for(First first, Last last, const F&, const ChunkOptions& options = {}) {
  using Call = detail::ForCall<detail::ObjectCallee<F>, First, Last>;
  if constexpr (constexpr detail::Finding kFound = detail::find_object_problem<F, Call>();
                kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
  } else {
    Call::run(first, last, options);
  }
}
template <class First, class Last, class Callee, class... Values>
void parallel_for(First first, Last last, const Bound<Callee, Values...>& bound, const ChunkOptions& options = {}) {
  using Call = detail::ForCall<Callee, First, Last, Values...>;
  if constexpr (constexpr detail::Finding kFound = Call::kFinding; kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
  } else {
    std::apply([&](const Values&... values) { Call::run(first, last, options, values...); }, bound.values);
  }
}
template <auto kFunction, class... Args>
  requires(!detail::is_loop<2, Args...>())
void parallel_for(const Args&...) {
  static_assert(sizeof...(Args) != 0,
                "rayx: parallel_for: argument 1 is missing: rayx::parallel_for<function>(first, last)");
  static_assert(sizeof...(Args) != 1,
                "rayx: parallel_for: argument 2 is missing: rayx::parallel_for<function>(first, last)");
  static_assert(
      sizeof...(Args) < 2,
      "rayx: parallel_for: argument 3 is not ChunkOptions: rayx::parallel_for<function>(first, last, options)");
}
template <class... Args>
  requires(!detail::is_loop<3, Args...>())
void parallel_for(const Args&...) {
  static_assert(sizeof...(Args) != 0,
                "rayx: parallel_for: argument 1 is missing: rayx::parallel_for(first, last, lambda)");
  static_assert(sizeof...(Args) != 1,
                "rayx: parallel_for: argument 2 is missing: rayx::parallel_for(first, last, lambda)");
  static_assert(sizeof...(Args) != 2,
                "rayx: parallel_for: argument 3 is missing, the function: rayx::parallel_for(first, last, lambda) or "
                "rayx::parallel_for<function>(first, last)");
  static_assert(sizeof...(Args) < 3,
                "rayx: parallel_for: argument 4 is not ChunkOptions: rayx::parallel_for(first, last, lambda, options)");
}

}  // namespace rayx
#pragma GCC visibility pop
