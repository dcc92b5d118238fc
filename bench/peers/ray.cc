// Ray's C++ API beside us: the same cases with the same work. Workers load this program a second time as a shared library,
// so it is built twice, and with the old ABI of libstdc++ (bench/run does both). Fewer repeats than ours: it is slower.
#include <ray/api.h>
#include <unistd.h>

#include <cstdint>

#include "../kit.hpp"

namespace {
constexpr int kBatch = 1000;
constexpr std::size_t kBulk = (std::size_t{100} << 20) / sizeof(double);
constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
}  // namespace

// The process that made a number, and the number. Two ints and not one of 64 bits: Ray 2.60 takes a result whose encoding has
// exactly nine bytes, as a large integer or a double has, for the header of another language, and the driver aborts.
using Stamped = std::pair<int, int>;

Stamped next_number(Stamped x) { return {::getpid(), x.second + 1}; }
int first_and_last(std::vector<double> values) { return static_cast<int>(values.front() + values.back()); }

class Counter {
 public:
  static Counter* create() { return new Counter; }
  Stamped next(Stamped x) { return next_number(x); }
};
RAY_REMOTE(next_number, first_and_last, Counter::create, &Counter::next);

namespace {

std::uint64_t checked(Stamped stamped) {
  bench::check(stamped.first != ::getpid(), "a task ran in the driver");
  return static_cast<std::uint64_t>(stamped.second);
}

// A copy, never a move: the move constructor of Ray 2.60 counts down before it counts up, so a reference that is moved may lose
// its object, and Get of it then never returns.
template <class Ref>
void keep_copy(std::vector<Ref>& refs, const Ref& ref) {
  refs.push_back(ref);
}

template <class Submit>
double sync_us(int calls, Submit submit) {
  std::uint64_t sum = 0;
  const double seconds = bench::seconds_of([&] {
    for (int i = 0; i < calls; ++i) sum += checked(*ray::Get(submit(i)));
  });
  bench::check(sum == std::uint64_t(calls) * (calls + 1) / 2, "wrong results of synchronous calls");
  return seconds / calls * 1e6;
}

template <class Submit>
double async_per_s(int batches, Submit submit) {
  std::uint64_t sum = 0;
  const double seconds = bench::seconds_of([&] {
    for (int batch = 0; batch < batches; ++batch) {
      std::vector<ray::ObjectRef<Stamped>> refs;
      refs.reserve(kBatch);
      for (int i = 0; i < kBatch; ++i) keep_copy(refs, submit(i));
      for (auto& result : ray::Get(refs)) sum += checked(*result);
    }
  });
  bench::check(sum == std::uint64_t(batches) * kBatch * (kBatch + 1) / 2, "wrong results of asynchronous calls");
  return batches * kBatch / seconds;
}

double chain_per_s() {
  constexpr int kLinks = 100;
  Stamped end;
  const double seconds = bench::seconds_of([&] {
    auto ref = ray::Task(next_number).Remote(Stamped{0, 0});
    for (int i = 1; i < kLinks; ++i) ref = ray::Task(next_number).Remote(ref);
    end = *ray::Get(ref);
  });
  bench::check(checked(end) == kLinks, "wrong end of the chain");
  return kLinks / seconds;
}

double put_gib_s(const std::vector<double>& values) {
  ray::ObjectRef<std::vector<double>> ref;
  return kBulk * sizeof(double) / kGiB / bench::seconds_of([&] { ref = ray::Put(values); });
}

}  // namespace

int main(int argc, char** argv) {
  bench::check(argc == 2, "usage: ray DIRECTORY-OF-ITS-SHARED-LIBRARY");
  ray::RayConfig config;
  config.code_search_path = {argv[1]};
  double first_ms = bench::seconds_of([&] {
    ray::Init(config);
    checked(*ray::Get(ray::Task(next_number).Remote(Stamped{0, 1})));
  });
  bench::report("init_to_first_task", "ms", first_ms * 1e3);

  const auto task = [](int i) { return ray::Task(next_number).Remote(Stamped{0, i}); };
  sync_us(100, task);
  bench::report("task_sync", "us", sync_us(500, task));
  bench::report("task_async_1k", "1/s", async_per_s(2, task));
  bench::report("task_chain_100", "1/s", bench::median_of(3, chain_per_s));

  auto counter = ray::Actor(Counter::create).Remote();
  const auto call = [&counter](int i) { return counter.Task(&Counter::next).Remote(Stamped{0, i}); };
  sync_us(100, call);
  bench::report("actor_sync", "us", sync_us(500, call));
  bench::report("actor_async_1k", "1/s", async_per_s(3, call));

  constexpr int kSmall = 1000;
  std::vector<ray::ObjectRef<int>> small;
  small.reserve(kSmall);
  bench::report("put_small", "ns", 1e9 / kSmall * bench::seconds_of([&] {
                                     for (int i = 0; i < kSmall; ++i) keep_copy(small, ray::Put(i));
                                   }));
  std::int64_t sum = 0;
  bench::report("get_ready", "ns", 1e9 / kSmall * bench::seconds_of([&] {
                                     for (auto& ref : small) sum += *ray::Get(ref);
                                   }));
  bench::check(sum == kSmall * (kSmall - 1) / 2, "wrong values");

  const std::vector<double> values(kBulk, 1.5);
  put_gib_s(values);
  bench::report("put_100MiB", "GiB/s", bench::median_of(3, [&] { return put_gib_s(values); }));
  auto bulk = ray::Put(values);
  bench::check(*ray::Get(ray::Task(first_and_last).Remote(bulk)) == 3, "wrong bytes in the worker");
  bench::report("get_100MiB", "us",
                1e6 * bench::seconds_of([&] { bench::check(ray::Get(bulk)->back() == 1.5, "bytes"); }));

  std::vector<ray::ObjectRef<Stamped>> pending;
  pending.reserve(kBatch);
  for (int i = 0; i < kBatch; ++i) keep_copy(pending, task(i));
  bench::report("wait_1k", "ms", 1e3 * bench::seconds_of([&] {
                                   while (!pending.empty()) {
                                     auto result = ray::Wait(pending, 1, 10'000);
                                     bench::check(!result.ready.empty(), "wait timed out");
                                     pending.assign(result.unready.begin(), result.unready.end());
                                   }
                                 }));

  bench::report("shutdown", "ms", 1e3 * bench::seconds_of([] { ray::Shutdown(); }));
  return 0;
}
