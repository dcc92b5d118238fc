// Every type that the codec knows goes there and back.
#include <array>
#include <bitset>
#include <chrono>
#include <complex>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <forward_list>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "unit/codec/round_trip.hpp"

namespace rayx::codec_test {
namespace {

using std::string;
using std::vector;

template <class T>
void expect_same(const T& value) {
  EXPECT_TRUE(round_trip(value) == value);
}

TEST(CodecTypes, Numbers) {
  expect_same(true);
  expect_same(false);
  expect_same('x');
  expect_same(std::numeric_limits<int>::min());
  expect_same(std::numeric_limits<std::uint64_t>::max());
  expect_same(std::int8_t{-1});
  expect_same(1.5F);
  expect_same(-0.25);
  expect_same(1.5L);
  expect_same(u8'a');
  expect_same(u'\u00df');
  expect_same(U'\U0001f600');
  expect_same(L'w');
  expect_same(std::byte{0xfe});
  EXPECT_EQ(codec::kFixedSize<int>, 4u);
  EXPECT_EQ(codec::kFixedSize<bool>, 1u);
}

enum class Colour : std::uint8_t { kRed, kGreen = 200 };
enum Plain { kZero, kOne = 1000 };

TEST(CodecTypes, Enums) {
  expect_same(Colour::kGreen);
  expect_same(kOne);
}

TEST(CodecTypes, Strings) {
  expect_same(string());
  expect_same(string("with\0zero", 9));
  expect_same(string(100'000, 'x'));
  expect_same(std::wstring(L"wide"));
  expect_same(std::u8string(u8"u8"));
  expect_same(std::u16string(u"u16"));
  expect_same(std::u32string(300, U'y'));
}

TEST(CodecTypes, Sequences) {
  expect_same(vector<double>{});
  expect_same(vector<double>{1, 2, 3});
  expect_same(vector<std::uint8_t>(300, 7));
  expect_same(vector<string>{"a", "", "ccc"});
  expect_same(vector<vector<int>>{{1}, {}, {2, 3}});
  for (std::size_t n : {0u, 1u, 7u, 8u, 9u, 64u, 100u}) {
    vector<bool> bits(n);
    for (std::size_t i = 0; i < n; ++i) bits[i] = i % 3 == 0;
    expect_same(bits);
  }
  expect_same(std::deque<int>{1, 2, 3});
  expect_same(std::deque<string>{"a", "b"});
  expect_same(std::list<int>{3, 2, 1});
  expect_same(std::list<vector<int>>{{3}, {2, 1}});
  expect_same(std::forward_list<int>{});
  expect_same(std::forward_list<int>{1, 2, 3});
  expect_same(std::forward_list<string>{"x", "y"});
  expect_same(std::array<int, 3>{1, 2, 3});
  expect_same(std::array<string, 2>{"a", "b"});
  expect_same(std::array<vector<int>, 2>{{{1}, {2}}});
  expect_same(std::array<string, 0>{});
  expect_same(vector<std::array<double, 3>>{{1, 2, 3}, {4, 5, 6}});
}

TEST(CodecTypes, SetsAndMaps) {
  expect_same(std::set<int>{3, 1, 2});
  expect_same(std::multiset<string>{"a", "a", "b"});
  expect_same(std::map<string, int>{{"a", 1}, {"b", 2}});
  expect_same(std::map<int, vector<string>>{{1, {"x"}}, {2, {}}});
  expect_same(std::multimap<int, int>{{1, 1}, {1, 2}, {2, 3}});
  expect_same(std::unordered_set<int>{1, 2, 3});
  expect_same(std::unordered_multiset<string>{"a", "a", "b"});
  expect_same(std::unordered_map<string, double>{{"pi", 3.14}, {"e", 2.71}});
  expect_same(std::unordered_multimap<int, string>{{1, "a"}, {1, "b"}});
  expect_same(std::map<int, int, std::greater<>>{{1, 1}, {2, 2}});
}

TEST(CodecTypes, WhichOne) {
  expect_same(std::optional<int>());
  expect_same(std::optional<int>(5));
  expect_same(std::optional<string>("x"));
  expect_same(std::optional<std::optional<int>>(std::optional<int>()));
  using V = std::variant<std::monostate, int, string, vector<int>>;
  expect_same(V());
  expect_same(V(5));
  expect_same(V("text"));
  expect_same(V(vector<int>{1, 2}));
  expect_same(std::variant<int, int>(std::in_place_index<1>, 9));
  expect_same(std::monostate());
}

TEST(CodecTypes, Products) {
  expect_same(std::pair<int, string>(1, "x"));
  expect_same(vector<std::pair<int, int>>{{1, 2}, {3, 4}});
  expect_same(std::tuple<>());
  expect_same(std::tuple<int, string, double>(1, "x", 2.5));
  expect_same(std::tuple<string>("one"));
  expect_same(std::complex<double>(1, 2));
  expect_same(vector<std::complex<float>>{{1, 2}, {3, 4}});
  expect_same(std::bitset<5>("10101"));
  expect_same(std::bitset<70>().set(69));
  EXPECT_EQ((codec::kFixedSize<std::pair<int, double>>), 12u);
  EXPECT_EQ((codec::kFixedSize<std::pair<int, string>>), codec::kNotFixed);
}

// Elements without bytes of their own still have a length that can be checked.
TEST(CodecTypes, ElementsWithoutBytes) {
  EXPECT_EQ(round_trip(vector<std::tuple<>>(1000)).size(), 1000u);
  EXPECT_EQ((round_trip(std::list<std::array<string, 0>>(10)).size()), 10u);
  expect_same(vector<std::monostate>(77));
  EXPECT_EQ((round_trip(std::map<std::tuple<>, std::tuple<>>{{{}, {}}}).size()), 1u);
}

TEST(CodecTypes, Times) {
  using std::chrono::system_clock;
  using std::chrono::year_month_day;
  using namespace std::chrono_literals;
  expect_same(5ms);
  expect_same(std::chrono::duration<double, std::ratio<60>>(1.5));
  expect_same(system_clock::time_point(123'456'789ns));
  expect_same(vector<std::chrono::nanoseconds>{1ns, 2ns});
  expect_same(year_month_day(std::chrono::year(2024), std::chrono::month(2), std::chrono::day(29)));
}

TEST(CodecTypes, Paths) {
  expect_same(std::filesystem::path("a/b/c.txt"));
  expect_same(vector<std::filesystem::path>{"a", "", "b"});
}

TEST(CodecTypes, Pointers) {
  EXPECT_EQ(round_trip(std::unique_ptr<int>()), nullptr);
  EXPECT_EQ(*round_trip(std::make_unique<int>(7)), 7);
  EXPECT_EQ(*round_trip(std::make_shared<string>("x")), "x");
  EXPECT_EQ(**round_trip(std::make_unique<std::unique_ptr<int>>(std::make_unique<int>(8))), 8);
  EXPECT_EQ(*round_trip(std::unique_ptr<const int>(new int(3))), 3);
  // The value, not the identity.
  const auto shared = std::make_shared<int>(1);
  const auto back = round_trip(vector<std::shared_ptr<int>>{shared, shared});
  EXPECT_NE(back[0], back[1]);
  EXPECT_EQ(*back[0], *back[1]);
}

struct Point {
  double x, y;
  bool operator==(const Point&) const = default;
};
struct Named {
  int id;
  char name[16];
  bool used;
};
struct Person {
  string name;
  int age = 0;
  std::optional<Point> home;
  vector<Person> children;
  bool operator==(const Person&) const = default;
};
struct WithArrays {
  string words[3];
  int grid[2][3];
  Point points[2];
  vector<int> rest[2][2];
};
struct Bits {
  unsigned a : 3;
  unsigned b : 5;
  string text;
};
struct MoveOnly {
  std::unique_ptr<int> value;
  const int constant;
  vector<std::unique_ptr<string>> texts;
};
struct Tree {
  int value;
  std::unique_ptr<Tree> left, right;
};
struct Big {
  int m[32];
  string a, b, c, d, e, f, g, h, i, j, k, l, m0, n, o, p, q, r, s, t, u, v, w, x, y, z, aa, bb, cc, dd, ee;
};
struct WithoutDefault {
  explicit WithoutDefault(int v) : value(v) {}
  bool operator==(const WithoutDefault&) const = default;

 private:
  int value;
};
struct HoldsWithoutDefault {
  WithoutDefault first;
  string text;
  WithoutDefault second;
  bool operator==(const HoldsWithoutDefault&) const = default;
};

TEST(CodecTypes, Aggregates) {
  expect_same(Point{1, 2});
  EXPECT_EQ(codec::kFixedSize<Point>, 16u);
  const Named named = round_trip(Named{5, "five", true});
  EXPECT_EQ(named.id, 5);
  EXPECT_STREQ(named.name, "five");
  EXPECT_TRUE(named.used);
  expect_same(Person{"a", 40, Point{1, 2}, {Person{"b", 10, {}, {}}, Person{"c", 12, Point{}, {}}}});
  const WithArrays arrays =
      round_trip(WithArrays{{"a", "b", "c"}, {{1, 2, 3}, {4, 5, 6}}, {{1, 2}, {3, 4}}, {{{1}, {2, 3}}, {{}, {4}}}});
  EXPECT_EQ(arrays.words[2], "c");
  EXPECT_EQ(arrays.grid[1][2], 6);
  EXPECT_EQ(arrays.points[1], (Point{3, 4}));
  EXPECT_EQ(arrays.rest[1][1], vector<int>{4});
  const Bits bits = round_trip(Bits{5, 17, "x"});
  EXPECT_EQ(bits.a, 5u);
  EXPECT_EQ(bits.b, 17u);
  EXPECT_EQ(bits.text, "x");
  Big big{};
  big.ee = "last";
  EXPECT_EQ(round_trip(big).ee, "last");
  expect_same(HoldsWithoutDefault{WithoutDefault(1), "t", WithoutDefault(2)});
}

TEST(CodecTypes, MoveOnlyValues) {
  MoveOnly value{std::make_unique<int>(1), 2, {}};
  value.texts.push_back(std::make_unique<string>("x"));
  const MoveOnly back = round_trip(value);
  EXPECT_EQ(*back.value, 1);
  EXPECT_EQ(back.constant, 2);
  EXPECT_EQ(*back.texts.at(0), "x");
  EXPECT_EQ(*value.value, 1) << "encoding leaves the value as it was";
  Tree tree{1, std::make_unique<Tree>(Tree{2, nullptr, nullptr}), nullptr};
  EXPECT_EQ(round_trip(tree).left->value, 2);
  std::map<int, std::unique_ptr<int>> map;
  map.emplace(1, std::make_unique<int>(10));
  EXPECT_EQ(*round_trip(map).at(1), 10);
}

class Opaque {
 public:
  Opaque(int a, double b) : a_(a), b_(b) {}
  bool operator==(const Opaque&) const = default;

 private:
  int a_;
  double b_;
};

TEST(CodecTypes, TriviallyCopyableClasses) {
  expect_same(Opaque(1, 2));
  expect_same(vector<Opaque>{Opaque(1, 2), Opaque(3, 4)});
}

class Account {
 public:
  Account() = default;
  Account(int id, string name) : id_(id), name_(std::move(name)) {}
  bool operator==(const Account&) const = default;

  template <class Archive>
  friend void rayx_serialize(Archive& archive, Account& account) {
    archive(account.id_, account.name_);
    if (account.id_ < 0) archive.fail("an account has a negative id");
  }

 private:
  int id_ = 0;
  string name_;
};
class Measured {  // no default constructor
 public:
  explicit Measured(codec::Blank) {}
  explicit Measured(vector<int> values) : values_(std::move(values)) {
    for (int v : values_) sum_ += v;
  }
  int sum() const { return sum_; }

  template <class Archive>
  friend void rayx_serialize(Archive& archive, Measured& m) {
    archive(m.values_);
    if constexpr (Archive::kIsDecoding) {
      m.sum_ = 0;
      for (int v : m.values_) m.sum_ += v;
    }
  }

 private:
  vector<int> values_;
  int sum_ = 0;
};
struct Nothing {
  virtual ~Nothing() = default;
  template <class Archive>
  friend void rayx_serialize(Archive&, Nothing&) {}
};

TEST(CodecTypes, ClassesThatSerializeThemselves) {
  expect_same(Account(1, "x"));
  expect_same(vector<Account>{Account(1, "x"), Account(2, "y")});
  EXPECT_EQ(round_trip(Measured({1, 2, 3})).sum(), 6);
  EXPECT_EQ(round_trip(vector<Nothing>(5)).size(), 5u);
}

TEST(CodecTypes, SerializeCanRefuse) {
  const Buffer buffer = encode_alone(std::pair<int, string>(-1, "x"));  // an account's bytes
  const Result<Account> result = decode_alone<Account>(buffer);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kMalformed);
  EXPECT_NE(result.error().message.find("negative id"), string::npos) << result.error().message;
  codec::SizeContext measure;
  codec::encoded_size(Account(-1, "x"), measure);
  EXPECT_TRUE(measure.failed());
  EXPECT_EQ(measure.error().code, ErrorCode::kInvalidArgument);
}

TEST(CodecTypes, ManyMembers) {
  struct ThirtyTwo {
    int a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15;
    string b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15;
    bool operator==(const ThirtyTwo&) const = default;
  };
  ThirtyTwo value{};
  value.a15 = 15;
  value.b15 = "last";
  expect_same(value);
}

}  // namespace
}  // namespace rayx::codec_test
