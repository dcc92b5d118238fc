// The head of a cluster: how soon work that needs it goes on after its death, and how many nodes join it in which time.
#include <cstdlib>
#include <rayx/admin.hpp>
#include <string>
#include <vector>

#include "cases.hpp"
#include "cluster_processes.hpp"

namespace bench {
namespace {

struct Cell {
  std::uint64_t next(std::uint64_t x) const { return stamp(x + 1); }
};
void make_and_call() {
  const auto cell = rayx::actor<Cell>();
  check(value_of(rayx::get(cell.call<&Cell::next>(std::uint64_t{1}))) == 2, "an actor gave a wrong result");
}

// From the kill of the head until an actor that was asked for afterwards has answered: another head was started meanwhile.
void head_failover() {
  ClusterProcesses cluster;
  const std::size_t head = cluster.prepare(true);
  const std::size_t next_head = cluster.prepare(true);
  const std::size_t node = cluster.prepare(false);
  cluster.begin(head, "127.0.0.1:0");
  const std::string address = cluster.wait(head);
  cluster.begin(node, address);
  cluster.wait(node);
  ::setenv("RAYX_ADDRESS", address.c_str(), 1);
  const rayx::Runtime runtime = rayx::init();
  make_and_call();
  const double seconds = seconds_of([&] {
    cluster.kill(head);
    cluster.begin(next_head, address);
    make_and_call();
  });
  report("head_failover", "ms", seconds * 1e3);
}

// A hundred nodes, each a process, until the head has them all.
void join_100() {
  constexpr std::size_t kNodes = 100;
  ClusterProcesses cluster;
  const std::size_t head = cluster.prepare(true);
  const std::vector<std::size_t> nodes = cluster.prepare_nodes(kNodes);
  cluster.begin(head, "127.0.0.1:0");
  const std::string address = cluster.wait(head);
  const double seconds = seconds_of([&] { cluster.begin_nodes(nodes, address); });
  check(rayx::cluster_status(address).nodes.size() == kNodes, "the head does not have all nodes");
  report("join_100", "s", seconds);
}

constexpr Case kCases[] = {
    {"head_failover", head_failover},
    {"join_100", join_100},
};

}  // namespace

std::span<const Case> head_cases() { return kCases; }

}  // namespace bench
