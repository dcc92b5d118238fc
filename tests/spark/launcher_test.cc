// The launcher, run by a Java that is no Spark, against a ProgramServer in this process. The program that it starts is this one again:
// a static constructor plays it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bundle/running_program.hpp"
#include "http/exchange.hpp"
#include "kit/eventually.hpp"
#include "kit/program.hpp"
#include "spark/launcher.hpp"
#include "spark/program_server.hpp"

namespace {

bool has_ended_input() {
  char byte;
  return ::read(0, &byte, 1) <= 0;
}

// What a launched program does, before the test's main.
struct Launched {
  Launched() {
    const char* const role = std::getenv("LAUNCHED_AS");
    if (role == nullptr) return;
    const std::string what = role;
    char line[64] = {};
    if (std::fgets(line, sizeof(line), stdin) == nullptr) ::_exit(90);
    std::printf("input %scores %s, memory %s, pipe %s, token %s\n", line, std::getenv("RAYX_LAUNCHER_CORES"),
                std::getenv("RAYX_LAUNCHER_MEMORY_MIB"), std::getenv("RAYX_LAUNCHER_PIPE"),
                std::getenv("RAYX_LAUNCHER_TOKEN") == nullptr ? "hidden" : "seen");
    for (int i = 0; i < 150; ++i) std::printf("line %d\n", i);
    std::fflush(stdout);
    if (what == "exit") ::_exit(7);
    if (what == "well") ::_exit(0);
    if (what == "crash") ::raise(SIGABRT);
    if (what == "maps") {
      std::ifstream maps("/proc/self/maps");
      bool is_own = false;
      for (std::string entry; std::getline(maps, entry);)
        is_own |= entry.find("/libc.so.6") != std::string::npos && entry.find("/cache/run/") != std::string::npos;
      std::printf("C library from %s\n", is_own ? "the cache" : "the host");
      std::fflush(stdout);
      ::_exit(0);
    }
    if (what == "stay") {
      const std::string file = std::getenv("LAUNCHED_FILE");
      static const std::string asked = file + ".term";
      ::signal(SIGTERM, [](int) {
        ::close(::open(asked.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        static const char words[] = "asked to end\n";
        [[maybe_unused]] const ssize_t written = ::write(1, words, sizeof(words) - 1);
        ::_exit(0);
      });
      std::ofstream(file) << ::getpid();
      while (!has_ended_input()) {
      }
      std::ofstream(file + ".end") << "x";
      ::_exit(0);
    }
    ::_exit(91);
  }
} launched;

}  // namespace

namespace rayx::spark {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class Launcher : public testing::Test {
 protected:
  void SetUp() override {
    if (std::system("java -version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no Java is here";
    std::string pattern = (std::filesystem::temp_directory_path() / "rayx-launcher-test-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    const std::span<const std::byte> jar = launcher_jar();
    std::ofstream(folder_ / "launcher.jar", std::ios::binary)
        .write(reinterpret_cast<const char*>(jar.data()), static_cast<std::streamsize>(jar.size()));
    static bundle::FileDigests digests;
    Result<bundle::RunningProgram> program = bundle::describe_running_program(digests);
    ASSERT_TRUE(program) << program.error().message;
    program_ = std::move(*program);
    serve([](bundle::Manifest&) {});
  }
  void serve(const std::function<void(bundle::Manifest&)>& change) {
    bundle::RunningProgram program = program_;
    change(program.manifest);
    Result<std::unique_ptr<ProgramServer>> server =
        ProgramServer::start({.program = std::make_shared<const bundle::RunningProgram>(std::move(program))});
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }
  void TearDown() override {
    server_.reset();
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  LaunchTicket admit(const std::string& role, const std::string& name = "node-1") {
    NodeLaunch launch{.name = name, .cores = 3, .memory_mib = 700};
    launch.environment = {{"LAUNCHED_AS", role}, {"LAUNCHED_FILE", file()}};
    launch.input = "secret\n";
    Result<LaunchTicket> ticket = server_->admit(launch);
    EXPECT_TRUE(ticket) << ticket.error().message;
    return *ticket;
  }
  kit::Program::Options java_options(const LaunchTicket& ticket, const std::string& cache = {}) {
    kit::Program::Options options;
    options.arguments = {"-XX:+UseSerialGC", "-cp", (folder_ / "launcher.jar").string(), kLauncherClass};
    for (const auto& [name, value] : ticket.environment) options.environment.push_back(name + '=' + value);
    options.environment.push_back(std::string(kLauncherCacheVariable) + '=' +
                                  (cache.empty() ? (folder_ / "cache").string() : cache));
    return options;
  }
  std::unique_ptr<kit::Program> java(const LaunchTicket& ticket, const std::string& cache = {}) {
    return std::make_unique<kit::Program>("/usr/bin/java", java_options(ticket, cache));
  }
  std::string file() const { return (folder_ / "stays").string(); }
  static bool exists(const std::string& path) { return std::filesystem::exists(path); }
  int exit_of(kit::Program& program) {
    const auto ended = program.wait();
    EXPECT_TRUE(ended) << program.err();
    for (int code = 0; ended && code < 256; ++code)
      if (ended->exited_with(code)) return code;
    return -1;
  }
  pid_t wait_for_stay() {
    EXPECT_TRUE(kit::eventually([&] { return exists(file()) && std::filesystem::file_size(file()) > 0; }));
    pid_t pid = 0;
    std::ifstream(file()) >> pid;
    return pid;
  }

  std::filesystem::path folder_;
  bundle::RunningProgram program_;
  std::unique_ptr<ProgramServer> server_;
};

TEST_F(Launcher, StartsTheProgramWithItsReservationAndHandsItsExitCodeBack) {
  const LaunchTicket ticket = admit("exit");
  EXPECT_EQ(server_->report("node-1")->stage, LaunchStage::kAdmitted);
  const auto launcher = java(ticket);
  EXPECT_EQ(exit_of(*launcher), 7) << launcher->err();
  EXPECT_THAT(launcher->out(), AllOf(HasSubstr("input secret\ncores 3, memory 700, pipe stdin, token hidden\n"),
                                     HasSubstr("line 149\n")));
  const LaunchReport report = *server_->report("node-1");
  EXPECT_EQ(report.stage, LaunchStage::kEnded);
  EXPECT_EQ(report.exit_code, 7);
  ASSERT_EQ(report.last_lines.size(), 100u);
  EXPECT_EQ(report.last_lines.back(), "line 149");
  EXPECT_THAT(server_->explain("node-1", ""), AllOf(HasSubstr("exit code 7"), HasSubstr("line 149")));
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "cache/run")) << "its own folder is left";
}

TEST_F(Launcher, FindsTheProgramInItsCacheAndMendsWhatIsDamagedThere) {
  EXPECT_EQ(exit_of(*java(admit("well", "first"))), 0);
  std::size_t files = 0;
  std::filesystem::path victim;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "cache/files")) {
    ++files;
    victim = entry.path();
  }
  EXPECT_GE(files, 2u);
  std::filesystem::permissions(victim, std::filesystem::perms::owner_all);
  std::ofstream(victim, std::ios::binary | std::ios::app) << "one byte too many";
  const auto second = java(admit("well", "second"));
  EXPECT_EQ(exit_of(*second), 0) << second->err();
  EXPECT_THAT(second->err(), HasSubstr("was damaged; it is fetched anew"));
  EXPECT_THAT(server_->explain("second", ""), HasSubstr("ended as it was asked"));
}

TEST_F(Launcher, OfTwoWithOneTokenOneIsTurnedAway) {
  const LaunchTicket ticket = admit("stay");
  const auto first = java(ticket);
  const pid_t pid = wait_for_stay();
  const auto twin = java(ticket);
  EXPECT_EQ(exit_of(*twin), kLauncherExitRefused);
  EXPECT_THAT(twin->err(), HasSubstr("was started already by another submission"));
  EXPECT_EQ(server_->report("node-1")->refusals, 1);
  EXPECT_EQ(server_->report("node-1")->stage, LaunchStage::kStarted) << "the twin's report does not count";
  EXPECT_EQ(::kill(pid, 0), 0);
}

TEST_F(Launcher, PassesSigtermOnAndTheProgramNeverOutlivesIt) {
  const auto asked = java(admit("stay"));
  wait_for_stay();
  asked->kill(SIGTERM);
  ASSERT_TRUE(asked->wait());
  EXPECT_TRUE(exists(file() + ".term"));
  const LaunchReport report = *server_->report("node-1");
  EXPECT_EQ(report.stage, LaunchStage::kEnded) << "it has ended without a word";
  ASSERT_FALSE(report.last_lines.empty());
  EXPECT_EQ(report.last_lines.back(), "asked to end");
  EXPECT_TRUE(asked->everything_is_gone());

  std::filesystem::remove(file());
  const auto killed = java(admit("stay", "node-2"));
  wait_for_stay();
  killed->kill(SIGKILL);
  ASSERT_TRUE(killed->wait());
  EXPECT_TRUE(kit::eventually([&] { return exists(file() + ".end"); })) << "its input did not end";
  EXPECT_TRUE(killed->everything_is_gone());
}

// Whoever started it, as Spark's worker does, holds the other end of its input.
TEST_F(Launcher, EndsWithItsWorker) {
  std::vector<std::string> words = {"-c", "sleep 1000 | exec \"$@\"", "sh", "/usr/bin/java"};
  const LaunchTicket ticket = admit("stay");
  const kit::Program::Options options = java_options(ticket);
  words.insert(words.end(), options.arguments.begin(), options.arguments.end());
  kit::Program shell("/bin/sh", {.arguments = words, .environment = options.environment});
  wait_for_stay();
  for (const pid_t holder : shell.descendants("sleep")) ::kill(holder, SIGKILL);
  ASSERT_TRUE(shell.wait());
  EXPECT_TRUE(exists(file() + ".term")) << "the program was not asked to end";
  EXPECT_TRUE(shell.everything_is_gone());
  EXPECT_THAT(server_->explain("node-1", ""), HasSubstr("Spark's worker has ended"));
}

TEST_F(Launcher, ThatWasKilledLeavesAFolderWhichTheNextOneRemoves) {
  const auto killed = java(admit("stay"));
  wait_for_stay();
  killed->kill(SIGKILL);
  ASSERT_TRUE(killed->wait());
  ASSERT_TRUE(kit::eventually([&] { return exists(file() + ".end"); }));
  EXPECT_FALSE(std::filesystem::is_empty(folder_ / "cache/run"));
  EXPECT_EQ(exit_of(*java(admit("well", "node-2"))), 0);
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "cache/run"));
}

TEST_F(Launcher, SaysWhatKilledTheProgram) {
  EXPECT_EQ(exit_of(*java(admit("crash"))), 128 + SIGABRT);
  EXPECT_THAT(server_->explain("node-1", ""), HasSubstr("signal 6"));
}

// A program that was built on a newer system: a version of the C library that no host has.
TEST_F(Launcher, BringsTheCLibraryWhereTheHostsIsTooOld) {
  serve([](bundle::Manifest& manifest) { manifest.needs.push_back({"libc.so.6", "GLIBC_2.99"}); });
  const auto with_own = java(admit("maps"));
  EXPECT_EQ(exit_of(*with_own), 0) << with_own->err();
  EXPECT_THAT(with_own->out(), HasSubstr("C library from the cache\n"));
}

TEST_F(Launcher, RefusesAProgramForANewerCLibraryThatCameWithoutOne) {
  serve([](bundle::Manifest& manifest) {
    manifest.needs.push_back({"libc.so.6", "GLIBC_2.99"});
    manifest.libc_version.clear();
  });
  const auto launcher = java(admit("well"));
  EXPECT_EQ(exit_of(*launcher), kLauncherExitUnfit);
  EXPECT_THAT(launcher->err(), AllOf(HasSubstr("GLIBC_2.99 of libc.so.6"), HasSubstr("this host has glibc 2.")));
  EXPECT_THAT(server_->explain("node-1", ""), HasSubstr("GLIBC_2.99 of libc.so.6"));
}

TEST_F(Launcher, SaysThatTheDiskIsFull) {
  const std::filesystem::path small = folder_ / "small";
  std::filesystem::create_directory(small);
  if (::mount("rayx-test", small.c_str(), "tmpfs", 0, "size=256k,mode=700") != 0)
    GTEST_SKIP() << "no file system can be mounted here";
  const auto launcher = java(admit("well"), small.string());
  EXPECT_EQ(exit_of(*launcher), kLauncherExitUnfit);
  ::umount2(small.c_str(), MNT_DETACH);
  EXPECT_THAT(launcher->err(), AllOf(HasSubstr("is full"), HasSubstr("SparkConfig::temp_directory")));
  EXPECT_THAT(server_->explain("node-1", ""), HasSubstr("is full"));
}

TEST_F(Launcher, SaysThatItsFolderLetsNoProgramRun) {
  const std::filesystem::path stiff = folder_ / "stiff";
  std::filesystem::create_directory(stiff);
  if (::mount("rayx-test", stiff.c_str(), "tmpfs", MS_NOEXEC, "mode=700") != 0)
    GTEST_SKIP() << "no file system can be mounted here";
  const auto launcher = java(admit("well"), stiff.string());
  EXPECT_EQ(exit_of(*launcher), kLauncherExitUnfit);
  ::umount2(stiff.c_str(), MNT_DETACH);
  EXPECT_THAT(launcher->err(), HasSubstr("noexec"));
}

TEST_F(Launcher, SaysThatNobodyIsThere) {
  const LaunchTicket ticket = admit("well");
  server_.reset();
  const auto launcher = java(ticket);
  EXPECT_EQ(exit_of(*launcher), kLauncherExitUnreachable);
  EXPECT_THAT(launcher->err(), AllOf(HasSubstr("cannot be reached from"), HasSubstr("SparkConfig::advertise")));
}

TEST_F(Launcher, OfANodeThatWasGivenUpIsTurnedAway) {
  const LaunchTicket ticket = admit("well");
  server_->revoke("node-1");
  const auto launcher = java(ticket);
  EXPECT_EQ(exit_of(*launcher), kLauncherExitRefused);
  EXPECT_THAT(launcher->err(), HasSubstr("was given up"));
  EXPECT_FALSE(server_->report("node-1"));
}

// The committed one, which is used where no JDK is. Another javac than 17 gives other bytes.
TEST_F(Launcher, IsAsItsSourceGivesIt) {
  const char* const source = std::getenv("RAYX_LAUNCHER_SOURCE");
  ASSERT_NE(source, nullptr);
  const std::string made = (folder_ / "made.jar").string();
  if (std::system("javac -version 2>&1 | grep -q 'javac 17\\.'") != 0) GTEST_SKIP() << "no javac 17 is here";
  const std::string make = "cd " + std::string(source) + " && python3 make_jar.py javac rayx/Launcher.java " + made +
                           " && cmp " + made + " rayx-launcher.jar";
  EXPECT_EQ(std::system(make.c_str()), 0)
      << "make it anew: python3 make_jar.py javac rayx/Launcher.java rayx-launcher.jar";
}

TEST_F(Launcher, LaunchesThatCannotBeAreRefused) {
  const auto refused = [&](NodeLaunch launch) {
    const Result<LaunchTicket> ticket = server_->admit(launch);
    return ticket ? "it was taken" : ticket.error().message;
  };
  admit("well");
  EXPECT_THAT(refused({.name = "node-1"}), HasSubstr("is known already"));
  EXPECT_THAT(refused({.name = ""}), HasSubstr("name must have"));
  EXPECT_THAT(refused({.name = "a", .cores = 0}), HasSubstr("no reservation"));
  EXPECT_THAT(refused({.name = "a", .environment = {{"NAME", "\xc3\xa4"}}}), HasSubstr("not ASCII"));
  EXPECT_THAT(refused({.name = "a", .input = std::string(ProgramServer::kInputBytesMax + 1, 'x')}),
              HasSubstr("too large"));
}

}  // namespace
}  // namespace rayx::spark
