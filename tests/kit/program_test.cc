// Programs that tests start.
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>

#include "kit/eventually.hpp"
#include "kit/program.hpp"

namespace rayx::kit {
namespace {

Program::Options shell(const std::string& script, std::chrono::milliseconds patience = std::chrono::seconds(30)) {
  return {.arguments = {"-c", script}, .patience = patience};
}

TEST(Program, HasAllOutputWhenItsEndIsTold) {
  Program program("/bin/sh", shell("echo early; sleep 0.15; echo late", std::chrono::milliseconds(100)));
  std::optional<ExitStatus> status;
  while (!status) status = program.wait();
  EXPECT_TRUE(status->exited_with(0));
  EXPECT_EQ(program.out(), "early\nlate\n");
}

// As a script that starts a server does.
TEST(Program, IsGoneAlthoughAnotherOneHasLeftSomethingOnPurpose) {
  Program leaves_a_daemon("/bin/sh", shell("setsid sleep 1000 >/dev/null 2>&1 & echo begun"));
  EXPECT_TRUE(leaves_a_daemon.read_until("begun"));
  ASSERT_TRUE(leaves_a_daemon.wait());
  // A process that is just becoming another program shows no environment, by which it would be known.
  EXPECT_TRUE(eventually([&] { return leaves_a_daemon.descendants("sleep").size() == 1; }));
  Program other("/bin/sh", shell("true"));
  ASSERT_TRUE(other.wait());
  EXPECT_TRUE(other.everything_is_gone());
  EXPECT_EQ(leaves_a_daemon.descendants().size(), 1u);
}

TEST(Program, SeesWhatItHasLeftItself) {
  Program program("/bin/sh", shell("setsid sleep 1000 >/dev/null 2>&1 &", std::chrono::milliseconds(200)));
  ASSERT_TRUE(program.wait());
  EXPECT_FALSE(program.everything_is_gone());
}

}  // namespace
}  // namespace rayx::kit
