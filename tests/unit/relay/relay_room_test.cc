// Large values and stores that have no room for all of them at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <rayx/rayx.hpp>
#include <string>
#include <thread>
#include <vector>

#include "large_values.hpp"

namespace {

using rayx::ObjectRef;
using rayx::relay::test::kMiB;
using rayx::relay::test::make;
using rayx::relay::test::Sites;
using rayx::relay::test::size_of;
using rayx::relay::test::size_of_both;
using testing::HasSubstr;

int square(int x) { return x * x; }

// Has a reference, and fills its node's store meanwhile.
struct Holder {
  bool hold(ObjectRef<std::string> ref, std::size_t ballast_bytes) {
    held = std::move(ref);
    ballast = rayx::put(std::string(ballast_bytes, 'b'));
    return true;
  }
  bool finds_no_room() {
    try {
      rayx::get(held);
      return false;
    } catch (const rayx::OutOfMemory&) {
      return true;
    }
  }
  bool make_room() {
    ballast = {};
    return true;
  }
  ObjectRef<std::string> held;
  ObjectRef<std::string> ballast;
};

// Leaves no room in its node's store, where it has many objects.
struct Crowded {
  ObjectRef<std::vector<ObjectRef<int>>> make(int count) {
    std::vector<ObjectRef<int>> refs;
    for (int i = 0; i < count; ++i) refs.push_back(rayx::put(i));
    return rayx::put(refs);
  }
  std::size_t fill() {
    for (std::size_t bytes = kMiB; bytes >= 4'096; bytes /= 2) {
      try {
        for (;;) ballast.push_back(rayx::put(std::string(bytes, 'b')));
      } catch (const rayx::OutOfMemory&) {
      }
    }
    return ballast.size();
  }
  std::vector<ObjectRef<std::string>> ballast;
};

char letter_of(std::size_t i) { return static_cast<char>('a' + i % 26); }

std::vector<ObjectRef<std::string>> make_many(std::size_t count, std::size_t bytes) {
  std::vector<ObjectRef<std::string>> refs;
  for (std::size_t i = 0; i < count; ++i) refs.push_back(rayx::remote<make>(bytes, letter_of(i)));
  return refs;
}

// Each of them, and lets go of it.
void read_all(std::vector<ObjectRef<std::string>>& refs, std::size_t bytes, bool is_backwards) {
  for (std::size_t i = 0; i < refs.size(); ++i) {
    const std::size_t at = is_backwards ? refs.size() - 1 - i : i;
    {
      const std::string value = rayx::get(refs[at]);
      ASSERT_EQ(value.size(), bytes) << at;
      ASSERT_EQ(value.front(), letter_of(at));
      ASSERT_EQ(value.back(), letter_of(at));
    }
    refs[at] = {};
  }
}

// Failed when a result that found no room became an error: the store has room for eight of a hundred.
TEST(RelayRoom, ResultsWaitUntilThoseBeforeThemAreRead) {
  Sites sites({.others = 2, .store_bytes = 512 * kMiB, .driver_store_bytes = 32 * kMiB});
  std::vector<ObjectRef<std::string>> refs = make_many(100, 4 * kMiB);
  read_all(refs, 4 * kMiB, false);
  sites.wait_until_nothing_is_shared();
}

TEST(RelayRoom, TheOneThatSomebodyWaitsForPassesTheOthers) {
  Sites sites({.others = 2, .store_bytes = 512 * kMiB, .driver_store_bytes = 32 * kMiB});
  for (const std::size_t mib : {4u, 13u}) {
    std::vector<ObjectRef<std::string>> refs = make_many(40, mib * kMiB);
    read_all(refs, mib * kMiB, true);
  }
}

TEST(RelayRoom, AResultThatFitsInNoStoreSaysSoAndTheOthersGoOn) {
  Sites sites({.store_bytes = 256 * kMiB, .driver_store_bytes = 16 * kMiB});
  const auto too_large = rayx::remote<make>(20 * kMiB, 'x');
  const auto small = rayx::remote<square>(7);
  try {
    rayx::get(too_large);
    FAIL();
  } catch (const rayx::OutOfMemory& error) {
    EXPECT_THAT(error.what(), HasSubstr("found no room"));
    EXPECT_THAT(error.what(), HasSubstr("RAYX_STORE_BYTES"));
  }
  EXPECT_EQ(rayx::get(small), 49);
}

TEST(RelayRoom, AFullStoreIsSaidAfterTheTimeoutAndRoomHelps) {
  Sites sites({.driver_store_bytes = 32 * kMiB, .store_timeout = std::chrono::milliseconds(300)});
  std::vector<ObjectRef<std::string>> kept;
  for (int i = 0; i < 2; ++i) kept.push_back(rayx::put(std::string(13 * kMiB, 'k')));
  const auto wanted = rayx::remote<make>(8 * kMiB, 'w');
  try {
    rayx::get(wanted);
    FAIL();
  } catch (const rayx::OutOfMemory& error) {
    EXPECT_THAT(error.what(), HasSubstr("Config::store_timeout"));
  }
  // A result that nobody waits for loses nothing by it, and comes when there is room.
  const auto later = rayx::remote<make>(8 * kMiB, 'l');
  EXPECT_EQ(rayx::get(rayx::remote<square>(3)), 9);
  kept.clear();
  EXPECT_EQ(rayx::get(later).size(), 8 * kMiB);
}

// Failed when what had found no room once was an error for ever to all tasks there, which were tried again and again.
TEST(RelayRoom, WhatFoundNoRoomIsSentForAgainWhenItIsNamedAgain) {
  Sites::Options options = rayx::relay::test::mesh_of(1, 2);
  options.store_bytes = 64 * kMiB;
  options.driver_store_bytes = 256 * kMiB;
  options.store_timeout = std::chrono::milliseconds(200);
  Sites sites(options);
  const ObjectRef<std::string> large = rayx::put(std::string(30 * kMiB, 'x'));
  const auto holder = rayx::actor<Holder>(rayx::ActorOptions{.labels = rayx::relay::test::on(1).labels});
  ASSERT_TRUE(rayx::get(holder.call<&Holder::hold>(large, 50 * kMiB)));
  ASSERT_TRUE(rayx::get(holder.call<&Holder::finds_no_room>()));
  ASSERT_TRUE(rayx::get(holder.call<&Holder::make_room>()));
  EXPECT_EQ(rayx::get(rayx::remote<size_of>(large)), 30 * kMiB);
}

// Failed when references that could not be noted for want of room were those of a dead owner.
TEST(RelayRoom, ReferencesInAValueThatFindNoRoomOnItsNodeAreNoDeadOwner) {
  Sites::Options options = rayx::relay::test::mesh_of(1, 2);
  options.store_bytes = 16 * kMiB;
  options.store_timeout = std::chrono::milliseconds(100);
  Sites sites(options);
  const auto crowded = rayx::actor<Crowded>(rayx::ActorOptions{.labels = rayx::relay::test::on(1).labels});
  constexpr int kMany = 10'000;  // more than one chunk of the table of holds has room for
  const auto many = rayx::get(crowded.call<&Crowded::make>(kMany));
  ASSERT_GT(rayx::get(crowded.call<&Crowded::fill>()), 4u);
  try {
    rayx::get(many);
    FAIL();
  } catch (const rayx::OutOfMemory& error) {
    EXPECT_THAT(error.what(), HasSubstr("a reference inside a value cannot be taken to another node"));
    EXPECT_THAT(error.what(), HasSubstr("RAYX_STORE_BYTES"));
  }
}

// Failed when the task was given back and sent there again for ever.
TEST(RelayRoom, ATaskWhoseArgumentsFindRoomOnNoNodeSaysSoAfterTheTimeout) {
  Sites::Options options = rayx::relay::test::mesh_of(2, 2);
  options.store_bytes = 64 * kMiB;
  options.driver_store_bytes = 256 * kMiB;
  options.store_timeout = std::chrono::milliseconds(500);
  Sites sites(options);
  const ObjectRef<std::string> large = rayx::put(std::string(30 * kMiB, 'x'));
  std::vector<rayx::ActorHandle<Holder>> holders;
  for (const std::size_t site : {1u, 2u}) {
    holders.push_back(rayx::actor<Holder>(rayx::ActorOptions{.labels = rayx::relay::test::on(site).labels}));
    ASSERT_TRUE(rayx::get(holders.back().call<&Holder::hold>(rayx::put(std::string("small")), 50 * kMiB)));
  }
  try {
    rayx::get(rayx::remote<size_of>(large));
    FAIL();
  } catch (const rayx::OutOfMemory& error) {
    EXPECT_THAT(error.what(), HasSubstr("arguments of a task found no room"));
    EXPECT_THAT(error.what(), HasSubstr("RAYX_STORE_BYTES"));
  }
  ASSERT_TRUE(rayx::get(holders[1].call<&Holder::make_room>()));
  EXPECT_EQ(rayx::get(rayx::remote<size_of>(large)), 30 * kMiB);
}

TEST(RelayRoom, ASmallOnePassesALargeOneThatFindsNoRoom) {
  Sites sites({.driver_store_bytes = 32 * kMiB});
  ObjectRef<std::string> kept = rayx::put(std::string(20 * kMiB, 'k'));
  const auto large = rayx::remote<make>(20 * kMiB, 'l');
  std::thread waits([&] { EXPECT_EQ(rayx::get(large).size(), 20 * kMiB); });
  for (int i = 0; i < 8; ++i) EXPECT_EQ(rayx::get(rayx::remote<make>(kMiB / 2, 's')).size(), kMiB / 2);
  kept = {};
  waits.join();
}

// The node has room for a few of the pairs. If one of a pair took room while the other waits for it, nothing would go on.
TEST(RelayRoom, ArgumentsThatComeInPairsDoNotKeepEachOtherOut) {
  Sites sites({.cpus = 4, .store_bytes = 32 * kMiB, .driver_store_bytes = 512 * kMiB});
  std::vector<ObjectRef<std::string>> values;
  for (int i = 0; i < 30; ++i) values.push_back(rayx::put(std::string(6 * kMiB, 'v')));
  std::vector<ObjectRef<std::size_t>> sizes;
  for (std::size_t i = 0; i < 60; ++i)
    sizes.push_back(rayx::remote<size_of_both>(values[i % 30], values[(i * 7 + 3) % 30]));
  for (const auto& size : sizes) EXPECT_EQ(rayx::get(size), 12 * kMiB);
}

// More than all stores together hold passes through them, from task to task.
TEST(RelayRoom, WhatGoesFromTaskToTaskFindsItsWay) {
  Sites sites({.others = 2, .store_bytes = 64 * kMiB, .driver_store_bytes = 32 * kMiB});
  std::vector<ObjectRef<std::size_t>> sizes;
  for (std::size_t i = 0; i < 100; ++i) {
    sizes.push_back(rayx::remote<size_of>(rayx::remote<make>(2 * kMiB, letter_of(i))));
    if (i >= 4) {
      EXPECT_EQ(rayx::get(sizes[i - 4]), 2 * kMiB);
    }
  }
  for (const auto& size : sizes) EXPECT_EQ(rayx::get(size), 2 * kMiB);
}

}  // namespace
