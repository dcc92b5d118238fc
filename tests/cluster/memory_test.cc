// Programs that share the memory of a node: what one does not use is another's, and together they have no more than the node gives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kit/eventually.hpp"
#include "kit/program.hpp"
#include "nodes.hpp"

namespace {

using rayx::cluster_test::Nodes;
using rayx::cluster_test::variable;
using rayx::kit::Program;
using testing::HasSubstr;

class MemoryOfNode : public Nodes {
 protected:
  static constexpr std::uint64_t kMiB = 1u << 20;
  static constexpr std::uint64_t kStore_bytes = 256 * kMiB;

  void start() { start_node({.cpus = 4, .store_mib = kStore_bytes / kMiB}); }
  Program& start(const std::string& name, int count, int mib) {
    programs_.push_back(
        std::make_unique<Program>(variable("RAYX_MEMORY_PROGRAM"),
                                  with_cluster({name, std::to_string(count), std::to_string(mib), folder_.string()})));
    return *programs_.back();
  }
  void tell(const std::string& name, const std::string& what) const {
    std::ofstream(folder_ / (name + "-" + what)).put('x');
  }
  // Of all stores of the node, memory that exists.
  std::uint64_t stores_bytes() const {
    std::map<ino_t, std::uint64_t> bytes_of;
    const std::string folder = "/proc/" + std::to_string(nodes_[0]->pid()) + "/fd";
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      std::error_code gone;
      struct stat about {};
      const bool is_memory = std::filesystem::read_symlink(entry.path(), gone).string().starts_with("/memfd:");
      if (is_memory && ::stat(entry.path().c_str(), &about) == 0)
        bytes_of[about.st_ino] = static_cast<std::uint64_t>(about.st_blocks) * 512;
    }
    std::uint64_t sum = 0;
    for (const auto& [file, bytes] : bytes_of) sum += bytes;
    std::printf("rayx: the stores of the node's programs have %llu MiB together\n",
                static_cast<unsigned long long>(sum >> 20));
    return sum;
  }
  // With what each has in any case, and tables.
  static std::uint64_t limit_bytes(std::uint64_t programs) { return kStore_bytes + programs * 24 * kMiB; }
  static void ends_well(Program& program) {
    const auto ended = program.wait();
    ASSERT_TRUE(ended.has_value());
    EXPECT_TRUE(ended->exited_with(0)) << program.out() << program.err();
  }

  std::vector<std::unique_ptr<Program>> programs_;
};

// Failed when each program had a store as large as the node's memory.
TEST_F(MemoryOfNode, ThatOneProgramHasUsedIsAnothers) {
  start();
  Program& first = start("first", 12, 16);
  ASSERT_TRUE(first.read_until("keeps 12")) << first.out() << first.err();
  Program& second = start("second", 8, 16);
  ASSERT_TRUE(second.read_until("asked")) << second.out() << second.err();
  tell("first", "drop");
  ASSERT_TRUE(second.read_until("keeps 8")) << second.out() << second.err();
  EXPECT_LE(stores_bytes(), limit_bytes(2));
  tell("second", "drop");
  tell("first", "end"), tell("second", "end");
  ends_well(first), ends_well(second);
  EXPECT_THAT(first.out(), HasSubstr("right 12"));
  EXPECT_THAT(second.out(), HasSubstr("right 8"));
}

TEST_F(MemoryOfNode, ThatAKilledProgramHadIsAnothers) {
  start();
  Program& first = start("first", 12, 16);
  ASSERT_TRUE(first.read_until("keeps 12")) << first.out() << first.err();
  Program& second = start("second", 8, 16);
  ASSERT_TRUE(second.read_until("asked")) << second.out() << second.err();
  first.kill(SIGKILL);
  ASSERT_TRUE(second.read_until("keeps 8")) << second.out() << second.err();
  EXPECT_LE(stores_bytes(), limit_bytes(1));
  tell("second", "drop"), tell("second", "end");
  ends_well(second);
}

TEST_F(MemoryOfNode, ThatAnotherProgramKeepsIsSaidInTheError) {
  start();
  Program& first = start("first", 15, 16);
  ASSERT_TRUE(first.read_until("keeps 15")) << first.out() << first.err();
  Program& second = start("second", 8, 16);
  const auto ended = second.wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->exited_with(4));
  EXPECT_THAT(second.out(), HasSubstr("the object store is full"));
  EXPECT_THAT(second.out(), HasSubstr("by other programs on this node"));
  tell("first", "drop"), tell("first", "end");
  ends_well(first);
  EXPECT_THAT(first.out(), HasSubstr("right 15"));
}

// Each begins as long as there is a little for it, whatever the first one has.
TEST_F(MemoryOfNode, LeavesEachProgramWhatItNeedsToBegin) {
  start();
  Program& first = start("first", 15, 16);
  ASSERT_TRUE(first.read_until("keeps 15")) << first.out() << first.err();
  for (const char* const name : {"second", "third"}) {
    Program& other = start(name, 4, 1);
    ASSERT_TRUE(other.read_until("keeps 4")) << other.out() << other.err();
  }
  EXPECT_LE(stores_bytes(), limit_bytes(3));
  for (const char* const name : {"first", "second", "third"}) tell(name, "drop"), tell(name, "end");
  for (const auto& program : programs_) ends_well(*program);
}

}  // namespace
