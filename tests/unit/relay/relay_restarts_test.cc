// Actors that are made anew when their process or their site dies, and actors that are found by their names: several sites, with the
// real head and members in one process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <random>
#include <rayx/rayx.hpp>
#include <string>
#include <thread>
#include <vector>

#include "counter.hpp"
#include "kit/seed.hpp"
#include "sites.hpp"

namespace {

using rayx::ActorHandle;
using rayx::ActorOptions;
using rayx::ObjectRef;
using rayx::relay::test::Counter;
using rayx::relay::test::Sites;
using testing::AllOf;
using testing::HasSubstr;

struct Other {
  int five() { return 5; }
};

// The numbers that it was given, which must ascend: what was lost with an incarnation may be missing, and nothing else.
class Ordered {
 public:
  int write(int number) {
    in_order_ = in_order_ && number > last_;
    last_ = number;
    return in_order_ ? number : -number;
  }
  void die_once(const std::string& file) {
    if (::access(file.c_str(), F_OK) == 0 && ::unlink(file.c_str()) == 0) ::raise(SIGKILL);
  }
  int pid() { return ::getpid(); }

 private:
  int last_ = 0;
  bool in_order_ = true;
};

int add_by_name(const std::string& name, int x) {
  return rayx::get(rayx::get_actor<Counter>(name).call<&Counter::add>(x));
}
ActorHandle<Counter> find(const std::string& name) { return rayx::get_actor<Counter>(name); }

template <class E, class Call>
std::string text_thrown_by(Call&& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another class of error: ") + error.what();
  }
  return "nothing was thrown";
}

TEST(Restarts, AnActorWhoseProcessDiesIsMadeAnewAsOftenAsItMayBe) {
  Sites sites({.others = 2, .is_mesh = true});
  auto counter = rayx::actor<Counter>(ActorOptions{.max_restarts = 2}, 10);
  for (int life = 0; life < 3; ++life) {
    EXPECT_EQ(rayx::get(counter.call<&Counter::add>(5)), 15) << "what it had in memory is lost";
    const std::string text = text_thrown_by<rayx::ActorDied>([&] { rayx::get(counter.call<&Counter::die>()); });
    if (life < 2) {
      EXPECT_THAT(text, AllOf(HasSubstr("signal 9"), HasSubstr("max_task_retries")));
    } else {
      EXPECT_THAT(text, HasSubstr("signal 9"));
    }
  }
  EXPECT_THAT(text_thrown_by<rayx::ActorDied>([&] { rayx::get(counter.call<&Counter::add>(1)); }),
              AllOf(HasSubstr("signal 9"), HasSubstr("make a new one")));
}

TEST(Restarts, AnActorWhoseSiteIsLostIsMadeAnewOnAnother) {
  Sites sites({.others = 2, .is_mesh = true});
  const ObjectRef<int> start = rayx::put(7);
  auto counter = rayx::actor<Counter>(ActorOptions{.max_restarts = -1, .max_task_retries = -1}, start);
  const int place = rayx::get(counter.call<&Counter::place>());
  const int pid = rayx::get(counter.call<&Counter::pid>());
  sites.cut(sites.actors(1) != 0 ? 1 : 2);
  EXPECT_EQ(rayx::get(counter.call<&Counter::add>(1)), 8) << "made of the same argument";
  EXPECT_NE(rayx::get(counter.call<&Counter::place>()), place);
  EXPECT_NE(rayx::get(counter.call<&Counter::pid>()), pid);
}

TEST(Restarts, KillIsTheEndAllTheSame) {
  Sites sites({.others = 1, .is_mesh = true});
  auto counter = rayx::actor<Counter>(ActorOptions{.max_restarts = -1}, 1);
  EXPECT_EQ(rayx::get(counter.call<&Counter::add>(1)), 2);
  rayx::kill(counter);
  EXPECT_THAT(text_thrown_by<rayx::ActorDied>([&] { rayx::get(counter.call<&Counter::add>(1)); }),
              HasSubstr("rayx::kill() ended it"));
}

TEST(Restarts, ItsLastHandleIsTheEndAllTheSame) {
  Sites sites({.others = 1, .is_mesh = true});
  int pid = 0;
  {
    auto counter = rayx::actor<Counter>(ActorOptions{.max_restarts = -1}, 1);
    pid = rayx::get(counter.call<&Counter::pid>());
  }
  while (::kill(pid, 0) == 0) std::this_thread::yield();
  sites.wait_until_nothing_is_shared();
}

// Calls are made again in their order, and before those that were made later.
TEST(Restarts, CallsThatAreTriedAgainKeepTheirOrder) {
  std::mt19937_64 random(rayx::kit::seed());
  for (int round = 0; round < 3; ++round) {
    Sites sites({.others = 2, .is_mesh = true, .delay_seed = random() | 1});
    auto ordered = rayx::actor<Ordered>(ActorOptions{.max_restarts = -1, .max_task_retries = -1});
    std::vector<ObjectRef<int>> written;
    int pid = 0;
    for (int number = 1; number <= 600; ++number) {
      written.push_back(ordered.call<&Ordered::write>(number));
      if (number % 150 != 0) continue;
      pid = rayx::get(ordered.call<&Ordered::pid>());
      for (int more = 0; more < 50; ++more) written.push_back(ordered.call<&Ordered::write>(++number));
      ::kill(pid, SIGKILL);
    }
    for (std::size_t i = 0; i < written.size(); ++i) EXPECT_EQ(rayx::get(written[i]), static_cast<int>(i) + 1);
  }
}

TEST(Names, AnActorIsFoundByItsNameOnEverySite) {
  Sites sites({.others = 2, .is_mesh = true});
  auto counter = rayx::actor<Counter>(ActorOptions{.name = "the counter"}, 100);
  EXPECT_EQ(rayx::get(counter.call<&Counter::add>(1)), 101);
  EXPECT_EQ(rayx::get(rayx::get_actor<Counter>("the counter").call<&Counter::add>(1)), 102);
  int last = 102;
  std::vector<ObjectRef<int>> added;
  for (int i = 0; i < 20; ++i) added.push_back(rayx::remote<add_by_name>(std::string("the counter"), 1));
  for (const auto& ref : added) last = std::max(last, rayx::get(ref));
  EXPECT_EQ(last, 122);
  // A handle that was found goes on as any other.
  auto found = rayx::get(rayx::remote<find>(std::string("the counter")));
  EXPECT_EQ(rayx::get(found.call<&Counter::add>(1)), 123);
  found = {};
  while (sites.proxies(0) != 0) std::this_thread::yield();
  EXPECT_EQ(rayx::get(counter.call<&Counter::add>(1)), 124) << "the maker's handle is another one";
}

TEST(Names, OneThatNobodyHasIsNotFound) {
  Sites sites({.others = 1, .is_mesh = true});
  EXPECT_THAT(text_thrown_by<rayx::NotFound>([] { (void)rayx::get_actor<Counter>("nobody"); }),
              AllOf(HasSubstr("rayx: get_actor"), HasSubstr("\"nobody\"")));
  auto counter = rayx::actor<Counter>(ActorOptions{.name = "somebody"}, 1);
  EXPECT_EQ(rayx::get(rayx::get_actor<Counter>("somebody").call<&Counter::add>(1)), 2);
  auto found = rayx::get_actor<Counter>("somebody");
  counter = {};  // the found handle keeps nobody alive
  EXPECT_THAT(text_thrown_by<rayx::ActorDied>([&] {
                for (;;) rayx::get(found.call<&Counter::add>(1));
              }),
              HasSubstr("died"));
  EXPECT_THROW((void)rayx::get_actor<Counter>("somebody"), rayx::NotFound);
}

TEST(Names, ASecondOneIsRefusedOrIsTheFirst) {
  Sites sites({.others = 2, .is_mesh = true});
  auto first = rayx::actor<Counter>(ActorOptions{.name = "one"}, 10);
  EXPECT_EQ(rayx::get(first.call<&Counter::add>(1)), 11);
  auto second = rayx::actor<Counter>(ActorOptions{.name = "one"}, 20);
  EXPECT_THAT(text_thrown_by<rayx::ActorDied>([&] { rayx::get(second.call<&Counter::add>(1)); }),
              AllOf(HasSubstr("\"one\""), HasSubstr("get_if_exists")));
  auto third = rayx::actor<Counter>(ActorOptions{.name = "one", .get_if_exists = true}, 30);
  EXPECT_EQ(rayx::get(third.call<&Counter::add>(1)), 12);
  third = {};
  second = {};
  EXPECT_EQ(rayx::get(first.call<&Counter::add>(1)), 13) << "the handle that was found ends nothing";
  auto fresh = rayx::actor<Counter>(ActorOptions{.name = "two", .get_if_exists = true}, 30);
  EXPECT_EQ(rayx::get(fresh.call<&Counter::add>(1)), 31);
}

TEST(Names, AnActorThatIsMadeAnewKeepsItsName) {
  Sites sites({.others = 2, .is_mesh = true});
  auto counter = rayx::actor<Counter>(ActorOptions{.name = "phoenix", .max_restarts = 1}, 10);
  EXPECT_THROW(rayx::get(counter.call<&Counter::die>()), rayx::ActorDied);
  EXPECT_EQ(rayx::get(rayx::remote<add_by_name>(std::string("phoenix"), 5)), 15);
}

TEST(Names, AnotherClassIsRefusedByEachCall) {
  Sites sites({.others = 1, .is_mesh = true});
  auto counter = rayx::actor<Counter>(ActorOptions{.name = "counter"}, 1);
  auto other = rayx::get_actor<Other>("counter");
  EXPECT_THAT(text_thrown_by<rayx::InvalidArgument>([&] { rayx::get(other.call<&Other::five>()); }),
              AllOf(HasSubstr("Other::five"), HasSubstr("get_actor<"), HasSubstr("Counter")));
  EXPECT_EQ(rayx::get(counter.call<&Counter::add>(1)), 2);
}

TEST(Names, NeedAHead) {
  Sites sites({.others = 1});
  EXPECT_THAT(text_thrown_by<rayx::SystemError>([] { (void)rayx::actor<Counter>(ActorOptions{.name = "x"}, 1); }),
              AllOf(HasSubstr("no head"), HasSubstr("rayx start --head")));
  EXPECT_THAT(text_thrown_by<rayx::SystemError>([] { (void)rayx::get_actor<Counter>("x"); }),
              HasSubstr("rayx start --head"));
}

}  // namespace
