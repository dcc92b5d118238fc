#include <rayx/rayx.hpp>

int square(int x) { return x * x; }
struct Counter {
  int n = 0;
  int add(int k) { return n += k; }
};

int main() {
  rayx::Runtime runtime = rayx::init();
  rayx::ObjectRef<int> nine = rayx::remote<square>(3);
  auto counter = rayx::actor<Counter>();
  rayx::ObjectRef<int> total = counter.call<&Counter::add>(nine);
  std::cout << rayx::get(total) << '\n';
}
