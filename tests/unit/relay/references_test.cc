// References that cross between the sites of a job, inside values and alone, with real workers and pipes for the network.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <rayx/rayx.hpp>
#include <string>
#include <thread>
#include <vector>

#include "sites.hpp"

namespace {

using rayx::ObjectRef;
using rayx::relay::test::Sites;
using testing::HasSubstr;

struct Inside {
  std::string label;
  ObjectRef<int> number;
  std::vector<ObjectRef<std::string>> texts;
};

int square(int x) { return x * x; }
int get_it(ObjectRef<int> ref) { return rayx::get(ref); }
int sum_inside(const Inside& inside) {
  int sum = rayx::get(inside.number) + static_cast<int>(inside.label.size());
  for (const auto& text : inside.texts) sum += static_cast<int>(rayx::get(text).size());
  return sum;
}
ObjectRef<int> put_there(int x) { return rayx::put(x); }
ObjectRef<std::string> put_text_there(std::size_t size) { return rayx::put(std::string(size, 't')); }
ObjectRef<int> hand_back(ObjectRef<int> ref) { return ref; }
std::vector<ObjectRef<int>> put_many(int count) {
  std::vector<ObjectRef<int>> refs;
  for (int i = 0; i < count; ++i) refs.push_back(rayx::put(i));
  return refs;
}
long sum_of_all(const std::vector<ObjectRef<int>>& refs) {
  const std::vector<int> values = rayx::get(refs);
  return std::accumulate(values.begin(), values.end(), 0L);
}
int throw_it(int x) { throw std::out_of_range("there is no " + std::to_string(x)); }
ObjectRef<int> begin_throwing(int x) { return rayx::remote<throw_it>(x); }
ObjectRef<int> begin_squaring(int x) { return rayx::remote<square>(x); }
int add(int a, int b) { return a + b; }
int add_nested(ObjectRef<int> a, ObjectRef<int> b) { return rayx::get(rayx::remote<add>(a, b)); }
int look_at(ObjectRef<int> ref, int x) { return rayx::get(ref) + x; }

template <class T>
struct Node {
  T value;
  ObjectRef<Node> next;
};

TEST(References, AsAParameterOnTheOtherSite) {
  Sites sites;
  EXPECT_EQ(rayx::get(rayx::remote<get_it>(rayx::put(7))), 7);
  EXPECT_EQ(rayx::get(rayx::remote<get_it>(rayx::remote<square>(5))), 25);
  sites.wait_until_nothing_is_shared();
}

TEST(References, InsideAnArgument) {
  Sites sites;
  const Inside inside{"four", rayx::put(10), {rayx::put(std::string("abc")), rayx::put(std::string(1'000'000, 'x'))}};
  EXPECT_EQ(rayx::get(rayx::remote<sum_inside>(inside)), 4 + 10 + 3 + 1'000'000);
  EXPECT_EQ(rayx::get(rayx::remote<sum_inside>(rayx::put(inside))), 4 + 10 + 3 + 1'000'000);
}

TEST(References, InsideAResultOfEverySize) {
  Sites sites;
  EXPECT_EQ(rayx::get(rayx::get(rayx::remote<put_there>(3))), 3);
  for (const std::size_t size : {1u, 40u, 41u, 5'000u, 262'143u, 262'144u, 3'000'000u})
    EXPECT_EQ(rayx::get(rayx::get(rayx::remote<put_text_there>(size))), std::string(size, 't')) << size;
  sites.wait_until_nothing_is_shared();
}

TEST(References, ManyInAValueThatGoesAsAStream) {
  Sites sites;
  constexpr int kCount = 20'000;  // 320 kB of names
  const std::vector<ObjectRef<int>> refs = rayx::get(rayx::remote<put_many>(kCount));
  ASSERT_EQ(refs.size(), std::size_t{kCount});
  EXPECT_EQ(rayx::get(refs[123]), 123);
  EXPECT_EQ(rayx::get(rayx::remote<sum_of_all>(refs)), kCount * (kCount - 1L) / 2);
  std::vector<ObjectRef<int>> mine;
  for (int i = 0; i < kCount; ++i) mine.push_back(rayx::put(i));
  EXPECT_EQ(rayx::get(rayx::remote<sum_of_all>(mine)), kCount * (kCount - 1L) / 2);
}

TEST(References, OneThatComesHomeIsTheObjectItself) {
  Sites sites;
  const auto ref = rayx::put(11);
  const auto back = rayx::get(rayx::remote<hand_back>(ref));
  EXPECT_EQ(rayx::get(back), 11);
  EXPECT_EQ(sites.proxies(0), 0u);
  while (sites.proxies(1) != 0)
    std::this_thread::yield();  // of the argument, which is let go later than its result is here
  const auto there = rayx::get(rayx::remote<put_there>(12));
  EXPECT_EQ(rayx::get(rayx::remote<get_it>(there)), 12);
  EXPECT_EQ(sites.proxies(1), 0u);
}

TEST(References, OneWhoseValueIsNotThereYetIsWaitedFor) {
  Sites sites;
  const auto running = rayx::get(rayx::remote<begin_squaring>(9));
  EXPECT_EQ(rayx::get(running), 81);
  EXPECT_EQ(rayx::get(rayx::remote<add_nested>(rayx::remote<square>(3), rayx::get(rayx::remote<put_there>(4)))), 13);
}

TEST(References, AnErrorTravels) {
  Sites sites;
  const auto failed = rayx::get(rayx::remote<begin_throwing>(5));
  try {
    rayx::get(failed);
    FAIL();
  } catch (const std::out_of_range& error) {
    EXPECT_THAT(error.what(), HasSubstr("there is no 5"));
  }
  EXPECT_THROW(rayx::get(rayx::remote<get_it>(rayx::remote<throw_it>(6))), std::out_of_range);
}

TEST(References, ListsOfThemAreReadAcrossSites) {
  Sites sites;
  ObjectRef<Node<int>> list;
  for (int i = 0; i < 50; ++i) list = rayx::put(Node<int>{i, list});
  const auto sum = rayx::remote(
      [](ObjectRef<Node<int>> at) {
        int total = 0;
        while (at) {
          const Node<int> node = rayx::get(at);
          total += node.value;
          at = node.next;
        }
        return total;
      },
      list);
  EXPECT_EQ(rayx::get(sum), 49 * 50 / 2);
  list = {};
  sites.wait_until_nothing_is_shared();
}

TEST(References, WaitAndTimeOutsWorkOnThem) {
  Sites sites;
  const auto there = rayx::get(rayx::remote<put_many>(10));
  const auto waited = rayx::wait(there, {.count = 10});
  EXPECT_EQ(waited.ready.size(), 10u);
  const auto one = rayx::get(rayx::remote<put_there>(5));
  while (!rayx::try_get(one, std::chrono::nanoseconds(0))) std::this_thread::yield();
}

TEST(References, OneOfASiteIsUsedOnAThird) {
  for (const bool is_mesh : {false, true}) {
    Sites sites({.others = 2, .cpus = 1, .is_mesh = is_mesh});
    // Enough at a time that both sites have some.
    std::vector<ObjectRef<ObjectRef<int>>> made;
    for (int i = 0; i < 64; ++i) made.push_back(rayx::remote<put_there>(i));
    const std::vector<ObjectRef<int>> refs = rayx::get(made);
    std::vector<ObjectRef<int>> sums;
    for (int round = 0; round < 4; ++round)
      for (int i = 0; i < 64; ++i) sums.push_back(rayx::remote<look_at>(refs[static_cast<std::size_t>(63 - i)], round));
    for (std::size_t i = 0; i < sums.size(); ++i)
      EXPECT_EQ(rayx::get(sums[i]), 63 - static_cast<int>(i % 64) + static_cast<int>(i / 64)) << is_mesh;
  }
}

TEST(References, AllIsGivenBackWhenTheLastOneIsDropped) {
  for (const bool is_mesh : {false, true}) {
    Sites sites({.others = 2, .cpus = 1, .is_mesh = is_mesh});
    std::vector<ObjectRef<ObjectRef<int>>> results;
    {
      std::vector<ObjectRef<ObjectRef<int>>> made;
      for (int i = 0; i < 200; ++i) made.push_back(rayx::remote<put_there>(i));
      for (int i = 0; i < 200; ++i)
        results.push_back(rayx::remote<hand_back>(rayx::get(made[static_cast<std::size_t>(i)])));
    }
    for (int i = 0; i < 200; ++i) EXPECT_EQ(rayx::get(rayx::get(results[static_cast<std::size_t>(i)])), i);
    results.clear();
    sites.wait_until_nothing_is_shared();
  }
}

TEST(References, WhatLivedOnASiteThatIsGoneIsLostAndSaysSo) {
  Sites sites;
  const auto fetched = rayx::get(rayx::remote<put_there>(1));
  const auto not_fetched = rayx::get(rayx::remote<put_there>(2));
  EXPECT_EQ(rayx::get(fetched), 1);
  sites.cut(1);
  EXPECT_EQ(rayx::get(fetched), 1);
  try {
    rayx::get(not_fetched);
    FAIL();
  } catch (const rayx::ObjectLost& error) {
    EXPECT_THAT(error.what(), HasSubstr("site 1"));
    EXPECT_THAT(error.what(), HasSubstr("the pipe was cut"));
  }
}

}  // namespace
