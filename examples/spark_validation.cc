// Is the cluster what was asked for? Lists the nodes, and has each of them say from inside what it is and do a piece of work.
//
//   RAYX_SPARK_MASTER=spark://host:6066 spark_validation [NODES]
#include <cstdio>
#include <set>

#include <gnu/libc-version.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "demo_cluster.hpp"

struct Facts {
  std::string host;
  std::string kernel;
  std::string libc;
  long cores = 0;  // of the machine
  int pid = 0;
  std::string node;  // on which the task found itself
};

Facts look_around() {
  utsname system{};
  ::uname(&system);
  Facts facts{
      system.nodename, system.release, ::gnu_get_libc_version(), ::sysconf(_SC_NPROCESSORS_ONLN), ::getpid(), ""};
  for (const rayx::NodeInfo& node : rayx::nodes())
    if (node.is_here) facts.node = node.id;
  return facts;
}

// Counts primes, so that it takes a while.
int primes_below(int limit) {
  int count = 0;
  for (int n = 2; n < limit; ++n) {
    bool is_prime = true;
    for (int d = 2; d * d <= n && is_prime; ++d) is_prime = n % d != 0;
    count += is_prime ? 1 : 0;
  }
  return count;
}

std::size_t size_of(const std::vector<int>& values) { return values.size(); }

int main(int argc, char** argv) {
  const int wanted = nodes_wanted(argc, argv, 2);
  rayx::Cluster cluster = demo_cluster(wanted);
  rayx::Runtime runtime = rayx::init();
  const std::vector<rayx::NodeInfo> nodes = rayx::nodes();

  std::vector<rayx::ObjectRef<Facts>> facts;
  std::vector<rayx::ObjectRef<int>> primes;
  std::vector<rayx::ObjectRef<std::size_t>> sizes;
  const auto column = rayx::put(std::vector<int>(1'000'000, 7));  // lies here, and goes to each node that needs it
  for (const rayx::NodeInfo& node : nodes) {
    facts.push_back(rayx::remote<look_around>(on(node)));
    primes.push_back(rayx::remote<primes_below>(on(node), 200'000));
    sizes.push_back(rayx::remote<size_of>(on(node), column));
  }
  std::printf("%-12s %5s %9s  %-16s %5s  %-8s %-24s %s\n", "node", "CPUs", "store", "host", "cores", "libc", "kernel",
              "work");
  bool is_right = static_cast<int>(nodes.size()) == wanted;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const Facts there = rayx::get(facts[i]);
    const bool is_here =
        there.node == nodes[i].id && rayx::get(primes[i]) == 17'984 && rayx::get(sizes[i]) == 1'000'000;
    is_right = is_right && is_here && seen.insert(there.node).second;
    std::printf("%-12s %5.4g %5llu MiB  %-16s %5ld  %-8s %-24s %s\n", nodes[i].name.c_str(), nodes[i].num_cpus,
                static_cast<unsigned long long>(nodes[i].store_bytes >> 20), there.host.c_str(), there.cores,
                there.libc.c_str(), there.kernel.c_str(), is_here ? "right" : "WRONG");
  }
  std::printf("%zu of %d nodes: %s\n", nodes.size(), wanted, is_right ? "all is well" : "something is wrong");
  return is_right ? 0 : 1;
}
