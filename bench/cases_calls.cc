// Calls: how long one takes, and how many a second are possible.
#include <set>
#include <thread>

#include "cases.hpp"

namespace bench {
namespace {

rayx::Runtime init_with_cpus(int cpus) {
  rayx::Config config;
  config.num_cpus = cpus;
  return rayx::init(config);
}

class Counter {
 public:
  std::uint64_t next(std::uint64_t x) { return stamp(x + 1); }
};

// Mean time of one call when each is got before the next is made. Median over short bursts: both sides stay awake.
template <class Submit>
double sync_us(int bursts, Submit submit) {
  constexpr int kCalls = 5'000;
  return median_of(bursts, [&] {
    std::uint64_t sum = 0;
    const double seconds = seconds_of([&] {
      for (std::uint64_t i = 0; i < kCalls; ++i) sum += value_of(rayx::get(submit(i)));
    });
    check_sum(sum, sum_to(kCalls), "wrong results of synchronous calls");
    return seconds / kCalls * 1e6;
  });
}

// Calls a second when kBatch are made and then all got.
template <class Submit>
double async_per_s(int bursts, Submit submit) {
  constexpr int kBatches = 20;
  std::vector<rayx::ObjectRef<std::uint64_t>> refs;
  return median_of(bursts, [&] {
    std::uint64_t sum = 0;
    const double seconds = seconds_of([&] {
      for (int batch = 0; batch < kBatches; ++batch) {
        for (std::uint64_t i = 0; i < kBatch; ++i) refs.push_back(submit(i));
        for (const std::uint64_t result : rayx::get(refs)) sum += value_of(result);
        refs.clear();
      }
    });
    check_sum(sum, kBatches * sum_to(kBatch), "wrong results of asynchronous calls");
    return kBatches * kBatch / seconds;
  });
}

const auto kSubmitTask = [](std::uint64_t i) { return rayx::remote<next_number>(i); };

void task_sync() {
  const rayx::Runtime runtime = rayx::init();
  sync_us(3, kSubmitTask);
  report("task_sync", "us", sync_us(31, kSubmitTask));
}

void task_async_1k() {
  const rayx::Runtime runtime = rayx::init();
  async_per_s(3, kSubmitTask);
  report("task_async_1k", "1/s", async_per_s(31, kSubmitTask));
}

void actor_sync() {
  const rayx::Runtime runtime = rayx::init();
  auto counter = rayx::actor<Counter>();
  const auto submit = [&](std::uint64_t i) { return counter.call<&Counter::next>(i); };
  sync_us(3, submit);
  report("actor_sync", "us", sync_us(31, submit));
}

void actor_async_1k() {
  const rayx::Runtime runtime = rayx::init();
  auto counter = rayx::actor<Counter>();
  const auto submit = [&](std::uint64_t i) { return counter.call<&Counter::next>(i); };
  async_per_s(3, submit);
  report("actor_async_1k", "1/s", async_per_s(31, submit));
}

// 100 tasks, each of which takes the result of the one before it.
double chains_per_s() {
  constexpr int kChains = 100;
  constexpr int kLinks = 100;
  std::uint64_t sum = 0;
  const double seconds = seconds_of([&] {
    for (int chain = 0; chain < kChains; ++chain) {
      auto ref = rayx::remote<next_number>(std::uint64_t{0});
      for (int link = 1; link < kLinks; ++link) ref = rayx::remote<next_number>(std::move(ref));
      sum += value_of(rayx::get(ref));
    }
  });
  check_sum(sum, kChains * kLinks, "wrong ends of the chains");
  return kChains * kLinks / seconds;
}

void task_chain_100() {
  const rayx::Runtime runtime = rayx::init();
  chains_per_s();
  report("task_chain_100", "1/s", median_of(21, chains_per_s));
}

std::uint64_t sleep_20_ms() {
  ::usleep(20'000);
  return stamp(0);
}

// Until three tasks that sleep ran on three workers. The machine may take a CPU away for longer than they sleep, then two
// workers do the work of three; that is tried again, a few times.
void wake_three_workers() {
  constexpr int kTries = 10;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    std::vector<rayx::ObjectRef<std::uint64_t>> sleepers;
    for (int i = 0; i < 3; ++i) sleepers.push_back(rayx::remote<sleep_20_ms>());
    std::set<std::uint32_t> pids;
    for (const std::uint64_t result : rayx::get(sleepers)) pids.insert(pid_of(result));
    if (same_process_allowed || pids.size() == 3) return;
  }
  check(false, "three tasks that sleep did not run on three workers");
}

// Three workers that are awake and want tasks, and the driver: four processes that want a CPU.
void tasks_3_workers_sync() {
  const rayx::Runtime runtime = init_with_cpus(3);
  const double us = median_of(21, [] {
    wake_three_workers();
    return sync_us(1, kSubmitTask);
  });
  report("tasks_3_workers_sync", "us", us);
}

std::uint64_t work_for(std::chrono::microseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
  }
  return stamp(1);
}

// 3,000 tasks of 1 µs beside one of 50 ms on two workers: until the short ones are done. Nothing may wait behind the long one.
void head_of_line() {
  const rayx::Runtime runtime = init_with_cpus(2);
  async_per_s(3, kSubmitTask);
  constexpr int kShort = 3'000;
  const double ms = median_of(9, [] {
    std::vector<rayx::ObjectRef<std::uint64_t>> refs;
    std::uint64_t sum = 0;
    rayx::ObjectRef<std::uint64_t> slow;
    bool slow_was_running = false;
    const double seconds = seconds_of([&] {
      slow = rayx::remote<work_for>(std::chrono::microseconds(50'000));
      for (int i = 0; i < kShort; ++i) refs.push_back(rayx::remote<work_for>(std::chrono::microseconds(1)));
      for (const std::uint64_t result : rayx::get(refs)) sum += value_of(result);
      slow_was_running = !slow.is_ready();
    });
    check_sum(sum, kShort, "wrong results of the short tasks");
    check(value_of(rayx::get(slow)) == 1, "wrong result of the long task");
    // With the long one done first there was nothing to wait behind; the time is then above 50 ms and speaks for itself.
    check(same_process_allowed || slow_was_running || seconds > 0.05, "the long task was too short");
    return seconds * 1e3;
  });
  report("head_of_line", "ms", ms);
}

// Four threads of the driver submit and get at the same time.
void submit_4_threads() {
  const rayx::Runtime runtime = rayx::init();
  async_per_s(3, kSubmitTask);
  constexpr int kThreads = 4;
  constexpr int kBatches = 50;
  const double per_s = median_of(9, [] {
    std::uint64_t sums[kThreads] = {};
    const double seconds = seconds_of([&] {
      std::vector<std::jthread> threads;
      for (std::uint64_t& sum : sums) {
        threads.emplace_back([&sum] {
          for (int batch = 0; batch < kBatches; ++batch) {
            std::vector<rayx::ObjectRef<std::uint64_t>> refs;
            for (std::uint64_t i = 0; i < kBatch; ++i) refs.push_back(rayx::remote<next_number>(i));
            for (const std::uint64_t result : rayx::get(refs)) sum += value_of(result);
          }
        });
      }
    });
    for (const std::uint64_t sum : sums) check_sum(sum, kBatches * sum_to(kBatch), "wrong results in a thread");
    return kThreads * kBatches * kBatch / seconds;
  });
  report("submit_4_threads", "1/s", per_s);
}

// Calls each of the others with a reference to an object that it has put, and adds up what they answer.
class Caller {
 public:
  explicit Caller(std::vector<rayx::ActorHandle<Counter>> peers) : peers_(std::move(peers)) {}
  std::uint64_t call_all(int batches) {
    std::uint64_t sum = 0;
    std::vector<rayx::ObjectRef<std::uint64_t>> refs;
    for (int batch = 0; batch < batches; ++batch) {
      const rayx::ObjectRef<std::uint64_t> number = rayx::put(std::uint64_t{6});
      for (int i = 0; i < kBatch; ++i) {
        refs.push_back(peers_[static_cast<std::size_t>(i) % peers_.size()].call<&Counter::next>(number));
      }
      for (const std::uint64_t result : rayx::get(refs)) sum += value_of(result);
      refs.clear();
    }
    return stamp(sum);
  }

 private:
  std::vector<rayx::ActorHandle<Counter>> peers_;
};

// Four actors call four actors, each call with an ObjectRef as its argument; nine processes.
void n_to_n_actors_with_ref() {
  const rayx::Runtime runtime = rayx::init();
  constexpr int kActors = 4;
  constexpr int kBatches = 10;
  std::vector<rayx::ActorHandle<Counter>> counters;
  for (int i = 0; i < kActors; ++i) counters.push_back(rayx::actor<Counter>());
  std::vector<rayx::ActorHandle<Caller>> callers;
  for (int i = 0; i < kActors; ++i) callers.push_back(rayx::actor<Caller>(counters));
  const auto run = [&] {
    std::set<std::uint32_t> pids;
    const double seconds = seconds_of([&] {
      std::vector<rayx::ObjectRef<std::uint64_t>> sums;
      for (auto& caller : callers) sums.push_back(caller.call<&Caller::call_all>(kBatches));
      for (const std::uint64_t sum : rayx::get(sums)) {
        check_sum(value_of(sum), 7 * kBatches * kBatch, "wrong results of a caller");
        pids.insert(pid_of(sum));
      }
    });
    check(same_process_allowed || pids.size() == kActors, "the callers are not processes of their own");
    return kActors * kBatches * kBatch / seconds;
  };
  run();
  report("n_to_n_actors_with_ref", "1/s", median_of(9, run));
}

constexpr Case kCases[] = {
    {"task_sync", task_sync},
    {"task_async_1k", task_async_1k},
    {"actor_sync", actor_sync},
    {"actor_async_1k", actor_async_1k},
    {"task_chain_100", task_chain_100},
    {"tasks_3_workers_sync", tasks_3_workers_sync},
    {"head_of_line", head_of_line},
    {"submit_4_threads", submit_4_threads},
    {"n_to_n_actors_with_ref", n_to_n_actors_with_ref},
};

}  // namespace

std::span<const Case> call_cases() { return kCases; }

}  // namespace bench
