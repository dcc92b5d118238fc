// What a user reads when a worker dies, and what he sees of its output.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <regex>

#include "scenario.hpp"

namespace rayx::cluster_test {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(WorkerDied, NamesSignalFunctionProcessStackAndLastLines) {
  const std::string text = Scenario({"died", "null"}).result();
  EXPECT_THAT(text,
              ContainsRegex("WorkerDied: rayx: the worker that ran .*crash_by_null died: process [0-9]+ was killed by "
                            "signal 11 \\(SIGSEGV, Segmentation fault\\), null pointer"));
  EXPECT_THAT(text, HasSubstr("Its last lines:\n    about to read through a null pointer\n"));
  EXPECT_THAT(text, ContainsRegex("1\\. crash_by_null at .*scenarios\\.cc:[0-9]+"));
  EXPECT_THAT(text, HasSubstr("max_retries"));
  EXPECT_THAT(text, HasSubstr("and the next task gives 1"));
}

// A function that was inlined has left no frame, and nothing but its caller's name tells of it.
TEST(WorkerDied, NamesTheFunctionWithoutDebugInformation) {
  const std::string text = Scenario({"died", "null"}, {}, Scenario::Build::kWithoutLines).result();
  EXPECT_THAT(text, ContainsRegex(
                        "Its stack:\n   1\\. .*crash_by_null.* \\(cluster_scenarios_without_lines\\+0x[0-9a-f]+\\)\n"));
  EXPECT_THAT(text, Not(HasSubstr("rayx::")));
}

TEST(WorkerDied, TellsWhatItWroteLastToStdoutToo) {
  EXPECT_THAT(Scenario({"last_lines"}).result(), ContainsRegex("of another task\n    of the task that dies\n"));
}

TEST(WorkerDied, ByAbort) {
  EXPECT_THAT(Scenario({"died", "abort"}).result(),
              AllOf(ContainsRegex("call_abort died: process [0-9]+ was killed by signal 6 \\(SIGABRT"),
                    ContainsRegex("1\\. call_abort at"), HasSubstr("before the abort")));
}

TEST(WorkerDied, ByAnExceptionThatNobodyMayCatch) {
  EXPECT_THAT(Scenario({"died", "terminate"}).result(),
              AllOf(HasSubstr("signal 6 (SIGABRT"), HasSubstr("what():  nobody catches this"),
                    ContainsRegex("throw_through_noexcept(\\(\\))? at .*scenarios\\.cc")));
}

TEST(WorkerDied, ByExit) {
  EXPECT_THAT(Scenario({"died", "exit"}).result(), ContainsRegex("call_exit died: process [0-9]+ exited with code 3"));
}

TEST(Errors, ArriveFromAProcessThatCanHaveNoThreadAndNoMemory) {
  if (kit::kIsSanitized) GTEST_SKIP() << "sanitizers need address space of their own";
  EXPECT_EQ(Scenario({"little_room"}).result(), "bad_alloc\n");
}

TEST(ActorDied, NamesTheActorAndTheCause) {
  EXPECT_THAT(Scenario({"died", "actor"}).result(),
              AllOf(ContainsRegex("ActorDied: rayx: actor .*Holder died: process [0-9]+ was killed by signal 11"),
                    ContainsRegex("2\\. crash at .*scenarios\\.cc"), Not(HasSubstr("rayx/detail/"))));
}

TEST(Retries, AreThreeByDefaultAndEndWithTheFirstSuccess) {
  const std::filesystem::path notes =
      std::filesystem::temp_directory_path() / ("rayx-retries-" + std::to_string(::getpid()));
  const std::string text = Scenario({"retries", notes}).result();
  EXPECT_THAT(text, AllOf(HasSubstr("in the end 42"), HasSubstr("signal 9 (SIGKILL")));
  EXPECT_EQ(std::filesystem::file_size(notes), 3u);
  EXPECT_EQ(std::filesystem::file_size(notes.string() + ".never"), 4u);
  std::filesystem::remove(notes);
  std::filesystem::remove(notes.string() + ".never");
}

TEST(Output, OfWorkersArrivesWholeAndInOrder) {
  Scenario program({"output"});
  const std::string text = program.result();
  EXPECT_THAT(program.err(), ContainsRegex("^\\(.*pid=[0-9]+\\) to stderr\n$"));
  // Each line but a prefix: what the workers wrote, in their order.
  std::string written;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    ASSERT_NE(end, std::string::npos);
    const std::size_t prefix = text.find(") ", at);
    ASSERT_EQ(text[at], '(') << text.substr(at, 80);
    ASSERT_LT(prefix, end);
    written += text.substr(prefix + 2, end - prefix - 1);
    at = end + 1;
  }
  std::string many;
  for (int i = 0; i < 20'000; ++i) many += "line " + std::to_string(i) + "\n";
  // The line without an end may be shown as one of its own before the next comes.
  if (const std::size_t partial = written.find("no line end\n"); partial != std::string::npos)
    written.erase(partial + 11, 1);
  EXPECT_TRUE(written == many + "no line end" + many + "and death\n") << "of " << written.size() << " bytes";
}

}  // namespace
}  // namespace rayx::cluster_test
