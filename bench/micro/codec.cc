// put and get of one value each time: encoding, the store's share of it, and decoding. An int and a struct of 100 bytes show what
// a call costs, a vector of 1 MiB shows the copies.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <rayx/rayx.hpp>

namespace {

struct Hundred {
  std::array<std::int32_t, 25> values = {};
  bool operator==(const Hundred&) const = default;
};
static_assert(sizeof(Hundred) == 100);

struct Person {  // an aggregate that is not flat
  std::string name;
  int age = 0;
  std::vector<double> scores;
  bool operator==(const Person&) const = default;
};

template <class T>
T sample();
template <>
int sample<int>() {
  return 42;
}
template <>
Hundred sample<Hundred>() {
  Hundred value;
  for (std::size_t i = 0; i < value.values.size(); ++i) value.values[i] = static_cast<int>(i);
  return value;
}
template <>
Person sample<Person>() {
  return {"a name that is too long to lie inside of a string", 33, {1.0, 2.0, 3.0}};
}
template <>
std::vector<double> sample<std::vector<double>>() {
  return std::vector<double>((std::size_t{1} << 20) / sizeof(double), 1.5);
}

template <class T>
void encode(benchmark::State& state) {
  const T value = sample<T>();
  for (auto _ : state) {
    const rayx::ObjectRef<T> ref = rayx::put(value);
    benchmark::DoNotOptimize(ref);
  }
}
template <class T>
void decode(benchmark::State& state) {
  const T value = sample<T>();
  const rayx::ObjectRef<T> ref = rayx::put(value);
  for (auto _ : state) {
    T got = rayx::get(ref);
    benchmark::DoNotOptimize(got);
  }
  if (rayx::get(ref) != value) state.SkipWithError("wrong value");
}

BENCHMARK_TEMPLATE(encode, int);
BENCHMARK_TEMPLATE(decode, int);
BENCHMARK_TEMPLATE(encode, Hundred);
BENCHMARK_TEMPLATE(decode, Hundred);
BENCHMARK_TEMPLATE(encode, Person);
BENCHMARK_TEMPLATE(decode, Person);
BENCHMARK_TEMPLATE(encode, std::vector<double>);
BENCHMARK_TEMPLATE(decode, std::vector<double>);

}  // namespace
