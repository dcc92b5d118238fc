// Micro benchmarks, for work on one function: build/release/bench/micro/micro [--benchmark_filter=…]. The figures that count are
// those of bench/run.
#include <benchmark/benchmark.h>

#include <rayx/rayx.hpp>

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  const rayx::Runtime runtime = rayx::init();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
