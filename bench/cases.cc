// cases NAME…: runs the named cases through rayx's public API, one after the other; `cases --list` prints the names.
// Prints one JSON line for each figure. Any wrong result ends it with status 1. bench/run starts one process for each case.
#include "cases.hpp"

#include <cstring>
#include <exception>

int main(int argc, char** argv) {
  int done = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--same-process") == 0) {
      bench::same_process_allowed = true;
      continue;
    }
    bool known = false;
    for (const auto& cases :
         {bench::call_cases(), bench::object_cases(), bench::cluster_cases(), bench::node_cases(), bench::fault_cases(),
          bench::head_cases(), bench::transfer_cases(), bench::spark_cases()}) {
      for (const bench::Case& one : cases) {
        if (std::strcmp(argv[i], "--list") == 0) {
          std::printf("%.*s\n", static_cast<int>(one.name.size()), one.name.data());
          known = true;
        } else if (one.name == argv[i]) {
          try {
            one.run();
          } catch (const std::exception& error) {
            bench::check(false, argv[i], error.what());
          }
          known = true;
        }
      }
    }
    bench::check(known, "there is no such case (--list prints all)", argv[i]);
    ++done;
  }
  bench::check(done > 0, "usage: cases [--same-process] NAME… | --list");
  return 0;
}
