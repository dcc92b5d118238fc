// Members that have the token and say anything in any order: of another build, broken, or hostile. The head lives, its books stay right, and
// an honest member gets its answers all the while.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "head_kit.hpp"
#include "kit/seed.hpp"
#include "registry/message_codec.hpp"

namespace rayx::registry {
namespace {

// Messages whose every field is drawn, from few values, so that they mean the same things again and again.
class Babble {
 public:
  explicit Babble(std::uint64_t seed) : random_(seed) {}

  std::uint64_t upto(std::uint64_t count) { return random_() % count; }
  bool maybe() { return upto(2) == 0; }
  NodeId node() { return {upto(6)}; }
  JobId job() { return {static_cast<std::uint32_t>(upto(5))}; }
  ActorId actor() { return {upto(8)}; }
  std::string word() { return upto(20) == 0 ? std::string(upto(70'000), 'x') : std::string(upto(3), 'a'); }
  std::int64_t number() {
    switch (upto(8)) {
      case 0: return INT64_MAX;
      case 1: return INT64_MIN;
      case 2: return -1;
      default: return static_cast<std::int64_t>(upto(5)) * base::kUnitsOfOne;
    }
  }
  Resources resources() {
    Resources drawn{.cpus = number(), .memory_bytes = number(), .others = {}};
    if (maybe()) drawn.others.emplace_back("gpu", 1 + upto(9));
    return drawn;
  }
  Incarnation incarnation() { return static_cast<Incarnation>(upto(4)); }
  template <class T, class Draw>
  std::vector<T> some(Draw draw) {
    std::vector<T> all;
    for (std::uint64_t left = upto(4); left > 0; --left) all.push_back(draw());
    return all;
  }
  Join join(std::uint64_t cluster) {
    Join drawn;
    drawn.protocol = upto(10) == 0 ? static_cast<std::uint16_t>(upto(9)) : kProtocolVersion;
    drawn.node = node();
    drawn.session = upto(50);
    drawn.is_first = maybe();
    drawn.kind = static_cast<MemberKind>(upto(3));
    drawn.name = word();
    drawn.address = word();
    drawn.resources = resources();
    if (maybe()) drawn.labels = {{"zone", word()}};
    drawn.resume.cluster = maybe() ? cluster : upto(3);
    drawn.resume.jobs = some<JobId>([&] { return job(); });
    drawn.resume.actors = some<RunningActor>([&] {
      return RunningActor{actor(), incarnation(), resources(), maybe(), maybe()};
    });
    drawn.resume.watched = some<ActorId>([&] { return actor(); });
    drawn.resume.channels = some<std::string>([&] { return word(); });
    return drawn;
  }
  RequestBody body() {
    switch (upto(18)) {
      case 0: return StartJob{word(), word(), word()};
      case 1: return EndJob{job(), word()};
      case 2: return LookUpJob{job()};
      case 3: return KillActor{actor(), maybe()};
      case 4: return ActorPlaced{actor(), incarnation()};
      case 5: return ActorDied{actor(), incarnation(), static_cast<EndCause>(upto(8)), word()};
      case 6: return LookUpName{word(), word()};
      case 7: return ListNames{word(), word()};
      case 8: return ListWaiting{};
      case 9: return KvPut{word(), word(), word(), maybe()};
      case 10: return KvGet{word(), word()};
      case 11: return KvDelete{word(), word()};
      case 12: return KvKeys{word(), word(), word()};
      case 13: return Publish{word(), word()};
      case 14:
        return DrainNode{node(), maybe() ? static_cast<TimeNs>(random_()) : static_cast<TimeNs>(upto(5)) * kSecond,
                         word()};
      case 15: return DrainDone{};
      case 16: return Leave{word()};
      default: {
        CreateActor create;
        create.actor = actor();
        create.job = job();
        create.resources = resources();
        if (maybe()) create.selectors = {{"zone", maybe(), {word()}}};
        create.name = word();
        create.name_space = word();
        create.get_if_exists = maybe();
        create.is_detached = maybe();
        create.max_restarts = static_cast<std::uint32_t>(upto(3));
        create.creation = word();
        return create;
      }
    }
  }
  // Of one that has joined.
  ToHead message(std::uint64_t cluster) {
    switch (upto(16)) {
      case 0: return join(cluster);  // once more
      case 1:
        return Heartbeat{{resources(), some<Demand>([&] {
                            return Demand{job(), resources(), upto(100)};
                          })},
                         random_() % 9,
                         upto(9),
                         upto(9)};
      case 2: return Watch{actor(), maybe()};
      case 3: return Subscribe{word(), maybe()};
      case 4: return PublishedSeen{upto(9)};
      default: return Request{upto(40), upto(10), body()};
    }
  }

 private:
  std::mt19937_64 random_;
};

class StrangeMembers : public HeadTest {};

TEST_F(StrangeMembers, SayAnythingAndTheHeadLives) {
  constexpr NodeId kHonest{0xabc};
  for (std::uint64_t round = 0; round < 200; ++round) {
    SCOPED_TRACE(round);
    disk.clear();
    start_head();
    Babble babble(kit::seed() + round);
    join(kHonest);
    std::vector<ConnectionId> strange;
    RequestNumber number = 0;
    for (int i = 0; i < 400; ++i) {
      if (strange.empty() || babble.upto(12) == 0) {
        strange.push_back(++last_connection);
        head->on_opened(strange.back(), now);
        if (auto message = decode_to_head(encode(ToHead(babble.join(head->cluster())))))
          head->on_message(strange.back(), std::move(*message), now);
      }
      const std::size_t at = babble.upto(strange.size());
      const bool is_closed = std::find(closed.begin(), closed.end(), strange[at]) != closed.end();
      if (is_closed || babble.upto(20) == 0) {
        if (!is_closed) head->on_closed(strange[at], now);
        strange.erase(strange.begin() + static_cast<std::ptrdiff_t>(at));
      } else {
        // What the network lets through.
        if (auto message = decode_to_head(encode(babble.message(head->cluster()))))
          head->on_message(strange[at], std::move(*message), now);
      }
      settle();
      ASSERT_TRUE(head->is_valid()) << "after message " << i;
      now += static_cast<TimeNs>(babble.upto(40)) * 1'000'000;
      if (now >= head->next_deadline_ns()) head->tick(now);
      // It is served.
      if (i % 10 == 0) {
        tell(kHonest, Heartbeat{});
        said.clear();
        tell(kHonest, Request{++number, number, KvPut{"honest", "key", std::to_string(i), true}});
        EXPECT_FALSE(said[connection_of.at(kHonest)].empty());
      }
    }
    // What it wrote down can be read again.
    start_head();
  }
}

}  // namespace
}  // namespace rayx::registry
