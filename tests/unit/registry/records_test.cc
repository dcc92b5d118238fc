#include "registry/records.hpp"

#include <gtest/gtest.h>

namespace rayx::registry {
namespace {

TEST(Records, AreReadAsTheyWereWritten) {
  ActorSpec spec;
  spec.creation.actor = {UINT64_MAX};
  spec.creation.job = {3};
  spec.creation.resources.cpus = 1;
  spec.creation.resources.set("gpu", base::kUnitsOfOne);
  spec.creation.selectors = {{"zone", true, {"a", ""}}};
  spec.creation.creation = std::string("\0\xff", 2);
  spec.creation.max_restarts = UINT32_MAX;
  spec.owner = {9};
  const auto read = from_bytes<ActorSpec>(to_bytes(spec));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->creation.actor, spec.creation.actor);
  EXPECT_EQ(read->creation.resources, spec.creation.resources);
  EXPECT_EQ(read->creation.selectors, spec.creation.selectors);
  EXPECT_EQ(read->creation.creation, spec.creation.creation);
  EXPECT_EQ(read->creation.max_restarts, UINT32_MAX);
  EXPECT_EQ(read->owner, spec.owner);
}

TEST(Records, ThatAreCutOrTooLongAreNone) {
  JobRecord job;
  job.info = {{1}, {2}, "bundle", "program", "space"};
  const std::string bytes = to_bytes(job);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(from_bytes<JobRecord>(bytes.substr(0, size))) << size;
  EXPECT_FALSE(from_bytes<JobRecord>(bytes + "x"));
  EXPECT_FALSE(from_bytes<Listed>(std::string("\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 9)))
      << "a list longer than its bytes";
}

TEST(Records, OfAnswersKeepWhatTheyName) {
  const auto with_job = from_bytes<Answer>(to_bytes(Answer{7, Status::kOk, {}, JobInfo{{1}, {2}, "b", "p", "s"}}));
  EXPECT_EQ(std::get<JobInfo>(with_job->body).program, "p");
  const auto with_actor = from_bytes<Answer>(to_bytes(Answer{7, Status::kOk, {}, ActorId{5}}));
  EXPECT_EQ(std::get<ActorId>(with_actor->body), ActorId{5});
  const auto refused = from_bytes<Answer>(to_bytes(Answer{7, Status::kExists, "taken", {}}));
  EXPECT_EQ(refused->message, "taken");
  EXPECT_TRUE(std::holds_alternative<std::monostate>(refused->body));
}

}  // namespace
}  // namespace rayx::registry
