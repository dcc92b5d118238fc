// Libraries that are loaded by dlopen, and when the functions in them can be tasks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "kit/program.hpp"

namespace rayx::embedding_test {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string(name) + " is not set" : value;
}

// Its stdout, after it has ended well and left nothing.
std::string run(const char* host, std::vector<std::string> arguments, std::vector<std::string> environment = {}) {
  kit::Program program(variable(host), {std::move(arguments), std::move(environment)});
  const auto status = program.wait();
  EXPECT_TRUE(status.has_value() && status->exited_with(0))
      << (status ? status->text() : "it still runs") << "\nstdout:\n"
      << program.out() << "\nstderr:\n"
      << program.err();
  EXPECT_TRUE(program.everything_is_gone());
  return program.out();
}

TEST(Plugins, LoadedByAStaticConstructorIsInTheWorkersToo) {
  const std::string plugin = variable("RAYX_TEST_PLUGIN");
  EXPECT_EQ(run("RAYX_TEST_PLUGIN_HOST", {plugin, "constructor"}, {"PLUGIN_IN_CONSTRUCTOR=" + plugin}),
            "36\nand the next task gives 1\n");
}

TEST(Plugins, LoadedAfterInitIsAClearError) {
  EXPECT_THAT(
      run("RAYX_TEST_PLUGIN_HOST", {variable("RAYX_TEST_PLUGIN"), "after"}),
      AllOf(StartsWith("error: "), HasSubstr("square_in_plugin lies in a library that was loaded after rayx::init()"),
            EndsWith("and the next task gives 1\n")));
}

// main never runs in workers, so they load it when they need it.
TEST(Plugins, LoadedInMainBeforeInitIsLoadedByWorkers) {
  EXPECT_EQ(run("RAYX_TEST_PLUGIN_HOST", {variable("RAYX_TEST_PLUGIN"), "before"}), "36\nand the next task gives 1\n");
}

// The loader finds the C library's start before rayx's, so workers come from init here too.
TEST(Plugins, AProgramLinkedWithRayxThroughALibraryOnly) {
  const std::string text = run("RAYX_TEST_INDIRECT_HOST", {});
  EXPECT_THAT(text, AllOf(StartsWith("main\n"), HasSubstr("(fork server pid="), HasSubstr("36\n")));
}

// The C library's start is over when rayx is loaded, so workers come from init: what main did before it is repeated in the fork
// server, and the plugin is there because main loads it.
TEST(Plugins, AHostThatDoesNotKnowRayx) {
  const std::string text = run("RAYX_TEST_PLAIN_HOST", {variable("RAYX_TEST_PLUGIN")});
  EXPECT_THAT(text, AllOf(StartsWith("main\n"), HasSubstr("(fork server pid="), HasSubstr("36\n")));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("error")));
}

}  // namespace
}  // namespace rayx::embedding_test
