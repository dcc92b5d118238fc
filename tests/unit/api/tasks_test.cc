#include "door_test_kit.hpp"

#include <array>
#include <csignal>
#include <deque>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <numeric>
#include <string>

namespace rayx {
namespace {

using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

int square(int x) { return x * x; }
double half(double x) { return x / 2; }
int add(int a, int b) { return a + b; }
int add_of_noexcept(int a, int b) noexcept { return a + b; }
std::string join(const std::string& a, std::string b, std::string_view c) { return a + b + std::string(c); }
void nothing() {}
std::unique_ptr<int> twice(std::unique_ptr<int> value) { return std::make_unique<int>(*value * 2); }
int sum_of(std::span<const int> values) { return std::accumulate(values.begin(), values.end(), 0); }
std::vector<int> up_to(int n) {
  std::vector<int> values(static_cast<std::size_t>(n));
  std::iota(values.begin(), values.end(), 0);
  return values;
}
int overloaded(int x) { return x + 1; }
std::string overloaded(const std::string& x) { return x + "1"; }
int fib(int n) { return n < 2 ? n : get(remote<fib>(n - 1)) + get(remote<fib>(n - 2)); }

struct Point {
  int x = 0;
  double y = 0;
  std::string name;
  bool operator==(const Point&) const = default;
};
Point moved(Point p, int by) { return {p.x + by, p.y + by, p.name + "'"}; }

using Tasks = DoorTest;

TEST_F(Tasks, CallsFunctionsAndLambdas) {
  EXPECT_EQ(get(remote<square>(3)), 9);
  EXPECT_EQ(get(remote<add>(3, 4)), 7);
  EXPECT_EQ(get(remote<add_of_noexcept>(3, 4)), 7);
  EXPECT_EQ(get(remote([](int a, int b) { return a - b; }, 7, 4)), 3);
  EXPECT_EQ(get(remote<[](int a) { return a + 1; }>(7)), 8);
  EXPECT_EQ(get(remote([](auto a, auto b) { return a + b; }, 1, 2.5)), 3.5);
  get(remote<nothing>());
}

TEST_F(Tasks, ConvertsArgumentsAsACallDoes) {
  EXPECT_EQ(get(remote<half>(3)), 1.5);
  EXPECT_EQ(get(remote<join>("a", "b", "c")), "abc");
  EXPECT_EQ(get(remote<join>("a", std::string("b"), std::string("c"))), "abc");
  EXPECT_EQ(get(remote<sum_of>(std::vector<int>{1, 2, 3})), 6);
  EXPECT_EQ(get(remote<sum_of>(std::array<int, 3>{1, 2, 3})), 6);
}

TEST_F(Tasks, ChoosesAnOverloadByCast) {
  EXPECT_EQ(get(remote<static_cast<int (*)(int)>(overloaded)>(1)), 2);
  EXPECT_EQ(get(remote<static_cast<std::string (*)(const std::string&)>(overloaded)>("1")), "11");
}

TEST_F(Tasks, PassesMoveOnlyValuesBothWays) {
  EXPECT_EQ(*get(remote<twice>(std::make_unique<int>(21))), 42);
  EXPECT_EQ(*get(remote<twice>(remote<twice>(std::make_unique<int>(10)))), 40);
}

TEST_F(Tasks, PassesAggregatesAndLargeValues) {
  const std::string name(5000, 'n');
  EXPECT_EQ(get(remote<moved>(Point{1, 2.5, name}, 3)), (Point{4, 5.5, name + "'"}));
  EXPECT_EQ(get(remote<up_to>(100'000)).back(), 99'999);
}

TEST_F(Tasks, AwaitsReferencesForValueParameters) {
  const ObjectRef<int> nine = remote<square>(3);
  EXPECT_EQ(get(remote<add>(nine, 1)), 10);
  EXPECT_EQ(get(remote<add>(1, nine)), 10);
  EXPECT_EQ(get(remote<add>(nine, nine)), 18);
  EXPECT_EQ(get(remote<half>(nine)), 4.5) << "an ObjectRef<int> converts for a parameter double";
  EXPECT_EQ(get(remote<sum_of>(remote<up_to>(10))), 45) << "a vector is read in place as a span";
  EXPECT_EQ(get(remote([](auto a) { return a; }, nine)), 9) << "a generic lambda gets the value";
  EXPECT_EQ(get(remote<join>(put("a"), put(std::string(100, 'b')), put("c"))), "a" + std::string(100, 'b') + "c");
}

TEST_F(Tasks, PassesReferencesOnForReferenceParameters) {
  const ObjectRef<int> nine = put(9);
  EXPECT_EQ(get(remote([](ObjectRef<int> ref) { return get(ref) + 1; }, nine)), 10);
  EXPECT_EQ(get(remote([](const ObjectRef<int>& ref) { return get(ref) + 1; }, nine)), 10);
}

struct Order {
  std::string name;
  ObjectRef<std::vector<int>> items;
  std::vector<ObjectRef<int>> more;
};

TEST_F(Tasks, PassesReferencesInsideValues) {
  const Order order{"o", put(std::vector<int>{1, 2, 3}), {put(10), put(20), {}}};
  const auto total = remote(
      [](const Order& o) {
        int sum = 0;
        for (int i : get(o.items)) sum += i;
        for (const auto& ref : o.more) sum += ref ? get(ref) : 100;
        return sum;
      },
      order);
  EXPECT_EQ(get(total), 136);
}

TEST_F(Tasks, ReturnsReferencesInsideResultsThatOutliveTheTask) {
  auto made = remote(
      [](int n) {
        std::map<std::string, ObjectRef<std::string>> refs;
        for (int i = 0; i < n; ++i) refs[std::to_string(i)] = put(std::string(100, static_cast<char>('a' + i)));
        return refs;
      },
      3);
  auto refs = get(made);
  made = {};
  ASSERT_EQ(refs.size(), 3u);
  EXPECT_EQ(get(refs["2"]), std::string(100, 'c'));
  EXPECT_EQ(get(get(remote([](int x) { return remote<square>(x); }, 4))), 16);
}

TEST_F(Tasks, NestsTasks) { EXPECT_EQ(get(remote<fib>(10)), 55); }

TEST_F(Tasks, BindsFirstArguments) {
  const auto plus_five = bind<add>(5);
  EXPECT_EQ(get(remote(plus_five, 4)), 9);
  const ObjectRef<int> nine = put(9);
  EXPECT_EQ(get(remote(bind([](int a, int b) { return a * b; }, nine), 2)), 18);
  EXPECT_EQ(get(remote(bind<add>(1, 2))), 3);
}

TEST_F(Tasks, TakesOptionsInFrontOfTheArguments) {
  EXPECT_EQ(get(remote<square>(TaskOptions{.num_cpus = 2, .max_retries = 5, .name = "sq"}, 3)), 9);
  EXPECT_EQ(get(remote([](int x) { return x; }, TaskOptions{.num_cpus = 0}, 3)), 3);
  EXPECT_EQ(get(remote(bind<add>(5), TaskOptions{}, 3)), 8);
}

TEST_F(Tasks, RefusesOptionsOutsideTheirRange) {
  EXPECT_THAT(text_thrown_by<InvalidArgument>([] { (void)remote<square>(TaskOptions{.num_cpus = -1}, 3); }),
              HasSubstr("num_cpus is -1"));
  EXPECT_THAT(text_thrown_by<InvalidArgument>([] { (void)remote<square>(TaskOptions{.max_retries = -2}, 3); }),
              HasSubstr("max_retries is -2"));
}

TEST_F(Tasks, MapKeepsTheOrder) {
  std::vector<int> items(1000);
  std::iota(items.begin(), items.end(), 0);
  const std::vector<int> squares = map<square>(items);
  ASSERT_EQ(squares.size(), items.size());
  EXPECT_EQ(squares[999], 999 * 999);
  for (std::size_t chunk : {std::size_t{1}, std::size_t{7}, std::size_t{1000}, std::size_t{5000}}) {
    EXPECT_EQ(map<square>(items, {.chunk = chunk}), squares) << chunk;
  }
  EXPECT_THAT(map([](int x) { return std::to_string(x); }, std::vector<int>{1, 2}), ElementsAre("1", "2"));
  EXPECT_THAT(map(bind<add>(100), std::vector<int>{1, 2}), ElementsAre(101, 102));
  EXPECT_THAT(map(bind<add>(put(200)), std::vector<int>{1, 2}), ElementsAre(201, 202));
  EXPECT_TRUE(map<square>(std::vector<int>{}).empty());
}

struct Adder {
  long sum = 0;
  void add(long value) { sum += value; }
  long total() const { return sum; }
};

TEST_F(Tasks, ParallelForVisitsEachIndexOnce) {
  auto adder = actor<Adder>();
  parallel_for(10, 1010, bind([](ActorHandle<Adder> to, int i) { get(to.call<&Adder::add>(i)); }, adder));
  EXPECT_EQ(get(adder.call<&Adder::total>()), (10 + 1009) * 1000L / 2);
  parallel_for(5, 5, [](int) { throw std::logic_error("must not run"); });
  EXPECT_THROW(parallel_for(0, 10,
                            [](int i) {
                              if (i == 7) throw std::out_of_range("seven");
                            }),
               std::out_of_range);
}

// How often the loop of parallel_for splits, and that each part begins where the last one ended.
template <class Index>
constexpr std::size_t parts_of(Index first, Index last, std::uint64_t chunk) {
  std::size_t parts = 0;
  Index at = first;
  bool in_order = true;
  detail::split_indices(first, last, chunk, [&](Index from, Index to) {
    in_order = in_order && from == at && from < to;
    at = to;
    ++parts;
  });
  return in_order && (parts == 0 || at == last) ? parts : std::numeric_limits<std::size_t>::max();
}
template <class T>
using Limit = std::numeric_limits<T>;

static_assert(parts_of(0, 10, 3) == 4);
static_assert(parts_of(-5, 5, 5) == 2);
static_assert(parts_of(5, 5, 1) == 0 && parts_of(5, 4, 1) == 0);
static_assert(parts_of(Limit<int>::min(), Limit<int>::max(), 1u << 31) == 2);
static_assert(parts_of(Limit<int>::min(), Limit<int>::max(), Limit<std::uint64_t>::max()) == 1);
static_assert(parts_of(Limit<long>::min(), Limit<long>::max(), 1ull << 63) == 2);
static_assert(parts_of(Limit<long>::min(), Limit<long>::max(), Limit<std::uint64_t>::max() / 3 + 1) == 3);
static_assert(parts_of(Limit<long>::max() - 3, Limit<long>::max(), Limit<std::uint64_t>::max()) == 1);
static_assert(parts_of(0ull, Limit<unsigned long long>::max(), Limit<std::uint64_t>::max() - 1) == 2);
static_assert(parts_of<signed char>(-128, 127, 100) == 3);

TEST_F(Tasks, ParallelForGoesAcrossZeroAndTakesBoundsOfDifferentTypes) {
  auto adder = actor<Adder>();
  const auto add = bind([](ActorHandle<Adder> to, long i) { get(to.call<&Adder::add>(i)); }, adder);
  parallel_for(-3, 8, add, {.chunk = 2});
  EXPECT_EQ(get(adder.call<&Adder::total>()), 22);
  parallel_for(0, std::size_t{4}, add);
  EXPECT_EQ(get(adder.call<&Adder::total>()), 22 + 6);
  parallel_for(-3, 8L, add, {.chunk = std::numeric_limits<std::size_t>::max()});
  EXPECT_EQ(get(adder.call<&Adder::total>()), 22 + 6 + 22);
  EXPECT_THAT(text_thrown_by<InvalidArgument>([&] { parallel_for(-1, std::size_t{4}, add); }), HasSubstr("-1"));
}

TEST_F(Tasks, MapGoesOverAnyRange) {
  EXPECT_THAT(map<square>(std::list<int>{1, 2, 3}), ElementsAre(1, 4, 9));
  EXPECT_THAT(map<square>(std::deque<int>{1, 2, 3}, {.chunk = 2}), ElementsAre(1, 4, 9));
  EXPECT_THAT(map<square>(std::array<int, 2>{1, 2}), ElementsAre(1, 4));
  EXPECT_THAT(map<square>({1, 2}), ElementsAre(1, 4));
  EXPECT_THAT(map([](int x) { return -x; }, {1, 2}), ElementsAre(-1, -2));
  const std::vector<int> items{1, 2, 3};
  EXPECT_THAT(map<square>(std::span<const int>(items).subspan(1)), ElementsAre(4, 9));
  EXPECT_THAT(map([](bool b) { return b ? 1 : 2; }, std::vector<bool>{true, false}), ElementsAre(1, 2));
}

TEST_F(Tasks, MapAwaitsReferences) {
  const std::vector<ObjectRef<int>> refs{put(2), remote<square>(3)};
  EXPECT_THAT(map<square>(refs), ElementsAre(4, 81));
  EXPECT_THAT(map(bind<add>(1), refs), ElementsAre(3, 10));
  EXPECT_THAT(map([](ObjectRef<int> ref) { return get(ref) + 1; }, refs), ElementsAre(3, 10));
}

int throws_three(int) { throw 3; }

TEST_F(Tasks, ErrorsOfLoopsNameTheUsersFunction) {
  const auto function_of = [](auto&& run) -> std::string {
    try {
      run();
    } catch (const TaskErrorInfo& error) {
      return std::string(error.function());
    }
    return "no error";
  };
  const std::string name = function_of([] { get(remote<throws_three>(1)); });
  EXPECT_THAT(name, HasSubstr("throws_three"));
  EXPECT_EQ(function_of([] { map<throws_three>({1}); }), name);
  EXPECT_EQ(function_of([] { parallel_for<throws_three>(0, 2); }), name);
  EXPECT_EQ(function_of([] { map(bind<throws_three>(), std::vector<int>{1}); }), name);
}

// The error's title of the task, and all of it.
std::pair<std::string, std::string> told_by(const std::function<void()>& body) {
  try {
    body();
  } catch (const TaskErrorInfo& error) {
    return {error.function(), error.report()};
  }
  return {"no error", ""};
}
int wait_for_name(const ObjectRef<int>& ref) { return get(ref); }
int die(int) { return ::raise(SIGKILL); }

TEST_F(Tasks, ErrorsTellTheNameOfTheTask) {
  const TaskOptions named{.max_retries = 0, .name = "fold 3"};
  const auto [plain, plain_report] = told_by([] { get(remote<throws_three>(1)); });
  EXPECT_THAT(plain, Not(HasSubstr("\"")));
  const auto [title, report] = told_by([&] { get(remote<throws_three>(named, 1)); });
  EXPECT_EQ(title, plain + " \"fold 3\"");
  EXPECT_THAT(report, HasSubstr("task " + title + " threw int"));
  EXPECT_THAT(try_get(remote<throws_three>(named, 1)).error().message, HasSubstr("task " + title + " threw int"));
  // Whoever reads the error: a task that needs the result, and one that waits for it.
  EXPECT_EQ(told_by([&] { get(remote<square>(remote<throws_three>(named, 1))); }).first, title);
  const ObjectRef<int> failed = remote<throws_three>(named, remote<square>(2));
  const auto [inner, thrown_on] = told_by([&] { get(remote<wait_for_name>(TaskOptions{.name = "reader"}, failed)); });
  EXPECT_EQ(inner, title);
  EXPECT_THAT(thrown_on, ContainsRegex("thrown on by .*wait_for_name \"reader\""));
  // The same record serves others afterwards.
  for (int i = 0; i < 100; ++i) EXPECT_EQ(told_by([] { get(remote<throws_three>(1)); }).first, plain);
  const std::string large(100'000, 'x');
  EXPECT_THAT(told_by([&] { get(remote<throws_three>(TaskOptions{.name = large}, 1)); }).first,
              StartsWith(plain + " \"xx"));
}

TEST_F(Tasks, WorkerDiedTellsTheNameOfTheTask) {
  if (is_local()) GTEST_SKIP() << "there is one process";
  EXPECT_THAT(text_thrown_by<WorkerDied>([] { get(remote<die>(TaskOptions{.max_retries = 0, .name = "fold 3"}, 1)); }),
              ContainsRegex("the worker that ran .*die \"fold 3\" died"));
}

}  // namespace
}  // namespace rayx
