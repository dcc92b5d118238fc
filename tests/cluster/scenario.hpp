// Starts the program of scenarios.cc.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "kit/program.hpp"
#include "kit/sanitized.hpp"

namespace rayx::cluster_test {

class Scenario : public kit::Program {
 public:
  // As its author debugs it (kWithLines), or as it is shipped.
  enum class Build { kWithLines, kWithoutLines };
  explicit Scenario(std::vector<std::string> arguments, std::vector<std::string> environment = {},
                    Build build = Build::kWithLines)
      : Program(path(build == Build::kWithLines ? "RAYX_SCENARIOS" : "RAYX_SCENARIOS_WITHOUT_LINES"),
                {std::move(arguments), as_shipped(std::move(environment))}) {}

  // Its stdout, after it has ended well and left nothing.
  std::string result() {
    const auto status = wait();
    EXPECT_TRUE(status.has_value() && status->exited_with(0))
        << (status ? status->text() : "it still runs") << "\nstdout:\n"
        << out() << "\nstderr:\n"
        << err();
    EXPECT_TRUE(everything_is_gone());
    return out();
  }

 private:
  // A sanitizer would end a crashing process its own way, with another exit code and a report of its own.
  static std::vector<std::string> as_shipped(std::vector<std::string> environment) {
    if (!kit::kIsSanitized) return environment;
    const std::string options = "handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigill=0:handle_sigfpe=0";
    environment.push_back("ASAN_OPTIONS=" + options);
    environment.push_back("TSAN_OPTIONS=die_after_fork=0:report_thread_leaks=0:" + options);
    return environment;
  }
  static std::string path(const char* variable) {
    const char* const path = std::getenv(variable);
    return path == nullptr ? std::string(variable) + " is not set" : path;
  }
};

}  // namespace rayx::cluster_test
