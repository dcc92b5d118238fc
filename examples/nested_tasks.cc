// Tasks may submit tasks and wait for them, to any depth: a worker that waits runs its own children itself, or lends its CPU.
#include <rayx/rayx.hpp>

#include <algorithm>
#include <iostream>
#include <random>
#include <vector>

// Sorts by merging halves that other tasks have sorted.
std::vector<int> sorted(std::vector<int> values) {
  if (values.size() <= 1'000) {
    std::sort(values.begin(), values.end());
    return values;
  }
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  auto low = rayx::remote<sorted>(std::vector<int>(values.begin(), middle));
  auto high = rayx::remote<sorted>(std::vector<int>(middle, values.end()));
  const auto [left, right] = rayx::get(low, high);
  std::merge(left.begin(), left.end(), right.begin(), right.end(), values.begin());
  return values;
}

int fibonacci(int n) {
  if (n < 2) return n;
  auto a = rayx::remote<fibonacci>(n - 1);
  auto b = rayx::remote<fibonacci>(n - 2);
  return rayx::get(a) + rayx::get(b);
}

int depth(int n) { return n == 0 ? 0 : 1 + rayx::get(rayx::remote<depth>(n - 1)); }

int main() {
  rayx::Runtime runtime = rayx::init();
  std::mt19937 random(1);
  std::vector<int> values(20'000);
  for (int& value : values) value = static_cast<int>(random() % 1'000'000);

  const std::vector<int> result = rayx::get(rayx::remote<sorted>(values));
  std::cout << "sorted: " << std::boolalpha << std::is_sorted(result.begin(), result.end()) << '\n';
  std::cout << "fibonacci(22) = " << rayx::get(rayx::remote<fibonacci>(22)) << '\n';
  std::cout << "depth: " << rayx::get(rayx::remote<depth>(2'000)) << '\n';
}
