// The kit's seed and child processes.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "kit/child_process.hpp"
#include "kit/seed.hpp"

namespace rayx::kit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Seed, IsTheSameEverywhereAndInTheEnvironment) {
  const char* text = std::getenv("RAYX_SEED");
  ASSERT_NE(text, nullptr);
  EXPECT_EQ(parse_seed(text), seed());
  ChildProcess child([expected = seed()] { return seed() == expected ? 0 : 1; });
  EXPECT_TRUE(child.wait(seconds(10))->exited_with(0)) << child.text();
}

TEST(Seed, TakesWholeNumbersOnly) {
  EXPECT_EQ(parse_seed("0"), 0u);
  EXPECT_EQ(parse_seed("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(parse_seed("0xff"), 255u);
  for (const char* wrong : {"", "0x", "-1", "1 ", " 1", "1.5", "abc", "18446744073709551616"}) {
    EXPECT_EQ(parse_seed(wrong), std::nullopt) << '"' << wrong << '"';
  }
}

TEST(Seed, IsTakenOutOfTheArguments) {
  // In a child, because the seed of this run is settled already.
  std::vector<std::string> texts = {"program", "--seed", std::to_string(seed()), "--gtest_filter=*", "--seed=5"};
  std::vector<char*> arguments;
  for (std::string& text : texts) arguments.push_back(text.data());
  arguments.push_back(nullptr);
  ChildProcess child([&] {
    int count = 5;
    init_seed(&count, arguments.data());
    EXPECT_EQ(count, 2);
    EXPECT_STREQ(arguments[1], "--gtest_filter=*");
    EXPECT_EQ(arguments[2], nullptr);
    return 0;
  });
  EXPECT_TRUE(child.wait(seconds(10))->exited_with(0)) << child.text();
}

TEST(SeedDeathTest, RefusesWhatIsNoNumber) {
  char program[] = "program";
  char wrong[] = "--seed=many";
  char* arguments[] = {program, wrong, nullptr};
  int count = 2;
  EXPECT_EXIT(init_seed(&count, arguments), ::testing::ExitedWithCode(2), "rayx: --seed is 'many'");
}

TEST(ChildProcess, ReportsItsExitCode) {
  ChildProcess child([] { return 3; });
  const auto status = child.wait(seconds(10));
  ASSERT_TRUE(status);
  EXPECT_TRUE(status->exited_with(3)) << status->text();
  EXPECT_FALSE(status->killed_by(SIGKILL));
  EXPECT_EQ(status->text(), "exited with 3");
  EXPECT_TRUE(child.wait(milliseconds(0))) << "asking again must give the same";
}

TEST(ChildProcess, IsKilledAndSaysSo) {
  ChildProcess child([] {
    while (true) ::pause();
    return 0;
  });
  EXPECT_FALSE(child.wait(milliseconds(20))) << "it runs for ever";
  EXPECT_NE(child.text().find("still runs"), std::string::npos);
  EXPECT_TRUE(child.kill());
  const auto status = child.wait(seconds(10));
  ASSERT_TRUE(status);
  EXPECT_TRUE(status->killed_by(SIGKILL)) << status->text();
  EXPECT_EQ(status->text(), "killed by signal 9 (Killed)");
  EXPECT_FALSE(child.kill()) << "its pid may belong to somebody else by now";
}

TEST(ChildProcess, TellsOfExceptionsAndFailedExpectations) {
  ChildProcess throws([]() -> int { throw std::runtime_error("thrown on purpose by a test"); });
  EXPECT_TRUE(throws.wait(seconds(10))->exited_with(ChildProcess::kExitException)) << throws.text();
  ChildProcess expects([] {
    EXPECT_EQ(1, 2) << "fails on purpose, in a child";
    return 0;
  });
  EXPECT_TRUE(expects.wait(seconds(10))->exited_with(ChildProcess::kExitExpectation)) << expects.text();
}

TEST(ChildProcess, DoesNotOutliveItsHandle) {
  pid_t pid = 0;
  {
    ChildProcess child([] {
      while (true) ::pause();
      return 0;
    });
    pid = child.pid();
    EXPECT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH) << "killed and reaped";
}

TEST(ChildProcess, DiesWithItsParent) {
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  ChildProcess parent([&] {
    ChildProcess grandchild([] {
      while (true) ::pause();
      return 0;
    });
    ::close(pipe_fds[0]);
    const char ready = 'r';
    EXPECT_EQ(::write(pipe_fds[1], &ready, 1), 1);
    while (true) ::pause();
    return 0;
  });
  ::close(pipe_fds[1]);
  char byte = 0;
  ASSERT_EQ(::read(pipe_fds[0], &byte, 1), 1);
  parent.kill();
  // The grandchild holds the pipe open; its end is seen when the last holder is gone.
  EXPECT_EQ(::read(pipe_fds[0], &byte, 1), 0);
  ::close(pipe_fds[0]);
}

}  // namespace
}  // namespace rayx::kit
