// What every bench program shares, peers included: a clock, a median, a check that cannot be switched off, one line of JSON.
// Standard library only, C++17, so that peers with an older ABI or standard compile it too.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

// A figure whose work was wrong is no figure: the program ends with status 1 and prints none.
inline void check(bool condition, const char* what, const std::string& detail = {}) {
  if (condition) return;
  std::fprintf(stderr, "bench: %s%s%s\n", what, detail.empty() ? "" : ": ", detail.c_str());
  std::_Exit(1);
}

template <class F>
double seconds_of(F&& body) {
  const auto begin = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <class F>
double median_of(int repeats, F&& measure) {
  std::vector<double> values;
  for (int i = 0; i < repeats; ++i) values.push_back(measure());
  return median(std::move(values));
}

// The compiler must believe that somebody reads what `pointer` points to.
inline void keep(const void* pointer) { asm volatile("" : : "r"(pointer) : "memory"); }

// Every byte is read; eight accumulators, so that memory is the limit and not the latency of an addition. The same function
// reads private memory (the limit) and objects of the store (the case).
template <class Doubles>
double sum_of(const Doubles& values) {
  double sums[8] = {};
  const double* data = values.data();
  const std::size_t size = values.size();
  std::size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    for (std::size_t k = 0; k < 8; ++k) sums[k] += data[i + k];
  }
  double sum = 0;
  for (; i < size; ++i) sum += data[i];
  for (const double part : sums) sum += part;
  return sum;
}

// `limit` is given where it was measured in this process, beside the case; otherwise bench/run takes the limits program's.
inline void report(std::string_view name, std::string_view unit, double value, double limit = 0) {
  std::printf("{\"case\": \"%.*s\", \"unit\": \"%.*s\", \"value\": %.9g", static_cast<int>(name.size()), name.data(),
              static_cast<int>(unit.size()), unit.data(), value);
  if (limit > 0) std::printf(", \"limit\": %.9g", limit);
  std::printf("}\n");
  std::fflush(stdout);
}

}  // namespace bench
