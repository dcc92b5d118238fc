// The runtime's life and its settings: what is refused, and what the refusal says.
#include "door_test_kit.hpp"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <future>
#include <thread>

namespace rayx {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using namespace std::chrono_literals;

int one() { return 1; }
int add(int a, int b) { return a + b; }
int wait_for_child(int depth) { return depth == 0 ? 1 : 1 + get(remote<wait_for_child>(depth - 1)); }
// Waits for a child that needs more than it holds, so that it cannot run it itself.
int wait_for_larger_child(int level) {
  if (level == 7) return level;
  return get(remote<wait_for_larger_child>(TaskOptions{.num_cpus = 0.1 * (level + 1)}, level + 1));
}
int sleep_ms(int ms) {
  ::poll(nullptr, 0, ms);
  return ms;
}

int submit_many(int count) {
  std::vector<ObjectRef<int>> refs;
  for (int i = 0; i < count; ++i) refs.push_back(remote<one>());
  int sum = 0;
  for (const int value : get(refs)) sum += value;
  return sum;
}
constexpr std::size_t kMostOfTheStore = 40 << 20;
std::size_t size_of(const Array<char>& array) { return array.size(); }
ArrayBuilder<char> make_large() { return ArrayBuilder<char>(kMostOfTheStore); }

// A variable of the environment, for one scope.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    const char* const before = std::getenv(name);
    if (before != nullptr) before_ = before;
    had_ = before != nullptr;
    ::setenv(name, value, 1);
  }
  ~Variable() { had_ ? ::setenv(name_, before_.c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  std::string before_;
  bool had_;
};

TEST(Runtime, StartsAgainAfterItsEnd) {
  for (int i = 0; i < 3; ++i) {
    const rayx::Runtime runtime = init();
    EXPECT_TRUE(is_initialized());
    EXPECT_EQ(get(remote<one>()), 1);
  }
  EXPECT_FALSE(is_initialized());
}

TEST(Runtime, IsThereOnce) {
  rayx::Runtime runtime = init();
  EXPECT_THAT(text_thrown_by<AlreadyInitialized>([] { (void)init(); }),
              AllOf(HasSubstr("init"), HasSubstr("shutdown()")));
  EXPECT_EQ(get(remote<one>()), 1);
}

TEST(Runtime, Moves) {
  rayx::Runtime outer;
  EXPECT_FALSE(outer);
  {
    rayx::Runtime inner = init();
    outer = std::move(inner);
  }
  EXPECT_TRUE(outer);
  EXPECT_EQ(get(remote<one>()), 1);
  outer = rayx::Runtime();
  EXPECT_FALSE(is_initialized());
}

TEST(Runtime, IsLeftAloneByAnEarlierOnesDestructor) {
  auto first = std::make_unique<rayx::Runtime>(init());
  shutdown();
  shutdown();  // nothing happens
  const rayx::Runtime second = init();
  first.reset();
  EXPECT_EQ(get(remote<one>()), 1);
}

TEST(Runtime, RefusesUseBeforeAndAfter) {
  ObjectRef<int> ref;
  const auto refuses = [&] {
    EXPECT_THAT(text_thrown_by<NotInitialized>([] { (void)remote<one>(); }),
                AllOf(HasSubstr("rayx: remote: this process has no runtime"), HasSubstr("rayx::init()")));
    EXPECT_THAT(text_thrown_by<NotInitialized>([] { (void)put(3); }), HasSubstr("rayx: put:"));
    EXPECT_THAT(text_thrown_by<NotInitialized>([] { (void)ArrayBuilder<int>(3); }), HasSubstr("init()"));
  };
  refuses();
  {
    const rayx::Runtime runtime = init();
    ref = remote<one>();
    get(ref);
  }
  refuses();
  EXPECT_THAT(text_thrown_by<NotInitialized>([&] { (void)get(ref); }), HasSubstr("rayx: get:"));
  EXPECT_THAT(text_thrown_by<NotInitialized>([&] { (void)wait(std::vector{ref}); }), HasSubstr("rayx: wait:"));
  ref = {};  // at any time
}

TEST(Runtime, ReferencesOfAnEarlierOneAreRefused) {
  ObjectRef<int> old;
  {
    const rayx::Runtime runtime = init();
    old = put(3);
  }
  const rayx::Runtime runtime = init();
  EXPECT_THAT(text_thrown_by<Exception>([&] { (void)get(old); }), HasSubstr("runtime"));
  EXPECT_THAT(text_thrown_by<Exception>([&] { (void)remote<add>(old, 1); }), HasSubstr("runtime"));
}

long shared_memory_kib() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("RssShmem:")) return std::atol(line.c_str() + 9);
  return 0;
}

TEST(Runtime, GivesItsMemoryBackButForWhatIsHeld) {
  constexpr std::size_t kCount = 1'000'000;
  const long before = shared_memory_kib();
  Array<int> held;
  for (int round = 0; round < 10; ++round) {
    rayx::Runtime runtime = init({.num_cpus = 1, .store_bytes = 256 << 20});
    std::vector<ObjectRef<Array<int>>> refs;
    for (int i = 0; i < 10; ++i) {
      ArrayBuilder<int> builder(kCount);
      std::fill(builder.begin(), builder.end(), round * 10 + i);
      refs.push_back(put(std::move(builder)));
    }
    EXPECT_EQ(get(remote<one>()), 1);
    if (round == 4) held = get(refs[3]);
  }
  EXPECT_LE(shared_memory_kib(), before + 3 * static_cast<long>(kCount * sizeof(int)) / 1024);
  ASSERT_EQ(held.size(), kCount);
  for (const int value : held) ASSERT_EQ(value, 43);
}

TEST(Runtime, EndsWhileThreadsUseIt) {
  for (int round = 0; round < 20; ++round) {
    rayx::Runtime runtime = init({.num_cpus = 2});
    std::atomic<int> running = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] {
        ++running;
        try {
          for (;;) {
            std::vector<ObjectRef<int>> refs;
            for (int k = 0; k < 50; ++k) refs.push_back(remote<add>(put(k), 1));
            const std::vector<int> values = get(refs);
            for (int k = 0; k < 50; ++k) ASSERT_EQ(values[static_cast<std::size_t>(k)], k + 1);
          }
        } catch (const NotInitialized&) {  // that is how it ends
        }
      });
    while (running < 4) {
    }
    shutdown();
    for (std::thread& thread : threads) thread.join();
  }
}

TEST(Runtime, RefusesShutdownInsideATask) {
  const rayx::Runtime runtime = init();
  const auto shut_down = [] {
    shutdown();
    return 1;
  };
  EXPECT_THAT(text_thrown_by<InvalidArgument>([&] { get(remote(shut_down)); }),
              HasSubstr("shutdown: called inside a task"));
}

TEST(Config, NamesTheFieldAndItsRange) {
  const auto refuses = [](const Config& config, const char* field, const char* value) {
    EXPECT_THAT(text_thrown_by<ConfigError>([&] { (void)init(config); }),
                AllOf(HasSubstr(std::string("Config::") + field + " is " + value),
                      HasSubstr("it must be a whole number from")));
    EXPECT_FALSE(is_initialized());
  };
  refuses({.num_cpus = 0}, "num_cpus", "0");
  refuses({.num_cpus = -3}, "num_cpus", "-3");
  refuses({.num_cpus = 5000}, "num_cpus", "5000");
  refuses({.store_bytes = 10}, "store_bytes", "10");
  refuses({.store_bytes = std::uint64_t{1} << 60}, "store_bytes", "1152921504606846976");  // larger than memory
  refuses({.max_workers = 0}, "max_workers", "0");
  refuses({.max_workers = 65}, "max_workers", "65");
  refuses({.max_pending_tasks = 0}, "max_pending_tasks", "0");
  refuses({.submit_timeout = -1ms}, "submit_timeout", "-1");
  refuses({.store_timeout = -1ms}, "store_timeout", "-1");
}

TEST(Config, NamesTheVariableAndItsValue) {
  for (const auto& [name, value] :
       {std::pair("RAYX_NUM_CPUS", "two"), std::pair("RAYX_NUM_CPUS", ""), std::pair("RAYX_NUM_CPUS", "1.5"),
        std::pair("RAYX_NUM_CPUS", "0"), std::pair("RAYX_STORE_BYTES", "1X"), std::pair("RAYX_STORE_BYTES", "-1G"),
        std::pair("RAYX_STORE_BYTES", "99999999999T"), std::pair("RAYX_MAX_WORKERS", "many"),
        std::pair("RAYX_MAX_PENDING_TASKS", "1G"), std::pair("RAYX_SUBMIT_TIMEOUT_MS", "1s"),
        std::pair("RAYX_STORE_TIMEOUT_MS", "-5"), std::pair("RAYX_LOCAL", "yes")}) {
    const Variable variable(name, value);
    EXPECT_THAT(text_thrown_by<ConfigError>([] { (void)init(); }),
                AllOf(HasSubstr(std::string(name) + " is \"" + value + "\""), HasSubstr("it must be")));
  }
}

TEST(Config, AnAddressThatCannotBeUsedSaysWhatToDo) {
  const Variable no_local_mode("RAYX_LOCAL", "0");
  {
    const Variable address("RAYX_ADDRESS", "10.0.0.1:7000");
    EXPECT_THAT(text_thrown_by<ConfigError>([] { (void)init(); }),
                AllOf(HasSubstr("RAYX_ADDRESS"), HasSubstr("RAYX_TOKEN_FILE")));
    const Variable local("RAYX_LOCAL", "1");
    EXPECT_THAT(text_thrown_by<ConfigError>([] { (void)init(); }), HasSubstr("Unset one"));
  }
  for (const char* const text : {"10.0.0.1", "10.0.0.1:", ":7000", "10.0.0.1:70000", "nonsense"}) {
    const Variable address("RAYX_ADDRESS", text);
    EXPECT_THAT(text_thrown_by<ConfigError>([] { (void)init(); }), HasSubstr(text));
  }
  EXPECT_FALSE(is_initialized());
}

TEST(Config, IsTakenFromTheEnvironmentUnlessAFieldIsSet) {
  const Variable cpus("RAYX_NUM_CPUS", "3");
  const Variable store("RAYX_STORE_BYTES", "64M");
  {
    const rayx::Runtime runtime = init();
    EXPECT_EQ(detail::current_backend()->cpus(), 3);
  }
  const rayx::Runtime runtime = init({.num_cpus = 2});
  EXPECT_EQ(detail::current_backend()->cpus(), 2);
}

class Scheduling : public ::testing::Test {
 protected:
  void SetUp() override {
    if (is_local()) GTEST_SKIP() << "in one process everything runs in order";
  }
};

TEST_F(Scheduling, NestedWaitsOfAnyDepthFinishOnOneCpu) {
  const rayx::Runtime runtime = init({.num_cpus = 1});
  EXPECT_EQ(get(remote<wait_for_child>(2000)), 2001);
  EXPECT_EQ(get(remote<wait_for_child>(20'000)), 20'001);  // more than one stack holds
}

TEST_F(Scheduling, WaitsThatCannotBeServedEndInAnError) {
  {
    const rayx::Runtime runtime = init({.num_cpus = 1, .max_workers = 3});
    EXPECT_THAT(
        text_thrown_by<WorkerLimit>([] { get(remote<wait_for_larger_child>(TaskOptions{.num_cpus = 0.1}, 1)); }),
        AllOf(HasSubstr("Config::max_workers is 3"), HasSubstr("RAYX_MAX_WORKERS")));
    EXPECT_EQ(get(remote<one>()), 1);  // and it goes on
  }
  const rayx::Runtime runtime = init({.num_cpus = 1});
  EXPECT_EQ(get(remote<wait_for_larger_child>(TaskOptions{.num_cpus = 0.1}, 1)), 7);
}

TEST_F(Scheduling, TasksOfTwoCpusAndOfOneDoNotStarveEachOther) {
  const rayx::Runtime runtime = init({.num_cpus = 2});
  // Both kinds all the time, each submitted again when done: each must get on.
  int done_small = 0;
  int done_large = 0;
  std::vector<ObjectRef<int>> small;
  std::vector<ObjectRef<int>> large;
  for (int i = 0; i < 8; ++i) small.push_back(remote<sleep_ms>(1));
  for (int i = 0; i < 4; ++i) large.push_back(remote<sleep_ms>(TaskOptions{.num_cpus = 2}, 1));
  const auto end = std::chrono::system_clock::now() + 30s;
  while ((done_small < 100 || done_large < 50) && std::chrono::system_clock::now() < end) {
    for (auto& ref : small)
      if (wait(std::vector{ref}, {.timeout = 0s}).ready.size() == 1) ++done_small, ref = remote<sleep_ms>(1);
    for (auto& ref : large)
      if (wait(std::vector{ref}, {.timeout = 0s}).ready.size() == 1)
        ++done_large, ref = remote<sleep_ms>(TaskOptions{.num_cpus = 2}, 1);
  }
  EXPECT_GE(done_small, 100);
  EXPECT_GE(done_large, 50);
}

TEST_F(Scheduling, ATaskOfTwoCpusRunsAlone) {
  const rayx::Runtime runtime = init({.num_cpus = 2});
  const auto begun_and_ended = [](int ms) {
    const auto now = [] { return std::chrono::system_clock::now().time_since_epoch().count(); };
    const auto begin = now();
    sleep_ms(ms);
    return std::pair(begin, now());
  };
  std::vector<ObjectRef<std::pair<long, long>>> small;
  std::vector<ObjectRef<std::pair<long, long>>> large;
  for (int i = 0; i < 5; ++i) {
    for (int k = 0; k < 4; ++k) small.push_back(remote(begun_and_ended, 2));
    large.push_back(remote(begun_and_ended, TaskOptions{.num_cpus = 2}, 2));
  }
  const auto of_small = get(small);
  for (const auto& [begin, end] : get(large))
    for (const auto& other : of_small) EXPECT_TRUE(other.second <= begin || other.first >= end) << "at the same time";
}

TEST_F(Scheduling, MorePendingTasksThanTheLimitWaitAndThenAreRefused) {
  const rayx::Runtime runtime = init({.num_cpus = 1, .max_pending_tasks = 100, .submit_timeout = 50ms});
  const auto blocker = remote<sleep_ms>(60'000);
  std::vector<ObjectRef<int>> pending;
  const std::string text = text_thrown_by<QueueFull>([&] {
    for (;;) pending.push_back(remote<one>());
  });
  EXPECT_GE(pending.size(), 100u + 4095u);
  EXPECT_LE(pending.size(), 100u + 4097u);
  EXPECT_THAT(text, AllOf(HasSubstr("within 50 ms"), HasSubstr("RAYX_MAX_PENDING_TASKS")));
}

TEST_F(Scheduling, ATaskThatSubmitsMoreThanTheLimitLendsItsCpuToThem) {
  const rayx::Runtime runtime = init({.num_cpus = 1, .max_pending_tasks = 100, .submit_timeout = kForever});
  EXPECT_EQ(get(remote<submit_many>(20'000)), 20'000);
}

TEST_F(Scheduling, ATaskThatWaitsForMemoryLendsItsCpuToWhoFreesIt) {
  const rayx::Runtime runtime = init({.num_cpus = 1, .store_bytes = 64 << 20, .store_timeout = kForever});
  auto held = put(ArrayBuilder<char>(kMostOfTheStore));
  auto made = remote<make_large>();
  auto looked_at = remote<size_of>(std::move(held));  // its argument is freed when it has run
  held = {};
  EXPECT_EQ(get(looked_at), kMostOfTheStore);
  EXPECT_EQ(get(made).size(), kMostOfTheStore);
}

TEST_F(Scheduling, AWriterWaitsForEverWhereTheConfigSaysSo) {
  const rayx::Runtime runtime = init({.num_cpus = 1, .store_bytes = 64 << 20, .store_timeout = kForever});
  auto held = put(ArrayBuilder<char>(kMostOfTheStore));
  auto writer = std::async(std::launch::async, [] { return put(ArrayBuilder<char>(kMostOfTheStore)); });
  EXPECT_EQ(writer.wait_for(50ms), std::future_status::timeout);
  held = {};
  EXPECT_EQ(get(writer.get()).size(), kMostOfTheStore);
}

TEST(Config, ATaskThatCanNeverRunIsRefusedAtOnce) {
  const rayx::Runtime runtime = init({.num_cpus = 2});
  EXPECT_THAT(text_thrown_by<InvalidArgument>([] { (void)remote<one>(TaskOptions{.num_cpus = 3}); }),
              AllOf(HasSubstr("num_cpus is 3"), HasSubstr("the runtime has 2 in all")));
}

}  // namespace
}  // namespace rayx
