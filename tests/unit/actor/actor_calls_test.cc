// Calls that are held back and handles that go and come, with processes: what became of the order's decisions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <rayx/rayx.hpp>
#include <string>
#include <vector>

namespace rayx {
namespace {

int late_seven(int after_ms) {
  ::poll(nullptr, 0, after_ms);
  return 7;
}

struct Counter {
  int n = 0;
  int add(int k) { return n += k; }
  int add_late(int after_ms) {
    ::poll(nullptr, 0, after_ms);
    return ++n;
  }
  int die_late(int after_ms) {
    ::poll(nullptr, 0, after_ms);
    return ::raise(SIGKILL);
  }
};

struct Keeper {
  ActorHandle<Counter> kept;
  void keep(ActorHandle<Counter> counter) { kept = std::move(counter); }
  ActorHandle<Counter> give() { return std::move(kept); }
};

TEST(ActorCalls, AHandleThatComesBackWhileCallsAreOutstandingStaysGood) {
  Runtime runtime = init({.num_cpus = 2});
  for (int round = 0; round < 5; ++round) {
    auto keeper = actor<Keeper>();
    auto counter = actor<Counter>();
    get(keeper.call<&Keeper::keep>(counter));
    const auto last = counter.call<&Counter::add_late>(40);
    counter = ActorHandle<Counter>();
    counter = get(keeper.call<&Keeper::give>());
    EXPECT_EQ(get(last), 1);
    EXPECT_EQ(get(counter.call<&Counter::add>(1)), 2);
    EXPECT_EQ(get(counter.call<&Counter::add>(1)), 3);
  }
}

int add_through(const ActorHandle<Counter>& counter, int k) { return get(counter.call<&Counter::add>(k)); }
// Runs the task that a call of its own waits for while it waits for that task.
int add_behind(const ActorHandle<Counter>& counter) {
  const auto first = remote<add_through>(counter, 5);
  const auto second = counter.call<&Counter::add>(first);
  get(first);
  return get(second);
}

TEST(ActorCalls, OfATaskThatRunsInsideAnotherOnesWaitDoNotStandBehindIt) {
  Runtime runtime = init({.num_cpus = 1});
  auto counter = actor<Counter>();
  const auto result = remote<add_behind>(counter);
  using namespace std::chrono_literals;
  ASSERT_EQ(wait(std::vector{result}, {.timeout = 20s}).ready.size(), 1u);
  EXPECT_EQ(get(result), 10);
}

TEST(ActorCalls, ThatWaitForAnArgumentFailAtOnceWhenTheActorEnds) {
  Runtime runtime = init({.num_cpus = 2});
  auto counter = actor<Counter>();
  EXPECT_EQ(get(counter.call<&Counter::add>(1)), 1);
  const auto late = remote<late_seven>(20'000);
  const auto waiting = counter.call<&Counter::add>(late);
  const auto behind = counter.call<&Counter::add>(1);
  kill(counter);
  EXPECT_THROW(get(waiting), ActorDied);
  EXPECT_THROW(get(behind), ActorDied);
  EXPECT_FALSE(late.is_ready());
}

// Tells through a named pipe when it is made and when it ends.
struct Telltale {
  int fd;
  explicit Telltale(const std::string& path) : fd(::open(path.c_str(), O_WRONLY)) { tell("m"); }
  Telltale(const std::string& path, int) : Telltale(path) {}
  ~Telltale() {
    tell("e");
    ::close(fd);
  }
  Telltale(const Telltale&) = delete;
  Telltale& operator=(const Telltale&) = delete;
  void tell(const char* byte) const { EXPECT_EQ(::write(fd, byte, 1), 1); }
};

TEST(ActorCalls, AnActorWhoseHandleGoesBeforeItIsMadeEndsWhenItIsMade) {
  const std::string path = testing::TempDir() + "telltale." + std::to_string(::getpid());
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  const auto next_byte = [&] {
    constexpr int kWait_ms = 10'000;
    pollfd read{.fd = fd, .events = POLLIN, .revents = 0};
    char byte = 0;
    return ::poll(&read, 1, kWait_ms) == 1 && ::read(fd, &byte, 1) == 1 ? byte : '-';
  };
  Runtime runtime = init({.num_cpus = 2});
  (void)actor<Telltale>(path);
  EXPECT_EQ(next_byte(), 'm');
  EXPECT_EQ(next_byte(), 'e');
  (void)actor<Telltale>(path, remote<late_seven>(20));
  EXPECT_EQ(next_byte(), 'm');
  EXPECT_EQ(next_byte(), 'e');
  ::close(fd);
  ::unlink(path.c_str());
}

// Those that were held back come first to their end, and the handle goes with the last of them.
TEST(ActorCalls, OfADroppedHandleAllFailWithTheActor) {
  Runtime runtime = init({.num_cpus = 2});
  for (int round = 0; round < 5; ++round) {
    auto counter = actor<Counter>();
    EXPECT_EQ(get(counter.call<&Counter::add>(1)), 1);
    const auto late = remote<late_seven>(5);
    std::vector<ObjectRef<int>> calls;
    calls.push_back(counter.call<&Counter::die_late>(60));
    calls.push_back(counter.call<&Counter::add>(late));
    calls.push_back(counter.call<&Counter::add>(1));
    get(late);
    ::poll(nullptr, 0, 10);
    for (int i = 0; i < 3; ++i) calls.push_back(counter.call<&Counter::add>(1));
    counter = ActorHandle<Counter>();
    for (const auto& call : calls) EXPECT_THROW(get(call), ActorDied);
  }
}

}  // namespace
}  // namespace rayx
