// Objects: small ones, large ones by copy and in place, read by another process, waited for in thousands.
#include <algorithm>

#include "cases.hpp"
#include "memory_limits.hpp"

namespace bench {
namespace {

constexpr std::size_t kBulkCount = kBulkBytes / sizeof(double);

std::uint64_t add_up(std::vector<rayx::ObjectRef<int>> refs) {
  std::uint64_t sum = 0;
  for (const int value : rayx::get(refs)) sum += static_cast<std::uint64_t>(value);
  return stamp(sum);
}

// The objects are really there: another process finds the same sum.
void check_seen_elsewhere(const std::vector<rayx::ObjectRef<int>>& refs) {
  const auto count = static_cast<std::uint64_t>(refs.size());
  check_sum(value_of(rayx::get(rayx::remote<add_up>(refs))), count * (count - 1) / 2,
            "wrong values in another process");
}

// An int into the store and its reference dropped with 999 others. The drop is a part of the figure.
void put_small() {
  const rayx::Runtime runtime = rayx::init();
  std::vector<rayx::ObjectRef<int>> refs;
  refs.reserve(kBatch);
  const auto round = [&] {
    refs.clear();
    for (int i = 0; i < kBatch; ++i) refs.push_back(rayx::put(i));
  };
  const auto burst = [&] {
    for (int i = 0; i < 100; ++i) round();
  };
  burst();
  check_seen_elsewhere(refs);
  round();
  report("put_small", "ns", median_of(31, [&] { return seconds_of(burst) / (100 * kBatch) * 1e9; }));
  check_seen_elsewhere(refs);
}

void get_ready() {
  const rayx::Runtime runtime = rayx::init();
  std::vector<rayx::ObjectRef<int>> refs;
  for (int i = 0; i < kBatch; ++i) refs.push_back(rayx::put(i));
  check_seen_elsewhere(refs);
  const double ns = median_of(31, [&] {
    std::int64_t sum = 0;
    const double seconds = seconds_of([&] {
      for (int repeat = 0; repeat < 100; ++repeat) {
        for (const auto& ref : refs) sum += rayx::get(ref);
      }
    });
    check(sum == std::int64_t{100} * kBatch * (kBatch - 1) / 2, "wrong values");
    return seconds / (100 * kBatch) * 1e9;
  });
  report("get_ready", "ns", ns);
}

struct Seen {
  std::uint32_t pid = 0;
  double sum = 0;
  double get_us = 0;
  double first_touch_gib_s = 0;
  double warm_gib_s = 0;
  double private_gib_s = 0;  // the same loop over memory of its own
};

double gib_s_of(const rayx::Array<double>& values, double& sum) {
  return kBulkBytes / kGiB / seconds_of([&] { sum = sum_of(values); });
}

// In the worker: the reference to the value, and then every byte of it.
Seen look_at(std::vector<rayx::ObjectRef<rayx::Array<double>>> refs) {
  Seen seen;
  seen.pid = own_pid();
  rayx::Array<double> values;
  seen.get_us = 1e6 * seconds_of([&] { values = rayx::get(refs.front()); });
  seen.first_touch_gib_s = gib_s_of(values, seen.sum);
  return seen;
}

// The same loop over private memory of the worker and over the object, one after the other.
Seen read_often(std::span<const double> values) {
  Seen seen;
  seen.pid = own_pid();
  seen.first_touch_gib_s = kBulkBytes / kGiB / seconds_of([&] { seen.sum = sum_of(values); });
  std::vector<double> own(kBulkCount, 1.0);
  std::vector<double> shared_gib_s;
  std::vector<double> own_gib_s;
  for (int i = 0; i < 9; ++i) {
    double own_sum = 0;
    double shared_sum = 0;
    own_gib_s.push_back(kBulkBytes / kGiB / seconds_of([&] { own_sum = sum_of(own); }));
    shared_gib_s.push_back(kBulkBytes / kGiB / seconds_of([&] { shared_sum = sum_of(values); }));
    check(own_sum == static_cast<double>(kBulkCount) && shared_sum == seen.sum, "two reads of one array differ");
  }
  seen.warm_gib_s = median(shared_gib_s);
  seen.private_gib_s = median(own_gib_s);
  return seen;
}

double sum_elsewhere(std::span<const double> values) {
  check(same_process_allowed || values.size() == kBulkCount, "an array arrived shorter");
  return sum_of(values);
}

rayx::ArrayBuilder<double> filled(double value) {
  rayx::ArrayBuilder<double> builder(kBulkCount);
  std::fill(builder.begin(), builder.end(), value);
  return builder;
}

// A vector that the program has, copied into the store. Warm: the extent of the last round is free again. The copy by memcpy
// into shared memory is measured between the rounds.
void put_100mib() {
  const rayx::Runtime runtime = rayx::init();
  std::vector<double> values(kBulkCount, 1.5);
  std::byte* const shared = map_memory(kBulkBytes, MAP_SHARED);
  std::memset(shared, 0, kBulkBytes);
  for (int i = 0; i < 3; ++i) static_cast<void>(rayx::put(values));
  std::vector<double> put_gib_s;
  std::vector<double> copy_gib_s;
  for (int i = 0; i < 15; ++i) {
    values[0] = i;
    copy_gib_s.push_back(kBulkBytes / kGiB / seconds_of([&] {
                           std::memcpy(shared, values.data(), kBulkBytes);
                           keep(shared);
                         }));
    rayx::ObjectRef<std::vector<double>> ref;
    put_gib_s.push_back(kBulkBytes / kGiB / seconds_of([&] { ref = rayx::put(values); }));
    if (i % 5 == 4) {
      const double expected = 1.5 * static_cast<double>(kBulkCount - 1) + i;
      check(rayx::get(rayx::remote<sum_elsewhere>(ref)) == expected, "wrong bytes in another process");
    }
  }
  report("put_100MiB", "GiB/s", median(put_gib_s), median(copy_gib_s));
}

// An array that was built in the store: only sealed. 100 MiB, but no byte moves.
void put_in_place() {
  const rayx::Runtime runtime = rayx::init();
  const double us = median_of(15, [round = 0]() mutable {
    const double value = ++round;
    rayx::ArrayBuilder<double> builder = filled(value);
    rayx::ObjectRef<rayx::Array<double>> ref;
    const double seconds = seconds_of([&] { ref = rayx::put(std::move(builder)); });
    if (round % 5 == 0) {
      check(rayx::get(rayx::remote<sum_elsewhere>(ref)) == value * static_cast<double>(kBulkCount), "wrong bytes");
    }
    return seconds * 1e6;
  });
  report("put_in_place", "us", us);
}

// get() of a fresh 100 MiB array in a worker that got only its reference.
void get_100mib() {
  const rayx::Runtime runtime = rayx::init();
  std::vector<double> get_us;
  for (int round = 0; round < 9; ++round) {
    const double value = round + 1;
    std::vector<rayx::ObjectRef<rayx::Array<double>>> refs;
    refs.push_back(rayx::put(filled(value)));
    const Seen seen = rayx::get(rayx::remote<look_at>(std::move(refs)));
    check_elsewhere(seen.pid);
    check(seen.sum == value * static_cast<double>(kBulkCount), "wrong bytes in another process");
    get_us.push_back(seen.get_us);
  }
  report("get_100MiB", "us", median(get_us));
}

// Every byte of an array in a worker: the first time, when its page tables are filled, and warm.
void read_100mib() {
  const rayx::Runtime runtime = rayx::init();
  const auto ref = rayx::put(filled(1.0));
  const Seen seen = rayx::get(rayx::remote<read_often>(ref));
  check_elsewhere(seen.pid);
  check(seen.sum == static_cast<double>(kBulkCount), "wrong bytes in another process");
  report("read_100MiB", "GiB/s", seen.warm_gib_s, seen.private_gib_s);
  report("read_100MiB_first_touch", "GiB/s", seen.first_touch_gib_s, seen.private_gib_s);
}

// 1,000 waits: each for one of the references that are left, 1,000 at first.
void wait_1k() {
  const rayx::Runtime runtime = rayx::init();
  const double ms = median_of(15, [] {
    std::vector<rayx::ObjectRef<std::uint64_t>> left;
    for (std::uint64_t i = 0; i < kBatch; ++i) left.push_back(rayx::remote<next_number>(i));
    std::uint64_t sum = 0;
    int waits = 0;
    const double seconds = seconds_of([&] {
      while (!left.empty()) {
        auto [ready, pending] = rayx::wait(std::move(left), {.count = 1});
        check(ready.size() == 1, "a wait for one returned another number");
        sum += value_of(rayx::get(ready.front()));
        left = std::move(pending);
        ++waits;
      }
    });
    check(waits == kBatch, "wrong number of waits");
    check_sum(sum, sum_to(kBatch), "wrong results");
    return seconds * 1e3;
  });
  report("wait_1k", "ms", ms);
}

constexpr Case kCases[] = {
    {"put_small", put_small},       {"get_ready", get_ready},   {"put_100MiB", put_100mib},
    {"put_in_place", put_in_place}, {"get_100MiB", get_100mib}, {"read_100MiB", read_100mib},
    {"wait_1k", wait_1k},
};

}  // namespace

std::span<const Case> object_cases() { return kCases; }

}  // namespace bench
