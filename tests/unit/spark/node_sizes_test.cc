// How large nodes on Spark are, for workers of all kinds.
#include "spark/node_sizes.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rayx::spark {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

WorkerCapacity worker(int cores, std::int64_t memory_mib, int used_cores = 0, std::int64_t used_mib = 0,
                      const std::string& state = "ALIVE") {
  return {.id = "w",
          .host = "h",
          .state = state,
          .cores = cores,
          .cores_free = cores - used_cores,
          .memory_mib = memory_mib,
          .memory_free_mib = memory_mib - used_mib};
}

Capacity of(std::vector<WorkerCapacity> workers) {
  Capacity capacity;
  capacity.master_url = "spark://m:7077";
  capacity.workers = std::move(workers);
  return capacity;
}

TEST(NodeSizes, ANodeIsAWholeWorkerWhereThereAreEnough) {
  EXPECT_THAT(share_workers(of({worker(4, 8'192), worker(8, 16'384)}), 2),
              ElementsAre(NodeSize{8, 16'384}, NodeSize{4, 8'192}));
}

TEST(NodeSizes, WorkersAreSharedWhereNodesOutnumberThem) {
  EXPECT_THAT(share_workers(of({worker(4, 8'192), worker(4, 8'192)}), 3),
              ElementsAre(NodeSize{2, 4'096}, NodeSize{2, 4'096}, NodeSize{2, 4'096}, NodeSize{2, 4'096}));
}

TEST(NodeSizes, WhatOthersUseIsTheirs) {
  EXPECT_THAT(
      share_workers(of({worker(4, 8'192, 3, 1'024), worker(4, 8'192, 4, 8'192), worker(64, 1, 0, 0, "DEAD")}), 1),
      ElementsAre(NodeSize{1, 7'168}));
}

TEST(NodeSizes, WhereNothingIsFreeWholeWorkersAreWaitedFor) {
  EXPECT_THAT(share_workers(of({worker(4, 8'192, 4, 8'192)}), 1), ElementsAre(NodeSize{4, 8'192}));
}

TEST(NodeSizes, EachNodeHasAShareOfItsOwn) {
  const std::vector<NodeSize> shares{{8, 16'384}, {4, 8'192}};
  EXPECT_EQ(choose_size(shares, {}, {}), (NodeSize{8, 16'384}));
  EXPECT_EQ(choose_size(shares, {}, {{8, 16'384}}), (NodeSize{4, 8'192}));
  EXPECT_EQ(choose_size(shares, {}, {{4, 8'192}}), (NodeSize{8, 16'384}));
  EXPECT_EQ(choose_size(shares, {2, 0}, {{2, 16'384}}), (NodeSize{2, 8'192}));
  EXPECT_EQ(choose_size(shares, {2, 512}, {}), (NodeSize{2, 512}));
}

TEST(NodeSizes, WhatNoWorkerCouldEverTakeIsRefusedWithTheSetting) {
  const Capacity capacity = of({worker(4, 2'048, 4, 2'048), worker(2, 8'192)});
  EXPECT_TRUE(check_size(capacity, {4, 2'048})) << "it is in use, and will be free";
  EXPECT_TRUE(check_size(capacity, {}));
  EXPECT_THAT(check_size(capacity, {5, 0}).error().message,
              AllOf(HasSubstr("5 cores"), HasSubstr("largest worker has 4"), HasSubstr("SparkConfig::num_cpus")));
  EXPECT_THAT(check_size(capacity, {0, 9'000}).error().message,
              AllOf(HasSubstr("9000 MiB"), HasSubstr("8192 MiB"), HasSubstr("SparkConfig::memory_bytes")));
  EXPECT_THAT(check_size(capacity, {4, 8'192}).error().message, HasSubstr("no worker has both 4 cores and 8192 MiB"));
  EXPECT_THAT(check_size(of({worker(4, 2'048, 0, 0, "DEAD")}), {}).error().message,
              HasSubstr("no worker that is alive"));
}

TEST(NodeSizes, AWaitIsExplained) {
  const Capacity capacity = of({worker(4, 8'192, 3, 0), worker(4, 8'192, 0, 8'000)});
  EXPECT_THAT(describe_wait(capacity, {4, 8'192}),
              AllOf(HasSubstr("no worker has 4 cores and 8192 MiB free"), HasSubstr("4 cores, 8192 MiB")));
  EXPECT_THAT(describe_wait(capacity, {1, 8'192}), HasSubstr("Spark has not placed it yet"));
  EXPECT_THAT(describe_wait(of({}), {1, 1}), HasSubstr("no worker that is alive"));
}

}  // namespace
}  // namespace rayx::spark
