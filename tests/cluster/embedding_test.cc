// rayx inside programs that do not know of it: threads, forks, constructors, containers.
#include <gmock/gmock.h>

#include "base/clock.hpp"
#include "scenario.hpp"

namespace rayx::cluster_test {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Embedding, StartsInAThreadThatIsNotMains) { EXPECT_EQ(Scenario({"thread"}).result(), "result 101\n"); }

TEST(Embedding, RepeatsNothingThatCameBeforeInit) {
  EXPECT_EQ(Scenario({"before_init", "--gtest_filter=x"}).result(),
            "side effect\nargument before_init\nargument --gtest_filter=x\ntasks 10\n");
}

TEST(Embedding, AForkOfTheUsersProgramHasNoRuntimeAndEndsNone) {
  // TSan has a code of its own for the exit of a child that a program with threads has forked.
  const std::string child_end = kit::kIsSanitized ? "child ended with " : "child ended with 0\n";
  EXPECT_THAT(Scenario({"user_fork"}).result(),
              AllOf(HasSubstr("child: rayx: remote: this process has no runtime"), HasSubstr(child_end),
                    HasSubstr("parent: 8\n"), HasSubstr("system: 0\n")));
}

TEST(Embedding, AProcessThatATaskForksIsNoWorker) {
  Scenario program({"fork_in_task"});
  EXPECT_EQ(program.result(), "return 1\nthrow 1\nuse 5\n");
  EXPECT_THAT(program.err(), AllOf(HasSubstr("had forked came back from the task and was ended. End it with _exit()"),
                                   HasSubstr("this process has no runtime")));
}

TEST(Embedding, ClosedStandardDescriptorsAreNotOurs) {
  Scenario program({"closed_descriptors"});
  const auto status = program.wait();
  ASSERT_TRUE(status.has_value());
  EXPECT_TRUE(status->exited_with(0)) << status->text();
  EXPECT_TRUE(program.everything_is_gone());
}

TEST(Embedding, ARuntimeOfAStaticConstructorHasWorkersWithAllGlobals) {
  EXPECT_EQ(Scenario({"global_runtime"}, {"SCENARIO_GLOBAL=1"}).result(), "made after it\n");
}

TEST(Embedding, AConstructorThatExitsInTheForkServerIsAClearError) {
  EXPECT_THAT(Scenario({"constructor_in_worker"}, {"SCENARIO_CONSTRUCTOR=exit"}).result(),
              AllOf(HasSubstr("exited with code 3 before main: a static constructor"),
                    HasSubstr("the licence is missing"), Not(HasSubstr("initialised"))));
}

TEST(Embedding, AConstructorThatNeverEndsDiesWithTheProgram) {
  Scenario program({"constructor_in_worker"}, {"SCENARIO_CONSTRUCTOR=hang"});
  while (program.descendants().empty()) {
  }
  program.kill(SIGKILL);
  EXPECT_TRUE(program.wait().has_value());
  EXPECT_TRUE(program.everything_is_gone());
}

class Seccomp : public ::testing::TestWithParam<const char*> {
 protected:
  std::string run(const std::string& what) {
    Scenario program({"seccomp", what + "_" + GetParam()});
    const auto status = program.wait();
    EXPECT_TRUE(program.everything_is_gone());
    EXPECT_TRUE(status.has_value());
    if (status && status->exited_with(77)) return {};
    EXPECT_TRUE(status && status->exited_with(0)) << program.out() << program.err();
    return program.out();
  }
};

TEST_P(Seccomp, WithoutPidfdsEverythingWorks) {
  const std::string text = run("pidfd");
  if (text.empty()) GTEST_SKIP() << "no seccomp here";
  EXPECT_EQ(text, "result 1\nsize 1000\nafter a kill 1\n");
}

TEST_P(Seccomp, WithoutMemfdTheErrorSaysWhatToAllow) {
  for (const char* const what : {"memfd", "both"}) {
    const std::string text = run(what);
    if (text.empty()) GTEST_SKIP() << "no seccomp here";
    EXPECT_THAT(
        text, AllOf(HasSubstr("error: "), HasSubstr("memfd_create"), HasSubstr("seccomp"), HasSubstr("RAYX_LOCAL=1")));
  }
}
INSTANTIATE_TEST_SUITE_P(ByError, Seccomp, ::testing::Values("EPERM", "ENOSYS"));

TEST(Embedding, GetInADestructorAfterTheRuntimeIsAnError) {
  for (const char* const how : {"plain", "static"}) {
    const std::string text = Scenario({"get_in_destructor", how}).result();
    EXPECT_THAT(text,
                AllOf(HasSubstr("static: rayx: get: this process has no runtime"),
                      HasSubstr("static: rayx: remote: this process has no runtime"), Not(HasSubstr("no error"))));
  }
}

TEST(Embedding, AThreadThatWaitsWhenTheRuntimeEndsGetsAnError) {
  const std::string text = Scenario({"get_in_destructor", "thread"}).result();
  EXPECT_THAT(text, AllOf(ContainsRegex("waiter: rayx: get: (the runtime was shut down|this process has no runtime)"),
                          HasSubstr("thread: rayx: get: this process has no runtime"), Not(HasSubstr("no error"))));
}

}  // namespace
}  // namespace rayx::cluster_test
