// The published vectors of FIPS 180-4, for the CPU's instructions and for plain code, in pieces of any size.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "bundle/sha256.hpp"
#include "kit/seed.hpp"

namespace rayx::bundle {
namespace {

using Way = Sha256::Way;

std::string hash(Way way, const std::string& text) {
  Sha256 hash(way);
  hash.add(std::as_bytes(std::span(text)));
  return to_hex(hash.finish());
}

class Sha256Of : public ::testing::TestWithParam<Way> {};

TEST_P(Sha256Of, ThePublishedVectors) {
  EXPECT_EQ(hash(GetParam(), ""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash(GetParam(), "abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash(GetParam(), "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hash(GetParam(),
                 "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrs"
                 "mnopqrstnopqrstu"),
            "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  EXPECT_EQ(hash(GetParam(), std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_P(Sha256Of, BytesThatComeInAnyPieces) {
  std::mt19937_64 random(kit::seed());
  std::string text(4'000, '\0');
  for (char& c : text) c = static_cast<char>(random());
  for (int round = 0; round < 200; ++round) {
    const std::string part = text.substr(0, random() % text.size());
    Sha256 hash(GetParam());
    for (std::size_t at = 0; at < part.size();) {
      const std::size_t size = std::min<std::size_t>(random() % 200, part.size() - at);
      hash.add(std::as_bytes(std::span(part.data() + at, size)));
      at += size;
    }
    EXPECT_EQ(hash.finish(), sha256(std::as_bytes(std::span(part)))) << part.size();
  }
}

TEST_P(Sha256Of, ASecondTextAfterTheFirst) {
  Sha256 hash(GetParam());
  const std::string first = "something";
  hash.add(std::as_bytes(std::span(first)));
  (void)hash.finish();
  EXPECT_EQ(to_hex(hash.finish()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

INSTANTIATE_TEST_SUITE_P(Ways, Sha256Of, ::testing::Values(Way::kFastest, Way::kPlain), [](const auto& way) {
  return std::string(way.param == Way::kPlain ? "InPlainCode" : "InTheFastestWay");
});

TEST(DigestOfHex, TakesWhatToHexWritesAndNothingElse) {
  const Digest digest = sha256({});
  EXPECT_EQ(digest_of_hex(to_hex(digest)), digest);
  EXPECT_EQ(digest_of_hex(""), std::nullopt);
  EXPECT_EQ(digest_of_hex(to_hex(digest) + "0"), std::nullopt);
  std::string changed = to_hex(digest);
  changed.replace(0, 3, "../");
  EXPECT_EQ(digest_of_hex(changed), std::nullopt);
  changed = to_hex(digest);
  changed[0] = 'E';
  EXPECT_EQ(digest_of_hex(changed), std::nullopt);
}

}  // namespace
}  // namespace rayx::bundle
