// A real standalone Spark cluster, which tools/spark.sh starts before a program's first test and ends after its last: Spark 4 behind
// JWSFilter, or with RAYX_SPARK_VERSION=3.5 without a filter. It has two masters, of which one stands by, and the ZooKeeper that they
// agree through.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kit/program.hpp"
#include "spark/rest_client.hpp"

namespace rayx::spark {

std::string variable(const char* name, const char* otherwise = "");

// The program's environment has RAYX_SPARK_NAME, which no other program has, RAYX_SPARK_WORKERS, and what else tools/spark.sh is to be
// told in RAYX_SPARK_OPTIONS.
class RealSpark {
 public:
  static constexpr int kCores = 2;  // of each worker
  static constexpr int kMemoryMib = 1'024;
  static constexpr std::chrono::seconds kDriverPatience{60};  // a JVM on a busy machine takes seconds

  RealSpark();
  ~RealSpark();  // with all that it has started
  RealSpark(const RealSpark&) = delete;
  RealSpark& operator=(const RealSpark&) = delete;

  bool can_be_installed() const { return can_be_installed_; }
  bool runs() const { return !settings_.empty(); }
  // What the script printed.
  const std::string& report() const { return report_; }

  static std::string version() { return variable("RAYX_SPARK_VERSION", "4"); }
  static bool has_auth() { return version() != "3.5"; }
  int workers() const { return workers_; }
  // Masters, ZooKeeper and workers.
  std::size_t own_processes() const { return 3 + static_cast<std::size_t>(workers_); }

  // Of the file that the script writes for the cluster's users.
  const std::map<std::string, std::string>& settings() const { return settings_; }
  const std::string& setting(const std::string& name) const { return settings_.at(name); }
  std::string settings_file() const { return folder() + name_ + ".env"; }

  RestClientOptions options() const;
  SparkRestClient client() const { return client(options()); }
  static SparkRestClient client(RestClientOptions options);
  std::string submit(const SubmissionRequest& request) const;
  // The driver's status as soon as it is in that state, or in one that it never leaves.
  SubmissionStatus wait_for(const std::string& id, DriverState state) const;
  // Of drivers that wait or run.
  std::vector<std::string> drivers() const;
  // No driver is there, and nothing of a worker that lives is reserved.
  bool is_free() const;

  // Everything that the script has started, and that those have started in turn.
  std::vector<pid_t> processes() const { return start_->descendants(); }
  bool is_alone() const { return start_->is_alone(); }
  // Those among them that are nodes of rayx.
  std::vector<pid_t> nodes() const { return start_->descendants("rayx:node"); }
  // Of "master-1" or "worker-3", as the script numbers them.
  pid_t pid_of(const std::string& process) const;
  // Which of its masters is the active one, from 1 on. 0: none is.
  int active_master() const { return active_master(client().capacity()); }
  int active_master(const Result<Capacity>& capacity) const;

  // tools/spark.sh, at its end.
  std::unique_ptr<kit::Program> script(std::vector<std::string> words) const;

 private:
  static std::string folder();

  const std::string name_ = variable("RAYX_SPARK_NAME") + "-" + version();
  const int workers_;
  std::unique_ptr<kit::Program> start_;
  std::string report_;
  bool can_be_installed_ = true;
  std::map<std::string, std::string> settings_;
};

class SparkTest : public testing::Test {
 protected:
  static RealSpark& spark();  // the program's one
  void SetUp() override {
    if (!spark().can_be_installed()) GTEST_SKIP() << "Spark cannot be installed here: " << spark().report();
    ASSERT_TRUE(spark().runs()) << spark().report();
  }
};

}  // namespace rayx::spark
