// The rules of slabs in one process: sizes, alignment, who may free, what a search finds, what goes back to the node.
#include "shm/slab.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "kit/seed.hpp"
#include "shm/arena.hpp"

namespace rayx::shm {
namespace {

struct Fixture {
  Fixture()
      : arena(Arena::create({.control_bytes = 1, .store_bytes = 64 << 20, .refuse_beyond = {}}).value()),
        segment(arena.segment()) {}

  Offset lease(SlabAllocator& allocator) {
    const Offset base = arena.store_begin() + leased++ * kSlabBytes;
    allocator.add_slab(base, ++serial);
    return base;
  }
  // A block, with as many new slabs as it takes.
  Offset take(SlabAllocator& allocator, std::uint64_t bytes, const BlockOwner& owner) {
    Offset offset = allocator.allocate(bytes, owner);
    if (offset == kNoOffset) {
      lease(allocator);
      offset = allocator.allocate(bytes, owner);
    }
    return offset;
  }

  Arena arena;
  Segment segment;
  std::uint64_t leased = 0;
  std::uint64_t serial = 0;
};

TEST(Slab, EachSizeGetsTheSmallestClassThatHoldsIt) {
  for (std::uint32_t bytes = 0; bytes <= kSlabPayloadMax_bytes; ++bytes) {
    const std::uint32_t size_class = slab_class_of(bytes);
    ASSERT_GE(kSlabClassBytes[size_class], bytes);
    ASSERT_TRUE(size_class == 0 || kSlabClassBytes[size_class - 1] < bytes) << bytes;
  }
}

TEST(Slab, FillsASlabOfEachClassWithBlocksThatDoNotOverlap) {
  Fixture fixture;
  SlabAllocator allocator(fixture.segment, 3);
  for (const std::uint32_t bytes : kSlabClassBytes) {
    EXPECT_EQ(allocator.allocate(bytes, {3, 0, 1}), kNoOffset) << "slabs of another class have no room for " << bytes;
    const Offset base = fixture.lease(allocator);
    std::set<Offset> blocks;
    for (Offset offset; (offset = allocator.allocate(bytes, {3, 7, 9})) != kNoOffset;) {
      ASSERT_EQ(offset % 64, 0u);
      ASSERT_GE(offset, base);
      ASSERT_LE(offset + bytes, base + kSlabBytes);
      const Slab slab(fixture.segment, offset + bytes - 1);
      ASSERT_EQ(slab.base(), base);
      ASSERT_EQ(slab.offset_of(slab.index_of(offset)), offset);
      ASSERT_EQ(slab.index_of(offset), blocks.size());
      ASSERT_EQ(slab.owner_of(slab.index_of(offset)), (BlockOwner{3, 7, 9}));
      ASSERT_TRUE(blocks.empty() || offset >= *blocks.rbegin() + bytes);
      blocks.insert(offset);
    }
    EXPECT_GE(blocks.size() * (bytes + sizeof(BlockHeader)), kSlabBytes * 85 / 100) << bytes;
  }
  EXPECT_TRUE(allocator.is_valid());
}

TEST(Slab, ABlockThatAnotherProcessFreedIsUsedAgain) {
  Fixture fixture;
  SlabAllocator worker(fixture.segment, 1);
  SlabAllocator owner(fixture.segment, 2);
  std::vector<Offset> blocks;
  fixture.lease(worker);
  for (Offset offset; (offset = worker.allocate(4096, {2, 5, 1})) != kNoOffset;) {
    worker.give(offset);
    blocks.push_back(offset);
  }
  owner.free_block(blocks[3], {2, 5, 1});
  owner.free_block(blocks[9], {2, 5, 1});
  EXPECT_EQ(worker.blocks_in_use(), blocks.size()) << "nobody has looked yet";
  const std::set<Offset> again = {worker.allocate(4096, {1, 0, 1}), worker.allocate(4096, {1, 1, 1})};
  EXPECT_EQ(again, (std::set<Offset>{blocks[3], blocks[9]}));
  EXPECT_EQ(worker.allocate(4096, {1, 2, 1}), kNoOffset);
  EXPECT_TRUE(worker.is_valid());
}

TEST(Slab, EmptySlabsChangeTheirClassAndGoBackToTheNode) {
  Fixture fixture;
  SlabAllocator allocator(fixture.segment, 1);
  const Offset block = fixture.take(allocator, 100, {1, 0, 1});
  EXPECT_FALSE(allocator.take_empty(0)) << "a block is in use";
  allocator.free_block(block, {1, 0, 1});
  const Offset large = allocator.allocate(20'000, {1, 0, 2});
  ASSERT_NE(large, kNoOffset) << "the empty slab should have been cut anew";
  EXPECT_EQ(allocator.slabs(), 1u);
  allocator.free_block(large, {1, 0, 2});
  EXPECT_FALSE(allocator.take_empty(1)) << "one is kept";
  EXPECT_EQ(allocator.take_empty(0), Slab(fixture.segment, block).base());
  EXPECT_EQ(allocator.slabs(), 0u);
  EXPECT_EQ(allocator.allocate(64, {1, 0, 3}), kNoOffset);
  EXPECT_TRUE(allocator.is_valid());
}

TEST(Slab, ASlabOfADeadProcessIsNotTakenForOnesOwnAfterItsSlotIsUsedAgain) {
  Fixture fixture;
  Offset block;
  {
    SlabAllocator dead(fixture.segment, 4);
    block = fixture.take(dead, 64, {9, 1, 1});
    dead.give(block);
  }
  SlabAllocator reborn(fixture.segment, 4);
  fixture.take(reborn, 64, {4, 0, 1});
  reborn.free_block(block, {9, 1, 1});
  const Slab slab(fixture.segment, block);
  EXPECT_TRUE(slab.is_marked_free(slab.index_of(block)));
  EXPECT_TRUE(reborn.is_valid());
}

TEST(Slab, AfterADeathOnlyBlocksOfLiveRecordsAreLeft) {
  Fixture fixture;
  SlabAllocator dead(fixture.segment, 1);
  const Offset base = fixture.lease(dead);
  const Offset live = dead.allocate(64, {2, 10, 1});
  const Offset stale = dead.allocate(64, {2, 11, 1});
  const Offset freed = dead.allocate(64, {2, 12, 1});
  const Offset held = dead.allocate(64, {2, 13, 1});
  const Slab slab(fixture.segment, base);
  slab.free_remote(freed, {2, 12, 1});
  EXPECT_EQ(slab.count_left(fixture.serial), 3u);
  std::set<Offset> asked;
  auto is_live = [&](const BlockOwner& owner, Offset offset) {
    asked.insert(offset);
    return owner == BlockOwner{2, 10, 1} && offset == live;
  };
  EXPECT_EQ(slab.reconcile(fixture.serial, is_live), 1u);
  EXPECT_EQ(asked, (std::set<Offset>{live, stale, held}));
  EXPECT_EQ(slab.count_left(fixture.serial), 1u);
  slab.free_remote(live, {2, 10, 1});
  EXPECT_EQ(slab.count_left(fixture.serial), 0u);
  EXPECT_EQ(slab.reconcile(fixture.serial + 1, is_live), 0u) << "another lease: nothing here belongs to it";
}

TEST(Slab, AfterAnOwnersDeathTheLesseeFreesWhatItWasGiven) {
  Fixture fixture;
  SlabAllocator worker(fixture.segment, 1);
  const Offset given = fixture.take(worker, 64, {2, 1, 1});
  const Offset held = fixture.take(worker, 64, {2, 2, 1});
  const Offset wanted = fixture.take(worker, 64, {2, 3, 1});
  const Offset others = fixture.take(worker, 64, {3, 1, 1});
  for (const Offset offset : {given, wanted, others}) worker.give(offset);
  EXPECT_EQ(worker.free_owned_by(2, [&](const BlockOwner&, Offset offset) { return offset != wanted; }), 1u);
  EXPECT_EQ(worker.blocks_in_use(), 3u);
  EXPECT_EQ(worker.allocate(64, {1, 1, 1}), given);
  worker.free_block(held, {2, 2, 1});
  EXPECT_TRUE(worker.is_valid());
}

// What others free in slabs that a search does not look at stays bounded: the same live data for ever needs no more slabs.
TEST(Slab, MemoryDoesNotGrowWhileTheLiveBlocksDoNot) {
  Fixture fixture;
  SlabAllocator worker(fixture.segment, 1);
  SlabAllocator owner(fixture.segment, 2);
  std::mt19937_64 random(kit::seed());
  constexpr std::size_t kLive = 600;  // of 8 KiB: 20 slabs' worth
  std::vector<Offset> blocks;
  for (std::uint32_t step = 0; step < 60'000; ++step) {
    if (blocks.size() == kLive) {
      const std::size_t victim = random() % kLive;
      owner.free_block(blocks[victim], {2, 0, 1});
      blocks[victim] = blocks.back();
      blocks.pop_back();
    }
    blocks.push_back(fixture.take(worker, 8192, {2, 0, 1}));
    worker.give(blocks.back());
  }
  EXPECT_LE(worker.slabs(), 20u * 3 / 2);
  EXPECT_TRUE(worker.is_valid());
  for (const Offset block : blocks) owner.free_block(block, {2, 0, 1});
  worker.collect_all();
  while (worker.take_empty(0)) {
  }
  EXPECT_EQ(worker.slabs(), 0u);
}

#ifdef RAYX_DEBUG_CHECKS
TEST(SlabDeathTest, AFreeByTheWrongOwnerOrASecondFreeStopsTheProcess) {
  Fixture fixture;
  SlabAllocator worker(fixture.segment, 1);
  SlabAllocator other(fixture.segment, 2);
  const Offset block = fixture.take(worker, 64, {1, 5, 7});
  EXPECT_DEATH(worker.free_block(block, {1, 5, 6}), "does not own it, or twice");
  EXPECT_DEATH(other.free_block(block, {1, 4, 7}), "does not own it, or twice");
  EXPECT_DEATH(worker.free_block(block + 16, {1, 5, 7}), "no block begins");
  EXPECT_DEATH((other.free_block(block, {1, 5, 7}), other.free_block(block, {1, 5, 7})), "freed twice");
  EXPECT_DEATH((worker.free_block(block, {1, 5, 7}), worker.free_block(block, {1, 5, 7})), "does not own it, or twice");
}
#endif

}  // namespace
}  // namespace rayx::shm
