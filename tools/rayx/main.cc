// The command line `rayx`.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <rayx/errors.hpp>

#include "commands.hpp"

int main(int argc, char** argv) {
  CLI::App app{"rayx: tasks, actors and shared objects for C++ programs, on one machine or many"};
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  rayx start --head                              a cluster of this machine alone\n"
      "  rayx start --address 10.0.0.7:6390             one more node of the cluster whose head is there\n"
      "  rayx status --address 10.0.0.7:6390 --json     what it has and does\n"
      "Exit codes: 0 done, 1 it failed (the message says why), 2 doctor found something to change, 105 and above: "
      "wrong arguments.");
  // What each command is to do, called when its arguments were read.
  rayx_cli::Command chosen;
  rayx_cli::add_start(app, chosen);
  rayx_cli::add_stop(app, chosen);
  rayx_cli::add_status(app, chosen);
  rayx_cli::add_drain(app, chosen);
  rayx_cli::add_doctor(app, chosen);
  rayx_cli::add_completion(app, chosen);
  CLI11_PARSE(app, argc, argv);
  try {
    return chosen();
  } catch (const rayx::Exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
