// A program that runs alone is a cluster of one node, for whoever asks where his tasks run.
#include "door_test_kit.hpp"

#include <set>

namespace rayx {
namespace {

using testing::AllOf;
using testing::HasSubstr;

int one() { return 1; }
std::string here() {
  for (const NodeInfo& node : nodes())
    if (node.is_here) return node.id;
  return "nowhere";
}
class Clerk {
 public:
  std::string place() { return here(); }
};
LabelSelector on_node(const std::string& id) { return {.key = kNodeIdLabel, .values = {id}}; }

template <class Call>
std::string refusal_of(Call call) {
  try {
    call();
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  return "it was taken";
}

TEST(Nodes, OneIsHereAndGivesWhatTheConfigSays) {
  Runtime runtime = init({.num_cpus = 3, .store_bytes = 64u << 20});
  const std::vector<NodeInfo> all = nodes();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].id.size(), 16u);
  EXPECT_FALSE(all[0].name.empty());
  EXPECT_EQ(all[0].num_cpus, 3);
  EXPECT_GE(all[0].store_bytes, 64u << 20);
  EXPECT_TRUE(all[0].labels.empty());
  EXPECT_TRUE(all[0].is_here);
  EXPECT_EQ(get(remote<here>()), all[0].id);
}

TEST(Nodes, TasksAndActorsThatNameItRunAndOthersAreRefused) {
  Runtime runtime = init({.num_cpus = 2});
  const std::string id = nodes().at(0).id;
  EXPECT_EQ(get(remote<here>(TaskOptions{.labels = {on_node(id)}})), id);
  EXPECT_EQ(get(remote<here>(TaskOptions{.labels = {{.key = "gpu", .values = {"h100"}, .is_negated = true}}})), id);
  EXPECT_EQ(get(remote<here>(TaskOptions{.spread = true})), id);
  const auto clerk = actor<Clerk>(ActorOptions{.labels = {on_node(id)}});
  EXPECT_EQ(get(clerk.call<&Clerk::place>()), id);
  EXPECT_THAT(refusal_of([] { (void)remote<one>(TaskOptions{.labels = {on_node("00000000000000ff")}}); }),
              AllOf(HasSubstr("rayx/node-id is one of 00000000000000ff"), HasSubstr("Ask for less")));
}

TEST(Nodes, SelectorsThatSayNothingAreRefused) {
  Runtime runtime = init({.num_cpus = 1});
  const auto refusal = [](std::vector<LabelSelector> labels) {
    return refusal_of([&] { (void)remote<one>(TaskOptions{.labels = labels}); });
  };
  EXPECT_THAT(refusal({{.key = "", .values = {"a"}}}), HasSubstr("TaskOptions::labels: a selector has no key"));
  EXPECT_THAT(refusal({{.key = "zone", .values = {}}}), HasSubstr("the selector of \"zone\" has 0 values"));
  EXPECT_THAT(refusal({{.key = std::string(256, 'k'), .values = {"a"}}}), HasSubstr("a key has 256 bytes"));
  EXPECT_THAT(refusal({{.key = "zone", .values = {std::string(256, 'v')}}}), HasSubstr("a value has 256 bytes"));
  EXPECT_THAT(refusal(std::vector<LabelSelector>(65, {.key = "zone", .values = {"a"}})), HasSubstr("65 selectors"));
  EXPECT_THAT(refusal_of([] { (void)actor<Clerk>(ActorOptions{.labels = {{.key = "", .values = {"a"}}}}); }),
              HasSubstr("ActorOptions::labels"));
}

TEST(Nodes, TooManyKindsOfTasksAreRefused) {
  Runtime runtime = init({.num_cpus = 1});
  std::string refusal = "it was taken";
  for (int i = 0; i < 70 && refusal == "it was taken"; ++i) {
    const LabelSelector other{.key = "zone", .values = {std::to_string(i)}, .is_negated = true};
    refusal = refusal_of([&] { get(remote<one>(TaskOptions{.labels = {other}})); });
  }
  if (is_local()) {
    EXPECT_EQ(refusal, "it was taken");  // nothing is queued there
  } else {
    EXPECT_THAT(refusal, HasSubstr("63 different num_cpus, labels and spread"));
  }
}

TEST(Nodes, WithoutARuntimeThereIsNone) { EXPECT_THROW(nodes(), NotInitialized); }

}  // namespace
}  // namespace rayx
