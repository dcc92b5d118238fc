// The hold table against a std::set, with random steps; it grows by chunks.

#include "shm/hold_table.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <set>
#include <vector>

#include "kit/seed.hpp"

namespace rayx::shm {
namespace {

class HoldTableTest : public testing::Test {
 protected:
  static constexpr std::uint32_t kChunks = 4;
  struct Memory {
    alignas(64) std::byte header[64];
    HoldTableState state;
    HoldChunk chunks[kChunks];
  };

  bool grow() {
    if (chunks_ == kChunks) return false;
    return table_.add_chunk(segment_.offset_of(&memory_->chunks[chunks_++]));
  }

  std::unique_ptr<Memory> memory_ = std::make_unique<Memory>();
  Segment segment_{reinterpret_cast<std::byte*>(memory_.get()), sizeof(Memory)};
  HoldTable table_{segment_, memory_->state};
  std::uint32_t chunks_ = 0;
};

TEST_F(HoldTableTest, KeyCarriesItsParts) {
  const ObjectKey key = ObjectKey::make(1023, 4'194'303, 0xfffffffe);
  EXPECT_EQ(key.owner(), 1023u);
  EXPECT_EQ(key.record(), 4'194'303u);
  EXPECT_EQ(key.generation(), 0xfffffffe);
}

TEST_F(HoldTableTest, TellsGenerationsApart) {
  ASSERT_TRUE(grow());
  ASSERT_TRUE(table_.add(ObjectKey::make(1, 2, 3)));
  EXPECT_TRUE(table_.contains(ObjectKey::make(1, 2, 3)));
  EXPECT_FALSE(table_.contains(ObjectKey::make(1, 2, 4)));
  EXPECT_FALSE(table_.contains(ObjectKey::make(2, 2, 3)));
  table_.remove(ObjectKey::make(1, 2, 3));
  EXPECT_FALSE(table_.contains(ObjectKey::make(1, 2, 3)));
}

TEST_F(HoldTableTest, AgreesWithASetUnderRandomSteps) {
  std::mt19937_64 random(kit::seed());
  std::set<std::uint64_t> model;
  for (int step = 0; step < 60'000; ++step) {
    const ObjectKey key =
        ObjectKey::make(static_cast<std::uint32_t>(random() % 4), static_cast<std::uint32_t>(random() % 1500),
                        static_cast<std::uint32_t>(1 + random() % 2));
    if (model.count(key.word) != 0) {
      ASSERT_TRUE(table_.contains(key));
      table_.remove(key);
      model.erase(key.word);
    } else {
      ASSERT_FALSE(table_.contains(key));
      if (!table_.add(key)) {
        ASSERT_TRUE(grow()) << "with " << model.size() << " holds in " << chunks_ << " chunks";
        ASSERT_TRUE(table_.add(key));
      }
      model.insert(key.word);
    }
  }
  std::set<std::uint64_t> seen;
  table_.for_each([&](ObjectKey key) { EXPECT_TRUE(seen.insert(key.word).second); });
  EXPECT_EQ(seen, model);
  table_.wipe();
  table_.for_each([](ObjectKey key) { ADD_FAILURE() << "left after wipe: " << key.word; });
}

}  // namespace
}  // namespace rayx::shm
