// Every way to copy that this CPU has, at every alignment, against memcmp; and nothing beside the destination is touched.
#include "shm/copy.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "kit/seed.hpp"

namespace rayx::shm {
namespace {

std::vector<unsigned char> random_bytes(std::size_t bytes) {
  std::mt19937_64 random(kit::seed());
  std::vector<unsigned char> out(bytes);
  for (unsigned char& byte : out) byte = static_cast<unsigned char>(random());
  return out;
}

template <class Copy>
void expect_exact(const std::vector<unsigned char>& source, std::size_t from, std::size_t to, std::size_t bytes,
                  Copy&& copy) {
  constexpr unsigned char kGuard = 0xa5;
  std::vector<unsigned char> target(to + bytes + 256, kGuard);
  copy(target.data() + to, source.data() + from, bytes);
  ASSERT_EQ(std::memcmp(target.data() + to, source.data() + from, bytes), 0) << from << ' ' << to << ' ' << bytes;
  for (std::size_t i = 0; i < target.size(); ++i) {
    if (i >= to && i < to + bytes) continue;
    ASSERT_EQ(target[i], kGuard) << "byte " << i << " beside the destination was written: " << from << ' ' << to << ' '
                                 << bytes;
  }
}

TEST(CopyBulk, EveryWayCopiesExactlyAtEveryAlignment) {
  const std::vector<unsigned char> source = random_bytes(20'000);
  for (const CopyWay way : {CopyWay::kSse2, CopyWay::kAvx2}) {
    if (!has_copy_way(way)) continue;
    auto copy = [way](void* to, const void* from, std::size_t bytes) { copy_past_caches(way, to, from, bytes); };
    for (std::size_t to = 0; to < 66; ++to)
      for (const std::size_t bytes : {0, 1, 63, 64, 65, 127, 128, 129, 191, 1000, 4096})
        expect_exact(source, (to * 7) % 61, to, bytes, copy);
    std::mt19937_64 random(kit::seed());
    for (int i = 0; i < 300; ++i) expect_exact(source, random() % 100, random() % 100, random() % 19'000, copy);
  }
}

TEST(CopyBulk, BothSidesOfTheThresholdAreExact) {
  const std::vector<unsigned char> source = random_bytes(kBulkCopyBytesMin + 1000);
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{100'000}, kBulkCopyBytesMin - 1,
                                  kBulkCopyBytesMin, kBulkCopyBytesMin + 777})
    expect_exact(source, 3, 17, bytes, copy_bulk);
  copy_bulk(nullptr, nullptr, 0);
}

}  // namespace
}  // namespace rayx::shm
