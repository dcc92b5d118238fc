// A cache that several processes share, that are killed, and whose files are damaged.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <random>

#include "cache_test_kit.hpp"
#include "kit/child_process.hpp"
#include "kit/sanitized.hpp"
#include "kit/seed.hpp"

namespace rayx::bundle::test {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kNoHost = "/nonexistent";  // a host without any C library: the bundle's own files are needed, too

Cache open_cache(const Folder& folder, std::uint64_t bytes_max = std::uint64_t{8} << 30) {
  Result<Cache> cache = Cache::open({.directory = folder / "cache", .bytes_max = bytes_max, .host_root = kNoHost});
  EXPECT_TRUE(cache) << cache.error().message;
  return std::move(*cache);
}

// Every file that lies in the cache has the content that its name says.
void expect_right_files(const Folder& folder) {
  FileDigests digests;
  for (const std::string& name : names_in(folder / "cache/v1/files")) {
    const base::UniqueFd fd(::open((folder / ("cache/v1/files/" + name)).c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(fd);
    EXPECT_EQ(to_hex(digests.of(fd.get(), name).value()), name);
  }
}

TEST(Cache, GivesBackWhatWasSent) {
  const Folder folder;
  Cache cache = open_cache(folder);
  Result<Staging> staging = cache.stage(own_program().manifest);
  ASSERT_TRUE(staging) << staging.error().message;
  EXPECT_EQ(staging->missing().size(), own_program().manifest.files.size());
  for (const std::size_t file : staging->missing()) ASSERT_TRUE(send(*staging, own_program(), file));
  EXPECT_THAT(staging->missing(), IsEmpty());
  Result<Layout> layout = std::move(*staging).lay_out();
  ASSERT_TRUE(layout) << layout.error().message;
  EXPECT_EQ(layout->libc(), Libc::kBundled);
  EXPECT_EQ(::access(layout->executable().c_str(), X_OK), 0);
  EXPECT_THAT(layout->executable(), HasSubstr("/root" + own_program().manifest.executable().path));
  expect_right_files(folder);
  for (const File& file : own_program().manifest.files) EXPECT_TRUE(cache.open_file(file.digest)) << file.path;
}

TEST(Cache, ASecondJobFetchesNothing) {
  const Folder folder;
  Cache cache = open_cache(folder);
  ASSERT_TRUE(fetch_and_lay_out(cache, own_program()));
  Cache another = open_cache(folder);
  EXPECT_THAT(another.stage(own_program().manifest)->missing(), IsEmpty());
}

TEST(Cache, ALayoutGoesWithItsObject) {
  const Folder folder;
  Cache cache = open_cache(folder);
  {
    const Result<Layout> layout = fetch_and_lay_out(cache, own_program());
    ASSERT_TRUE(layout);
    EXPECT_EQ(names_in(folder / "cache/v1/layouts").size(), 2u);  // the folder and its lock
  }
  EXPECT_THAT(names_in(folder / "cache/v1/layouts"), IsEmpty());
}

TEST(Cache, NoLaidOutFileNamesFoldersOfItsOwnHost) {
  const Folder folder;
  Cache cache = open_cache(folder);
  const Result<Layout> layout = fetch_and_lay_out(cache, own_program());
  ASSERT_TRUE(layout);
  for (const File& file : own_program().manifest.files) {
    for (const std::string& name : file.names) {
      const bool is_libc = file.role != Role::kLibrary;
      const std::string path = layout->folder() + (is_libc ? "/libc/" : "/lib/") + name;
      const base::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      const Result<ElfFile> elf = read_elf(fd.get(), path);
      ASSERT_TRUE(elf) << elf.error().message;
      EXPECT_THAT(elf->search_fixes, IsEmpty()) << path;
    }
  }
  const base::UniqueFd fd(::open(layout->executable().c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(read_elf(fd.get(), "the executable")->interpreter, layout->folder() + "/libc/ld-linux-x86-64.so.2");
}

TEST(Cache, AFileThatArrivesOtherwiseIsRefused) {
  const Folder folder;
  Cache cache = open_cache(folder);
  Result<Staging> staging = cache.stage(own_program().manifest);
  ASSERT_TRUE(staging);
  const File& file = staging->manifest().files[0];
  std::vector<std::byte> bytes(file.bytes);
  {
    Result<FileWriter> writer = staging->write(0);
    ASSERT_TRUE(writer->append(bytes));
    const Result<void> finished = writer->finish();
    ASSERT_FALSE(finished);
    EXPECT_EQ(finished.error().code, ErrorCode::kMalformed);
    EXPECT_THAT(finished.error().message, HasSubstr(file.path));
    EXPECT_THAT(finished.error().message, HasSubstr(to_hex(file.digest) + " was announced"));
  }
  {
    Result<FileWriter> writer = staging->write(0);
    ASSERT_TRUE(writer->append(std::span(bytes).first(10)));
    EXPECT_THAT(writer->finish().error().message, HasSubstr("10 of "));
  }
  {
    Result<FileWriter> writer = staging->write(0);
    ASSERT_TRUE(writer->append(bytes));
    EXPECT_THAT(writer->append(std::span(bytes).first(1)).error().message, HasSubstr("longer than"));
  }
  EXPECT_THAT(names_in(folder / "cache/v1/incoming"), IsEmpty());
  EXPECT_THAT(names_in(folder / "cache/v1/files"), IsEmpty());
  EXPECT_EQ(staging->missing().size(), own_program().manifest.files.size());
}

TEST(Cache, AFileThatWasTamperedWithIsNamedAndFetchedAnew) {
  const Folder folder;
  {
    Cache cache = open_cache(folder);
    ASSERT_TRUE(fetch_and_lay_out(cache, own_program()));
  }
  const File& victim = own_program().manifest.executable();
  const std::string path = folder / ("cache/v1/files/" + to_hex(victim.digest));
  ::chmod(path.c_str(), 0700);
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(1'000).put('!').put('?');
  Cache cache = open_cache(folder);  // another life of the node, that has not seen the file before
  const Result<Layout> layout = fetch_and_lay_out(cache, own_program());
  ASSERT_FALSE(layout);
  EXPECT_EQ(layout.error().code, ErrorCode::kMalformed);
  EXPECT_THAT(layout.error().message, HasSubstr(victim.path));
  EXPECT_THAT(layout.error().message, HasSubstr("was damaged or changed in the cache"));
  EXPECT_TRUE(fetch_and_lay_out(cache, own_program()));
  expect_right_files(folder);
}

TEST(Cache, AFileThatWasCutShortIsMissing) {
  const Folder folder;
  Cache cache = open_cache(folder);
  ASSERT_TRUE(fetch_and_lay_out(cache, own_program()));
  const File& victim = own_program().manifest.executable();
  std::filesystem::resize_file(folder / ("cache/v1/files/" + to_hex(victim.digest)), 100);
  EXPECT_EQ(cache.stage(own_program().manifest)->missing().size(), 1u);
  EXPECT_TRUE(fetch_and_lay_out(cache, own_program()));
}

TEST(Cache, AFullCacheEvictsWhatNoRunningJobUses) {
  const Folder folder;
  const std::uint64_t bytes = bytes_of(own_program().manifest);
  Cache cache = open_cache(folder, bytes + 1'000);
  RunningProgram other = own_program();  // a second program, that has only its executable in common with nobody
  Manifest& manifest = other.manifest;
  std::erase_if(manifest.files,
                [](const File& file) { return file.role != Role::kExecutable && file.role != Role::kLoader; });
  for (File& file : manifest.files) file.digest[0] ^= 1;
  {
    const Result<Layout> running = fetch_and_lay_out(cache, own_program());
    ASSERT_TRUE(running);
    const Result<Staging> refused = cache.stage(manifest);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kStoreFull);
    EXPECT_THAT(refused.error().message, HasSubstr("running jobs use"));
    expect_right_files(folder);
    EXPECT_EQ(names_in(folder / "cache/v1/files").size(),
              manifest.files.size() == 0 ? 0 : own_program().manifest.files.size());
  }
  EXPECT_TRUE(cache.stage(manifest));
  EXPECT_LT(names_in(folder / "cache/v1/files").size(), own_program().manifest.files.size());
}

TEST(Cache, AKilledJobUsesNothing) {
  const Folder folder;
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  kit::ChildProcess job([&] {
    Cache cache = open_cache(folder);
    const Result<Layout> layout = fetch_and_lay_out(cache, own_program());
    const char done = layout ? 'y' : 'n';
    if (::write(ends[1], &done, 1) != 1) return 1;
    for (;;) ::pause();
  });
  char done = 0;
  ASSERT_EQ(::read(ends[0], &done, 1), 1);
  EXPECT_EQ(done, 'y');
  Cache cache = open_cache(folder, 1);
  EXPECT_EQ(names_in(folder / "cache/v1/layouts").size(), 2u) << "a living process' folder was swept";
  job.kill();
  job.wait(10s);
  RunningProgram none = own_program();
  std::erase_if(none.manifest.files, [](const File& file) { return file.role == Role::kLibrary; });
  none.manifest.files[0].digest[0] ^= 1;
  EXPECT_EQ(cache.stage(none.manifest).error().code, ErrorCode::kStoreFull);  // its limit is one byte
  EXPECT_THAT(names_in(folder / "cache/v1/layouts"), IsEmpty());
}

TEST(Cache, WritersThatAreKilledAtAnyMomentLeaveNothingWrong) {
  const Folder folder;
  std::mt19937_64 random(kit::seed());
  (void)own_program();
  for (int round = 0; round < (kit::kIsSanitized ? 15 : 60); ++round) {
    const auto life = std::chrono::microseconds(random() % 40'000);
    const std::size_t piece_bytes = 1 + random() % 200'000;
    kit::ChildProcess writer([&]() -> int {
      Cache cache = open_cache(folder);
      for (;;) (void)fetch_and_lay_out(cache, own_program(), piece_bytes);
    });
    EXPECT_FALSE(writer.wait(std::chrono::duration_cast<std::chrono::milliseconds>(life)));
    writer.kill();
    writer.wait(10s);
    expect_right_files(folder);
    if (round % 8 != 0) continue;
    for (const std::string& name : names_in(folder / "cache/v1/files"))
      std::filesystem::remove(folder / ("cache/v1/files/" + name));
  }
  Cache cache = open_cache(folder);
  EXPECT_THAT(names_in(folder / "cache/v1/incoming"), IsEmpty());
  EXPECT_THAT(names_in(folder / "cache/v1/layouts"), IsEmpty());
  const Result<Layout> layout = fetch_and_lay_out(cache, own_program());
  EXPECT_TRUE(layout) << layout.error().message;
}

TEST(Cache, EightProcessesMayWriteTheSameProgramAtOnce) {
  const Folder folder;
  (void)own_program();
  std::vector<kit::ChildProcess> nodes;
  for (int i = 0; i < 8; ++i)
    nodes.emplace_back([&] {
      for (int round = 0; round < 3; ++round) {
        Cache cache = open_cache(folder);
        const Result<Layout> layout = fetch_and_lay_out(cache, own_program(), 50'000);
        EXPECT_TRUE(layout) << layout.error().message;
      }
      return 0;
    });
  for (kit::ChildProcess& node : nodes) {
    const auto end = node.wait(60s);
    ASSERT_TRUE(end);
    EXPECT_TRUE(end->exited_with(0)) << end->text();
  }
  expect_right_files(folder);
  EXPECT_EQ(names_in(folder / "cache/v1/files").size(), own_program().manifest.files.size());
  EXPECT_THAT(names_in(folder / "cache/v1/incoming"), IsEmpty());
  EXPECT_THAT(names_in(folder / "cache/v1/layouts"), IsEmpty());
}

TEST(CacheFolder, IsForItsUserOnly) {
  const Folder folder;
  (void)open_cache(folder);
  struct stat status {};
  ASSERT_EQ(::stat((folder / "cache").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST(CacheFolder, ThatOthersMayChangeIsRefused) {
  const Folder folder;
  std::filesystem::create_directory(folder / "real");
  ASSERT_EQ(::symlink((folder / "real").c_str(), (folder / "link").c_str()), 0);
  EXPECT_THAT(Cache::open({.directory = folder / "link"}).error().message, HasSubstr("is a symbolic link"));
  ASSERT_EQ(::chmod((folder / "real").c_str(), 0777), 0);
  EXPECT_THAT(Cache::open({.directory = folder / "real"}).error().message, HasSubstr("other users may write"));
  ASSERT_EQ(::chmod((folder / "real").c_str(), 0755), 0);
  EXPECT_TRUE(Cache::open({.directory = folder / "real"}));
  if (::chown((folder / "real").c_str(), 65'534, 65'534) == 0) {
    EXPECT_THAT(Cache::open({.directory = folder / "real"}).error().message, HasSubstr("belongs to another user"));
  }
  EXPECT_THAT(Cache::open({.directory = "relative"}).error().message, HasSubstr("absolute path"));
  EXPECT_THAT(Cache::open({.directory = folder / "a:b"}).error().message, HasSubstr("one of : ; $"));
}

TEST(HostLibc, OfThisHostSuitsThisProgram) {
  Manifest manifest = own_program().manifest;
  HostLibc host(manifest.interpreter);
  ASSERT_TRUE(host.exists());
  EXPECT_EQ(choose_libc(manifest, host, kernel_release()).value(), Libc::kHosts);
}

TEST(HostLibc, ThatIsTooOldOrMissingIsNotUsed) {
  Manifest manifest = own_program().manifest;
  HostLibc none(manifest.interpreter, kNoHost);
  EXPECT_EQ(choose_libc(manifest, none, "6.1.0").value(), Libc::kBundled);
  manifest.needs.push_back({"libc.so.6", "GLIBC_9.99"});
  HostLibc host(manifest.interpreter);
  EXPECT_EQ(choose_libc(manifest, host, "6.1.0").value(), Libc::kBundled);
}

TEST(HostLibc, WhereNothingWorksTheRefusalNamesBothVersions) {
  Manifest manifest = own_program().manifest;
  manifest.needs.push_back({"libc.so.6", "GLIBC_9.99"});
  manifest.kernel_min = "7.1.0";
  HostLibc host(manifest.interpreter);
  const Error old_kernel = choose_libc(manifest, host, "6.1.0-13-amd64").error();
  EXPECT_EQ(old_kernel.code, ErrorCode::kUnsupported);
  EXPECT_THAT(old_kernel.message, HasSubstr("needs GLIBC_9.99 of libc.so.6"));
  EXPECT_THAT(old_kernel.message, HasSubstr("is version " + host.version()));
  EXPECT_THAT(old_kernel.message, HasSubstr("needs Linux 7.1.0, and this is 6.1.0-13-amd64"));
  std::erase_if(manifest.files, [](const File& file) { return file.role == Role::kLoader; });
  const Error no_bundle = choose_libc(manifest, host, "6.1.0").error();
  EXPECT_THAT(no_bundle.message, HasSubstr("needs GLIBC_9.99"));
  EXPECT_THAT(no_bundle.message, HasSubstr("brings no C library"));
  manifest.machine = 183;
  EXPECT_THAT(choose_libc(manifest, host, "6.1.0").error().message, HasSubstr("is for arm64 processors"));
}

}  // namespace
}  // namespace rayx::bundle::test
