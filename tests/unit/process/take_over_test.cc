// Programs that link the library as users do: what of them runs in workers, what happens when their constructors misbehave, and
// whether anything is left when they end in any way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/socket.h>

#include <cstdlib>

#include "process/message.hpp"
#include "process/spawn_self.hpp"
#include "process_test_kit.hpp"

extern char** environ;

namespace rayx::process::test {
namespace {

using ::testing::HasSubstr;

struct Program {
  pid_t pid = -1;
  base::UniqueFd out;  // its stdout and stderr
};

Program start(const char* variable, std::vector<std::string> arguments, std::vector<std::string> env = {}) {
  const char* path = std::getenv(variable);
  EXPECT_NE(path, nullptr) << variable << " must name the test program";
  if (path == nullptr) return {};
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  Program program;
  program.out = base::UniqueFd(ends[0]);
  const base::UniqueFd write_end(ends[1]);
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_adddup2(&files, write_end.get(), 1);
  ::posix_spawn_file_actions_adddup2(&files, write_end.get(), 2);
  arguments.insert(arguments.begin(), path);
  for (char** entry = environ; *entry != nullptr; ++entry) env.emplace_back(*entry);
  std::vector<char*> argument_pointers, env_pointers;
  for (std::string& text : arguments) argument_pointers.push_back(text.data());
  for (std::string& text : env) env_pointers.push_back(text.data());
  argument_pointers.push_back(nullptr);
  env_pointers.push_back(nullptr);
  EXPECT_EQ(::posix_spawn(&program.pid, path, &files, nullptr, argument_pointers.data(), env_pointers.data()), 0);
  ::posix_spawn_file_actions_destroy(&files);
  return program;
}

struct Outcome {
  int status = -1;
  std::string text;
};

Outcome run(const char* variable, std::vector<std::string> arguments, std::vector<std::string> env = {}) {
  const std::string marker = unique_marker();
  env.push_back(marker);
  const Program program = start(variable, std::move(arguments), std::move(env));
  Outcome outcome;
  if (program.pid < 0) return outcome;
  outcome.text = read_text(program.out.get());
  ::waitpid(program.pid, &outcome.status, 0);
  EXPECT_TRUE(marked_processes(marker).empty()) << outcome.text;
  return outcome;
}

int count(const std::string& text, const std::string& what) {
  int found = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++found;
  return found;
}

// Lines that are `line` from the first byte to the last.
int count_lines(const std::string& text, const std::string& line) {
  int found = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    if (text.compare(at, end - at, line) == 0) ++found;
    at = end + 1;
  }
  return found;
}

TEST(TakeOver, ConstructorsRunInTheForkServerAndMainDoesNot) {
  const Outcome outcome = run("RAYX_TEST_PLAIN", {"say"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(count_lines(outcome.text, "main"), 1) << outcome.text;
  EXPECT_EQ(count_lines(outcome.text, "constructor"), 1) << outcome.text;          // of the program itself
  EXPECT_EQ(count_lines(outcome.text, "server: constructor"), 1) << outcome.text;  // once for all workers
  EXPECT_EQ(count(outcome.text, "constructor"), 2) << outcome.text;
  EXPECT_EQ(count_lines(outcome.text, "worker: worker says hello, forked=1"), 2) << outcome.text;
  EXPECT_EQ(count_lines(outcome.text, "children left: 0"), 1);
}

TEST(TakeOver, InACProgram) {
  if (std::getenv("RAYX_TEST_C") == nullptr) GTEST_SKIP() << "no C compiler at configuration time";
  const Outcome outcome = run("RAYX_TEST_C", {});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(count_lines(outcome.text, "main"), 1) << outcome.text;
  EXPECT_EQ(count_lines(outcome.text, "worker: worker says hello, forked=1"), 2) << outcome.text;
}

TEST(TakeOver, AStaticProgramIsTakenOverInInit) {
  if (std::getenv("RAYX_TEST_STATIC") == nullptr) GTEST_SKIP() << "no static libraries at configuration time";
  const Outcome outcome = run("RAYX_TEST_STATIC", {"say"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(count_lines(outcome.text, "worker: worker says hello, forked=1"), 2) << outcome.text;
  EXPECT_EQ(count_lines(outcome.text, "server: main"), 1) << "what main does before init is repeated: " << outcome.text;
}

TEST(TakeOver, AVariableThatIsNotOursIsNamedAndIgnored) {
  for (const char* value : {"", "nonsense", "3", "3:", "3:xyz", "99:12", "0:12", "2:12", "999999999999:1"}) {
    const Outcome outcome = run("RAYX_TEST_PLAIN", {"say"}, {std::string("RAYX_INTERNAL_FORK_SERVER=") + value});
    EXPECT_EQ(outcome.status, 0) << value;
    EXPECT_EQ(count(outcome.text, "rayx: ignoring the environment variable RAYX_INTERNAL_FORK_SERVER="), 1)
        << outcome.text;
    EXPECT_EQ(count_lines(outcome.text, "worker: worker says hello, forked=1"), 2) << outcome.text;
  }
}

TEST(TakeOver, AConstructorThatExitsIsAClearError) {
  const Outcome outcome = run("RAYX_TEST_PLAIN", {"constructor:exit"});
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.text, HasSubstr("exited with code 3 before main"));
  EXPECT_THAT(outcome.text, HasSubstr("server: the licence is missing"));
  EXPECT_THAT(outcome.text, HasSubstr("took under a second: 1"));
}

TEST(TakeOver, AConstructorThatCrashesIsAClearError) {
  const Outcome outcome = run("RAYX_TEST_PLAIN", {"constructor:segv"});
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.text, HasSubstr("before main"));
#ifndef RAYX_TEST_SANITIZED
  EXPECT_THAT(outcome.text, HasSubstr("signal 11 (SIGSEGV"));
  EXPECT_THAT(outcome.text, HasSubstr("took under a second: 1"));
#endif
  EXPECT_THAT(outcome.text, HasSubstr("server: about to crash"));
}

TEST(TakeOver, ThreadsBeforeMainMeanExecAndThatIsSaidOnce) {
  const Outcome outcome = run("RAYX_TEST_PLAIN", {"constructor:thread"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(count(outcome.text, "server's stderr: rayx: this program starts threads"), 1) << outcome.text;
  EXPECT_EQ(count_lines(outcome.text, "worker: worker says hello, forked=0"), 2) << outcome.text;
  EXPECT_EQ(count_lines(outcome.text, "worker: constructor"), 2) << outcome.text;
  EXPECT_EQ(count_lines(outcome.text, "worker 2 exited with code 5, entered=1"), 1) << outcome.text;
  EXPECT_EQ(count_lines(outcome.text, "main"), 1) << outcome.text;
}

TEST(TakeOver, AnExecedWorkerThatExitsInAConstructorIsTold) {
  const Outcome outcome = run("RAYX_TEST_PLAIN", {"constructor:thread-and-exit"});
  EXPECT_EQ(count_lines(outcome.text, "worker 1 exited with code 4, entered=0"), 1) << outcome.text;
}

// As a node does with the program of a job.
TEST(AnotherProgram, IsStartedWithItsOwnArguments) {
  ForkServer server;
  Recorder events;
  ForkServerConfig config;
  config.program = {std::getenv("RAYX_TEST_PLAIN"), {"job-7", "--steps=3"}, ""};
  const Result<void> started = server.start(config);
  ASSERT_TRUE(started) << started.error().message;
  ASSERT_TRUE(server.wait_ready(kPatience, events));
  const std::string cmdline = slurp("/proc/" + std::to_string(server.pid()) + "/cmdline");
  EXPECT_EQ(cmdline, std::string("job-7\0--steps=3\0", 16));
  ASSERT_TRUE(server.spawn_worker({.slot = 1, .fds = {}, .env = {}, .config = "hello"}));
  ASSERT_TRUE(pump(server, events, [&] { return events.exited.contains(1); }));
  EXPECT_EQ(read_text(events.started.at(1).out.get()), "worker says hello, forked=1\n");
  server.shutdown(1000ms, events);
}

TEST(AnotherProgram, ThatIsNotThereIsNamed) {
  ForkServer server;
  ForkServerConfig config;
  config.program.path = "/nonexistent/job";
  const Result<void> started = server.start(config);
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("starting /nonexistent/job failed"));
}

TEST(AnotherProgram, OfAnotherProtocolEndsWithBothNumbers) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  const base::UniqueFd ours(ends[0]), theirs(ends[1]);
  Result<Pipe> out = make_pipe();
  Result<Pipe> err = make_pipe();
  MessageHeader first{.kind = MessageKind::kServe};
  first.value = 17;
  first.protocol = kProtocol + 1;
  ASSERT_EQ(send_message(ours.get(), first, {}, {}, true), 0);
  const Result<pid_t> pid = spawn_self({.control = theirs.get(),
                                        .out = out->write_end.get(),
                                        .err = err->write_end.get(),
                                        .nonce = 17,
                                        .env = {},
                                        .program = {std::getenv("RAYX_TEST_PLAIN"), {"job"}, ""}});
  ASSERT_TRUE(pid) << pid.error().message;
  int status = 0;
  ::waitpid(*pid, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1) << status;
  err->write_end.reset();
  EXPECT_THAT(read_text(err->read_end.get()),
              HasSubstr("in protocol 1, and the node that starts it talks in protocol 2"));
}

TEST(TakeOver, WithoutPidfds) {
  const Outcome outcome = run("RAYX_TEST_PLAIN", {"nopidfd"});
  if (WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 77) GTEST_SKIP() << "no seccomp here";
  EXPECT_EQ(outcome.status, 0) << outcome.text;
  EXPECT_EQ(count_lines(outcome.text, "worker: worker says hello, forked=1"), 2) << outcome.text;
  EXPECT_EQ(count_lines(outcome.text, "worker 3 reported: 1"), 1) << outcome.text;
  EXPECT_EQ(count_lines(outcome.text, "children left: 0"), 1) << outcome.text;
}

// Starts a program that holds workers, ends it by `signal` (0: it ends by itself, as `then` says), and looks for what is left.
void expect_no_orphans(const std::string& then, int signal) {
  const std::string marker = unique_marker();
  const Program program = start("RAYX_TEST_PLAIN", {"hold", then}, {marker});
  ASSERT_GT(program.pid, 0);
  if (signal != 0) {
    ASSERT_THAT(read_text(program.out.get(), "holding\n"), HasSubstr("holding\n"));
    const std::set<pid_t> before = marked_processes(marker);
    EXPECT_EQ(before.size(), 6u);  // the driver, its fork server, four workers
    ::kill(program.pid, signal);
    EXPECT_TRUE(all_end(before));
  } else {
    EXPECT_THAT(read_text(program.out.get()), HasSubstr("holding\n"));
    EXPECT_TRUE(all_end(marked_processes(marker)));
  }
  ::waitpid(program.pid, nullptr, 0);
  EXPECT_TRUE(marked_processes(marker).empty());
}

TEST(NobodyIsOrphaned, AfterReturn) { expect_no_orphans("", 0); }
TEST(NobodyIsOrphaned, AfterExit) { expect_no_orphans("exit", 0); }
TEST(NobodyIsOrphaned, AfterAnException) { expect_no_orphans("throw", 0); }
TEST(NobodyIsOrphaned, AfterCtrlC) { expect_no_orphans("pause", SIGINT); }
TEST(NobodyIsOrphaned, AfterTerminate) { expect_no_orphans("pause", SIGTERM); }
TEST(NobodyIsOrphaned, AfterKill) { expect_no_orphans("pause", SIGKILL); }

}  // namespace
}  // namespace rayx::process::test
