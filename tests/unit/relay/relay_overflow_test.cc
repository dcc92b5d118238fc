// Tasks that tasks make, on a cluster whose nodes have CPUs: what one node does not get to is done by others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <rayx/rayx.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "meeting.hpp"
#include "node/shared_cpus.hpp"
#include "sites.hpp"

namespace {

using rayx::ObjectRef;
using rayx::TaskOptions;
using rayx::relay::test::Counters;
using rayx::relay::test::meet;
using rayx::relay::test::Meeting;
using rayx::relay::test::Sites;

std::vector<int> meet_all(const std::string& meeting, int count, double cpus) {
  std::vector<ObjectRef<int>> there;
  for (int i = 0; i < count; ++i)
    there.push_back(rayx::remote<meet>(TaskOptions{.num_cpus = cpus, .max_retries = 0}, meeting, count));
  return rayx::get(there);
}

Sites::Options mesh(int others, int cpus) { return {.others = others, .cpus = cpus, .is_mesh = true}; }

TEST(RelayOverflow, WhatANodeDoesNotGetToIsDoneWhereCpusAreIdle) {
  const Meeting meeting;
  Sites sites(mesh(3, 2));
  const std::vector<int> places = rayx::get(rayx::remote<meet_all>(meeting.path(), 6, 1.0));
  EXPECT_EQ(std::set(places.begin(), places.end()).size(), 3u);
}

TEST(RelayOverflow, ATaskThatIsTooLargeForItsNodeGoesToALargerOne) {
  const Meeting meeting;
  Sites sites(mesh(1, 2));
  const auto small = rayx::remote<meet_all>(meeting.path(), 1, 1.0);  // so that there are workers
  ASSERT_EQ(rayx::get(small).size(), 1u);
  sites.add_site(5);
  std::set<int> places;
  for (int i = 0; i < 4; ++i) {
    const Meeting other;
    for (const int place : rayx::get(rayx::remote<meet_all>(other.path(), 1, 5.0))) places.insert(place);
  }
  EXPECT_EQ(places.size(), 1u);
}

TEST(RelayOverflow, ANodeThatComesIsUsedByTasksThatWaitAlready) {
  const Meeting meeting;
  Sites sites(mesh(1, 2));
  const auto all = rayx::remote<meet_all>(meeting.path(), 4, 1.0);
  Counters counters(meeting.path());
  while (counters.at(0).load() < 2) std::this_thread::yield();  // its node is full
  sites.add_site(2);
  const std::vector<int> places = rayx::get(all);
  EXPECT_EQ(std::set(places.begin(), places.end()).size(), 2u);
}

// Another job of a node: it wants all CPUs, and uses what it gets.
class OtherJob {
 public:
  explicit OtherJob(rayx::node::SharedCpus& cpus) : member_(cpus, [] {}) {
    wish_.wanted = cpus.total();
    wish_.step = wish_.least = rayx::sched::kUnitsOfOneCpu;
    look();
    thread_ = std::thread([this] {
      for (; !is_over_.load(); std::this_thread::yield())
        if (member_.is_called() || clock_.now_ns() >= again_ns_) look();
    });
  }
  ~OtherJob() {
    is_over_ = true;
    thread_.join();
  }

 private:
  void look() {
    for (int turn = 0; turn < 2; ++turn) {
      const rayx::sched::Share share = member_.report(wish_, clock_.now_ns());
      wish_.used = share.limit;
      again_ns_ = share.look_again_ns;
    }
  }

  const rayx::base::SteadyClock clock_;
  rayx::node::SharedCpus::Member member_;
  rayx::sched::Wish wish_;
  rayx::base::TimeNs again_ns_ = 0;
  std::atomic<bool> is_over_{false};
  std::thread thread_;
};

// Else one of three tasks would wait there for the CPU that another job has, beside one that is idle elsewhere.
TEST(RelayOverflow, ANodeThatOtherJobsUseGetsWhatItHasForThisOne) {
  const Meeting meeting;
  const auto cpus = std::make_shared<rayx::node::SharedCpus>(2 * rayx::sched::kUnitsOfOneCpu);
  const OtherJob other(*cpus);
  Sites sites({.others = 2, .cpus = 2, .shared_cpus = cpus});
  while (sites.units_for_job() != 3 * rayx::sched::kUnitsOfOneCpu) std::this_thread::yield();
  EXPECT_EQ(meet_all(meeting.path(), 3, 1.0).size(), 3u);
}

// Makes many that are long, and looks how many are done at a time.
int hold_cpu(int milliseconds) {
  const rayx::base::SteadyClock clock;
  for (const rayx::base::TimeNs begin = clock.now_ns(); clock.now_ns() - begin < milliseconds * 1'000'000LL;)
    std::this_thread::yield();
  return ::getppid();
}
std::vector<int> hold_cpus(int tasks, int milliseconds, int retries) {
  std::vector<ObjectRef<int>> held;
  for (int i = 0; i < tasks; ++i)
    held.push_back(rayx::remote<hold_cpu>(TaskOptions{.max_retries = retries}, milliseconds));
  return rayx::get(held);
}

TEST(RelayOverflow, EachOfManyIsDoneOnceAndNothingStaysBehind) {
  Sites sites(mesh(3, 1));
  const std::vector<int> places = rayx::get(rayx::remote<hold_cpus>(60, 5, 0));
  EXPECT_EQ(places.size(), 60u);
  EXPECT_EQ(std::set(places.begin(), places.end()).size(), 3u);
  sites.wait_until_nothing_is_shared();
}

// What a lost node had is done again by whoever made it.
TEST(RelayOverflow, WhatWasAtALostNodeIsDoneAgain) {
  const Meeting meeting;
  Sites sites({.others = 3, .cpus = 1, .is_mesh = true});
  const auto held = rayx::remote<hold_cpus>(TaskOptions{.max_retries = 5}, 40, 10, 5);
  const auto more = rayx::remote<hold_cpus>(TaskOptions{.max_retries = 5}, 40, 10, 5);
  static_cast<void>(rayx::wait(std::vector{held}, {.count = 1, .timeout = std::chrono::milliseconds(60)}));
  sites.cut(3);
  EXPECT_EQ(rayx::get(held).size(), 40u);
  EXPECT_EQ(rayx::get(more).size(), 40u);
}

// Each of these has the only CPU of the other site, and waits for what the driver has not sent yet.
class Gate {
 public:
  int wait(const std::string& meeting) {
    Counters counters(meeting);
    while (counters.at(1).load() == 0) std::this_thread::yield();
    return 5;
  }
};
int read_inside(const std::vector<ObjectRef<int>>& refs) {
  int sum = 0;
  for (const auto& ref : refs) sum += rayx::get(ref);
  return sum;
}
int twice(int x) { return 2 * x; }

TEST(RelayOverflow, ATaskThatWaitsMakesRoomForWhatItWaitsFor) {
  const Meeting meeting;
  Sites sites(mesh(1, 1));
  const auto gate = rayx::actor<Gate>();
  const auto opened = gate.call<&Gate::wait>(meeting.path());
  std::vector<ObjectRef<int>> later;
  for (int i = 0; i < 3; ++i) later.push_back(rayx::remote<twice>(opened));  // not queued before the gate is open
  std::vector<ObjectRef<int>> readers;
  for (int i = 0; i < 3; ++i) readers.push_back(rayx::remote<read_inside>(later));
  EXPECT_TRUE(rayx::wait(readers, {.count = 1, .timeout = std::chrono::milliseconds(100)}).ready.empty());
  Counters(meeting.path()).at(1).store(1);
  for (const auto& reader : readers) EXPECT_EQ(rayx::get(reader), 3 * 2 * 5);
}

// References inside what is sent away come back to where they were made.
int sum_of(const std::vector<ObjectRef<int>>& parts, int milliseconds) {
  hold_cpu(milliseconds);
  int sum = 0;
  for (const auto& part : parts) sum += rayx::get(part);
  return sum;
}
int sum_all(int tasks) {
  std::vector<ObjectRef<int>> parts;
  for (int i = 0; i < 5; ++i) parts.push_back(rayx::put(i));
  std::vector<ObjectRef<int>> sums;
  for (int i = 0; i < tasks; ++i) sums.push_back(rayx::remote<sum_of>(TaskOptions{.max_retries = 0}, parts, 3));
  int sum = 0;
  for (const auto& it : sums) sum += rayx::get(it);
  return sum;
}

TEST(RelayOverflow, ReferencesGoWithTheTaskAndAreGivenBack) {
  Sites sites(mesh(3, 1));
  EXPECT_EQ(rayx::get(rayx::remote<sum_all>(40)), 40 * 10);
  sites.wait_until_nothing_is_shared();
}

}  // namespace
