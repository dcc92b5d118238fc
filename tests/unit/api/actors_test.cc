// Actors: state, order, handles, ends.
#include "door_test_kit.hpp"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <thread>

namespace rayx {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

struct Counter {
  int n = 0;
  int add(int k) { return n += k; }
  int value() const noexcept { return n; }
  int pid() { return ::getpid(); }
  int fail() { throw std::out_of_range("no such entry"); }
};

struct Log {
  std::vector<std::pair<int, int>> lines;
  void write(int caller, int number) { lines.emplace_back(caller, number); }
  std::vector<std::pair<int, int>> all() { return lines; }
};

class Account {
 public:
  Account(std::string owner, int amount) : owner_(std::move(owner)), amount_(amount) {
    if (amount < 0) throw std::invalid_argument("an account begins with 0 or more");
  }
  std::string owner() const { return owner_; }
  int withdraw(int amount) {
    if (amount > amount_) throw std::runtime_error(owner_ + " has only " + std::to_string(amount_));
    return amount_ -= amount;
  }
  std::unique_ptr<int> close(std::unique_ptr<int> fee) { return std::make_unique<int>(amount_ - *fee); }

 private:
  std::string owner_;
  int amount_;
};

struct Base {
  int of_base() const { return 1; }
};
struct Derived : Base {
  int of_derived() { return of_base() + 1; }
};

// Itself an owner of actors and objects.
struct Foreman {
  ActorHandle<Counter> worker = actor<Counter>();
  int delegate(int k) { return get(worker.call<&Counter::add>(k)); }
  ActorHandle<Counter> hand_out() { return worker; }
  int pid_of_worker() { return get(worker.call<&Counter::pid>()); }
};

int slow_seven() {
  ::poll(nullptr, 0, 20);
  return 7;
}
int add_through(ActorHandle<Counter> counter, int k) { return get(counter.call<&Counter::add>(k)); }
int add_by_name(const std::string& name, int k) { return get(get_actor<Counter>(name).call<&Counter::add>(k)); }
int add_through_many(const std::vector<ActorHandle<Counter>>& counters, int k) {
  int sum = 0;
  for (const auto& counter : counters) sum += get(counter.call<&Counter::add>(k));
  return sum;
}
int never() { throw std::logic_error("the argument failed"); }

// Is given its own handle.
struct Narcissus {
  using Handle = ActorHandle<Narcissus>;
  int one() { return 1; }
  int get_own(Handle me) { return get(me.call<&Narcissus::one>()); }
  int wait_for_own(Handle me) {
    return static_cast<int>(wait(std::vector{me.call<&Narcissus::one>(), me.call<&Narcissus::one>()}).ready.size());
  }
  int get_given(const std::vector<ObjectRef<int>>& own) { return get(own[0]); }
  int look_at_own(Handle me) {
    std::vector own{me.call<&Narcissus::one>()};
    return static_cast<int>(wait(std::move(own), {.timeout = std::chrono::milliseconds(1)}).ready.size());
  }
  int wait_for_any(Handle me) {
    return static_cast<int>(wait(std::vector{me.call<&Narcissus::one>(), remote<slow_seven>()}).ready.size());
  }
  ObjectRef<int> hand_out(Handle me) { return me.call<&Narcissus::one>(); }
  int drop_own(Handle me) {
    (void)me.call<&Narcissus::one>();
    return 2;
  }
};

using Actors = DoorTest;

TEST_F(Actors, KeepStateBetweenCalls) {
  auto counter = actor<Counter>();
  EXPECT_EQ(get(counter.call<&Counter::add>(3)), 3);
  EXPECT_EQ(get(counter.call<&Counter::add>(4)), 7);
  EXPECT_EQ(get(counter.call<&Counter::value>()), 7);
}

TEST_F(Actors, RunInProcessesOfTheirOwn) {
  if (is_local()) GTEST_SKIP() << "there is one process";
  auto a = actor<Counter>();
  auto b = actor<Counter>();
  const int pid_of_a = get(a.call<&Counter::pid>());
  EXPECT_NE(pid_of_a, get(b.call<&Counter::pid>()));
  EXPECT_NE(pid_of_a, ::getpid());
  EXPECT_EQ(pid_of_a, get(a.call<&Counter::pid>()));
}

TEST_F(Actors, TakeConstructorArgumentsAndMoveOnlyOnes) {
  auto account = actor<Account>("Ada", 100);
  EXPECT_EQ(get(account.call<&Account::owner>()), "Ada");
  EXPECT_EQ(get(account.call<&Account::withdraw>(30)), 70);
  EXPECT_EQ(*get(account.call<&Account::close>(std::make_unique<int>(5))), 65);
  auto later = actor<Account>("Bob", remote<slow_seven>());  // awaited like an argument of a task
  EXPECT_EQ(get(later.call<&Account::withdraw>(2)), 5);
}

TEST_F(Actors, HaveTheMethodsOfTheirBaseClass) {
  auto derived = actor<Derived>();
  EXPECT_EQ(get(derived.call<&Derived::of_base>()), 1);
  EXPECT_EQ(get(derived.call<&Derived::of_derived>()), 2);
}

TEST_F(Actors, RunTheCallsOfOneThreadInOrder) {
  auto log = actor<Log>();
  std::vector<std::thread> threads;
  for (int caller = 0; caller < 4; ++caller)
    threads.emplace_back([&, caller] {
      for (int i = 0; i < 500; ++i) (void)log.call<&Log::write>(caller, i);
    });
  for (std::thread& thread : threads) thread.join();
  const auto lines = get(log.call<&Log::all>());
  ASSERT_EQ(lines.size(), 2000u);
  int next[4] = {};
  for (const auto& [caller, number] : lines) EXPECT_EQ(number, next[caller]++);
}

TEST_F(Actors, HoldBackACallersLaterCallsWhileAnArgumentIsNotReady) {
  auto log = actor<Log>();
  (void)log.call<&Log::write>(0, 0);
  (void)log.call<&Log::write>(0, remote<slow_seven>());
  (void)log.call<&Log::write>(0, 8);
  std::thread([&] { get(log.call<&Log::write>(1, 0)); }).join();  // another caller does not wait for it
  auto lines = get(log.call<&Log::all>());
  const auto others =
      std::stable_partition(lines.begin(), lines.end(), [](const auto& line) { return line.first == 0; });
  EXPECT_EQ(lines.end() - others, 1);
  EXPECT_THAT(std::vector(lines.begin(), others), ElementsAre(std::pair(0, 0), std::pair(0, 7), std::pair(0, 8)));
}

TEST_F(Actors, GoOnAfterACallWhoseArgumentFailed) {
  auto counter = actor<Counter>();
  auto failed = counter.call<&Counter::add>(remote<never>());
  auto next = counter.call<&Counter::add>(1);
  EXPECT_THAT(text_thrown_by<std::logic_error>([&] { get(failed); }), HasSubstr("the argument failed"));
  EXPECT_EQ(get(next), 1);
}

TEST_F(Actors, ThrowWhatTheirMethodsThrowAndLiveOn) {
  auto account = actor<Account>("Ada", 10);
  EXPECT_EQ(text_thrown_by<std::runtime_error>([&] { get(account.call<&Account::withdraw>(11)); }), "Ada has only 10");
  EXPECT_EQ(get(account.call<&Account::withdraw>(10)), 0);
}

TEST_F(Actors, WhoseConstructorThrowsFailEachCall) {
  auto account = actor<Account>("Ada", -1);
  for (int i = 0; i < 2; ++i)
    EXPECT_THAT(text_thrown_by<ActorDied>([&] { get(account.call<&Account::owner>()); }),
                AllOf(HasSubstr("Account"), HasSubstr("constructor threw std::invalid_argument"),
                      HasSubstr("an account begins with 0 or more")));
}

TEST_F(Actors, WhoseConstructorsArgumentFailedFailEachCall) {
  auto account = actor<Account>("Ada", remote<never>());
  auto early = account.call<&Account::owner>();
  EXPECT_THAT(text_thrown_by<ActorDied>([&] { get(early); }),
              AllOf(HasSubstr("Account"), HasSubstr("never"), HasSubstr("the argument failed")));
  EXPECT_THAT(text_thrown_by<ActorDied>([&] { get(account.call<&Account::owner>()); }),
              HasSubstr("the argument failed"));
}

TEST_F(Actors, AreCalledInOrderWhileTheirConstructorWaits) {
  auto account = actor<Account>("Ada", remote<slow_seven>());
  std::vector<ObjectRef<int>> results;
  for (int i = 0; i < 7; ++i) results.push_back(account.call<&Account::withdraw>(1));
  EXPECT_EQ(get(results), (std::vector{6, 5, 4, 3, 2, 1, 0}));
}

TEST_F(Actors, AreNamedInErrors) {
  auto account = actor<Account>(ActorOptions{.name = "savings"}, "Ada", 1);
  kill(account);
  EXPECT_THAT(text_thrown_by<ActorDied>([&] { get(account.call<&Account::owner>()); }),
              AllOf(HasSubstr("savings"), HasSubstr("rayx::kill() ended it")));
}

TEST_F(Actors, PassHandlesToTasksAndActors) {
  auto counter = actor<Counter>();
  EXPECT_EQ(get(remote<add_through>(counter, 2)), 2);
  EXPECT_EQ(get(remote<add_through_many>(std::vector{counter, counter}, 3)), 5 + 8);
  auto foreman = actor<Foreman>();
  EXPECT_EQ(get(foreman.call<&Foreman::delegate>(4)), 4);
  auto worker = get(foreman.call<&Foreman::hand_out>());
  EXPECT_EQ(get(worker.call<&Counter::add>(1)), 5);
  EXPECT_EQ(get(foreman.call<&Foreman::delegate>(1)), 6);
}

TEST_F(Actors, EndAfterTheCallsThatWereMadeWhenTheLastHandleGoes) {
  std::vector<ObjectRef<int>> results;
  {
    auto counter = actor<Counter>();
    for (int i = 0; i < 1000; ++i) results.push_back(counter.call<&Counter::add>(1));
  }
  const std::vector<int> values = get(results);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(values[static_cast<std::size_t>(i)], i + 1);
}

// Also for those who never called them before.
TEST_F(Actors, EndWithTheProcessThatMadeThem) {
  if (is_local()) GTEST_SKIP() << "there is one process";
  for (const bool was_called : {false, true}) {
    auto foreman = actor<Foreman>();
    const auto worker = get(foreman.call<&Foreman::hand_out>());
    const pid_t pid = get(foreman.call<&Foreman::pid_of_worker>());
    if (was_called) {
      EXPECT_EQ(get(worker.call<&Counter::add>(2)), 2);
    }
    kill(foreman);
    while (::kill(pid, 0) == 0) std::this_thread::yield();
    EXPECT_THAT(text_thrown_by<ActorDied>([&] { get(worker.call<&Counter::add>(1), std::chrono::seconds(20)); }),
                HasSubstr("the process that made it has ended"));
  }
}

TEST_F(Actors, AreKilledOnceAndForAll) {
  auto counter = actor<Counter>();
  EXPECT_EQ(get(counter.call<&Counter::add>(1)), 1);
  kill(counter);
  kill(counter);
  EXPECT_THAT(text_thrown_by<ActorDied>([&] { get(counter.call<&Counter::add>(1)); }), HasSubstr("Counter"));
  auto another = actor<Counter>();
  EXPECT_EQ(get(another.call<&Counter::add>(1)), 1);
}

TEST_F(Actors, RefuseOptionsThatCannotBe) {
  EXPECT_THAT(text_thrown_by<InvalidArgument>([] { (void)actor<Counter>(ActorOptions{.num_cpus = -1}); }),
              HasSubstr("ActorOptions::num_cpus"));
  EXPECT_THAT(text_thrown_by<InvalidArgument>([] { (void)actor<Counter>(ActorOptions{.num_cpus = 3}); }),
              HasSubstr("ActorOptions::num_cpus is 3, and the runtime has 2 in all: the actor could never run"));
}

TEST_F(Actors, AreFoundByTheirNames) {
  auto counter = actor<Counter>(ActorOptions{.name = "the counter"});
  EXPECT_EQ(get(counter.call<&Counter::add>(1)), 1);
  EXPECT_EQ(get(get_actor<Counter>("the counter").call<&Counter::add>(1)), 2);
  EXPECT_EQ(get(remote<add_by_name>(std::string("the counter"), 1)), 3);
  EXPECT_THAT(text_thrown_by<NotFound>([] { (void)get_actor<Counter>("another"); }),
              AllOf(HasSubstr("rayx: get_actor"), HasSubstr("\"another\"")));
  auto other = get_actor<Account>("the counter");
  EXPECT_THAT(text_thrown_by<InvalidArgument>([&] { get(other.call<&Account::owner>()); }),
              AllOf(HasSubstr("Account"), HasSubstr("get_actor<"), HasSubstr("Counter")));
  auto same = actor<Counter>(ActorOptions{.name = "the counter", .get_if_exists = true});
  EXPECT_EQ(get(same.call<&Counter::add>(1)), 4);
  auto second = actor<Counter>(ActorOptions{.name = "the counter"});
  EXPECT_THAT(text_thrown_by<ActorDied>([&] { get(second.call<&Counter::add>(1)); }), HasSubstr("get_if_exists"));
  kill(counter);
  EXPECT_THROW((void)get_actor<Counter>("the counter"), NotFound);
  auto fresh = actor<Counter>(ActorOptions{.name = "the counter"});
  EXPECT_EQ(get(fresh.call<&Counter::add>(1)), 1);
}

TEST_F(Actors, NeedNoHandleAsLongAsTheyAreDetachedAndEndWithKill) {
  (void)get(actor<Counter>(ActorOptions{.name = "the counter", .detached = true}).call<&Counter::add>(1));
  auto same = actor<Counter>(ActorOptions{.name = "the counter", .get_if_exists = true, .detached = true});
  EXPECT_EQ(get(same.call<&Counter::add>(1)), 2);
  same = {};
  auto counter = get_actor<Counter>("the counter");
  EXPECT_EQ(get(counter.call<&Counter::add>(1)), 3);
  kill(counter);
  EXPECT_THROW((void)get_actor<Counter>("the counter"), NotFound);
}

TEST_F(Actors, AreMadeAnewWhenTheirProcessDies) {
  if (is_local()) GTEST_SKIP() << "there is one process";
  auto counter = actor<Counter>(ActorOptions{.max_restarts = 2, .max_task_retries = -1});
  for (int life = 0; life < 3; ++life) {
    EXPECT_EQ(get(counter.call<&Counter::add>(5)), 5) << "what it had in memory is lost";
    const int pid = get(counter.call<&Counter::pid>());
    ASSERT_EQ(::kill(pid, SIGKILL), 0);
    while (::kill(pid, 0) == 0) std::this_thread::yield();
  }
  EXPECT_THAT(text_thrown_by<ActorDied>([&] { get(counter.call<&Counter::add>(1)); }), HasSubstr("signal 9"));
}

TEST_F(Actors, RefuseNamesAndTriesThatCannotBe) {
  const auto refused = [](const ActorOptions& options) {
    return text_thrown_by<InvalidArgument>([&] { (void)actor<Counter>(options); });
  };
  EXPECT_THAT(refused({.name = std::string(256, 'n')}), HasSubstr("ActorOptions::name has 256 bytes"));
  EXPECT_THAT(refused({.get_if_exists = true}), HasSubstr("ActorOptions::get_if_exists"));
  EXPECT_THAT(refused({.detached = true}), HasSubstr("ActorOptions::detached"));
  EXPECT_THAT(refused({.max_restarts = -2}), HasSubstr("ActorOptions::max_restarts is -2"));
  EXPECT_THAT(refused({.max_task_retries = -2}), HasSubstr("ActorOptions::max_task_retries is -2"));
}

TEST_F(Actors, MoreThanThereAreCpusRunBesideEachOther) {
  std::vector<ActorHandle<Counter>> counters;
  for (int i = 0; i < 20; ++i) counters.push_back(actor<Counter>());
  std::vector<ObjectRef<int>> results;
  for (auto& counter : counters) results.push_back(counter.call<&Counter::add>(1));
  EXPECT_EQ(get(results), std::vector<int>(20, 1));
}

TEST_F(Actors, EmptyHandlesAreRefused) {
  const ActorHandle<Counter> none;
  EXPECT_THAT(text_thrown_by<InvalidArgument>([&] { (void)none.call<&Counter::value>(); }), HasSubstr("call"));
}

TEST_F(Actors, ThatWaitForTheirOwnCallGetAnError) {
  auto it = actor<Narcissus>();
  const auto is_told = HasSubstr("an actor waits for its own call");
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(text_thrown_by<InvalidArgument>([&] { get(it.call<&Narcissus::get_own>(it)); }), is_told);
    EXPECT_THAT(text_thrown_by<InvalidArgument>([&] { get(it.call<&Narcissus::wait_for_own>(it)); }), is_told);
    EXPECT_EQ(get(it.call<&Narcissus::one>()), 1) << "it goes on";
  }
}

TEST_F(Actors, MayUseTheirOwnCallsInEveryOtherWay) {
  auto it = actor<Narcissus>();
  EXPECT_EQ(get(it.call<&Narcissus::look_at_own>(it)), 0) << "it is not run meanwhile";
  EXPECT_EQ(get(it.call<&Narcissus::wait_for_any>(it)), 1);
  EXPECT_EQ(get(get(it.call<&Narcissus::hand_out>(it))), 1);
  EXPECT_EQ(get(it.call<&Narcissus::drop_own>(it)), 2);
  const ObjectRef<int> done = it.call<&Narcissus::one>();
  EXPECT_EQ(get(it.call<&Narcissus::get_given>(std::vector{done})), 1) << "it was made before";
  kill(it);
}

}  // namespace
}  // namespace rayx
