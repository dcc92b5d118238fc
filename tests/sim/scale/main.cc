// Runs clusters of the sizes that are asked for and prints what they cost their head, as tables in Markdown.
//
//   scale [--nodes 10,100,1000,5000] [--seconds 60] [--seed 1] [--gbit 10]
//
// Status 1: something that must hold did not; it is printed to stderr.
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>

#include "run.hpp"

int main(int argc, char** argv) {
  using rayx::sim::Plan;
  std::string sizes = "10,100,1000,5000";
  Plan plan;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const std::string value = argv[i + 1];
    if (name == "--nodes") {
      sizes = value;
    } else if (name == "--seconds") {
      plan.steady_ns = std::strtoll(value.c_str(), nullptr, 10) * rayx::sim::kSecond;
    } else if (name == "--gbit") {
      plan.link_bytes_per_second = std::strtod(value.c_str(), nullptr) * 1e9 / 8;
    } else if (name == "--seed") {
      plan.seed = std::strtoull(value.c_str(), nullptr, 10);
    } else {
      std::cerr << "rayx: scale does not know " << name
                << "; it takes --nodes N,N,…, --seconds S, --seed N and --gbit G\n";
      return 2;
    }
  }
  std::vector<rayx::sim::Report> reports;
  bool is_well = true;
  std::istringstream list(sizes);
  for (std::string size; std::getline(list, size, ',');) {
    plan.nodes = std::atoi(size.c_str());
    if (plan.nodes < 5) {
      std::cerr << "rayx: a cluster of \"" << size << "\" nodes cannot be simulated; 5 is the least\n";
      return 2;
    }
    std::cerr << "rayx: " << plan.nodes << " nodes…\n";
    reports.push_back(rayx::sim::Run(plan).run());
    if (reports.back().problem.empty()) continue;
    std::cerr << "rayx: with " << size << " nodes: " << reports.back().problem << '\n';
    is_well = false;
  }
  std::cout << rayx::sim::tables(reports);
  return is_well ? 0 : 1;
}
