// `rayx stop`: ends the nodes that this user has started on this machine.
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "commands.hpp"
#include "json.hpp"
#include "node_file.hpp"

namespace rayx_cli {
namespace {

struct Arguments {
  bool is_json = false;
  bool is_drained = false;
  double timeout_s = 10;
};

bool is_gone_within(int pidfd, double seconds) {
  pollfd waiting{pidfd, POLLIN, 0};
  return ::poll(&waiting, 1, static_cast<int>(seconds * 1000)) == 1;
}

int stop(const Arguments& arguments) {
  Json ended = Json::array();
  int exit_code = 0;
  for (const RunningNode& node : running_nodes()) {
    const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, node.pid, 0));
    if (pidfd < 0) continue;  // it has ended meanwhile
    ::syscall(SYS_pidfd_send_signal, pidfd, arguments.is_drained ? SIGTERM : SIGINT, nullptr, 0);
    const bool was_willing = is_gone_within(pidfd, arguments.timeout_s);
    if (!was_willing) ::syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
    const bool is_gone = was_willing || is_gone_within(pidfd, arguments.timeout_s);
    ::close(pidfd);
    if (!is_gone) exit_code = 1;
    ended.push_back({{"pid", node.pid}, {"address", node.address}, {"killed", !was_willing}, {"gone", is_gone}});
    if (!arguments.is_json)
      std::cout << "rayx: the node " << node.address << " (process " << node.pid << ") "
                << (!is_gone      ? "does not end; look what it waits for"
                    : was_willing ? "has ended"
                                  : "was killed: it did not end")
                << '\n';
  }
  if (arguments.is_json) {
    std::cout << Json{{"nodes", ended}}.dump(2) << '\n';
  } else if (ended.empty()) {
    std::cout << "rayx: no node of this user runs on this machine\n";
  }
  return exit_code;
}

}  // namespace

void add_stop(CLI::App& app, Command& chosen) {
  CLI::App& command = *app.add_subcommand("stop", "End the nodes that this user has started on this machine");
  const auto arguments = std::make_shared<Arguments>();
  command.add_flag("--drain", arguments->is_drained, "Let their work go elsewhere first");
  command.add_option("--timeout", arguments->timeout_s, "Seconds after which a node is killed")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_flag("--json", arguments->is_json, "Print JSON");
  command.footer("Example:\n  rayx stop --drain --timeout 40");
  command.callback([&chosen, arguments] { chosen = [arguments] { return stop(*arguments); }; });
}

}  // namespace rayx_cli
