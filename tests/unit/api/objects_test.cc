#include "door_test_kit.hpp"

#include <numeric>
#include <string>

namespace rayx {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using namespace std::chrono_literals;

using Objects = DoorTest;

// With RAYX_LOCAL every result is ready at once, so tests of waiting make a cell whose record is pending.
class PendingRef {
 public:
  PendingRef() {
    node_.cell.refs = 2;  // one is ours: the door never drops the last
    node_.cell.runtime = detail::current_backend()->runtime();
    record_.state = detail::kRecordPending;
    node_.cell.record = &record_;
  }
  ObjectRef<int> ref() {
    detail::count_up(&node_.cell);
    return detail::RefAccess::adopt<ObjectRef<int>>(&node_.cell);
  }
  std::uint32_t counts() const { return node_.cell.refs; }

 private:
  // With RAYX_LOCAL a cell is the first part of something larger, which the backend reads too: nothing is set there.
  struct {
    detail::RefCell cell;
    std::byte rest[1'024]{};
  } node_;
  detail::Record record_{};
};

TEST_F(Objects, PutAndGet) {
  EXPECT_EQ(get(put(7)), 7);
  EXPECT_EQ(get(put("text")), "text");
  const std::vector<double> large(100'000, 2.5);
  EXPECT_EQ(get(put(large)), large);
  EXPECT_EQ(get(put(std::vector<double>{})), std::vector<double>{});
  for (std::size_t size = 0; size < 100; ++size) {  // around the size that fits into a record
    const std::string text(size, 'x');
    EXPECT_EQ(get(put(text)), text);
  }
}

TEST_F(Objects, GetsManyAndSeveralTypes) {
  EXPECT_THAT(get(std::vector<ObjectRef<int>>{put(1), put(2), put(3)}), ElementsAre(1, 2, 3));
  const auto [number, text, none] = get(put(1), put("one"), remote([] {}));
  EXPECT_EQ(number, 1);
  EXPECT_EQ(text, "one");
  EXPECT_EQ(none, std::monostate{});
  EXPECT_EQ(get(std::tuple(put(1), put(2.5)), 1s), std::tuple(1, 2.5));
  get(std::vector<ObjectRef<void>>{remote([] {}), remote([] {})});
}

TEST_F(Objects, CountsReferences) {
  PendingRef pending;
  ObjectRef<int> a = pending.ref();
  EXPECT_EQ(pending.counts(), 3u);
  ObjectRef<int> b = a;
  EXPECT_EQ(pending.counts(), 4u);
  ObjectRef<int> c = std::move(b);
  EXPECT_EQ(pending.counts(), 4u) << "a move counts nothing";
  EXPECT_FALSE(b);
  b = c;
  EXPECT_EQ(pending.counts(), 5u);
  ObjectRef<int>& same = c;
  c = std::move(same);
  EXPECT_TRUE(c);
  c = same;
  EXPECT_EQ(pending.counts(), 5u);
  a = {};
  b = {};
  c = {};
  EXPECT_EQ(pending.counts(), 2u);
}

TEST_F(Objects, TimesOut) {
  PendingRef pending;
  const ObjectRef<int> ref = pending.ref();
  EXPECT_FALSE(ref.is_ready());
  EXPECT_THAT(text_thrown_by<TimeoutError>([&] { get(ref, 20ms); }), HasSubstr("rayx: get: not ready within 20 ms"));
  EXPECT_THROW(get(std::vector{ref}, 1ms), TimeoutError);
  EXPECT_THROW(get(std::tuple(ref, put(1)), 1ms), TimeoutError);
  const Result<int> tried = try_get(ref, 1ms);
  ASSERT_FALSE(tried);
  EXPECT_EQ(tried.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(*try_get(put(5)), 5);
  EXPECT_TRUE(try_get(remote([] {})).has_value());
}

TEST_F(Objects, TryGetGivesTheTasksErrorAsAValue) {
  const Result<int> tried =
      try_get(remote([](int x) -> int { throw std::out_of_range("no " + std::to_string(x)); }, 4));
  ASSERT_FALSE(tried);
  EXPECT_EQ(tried.error().code, ErrorCode::kTaskFailed);
  EXPECT_THAT(tried.error().message, HasSubstr("std::out_of_range: no 4"));
}

TEST_F(Objects, EmptyReferencesAreRefused) {
  EXPECT_THAT(text_thrown_by<InvalidArgument>([] { get(ObjectRef<int>()); }),
              HasSubstr("rayx: get: the reference is empty"));
  EXPECT_THROW((void)remote([](int x) { return x; }, ObjectRef<int>()), InvalidArgument);
  EXPECT_THROW((void)wait(std::vector<ObjectRef<int>>(1)), InvalidArgument);
  EXPECT_THROW((void)try_get(ObjectRef<int>()), InvalidArgument);
}

TEST_F(Objects, WaitSplitsReadyFromPending) {
  PendingRef slow, slower;
  std::vector<ObjectRef<int>> refs{slow.ref(), put(1), slower.ref(), put(2), put(3)};
  auto [ready, pending] = wait(std::move(refs), {.count = 2});
  EXPECT_THAT(get(ready), ElementsAre(1, 2));
  ASSERT_EQ(pending.size(), 3u);
  EXPECT_EQ(pending[0], slow.ref());
  EXPECT_EQ(pending[1], slower.ref());
  EXPECT_EQ(get(pending[2]), 3);
  auto again = wait(std::move(pending), {.count = 3, .timeout = 1ms});
  EXPECT_EQ(again.ready.size(), 1u);
  EXPECT_EQ(again.pending.size(), 2u);
}

TEST_F(Objects, WaitCopiesWhereItIsNotGivenTheReferences) {
  const std::vector<ObjectRef<int>> refs{put(1), put(2)};
  EXPECT_EQ(wait(refs).ready.size(), 1u);
  EXPECT_EQ(get(refs[0]), 1);
}

TEST_F(Objects, WaitTakesReferencesOfDifferentTypes) {
  PendingRef slow;
  const ObjectRef<std::string> text = put("t");
  auto [ready, pending] = wait(std::vector<AnyRef>{slow.ref(), text, put(2.5)}, {.count = 2});
  ASSERT_EQ(ready.size(), 2u);
  EXPECT_EQ(ready[0], text);
  EXPECT_EQ(get(ready[0].as<std::string>()), "t");
  EXPECT_EQ(get(ready[1].as<double>()), 2.5);
  EXPECT_FALSE(ready[1].as<int>());
  ASSERT_EQ(pending.size(), 1u);
  EXPECT_EQ(pending[0], slow.ref());
}

TEST_F(Objects, WaitRefusesAnImpossibleCount) {
  EXPECT_THAT(text_thrown_by<InvalidArgument>([] { (void)wait(std::vector{put(1)}, {.count = 2}); }),
              HasSubstr("count is 2 of 1 references"));
  EXPECT_THROW((void)wait(std::vector{put(1)}, {.count = 0}), InvalidArgument);
}

TEST_F(Objects, AsCompletedGivesEachOnce) {
  std::vector<ObjectRef<int>> refs;
  for (int i = 0; i < 100; ++i) refs.push_back(put(i));
  int sum = 0, steps = 0;
  for (ObjectRef<int>& ref : as_completed(std::move(refs))) {
    sum += get(ref);
    ++steps;
  }
  EXPECT_EQ(steps, 100);
  EXPECT_EQ(sum, 4950);
  for (auto& ref : as_completed(std::vector<ObjectRef<int>>())) FAIL() << ref.is_ready();
}

TEST_F(Objects, ArraysAreReadWhereTheyWereBuilt) {
  ArrayBuilder<int> builder(1000);
  std::iota(builder.begin(), builder.end(), 0);
  const int* const built_at = builder.data();
  const ObjectRef<Array<int>> ref = put(std::move(builder));
  const Array<int> array = get(ref);
  if (is_local()) {  // else it is built in a writable mapping of the same memory
    EXPECT_EQ(array.data(), built_at);
  }
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(array.data()) % 64, 0u);
  EXPECT_EQ(array.size(), 1000u);
  EXPECT_EQ(array[999], 999);
  const auto address = [](std::span<const int> values) { return reinterpret_cast<std::uint64_t>(values.data()); };
  if (is_local()) {
    EXPECT_EQ(get(remote(address, ref)), reinterpret_cast<std::uint64_t>(built_at))
        << "a span parameter is in place too";
  }
  EXPECT_THROW((void)put(std::move(builder)), InvalidArgument) << "it was put before";
  EXPECT_THROW((void)array.at(1000), std::out_of_range);
}

TEST_F(Objects, ArraysKeepTheirObjectAlive) {
  Array<int> array;
  {
    ArrayBuilder<int> builder(1000);
    std::iota(builder.begin(), builder.end(), 0);
    array = get(put(std::move(builder)));
  }
  for (int i = 0; i < 100; ++i) (void)put(std::vector<int>(1000, -1));
  EXPECT_EQ(std::accumulate(array.begin(), array.end(), 0), 499'500);
}

struct KeepsArray {
  Array<double> kept;
  void keep(Array<double> array) { kept = std::move(array); }
  double sum() const { return std::accumulate(kept.begin(), kept.end(), 0.0); }
};

TEST_F(Objects, ArraysPassedByValueMayBeKept) {
  for (std::size_t size : {0u, 1u, 3u, 50u, 5000u}) {  // empty, in the cell, in a block
    auto keeper = actor<KeepsArray>();
    {
      ArrayBuilder<double> builder(size);
      std::fill(builder.begin(), builder.end(), 1.0);
      const Array<double> array = get(put(std::move(builder)));
      get(keeper.call<&KeepsArray::keep>(array));
    }
    for (int i = 0; i < 20; ++i) (void)put(std::vector<double>(size, -1));
    EXPECT_EQ(get(keeper.call<&KeepsArray::sum>()), static_cast<double>(size));
  }
}

struct Keeper {
  Array<int> kept;
  int keep(Array<int> array) {
    kept = std::move(array);
    return kept[0];
  }
  bool holds(int value) const {
    return std::all_of(kept.begin(), kept.end(), [&](int x) { return x == value; });
  }
};
ArrayBuilder<int> full_of(int value) {
  ArrayBuilder<int> builder(100'000);
  std::fill(builder.begin(), builder.end(), value);
  return builder;
}

// The caller has let go of the object, and its memory would be used again at once.
TEST_F(Objects, ArraysGivenAsReferencesMayBeKept) {
  auto of_put = actor<Keeper>();
  auto of_result = actor<Keeper>();
  auto of_named = actor<Keeper>();
  EXPECT_EQ(get(of_put.call<&Keeper::keep>(put(full_of(1)))), 1);
  EXPECT_EQ(get(of_result.call<&Keeper::keep>(remote<full_of>(2))), 2);
  auto named = put(full_of(3));
  EXPECT_EQ(get(of_named.call<&Keeper::keep>(named)), 3);
  named = {};
  for (int i = 0; i < 50; ++i) EXPECT_EQ(get(put(full_of(-1)))[0], -1);
  EXPECT_TRUE(get(of_put.call<&Keeper::holds>(1)));
  EXPECT_TRUE(get(of_result.call<&Keeper::holds>(2)));
  EXPECT_TRUE(get(of_named.call<&Keeper::holds>(3)));
}

TEST_F(Objects, BuildersAreResults) {
  const ObjectRef<Array<float>> made = remote(
      [](int n) {
        ArrayBuilder<float> builder(static_cast<std::size_t>(n));
        std::fill(builder.begin(), builder.end(), 0.5f);
        return builder;
      },
      1000);
  EXPECT_EQ(get(made).size(), 1000u);
  EXPECT_EQ(get(made)[999], 0.5f);
}

TEST(ObjectStore, SaysHowFullItIsWhenNothingComesFree) {
  Runtime runtime = init({.num_cpus = 2, .store_bytes = 64 << 20, .store_timeout = std::chrono::milliseconds(50)});
  std::vector<ObjectRef<Array<char>>> held;
  const std::string text = text_thrown_by<OutOfMemory>([&] {
    while (true) held.push_back(put(ArrayBuilder<char>(8 << 20)));
  });
  EXPECT_GE(held.size(), 6u);
  EXPECT_LE(held.size(), 7u);
  EXPECT_THAT(text,
              AllOf(HasSubstr("the object store is full"), HasSubstr("were asked for"), HasSubstr("RAYX_STORE_BYTES")));
  held.clear();
  (void)put(ArrayBuilder<char>(48 << 20));  // it came back
}

}  // namespace
}  // namespace rayx
