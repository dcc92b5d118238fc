// Large arguments: once to each node, and from node to node if many want them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <rayx/rayx.hpp>
#include <string>
#include <thread>
#include <vector>

#include "large_values.hpp"

namespace {

using rayx::ObjectRef;
using rayx::relay::test::count_files;
using rayx::relay::test::grown;
using rayx::relay::test::kMiB;
using rayx::relay::test::mesh_of;
using rayx::relay::test::on;
using rayx::relay::test::Sites;
using rayx::relay::test::size_of;
using rayx::relay::test::size_of_both;

char last_of(const std::string& text) { return text.back(); }

class Reader {
 public:
  std::string read(const std::string& text) { return std::to_string(calls_++) + " " + std::to_string(text.size()); }

 private:
  int calls_ = 0;
};

// Ends when as many of them have begun.
std::size_t size_beside_others(const std::string& text, const std::string& folder, std::size_t others) {
  std::ofstream(folder + "/" + std::to_string(::getpid())).put('x');
  while (count_files(folder) < others) std::this_thread::yield();
  return text.size();
}

// Failed when each task brought its own copy: 800 MiB.
TEST(RelaySpread, AnArgumentCrossesOnceForAllTasks) {
  Sites sites;
  const auto object = rayx::put(std::string(8 * kMiB, 'x'));
  std::vector<ObjectRef<std::size_t>> sizes;
  for (int i = 0; i < 100; ++i) sizes.push_back(rayx::remote<size_of>(object));
  for (const auto& size : sizes) EXPECT_EQ(rayx::get(size), 8 * kMiB);
  EXPECT_LT(sites.sent_bytes(0), 9 * kMiB);
  // One after the other, too: it is kept for a moment when its last task is done.
  for (int i = 0; i < 5; ++i) EXPECT_EQ(rayx::get(rayx::remote<size_of>(object)), 8 * kMiB);
  EXPECT_LT(sites.sent_bytes(0), 17 * kMiB);
}

// Failed when each call brought its own copy. Calls keep their order, whichever of them have to wait for it.
TEST(RelaySpread, AnArgumentOfManyCallsCrossesOnce) {
  Sites sites(mesh_of(1));
  const auto object = rayx::put(std::string(8 * kMiB, 'x'));
  const auto reader = rayx::actor<Reader>();
  std::vector<ObjectRef<std::string>> read;
  for (int i = 0; i < 40; ++i) {
    read.push_back(reader.call<&Reader::read>(object));
    read.push_back(reader.call<&Reader::read>(std::string("small")));
  }
  for (std::size_t i = 0; i < read.size(); ++i)
    EXPECT_EQ(rayx::get(read[i]), std::to_string(i) + (i % 2 == 0 ? " 8388608" : " 5"));
  EXPECT_LT(sites.sent_bytes(0), 9 * kMiB);
}

TEST(RelaySpread, OneThatIsNamedTwiceIsOne) {
  Sites sites;
  const auto object = rayx::put(std::string(4 * kMiB, 'x'));
  EXPECT_EQ(rayx::get(rayx::remote<size_of_both>(object, object)), 8 * kMiB);
  EXPECT_LT(sites.sent_bytes(0), 5 * kMiB);
}

TEST(RelaySpread, NothingOfItIsKeptForLong) {
  Sites sites;
  const std::uint64_t before = sites.used_bytes(1);
  {
    const auto object = rayx::put(std::string(32 * kMiB, 'x'));
    EXPECT_EQ(rayx::get(rayx::remote<size_of>(object)), 32 * kMiB);
  }
  sites.wait_until_nothing_is_shared();
  while (sites.used_bytes(1) > before + 8 * kMiB) std::this_thread::yield();
}

// What the driver has dropped is free there, whatever other nodes still keep of it.
TEST(RelaySpread, WhatIsKeptThereKeepsNothingHere) {
  Sites::Options options;
  options.driver_store_bytes = 32 * kMiB;
  Sites sites(options);
  for (int i = 0; i < 40; ++i)
    EXPECT_EQ(rayx::get(rayx::remote<size_of>(rayx::put(std::string(8 * kMiB, 'x')))), 8 * kMiB);
}

TEST(RelaySpread, OneForManyNodesSpreadsFromNodeToNode) {
  constexpr std::size_t kSites = 6;
  Sites sites(mesh_of(kSites));
  const auto object = rayx::put(std::string(8 * kMiB, 'x'));
  std::string folder = (std::filesystem::temp_directory_path() / "relay_spread_XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  std::vector<ObjectRef<std::size_t>> sizes;
  for (std::size_t site = 1; site <= kSites; ++site)
    sizes.push_back(rayx::remote<size_beside_others>(on(site), object, folder, kSites));
  for (const auto& size : sizes) EXPECT_EQ(rayx::get(size), 8 * kMiB);
  std::filesystem::remove_all(folder);
  EXPECT_LE(sites.sent_bytes(0), 16 * kMiB + kMiB);
  std::uint64_t all = 0;
  for (std::size_t site = 0; site <= kSites; ++site) all += sites.sent_bytes(site);
  EXPECT_LT(all, 7 * 8 * kMiB);
}

// Who was to pass it on dies: those behind it come back to the first.
TEST(RelaySpread, ANodeThatDiesInBetweenIsGoneAround) {
  for (std::size_t dies = 1; dies <= 3; ++dies) {
    constexpr std::size_t kSites = 6;
    Sites sites(mesh_of(kSites));
    const auto object = rayx::put(std::string(24 * kMiB, 'x'));
    std::vector<ObjectRef<std::size_t>> sizes;
    for (std::size_t site = 1; site <= kSites; ++site)
      if (site != dies) sizes.push_back(rayx::remote<size_of>(on(site), object));
    const auto lost = rayx::remote<size_of>(on(dies), object);
    sites.cut(dies);
    for (const auto& size : sizes) EXPECT_EQ(rayx::get(size), 24 * kMiB);
  }
}

TEST(RelaySpread, ResultsAreArgumentsOfTheNextOnAnyNode) {
  Sites sites(mesh_of(3));
  auto value = rayx::put(std::string(2 * kMiB, 'x'));
  for (std::size_t i = 0; i < 30; ++i) value = rayx::remote<grown>(on(1 + i % 3), value);
  EXPECT_EQ(rayx::get(rayx::remote<size_of>(value)), 2 * kMiB + 30);
  EXPECT_EQ(rayx::get(rayx::remote<last_of>(value)), '+');
}

// Each node has room for a few of them at a time.
TEST(RelaySpread, MoreThanTheStoresHoldPassesThrough) {
  Sites::Options options = mesh_of(2);
  options.store_bytes = 48 * kMiB;
  options.driver_store_bytes = 512 * kMiB;
  options.cpus = 2;
  Sites sites(options);
  std::vector<ObjectRef<std::string>> objects;
  for (int i = 0; i < 40; ++i) objects.push_back(rayx::put(std::string(8 * kMiB, 'x')));
  std::vector<ObjectRef<std::size_t>> sizes;
  for (std::size_t i = 0; i < 200; ++i) sizes.push_back(rayx::remote<size_of>(objects[i * 7 % 40]));
  for (const auto& size : sizes) EXPECT_EQ(rayx::get(size), 8 * kMiB);
}

TEST(RelaySpread, ArgumentsThatNeverFitAreRefusedInWords) {
  Sites::Options options;
  options.store_bytes = 32 * kMiB;
  options.driver_store_bytes = 256 * kMiB;
  Sites sites(options);
  try {
    rayx::get(rayx::remote<size_of>(rayx::put(std::string(40 * kMiB, 'x'))));
    FAIL();
  } catch (const rayx::OutOfMemory& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("have no room in the store of site 1"));
  }
}

}  // namespace
