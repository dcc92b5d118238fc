// Loops as tasks.
#pragma once

#include <algorithm>

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

// The task of map: a chunk of items, and the values that were bound. Named by the callee.
template <class Callee, class R, class Item, class... Values>
struct MapChunk {
  std::vector<R> operator()(const std::vector<Item>& items, const Values&... values) const {
    std::vector<R> results;
    results.reserve(items.size());
    void* none = nullptr;
    for (const Item& item : items) results.push_back(Callee::call(none, values..., item));
    return results;
  }
};
template <class Callee, class Item, class... Values>
struct MapChunk<Callee, void, Item, Values...> {
  void operator()(const std::vector<Item>& items, const Values&... values) const {
    void* none = nullptr;
    for (const Item& item : items) Callee::call(none, values..., item);
  }
};
template <class Callee, class Index, class... Values>
struct ForChunk {
  void operator()(Index first, Index last, const Values&... values) const {
    void* none = nullptr;
    for (Index i = first; i != last; ++i) static_cast<void>(Callee::call(none, values..., i));
  }
};

// The results of a function over items, in order; nothing for void.
template <class Callee, class Item, class... Bound>
struct MapCall {
  static constexpr Finding kFinding = find_problem<Callee, Bound..., Item>();
  using R = typename CallResult<Callee, Bound..., Item>::Type::Value;
  using Results = std::conditional_t<std::is_void_v<R>, void, std::vector<R>>;
};

template <class Callee, class Item, class... Bound>
auto map_chunks(const std::vector<Item>& items, const ChunkOptions& options, const Bound&... bound) {
  using R = typename MapCall<Callee, Item, Bound...>::R;
  const std::size_t chunk = chunk_size(items.size(), options.chunk);
  std::vector<decltype(remote(MapChunk<Callee, R, Item, Awaited<Bound>...>{}, options.task, items, bound...))> parts;
  for (std::size_t at = 0; at < items.size(); at += chunk) {
    const auto end = std::min(items.size(), at + chunk);
    parts.push_back(remote(MapChunk<Callee, R, Item, Awaited<Bound>...>{}, options.task,
                           std::vector<Item>(items.begin() + static_cast<std::ptrdiff_t>(at),
                                             items.begin() + static_cast<std::ptrdiff_t>(end)),
                           bound...));
  }
  if constexpr (std::is_void_v<R>) {
    get(parts);
  } else {
    std::vector<R> results;
    results.reserve(items.size());
    for (auto& part : parts) {
      std::vector<R> values = get(part);
      std::move(values.begin(), values.end(), std::back_inserter(results));
      part = {};
    }
    return results;
  }
}

template <class Callee, class Index, class... Bound>
void for_chunks(Index first, Index last, const ChunkOptions& options, const Bound&... bound) {
  if (!(first < last)) return;
  const auto count = static_cast<std::size_t>(last - first);
  const std::size_t chunk = chunk_size(count, options.chunk);
  std::vector<ObjectRef<void>> parts;
  for (std::size_t at = 0; at < count; at += chunk) {
    parts.push_back(remote(ForChunk<Callee, Index, Awaited<Bound>...>{}, options.task,
                           static_cast<Index>(first + static_cast<Index>(at)),
                           static_cast<Index>(first + static_cast<Index>(std::min(count, at + chunk))), bound...));
  }
  get(parts);
}

}  // namespace detail

// fn(item) for each item, as tasks of several items each; the results in order (nothing for void). Returns when all are done; throws the
// first error in order. fn is a function (map<fn>(items)), a captureless lambda, or bind() of one with its first values.
template <auto kFunction, class Item>
auto map(const std::vector<Item>& items, const ChunkOptions& options = {}) {
  using Call = detail::MapCall<detail::CalleeOf<kFunction>, Item>;
  if constexpr (constexpr detail::Finding kFound = Call::kFinding; kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
    return typename Call::Results();
  } else {
    return detail::map_chunks<detail::CalleeOf<kFunction>>(items, options);
  }
}
template <class F, class Item>
  requires detail::kIsStateless<F>
auto map(const F&, const std::vector<Item>& items, const ChunkOptions& options = {}) {
  using Call = detail::MapCall<detail::ObjectCallee<F>, Item>;
  if constexpr (constexpr detail::Finding kFound = Call::kFinding; kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
    return typename Call::Results();
  } else {
    return detail::map_chunks<detail::ObjectCallee<F>>(items, options);
  }
}
template <class Callee, class... Values, class Item>
auto map(const Bound<Callee, Values...>& bound, const std::vector<Item>& items, const ChunkOptions& options = {}) {
  using Call = detail::MapCall<Callee, Item, Values...>;
  if constexpr (constexpr detail::Finding kFound = Call::kFinding; kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
    return typename Call::Results();
  } else {
    return std::apply([&](const Values&... values) { return detail::map_chunks<Callee>(items, options, values...); },
                      bound.values);
  }
}

// fn(i) for each i in [first, last), as tasks of several steps each. Returns when all are done; throws the first error in order. fn
// runs in other processes: it cannot write into the caller's memory. Results go through map, actors or the store.
template <auto kFunction, class Index>
void parallel_for(Index first, Index last, const ChunkOptions& options = {}) {
  if constexpr (constexpr detail::Finding kFound = detail::find_problem<detail::CalleeOf<kFunction>, Index>();
                kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
  } else {
    detail::for_chunks<detail::CalleeOf<kFunction>>(first, last, options);
  }
}
template <class Index, class F>
  requires detail::kIsStateless<F>
void parallel_for(Index first, Index last, const F&, const ChunkOptions& options = {}) {
  if constexpr (constexpr detail::Finding kFound = detail::find_problem<detail::ObjectCallee<F>, Index>();
                kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
  } else {
    detail::for_chunks<detail::ObjectCallee<F>>(first, last, options);
  }
}
template <class Index, class Callee, class... Values>
void parallel_for(Index first, Index last, const Bound<Callee, Values...>& bound, const ChunkOptions& options = {}) {
  if constexpr (constexpr detail::Finding kFound = detail::find_problem<Callee, Values..., Index>();
                kFound.problem != detail::Problem::kNone) {
#include <rayx/detail/call_report.inc>
  } else {
    std::apply([&](const Values&... values) { detail::for_chunks<Callee>(first, last, options, values...); },
               bound.values);
  }
}

}  // namespace rayx
#pragma GCC visibility pop
