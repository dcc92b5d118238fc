// The fork server, its workers' hygiene, and who is left when something is killed. The workers are this test binary started
// again: it takes over before main, so no test runs twice.
#include "process/fork_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <thread>

#include "kit/sanitized.hpp"
#include "process/take_over.hpp"
#include "process_test_kit.hpp"

namespace rayx::process::test {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

int hook_runs = 0;

std::string disposition(int signal) {
  struct sigaction action {};
  ::sigaction(signal, nullptr, &action);
  return action.sa_handler == SIG_DFL ? "default" : action.sa_handler == SIG_IGN ? "ignored" : "handler";
}

void print_facts(const WorkerStart& start) {
  char target[256] = {};
  if (::readlink("/proc/self/fd/0", target, sizeof(target) - 1) < 0) target[0] = '\0';
  sigset_t mask;
  ::sigprocmask(SIG_BLOCK, nullptr, &mask);
  std::string blocked;
  for (int signal = 1; signal < 32; ++signal) {
    if (sigismember(&mask, signal)) blocked += std::to_string(signal) + ",";
  }
  std::cout << "pid=" << ::getpid() << " ppid=" << ::getppid() << " pgid=" << ::getpgid(0) << '\n'
            << "comm=" << slurp("/proc/self/comm") << "stdin=" << target << '\n'
            << "blocked=" << blocked << " int=" << disposition(SIGINT) << " pipe=" << disposition(SIGPIPE)
            << " chld=" << disposition(SIGCHLD) << '\n'
            << "oom=" << slurp("/proc/self/oom_score_adj") << "hooks=" << hook_runs << " forked=" << start.forked
            << '\n'
            << "rand=" << std::rand() << '\n';
  const char* omp = std::getenv("OMP_NUM_THREADS");
  const char* own = std::getenv("RAYX_TEST_OWN");
  const char* internal = std::getenv("RAYX_INTERNAL_FORK_SERVER");
  std::cout << "omp=" << (omp ? omp : "none") << " own=" << (own ? own : "none")
            << " internal=" << (internal ? internal : "none") << '\n';
  std::cout << "fds=";
  DIR* directory = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(directory)) {
    if (entry->d_name[0] != '.' && std::atoi(entry->d_name) != ::dirfd(directory)) std::cout << entry->d_name << ',';
  }
  ::closedir(directory);
  std::cout << "\npassed=";
  for (const int fd : start.fds) {
    char text[64] = {};
    if (::pread(fd, text, sizeof(text) - 1, 0) < 0) text[0] = '?';
    std::cout << fd << ":" << text << ',';
  }
  std::cout << '\n' << std::flush;
}

int test_worker(const WorkerStart& start) {
  const std::string_view what = start.config;
  if (what == "facts") return print_facts(start), 0;
  if (what == "exit 7") return 7;
  if (what == "exit now") std::exit(9);
  if (what == "segv") {
    ::signal(SIGSEGV, SIG_DFL);  // a sanitizer's handler would end the process its own way
    ::raise(SIGSEGV);
  }
  if (what == "say") {
    std::printf("to stdout");  // no newline: flushed at the end
    std::cerr << "to stderr\n";
    return 0;
  }
  if (what == "line then pause") {
    std::printf("a whole line\n");
    for (;;) ::pause();
  }
  if (what == "child then exit") {
    const pid_t child = ::fork();
    if (child == 0) {
      for (;;) ::pause();
    }
    std::printf("child=%d\n", child);
    return 0;
  }
  for (;;) ::pause();
}

struct SetUp {
  SetUp() {
    register_worker_main(test_worker);
    on_worker_start([](void* count) { ++*static_cast<int*>(count); }, &hook_runs);
  }
} set_up;

class ForkServerTest : public ::testing::Test {
 protected:
  void start(ForkServerConfig config = {}) {
    marker_ = unique_marker();
    config.env.push_back(marker_);
    const Result<void> started = server_.start(config);
    ASSERT_TRUE(started) << started.error().message;
    const Result<void> ready = server_.wait_ready(kPatience, events_);
    ASSERT_TRUE(ready) << ready.error().message;
  }

  // The worker runs when this returns.
  void spawn(std::uint64_t slot, std::string_view what) {
    const Result<void> asked = server_.spawn_worker({.slot = slot, .fds = {}, .env = {}, .config = what});
    ASSERT_TRUE(asked) << asked.error().message;
    ASSERT_TRUE(
        pump(server_, events_, [&] { return events_.started.contains(slot) || events_.failed.contains(slot); }));
    ASSERT_FALSE(events_.failed.contains(slot)) << events_.failed[slot];
  }

  void expect_exit(std::uint64_t slot, ExitStatus::Kind kind, int value) {
    ASSERT_TRUE(pump(server_, events_, [&] { return events_.exited.contains(slot); }));
    EXPECT_EQ(events_.exited.at(slot).status.kind, kind) << describe(events_.exited.at(slot).status);
    EXPECT_EQ(events_.exited.at(slot).status.value, value);
  }

  void TearDown() override {
    server_.shutdown(0ms, events_);
    EXPECT_TRUE(marked_processes(marker_).empty());
    EXPECT_FALSE(has_children());
  }

  std::string marker_;
  Recorder events_;
  ForkServer server_;
};

TEST_F(ForkServerTest, WorkerRunsAndItsExitCodeAndOutputArrive) {
  start();
  spawn(1, "say");
  expect_exit(1, ExitStatus::Kind::kExited, 0);
  EXPECT_EQ(read_text(events_.started.at(1).out.get()), "to stdout");
  EXPECT_EQ(read_text(events_.started.at(1).err.get()), "to stderr\n");
  spawn(2, "exit 7");
  expect_exit(2, ExitStatus::Kind::kExited, 7);
  spawn(3, "exit now");
  expect_exit(3, ExitStatus::Kind::kExited, 9);
  spawn(4, "segv");
  expect_exit(4, ExitStatus::Kind::kSignaled, SIGSEGV);
  EXPECT_THAT(describe(events_.exited.at(4).status), HasSubstr("signal 11 (SIGSEGV, Segmentation fault)"));
}

TEST_F(ForkServerTest, LinesOfAKilledWorkerHaveArrived) {
  start();
  spawn(1, "line then pause");
  EXPECT_EQ(read_text(events_.started.at(1).out.get(), "\n"), "a whole line\n");
  server_.kill_worker(1);
  expect_exit(1, ExitStatus::Kind::kSignaled, SIGKILL);
  EXPECT_TRUE(has_ended(server_.worker_pidfd(1)) || server_.worker_pidfd(1) == -1);
}

TEST_F(ForkServerTest, WorkersAreClean) {
  // A driver in a bad state: signals blocked and ignored, descriptors without close-on-exec.
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigaddset(&blocked, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const auto int_before = ::signal(SIGINT, SIG_IGN);
  const auto pipe_before = ::signal(SIGPIPE, SIG_IGN);
  const int leaked = ::fcntl(2, F_DUPFD, 100);
  start({.env = {}, .oom_score_adj = 123});
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::signal(SIGINT, int_before);
  ::signal(SIGPIPE, pipe_before);

  const base::UniqueFd passed(::memfd_create("passed", MFD_CLOEXEC));
  ASSERT_EQ(::write(passed.get(), "payload", 7), 7);
  const int fds[2] = {passed.get(), passed.get()};
  const std::string env[1] = {"RAYX_TEST_OWN=mine"};
  spawn(7, "pause");  // a sibling whose pipes must not leak into the next one
  ::unsetenv("OMP_NUM_THREADS");
  ASSERT_TRUE(server_.spawn_worker({.slot = 1, .fds = fds, .env = env, .config = "facts", .omp_threads = 3}));
  ASSERT_TRUE(server_.spawn_worker({.slot = 2, .fds = fds, .env = {}, .config = "facts", .omp_threads = 4}));
  expect_exit(1, ExitStatus::Kind::kExited, 0);
  expect_exit(2, ExitStatus::Kind::kExited, 0);
  const std::string facts = read_text(events_.started.at(1).out.get());
  const std::string other = read_text(events_.started.at(2).out.get());
  const std::string pid = std::to_string(events_.started.at(1).pid);
  EXPECT_THAT(facts, HasSubstr("pid=" + pid + " ppid=" + std::to_string(server_.pid()) + " pgid=" + pid + "\n"));
  EXPECT_THAT(facts, HasSubstr("comm=rayx:worker\nstdin=/dev/null\n"));
  EXPECT_THAT(facts, HasSubstr("blocked= int=default pipe=default chld=default\n"));
  const int oom = std::atoi(slurp("/proc/self/oom_score_adj").c_str());
  EXPECT_THAT(facts, HasSubstr("oom=" + std::to_string(std::min(1000, oom + 123)) + "\nhooks=1 forked="));
  EXPECT_THAT(facts, HasSubstr("omp=3 own=mine internal=none\n"));
  EXPECT_THAT(other, HasSubstr("omp=4 own=none internal=none\n"));
  EXPECT_THAT(facts, ContainsRegex("fds=0,1,2,[0-9]+,[0-9]+,\n"));
  EXPECT_THAT(facts, ContainsRegex("passed=[0-9]+:payload,[0-9]+:payload,"));
  EXPECT_EQ(slurp("/proc/" + std::to_string(server_.pid()) + "/comm"), "rayx:forkserver\n");
  EXPECT_NE(facts.substr(facts.find("rand=")), other.substr(other.find("rand=")));
  ::close(leaked);
}

TEST_F(ForkServerTest, TheFirstArgumentsAreShownByPs) {
  start();
  EXPECT_EQ(slurp("/proc/" + std::to_string(server_.pid()) + "/cmdline"), slurp("/proc/self/cmdline"));
}

TEST_F(ForkServerTest, WhatAWorkerLeavesBehindDiesWithIt) {
  start();
  spawn(1, "child then exit");
  const std::string text = read_text(events_.started.at(1).out.get(), "\n");
  const pid_t child = std::atoi(text.substr(text.find('=') + 1).c_str());
  ASSERT_GT(child, 0) << text;
  const base::UniqueFd pidfd = open_pidfd(child);
  expect_exit(1, ExitStatus::Kind::kExited, 0);
  if (pidfd) {
    EXPECT_TRUE(wait_for_end(pidfd.get()));
  }
}

TEST_F(ForkServerTest, ManyWorkersAtOnce) {
  start();
  constexpr std::uint64_t kCount = 100;
  const base::SteadyClock clock;
  const base::TimeNs begin_ns = clock.now_ns();
  for (std::uint64_t slot = 0; slot < kCount; ++slot) {
    ASSERT_TRUE(server_.spawn_worker({.slot = slot, .fds = {}, .env = {}, .config = "line then pause"}));
  }
  ASSERT_TRUE(pump(server_, events_, [&] { return events_.started.size() + events_.failed.size() == kCount; }));
  EXPECT_TRUE(events_.failed.empty());
  for (auto& [slot, worker] : events_.started) EXPECT_EQ(read_text(worker.out.get(), "\n"), "a whole line\n");
  const base::TimeNs us_each = (clock.now_ns() - begin_ns) / 1000 / static_cast<base::TimeNs>(kCount);
  RecordProperty("us_per_worker", static_cast<int>(us_each));
  std::cout << "fork until first line: " << us_each << " us for each of " << kCount << '\n';
  std::set<pid_t> pids;
  for (const auto& [slot, worker] : events_.started) pids.insert(worker.pid);
  EXPECT_EQ(pids.size(), kCount);
  for (std::uint64_t slot = 0; slot < kCount; slot += 2) server_.kill_worker(slot);
  ASSERT_TRUE(pump(server_, events_, [&] { return events_.exited.size() == kCount / 2; }));
  EXPECT_EQ(server_.workers(), kCount / 2);
}

TEST_F(ForkServerTest, AKillBeforeTheStartIsNotLost) {
  start();
  ASSERT_TRUE(server_.spawn_worker({.slot = 5, .fds = {}, .env = {}, .config = "pause"}));
  server_.kill_worker(5);
  expect_exit(5, ExitStatus::Kind::kSignaled, SIGKILL);
  server_.kill_worker(5);  // gone: does nothing
  server_.kill_worker(77);
}

TEST_F(ForkServerTest, KilledForkServerTakesItsWorkersWithItAndIsToldLast) {
  start();
  for (std::uint64_t slot = 0; slot < 8; ++slot) spawn(slot, "pause");
  std::set<pid_t> pids;
  for (const auto& [slot, worker] : events_.started) pids.insert(worker.pid);
  for (std::uint64_t slot = 100; slot < 140; ++slot) {  // some on the way
    ASSERT_TRUE(server_.spawn_worker({.slot = slot, .fds = {}, .env = {}, .config = "pause"}));
  }
  ::kill(server_.pid(), SIGKILL);
  ASSERT_TRUE(pump(server_, events_, [&] { return !events_.server_exits.empty(); }));
  EXPECT_EQ(events_.server_exits.size(), 1u);
  EXPECT_EQ(events_.server_exits[0].status.value, SIGKILL);
  EXPECT_TRUE(events_.server_exits[0].was_ready);
  EXPECT_FALSE(events_.server_exits[0].expected);
  // Every request had exactly one answer, and every worker that started has one end.
  EXPECT_EQ(events_.started.size() + events_.failed.size(), 48u);
  EXPECT_EQ(events_.exited.size(), events_.started.size());
  for (const auto& [slot, message] : events_.failed) EXPECT_THAT(message, HasSubstr("fork server"));
  EXPECT_TRUE(marked_processes(marker_).empty());
  EXPECT_FALSE(server_.spawn_worker({.slot = 200, .fds = {}, .env = {}, .config = "pause"}));

  events_ = Recorder();
  start();  // and again, in the same object
  spawn(1, "exit 7");
  expect_exit(1, ExitStatus::Kind::kExited, 7);
}

TEST_F(ForkServerTest, ShutdownWaitsForWorkersThatLeaveAndKillsTheOthers) {
  start();
  spawn(1, "pause");
  spawn(2, "exit 7");
  const base::SteadyClock clock;
  const base::TimeNs begin_ns = clock.now_ns();
  server_.shutdown(50ms, events_);
  EXPECT_LT(clock.now_ns() - begin_ns, 2'000'000'000);
  ASSERT_TRUE(events_.exited.contains(1) && events_.exited.contains(2));
  EXPECT_EQ(events_.exited.at(1).status.value, SIGKILL);
  EXPECT_EQ(events_.exited.at(2).status.value, 7);
  ASSERT_EQ(events_.server_exits.size(), 1u);
  EXPECT_TRUE(events_.server_exits[0].expected);
  EXPECT_TRUE(events_.server_exits[0].status.clean());
}

TEST_F(ForkServerTest, AStoppedForkServerCannotHangTheShutdown) {
  start();
  spawn(1, "pause");
  ::kill(server_.pid(), SIGSTOP);
  server_.shutdown(0ms, events_);
  EXPECT_EQ(events_.server_exits.size(), 1u);
  EXPECT_EQ(events_.exited.size(), 1u);
}

TEST_F(ForkServerTest, StartsInAThreadThatEnds) {
  // PR_SET_PDEATHSIG on the fork server would kill it when this thread ends.
  std::thread([&] { start(); }).join();
  spawn(1, "exit 7");
  expect_exit(1, ExitStatus::Kind::kExited, 7);
}

TEST_F(ForkServerTest, AHostThatWaitsForAllChildrenOnlyTakesTheStatus) {
  start();
  spawn(1, "pause");
  ::kill(server_.pid(), SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(-1, &status, 0), server_.pid());  // steals it
  ASSERT_TRUE(pump(server_, events_, [&] { return !events_.server_exits.empty(); }));
  EXPECT_EQ(events_.server_exits[0].status.kind, ExitStatus::Kind::kUnknown);
  EXPECT_EQ(events_.exited.size(), 1u);
}

TEST_F(ForkServerTest, DescriptorsAreNotLeakedInTheDriver) {
  const auto count = [] {
    int open = 0;
    DIR* directory = ::opendir("/proc/self/fd");
    while (::readdir(directory)) ++open;
    ::closedir(directory);
    return open;
  };
  start();
  const auto before = count();
  for (std::uint64_t slot = 0; slot < 20; ++slot) {
    spawn(slot, "exit 7");
    expect_exit(slot, ExitStatus::Kind::kExited, 7);
    events_.started.erase(slot);
  }
  EXPECT_EQ(count(), before);
}

TEST_F(ForkServerTest, TooManyDescriptorsInTheDriverIsAnError) {
  start();
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit few = before;
  const base::UniqueFd probe(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  few.rlim_cur = static_cast<rlim_t>(probe.get()) + 1;  // one free descriptor: fewer than the three of a worker
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  const Result<void> asked = server_.spawn_worker({.slot = 1, .fds = {}, .env = {}, .config = "pause"});
  EXPECT_TRUE(asked);
  EXPECT_TRUE(pump(server_, events_, [&] { return events_.failed.contains(1) || events_.started.contains(1); }));
  ::setrlimit(RLIMIT_NOFILE, &before);
  ASSERT_TRUE(events_.failed.contains(1));
  EXPECT_THAT(events_.failed[1], HasSubstr("ulimit -n"));
  ASSERT_TRUE(pump(server_, events_, [&] { return server_.workers() == 0; }));
  EXPECT_TRUE(events_.exited.empty());
  spawn(2, "exit 7");
  expect_exit(2, ExitStatus::Kind::kExited, 7);
}

TEST_F(ForkServerTest, TooManyDescriptorsInTheForkServerIsAnError) {
  start();
  if (kit::kIsSanitized) GTEST_SKIP() << "UBSan needs descriptors of its own to look at an object";
  rlimit before{};
  const rlimit few{6, 6};
  if (::prlimit(server_.pid(), RLIMIT_NOFILE, &few, &before) != 0)
    GTEST_SKIP() << "prlimit of another process is forbidden";
  ASSERT_TRUE(server_.spawn_worker({.slot = 1, .fds = {}, .env = {}, .config = "pause"}));
  ASSERT_TRUE(pump(server_, events_, [&] { return events_.failed.contains(1); }));
  EXPECT_THAT(events_.failed[1], HasSubstr("ulimit -n"));
}

TEST_F(ForkServerTest, OversizedRequestsAreRefused) {
  start();
  const std::string big(kConfigBytesMax + 1, 'x');
  const Result<void> asked = server_.spawn_worker({.slot = 1, .fds = {}, .env = {}, .config = big});
  ASSERT_FALSE(asked);
  EXPECT_THAT(asked.error().message, HasSubstr("does not fit"));
  spawn(1, "exit 7");
  expect_exit(1, ExitStatus::Kind::kExited, 7);
}

TEST_F(ForkServerTest, AForkOfTheUsersProgramDoesNotEndTheWorkers) {
  start();
  spawn(1, "pause");
  const pid_t child = ::fork();
  if (child == 0) {
    server_.~ForkServer();  // as exit() in the child would do
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  spawn(2, "exit 7");
  expect_exit(2, ExitStatus::Kind::kExited, 7);
  EXPECT_FALSE(events_.exited.contains(1));
}

}  // namespace
}  // namespace rayx::process::test
