// Starts the program of scenarios.cc.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "kit/program.hpp"

namespace rayx::cluster_test {

class Scenario : public kit::Program {
 public:
  explicit Scenario(std::vector<std::string> arguments, std::vector<std::string> environment = {})
      : Program(path(), {std::move(arguments), std::move(environment)}) {}

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
  static std::string path() {
    const char* const path = std::getenv("RAYX_SCENARIOS");
    return path == nullptr ? "RAYX_SCENARIOS is not set" : path;
  }
};

}  // namespace rayx::cluster_test
