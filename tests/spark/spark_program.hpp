// Tests of a program that sets up clusters on the real Spark: tests/spark/cluster_program.cc.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/deadline.hpp"
#include "kit/eventually.hpp"
#include "kit/program.hpp"
#include "real_spark.hpp"

namespace rayx::spark {

inline constexpr std::chrono::seconds kPatience{120};      // for a set-up on a busy machine
inline constexpr std::chrono::seconds kErrorPatience{60};  // what cannot be is said in this time

class SparkProgramTest : public SparkTest {
 protected:
  // Whatever a test did, Spark has all of its workers back.
  void TearDown() override { EXPECT_TRUE(!spark().runs() || is_free()) << "something is left on Spark"; }
  static bool is_free() {
    return kit::eventually([] { return spark().is_free(); }, kPatience);
  }

  static std::unique_ptr<kit::Program> program(std::vector<std::string> arguments,
                                               const std::map<std::string, std::string>& other = {}) {
    std::map<std::string, std::string> settings = spark().settings();
    for (const auto& [name, value] : other) settings[name] = value;
    std::vector<std::string> environment;
    for (const auto& [name, value] : settings) environment.push_back(name + '=' + value);
    return std::make_unique<kit::Program>(
        variable("RAYX_SPARK_PROGRAM"),
        kit::Program::Options{.arguments = std::move(arguments), .environment = std::move(environment)});
  }
  static bool read_until(kit::Program& program, const std::string& text) {
    for (const base::Deadline deadline(kPatience); !deadline.has_passed();)
      if (program.read_until(text)) return true;
    return false;
  }
  static std::string run(std::vector<std::string> arguments) { return end_of(*program(std::move(arguments))); }
  static std::string error_of(std::vector<std::string> arguments,
                              const std::map<std::string, std::string>& other = {}) {
    return end_of(*program(std::move(arguments), other), kErrorPatience);
  }
  static std::string end_of(kit::Program& running, std::chrono::seconds patience = kPatience) {
    std::optional<kit::ExitStatus> status;
    for (const base::Deadline deadline(patience); !status && !deadline.has_passed();) status = running.wait();
    EXPECT_TRUE(status && status->exited_with(0)) << running.out() << running.err();
    std::printf("%s%s", running.out().c_str(), running.err().c_str());
    return running.out() + running.err();
  }
};

}  // namespace rayx::spark
