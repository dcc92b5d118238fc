// The launcher where it belongs, on Spark's workers: what becomes of a submission is what becomes of the program. The program that it
// starts is this one again: a static constructor plays it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "bundle/running_program.hpp"
#include "kit/eventually.hpp"
#include "real_spark.hpp"
#include "spark/program_server.hpp"

namespace {

struct Played {
  Played() {
    const char* const code = std::getenv("PLAYED_EXIT");
    if (code == nullptr) return;
    static const char word[] = "played\n";
    [[maybe_unused]] const ssize_t written = ::write(1, word, sizeof(word) - 1);
    char byte;
    while (*code == '\0' && ::read(0, &byte, 1) > 0) {  // until its input ends
    }
    ::_exit(std::atoi(code));
  }
} played;

}  // namespace

namespace rayx::spark {
namespace {

using testing::HasSubstr;

class SparkLaunches : public SparkTest {
 protected:
  void SetUp() override {
    SparkTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    static bundle::FileDigests digests;
    Result<bundle::RunningProgram> program = bundle::describe_running_program(digests);
    ASSERT_TRUE(program) << program.error().message;
    Result<std::unique_ptr<ProgramServer>> server =
        ProgramServer::start({.program = std::make_shared<const bundle::RunningProgram>(std::move(*program))});
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }
  // An empty code: until its input ends.
  std::string launch(const std::string& exit_code) {
    NodeLaunch launch{.name = "played", .cores = 1, .memory_mib = 512};
    launch.environment = {{"PLAYED_EXIT", exit_code}};
    const Result<LaunchTicket> ticket = server_->admit(launch);
    EXPECT_TRUE(ticket) << ticket.error().message;
    return ticket ? spark().submit(make_submission(launch, *ticket, "rayx test")) : "";
  }
  bool reaches(LaunchStage stage) {
    return kit::eventually([&] { return server_->report("played")->stage == stage; }, RealSpark::kDriverPatience);
  }

  std::unique_ptr<ProgramServer> server_;
};

TEST_F(SparkLaunches, OfAProgramThatEndsWellIsFinished) {
  spark().wait_for(launch("0"), DriverState::kFinished);
  EXPECT_EQ(server_->report("played")->exit_code, 0);
}

TEST_F(SparkLaunches, OfAProgramThatFailsHasFailedAndSaysWhy) {
  spark().wait_for(launch("7"), DriverState::kFailed);
  const LaunchReport report = *server_->report("played");
  EXPECT_EQ(report.exit_code, 7);
  EXPECT_THAT(report.last_lines, testing::ElementsAre("played"));
  EXPECT_THAT(server_->explain("played", ""), HasSubstr("exit code 7"));
}

TEST_F(SparkLaunches, EndWhenTheSubmissionIsKilled) {
  const std::string id = launch("");
  ASSERT_TRUE(reaches(LaunchStage::kStarted));
  EXPECT_EQ(*spark().client().kill(id), KillOutcome::kAsked);
  spark().wait_for(id, DriverState::kKilled);
  EXPECT_TRUE(kit::eventually([] { return spark().processes().size() == spark().own_processes(); }))
      << "the launcher or its program is left";
}

}  // namespace
}  // namespace rayx::spark
