// However a program ends, nothing of it is left: no process, no zombie, no file in /dev/shm.
#include <gmock/gmock.h>

#include <filesystem>
#include <set>

#include "kit/process_tree.hpp"
#include "scenario.hpp"

namespace rayx::cluster_test {
namespace {

using ::testing::HasSubstr;

std::set<std::string> shared_memory_files() {
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) files.insert(entry.path());
  return files;
}

pid_t fork_server_of(const kit::Program& program) {
  for (const kit::ProcessInfo& process : kit::list_processes())
    if (process.parent == program.pid() && process.name.starts_with("rayx:")) return process.pid;
  return -1;
}

std::vector<pid_t> workers_of(const kit::Program& program) {
  std::vector<pid_t> workers;
  const pid_t server = fork_server_of(program);
  for (const kit::ProcessInfo& process : kit::list_processes())
    if (process.parent == server && process.state != 'Z') workers.push_back(process.pid);
  return workers;
}

// A program with tasks that never end, a child of a task, an actor and objects ends in the given way.
class NothingIsLeft : public ::testing::Test {
 protected:
  void SetUp() override { files_before_ = shared_memory_files(); }
  void TearDown() override { EXPECT_EQ(shared_memory_files(), files_before_); }

  void expect_end(const std::string& how, const std::function<bool(kit::ExitStatus)>& is_right,
                  const std::function<void(Scenario&)>& hurt = {}) {
    Scenario program({"end", how});
    ASSERT_TRUE(program.read_until("busy")) << program.err();
    if (hurt) hurt(program);
    const auto status = program.wait();
    ASSERT_TRUE(status.has_value()) << "it does not end";
    EXPECT_TRUE(is_right(*status)) << status->text() << '\n' << program.err();
    EXPECT_TRUE(program.everything_is_gone());
  }

 private:
  std::set<std::string> files_before_;
};

bool ended_well(kit::ExitStatus status) { return status.exited_with(0); }
bool aborted(kit::ExitStatus status) { return status.killed_by(SIGABRT); }

TEST_F(NothingIsLeft, AfterReturn) { expect_end("return", ended_well); }
TEST_F(NothingIsLeft, AfterExit) { expect_end("exit", ended_well); }
TEST_F(NothingIsLeft, AfterExitInAnotherThread) { expect_end("exit in a thread", ended_well); }
TEST_F(NothingIsLeft, AfterQuickExit) { expect_end("_exit", ended_well); }
TEST_F(NothingIsLeft, AfterAnException) { expect_end("exception", aborted); }
TEST_F(NothingIsLeft, AfterAbort) { expect_end("abort", aborted); }
TEST_F(NothingIsLeft, AfterCtrlC) {
  expect_end(
      "pause", [](kit::ExitStatus status) { return status.killed_by(SIGINT); },
      [](Scenario& program) { program.kill_group(SIGINT); });
}
TEST_F(NothingIsLeft, AfterTerminate) {
  expect_end(
      "pause", [](kit::ExitStatus status) { return status.killed_by(SIGTERM); },
      [](Scenario& program) { program.kill(SIGTERM); });
}
TEST_F(NothingIsLeft, AfterAKillOfTheDriver) {
  expect_end(
      "pause", [](kit::ExitStatus status) { return status.killed_by(SIGKILL); },
      [](Scenario& program) { program.kill(SIGKILL); });
}
TEST_F(NothingIsLeft, AfterAKillOfTheForkServer) {
  expect_end(
      "pause", [](kit::ExitStatus status) { return status.killed_by(SIGTERM); },
      [](Scenario& program) {
        const pid_t server = fork_server_of(program);
        ASSERT_GT(server, 0);
        ::kill(server, SIGKILL);
        while (fork_server_of(program) == server) {
        }
        program.kill(SIGTERM);
      });
}
// Nobody is left then who could look after the processes that tasks have started themselves, so there are none here.
TEST_F(NothingIsLeft, AfterAKillOfTheForkServerAndTheDriverAtOnce) {
  expect_end(
      "pause without children", [](kit::ExitStatus status) { return status.killed_by(SIGKILL); },
      [](Scenario& program) {
        const pid_t server = fork_server_of(program);
        ASSERT_GT(server, 0);
        ::kill(server, SIGKILL);
        program.kill(SIGKILL);
      });
}

TEST(Kills, OfTheForkServerAreSurvived) {
  Scenario program({"work_until_told"});
  ASSERT_TRUE(program.read_until("working"));
  int kills = 0;
  for (; kills < 5; ++kills) {
    pid_t server = -1;
    while ((server = fork_server_of(program)) < 0 && !workers_of(program).empty()) {
    }
    if (server < 0) break;
    ::kill(server, SIGKILL);
    while (fork_server_of(program) == server) {
    }
  }
  EXPECT_THAT(program.result(), HasSubstr("all right"));
  EXPECT_GE(kills, 1);
}

TEST(Kills, OfWorkersAreSurvived) {
  Scenario program({"work_until_told"});
  ASSERT_TRUE(program.read_until("working"));
  int kills = 0;
  for (int round = 0; round < 20; ++round)
    for (const pid_t worker : workers_of(program)) kills += ::kill(worker, SIGKILL) == 0;
  EXPECT_THAT(program.result(), HasSubstr("all right"));
  EXPECT_GE(kills, 1);
}

}  // namespace
}  // namespace rayx::cluster_test
