// Where the bytes lie, views into them, references, what keeps them alive, and what a parameter gets.
#include <array>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <vector>

#include "unit/codec/round_trip.hpp"

namespace rayx::codec_test {

// A class of another room: 16 bytes that name something.
struct Ref {
  int value = 0;
};

}  // namespace rayx::codec_test

template <>
struct rayx::codec::Codec<rayx::codec_test::Ref> {
  static constexpr std::size_t kFixedSize = sizeof(RefToken);
  static constexpr bool kHoldsRefs = true;
  static RefToken name(const codec_test::Ref& ref) { return {{static_cast<std::uint64_t>(ref.value), 77}}; }
  static void size(const codec_test::Ref& ref, SizeContext& context) { context.add_ref(name(ref)); }
  static void encode(const codec_test::Ref& ref, Encoder& encoder) { encoder.write_ref(name(ref), name(ref)); }
  static codec_test::Ref decode(Decoder& decoder) {
    const auto* const found = static_cast<int*>(decoder.adopt_ref());
    return found == nullptr ? codec_test::Ref{} : codec_test::Ref{*found};
  }
};

namespace rayx::codec_test {
namespace {

using std::string;
using std::vector;

bool is_inside(const void* pointer, const Buffer& buffer) {
  const auto at = reinterpret_cast<std::uintptr_t>(pointer);
  const auto begin = reinterpret_cast<std::uintptr_t>(buffer.data());
  return at >= begin && at < begin + buffer.size();
}

template <class... Ts>
Buffer encode_together(const Ts&... values) {
  codec::SizeContext measure;
  (codec::encoded_size(values, measure), ...);
  Buffer buffer(measure.size());
  codec::Encoder encoder(buffer.data(), buffer.size());
  (codec::encode(values, encoder), ...);
  EXPECT_EQ(encoder.written(), measure.size());
  return buffer;
}

TEST(CodecLayout, NumbersArePacked) {
  const Buffer buffer = encode_together(std::int8_t{1}, 2, std::int8_t{3});
  const std::byte expected[] = {std::byte{1}, std::byte{2}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{3}};
  ASSERT_EQ(buffer.size(), sizeof(expected));
  EXPECT_EQ(std::memcmp(buffer.data(), expected, sizeof(expected)), 0);
}

TEST(CodecLayout, TheWorkedExampleOfThePage) {
  const Buffer buffer = encode_together(true, string("hi"), vector<std::uint32_t>{1, 2});
  // true, count 2, "hi", count 2, 1 byte of padding (19 -> 20), 1, 2
  const unsigned char expected[] = {1, 2, 0, 0, 0, 0, 0, 0, 0, 'h', 'i', 2, 0, 0,
                                    0, 0, 0, 0, 0, 0, 1, 0, 0, 0,   2,   0, 0, 0};
  ASSERT_EQ(buffer.size(), sizeof(expected));
  EXPECT_EQ(std::memcmp(buffer.data(), expected, sizeof(expected)), 0);
}

TEST(CodecLayout, SmallValuesFitIntoARecord) {
  codec::SizeContext text, numbers;
  EXPECT_EQ(codec::encoded_size(string(32, 'x'), text), 40u);
  EXPECT_EQ(codec::encoded_size(vector<double>(4), numbers), 40u);
}

struct alignas(32) Wide {
  float v[8];
  bool operator==(const Wide&) const = default;
};

TEST(CodecLayout, RunsAreAlignedAndReadInPlace) {
  const char odd = 'o';
  for (std::size_t count : {1u, 31u, 32u, 33u, 10'000u}) {
    const vector<double> values(count, 1.5);
    const Buffer buffer = encode_together(odd, values);
    codec::Decoder decoder(buffer.data(), buffer.size());
    EXPECT_EQ(*codec::decode<char>(decoder), odd);
    auto parameter = codec::decode_parameter<std::span<const double>>(decoder);
    ASSERT_FALSE(decoder.failed());
    const std::span<const double> view = parameter.get();
    ASSERT_EQ(view.size(), count);
    EXPECT_TRUE(is_inside(view.data(), buffer));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.data()) % (count >= 32 ? 64 : 8), 0u);
    EXPECT_EQ(view[count - 1], 1.5);
  }
  const Buffer buffer = encode_together(odd, vector<Wide>(3));
  codec::Decoder decoder(buffer.data(), buffer.size());
  (void)*codec::decode<char>(decoder);
  auto parameter = codec::decode_parameter<std::span<const Wide>>(decoder);
  EXPECT_TRUE(is_inside(parameter.get().data(), buffer));
}

// A small value may lie at 8 bytes only: what wants more is copied, and the view stays valid when the holder moves.
TEST(CodecLayout, OverAlignedViewsOfSmallBuffersAreCopied) {
  const Wide wide{{1, 2, 3, 4, 5, 6, 7, 8}};
  const Buffer encoded = encode_alone(vector<Wide>{wide});
  Buffer shifted(encoded.size() + 8);
  std::memcpy(shifted.data() + 8, encoded.data(), encoded.size());
  codec::Decoder decoder(shifted.data() + 8, encoded.size());
  auto parameter = codec::decode_parameter<std::span<const Wide>>(decoder);
  const auto moved = std::move(parameter);
  const std::span<const Wide> view = moved.get();
  ASSERT_EQ(view.size(), 1u);
  EXPECT_FALSE(is_inside(view.data(), shifted));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.data()) % 32, 0u);
  EXPECT_EQ(view[0], wide);
  codec::Decoder again(shifted.data() + 8, encoded.size());
  EXPECT_EQ(codec::decode<vector<Wide>>(again).value(), vector<Wide>{wide});
}

TEST(CodecParameters, ViewsOfOtherEncodings) {
  const Buffer array = encode_alone(std::array<int, 3>{1, 2, 3});
  codec::Decoder of_array(array.data(), array.size());
  auto from_array = codec::decode_parameter<std::span<const int>, std::array<int, 3>>(of_array);
  EXPECT_TRUE(is_inside(from_array.get().data(), array));
  EXPECT_EQ(from_array.get()[2], 3);

  const Buffer text = encode_alone(string("text"));
  codec::Decoder of_text(text.data(), text.size());
  auto view = codec::decode_parameter<std::string_view, string>(of_text);
  EXPECT_EQ(view.get(), "text");
  EXPECT_TRUE(is_inside(view.get().data(), text));
  codec::Decoder of_chars(text.data(), text.size());
  auto chars = codec::decode_parameter<std::span<const char>, string>(of_chars);
  EXPECT_EQ(chars.get().size(), 4u);
  EXPECT_TRUE(is_inside(chars.get().data(), text));

  const Buffer empty = encode_alone(vector<int>());
  codec::Decoder of_empty(empty.data(), empty.size());
  EXPECT_TRUE((codec::decode_parameter<std::span<const int>, vector<int>>(of_empty).get().empty()));
  EXPECT_FALSE(of_empty.failed());

  const Buffer run = encode_alone(vector<int>{1, 2, 3});
  codec::Decoder wrong(run.data(), run.size());
  codec::decode_parameter<std::span<const int, 2>>(wrong);
  EXPECT_TRUE(wrong.failed());
  codec::Decoder right(run.data(), run.size());
  EXPECT_EQ((codec::decode_parameter<std::span<const int, 3>>(right).get()[2]), 3);
}

int take_value(string s) { return static_cast<int>(s.size()); }
int take_const(const string& s) { return static_cast<int>(s.size()); }
int take_rvalue(string&& s) { return static_cast<int>(string(std::move(s)).size()); }
long take_long(long v) { return v; }

template <class P, class A>
Buffer encode_argument(const A& argument) {
  static_assert(codec::kIsParameterFor<P, A>);
  const auto& value = codec::to_parameter<P>(argument);
  return encode_alone(value);
}

TEST(CodecParameters, ArgumentsConvertAsInACall) {
  const Buffer text = encode_argument<string>("abc");
  const auto decoder_of = [](const Buffer& buffer) { return codec::Decoder(buffer.data(), buffer.size()); };
  codec::Decoder by_value = decoder_of(text), by_const = decoder_of(text), by_rvalue = decoder_of(text);
  EXPECT_EQ(take_value(codec::decode_parameter<string>(by_value).get()), 3);
  EXPECT_EQ(take_const(codec::decode_parameter<const string&>(by_const).get()), 3);
  EXPECT_EQ(take_rvalue(codec::decode_parameter<string&&>(by_rvalue).get()), 3);
  const Buffer number = encode_argument<long>(3);
  ASSERT_EQ(number.size(), sizeof(long));
  codec::Decoder decoder(number.data(), number.size());
  EXPECT_EQ(take_long(codec::decode_parameter<long>(decoder)), 3);
  EXPECT_EQ(encode_argument<std::int8_t>(1000).size(), 1u);  // narrows
  EXPECT_EQ(encode_argument<std::string_view>("abc").size(), 11u);
  EXPECT_EQ(encode_argument<std::string_view>(string("abc")).size(), 11u);
  const double values[3] = {1, 2, 3};
  EXPECT_EQ(encode_argument<std::span<const double>>(values).size(), 32u);
  const Buffer run = encode_argument<const std::span<const double>&>(vector<double>{1, 2});
  codec::Decoder runs(run.data(), run.size());
  EXPECT_EQ(codec::decode<vector<double>>(runs).value(), (vector<double>{1, 2}));
  // An object of another type passed for the parameter.
  const Buffer integer = encode_alone(7);
  codec::Decoder integers(integer.data(), integer.size());
  EXPECT_EQ(take_long(codec::decode_parameter<long, int>(integers).get()), 7);
  static_assert(!codec::kIsParameterFor<string, int> && !codec::kIsParameterFor<int, string>);
}

class Sink final : public codec::RefSink {
 public:
  void add(codec::RefToken token, std::size_t position) override {
    heard.push_back(token.words[0]);
    positions.push_back(position);
  }
  vector<std::uint64_t> heard;
  vector<std::size_t> positions;
};
class Source final : public codec::RefSource {
 public:
  void* adopt(const codec::RefToken& token) override {
    if (token.words[1] != 77) return nullptr;
    last = static_cast<int>(token.words[0]) * 10;
    return &last;
  }
  int last = 0;
};

TEST(CodecReferences, AreHeardOfAndAdopted) {
  using T = std::list<std::pair<int, Ref>>;
  static_assert(codec::kMayHoldRefs<T> && !codec::kMayHoldRefs<vector<int>> && codec::is_encodable_v<T>);
  Sink sink;
  const Buffer buffer = encode_alone(T{{1, Ref{5}}, {2, Ref{6}}}, &sink);
  EXPECT_EQ(sink.heard, (vector<std::uint64_t>{5, 6})) << "while it is measured";
  const vector<std::size_t> expected{8 + 4, 8 + 20 + 4};
  EXPECT_EQ(sink.positions, expected);
  sink = {};
  codec::Encoder encoder(buffer.data(), buffer.size(), &sink);
  codec::encode(T{{1, Ref{5}}, {2, Ref{6}}}, encoder);
  EXPECT_EQ(sink.heard, (vector<std::uint64_t>{5, 6}));
  EXPECT_EQ(sink.positions, expected);
  Source source;
  codec::Decoder decoder(buffer.data(), buffer.size(), &source);
  const Result<T> back = codec::decode<T>(decoder);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->back().second.value, 60);
  codec::Decoder without(buffer.data(), buffer.size());
  EXPECT_FALSE(codec::decode<T>(without));
}

class Keeper final : public codec::KeepSource {
 public:
  codec::Keep keep() override {
    static constexpr codec::Keep::Counter kCounter{[](void* count) noexcept { ++*static_cast<int*>(count); },
                                                   [](void* count) noexcept { --*static_cast<int*>(count); }};
    ++count;
    return codec::Keep(&count, &kCounter);
  }
  int count = 0;
};

TEST(CodecReferences, KeepCounts) {
  Keeper keeper;
  codec::Decoder decoder(nullptr, 0, nullptr, &keeper);
  {
    codec::Keep keep = decoder.keep();
    EXPECT_TRUE(keep);
    EXPECT_EQ(keeper.count, 1);
    codec::Keep copy = keep;
    EXPECT_EQ(keeper.count, 2);
    codec::Keep moved = std::move(keep);
    EXPECT_FALSE(keep);  // NOLINT: what a moved-from one is, is promised
    copy = moved;
    EXPECT_EQ(keeper.count, 2);
    EXPECT_EQ(moved.release(), &keeper.count);
    keeper.count -= 1;
  }
  EXPECT_EQ(keeper.count, 0);
  EXPECT_FALSE(codec::Decoder(nullptr, 0).keep());
}

int bulk_copies = 0;

TEST(CodecLayout, LargeRunsGoThroughTheBulkCopyOnce) {
  const vector<double> large(codec::kBulkBytesMin / sizeof(double), 2.5), small(large.size() - 1, 2.5);
  for (const auto* values : {&large, &small}) {
    codec::SizeContext measure;
    codec::encoded_size(*values, measure);
    Buffer buffer(measure.size());
    bulk_copies = 0;
    codec::Encoder encoder(buffer.data(), buffer.size(), nullptr, [](void* to, const void* from, std::size_t bytes) {
      ++bulk_copies;
      std::memcpy(to, from, bytes);
    });
    codec::encode(*values, encoder);
    EXPECT_EQ(bulk_copies, values == &large ? 1 : 0);
    EXPECT_EQ(decode_alone<vector<double>>(buffer).value(), *values);
  }
}

TEST(CodecLayoutDeathTest, AValueThatGrowsBetweenThePassesEndsTheProcess) {
  vector<int> values{1, 2};
  codec::SizeContext measure;
  codec::encoded_size(values, measure);
  Buffer buffer(measure.size());
  values.push_back(3);
  codec::Encoder encoder(buffer.data(), buffer.size());
  EXPECT_DEATH(codec::encode(values, encoder), "rayx: a value grew while it was encoded");
}

}  // namespace
}  // namespace rayx::codec_test
