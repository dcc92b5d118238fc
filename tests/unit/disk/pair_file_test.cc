#include "disk/pair_file.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <thread>

#include "kit/child_process.hpp"
#include "kit/seed.hpp"

namespace rayx::disk {
namespace {

class PairFiles : public testing::Test {
 protected:
  PairFiles() {
    std::string pattern = (std::filesystem::temp_directory_path() / "rayx-disk-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no folder for the test");
    folder_ = pattern;
  }
  ~PairFiles() override { std::filesystem::remove_all(folder_); }
  std::string folder() const { return (folder_ / "deep" / "state").string(); }

  std::filesystem::path folder_;
};

using Pairs = std::vector<std::pair<std::string, std::string>>;

TEST_F(PairFiles, KeepWhatWasCommitted) {
  const std::string key("kv/\0\xff", 5);
  {
    Result<PairFile> file = PairFile::open(folder());
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_TRUE(file->read_all()->empty());
    ASSERT_TRUE(file->commit(std::vector<Change>{{"b", "1"}, {key, std::string(100'000, '\0')}, {"a", ""}}));
    ASSERT_TRUE(file->commit(std::vector<Change>{{"b", std::nullopt}, {"c", "2"}, {"nothing", std::nullopt}}));
  }
  Result<PairFile> again = PairFile::open(folder());
  ASSERT_TRUE(again) << again.error().message;
  const auto pairs = again->read_all();
  ASSERT_TRUE(pairs);
  EXPECT_EQ(*pairs, (Pairs{{"a", ""}, {"c", "2"}, {key, std::string(100'000, '\0')}}));
}

TEST_F(PairFiles, AreReadableByTheirUserOnly) {
  ASSERT_TRUE(PairFile::open(folder()));
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    struct stat status {};
    ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 077, 0u) << entry.path();
  }
}

// The other one is forked before: locks are a matter of the kernel's, not of what SQLite remembers in a copy of this process.
TEST_F(PairFiles, AreOpenInOneProcessAtATime) {
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  kit::ChildProcess other([&] {
    char letter = 0;
    if (::read(go[0], &letter, 1) != 1) return 1;
    const Result<PairFile> theirs = PairFile::open(folder());
    EXPECT_FALSE(theirs);
    if (theirs) return 2;
    EXPECT_EQ(theirs.error().code, ErrorCode::kInvalidConfig);
    EXPECT_NE(theirs.error().message.find("another process has it open"), std::string::npos) << theirs.error().message;
    return 0;
  });
  Result<PairFile> mine = PairFile::open(folder());
  ASSERT_TRUE(mine);
  ASSERT_EQ(::write(go[1], "!", 1), 1);
  const auto ended = other.wait(std::chrono::seconds(30));
  ASSERT_TRUE(ended);
  EXPECT_TRUE(ended->exited_with(0)) << ended->text();
  ::close(go[0]);
  ::close(go[1]);
}

// Failed when a head that was started right after the kill of the one before found its file locked.
TEST_F(PairFiles, AreOpenedWhenTheProcessThatHasThemIsJustDying) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  kit::ChildProcess other([&] {
    const Result<PairFile> theirs = PairFile::open(folder());
    if (!theirs || ::write(ready[1], "!", 1) != 1) return 1;
    for (;;) ::pause();
  });
  char letter = 0;
  ASSERT_EQ(::read(ready[0], &letter, 1), 1);
  const std::jthread killer([&] {
    ::poll(nullptr, 0, 300);
    EXPECT_TRUE(other.kill(SIGKILL));
  });
  const Result<PairFile> mine = PairFile::open(folder());
  EXPECT_TRUE(mine) << mine.error().message;
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(PairFiles, ThatAreNoneAreRefused) {
  std::filesystem::create_directories(folder());
  std::ofstream(folder() + "/head.sqlite") << std::string(10'000, 'x');
  const Result<PairFile> damaged = PairFile::open(folder());
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, ErrorCode::kInvalidConfig);
  EXPECT_NE(damaged.error().message.find("damaged, or is no file of rayx"), std::string::npos)
      << damaged.error().message;
}

TEST_F(PairFiles, ThatCannotBeMadeSayWhy) {
  std::ofstream(folder_ / "deep") << "a file where a folder should be";
  const Result<PairFile> none = PairFile::open(folder());
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message.find(folder_ / "deep"), std::string::npos) << none.error().message;
  EXPECT_FALSE(PairFile::open(""));
}

// The killed process writes batches of one number in three places, and says through a pipe which ones were durable.
TEST_F(PairFiles, OfAKilledProcessHoldAllThatWasDurableAndNoHalfBatch) {
  std::mt19937_64 random(kit::seed());
  for (int round = 0; round < 20; ++round) {
    int said[2];
    ASSERT_EQ(::pipe(said), 0);
    kit::ChildProcess writer([&] {
      Result<PairFile> file = PairFile::open(folder());
      if (!file) return 1;
      for (int i = 1;; ++i) {
        const std::string number = std::to_string(1'000 * round + i);
        if (!file->commit(std::vector<Change>{{"first", number}, {"second", number}, {"batch/" + number, number}}))
          return 2;
        if (::write(said[1], &i, sizeof(i)) != sizeof(i)) return 3;
      }
    });
    ::close(said[1]);
    int durable = 0;
    const int until = 1 + static_cast<int>(random() % 20);
    while (durable < until && ::read(said[0], &durable, sizeof(durable)) == sizeof(durable)) {
    }
    writer.kill();
    ASSERT_TRUE(writer.wait(std::chrono::seconds(30)));
    for (int later = 0; ::read(said[0], &later, sizeof(later)) == sizeof(later);) durable = later;
    ::close(said[0]);
    ASSERT_GE(durable, until);
    Result<PairFile> file = PairFile::open(folder());
    ASSERT_TRUE(file) << file.error().message;
    const Pairs all = *file->read_all();
    const std::map<std::string, std::string> pairs(all.begin(), all.end());
    EXPECT_EQ(pairs.at("first"), pairs.at("second"));
    EXPECT_TRUE(pairs.contains("batch/" + pairs.at("first")));
    EXPECT_GE(std::stoi(pairs.at("first")), 1'000 * round + durable);
  }
}

}  // namespace
}  // namespace rayx::disk
