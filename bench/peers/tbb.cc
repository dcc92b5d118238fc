// oneTBB beside us: tasks in one process, threads instead of processes, nothing survives a crash. The same cases otherwise:
// each task gets a number and leaves a number, and all results are checked.
#include <oneapi/tbb/task_group.h>

#include <cstdint>

#include "../kit.hpp"

namespace {

constexpr int kBatch = 1000;

double task_sync_us() {
  constexpr int kTasks = 100'000;
  tbb::task_group group;
  std::uint64_t sum = 0;
  const double seconds = bench::seconds_of([&] {
    for (std::uint64_t i = 0; i < kTasks; ++i) {
      std::uint64_t result = 0;
      group.run([&result, i] { result = i + 1; });
      group.wait();
      sum += result;
    }
  });
  bench::check(sum == std::uint64_t{kTasks} * (kTasks + 1) / 2, "wrong results of task_sync");
  return seconds / kTasks * 1e6;
}

double task_async_per_s() {
  constexpr int kBatches = 300;
  tbb::task_group group;
  std::vector<std::uint64_t> results(kBatch);
  std::uint64_t sum = 0;
  const double seconds = bench::seconds_of([&] {
    for (int batch = 0; batch < kBatches; ++batch) {
      for (std::uint64_t i = 0; i < kBatch; ++i) group.run([&results, i] { results[i] = i + 1; });
      group.wait();
      for (std::uint64_t& result : results) sum += std::exchange(result, 0);
    }
  });
  bench::check(sum == std::uint64_t{kBatches} * kBatch * (kBatch + 1) / 2, "wrong results of task_async_1k");
  return kBatches * kBatch / seconds;
}

}  // namespace

int main() {
  task_sync_us();  // starts the threads
  bench::report("task_sync", "us", bench::median_of(3, task_sync_us));
  bench::report("task_async_1k", "1/s", bench::median_of(5, task_async_per_s));
  return 0;
}
