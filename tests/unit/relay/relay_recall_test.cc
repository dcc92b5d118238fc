// Tasks that were handed out and wait at a node while another one has nothing to do: they come back.
#include <gtest/gtest.h>
#include <unistd.h>

#include <rayx/rayx.hpp>
#include <set>
#include <string>
#include <vector>

#include "meeting.hpp"
#include "sites.hpp"

namespace {

using rayx::ObjectRef;
using rayx::TaskOptions;
using rayx::relay::test::Counters;
using rayx::relay::test::meet;
using rayx::relay::test::Meeting;
using rayx::relay::test::Sites;

const TaskOptions kOnce{.max_retries = 0};

int next(int x) { return x + 1; }
// Counts itself, and then as above.
int count_and_meet(const std::string& meeting, int count) {
  Counters(meeting).at(1).fetch_add(1);
  return meet(meeting, count);
}
int meet_with(const std::string& meeting, int count, const std::vector<char>& value) {
  return meet(meeting, value.size() == 400'000 ? count : 0);
}

// Short tasks, until the windows of all sites are full of them.
void fill_windows() {
  std::vector<ObjectRef<int>> refs;
  for (int i = 0; i < 30'000; ++i) refs.push_back(rayx::remote<next>(i));
  rayx::get(refs);
}

// 200 tasks lie at a site with one CPU, and the first does not end before another one has begun elsewhere.
TEST(RelayRecall, WhatWaitsAtANodeIsDoneByOneThatJoinsLater) {
  constexpr int kTasks = 200;
  const Meeting meeting;
  Sites sites({.others = 1, .cpus = 1, .is_mesh = true});
  fill_windows();
  std::vector<ObjectRef<int>> refs;
  for (int i = 0; i < kTasks; ++i) refs.push_back(rayx::remote<count_and_meet>(kOnce, meeting.path(), 2));
  Counters counters(meeting.path());
  while (counters.at(0).load() == 0) std::this_thread::yield();
  sites.add_site(1);
  std::set<int> places;
  for (const auto& ref : refs) places.insert(rayx::get(ref));
  EXPECT_EQ(places.size(), 2u);
  EXPECT_EQ(counters.at(1).load(), kTasks) << "each is done once";
}

// A task on a node makes tasks: what overflowed from there comes back to its own idle workers, or goes on to another node.
int make_tasks(const std::string& meeting, int tasks) {
  std::vector<ObjectRef<int>> refs;
  for (int i = 0; i < tasks; ++i) refs.push_back(rayx::remote<count_and_meet>(kOnce, meeting, 2));
  std::set<int> places;
  for (const auto& ref : refs) places.insert(rayx::get(ref));
  return static_cast<int>(places.size());
}
TEST(RelayRecall, TasksThatTasksMakeAreSharedToo) {
  constexpr int kTasks = 100;
  const Meeting meeting;
  Sites sites({.others = 2, .cpus = 1, .is_mesh = true});
  EXPECT_EQ(rayx::get(rayx::remote<make_tasks>(meeting.path(), kTasks)), 2);
  EXPECT_EQ(Counters(meeting.path()).at(1).load(), kTasks);
}

// They are where their values are.
TEST(RelayRecall, TasksThatNeedLargeValuesOfTheirNodeStay) {
  const Meeting meeting;
  Sites sites({.others = 1, .cpus = 1, .is_mesh = true});
  fill_windows();
  const ObjectRef<std::vector<char>> value = rayx::put(std::vector<char>(400'000));
  std::vector<ObjectRef<int>> refs;
  for (int i = 0; i < 20; ++i) refs.push_back(rayx::remote<meet_with>(kOnce, meeting.path(), 2, value));
  Counters counters(meeting.path());
  while (counters.at(0).load() == 0) std::this_thread::yield();
  sites.add_site(1);
  // One that does not need it may go.
  const ObjectRef<int> other = rayx::remote<meet>(kOnce, meeting.path(), 2);
  const int there = rayx::get(other);
  for (const auto& ref : refs) EXPECT_NE(rayx::get(ref), there);
}

TEST(RelayRecall, ManyClassesAndSitesAndEachTaskOnce) {
  const Meeting meeting;
  Sites sites({.others = 3, .cpus = 4, .is_mesh = true, .delay_seed = 7});
  fill_windows();
  int made = 0;
  for (int round = 0; round < 5; ++round) {
    std::vector<ObjectRef<int>> refs;
    for (int i = 0; i < 400; ++i)
      refs.push_back(rayx::remote<count_and_meet>(TaskOptions{.num_cpus = 1.0 + i % 3, .max_retries = 0},
                                                  meeting.path(), 1 + round % 3));
    rayx::get(refs);
    made += 400;
    ASSERT_EQ(Counters(meeting.path()).at(1).load(), made);
  }
}

}  // namespace
