// A program with libraries of its own is cached, laid out, and started as a fork server where none of its files can be seen.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "../process/process_test_kit.hpp"
#include "cache_test_kit.hpp"
#include "kit/child_process.hpp"
#include "kit/program.hpp"

namespace rayx::bundle::test {
namespace {

using namespace std::chrono_literals;
using process::test::Recorder;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

RunningProgram describe(const Folder& folder) {
  RunningProgram program;
  kit::Program run(variable("RAYX_TEST_TRAVELLER"), {.arguments = {folder / "manifest", variable("RAYX_TEST_PLUGIN")}});
  const auto end = run.wait();
  EXPECT_TRUE(end && end->exited_with(0)) << run.err();
  std::ifstream file(folder / "manifest", std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  Result<Manifest> manifest = decode_manifest(std::as_bytes(std::span(bytes)));
  EXPECT_TRUE(manifest) << manifest.error().message;
  if (manifest) program.manifest = std::move(*manifest);
  std::ifstream sources(folder / "manifest.sources");
  for (std::string line; std::getline(sources, line);) program.sources.push_back(line);
  EXPECT_EQ(program.sources.size(), program.manifest.files.size());
  return program;
}

// Only for the child that calls it: an empty file system over each of these folders. Why it cannot be, or "".
std::string hide(const std::vector<std::string>& folders) {
  if (::unshare(CLONE_NEWNS) != 0) {
    // Without root: as root of a user namespace of our own.
    const std::string map = "0 " + std::to_string(::geteuid()) + " 1";
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return std::string("unshare: ") + std::strerror(errno);
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/uid_map") << map;
  }
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return std::string("mount: ") + std::strerror(errno);
  for (const std::string& folder : folders) {
    struct stat status {};
    if (::stat(folder.c_str(), &status) != 0) continue;
    if (::mount("none", folder.c_str(), "tmpfs", 0, nullptr) != 0)
      return "mount on " + folder + ": " + std::strerror(errno);
  }
  return "";
}

const std::vector<std::string> kHostsLibraries = {"/usr/lib", "/lib", "/lib64", "/usr/lib64", "/usr/local/lib"};

struct Told {
  std::string out;
  std::string err;
};

Told run_worker(const Layout& layout, std::vector<std::string> env) {
  process::ForkServer server;
  Recorder events;
  process::ForkServerConfig config;
  config.env = std::move(env);
  config.program = {layout.executable(), {"the-driver", "--its", "arguments"}, layout.library_path()};
  Told told;
  if (const Result<void> started = server.start(config); !started) return {"", started.error().message};
  const base::UniqueFd err = server.take_err();
  if (const Result<void> ready = server.wait_ready(process::test::kPatience, events); !ready)
    return {"", ready.error().message + process::test::read_text(err.get())};
  if (const Result<void> asked = server.spawn_worker({.slot = 1, .fds = {}, .env = {}, .config = ""}); !asked)
    return {"", asked.error().message};
  process::test::pump(server, events, [&] { return events.exited.contains(1) || events.failed.contains(1); });
  if (events.failed.contains(1)) return {"", events.failed[1]};
  told.out = process::test::read_text(events.started.at(1).out.get());
  told.err = process::test::read_text(events.started.at(1).err.get());
  server.shutdown(1000ms, events);
  return told;
}

enum class Hidden { kAllLibraries, kTheProgramsOwn };

// Fetches the program, then runs `look` at what a worker of it told, in a process for which the folders are hidden.
void travel(Hidden hidden, std::vector<std::string> env, const std::function<void(const Layout&, const Told&)>& look) {
  ::unsetenv("LD_LIBRARY_PATH");  // Meson sets it for programs with libraries in the build folder
  const Folder folder;
  const RunningProgram program = describe(folder);
  ASSERT_FALSE(::testing::Test::HasFailure());
  CacheConfig config{.directory = folder / "cache"};
  if (hidden == Hidden::kAllLibraries) config.host_root = folder / "no-host";  // what it will find
  Result<Cache> cache = Cache::open(config);
  ASSERT_TRUE(cache) << cache.error().message;
  Result<Layout> layout = fetch_and_lay_out(*cache, program);
  ASSERT_TRUE(layout) << layout.error().message;
  ASSERT_EQ(layout->libc(), hidden == Hidden::kAllLibraries ? Libc::kBundled : Libc::kHosts);

  constexpr int kRefused = 77;
  kit::ChildProcess bare_host([&] {
    std::vector<std::string> folders{variable("RAYX_TEST_BUILD_ROOT")};
    if (hidden == Hidden::kAllLibraries) folders.insert(folders.end(), kHostsLibraries.begin(), kHostsLibraries.end());
    if (const std::string why = hide(folders); !why.empty()) {
      std::fprintf(stderr, "no mount namespace: %s\n", why.c_str());
      return kRefused;
    }
    EXPECT_NE(::access(program.manifest.executable().path.c_str(), F_OK), 0) << "the original can be seen";
    EXPECT_EQ(::access("/lib64/ld-linux-x86-64.so.2", F_OK) == 0, hidden == Hidden::kTheProgramsOwn);
    const Told told = run_worker(*layout, std::move(env));
    SCOPED_TRACE("stdout: " + told.out + "\nstderr: " + told.err);
    look(*layout, told);
    return 0;
  });
  const auto end = bare_host.wait(60s);
  ASSERT_TRUE(end);
  if (end->exited_with(kRefused)) GTEST_SKIP() << "this container allows no mount namespace";
  EXPECT_TRUE(end->exited_with(0)) << end->text();
}

TEST(Travel, AProgramRunsOnAHostThatHasNoLibraryAtAll) {
  travel(Hidden::kAllLibraries, {}, [](const Layout& layout, const Told& told) {
    EXPECT_THAT(told.out, HasSubstr("outer 41, by path 40\n"));
    EXPECT_THAT(told.out, HasSubstr("plugin 40\n"));
    EXPECT_THAT(told.out, HasSubstr("exe " + layout.executable() + "\nforked 1\n"));
    EXPECT_THAT(told.out, HasSubstr("from elsewhere 0\n"));
    EXPECT_THAT(told.out, HasSubstr("argv[0] the-driver\n"));
  });
}

TEST(Travel, AProgramUsesTheHostsCLibraryWhereThatWillDo) {
  travel(Hidden::kTheProgramsOwn, {}, [](const Layout& layout, const Told& told) {
    EXPECT_THAT(told.out, HasSubstr("outer 41, by path 40\nplugin 40\nexe " + layout.executable()));
    EXPECT_THAT(told.err, HasSubstr("/libc.so.6"));
    EXPECT_THAT(told.err, ::testing::Not(HasSubstr("libstdc++"))) << "a library of the host came before the bundle's";
  });
}

TEST(Travel, WorkersThatAreExecedFindTheirLibrariesToo) {
  travel(Hidden::kAllLibraries, {"RAYX_TEST_THREAD=1"}, [](const Layout&, const Told& told) {
    EXPECT_THAT(told.out, HasSubstr("outer 41, by path 40\nplugin 40\n"));
    EXPECT_THAT(told.out, HasSubstr("forked 0\n"));
    EXPECT_THAT(told.out, HasSubstr("library path unset\n"));
  });
}

TEST(Travel, WhatTheProgramStartsSeesTheUsersLibraryPathOnly) {
  for (const std::string& value : {std::string(), std::string("/opt/drivers:/opt/more")}) {
    std::vector<std::string> env;
    if (!value.empty()) env.push_back("LD_LIBRARY_PATH=" + value);
    travel(Hidden::kTheProgramsOwn, env, [&](const Layout&, const Told& told) {
      EXPECT_THAT(told.out, HasSubstr("library path " + (value.empty() ? "unset" : value) + "\n"));
    });
  }
}

}  // namespace
}  // namespace rayx::bundle::test
