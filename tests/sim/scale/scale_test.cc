// A cluster of ten nodes and one of a hundred go through all scenes with a head of fixed speed, so that a run repeats exactly:
// what must hold holds, and the head's work for each node does not grow with their number. Counts only, no times of this machine.
#include <gtest/gtest.h>

#include "kit/sanitized.hpp"
#include "run.hpp"

namespace rayx::sim {
namespace {

constexpr TimeNs kCall_ns = 2'000;
constexpr TimeNs kSteady_ns = 20 * kSecond;

Report report_of(int nodes) {
  Plan plan;
  plan.nodes = nodes;
  plan.steady_ns = kSteady_ns;
  plan.head_call_ns = kCall_ns;
  plan.views_kept = nodes * 2;  // all
  return Run(plan).run();
}

double for_each_node(std::uint64_t sum, const Report& report) { return static_cast<double>(sum) / report.plan.nodes; }

TEST(Scale, ALargeClusterDoesWhatASmallOneDoes) {
  for (const int nodes : {10, 100}) {
    const Report report = report_of(nodes);
    EXPECT_EQ(report.problem, "") << nodes << " nodes";
    EXPECT_NE(report.join.time_ns, base::kNever);
    EXPECT_NE(report.actors.time_ns, base::kNever);
    EXPECT_NE(report.rack.time_ns, base::kNever);
    EXPECT_NE(report.rack_actors_ns, base::kNever);
    EXPECT_NE(report.restart.time_ns, base::kNever);
    EXPECT_NE(report.restart_actors_ns, base::kNever);
    EXPECT_GT(report.handed_out.count, 0u);
    EXPECT_GT(report.actors_made, static_cast<std::size_t>(2 * nodes));
    EXPECT_TRUE(report.head_bytes != 0 || kit::kIsSanitized) << "see heap.cc";
  }
}

TEST(Scale, WhatTheHeadHasToDoGrowsWithTheClusterAndNoFaster) {
  const Report small = report_of(10);
  const Report large = report_of(100);
  constexpr double kAboutTheSame = 1.5;
  EXPECT_LT(for_each_node(large.steady.all_in().messages, large),
            kAboutTheSame * for_each_node(small.steady.all_in().messages, small));
  EXPECT_LT(for_each_node(large.steady.all_in().bytes, large),
            kAboutTheSame * for_each_node(small.steady.all_in().bytes, small));
  EXPECT_LE(for_each_node(large.head_bytes, large), kAboutTheSame * for_each_node(small.head_bytes, small));
  // Each is told of all: the messages for each node are bounded by how often that is done, the nodes named in them by a limit.
  constexpr double kSeconds = static_cast<double>(kSteady_ns) / static_cast<double>(kSecond);
  const double members = static_cast<double>(large.plan.nodes + large.plan.drivers());
  const double rounds_max = kSeconds * static_cast<double>(kSecond) / static_cast<double>(registry::kViewPause_ns);
  const auto kView = registry::ToMember(registry::View{}).index();
  EXPECT_LT(static_cast<double>(large.steady.out[kView].messages), 1.2 * members * rounds_max);
  EXPECT_LT(static_cast<double>(large.steady.views_named), 1.2 * kSeconds * registry::kLoadsTold_per_second);
  // All at once, each has to hear of each: once, and not once for each that came after it.
  const double pairs = members * members;
  EXPECT_LT(static_cast<double>(large.join.traffic.views_named), 2 * pairs);
  EXPECT_LT(static_cast<double>(large.restart.traffic.views_named), 2 * pairs);
}

TEST(Scale, ARunRepeatsExactly) {
  const Report once = report_of(10);
  const Report again = report_of(10);
  EXPECT_EQ(once.steady.all_out().bytes, again.steady.all_out().bytes);
  EXPECT_EQ(once.steady.calls, again.steady.calls);
  EXPECT_EQ(once.handed_out.max_ns, again.handed_out.max_ns);
}

}  // namespace
}  // namespace rayx::sim
