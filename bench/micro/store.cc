// A small value into the store and out of it: what bench/run measures as put_small and get_ready, for a profiler.
#include <benchmark/benchmark.h>

#include <rayx/rayx.hpp>

namespace {

void put_small(benchmark::State& state) {
  int value = 0;
  for (auto _ : state) {
    const rayx::ObjectRef<int> ref = rayx::put(++value);
    benchmark::DoNotOptimize(ref);
  }
}
BENCHMARK(put_small);

void get_ready(benchmark::State& state) {
  const rayx::ObjectRef<int> ref = rayx::put(42);
  for (auto _ : state) {
    const int value = rayx::get(ref);
    if (value != 42) state.SkipWithError("wrong value");
  }
}
BENCHMARK(get_ready);

void copy_reference(benchmark::State& state) {
  const rayx::ObjectRef<int> ref = rayx::put(42);
  for (auto _ : state) {
    const rayx::ObjectRef<int> copy = ref;
    benchmark::DoNotOptimize(copy);
  }
}
BENCHMARK(copy_reference);

}  // namespace
