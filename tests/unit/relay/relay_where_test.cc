// Which nodes do a task: labels, the node's own id, and spreading. And what a program can know of its nodes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <rayx/rayx.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "counter.hpp"
#include "sites.hpp"

namespace {

using rayx::ActorOptions;
using rayx::LabelSelector;
using rayx::NodeInfo;
using rayx::ObjectRef;
using rayx::TaskOptions;
using rayx::relay::test::Counter;
using rayx::relay::test::Sites;
using testing::HasSubstr;

Sites::Options zones() {
  return {.others = 3, .cpus = 2, .is_mesh = true, .labels = {{{"zone", "a"}}, {{"disk", "ssd"}, {"zone", "b"}}, {}}};
}

int where_am_i() { return ::getppid(); }  // the fork server of the site
std::string here() {
  for (const NodeInfo& node : rayx::nodes())
    if (node.is_here) return node.id;
  return "nowhere";
}
std::set<std::string> places_of(int tasks, const TaskOptions& options) {
  std::vector<ObjectRef<std::string>> ran;
  for (int i = 0; i < tasks; ++i) ran.push_back(rayx::remote<here>(options));
  std::set<std::string> places;
  for (const auto& it : ran) places.insert(rayx::get(it));
  return places;
}
TaskOptions in_zone(const std::string& zone) { return {.labels = {{.key = "zone", .values = {zone}}}}; }
TaskOptions on_node(const std::string& id) { return {.labels = {{.key = rayx::kNodeIdLabel, .values = {id}}}}; }

std::map<std::string, NodeInfo> nodes_by_name() {
  std::map<std::string, NodeInfo> nodes;
  for (NodeInfo& node : rayx::nodes()) nodes[node.name] = std::move(node);
  return nodes;
}

template <class Call>
std::string problem_of(Call call) {
  try {
    call();
  } catch (const rayx::Exception& error) {
    return error.what();
  }
  return "none";
}

TEST(RelayWhere, NodesAreListedWithWhatTheyGive) {
  Sites sites(zones());
  const std::map<std::string, NodeInfo> nodes = nodes_by_name();
  ASSERT_EQ(nodes.size(), 3u);
  const NodeInfo& second = nodes.at("site 2");
  EXPECT_EQ(second.num_cpus, 2);
  EXPECT_EQ(second.labels, (std::vector<std::pair<std::string, std::string>>{{"disk", "ssd"}, {"zone", "b"}}));
  EXPECT_EQ(second.id.size(), 16u);
  EXPECT_FALSE(second.is_here);  // a driver of a cluster runs on none
}

TEST(RelayWhere, TasksRunOnlyWhereTheLabelsAre) {
  Sites sites(zones());
  const auto nodes = nodes_by_name();
  EXPECT_EQ(places_of(12, in_zone("b")), std::set{nodes.at("site 2").id});
  const TaskOptions not_b{.labels = {{.key = "zone", .values = {"b"}, .is_negated = true}}};
  EXPECT_EQ(places_of(30, not_b).count(nodes.at("site 2").id), 0u);
}

TEST(RelayWhere, ATaskGoesToTheNodeThatItNames) {
  Sites sites(zones());
  for (const NodeInfo& node : rayx::nodes()) EXPECT_EQ(places_of(5, on_node(node.id)), std::set{node.id});
}

std::vector<std::string> from_zone_a(const std::string& zone, int tasks) {
  const std::set<std::string> places = places_of(tasks, in_zone(zone));
  return {places.begin(), places.end()};
}
TEST(RelayWhere, WhatATaskMakesGoesToOtherNodesToo) {
  Sites sites(zones());
  const auto nodes = nodes_by_name();
  EXPECT_EQ(rayx::get(rayx::remote<from_zone_a>(in_zone("a"), "b", 8)), std::vector{nodes.at("site 2").id});
  EXPECT_EQ(rayx::get(rayx::remote<from_zone_a>(in_zone("a"), "a", 8)), std::vector{nodes.at("site 1").id});
  sites.wait_until_nothing_is_shared();
}

std::size_t spread_three() {
  places_of(9, {.spread = true});  // by now there are links to all nodes
  return places_of(3, {.spread = true}).size();
}
TEST(RelayWhere, TasksThatSpreadGoToWhereTheLeastIsAtWork) {
  Sites sites(zones());
  bool is_spread = false;  // the first links may come late
  for (int i = 0; i < 50 && !is_spread; ++i) is_spread = rayx::get(rayx::remote<spread_three>(in_zone("a"))) == 3;
  EXPECT_TRUE(is_spread);
}

TEST(RelayWhere, WhatNoNodeFulfilsIsRefused) {
  Sites sites(zones());
  EXPECT_THAT(problem_of([] { (void)rayx::remote<where_am_i>(in_zone("z")); }),
              AllOf(HasSubstr("zone is one of z"), HasSubstr("has none at present"), HasSubstr("TaskOptions::labels")));
  TaskOptions large = in_zone("a");
  large.num_cpus = 3;
  EXPECT_THAT(problem_of([&] { (void)rayx::remote<where_am_i>(large); }), HasSubstr("zone is one of a gives 2"));
  EXPECT_THAT(problem_of([] { (void)rayx::remote<where_am_i>(TaskOptions{.labels = {{.key = "", .values = {"a"}}}}); }),
              HasSubstr("a selector has no key"));
  EXPECT_THAT(
      problem_of([] { (void)rayx::remote<where_am_i>(TaskOptions{.labels = {{.key = "zone", .values = {}}}}); }),
      HasSubstr("has 0 values"));
}

int wait_for_ever() {
  for (;;) ::pause();
}
TEST(RelayWhere, WhatWaitsForANodeThatIsGoneFails) {
  Sites sites(zones());
  const std::string last = nodes_by_name().at("site 3").id;
  TaskOptions there = on_node(last);
  there.max_retries = 1;
  std::vector<ObjectRef<int>> waiting;
  for (int i = 0; i < 6; ++i) waiting.push_back(rayx::remote<wait_for_ever>(there));
  sites.cut(3);
  for (const auto& ref : waiting)
    EXPECT_THAT(problem_of([&] { rayx::get(ref); }),
                testing::AnyOf(HasSubstr("has left the cluster"), HasSubstr("gone")));
  while (nodes_by_name().contains("site 3")) std::this_thread::yield();
  EXPECT_THAT(problem_of([&] { rayx::get(rayx::remote<where_am_i>(there)); }), HasSubstr("has left the cluster"));
}

TEST(RelayWhere, ActorsLiveOnlyWhereTheLabelsAre) {
  Sites sites(zones());
  const auto nodes = nodes_by_name();
  const int place = rayx::get(rayx::remote<where_am_i>(in_zone("b")));
  for (int i = 0; i < 4; ++i) {
    const auto in_b = rayx::actor<Counter>(ActorOptions{.labels = {{.key = "zone", .values = {"b"}}}});
    EXPECT_EQ(rayx::get(in_b.call<&Counter::place>()), place);
    const auto on_b =
        rayx::actor<Counter>(ActorOptions{.labels = {{.key = rayx::kNodeIdLabel, .values = {nodes.at("site 2").id}}}});
    EXPECT_EQ(rayx::get(on_b.call<&Counter::place>()), place);
  }
}

}  // namespace
