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

WorkerCapacity gpu_worker(int gpus, int gpus_free, int cores = 4) {
  WorkerCapacity one = worker(cores, 8'192);
  one.gpus = gpus;
  one.gpus_free = gpus_free;
  return one;
}

TEST(NodeSizes, GpusThatNoWorkerHasAreRefusedWithTheSetting) {
  const Capacity capacity = of({gpu_worker(2, 0), gpu_worker(0, 0, 8)});
  EXPECT_TRUE(check_size(capacity, {0, 0, 2})) << "they are in use, and will be free";
  EXPECT_THAT(check_size(capacity, {0, 0, 9}).error().message,
              AllOf(HasSubstr("a node of 9 GPUs was asked for, and the largest worker has 2"),
                    HasSubstr("SparkConfig::num_gpus to at most 2"), HasSubstr("spark.worker.resource.gpu.amount")));
  EXPECT_THAT(check_size(of({gpu_worker(0, 0)}), {0, 0, 1}).error().message,
              AllOf(HasSubstr("a node of 1 GPU was asked for, and Spark knows of none on any worker"),
                    HasSubstr("spark.worker.resource.gpu.amount")));
  EXPECT_THAT(check_size(capacity, {8, 0, 1}).error().message,
              AllOf(HasSubstr("no worker has all of 8 cores, 0 MiB and 1 GPU"), HasSubstr("SparkConfig::num_gpus")));
  EXPECT_TRUE(check_size(of({worker(4, 8'192)}), {0, 0, 1})) << "a Spark that does not say may have them";
}

TEST(NodeSizes, NodesWithGpusAreSharesOfWorkersThatHaveThem) {
  EXPECT_THAT(share_workers(of({gpu_worker(2, 2), gpu_worker(0, 0, 64)}), 2, 1),
              ElementsAre(NodeSize{2, 4'096}, NodeSize{2, 4'096}));
  EXPECT_EQ(choose_size({{2, 4'096}}, {0, 0, 1}, {}), (NodeSize{2, 4'096, 1}));
}

TEST(NodeSizes, AWaitForGpusIsExplained) {
  const Capacity capacity = of({gpu_worker(2, 1)});
  EXPECT_THAT(describe_wait(capacity, {1, 1'024, 1}), HasSubstr("Spark has not placed it yet"));
  EXPECT_THAT(describe_wait(capacity, {1, 1'024, 2}),
              AllOf(HasSubstr("no worker has 1 cores, 1024 MiB and 2 GPUs free"), HasSubstr("8192 MiB, 1 GPU"),
                    HasSubstr("spark.worker.resource.gpu.amount")));
}

TEST(NodeSizes, WhatIsTooSmallIsDoubted) {
  EXPECT_EQ(doubt_about({1, 512}, 0), "");
  EXPECT_THAT(doubt_about({8, 511}, 0),
              AllOf(HasSubstr("only 511 MiB"), HasSubstr("SparkConfig::memory_bytes to 512")));
  EXPECT_EQ(doubt_about({1, 1'024}, std::uint64_t{1} << 30), "");
  EXPECT_THAT(doubt_about({1, 1'024}, std::uint64_t{2} << 30),
              AllOf(HasSubstr("2048 MiB"), HasSubstr("1024 MiB"), HasSubstr("SparkConfig::store_bytes")));
}

TEST(NodeSizes, WorkersThatCannotBeCountedAreExplained) {
  Capacity capacity = of({worker(4, 8'192)});
  EXPECT_THAT(count_workers(capacity).error().message, HasSubstr("start one"));
  capacity.workers_alive = 3;
  EXPECT_EQ(*count_workers(capacity), 3);
  EXPECT_THAT(count_workers(Error{ErrorCode::kTimeout, "m:8080 took no connection"}).error().message,
              AllOf(HasSubstr("took no connection"), HasSubstr("SparkConfig::web"), HasSubstr("in place of -1")));
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
