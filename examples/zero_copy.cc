// Large arrays are written once, into shared memory, and read in place by every process.
#include <rayx/rayx.hpp>

#include <iostream>
#include <numeric>
#include <span>
#include <vector>

// A span reads the array where it lies; nothing is copied to call this.
double sum(std::span<const double> values, std::size_t begin, std::size_t end) {
  return std::accumulate(values.begin() + static_cast<std::ptrdiff_t>(begin),
                         values.begin() + static_cast<std::ptrdiff_t>(end), 0.0);
}

// A task builds its result in shared memory, too.
rayx::ArrayBuilder<double> ramp(std::size_t count) {
  rayx::ArrayBuilder<double> values(count);
  std::iota(values.begin(), values.end(), 0.0);
  return values;
}

int main() {
  rayx::Runtime runtime = rayx::init();
  constexpr std::size_t kCount = 4'000'000;
  constexpr std::size_t kParts = 8;

  rayx::ObjectRef<rayx::Array<double>> values = rayx::remote<ramp>(kCount);  // 32 MB
  std::vector<rayx::ObjectRef<double>> parts;
  for (std::size_t i = 0; i < kParts; ++i)
    parts.push_back(rayx::remote<sum>(values, i * kCount / kParts, (i + 1) * kCount / kParts));

  double total = 0;
  for (double part : rayx::get(parts)) total += part;
  const rayx::Array<double> here = rayx::get(values);  // a view: no copy either
  std::cout << "sum of " << here.size() << " values: " << total / 1e12 << "e12\n";
  std::cout << "last: " << here[here.size() - 1] / 1e6 << "e6\n";
}
