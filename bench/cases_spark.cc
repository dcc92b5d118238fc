// A cluster on Spark's workers. bench/run starts a real Spark for it and says where it is.
#include <rayx/spark.hpp>

#include "cases.hpp"

namespace bench {
namespace {

// Five nodes, each a submission: until all of them can be used.
void spark_up_5() {
  rayx::Cluster cluster;
  const double seconds = seconds_of([&] { cluster = rayx::spark::setup_cluster(5); });
  check(cluster.nodes_ready() == 5, "not all nodes are ready");
  {
    const rayx::Runtime runtime = rayx::init();
    check(rayx::nodes().size() == 5, "the program does not see all nodes");
    check(value_of(rayx::get(rayx::remote<next_number>(std::uint64_t{41}))) == 42, "wrong result");
  }
  report("spark_up_5", "s", seconds);
  const double down = seconds_of([] { rayx::spark::shutdown_cluster(); });
  report("spark_down_5", "s", down);
}

constexpr Case kCases[] = {{"spark_up_5", spark_up_5}};

}  // namespace

std::span<const Case> spark_cases() { return kCases; }

}  // namespace bench
