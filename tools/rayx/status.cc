// `rayx status`, `rayx nodes` and `rayx drain`: what a cluster is and does, and taking a node out of it.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iomanip>
#include <iostream>
#include <memory>
#include <rayx/admin.hpp>

#include "commands.hpp"
#include "json.hpp"

namespace rayx_cli {
namespace {

struct Arguments {
  Where where;
  bool is_json = false;
  double timeout_s = 5;
};

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

rayx::ClusterStatus ask(const Arguments& arguments) {
  return rayx::cluster_status(arguments.where.address, token_file_for(arguments.where),
                              milliseconds(arguments.timeout_s));
}

std::string text_of(const std::vector<std::pair<std::string, std::string>>& labels) {
  std::string text;
  for (const auto& [key, value] : labels) text += (text.empty() ? "" : ",") + key + '=' + value;
  return text;
}

Json nodes_as_json(const rayx::ClusterStatus& status) {
  Json nodes = Json::array();
  for (const auto& node : status.nodes) {
    Json labels = Json::object();
    for (const auto& [key, value] : node.labels) labels[key] = value;
    nodes.push_back({{"id", node.id},
                     {"state", node.state},
                     {"name", node.name},
                     {"address", node.address},
                     {"num_cpus", node.num_cpus},
                     {"free_cpus", node.free_cpus},
                     {"store_bytes", node.store_bytes},
                     {"labels", labels},
                     {"reason", node.reason}});
  }
  return nodes;
}

void print_nodes(const rayx::ClusterStatus& status) {
  std::printf("%-16s  %-8s  %-20s  %-22s  %5s  %5s  %9s  %s\n", "id", "state", "name", "address", "CPUs", "free",
              "store", "labels");
  for (const auto& node : status.nodes)
    std::printf("%-16s  %-8s  %-20s  %-22s  %5.4g  %5.4g  %5llu MiB  %s\n", node.id.c_str(), node.state.c_str(),
                node.name.c_str(), node.address.c_str(), node.num_cpus, node.free_cpus,
                static_cast<unsigned long long>(node.store_bytes >> 20), text_of(node.labels).c_str());
}

int nodes(const Arguments& arguments) {
  const rayx::ClusterStatus status = ask(arguments);
  if (arguments.is_json) {
    std::cout << Json{{"nodes", nodes_as_json(status)}}.dump(2) << '\n';
  } else {
    print_nodes(status);
  }
  return 0;
}

int print_status(const Arguments& arguments) {
  const rayx::ClusterStatus status = ask(arguments);
  if (arguments.is_json) {
    Json jobs = Json::array();
    for (const auto& job : status.jobs)
      jobs.push_back({{"id", job.id}, {"program", job.program}, {"driver_host", job.driver_host}});
    Json actors = Json::array();
    for (const auto& actor : status.actors)
      actors.push_back({{"id", actor.id},
                        {"state", actor.state},
                        {"name", actor.name},
                        {"node", actor.node},
                        {"job", actor.job},
                        {"restarts", actor.restarts},
                        {"is_feasible", actor.is_feasible},
                        {"is_detached", actor.is_detached}});
    std::cout << Json{{"cluster", status.cluster},           {"starts_of_head", status.starts_of_head},
                      {"nodes", nodes_as_json(status)},      {"jobs", jobs},
                      {"actors_total", status.actors_total}, {"actors", actors}}
                     .dump(2)
              << '\n';
    return 0;
  }
  double cpus = 0;
  double free = 0;
  std::uint64_t store = 0;
  for (const auto& node : status.nodes) cpus += node.num_cpus, free += node.free_cpus, store += node.store_bytes;
  std::printf("cluster %s at %s: %zu nodes, %.4g CPUs (%.4g free), %llu MiB for objects, %zu jobs, %llu actors\n\n",
              status.cluster.c_str(), arguments.where.address.c_str(), status.nodes.size(), cpus, free,
              static_cast<unsigned long long>(store >> 20), status.jobs.size(),
              static_cast<unsigned long long>(status.actors_total));
  print_nodes(status);
  if (!status.jobs.empty()) std::printf("\n%-8s  %-24s  %s\n", "job", "program", "started on");
  for (const auto& job : status.jobs)
    std::printf("%-8s  %-24s  %s\n", job.id.c_str(), job.program.c_str(), job.driver_host.c_str());
  if (!status.actors.empty())
    std::printf("\n%-16s  %-10s  %-20s  %-16s  %-8s  %s\n", "actor", "state", "name", "node", "job", "restarts");
  for (const auto& actor : status.actors)
    std::printf("%-16s  %-10s  %-20s  %-16s  %-8s  %u%s%s\n", actor.id.c_str(), actor.state.c_str(), actor.name.c_str(),
                actor.node.c_str(), actor.job.c_str(), actor.restarts, actor.is_detached ? "  (detached)" : "",
                actor.is_feasible ? "" : "  (no node is large enough for it)");
  return 0;
}

std::shared_ptr<Arguments> add_arguments(CLI::App& command) {
  auto arguments = std::make_shared<Arguments>();
  add_where(command, arguments->where);
  command.add_option("--timeout", arguments->timeout_s, "Seconds to wait for the head")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_flag("--json", arguments->is_json, "Print JSON");
  return arguments;
}

}  // namespace

void add_status(CLI::App& app, Command& chosen) {
  CLI::App& status = *app.add_subcommand("status", "Show a cluster's nodes, jobs and actors");
  const auto of_status = add_arguments(status);
  status.footer("Example:\n  rayx status --address 10.0.0.7:6390 --token-file cluster.token --json");
  status.callback([&chosen, of_status] { chosen = [of_status] { return print_status(*of_status); }; });
  CLI::App& list = *app.add_subcommand("nodes", "List a cluster's nodes");
  const auto of_nodes = add_arguments(list);
  list.footer("Example:\n  rayx nodes --address 10.0.0.7:6390");
  list.callback([&chosen, of_nodes] { chosen = [of_nodes] { return nodes(*of_nodes); }; });
}

void add_drain(CLI::App& app, Command& chosen) {
  CLI::App& command =
      *app.add_subcommand("drain", "Take a node out of its cluster: its work goes elsewhere, then it ends");
  const auto arguments = add_arguments(command);
  const auto node = std::make_shared<std::string>();
  const auto within_s = std::make_shared<double>(60);
  command.add_option("node", *node, "Its id or its name, as `rayx nodes` shows them")->required();
  command.add_option("--within", *within_s, "Seconds after which what still runs there is lost")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.footer("Example:\n  rayx drain --address 10.0.0.7:6390 --within 300 host-12");
  command.callback([&chosen, arguments, node, within_s] {
    chosen = [arguments, node, within_s] {
      rayx::drain_node(arguments->where.address, *node, milliseconds(*within_s), token_file_for(arguments->where),
                       milliseconds(arguments->timeout_s));
      if (arguments->is_json) {
        std::cout << Json{{"node", *node}, {"draining", true}}.dump(2) << '\n';
      } else {
        std::cout << "rayx: node " << *node
                  << " gets no more work, and ends when what it has is done, at the latest in " << *within_s << " s\n";
      }
      return 0;
    };
  });
}

}  // namespace rayx_cli
