// Where the references inside a value stand: what is written is found again, and damaged bytes lead nowhere outside the value.
#include <rayx/detail/ref_positions.hpp>

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "kit/seed.hpp"

namespace rayx::detail {
namespace {

std::vector<std::byte> encode(std::size_t value_bytes, const std::vector<std::uint64_t>& positions) {
  RefPositions written;
  for (const std::uint64_t position : positions) written.add(position);
  std::vector<std::byte> bytes(value_bytes + written.trailer_bytes());
  written.write(bytes.data() + value_bytes);
  return bytes;
}

std::vector<std::uint64_t> random_positions(std::mt19937_64& random, std::size_t& value_bytes) {
  std::vector<std::uint64_t> positions;
  value_bytes = random() % 10;
  for (std::uint64_t count = 1 + random() % 20; count != 0; --count) {
    positions.push_back(value_bytes);
    value_bytes += sizeof(RefName) + (random() % 4 == 0 ? random() % 100'000 : random() % 3);
  }
  return positions;
}

TEST(RefPositions, AreFoundAsTheyWereWritten) {
  std::mt19937_64 random(kit::seed());
  for (int round = 0; round < 500; ++round) {
    std::size_t value_bytes = 0;
    const std::vector<std::uint64_t> positions = random_positions(random, value_bytes);
    std::vector<std::uint64_t> found;
    EXPECT_TRUE(visit_refs(encode(value_bytes, positions), [&](std::uint64_t position) { found.push_back(position); }));
    EXPECT_EQ(found, positions);
  }
}

TEST(RefPositions, OfTwoThatStandSideBySideFitIntoARecordWithThem) {
  EXPECT_LE(encode(2 * sizeof(RefName), {0, 16}).size(), kRecordInlineBytes);
}

TEST(RefPositions, OfDamagedBytesNeverLieOutsideTheValue) {
  std::mt19937_64 random(kit::seed());
  int refused = 0;
  for (int round = 0; round < 5'000; ++round) {
    std::size_t value_bytes = 0;
    std::vector<std::byte> bytes = encode(value_bytes, random_positions(random, value_bytes));
    const std::size_t size = bytes.size();
    if (random() % 3 == 0) bytes.resize(random() % (size + 1));
    for (std::uint64_t flips = random() % 4; flips != 0 && !bytes.empty(); --flips)
      bytes[bytes.size() - 1 - random() % std::min<std::size_t>(bytes.size(), 30)] ^=
          static_cast<std::byte>(1u << random() % 8);
    std::uint64_t end = 0;
    const bool is_read = visit_refs(bytes, [&](std::uint64_t position) {
      EXPECT_GE(position, end);
      EXPECT_LE(position + sizeof(RefName), bytes.size());
      end = position + sizeof(RefName);
    });
    refused += is_read ? 0 : 1;
  }
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace rayx::detail
