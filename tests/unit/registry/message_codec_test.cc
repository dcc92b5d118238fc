#include "registry/message_codec.hpp"

#include <gtest/gtest.h>

#include <random>

#include "kit/seed.hpp"
#include "registry/limits.hpp"

namespace rayx::registry {
namespace {

using Random = std::mt19937_64;

std::string random_text(Random& random) {
  std::string text(random() % 20, '\0');
  for (char& letter : text) letter = static_cast<char>(random());
  return text;
}
Resources random_resources(Random& random) {
  Resources it;
  it.cpus = static_cast<base::Units>(random() % 640'000);
  it.memory_bytes = static_cast<std::int64_t>(random() % (std::uint64_t{1} << 40));
  if (random() % 2 == 0) it.set("gpu", base::kUnitsOfOne);
  if (random() % 2 == 0) it.set("zebra", 1);
  return it;
}
Labels random_labels(Random& random) {
  return random() % 2 == 0 ? Labels{} : Labels{{"a", random_text(random)}, {"b", ""}};
}
CreateActor random_creation(Random& random) {
  CreateActor it;
  it.actor = {random()};
  it.job = {static_cast<std::uint32_t>(random())};
  it.resources = random_resources(random);
  if (random() % 2 == 0) it.selectors = {{random_text(random), random() % 2 == 0, {"x", random_text(random)}}};
  it.name = random_text(random);
  it.max_restarts = static_cast<std::uint32_t>(random());
  it.is_detached = random() % 2 == 0;
  it.is_owned = random() % 2 == 0;
  it.site = random_text(random);
  it.creation = random_text(random);
  it.ended = random() % 2 == 0 ? EndCause::kNone : EndCause::kKilled;
  it.how_it_ended = random_text(random);
  return it;
}
Join random_join(Random& random) {
  Join it;
  it.protocol = kProtocolVersion;
  it.node = {random()};
  it.session = random() % 100;
  it.kind = MemberKind::kDriver;
  it.name = random_text(random);
  it.resources = random_resources(random);
  it.labels = random_labels(random);
  it.resume.jobs = {{1}, {static_cast<std::uint32_t>(random())}};
  it.resume.actors = {{{random()}, 3, random_resources(random), true, false}};
  it.resume.channels = {random_text(random)};
  return it;
}
Request random_request(Random& random) {
  const RequestBody bodies[] = {
      StartJob{random_text(random), "program", ""},
      EndJob{{7}, random_text(random)},
      LookUpJob{{7}},
      random_creation(random),
      KillActor{{random()}, false},
      ActorPlaced{{random()}, 1},
      ActorDied{{random()}, 2, EndCause::kNodeDied, random_text(random)},
      LookUpName{random_text(random), "name"},
      ListNames{random_text(random), ""},
      ListWaiting{},
      KvPut{"", random_text(random), random_text(random), false},
      KvGet{"", random_text(random)},
      KvDelete{"space", random_text(random)},
      KvKeys{"space", "", random_text(random)},
      Publish{"channel", random_text(random)},
      DrainNode{{random()}, -5, random_text(random)},
      DrainDone{},
      Leave{random_text(random)},
  };
  static_assert(std::size(bodies) == std::variant_size_v<RequestBody>);
  return {random(), random() % 100, bodies[random() % std::size(bodies)]};
}
ToHead random_to_head(Random& random) {
  const ToHead messages[] = {
      random_join(random),
      Heartbeat{{random_resources(random), {{{1}, random_resources(random), random()}}}, random(), 2, 3},
      Watch{{random()}, false},
      Subscribe{random_text(random), true},
      PublishedSeen{random()},
      random_request(random),
  };
  static_assert(std::size(messages) == std::variant_size_v<ToHead>);
  return messages[random() % std::size(messages)];
}
ToMember random_to_member(Random& random) {
  const JobInfo job{{3}, {random()}, random_text(random), "p", ""};
  const AnswerBody bodies[] = {std::monostate{}, job, ActorId{random()}, random_text(random), Listed{{"a", ""}, true}};
  static_assert(std::size(bodies) == std::variant_size_v<AnswerBody>);
  Resources left = random_resources(random);
  left.cpus = -left.cpus;
  const ToMember messages[] = {
      Joined{random(), 2, 3, 4, 5},
      Refused{RefusedWhy::kFull, random_text(random)},
      HeartbeatSeen{},
      View{random(),
           true,
           false,
           {{{random()},
             NodeState::kDead,
             MemberKind::kClient,
             "n",
             "a:1",
             random_resources(random),
             left,
             random_labels(random),
             random_text(random)}}},
      JobEnded{{3}, random_text(random)},
      PlaceActor{{random()}, 5, job, true, random_resources(random), true, true, "n", "s", random_text(random)},
      EndActor{{random()}, 5, EndCause::kOwnerDied},
      ActorState{{random()}, ActorPhase::kDead, 7, {random()}, EndCause::kKilled, random_text(random)},
      Drain{INT64_MAX, random_text(random)},
      Subscribed{{random_text(random), 3, 4}},
      Published{random_text(random), 1, 2, 3, random_text(random)},
      Answer{random(), Status::kLost, random_text(random), bodies[random() % std::size(bodies)]},
  };
  static_assert(std::size(messages) == std::variant_size_v<ToMember>);
  return messages[random() % std::size(messages)];
}

// The bytes name one message only, so equal bytes are equal messages.
template <class Message, class Decode>
void expect_to_survive(const Message& message, Decode decode, Random& random) {
  const std::string bytes = encode(message);
  const Result<Message> read = decode(bytes);
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->index(), message.index());
  ASSERT_EQ(encode(*read), bytes);
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(decode(bytes.substr(0, size)));
  EXPECT_FALSE(decode(bytes + '\0'));
  std::string damaged = bytes;
  damaged[random() % damaged.size()] = static_cast<char>(random());
  if (const Result<Message> other = decode(damaged)) {
    EXPECT_EQ(encode(*other), damaged);
  }
}

TEST(MessageCodec, ReadsWhatItWroteAndNothingThatIsCutOrDamaged) {
  Random random(kit::seed());
  for (int round = 0; round < 2'000; ++round) {
    expect_to_survive(random_to_head(random), decode_to_head, random);
    expect_to_survive(random_to_member(random), decode_to_member, random);
  }
}

TEST(MessageCodec, RefusesAnyOtherBytes) {
  Random random(kit::seed());
  for (int round = 0; round < 20'000; ++round) {
    const std::string noise = random_text(random);
    const auto to_head = decode_to_head(noise);
    EXPECT_TRUE(!to_head || encode(*to_head) == noise);
    const auto to_member = decode_to_member(noise);
    EXPECT_TRUE(!to_member || encode(*to_member) == noise);
  }
  const auto refused = decode_to_head("what is this?");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kMalformed);
  EXPECT_EQ(refused.error().message,
            "rayx: a message of a member with 13 bytes cannot be read; use the same version of rayx everywhere");
}

TEST(MessageCodec, RefusesAmountsThatNobodyHas) {
  Random random(kit::seed());
  Join join = random_join(random);
  join.resources.cpus = -1;
  EXPECT_FALSE(decode_to_head(encode(join)));
  join.resources.cpus = INT64_MAX;  // two of these have no sum
  EXPECT_FALSE(decode_to_head(encode(join)));
  join.resources = {};
  join.resources.others = {{"b", 1}, {"a", 1}};
  EXPECT_FALSE(decode_to_head(encode(join))) << "not in order";
  join.resources = {};
  join.labels = {{"a", "1"}, {"a", "2"}};
  EXPECT_FALSE(decode_to_head(encode(join))) << "a label twice";
}

}  // namespace
}  // namespace rayx::registry
