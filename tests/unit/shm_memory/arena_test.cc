// The arena: two mappings of one file, in several processes; what is refused, and what the messages say.
#include "shm/arena.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "kit/child_process.hpp"
#include "refuse_syscall.hpp"

namespace rayx::shm {
namespace {

using ::testing::HasSubstr;
constexpr std::uint64_t kMiB = 1 << 20;
constexpr auto kLimit = std::chrono::seconds(20);

Arena make_arena(std::uint64_t store_bytes = 8 * kMiB) {
  return Arena::create({.control_bytes = 10'000, .store_bytes = store_bytes, .refuse_beyond = {}}).value();
}

// Pages of [offset, offset + bytes) that exist.
std::size_t pages_in(const Arena& arena, Offset offset, std::uint64_t bytes) {
  std::vector<unsigned char> pages(bytes / kPageBytes);
  EXPECT_EQ(::mincore(arena.writable(offset), bytes, pages.data()), 0);
  std::size_t count = 0;
  for (const unsigned char page : pages) count += page & 1;
  return count;
}

int count_descriptors() {
  int count = 0;
  for (int fd = 0; fd < 256; ++fd) count += ::fcntl(fd, F_GETFD) != -1;
  return count;
}

int count_mappings() {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);) count += line.find("rayx-arena") != std::string::npos;
  return count;
}

TEST(Arena, BothMappingsShowTheSameMemoryAndItStartsAsZero) {
  const Arena arena = make_arena();
  EXPECT_EQ(arena.control_bytes() % kStoreAlignBytes, 0u);
  EXPECT_EQ(arena.store_begin(), arena.control_bytes());
  EXPECT_EQ(arena.store_bytes(), 8 * kMiB);
  const Offset at = arena.store_begin() + 12'345;
  EXPECT_EQ(*arena.address(at), std::byte{0});
  *arena.writable(at) = std::byte{42};
  EXPECT_EQ(*arena.address(at), std::byte{42});
  EXPECT_EQ(arena.offset_of(arena.address(at)), at);
  EXPECT_EQ(arena.offset_of(arena.writable(at)), at);
}

TEST(Arena, KnowsWhichOffsetsLieInTheStore) {
  const Arena arena = make_arena();
  const Offset begin = arena.store_begin();
  EXPECT_TRUE(arena.contains(begin, 8 * kMiB));
  EXPECT_FALSE(arena.contains(begin, 8 * kMiB + 1));
  EXPECT_FALSE(arena.contains(begin - 1, 1));
  EXPECT_TRUE(arena.contains(begin + 8 * kMiB, 0));
  EXPECT_FALSE(arena.contains(begin + 8 * kMiB, 1));
  EXPECT_FALSE(arena.contains(begin + 1, UINT64_MAX));
  EXPECT_FALSE(arena.contains(UINT64_MAX, 2));
}

TEST(Arena, AWriteThroughTheReadMappingEndsTheWriterOnly) {
  const Arena arena = make_arena();
  kit::ChildProcess child([&] {
    *const_cast<std::byte*>(arena.address(arena.store_begin())) = std::byte{1};
    return 0;
  });
  const auto status = child.wait(kLimit);
  ASSERT_TRUE(status);
  // A sanitizer catches the signal and exits.
  EXPECT_FALSE(status->exited_with(0)) << status->text();
  EXPECT_EQ(*arena.address(arena.store_begin()), std::byte{0});
}

TEST(Arena, AnotherProcessAttachesByDescriptorAndSharesIt) {
  const Arena arena = make_arena();
  const Offset at = arena.store_begin() + 4096;
  kit::ChildProcess child([&] {
    Result<Arena> attached = Arena::attach(::dup(arena.fd()));
    EXPECT_TRUE(attached) << attached.error().message;
    EXPECT_EQ(attached->control_bytes(), arena.control_bytes());
    EXPECT_EQ(attached->store_bytes(), arena.store_bytes());
    EXPECT_NE(attached->address(0), arena.address(0));
    std::memcpy(attached->writable(at), "hello", 6);
    return 0;
  });
  ASSERT_TRUE(child.wait(kLimit)->exited_with(0));
  EXPECT_STREQ(reinterpret_cast<const char*>(arena.address(at)), "hello");
}

TEST(Arena, LeavesNothingOpenOrMapped) {
  const int before = count_descriptors();
  const int mappings_before = count_mappings();
  {
    Arena arena = make_arena();
    Arena moved = std::move(arena);
    arena = make_arena();
    moved = std::move(arena);
    EXPECT_NE(::fcntl(moved.fd(), F_GETFD) & FD_CLOEXEC, 0) << "an unrelated program would inherit it";
  }
  EXPECT_EQ(count_descriptors(), before);
  EXPECT_EQ(count_mappings(), mappings_before);
}

TEST(Arena, NobodyCanChangeItsSize) {
  const Arena arena = make_arena();
  EXPECT_EQ(::ftruncate(arena.fd(), 0), -1);
  EXPECT_EQ(::ftruncate(arena.fd(), 1 << 30), -1);
}

TEST(Arena, RefusesDescriptorsThatAreNoArena) {
  const int file = static_cast<int>(::syscall(SYS_memfd_create, "other", 0));
  ASSERT_EQ(::ftruncate(file, 3 * kMiB), 0);
  EXPECT_EQ(Arena::attach(file).error().code, ErrorCode::kMalformed);
  EXPECT_EQ(::fcntl(file, F_GETFD), -1) << "attach owns the descriptor, also on error";
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  EXPECT_EQ(Arena::attach(pipe_ends[0]).error().code, ErrorCode::kMalformed);
  ::close(pipe_ends[1]);
  EXPECT_EQ(Arena::attach(-1).error().code, ErrorCode::kSystemError);
}

TEST(Arena, RefusesHeadersThatDoNotAgreeWithTheFile) {
  const ArenaHeader good{kArenaMagic, kArenaLayoutVersion, sizeof(ArenaHeader), 2 * kMiB, kMiB};
  auto attach = [](ArenaHeader header) {
    const int fd = static_cast<int>(::syscall(SYS_memfd_create, "forged", 0));
    EXPECT_EQ(::ftruncate(fd, 3 * kMiB + kPageBytes), 0);
    EXPECT_EQ(::pwrite(fd, &header, sizeof(header), 3 * kMiB), static_cast<ssize_t>(sizeof(header)));
    return Arena::attach(fd);
  };
  EXPECT_TRUE(attach(good));
  ArenaHeader bad = good;
  bad.layout_version += 1;
  EXPECT_THAT(attach(bad).error().message, HasSubstr("same rayx version"));
  bad = good;
  bad.control_bytes = std::uint64_t{1} << 63;
  bad.store_bytes = (std::uint64_t{1} << 63) + 3 * kMiB;  // together they wrap around to the right size
  EXPECT_FALSE(attach(bad));
  bad = good;
  bad.store_bytes += kStoreGranuleBytes;
  EXPECT_FALSE(attach(bad));
  bad = good;
  bad.magic ^= 1;
  EXPECT_FALSE(attach(bad));
}

TEST(Arena, PrefaultMakesPagesWithoutChangingThem) {
  const Arena arena = make_arena();
  const Offset begin = arena.store_begin();
  *arena.writable(begin + 5000) = std::byte{7};
  EXPECT_EQ(pages_in(arena, begin, 4 * kMiB), 1u);
  ASSERT_TRUE(arena.prefault(begin + 100, 3 * kMiB - 100));
  EXPECT_EQ(pages_in(arena, begin, 4 * kMiB), 3 * kMiB / kPageBytes);
  EXPECT_EQ(*arena.address(begin + 5000), std::byte{7});
  arena.prefault_for_reading(begin, 3 * kMiB);
  ASSERT_TRUE(arena.prefault(begin, 0));
  ASSERT_TRUE(arena.prefault(begin + 8 * kMiB - 1, 1)) << "the last byte of the store";
}

// Kernels before 5.14 and filters do not know MADV_POPULATE_WRITE.
TEST(Arena, PrefaultWorksWhereTheKernelDoesNotKnowPopulate) {
  const Arena arena = make_arena();
  const Offset begin = arena.store_begin();
  *arena.writable(begin + 5000) = std::byte{7};
  kit::ChildProcess child([&] {
    if (!test::refuse_syscall(SYS_madvise, EINVAL, 23)) return 77;
    EXPECT_EQ(::madvise(arena.writable(begin), kPageBytes, 23), -1);
    Result<void> faulted = arena.prefault(begin, 3 * kMiB);
    EXPECT_TRUE(faulted) << faulted.error().message;
    return 0;
  });
  const auto status = child.wait(kLimit);
  ASSERT_TRUE(status);
  if (status->exited_with(77)) GTEST_SKIP() << "this kernel allows no seccomp filter";
  ASSERT_TRUE(status->exited_with(0)) << status->text();
  EXPECT_EQ(pages_in(arena, begin, 4 * kMiB), 3 * kMiB / kPageBytes);
  EXPECT_EQ(*arena.address(begin + 5000), std::byte{7});
}

TEST(Arena, ARefusedMemfdIsAMessageThatSaysWhatToAllow) {
  for (const int error : {ENOSYS, EPERM}) {
    kit::ChildProcess child([&] {
      if (!test::refuse_syscall(SYS_memfd_create, error)) return 77;
      const Result<Arena> arena = Arena::create({.control_bytes = 1, .store_bytes = kMiB, .refuse_beyond = {}});
      EXPECT_FALSE(arena);
      EXPECT_EQ(arena.error().code, ErrorCode::kUnsupported);
      EXPECT_THAT(arena.error().message, HasSubstr("memfd_create"));
      EXPECT_THAT(arena.error().message, HasSubstr("seccomp"));
      EXPECT_THAT(arena.error().message, HasSubstr("RAYX_LOCAL=1"));
      EXPECT_THAT(arena.error().message, HasSubstr(std::strerror(error)));
      return 0;
    });
    const auto status = child.wait(kLimit);
    ASSERT_TRUE(status);
    if (status->exited_with(77)) GTEST_SKIP() << "this kernel allows no seccomp filter";
    EXPECT_TRUE(status->exited_with(0)) << status->text();
  }
}

TEST(Arena, ALimitOfFileSizesIsAMessageAndNotASignal) {
  kit::ChildProcess child([&] {
    const rlimit limit{kMiB, kMiB};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    const Result<Arena> arena = Arena::create({.control_bytes = 1, .store_bytes = 8 * kMiB, .refuse_beyond = {}});
    EXPECT_FALSE(arena);
    EXPECT_THAT(arena.error().message, HasSubstr("ulimit -f"));
    return 0;
  });
  EXPECT_TRUE(child.wait(kLimit)->exited_with(0));
}

TEST(Arena, RefusesSizesThatCannotBe) {
  EXPECT_EQ(Arena::create({.control_bytes = 1, .store_bytes = 0, .refuse_beyond = {}}).error().code,
            ErrorCode::kInvalidConfig);
  EXPECT_EQ(Arena::create({.control_bytes = 1, .store_bytes = UINT64_MAX, .refuse_beyond = {}}).error().code,
            ErrorCode::kInvalidConfig);
}

TEST(Arena, RefusesMoreThanIsFreeWithTheNumbers) {
  MachineLimits limits;
  limits.memory_total_bytes = 16ull << 30;
  limits.memory_available_bytes = 10ull << 30;
  limits.memory_limit_bytes = 4ull << 30;
  limits.memory_cgroup = CgroupMemory{"/sys/fs/cgroup/memory.max", 4ull << 30, 1ull << 30};
  const Result<Arena> arena = Arena::create({.control_bytes = 1, .store_bytes = 5ull << 30, .refuse_beyond = limits});
  ASSERT_FALSE(arena);
  EXPECT_EQ(arena.error().code, ErrorCode::kInvalidConfig);
  for (const char* part :
       {"store_bytes", "5.0 GiB", "3.0 GiB of 4.0 GiB", "10.0 GiB of 16.0 GiB", "/sys/fs/cgroup/memory.max",
        "at most 3.0 GiB", "raise the container's or cgroup's memory limit"})
    EXPECT_THAT(arena.error().message, HasSubstr(part));
  EXPECT_TRUE(Arena::create({.control_bytes = 1, .store_bytes = 3ull << 30, .refuse_beyond = limits}));
}

}  // namespace
}  // namespace rayx::shm
