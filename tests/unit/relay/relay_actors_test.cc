// Actors that are called from other sites of the job than the one where they live: with a head that places them, and without one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <random>
#include <rayx/rayx.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "counter.hpp"
#include "kit/seed.hpp"
#include "large_values.hpp"

namespace {

using rayx::ActorHandle;
using rayx::ObjectRef;
using rayx::relay::test::Counter;
using rayx::relay::test::mesh_of;
using rayx::relay::test::on;
using rayx::relay::test::Sites;
using testing::AllOf;
using testing::HasSubstr;

class Throwing {
 public:
  explicit Throwing(int x) { throw std::runtime_error("cannot be made of " + std::to_string(x)); }
  int get() { return 1; }
};

// Calls another actor, whose handle it gets more than once.
class Caller {
 public:
  int begin(const ActorHandle<Counter>& counter, int calls) {
    for (int i = 0; i < calls; ++i) results_.push_back(counter.call<&Counter::add>(1));
    return static_cast<int>(results_.size());
  }
  std::vector<int> end() {
    std::vector<int> sums;
    for (const ObjectRef<int>& result : std::exchange(results_, {})) sums.push_back(rayx::get(result));
    return sums;
  }

 private:
  std::vector<ObjectRef<int>> results_;
};

// What was called, in its order.
class Log {
 public:
  void write(int caller, int number, const std::string& ballast) {
    lines_.emplace_back(caller, number);
    bytes_ += ballast.size();
  }
  std::vector<std::pair<int, int>> lines() { return lines_; }

 private:
  std::vector<std::pair<int, int>> lines_;
  std::size_t bytes_ = 0;
};

class Selfish {
 public:
  int one() { return 1; }
  int call_myself(const ActorHandle<Selfish>& me) { return rayx::get(me.call<&Selfish::one>()); }
};

class Keeper {
 public:
  explicit Keeper(std::vector<int> numbers, const std::string& text) : numbers_(std::move(numbers)), text_(text) {}
  int sum() {
    int sum = static_cast<int>(text_.size());
    for (const int number : numbers_) sum += number;
    return sum;
  }
  void keep(ObjectRef<int> ref) { kept_ = ref; }
  int kept() { return rayx::get(kept_); }
  ObjectRef<int> give() { return kept_; }

 private:
  std::vector<int> numbers_;
  std::string text_;
  ObjectRef<int> kept_;
};

int add_there(const ActorHandle<Counter>& counter, int times) {
  int last = 0;
  for (int i = 0; i < times; ++i) last = rayx::get(counter.call<&Counter::add>(1));
  return last;
}
ActorHandle<Counter> hand_back(ActorHandle<Counter> counter) { return counter; }
int kill_there(const ActorHandle<Counter>& counter) {
  rayx::kill(counter);
  return 1;
}
int write_lines(const ActorHandle<Log>& log, int caller, int count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<ObjectRef<void>> written;
  for (int i = 0; i < count; ++i) {
    const std::size_t size = random() % 10 == 0 ? 300'000 : random() % 100;
    written.push_back(log.call<&Log::write>(caller, i, std::string(size, 'b')));
  }
  for (const auto& ref : written) rayx::get(ref);
  return caller;
}
int slow(int x) {
  for (int i = 0; i < 2'000; ++i) std::this_thread::yield();
  return x;
}
// 5, when the actor has died.
int open_when(const ActorHandle<Counter>& gate) {
  try {
    rayx::get(gate.call<&Counter::wait>());
  } catch (const rayx::ActorDied&) {
  }
  return 5;
}
bool is_gone(int pid) { return ::kill(pid, 0) != 0; }

std::string why_it_died(const ObjectRef<int>& ref) {
  try {
    rayx::get(ref);
  } catch (const rayx::ActorDied& error) {
    return error.what();
  }
  return "it lives";
}

// ---- Without a head: an actor lives where it was made

TEST(RelayActors, AHandleInsideAnArgumentCallsTheActorOfAnotherSite) {
  Sites sites;
  {
    const auto counter = rayx::actor<Counter>(5);
    EXPECT_EQ(rayx::get(counter.call<&Counter::add>(1)), 6);
    EXPECT_EQ(rayx::get(rayx::remote<add_there>(counter, 100)), 106);
    EXPECT_EQ(rayx::get(counter.call<&Counter::add>(1)), 107);
    const auto back = rayx::get(rayx::remote<hand_back>(counter));
    EXPECT_EQ(rayx::get(back.call<&Counter::add>(1)), 108);
  }
  sites.wait_until_nothing_is_shared();
}

TEST(RelayActors, AnActorIsKilledFromAnotherSite) {
  Sites sites;
  const auto counter = rayx::actor<Counter>();
  const auto waiting = counter.call<&Counter::wait>();
  EXPECT_EQ(rayx::get(rayx::remote<kill_there>(counter)), 1);
  EXPECT_THROW(rayx::get(waiting), rayx::ActorDied);
}

ActorHandle<Counter> make_there(int start) { return rayx::actor<Counter>(start); }

TEST(RelayActors, OneThatATaskHasMadeIsCalledFromTheDriverAndFromAThirdSite) {
  Sites sites({.others = 2, .cpus = 1});
  {
    const auto counter = rayx::get(rayx::remote<make_there>(10));
    EXPECT_EQ(rayx::get(counter.call<&Counter::add>(1)), 11);
    std::vector<ObjectRef<int>> added;
    for (int i = 0; i < 8; ++i) added.push_back(rayx::remote<add_there>(counter, 10));
    int most = 0;
    for (const auto& ref : added) most = std::max(most, rayx::get(ref));
    EXPECT_EQ(most, 91);
  }
  sites.wait_until_nothing_is_shared();
}

// ---- With a head

Sites::Options with_head(int others = 2, std::uint64_t delay_seed = 0) {
  return {.others = others, .cpus = 2, .is_mesh = true, .delay_seed = delay_seed};
}

TEST(RelayActors, ArePlacedOnTheNodesOfTheCluster) {
  Sites sites(with_head());
  {
    std::vector<ActorHandle<Counter>> counters;
    for (int i = 0; i < 4; ++i) counters.push_back(rayx::actor<Counter>(rayx::ActorOptions{.num_cpus = 1}, i));
    std::set<int> places;
    for (auto& counter : counters) places.insert(rayx::get(counter.call<&Counter::place>()));
    EXPECT_EQ(places.size(), 2u);
    for (int i = 0; i < 4; ++i)
      EXPECT_EQ(rayx::get(counters[static_cast<std::size_t>(i)].call<&Counter::add>(10)), i + 10);
  }
  sites.wait_until_nothing_is_shared();
}

TEST(RelayActors, ItsProcessEndsWithTheLastHandleAfterTheCallsMadeBefore) {
  Sites sites(with_head());
  int pid = 0;
  ObjectRef<int> last;
  {
    const auto counter = rayx::actor<Counter>();
    pid = rayx::get(counter.call<&Counter::pid>());
    for (int i = 0; i < 100; ++i) last = counter.call<&Counter::add>(1);
  }
  EXPECT_EQ(rayx::get(last), 100);
  while (!is_gone(pid)) std::this_thread::yield();
  sites.wait_until_nothing_is_shared();
}

TEST(RelayActors, ArgumentsResultsAndErrorsOfItsCallsCross) {
  Sites sites(with_head());
  const auto counter = rayx::actor<Counter>();
  for (const std::size_t size : {0u, 40u, 5'000u, 262'143u, 262'144u, 2'000'000u}) {
    const std::string text(size, 'x');
    EXPECT_EQ(rayx::get(counter.call<&Counter::twice>(text)), text + text) << size;
    EXPECT_EQ(rayx::get(counter.call<&Counter::twice>(rayx::put(text))), text + text) << size;
  }
  try {
    rayx::get(counter.call<&Counter::fail>(3));
    FAIL();
  } catch (const std::out_of_range& error) {
    EXPECT_THAT(error.what(), HasSubstr("there is no 3"));
  }
  EXPECT_EQ(rayx::get(counter.call<&Counter::add>(1)), 1);
}

TEST(RelayActors, ItsConstructorGetsValuesAndReferencesSmallAndLarge) {
  Sites sites(with_head());
  {
    const auto small = rayx::actor<Keeper>(std::vector<int>{1, 2}, std::string("abc"));
    EXPECT_EQ(rayx::get(small.call<&Keeper::sum>()), 6);
    const auto large =
        rayx::actor<Keeper>(rayx::put(std::vector<int>(200'000, 1)), rayx::put(std::string(1'000'000, 'x')));
    EXPECT_EQ(rayx::get(large.call<&Keeper::sum>()), 1'200'000);
    const auto later = rayx::actor<Keeper>(std::vector<int>{}, rayx::remote([] { return std::string(50, 'y'); }));
    EXPECT_EQ(rayx::get(later.call<&Keeper::sum>()), 50);
  }
  sites.wait_until_nothing_is_shared();
}

TEST(RelayActors, KeepsReferencesAndGivesThemBack) {
  Sites sites(with_head());
  {
    const auto keeper = rayx::actor<Keeper>(std::vector<int>{}, std::string());
    {
      const auto ref = rayx::put(77);
      rayx::get(keeper.call<&Keeper::keep>(ref));
    }
    EXPECT_EQ(rayx::get(keeper.call<&Keeper::kept>()), 77);
    EXPECT_EQ(rayx::get(rayx::get(keeper.call<&Keeper::give>())), 77);
  }
  sites.wait_until_nothing_is_shared();
}

TEST(RelayActors, OneWhoseConstructorThrowsSaysWhatItThrew) {
  Sites sites(with_head());
  const auto failed = rayx::actor<Throwing>(8);
  EXPECT_THAT(why_it_died(failed.call<&Throwing::get>()), HasSubstr("cannot be made of 8"));
  EXPECT_THAT(why_it_died(failed.call<&Throwing::get>()),
              AllOf(HasSubstr("Throwing"), HasSubstr("cannot be made of 8")));
}

TEST(RelayActors, OneThatCrashesFailsItsCallsWithTheCause) {
  Sites sites(with_head());
  const auto counter = rayx::actor<Counter>();
  EXPECT_EQ(rayx::get(counter.call<&Counter::add>(1)), 1);
  const auto dying = counter.call<&Counter::die>();
  const auto behind = counter.call<&Counter::add>(1);
  EXPECT_THAT(why_it_died(dying), AllOf(HasSubstr("SIGKILL"), HasSubstr("Counter died")));
  EXPECT_THAT(why_it_died(behind), HasSubstr("SIGKILL"));
  EXPECT_THAT(why_it_died(counter.call<&Counter::add>(1)), HasSubstr("SIGKILL"));
}

// Failed when each of the two handles had a queue of its own in the one lane: the calls in the first were never seen again.
TEST(RelayActors, CallsByAHandleThatComesAgainOverANewLinkStandBehindThoseBefore) {
  Sites sites(mesh_of(2, 2));
  {
    const auto caller = rayx::actor<Caller>(rayx::ActorOptions{.labels = on(1).labels});
    const rayx::ActorOptions there{.labels = on(2).labels};
    const auto gate = rayx::actor<Counter>(there);
    rayx::TaskOptions once = on(2);
    once.max_retries = 0;
    // It does not begin before the gate is open, so its lanes fill.
    const auto counter = rayx::actor<Counter>(there, rayx::remote<open_when>(once, gate));
    EXPECT_EQ(rayx::get(caller.call<&Caller::begin>(counter, 3)), 3);
    sites.relink(0, 1);
    EXPECT_EQ(rayx::get(caller.call<&Caller::begin>(counter, 2)), 5);
    rayx::kill(gate);
    EXPECT_THAT(rayx::get(caller.call<&Caller::end>()), testing::ElementsAre(6, 7, 8, 9, 10));
  }
  sites.wait_until_nothing_is_shared();
}

TEST(RelayActors, OneThatIsKilledEndsAndItsCallsFail) {
  Sites sites(with_head());
  const auto counter = rayx::actor<Counter>();
  const int pid = rayx::get(counter.call<&Counter::pid>());
  const auto waiting = counter.call<&Counter::wait>();
  const auto behind = counter.call<&Counter::add>(1);
  rayx::kill(counter);
  EXPECT_THROW(rayx::get(waiting), rayx::ActorDied);
  EXPECT_THAT(why_it_died(behind), HasSubstr("rayx::kill()"));
  EXPECT_THAT(why_it_died(counter.call<&Counter::add>(1)), HasSubstr("rayx::kill()"));
  while (!is_gone(pid)) std::this_thread::yield();
  const auto other = rayx::actor<Counter>();
  const int other_pid = rayx::get(other.call<&Counter::pid>());
  EXPECT_EQ(rayx::get(rayx::remote<kill_there>(other)), 1);
  while (!is_gone(other_pid)) std::this_thread::yield();
}

// Whether the task holds the handle before its maker's node has begun the actor is a race: both ends of it come up in 50 tries.
TEST(RelayActors, OneThatIsKilledBeforeItBeganIsDeadElsewhereAtOnce) {
  Sites sites(with_head());
  const rayx::base::SteadyClock clock;
  const rayx::base::TimeNs begin_ns = clock.now_ns();
  for (int i = 0; i < 50; ++i) {
    const auto counter = rayx::actor<Counter>();
    rayx::kill(counter);
    EXPECT_THROW(rayx::get(rayx::remote<add_there>(rayx::TaskOptions{.max_retries = 0}, counter, 1)), rayx::ActorDied);
  }
  EXPECT_LT(clock.now_ns() - begin_ns, 3'000'000'000);  // so long it was looked for, each time
}

// In a lane that is free again the next one may come before the end of the one before was heard of.
TEST(RelayActors, ThatFollowEachOtherInALaneAreEachHeardOf) {
  Sites sites(with_head());
  std::vector<ActorHandle<Counter>> counters;
  for (int i = 0; i < 600; ++i) {
    if (counters.size() == 4) counters.erase(counters.begin());
    counters.push_back(rayx::actor<Counter>(i));
    if (i % 3 == 0) {
      EXPECT_EQ(rayx::get(counters.back().call<&Counter::add>(1)), i + 1);
    }
  }
  counters.clear();
  sites.wait_until_nothing_is_shared();
}

TEST(RelayActors, OneWhoseConstructorWaitsForItsArgumentIsWaitedForElsewhere) {
  Sites sites(with_head());
  const auto gate = rayx::actor<Counter>();
  const auto opened = rayx::remote<open_when>(rayx::TaskOptions{.max_retries = 0}, gate);
  const auto counter = rayx::actor<Counter>(opened);
  const auto added = rayx::remote<add_there>(rayx::TaskOptions{.max_retries = 0}, counter, 1);
  // Longer than an actor is looked for whose maker is gone.
  EXPECT_TRUE(rayx::wait(std::vector{added}, {.count = 1, .timeout = std::chrono::milliseconds(3500)}).ready.empty());
  rayx::kill(gate);
  EXPECT_EQ(rayx::get(added), 6);
}

TEST(RelayActors, ItsHandleIsUsedByTasksOnEverySite) {
  Sites sites(with_head());
  {
    const auto counter = rayx::actor<Counter>();
    std::vector<ObjectRef<int>> added;
    for (int i = 0; i < 12; ++i) added.push_back(rayx::remote<add_there>(counter, 25));
    int most = 0;
    for (const auto& ref : added) most = std::max(most, rayx::get(ref));
    EXPECT_EQ(most, 12 * 25);
    EXPECT_EQ(rayx::get(rayx::get(rayx::remote<hand_back>(counter)).call<&Counter::add>(0)), 12 * 25);
  }
  sites.wait_until_nothing_is_shared();
}

TEST(RelayActors, ACallWhoseArgumentIsNotThereHoldsBackThoseOfItsCallerOnly) {
  Sites sites(with_head());
  const auto log = rayx::actor<Log>();
  const auto late = rayx::remote<slow>(1);
  rayx::get(log.call<&Log::write>(0, 0, std::string()));
  const auto first = log.call<&Log::write>(0, late, std::string());
  const auto second = log.call<&Log::write>(0, 2, std::string());
  rayx::get(rayx::remote<write_lines>(log, 1, 3, 1u));
  rayx::get(second);
  std::vector<int> mine;
  for (const auto& [caller, number] : rayx::get(log.call<&Log::lines>()))
    if (caller == 0) mine.push_back(number);
  EXPECT_EQ(mine, (std::vector<int>{0, 1, 2}));
}

TEST(RelayActors, CallsOfEachCallerRunInTheirOrderWhateverTheNetworkDoes) {
  constexpr int kCallers = 6;
  constexpr int kCalls = 120;
  for (std::uint64_t round = 0; round < 3; ++round) {
    const std::uint64_t seed = rayx::kit::seed() + round;
    SCOPED_TRACE(seed);
    Sites sites(with_head(2, seed | 1));
    const auto log = rayx::actor<Log>();
    std::vector<ObjectRef<int>> written;
    for (int caller = 1; caller < kCallers; ++caller)
      written.push_back(rayx::remote<write_lines>(log, caller, kCalls, seed + static_cast<std::uint64_t>(caller)));
    write_lines(log, 0, kCalls, seed);
    for (const auto& ref : written) rayx::get(ref);
    std::vector<int> next(kCallers);
    for (const auto& [caller, number] : rayx::get(log.call<&Log::lines>()))
      ASSERT_EQ(number, next[static_cast<std::size_t>(caller)]++) << caller;
    EXPECT_EQ(next, std::vector<int>(kCallers, kCalls));
  }
}

TEST(RelayActors, OneOnASiteThatIsLostDiesWithIt) {
  Sites sites(with_head(1));
  const auto counter = rayx::actor<Counter>();
  EXPECT_EQ(rayx::get(counter.call<&Counter::add>(1)), 1);
  const auto waiting = counter.call<&Counter::wait>();
  sites.cut(1);
  EXPECT_THROW(rayx::get(waiting), rayx::ActorDied);
  EXPECT_THAT(why_it_died(counter.call<&Counter::add>(1)), HasSubstr("Counter died"));
}

TEST(RelayActors, OneThatWaitsForItsOwnCallIsTold) {
  Sites sites(with_head());
  const auto selfish = rayx::actor<Selfish>();
  EXPECT_THROW(rayx::get(selfish.call<&Selfish::call_myself>(selfish)), rayx::InvalidArgument);
  EXPECT_EQ(rayx::get(selfish.call<&Selfish::one>()), 1);
}

TEST(RelayActors, OneThatFindsNoRoomWaitsForIt) {
  Sites sites(with_head(1));
  auto first = rayx::actor<Counter>(rayx::ActorOptions{.num_cpus = 2});
  EXPECT_EQ(rayx::get(first.call<&Counter::add>(1)), 1);
  const auto second = rayx::actor<Counter>(rayx::ActorOptions{.num_cpus = 2});
  const auto added = second.call<&Counter::add>(2);
  EXPECT_FALSE(rayx::try_get(added, std::chrono::milliseconds(50)));
  first = {};
  EXPECT_EQ(rayx::get(added), 2);
}

TEST(RelayActors, OneThatATaskMakesEndsWithItsWorker) {
  Sites sites(with_head());
  const auto made = rayx::get(rayx::remote([] { return rayx::actor<Counter>(3); }));
  EXPECT_EQ(rayx::get(made.call<&Counter::add>(4)), 7);
}

}  // namespace
