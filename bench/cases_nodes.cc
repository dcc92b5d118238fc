// Another node: a process of its own on this machine, reached over loopback TCP as any other one would be.
#include <poll.h>

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include "cases.hpp"
#include "cluster_processes.hpp"
#include "other_node.hpp"

namespace bench {
namespace {

void remote_call() {
  const OtherNode node;
  const rayx::Runtime runtime = rayx::init();
  constexpr std::uint64_t kCalls = 2'000;
  const auto call_all = [&] {
    std::uint64_t sum = 0;
    const double seconds = seconds_of([&] {
      for (std::uint64_t i = 0; i < kCalls; ++i) sum += value_of(rayx::get(rayx::remote<next_number>(i)));
    });
    check_sum(sum, sum_to(kCalls), "wrong results");
    return seconds / kCalls * 1e6;
  };
  call_all();
  report("remote_call", "us", median_of(5, call_all));
}

void remote_async() {
  const OtherNode node;
  const rayx::Runtime runtime = rayx::init();
  constexpr std::uint64_t kTasks = 100'000;
  std::vector<rayx::ObjectRef<std::uint64_t>> refs;
  refs.reserve(kTasks);
  const auto run_all = [&] {
    refs.clear();
    std::uint64_t sum = 0;
    const double seconds = seconds_of([&] {
      for (std::uint64_t i = 0; i < kTasks; ++i) refs.push_back(rayx::remote<next_number>(i));
      for (const auto& ref : refs) sum += value_of(rayx::get(ref));
    });
    check_sum(sum, sum_to(kTasks), "wrong results");
    return kTasks / seconds;
  };
  run_all();
  report("remote_async", "1/s", median_of(5, run_all));
}

// It holds its CPU and uses none of the machine's, so that four nodes of one CPU each are four.
std::uint64_t next_number_later(std::uint64_t x, int milliseconds) {
  ::poll(nullptr, 0, milliseconds);
  return next_number(x);
}
std::uint64_t sum_of_many(std::uint64_t tasks, int milliseconds) {
  std::vector<rayx::ObjectRef<std::uint64_t>> refs;
  for (std::uint64_t i = 0; i < tasks; ++i) refs.push_back(rayx::remote<next_number_later>(i, milliseconds));
  std::uint64_t sum = 0;
  for (const auto& ref : refs) sum += rayx::get(ref) & 0xffffffff;  // this process may have run some while it waited
  return stamp(sum);
}

constexpr std::uint64_t kNestedTasks = 80;
constexpr int kNestedTask_ms = 10;

// One task makes 80 others of 10 ms. The limit is four CPUs that are busy from the first moment on.
void overflow() {
  constexpr std::size_t kNodes = 4;
  ClusterProcesses cluster;
  cluster.start_with_nodes(kNodes);
  const rayx::Runtime runtime = rayx::init();
  const auto run_all = [] {
    std::uint64_t sum = 0;
    const double seconds =
        seconds_of([&] { sum = value_of(rayx::get(rayx::remote<sum_of_many>(kNestedTasks, kNestedTask_ms))); });
    check_sum(sum, sum_to(kNestedTasks), "wrong results");
    return 100 * (kNestedTasks * kNestedTask_ms / 1e3 / kNodes) / seconds;
  };
  run_all();
  report("overflow_4_nodes", "%", median_of(5, run_all));
}

constexpr Case kCases[] = {
    {"remote_call", remote_call},
    {"remote_async", remote_async},
    {"overflow_4_nodes", overflow},
};

}  // namespace

std::span<const Case> node_cases() { return kCases; }

}  // namespace bench
