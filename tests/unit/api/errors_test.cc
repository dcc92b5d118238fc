// Failures of tasks: what arrives, as what type, with which story.
#include "door_test_kit.hpp"

#include <unistd.h>

#include <filesystem>
#include <future>
#include <stdexcept>
#include <system_error>

namespace rayx {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

struct Broken : std::runtime_error {  // registered below
  Broken(std::string what, int part) : std::runtime_error(std::move(what)), part(part) {}
  int part = 0;
};
struct Unknown : std::runtime_error {
  using std::runtime_error::runtime_error;
};

int out_of_range(int x) { throw std::out_of_range("no entry " + std::to_string(x)); }
int system_error() { throw std::system_error(ENOENT, std::generic_category(), "reading the table"); }
int filesystem_error() {
  throw std::filesystem::filesystem_error("copy", "from.txt", "to.txt",
                                          std::make_error_code(std::errc::no_space_on_device));
}
int unknown() { throw Unknown("only known there"); }
int number() { throw 42; }
int text_thrower() { throw "plain text"; }
struct Silent : std::exception {
  const char* what() const noexcept override { return nullptr; }
};
int silent() { throw Silent(); }
int null_text() { throw static_cast<const char*>(nullptr); }
int nested() {
  try {
    try {
      throw std::logic_error("innermost");
    } catch (...) {
      std::throw_with_nested(Unknown("between"));
    }
  } catch (...) {
    std::throw_with_nested(std::runtime_error("outermost"));
  }
}
int on(ObjectRef<int> ref) { return get(ref); }
int on_value(int x) { return x; }
int no_memory() { throw std::bad_alloc(); }

using Errors = DoorTest;

TEST_F(Errors, StandardExceptionsArriveAsThemselves) {
  EXPECT_EQ(text_thrown_by<std::out_of_range>([] { get(remote<out_of_range>(3)); }), "no entry 3");
  EXPECT_EQ(text_thrown_by<std::logic_error>([] { get(remote<out_of_range>(4)); }), "no entry 4");  // by a base class
  try {
    get(remote<system_error>());
    ADD_FAILURE();
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory);
    EXPECT_THAT(error.what(), HasSubstr("reading the table"));
  }
  try {
    get(remote<filesystem_error>());
    ADD_FAILURE();
  } catch (const std::filesystem::filesystem_error& error) {
    EXPECT_EQ(error.path1(), "from.txt");
    EXPECT_EQ(error.path2(), "to.txt");
    EXPECT_EQ(error.code(), std::errc::no_space_on_device);
  }
  EXPECT_THROW(get(remote<no_memory>()), std::bad_alloc);
}

TEST_F(Errors, AreAlsoATaskErrorInfoWithTheWholeStory) {
  try {
    get(remote<out_of_range>(3));
    ADD_FAILURE();
  } catch (const TaskErrorInfo& info) {
    EXPECT_EQ(info.type(), "std::out_of_range");
    EXPECT_EQ(info.message(), "no entry 3");
    EXPECT_THAT(info.function(), HasSubstr("out_of_range"));
    EXPECT_EQ(info.pid() == ::getpid(), is_local());
    EXPECT_FALSE(info.node().empty());
    EXPECT_THAT(info.stack(), ContainsRegex("1\\. .*out_of_range.* at .*errors_test\\.cc:[0-9]+"));
    EXPECT_THAT(info.report(), AllOf(HasSubstr("threw std::out_of_range: no entry 3"), HasSubstr("errors_test.cc")));
  }
}

TEST_F(Errors, OfUnknownTypesArriveAsTaskErrorThatSaysHowToRegisterThem) {
  EXPECT_THAT(text_thrown_by<TaskError>([] { get(remote<unknown>()); }),
              AllOf(HasSubstr("Unknown: only known there"), HasSubstr("register_exception")));
  EXPECT_THAT(text_thrown_by<TaskError>([] { get(remote<number>()); }), HasSubstr("int"));
  EXPECT_THAT(text_thrown_by<TaskError>([] { get(remote<text_thrower>()); }), HasSubstr("plain text"));
}

TEST_F(Errors, OfTypesThatCannotBeRegisteredSayWhatToThrow) {
  for (const std::string& text : {text_thrown_by<TaskError>([] { get(remote<number>()); }),
                                  text_thrown_by<TaskError>([] { get(remote<text_thrower>()); })})
    EXPECT_THAT(text, AllOf(HasSubstr("derived from std::exception"), Not(HasSubstr("register_exception"))));
}

TEST_F(Errors, WithoutATextArriveWithoutOne) {
  EXPECT_THAT(text_thrown_by<TaskError>([] { get(remote<silent>()); }), HasSubstr("Silent: "));
  EXPECT_THAT(text_thrown_by<TaskError>([] { get(remote<null_text>()); }), HasSubstr("char const*: "));
}

TEST_F(Errors, TellOfTheOnesThatTheyWereThrownFor) {
  try {
    get(remote<nested>());
    ADD_FAILURE();
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "outermost");
    const auto& info = dynamic_cast<const TaskErrorInfo&>(error);
    EXPECT_EQ(info.type(), "std::runtime_error");
    EXPECT_THAT(info.report(),
                ContainsRegex("caused by .*Unknown: between\n  caused by std::logic_error: innermost\n"));
  }
}

TEST_F(Errors, PassThroughTasksWithTheStackOfTheFirst) {
  auto failed = remote<out_of_range>(5);
  for (int way = 0; way < 2; ++way) {
    auto next = way == 0 ? remote<on_value>(failed) : remote<on>(failed);
    try {
      get(next);
      ADD_FAILURE();
    } catch (const std::out_of_range& error) {
      EXPECT_STREQ(error.what(), "no entry 5");
      const auto& info = dynamic_cast<const TaskErrorInfo&>(error);
      EXPECT_THAT(info.function(), HasSubstr("out_of_range"));
      EXPECT_THAT(info.stack(), HasSubstr("out_of_range"));
    }
  }
}

TEST_F(Errors, AreThrownAgainByEachGet) {
  auto failed = remote<out_of_range>(6);
  for (int i = 0; i < 3; ++i) EXPECT_THROW(get(failed), std::out_of_range);
  EXPECT_EQ(get(remote<on_value>(1)), 1);
}

TEST_F(Errors, AWorkerThatDiesIsNamedAndTheNextTaskRuns) {
  if (is_local()) GTEST_SKIP() << "there is no worker";
  const auto kill_myself = [] {
    ::raise(SIGKILL);
    return 1;
  };
  EXPECT_THAT(text_thrown_by<WorkerDied>([&] { get(remote(kill_myself, TaskOptions{.max_retries = 0})); }),
              AllOf(HasSubstr("signal 9"), HasSubstr("max_retries")));
  EXPECT_EQ(get(remote<on_value>(1)), 1);
}

int sleep_for_ever() {
  for (;;) ::pause();
}
int my_pid() { return static_cast<int>(::getpid()); }

// One worker, which owns what its tasks put and submit.
class DeadOwner : public testing::Test {
 protected:
  void SetUp() override {
    if (is_local()) GTEST_SKIP() << "there is one process";
    runtime_ = init({.num_cpus = 1});
  }
  Runtime runtime_;
};

TEST_F(DeadOwner, LeavesWhatOthersHold) {
  auto inner = get(remote([](int x) { return put(std::vector<int>(10'000, x)); }, 3));
  ::kill(get(remote<my_pid>()), SIGKILL);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(get(inner)[9'999], 3);
    EXPECT_NE(get(remote<my_pid>()), 0);  // another worker is there, and has taken memory
  }
}

TEST_F(DeadOwner, OfATaskThatIsNotDoneIsNamed) {
  const auto made = get(remote([] { return std::pair(my_pid(), remote<sleep_for_ever>()); }));
  const pid_t owner = made.first;
  const ObjectRef<int>& never = made.second;
  ::kill(owner, SIGKILL);
  const std::string text = text_thrown_by<ObjectLost>([&] { get(never, std::chrono::seconds(20)); });
  EXPECT_THAT(text, AllOf(HasSubstr("died"), HasSubstr("rayx: ")));
}

}  // namespace
}  // namespace rayx
