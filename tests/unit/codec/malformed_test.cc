// Damaged bytes: an error or some other value, never a crash. Run under ASan and UBSan by `./dev check`.
#include <bitset>
#include <deque>
#include <filesystem>
#include <forward_list>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "kit/seed.hpp"
#include "unit/codec/round_trip.hpp"

namespace rayx::codec_test {
namespace {

using Random = std::mt19937_64;
using std::string;
using std::vector;

std::uint64_t below(Random& random, std::uint64_t limit) { return random() % limit; }

struct Flags {
  bool a;
  std::uint8_t b;
  std::bitset<13> c;
  bool operator==(const Flags&) const = default;
};
struct Node {
  std::int64_t id = 0;
  string name;
  vector<Node> children;
  std::unique_ptr<Node> next;
  bool operator==(const Node& other) const {
    return id == other.id && name == other.name && children == other.children &&
           (next == nullptr) == (other.next == nullptr) && (next == nullptr || *next == *other.next);
  }
};
struct Everything {
  bool flag = false;
  Flags flags{};
  vector<double> numbers;
  vector<Flags> many_flags;
  vector<bool> bits;
  std::deque<std::optional<string>> texts;
  std::map<string, std::pair<int, vector<char>>> map;
  std::unordered_map<int, std::list<std::int16_t>> hashed;
  std::set<std::u16string> set;
  std::forward_list<bool> forward;
  std::variant<std::monostate, int, string, vector<string>> variant;
  std::filesystem::path path;
  Node node;
  vector<std::tuple<>> empties;
  bool operator==(const Everything&) const = default;
};

template <class T>
struct Make;
template <class T>
T make(Random& random, int depth) {
  return Make<T>::one(random, depth);
}
template <class T>
T make_many(Random& random, int depth) {
  T result;
  const std::uint64_t count = below(random, 4);
  for (std::uint64_t i = 0; i < count; ++i) {
    if constexpr (requires { result.before_begin(); }) {
      result.push_front(make<typename T::value_type>(random, depth));
    } else {
      result.insert(result.end(), make<typename T::value_type>(random, depth));
    }
  }
  return result;
}
template <class T>
  requires std::is_arithmetic_v<T>
struct Make<T> {
  static T one(Random& random, int) { return static_cast<T>(below(random, 1000)); }
};
template <>
struct Make<bool> {
  static bool one(Random& random, int) { return below(random, 2) == 1; }
};
template <class T>
  requires requires { typename T::allocator_type; }
struct Make<T> {
  static T one(Random& random, int depth) { return make_many<T>(random, depth + 1); }
};
template <class A, class B>
struct Make<std::pair<A, B>> {
  static std::pair<A, B> one(Random& random, int depth) {
    auto first = make<std::remove_const_t<A>>(random, depth);
    return {std::move(first), make<B>(random, depth)};
  }
};
template <class T>
struct Make<std::optional<T>> {
  static std::optional<T> one(Random& random, int depth) {
    if (below(random, 2) == 0) return std::nullopt;
    return make<T>(random, depth);
  }
};
template <>
struct Make<std::tuple<>> {
  static std::tuple<> one(Random&, int) { return {}; }
};
template <>
struct Make<Flags> {
  static Flags one(Random& random, int) {
    return {below(random, 2) == 0, static_cast<std::uint8_t>(random()), std::bitset<13>(random())};
  }
};
template <>
struct Make<Node> {
  static Node one(Random& random, int depth) {
    Node node{make<std::int64_t>(random, 0), make<string>(random, 0), {}, nullptr};
    if (depth < 5) node.children = make<vector<Node>>(random, depth);
    if (depth < 5 && below(random, 2) == 0) node.next = std::make_unique<Node>(one(random, depth + 1));
    return node;
  }
};
Everything make_everything(Random& random) {
  Everything e;
  e.flag = make<bool>(random, 0);
  e.flags = make<Flags>(random, 0);
  e.numbers.resize(below(random, 60), 0.5);
  e.many_flags = make<vector<Flags>>(random, 0);
  e.bits.resize(below(random, 40), true);
  e.texts = make<decltype(e.texts)>(random, 0);
  e.map = make<decltype(e.map)>(random, 0);
  e.hashed = make<decltype(e.hashed)>(random, 0);
  e.set = make<decltype(e.set)>(random, 0);
  e.forward = make<decltype(e.forward)>(random, 0);
  switch (below(random, 4)) {
    case 0: break;
    case 1: e.variant = make<int>(random, 0); break;
    case 2: e.variant = make<string>(random, 0); break;
    default: e.variant = make<vector<string>>(random, 0);
  }
  e.path = make<string>(random, 0);
  e.node = make<Node>(random, 2);
  e.empties.resize(below(random, 5));
  return e;
}

Buffer copy_of(const std::byte* bytes, std::size_t size) {
  Buffer copy(size, 8);  // exactly as long: ASan sees a read behind it
  if (size != 0) std::memcpy(copy.data(), bytes, size);
  return copy;
}
// Decodes and reads what came out: a bool that is none would be seen here.
void decode_and_use(const std::byte* bytes, std::size_t size) {
  codec::Decoder decoder(bytes, size);
  Result<Everything> result = codec::decode<Everything>(decoder);
  if (result) {
    const Buffer again = encode_alone(*result);
    EXPECT_LE(again.size(), 2 * size + 64);  // padding depends on the order of unordered elements
    EXPECT_EQ(decode_alone<Everything>(again).value(), *result);
  } else {
    EXPECT_EQ(result.error().code, ErrorCode::kMalformed);
  }
}

TEST(CodecMalformed, RandomValuesGoRound) {
  Random random(kit::seed());
  for (int i = 0; i < 300; ++i) {
    const Everything value = make_everything(random);
    ASSERT_TRUE(round_trip(value) == value) << "value " << i;
  }
}

TEST(CodecMalformed, EveryTruncationIsAnError) {
  Random random(kit::seed());
  for (int i = 0; i < 6; ++i) {
    const Buffer whole = encode_alone(make_everything(random));
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const Buffer cut = copy_of(whole.data(), size);
      codec::Decoder decoder(cut.data(), size);
      const Result<Everything> result = codec::decode<Everything>(decoder);
      ASSERT_FALSE(result) << size << " of " << whole.size();
      ASSERT_EQ(result.error().code, ErrorCode::kMalformed);
    }
  }
}

TEST(CodecMalformed, FlippedBytes) {
  Random random(kit::seed());
  for (int i = 0; i < 4; ++i) {
    const Buffer whole = encode_alone(make_everything(random));
    const Buffer damaged = copy_of(whole.data(), whole.size());
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (unsigned flip : {0x01u, 0x80u, 0xffu}) {
        const std::byte before = damaged.data()[at];
        damaged.data()[at] ^= static_cast<std::byte>(flip);
        decode_and_use(damaged.data(), damaged.size());
        damaged.data()[at] = before;
      }
    }
  }
}

TEST(CodecMalformed, RandomBytes) {
  Random random(kit::seed());
  for (int i = 0; i < 3'000; ++i) {
    const Buffer bytes(below(random, 300), 8);
    const bool sparse = below(random, 2) == 0;  // mostly zeros gets further
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      bytes.data()[at] = static_cast<std::byte>(sparse && below(random, 4) != 0 ? 0 : random());
    }
    decode_and_use(bytes.data(), bytes.size());
  }
}

template <class T>
void expect_malformed(const Buffer& buffer) {
  codec::Decoder decoder(buffer.data(), buffer.size());
  const Result<T> result = codec::decode<T>(decoder);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kMalformed);
  EXPECT_EQ(result.error().message.rfind("rayx: ", 0), 0u) << result.error().message;
}

TEST(CodecMalformed, LengthsBeyondTheBytes) {
  for (std::uint64_t count : {std::uint64_t{1}, std::uint64_t{1} << 32, std::uint64_t{1} << 61, UINT64_MAX}) {
    const Buffer buffer = encode_alone(count);
    expect_malformed<vector<double>>(buffer);
    expect_malformed<vector<bool>>(buffer);
    expect_malformed<string>(buffer);
    expect_malformed<std::list<string>>(buffer);
    expect_malformed<std::map<int, int>>(buffer);
    expect_malformed<vector<std::tuple<>>>(buffer);
    expect_malformed<vector<std::monostate>>(buffer);
    expect_malformed<std::forward_list<std::array<string, 0>>>(buffer);
    expect_malformed<std::filesystem::path>(buffer);
    codec::Decoder decoder(buffer.data(), buffer.size());
    codec::decode_parameter<std::span<const int>>(decoder);
    EXPECT_TRUE(decoder.failed());
  }
}

TEST(CodecMalformed, WhatIsNoBoolOrAlternative) {
  expect_malformed<bool>(encode_alone(std::uint8_t{2}));
  expect_malformed<std::optional<std::uint8_t>>(encode_alone(std::uint16_t{0x0102}));
  expect_malformed<std::unique_ptr<std::uint8_t>>(encode_alone(std::uint16_t{0x0102}));
  expect_malformed<std::variant<int, char>>(encode_alone(std::uint64_t{2}));
  expect_malformed<std::bitset<5>>(encode_alone(std::uint64_t{32}));
  expect_malformed<vector<std::bitset<5>>>(encode_alone(vector<std::uint64_t>{31, 32}));
  expect_malformed<std::array<bool, 4>>(encode_alone(std::uint32_t{0x01000200}));
  codec::SizeContext measure;
  const Buffer run = encode_alone(vector<std::uint8_t>{0, 1, 2});
  codec::Decoder decoder(run.data(), run.size());
  codec::decode_parameter<std::span<const bool>>(decoder);
  EXPECT_TRUE(decoder.failed());
}

// Small bytes that stand for deep values would overflow the stack.
TEST(CodecMalformed, DeepNesting) {
  struct Chain {
    std::unique_ptr<Chain> next;
  };
  struct Nest {
    vector<Nest> inner;
  };
  const Buffer ones(100'000);
  std::memset(ones.data(), 1, ones.size());
  expect_malformed<Chain>(ones);
  const Buffer counts = encode_alone(vector<std::uint64_t>(100'000, 1));
  expect_malformed<Nest>(counts);

  // Refused on the way out as well, so what was encoded can be decoded.
  const auto chain = [](std::size_t length) {
    Chain head;
    for (std::size_t i = 0; i < length; ++i) head.next = std::make_unique<Chain>(Chain{std::move(head.next)});
    return head;
  };
  const auto length_of = [](const Chain& head) {
    std::size_t length = 0;
    for (const Chain* at = head.next.get(); at != nullptr; at = at->next.get()) ++length;
    return length;
  };
  EXPECT_EQ(length_of(round_trip(chain(codec::kNestingMax))), codec::kNestingMax);
  codec::SizeContext measure;
  codec::encoded_size(chain(codec::kNestingMax + 1), measure);
  ASSERT_TRUE(measure.failed());
  EXPECT_EQ(measure.error().code, ErrorCode::kInvalidArgument);
}

TEST(CodecMalformed, ACycleOfSharedPointersIsRefused) {
  struct Ring {
    std::shared_ptr<Ring> next;
  };
  Ring ring;
  ring.next = std::make_shared<Ring>();
  ring.next->next = ring.next;
  codec::SizeContext measure;
  codec::encoded_size(ring, measure);
  EXPECT_TRUE(measure.failed());
  ring.next->next = nullptr;
}

struct Thrower {
  explicit Thrower(bool fail = false) {
    if (fail) throw std::runtime_error("on purpose");
  }
  Thrower(const Thrower& other) : text(other.text) {}  // may throw, so the variant cannot keep its old value
  Thrower& operator=(const Thrower&) = default;
  template <class Archive>
  friend void rayx_serialize(Archive& archive, Thrower& thrower) {
    archive(thrower.text);
  }
  string text;
};

TEST(CodecMalformed, AValuelessVariantIsRefused) {
  std::variant<int, Thrower> variant(1);
  EXPECT_ANY_THROW(variant.emplace<1>(true));
  ASSERT_TRUE(variant.valueless_by_exception());
  codec::SizeContext measure;
  codec::encoded_size(variant, measure);
  EXPECT_TRUE(measure.failed());
}

TEST(CodecMalformed, TheFirstFailureSticks) {
  const Buffer buffer = encode_alone(std::uint32_t{0xffffffff});
  codec::Decoder decoder(buffer.data(), buffer.size());
  EXPECT_FALSE(codec::decode<std::uint64_t>(decoder));
  EXPECT_FALSE(codec::decode<std::uint8_t>(decoder));
  EXPECT_EQ(decoder.load<int>(), 0);
  EXPECT_NE(decoder.error().message.find("at byte 0 of 4"), string::npos) << decoder.error().message;
}

}  // namespace
}  // namespace rayx::codec_test
