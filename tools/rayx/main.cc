// The command line `rayx`.
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <rayx/admin.hpp>
#include <rayx/errors.hpp>
#include <string>

namespace {

struct StartArguments {
  bool is_head = false;
  std::string listen = "127.0.0.1";
  std::uint16_t port = 6390;
  std::string token_file;
  int cpus = 0;
  std::string cache;
};

// In the folder that only this user can read, and that is gone after a restart of the machine.
std::string default_token_file(std::uint16_t port) {
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  const std::string folder = runtime != nullptr && *runtime != '\0' ? runtime : "/tmp";
  return folder + "/rayx-" + std::to_string(::getuid()) + "-" + std::to_string(port) + ".token";
}

int start(const StartArguments& arguments) {
  // Blocked before there are threads, so that none of them is interrupted: this one waits for them.
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGINT);
  ::sigaddset(&signals, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  const bool has_token = std::getenv("RAYX_TOKEN") != nullptr || std::getenv("RAYX_TOKEN_FILE") != nullptr;
  rayx::NodeOptions options;
  options.listen = arguments.listen;
  options.port = arguments.port;
  options.cache_folder = arguments.cache;
  options.token_file = arguments.token_file;
  if (options.token_file.empty() && !has_token) options.token_file = default_token_file(arguments.port);
  if (arguments.cpus > 0) options.num_cpus = arguments.cpus;
  options.log = [](const std::string& line) { std::cerr << "rayx: " << line << '\n' << std::flush; };
  const rayx::ClusterNode node(std::move(options));
  const std::string token =
      arguments.token_file.empty() && has_token
          ? ""
          : "RAYX_TOKEN_FILE=" +
                (arguments.token_file.empty() ? default_token_file(arguments.port) : arguments.token_file) + ' ';
  std::cout << "rayx: a node with " << node.num_cpus() << " CPUs and " << (node.store_bytes() >> 20)
            << " MiB for objects listens on " << node.address() << "\n\n  Run a program on it:\n    " << token
            << "RAYX_ADDRESS=" << node.address() << " ./program\n  End it: Ctrl-C, or kill " << ::getpid() << "\n"
            << std::flush;
  int signal = 0;
  ::sigwait(&signals, &signal);
  std::cout << "rayx: the node ends\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"rayx: tasks, actors and shared objects for C++ programs, on one machine or many"};
  app.require_subcommand(1);
  StartArguments arguments;
  CLI::App& start_command = *app.add_subcommand("start", "Start a node of a cluster in this process");
  start_command.add_option("--listen", arguments.listen,
                           "Address to listen on; 127.0.0.1 unless others are to reach it");
  start_command.add_option("--port", arguments.port, "Port; 0 for any that is free")->capture_default_str();
  start_command.add_option("--token-file", arguments.token_file,
                           "File with the cluster's token; made if it does not exist");
  start_command.add_option("--num-cpus", arguments.cpus, "CPUs for jobs; all that this process may use by default");
  start_command.add_option("--cache", arguments.cache, "Folder for the programs that run here");
  CLI11_PARSE(app, argc, argv);
  try {
    return start(arguments);
  } catch (const rayx::Exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
