// The smallest program: a task, an actor, and a reference that goes from one to the other.
#include <rayx/rayx.hpp>

#include <iostream>

int square(int x) { return x * x; }
struct Counter {
  int n = 0;
  int add(int k) { return n += k; }
};

int main() {
  rayx::Runtime runtime = rayx::init();                            // starts an embedded cluster
  rayx::ObjectRef<int> nine = rayx::remote<square>(3);             // a task: returns at once
  auto counter = rayx::actor<Counter>();                           // an actor: a process that keeps state
  rayx::ObjectRef<int> total = counter.call<&Counter::add>(nine);  // references are arguments
  std::cout << rayx::get(total) << '\n';
}
