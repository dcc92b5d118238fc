// Limits of memory and CPUs from recorded trees: cgroup v1, v2, hybrid, inside and outside of containers.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <utility>

#include "shm/machine_limits.hpp"

namespace rayx::shm {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t kMebibyte = 1 << 20;
constexpr std::uint64_t kGiB = 1 << 30;

// A directory with the files that a machine shows in /proc and /sys; removed at the end.
class Tree {
 public:
  Tree() {
    std::string name = (fs::temp_directory_path() / "rayx-cgroup-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    add("/proc/meminfo", "MemTotal:       16777216 kB\nMemFree:         1024 kB\nMemAvailable:   12582912 kB\n");
    add("/proc/self/status", "Name:\tcat\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\n");
  }
  ~Tree() { fs::remove_all(root_); }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  Tree& add(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path, std::ios::trunc) << text;
    return *this;
  }
  MachineLimits read() const { return read_machine_limits(root_); }
  const std::string& root() const { return root_; }

 private:
  std::string root_;
};

constexpr const char* kMountV2 =
    "35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kMountsV1 =
    "31 23 0:28 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n"
    "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:31 / /sys/fs/cgroup/memory rw shared:15 master:2 - cgroup cgroup rw,memory\n";

TEST(MachineLimits, WithoutCgroupsTheMachineCounts) {
  const Tree tree;
  const MachineLimits limits = tree.read();
  EXPECT_EQ(limits.memory_total_bytes, 16 * kGiB);
  EXPECT_EQ(limits.memory_limit_bytes, 16 * kGiB);
  EXPECT_EQ(limits.memory_free_bytes(), 12 * kGiB);
  EXPECT_EQ(limits.cpus, 8u);
  EXPECT_EQ(limits.cpus_source, "affinity mask");
}

TEST(MachineLimits, V2TheTightestLevelOfTheChainCounts) {
  Tree tree;
  tree.add("/proc/self/cgroup", "0::/user.slice/app.scope/leaf\n").add("/proc/self/mountinfo", kMountV2);
  const std::string base = "/sys/fs/cgroup/user.slice";
  tree.add(base + "/memory.max", "8589934592\n").add(base + "/memory.current", "7516192768\n");
  tree.add(base + "/memory.stat", "anon 1\nfile 2\ninactive_file 1073741824\nactive_file 7\n");
  tree.add(base + "/app.scope/memory.max", "max\n").add(base + "/app.scope/memory.current", "4096\n");
  tree.add(base + "/app.scope/leaf/memory.max", "4294967296\n").add(base + "/app.scope/leaf/memory.current", "0\n");
  tree.add(base + "/cpu.max", "max 100000\n").add(base + "/app.scope/cpu.max", "250000 100000\n");
  const MachineLimits limits = tree.read();
  EXPECT_EQ(limits.memory_limit_bytes, 4 * kGiB) << "the least limit";
  EXPECT_EQ(limits.memory_free_bytes(), 2 * kGiB) << "the level above has less left: 8 - (7 - 1)";
  ASSERT_TRUE(limits.memory_cgroup);
  EXPECT_EQ(limits.memory_cgroup->file, tree.root() + base + "/memory.max");
  EXPECT_EQ(limits.cpus, 3u) << "2.5 CPUs are rounded up";
  EXPECT_EQ(limits.cpus_source, tree.root() + base + "/app.scope/cpu.max");
}

TEST(MachineLimits, V2MemoryHighIsALimitToo) {
  Tree tree;
  tree.add("/proc/self/cgroup", "0::/\n").add("/proc/self/mountinfo", kMountV2);
  tree.add("/sys/fs/cgroup/memory.max", "max").add("/sys/fs/cgroup/memory.high", "1073741824");
  EXPECT_EQ(tree.read().memory_limit_bytes, kGiB);
}

TEST(MachineLimits, V2InAContainerWithItsOwnNamespace) {
  Tree tree;
  tree.add("/proc/self/cgroup", "0::/\n").add("/proc/self/mountinfo", kMountV2);
  tree.add("/sys/fs/cgroup/memory.max", "536870912\n").add("/sys/fs/cgroup/memory.current", "536870912\n");
  tree.add("/sys/fs/cgroup/cpu.max", "50000 100000\n");
  const MachineLimits limits = tree.read();
  EXPECT_EQ(limits.memory_free_bytes(), 0u);
  EXPECT_EQ(limits.cpus, 1u) << "half a CPU is one worker";
}

TEST(MachineLimits, V1HierarchiesAreReadEachAtItsMount) {
  Tree tree;
  tree.add("/proc/self/cgroup", "9:name=systemd:/\n4:memory:/a/b\n2:cpu,cpuacct:/c\n0::/elsewhere\n");
  tree.add("/proc/self/mountinfo", kMountsV1);
  const std::string memory = "/sys/fs/cgroup/memory";
  tree.add(memory + "/memory.limit_in_bytes", "9223372036854771712\n");
  tree.add(memory + "/a/memory.limit_in_bytes", "2147483648\n")
      .add(memory + "/a/memory.usage_in_bytes", "1610612736\n");
  tree.add(memory + "/a/memory.stat", "inactive_file 1\ntotal_inactive_file 536870912\n");
  tree.add(memory + "/a/b/memory.limit_in_bytes", "9223372036854771712\n");
  tree.add("/sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_quota_us", "400000\n")
      .add("/sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_period_us", "100000\n");
  tree.add("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n")
      .add("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  const MachineLimits limits = tree.read();
  EXPECT_EQ(limits.memory_limit_bytes, 2 * kGiB);
  EXPECT_EQ(limits.memory_free_bytes(), kGiB);
  EXPECT_EQ(limits.cpus, 4u);
}

// Docker on v1 without a namespace: the mount shows the container's directory only, and both names are the host's.
TEST(MachineLimits, V1InAContainerThatSeesOnlyItsOwnDirectory) {
  Tree tree;
  tree.add("/proc/self/cgroup", "4:memory:/docker/abc/worker\n");
  tree.add("/proc/self/mountinfo", "35 31 0:31 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  tree.add("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
  tree.add("/sys/fs/cgroup/memory/worker/memory.limit_in_bytes", "536870912\n");
  EXPECT_EQ(tree.read().memory_limit_bytes, 512 * kMebibyte);
  tree.add("/proc/self/cgroup", "4:memory:/docker/abcdef\n");
  EXPECT_EQ(tree.read().memory_limit_bytes, kGiB) << "a name that only begins alike is not below the mount";
  tree.add("/proc/self/cgroup", "4:memory:/../../other\n");
  EXPECT_EQ(tree.read().memory_limit_bytes, kGiB) << "outside of the namespace: at least the mount's own limit";
}

TEST(MachineLimits, MountPointsWithBlanksAreFound) {
  Tree tree;
  tree.add("/proc/self/cgroup", "0::/x y\n");
  tree.add("/proc/self/mountinfo", "35 24 0:30 / /odd\\040place rw - cgroup2 cgroup2 rw\n");
  tree.add("/odd place/x y/memory.max", "1073741824\n");
  EXPECT_EQ(tree.read().memory_limit_bytes, kGiB);
}

TEST(MachineLimits, TheAffinityMaskCountsListsOfRanges) {
  Tree tree;
  for (const auto& [list, cpus] : std::initializer_list<std::pair<std::string, std::uint32_t>>{
           {"0", 1}, {"0-3,8,10-11", 7}, {"5-5", 1}, {"0-127", 128}}) {
    tree.add("/proc/self/status", "Cpus_allowed_list:\t" + list + "\n");
    EXPECT_EQ(tree.read().cpus, cpus) << list;
  }
}

TEST(MachineLimits, WhatMakesNoSenseLimitsNothing) {
  Tree tree;
  tree.add("/proc/self/cgroup", "garbage\n::\n0::/a\n")
      .add("/proc/self/mountinfo", std::string("short - x\n\n") + kMountV2);
  tree.add("/sys/fs/cgroup/a/memory.max", "12abc\n").add("/sys/fs/cgroup/a/cpu.max", "0 0\n");
  tree.add("/sys/fs/cgroup/memory.max", "\n").add("/sys/fs/cgroup/cpu.max", "100000\n");
  tree.add("/proc/self/status", "Cpus_allowed_list:\t3-1\n");
  const MachineLimits limits = tree.read();
  EXPECT_EQ(limits.memory_limit_bytes, 16 * kGiB);
  EXPECT_GE(limits.cpus, 1u);
  EXPECT_FALSE(limits.memory_cgroup);
  const MachineLimits nothing = read_machine_limits(tree.root() + "/nowhere");
  EXPECT_GE(nothing.cpus, 1u);
  EXPECT_TRUE(check_memory_fits(nothing, kGiB, "store_bytes")) << "without numbers nothing is refused";
}

TEST(MachineLimits, ThisMachineMakesSense) {
  const MachineLimits limits = read_machine_limits();
  EXPECT_GE(limits.cpus, 1u);
  EXPECT_GT(limits.memory_total_bytes, 64 * kMebibyte);
  EXPECT_LE(limits.memory_limit_bytes, limits.memory_total_bytes);
  EXPECT_LE(limits.memory_free_bytes(), limits.memory_total_bytes);
}

TEST(MachineLimits, NumbersAreReadable) {
  EXPECT_EQ(bytes_text(17), "17 bytes");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(300 * kMebibyte), "300.0 MiB");
  EXPECT_EQ(bytes_text(3ull << 40), "3.0 TiB");
}

}  // namespace
}  // namespace rayx::shm
