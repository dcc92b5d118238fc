// Large values between nodes.
#include <algorithm>
#include <cstdlib>
#include <rayx/rayx.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cases.hpp"
#include "cluster_processes.hpp"
#include "other_node.hpp"

namespace bench {
namespace {

constexpr std::size_t kCount = (std::size_t{1} << 30) / sizeof(double);

// What is there of it: its size, and that its ends are right. Reading every byte is another case.
std::uint64_t look_at(std::span<const double> values) {
  check(values.front() == 1.0 && values.back() == 2.0, "the object is damaged");
  return stamp(values.size());
}

rayx::ObjectRef<rayx::Array<double>> make_object() {
  rayx::ArrayBuilder<double> builder(kCount);
  std::fill(builder.begin(), builder.end(), 0.5);
  builder[0] = 1.0;
  builder[kCount - 1] = 2.0;
  return rayx::put(std::move(builder));
}

// A node keeps a large argument for a second after its last use: then its memory is free, and was used before.
void let_it_go() { std::this_thread::sleep_for(std::chrono::milliseconds(1'200)); }

// Until a new object of a GiB was looked at by one task for each of `where`.
double seconds_to(const std::vector<rayx::TaskOptions>& where) {
  const auto object = make_object();
  const double seconds = seconds_of([&] {
    std::vector<rayx::ObjectRef<std::uint64_t>> sizes;
    for (const rayx::TaskOptions& options : where) sizes.push_back(rayx::remote<look_at>(options, object));
    for (const auto& size : sizes) check(value_of(rayx::get(size)) == kCount, "wrong size");
  });
  return seconds;
}

// One object of a GiB to the other node, where a task finds it in its store; the first time into memory that was never touched.
void transfer() {
  const OtherNode node;
  const rayx::Runtime runtime = rayx::init();
  value_of(rayx::get(rayx::remote<next_number>(std::uint64_t{0})));
  const auto send = [&] {
    const double seconds = seconds_to({{}});
    let_it_go();
    return 1 / seconds;
  };
  report("transfer_1GiB_cold", "GiB/s", send());
  report("transfer_1GiB", "GiB/s", median_of(3, send));
}

// One object of a GiB to four nodes at once, against one object to one of them: bytes that arrive in a second. All of it into memory that
// was used before.
void broadcast() {
  constexpr std::size_t kNodes = 4;
  ClusterProcesses cluster;
  cluster.start_with_nodes(kNodes);
  const rayx::Runtime runtime = rayx::init();
  std::vector<rayx::TaskOptions> everywhere;
  for (const rayx::NodeInfo& node : rayx::nodes()) {
    if (node.num_cpus < 1) continue;
    rayx::TaskOptions& options = everywhere.emplace_back();
    options.labels = {{rayx::kNodeIdLabel, {node.id}}};
  }
  check(everywhere.size() == kNodes, "the cluster has not four nodes", std::to_string(everywhere.size()));
  seconds_to(everywhere);
  let_it_go();
  std::vector<double> to_one;
  std::vector<double> to_all;
  for (int round = 0; round < 3; ++round) {
    to_one.push_back(1 / seconds_to({everywhere.front()}));
    let_it_go();
    to_all.push_back(kNodes / seconds_to(everywhere));
    let_it_go();
  }
  report("broadcast_1GiB_4", "GiB/s", median(to_all), median(to_one));
}

constexpr std::size_t kMadeCount = (std::size_t{64} << 20) / sizeof(double);

std::vector<double> make_64_mib() {
  std::vector<double> values(kMadeCount, 0.5);
  values.front() = 1.0;
  values.back() = 2.0;
  return values;
}

// A task that needs what another one has made on the other node: it runs there, and the value stays.
void result_as_argument() {
  const OtherNode node;
  const rayx::Runtime runtime = rayx::init();
  const rayx::ObjectRef<std::vector<double>> made = rayx::remote<make_64_mib>();
  const auto look = [&] {
    constexpr int kLooks = 200;
    const double seconds = seconds_of([&] {
      for (int i = 0; i < kLooks; ++i)
        check(value_of(rayx::get(rayx::remote<look_at>(made))) == kMadeCount, "wrong size");
    });
    return seconds / kLooks * 1e6;
  };
  look();
  report("result_as_argument_64MiB", "us", median_of(5, look));
}

constexpr Case kCases[] = {
    {"result_as_argument_64MiB", result_as_argument},
    {"transfer_1GiB", transfer},
    {"broadcast_1GiB_4", broadcast},
};

}  // namespace

std::span<const Case> transfer_cases() { return kCases; }

}  // namespace bench
