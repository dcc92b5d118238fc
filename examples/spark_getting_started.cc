// A cluster on Spark in two lines more than hello.cc: tasks, references as arguments, and an actor.
//
//   RAYX_SPARK_MASTER=spark://host:6066 spark_getting_started [NODES]
#include <numeric>

#include "demo_cluster.hpp"

std::vector<double> make_column(int from, int count) {
  std::vector<double> column(static_cast<std::size_t>(count));
  std::iota(column.begin(), column.end(), from);
  return column;
}

std::vector<double> add(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> sum(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) sum[i] = a[i] + b[i];
  return sum;
}

double total(const std::vector<double>& column) { return std::accumulate(column.begin(), column.end(), 0.0); }

struct Counter {
  int value = 0;
  int increment() { return ++value; }
};

int main(int argc, char** argv) {
  rayx::Cluster cluster = demo_cluster(nodes_wanted(argc, argv, 2));
  rayx::Runtime runtime = rayx::init();  // finds the cluster
  std::cout << rayx::nodes().size() << " nodes\n";

  // Each call returns at once; what it gives is passed on before it is there.
  auto a = rayx::remote<make_column>(0, 1'000'000);
  auto b = rayx::remote<make_column>(1, 1'000'000);
  auto sum = rayx::remote<add>(a, b);
  std::cout << "the sum of two columns adds up to " << static_cast<long>(rayx::get(rayx::remote<total>(sum))) << '\n';

  auto counter = rayx::actor<Counter>();
  for (int i = 0; i < 9; ++i) (void)counter.call<&Counter::increment>();
  std::cout << "the actor counted to " << rayx::get(counter.call<&Counter::increment>()) << '\n';
}
