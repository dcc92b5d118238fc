// `rayx start`: a node of a cluster in this process, until it is told to end.
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <mutex>
#include <rayx/admin.hpp>
#include <rayx/errors.hpp>
#include <utility>

#include "commands.hpp"
#include "node_file.hpp"

namespace rayx_cli {
namespace {

constexpr std::chrono::seconds kDrainTimeout{30};

struct Arguments {
  rayx::NodeOptions options;
  int cpus = 0;
  std::uint64_t store_mib = 0;
  std::vector<std::string> labels;
};

// Blocked before there are threads, so that none of them is interrupted: the main thread takes them from the descriptor.
int take_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGINT);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGHUP);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  return ::signalfd(-1, &signals, SFD_CLOEXEC);
}

void split_labels(Arguments& arguments) {
  for (const std::string& label : arguments.labels) {
    const std::size_t equals = label.find('=');
    if (equals == std::string::npos)
      throw rayx::ConfigError(
          {rayx::ErrorCode::kInvalidConfig, "rayx: the label \"" + label + "\" has no value; write --label zone=a"});
    arguments.options.labels.emplace_back(label.substr(0, equals), label.substr(equals + 1));
  }
}

// The words in front of a command that say which token it is to use.
std::string token_words(const std::string& file) { return file.empty() ? "" : "RAYX_TOKEN_FILE=" + file + ' '; }

void greet(const rayx::ClusterNode& node, const Arguments& arguments) {
  const std::string& file = arguments.options.token_file;
  if (arguments.options.is_head_only) {
    std::cout << "rayx: the head of a cluster listens on " << node.address();
  } else {
    std::cout << "rayx: a node with " << node.num_cpus() << " CPUs and " << (node.store_bytes() >> 20)
              << " MiB for objects listens on " << node.address();
  }
  if (!arguments.options.has_head) std::cout << "; the head is at " << node.head_address();
  std::cout << "\n\n";
  if (arguments.options.has_head) {
    std::cout << "  Add a node:           " << token_words(file) << "rayx start --address " << node.head_address()
              << '\n';
  }
  std::cout << "  Run a program on it:  " << token_words(file) << "RAYX_ADDRESS=" << node.head_address()
            << " ./program\n"
            << "  Look at it:           " << token_words(file) << "rayx status --address " << node.head_address()
            << '\n'
            << "  End this node:        Ctrl-C, or rayx stop";
  if (!file.empty()) std::cout << "\n  (On another machine: copy the token's file there first, mode 0600.)";
  std::cout << '\n' << std::flush;
}

int start(Arguments& arguments) {
  rayx::NodeOptions& options = arguments.options;
  const int signals = take_signals();
  const int over = ::eventfd(0, EFD_CLOEXEC);
  const bool has_token = std::getenv("RAYX_TOKEN") != nullptr || std::getenv("RAYX_TOKEN_FILE") != nullptr;
  if (options.token_file.empty() && !has_token) {
    const std::string& head = options.head_address;
    options.token_file = default_token_file(
        options.has_head ? options.port
                         : static_cast<std::uint16_t>(std::strtoul(head.c_str() + head.rfind(':') + 1, nullptr, 10)));
  }
  if (arguments.cpus > 0) options.num_cpus = arguments.cpus;
  if (arguments.store_mib > 0) options.store_bytes = arguments.store_mib << 20;
  split_labels(arguments);
  options.log = [](const std::string& line) { std::cerr << "rayx: " + line + '\n' << std::flush; };
  std::mutex mutex;
  std::string why;
  bool is_as_asked = true;  // else who supervises it may want to start it again
  options.is_over = [&](const std::string& message, bool was_asked) {
    const std::lock_guard lock(mutex);
    why = message;
    is_as_asked = was_asked;
    const std::uint64_t one = 1;
    static_cast<void>(!::write(over, &one, sizeof(one)));
  };
  auto node = std::make_unique<rayx::ClusterNode>(options);
  const NodeFile file(node->address());
  greet(*node, arguments);
  bool is_drained = false;
  while (true) {
    pollfd waiting[] = {{signals, POLLIN, 0}, {over, POLLIN, 0}};
    if (::poll(waiting, 2, -1) < 0 && errno != EINTR) break;
    if (waiting[1].revents != 0) {
      const std::lock_guard lock(mutex);
      std::cout << "rayx: the node ends: " << why << '\n' << std::flush;
      break;
    }
    if (waiting[0].revents == 0) continue;
    signalfd_siginfo signal{};
    if (::read(signals, &signal, sizeof(signal)) != sizeof(signal)) continue;
    // What a supervisor sends: the cluster takes the work elsewhere first. The head's node has nowhere to go without the head.
    if (signal.ssi_signo == SIGTERM && !options.has_head && !std::exchange(is_drained, true)) {
      std::cout << "rayx: the node is drained; another SIGTERM, or Ctrl-C, ends it at once" << '\n' << std::flush;
      node->drain(kDrainTimeout);
      continue;
    }
    std::cout << "rayx: the node ends" << '\n' << std::flush;
    break;
  }
  node.reset();
  return is_as_asked ? 0 : 1;
}

}  // namespace

void add_start(CLI::App& app, Command& chosen) {
  CLI::App& command = *app.add_subcommand("start", "Start a node of a cluster in this process");
  const auto arguments = std::make_shared<Arguments>();
  rayx::NodeOptions& options = arguments->options;
  options.port = kDefaultPort;
  CLI::Option* const head = command.add_flag("--head", options.has_head, "This node has the head of the cluster in it");
  CLI::Option* const address = command.add_option("--address", options.head_address,
                                                  "host:port of the head of the cluster that this node joins");
  head->excludes(address);
  command.add_flag("--head-only", options.is_head_only, "This process is nothing but the head: nothing runs here")
      ->excludes(address);
  command
      .add_option("--state", options.state_folder,
                  "Folder in which the head keeps what must survive it: started again with it, the cluster goes on")
      ->excludes(address);
  command.add_option("--name", options.name, "Name of the node for people; the host's by default");
  command.add_option("--label", arguments->labels,
                     "key=value, by which tasks and actors choose nodes; may be repeated");
  command
      .add_option(
          "--listen", options.listen,
          "Address to listen on; 0.0.0.0 for all of the machine's. Others reach only what is not a loopback address")
      ->capture_default_str();
  command.add_option("--port", options.port, "Port; 0 for any that is free. A node that joins takes any by default");
  command.add_option("--advertise", options.advertise,
                     "Host, or host:port, by which the others reach this node, if it is another than it looks");
  command.add_option("--token-file", options.token_file, "File with the cluster's token; made if it does not exist");
  command.add_option("--num-cpus", arguments->cpus, "CPUs for jobs; all that this process may use by default")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--store-mib", arguments->store_mib,
                  "Memory for objects of a job; 30 % of what it may use by default")
      ->check(CLI::PositiveNumber);
  command.add_option("--cache", options.cache_folder, "Folder for the programs that run here");
  command.footer(
      "Examples:\n"
      "  rayx start --head --listen 10.0.0.7 --token-file cluster.token --state /var/lib/rayx\n"
      "  rayx start --address 10.0.0.7:6390 --listen 0.0.0.0 --token-file cluster.token --label zone=a");
  command.callback([&command, &chosen, arguments] {
    if (arguments->options.is_head_only) arguments->options.has_head = true;
    if (!arguments->options.has_head && command.count("--port") == 0) arguments->options.port = 0;
    chosen = [arguments] { return start(*arguments); };
  });
}

}  // namespace rayx_cli
