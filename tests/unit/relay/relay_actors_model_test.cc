// Random programs that make, call, pass, kill and drop actors over the sites of a cluster whose network delays and overtakes, with
// processes that crash and sites that are lost. Every call of every caller arrives once and in order, or fails; at the end nothing
// is left.
#include <gtest/gtest.h>
#include <signal.h>

#include <map>
#include <memory>
#include <random>
#include <rayx/rayx.hpp>
#include <string>
#include <thread>
#include <vector>

#include "kit/seed.hpp"
#include "sites.hpp"

namespace {

using rayx::ActorHandle;
using rayx::ObjectRef;
using rayx::relay::test::Sites;

class Tally {
 public:
  explicit Tally(const std::string& ballast) : ballast_(ballast.size()) {}
  // The calls of one caller are numbered from 1.
  int count(int caller, int number, const std::string& ballast) {
    int& last = last_[caller];
    if (number != ++last)
      throw std::logic_error("call " + std::to_string(number) + " of caller " + std::to_string(caller) + " came as " +
                             std::to_string(last));
    ballast_ += ballast.size();
    return number;
  }
  void crash() { ::raise(SIGKILL); }

 private:
  std::map<int, int> last_;
  std::size_t ballast_;
};

struct Counted {
  int expected;
  ObjectRef<int> ref;
};

std::vector<Counted> count_up(const ActorHandle<Tally>& tally, int caller, int& number, int calls,
                              std::mt19937_64& random) {
  std::vector<Counted> counted;
  for (int i = 0; i < calls; ++i) {
    ++number;
    const std::string ballast(random() % 12 == 0 ? 300'000 : random() % 200, 'b');
    counted.push_back({number, random() % 5 == 0 ? tally.call<&Tally::count>(caller, number, rayx::put(ballast))
                                                 : tally.call<&Tally::count>(caller, number, ballast)});
  }
  return counted;
}

// A task that calls and passes the handle on; how many calls it made that came back.
int count_there(const ActorHandle<Tally>& tally, int caller, int calls, int depth, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  int number = 0;
  const std::vector<Counted> counted = count_up(tally, caller, number, calls, random);
  int below = 0;
  if (depth > 0)
    below = rayx::get(rayx::remote<count_there>(rayx::TaskOptions{.max_retries = 0}, tally, caller + 1'000'000, calls,
                                                depth - 1, random()));
  for (const Counted& it : counted)
    if (rayx::get(it.ref) != it.expected) throw std::logic_error("a call has the result of another one");
  return calls + below;
}

// The actor, or what it needs, is gone; anything else is a fault.
bool is_loss(const rayx::Exception& error) {
  return error.code() == rayx::ErrorCode::kActorDied || error.code() == rayx::ErrorCode::kWorkerDied ||
         error.code() == rayx::ErrorCode::kOwnerDied || error.code() == rayx::ErrorCode::kObjectLost;
}

class Program {
 public:
  Program(Sites& sites, std::uint64_t seed, bool has_head) : sites_(sites), random_(seed), has_head_(has_head) {}

  void run(int steps, int cut_at) {
    for (int step = 0; step < steps; ++step) {
      if (step == cut_at) {
        sites_.cut(2);
        may_lose_ = true;
      }
      one_step();
    }
    check_all();
    actors_.clear();
  }

 private:
  struct Actor {
    ActorHandle<Tally> handle;
    int number = 0;  // of this program's calls
    bool may_be_dead = false;
  };
  std::size_t pick(std::size_t below) { return random_() % below; }

  void one_step() {
    const std::size_t what = pick(100);
    if (actors_.empty() || (what < 12 && actors_.size() < 8)) {
      const std::string ballast(pick(4) == 0 ? 50'000 : 10, 'b');
      const auto made = std::make_shared<Actor>();
      made->handle = has_head_ && pick(2) == 0 ? rayx::actor<Tally>(rayx::ActorOptions{.num_cpus = 0.25}, ballast)
                                               : rayx::actor<Tally>(rayx::put(ballast));
      actors_.push_back(made);
      return;
    }
    const std::size_t place = pick(actors_.size());
    const std::shared_ptr<Actor> actor = actors_[place];
    if (what < 50) {
      for (Counted& it : count_up(actor->handle, 0, actor->number, 1 + static_cast<int>(pick(20)), random_))
        counted_.push_back({std::move(it), actor});
    } else if (what < 75) {
      const int calls = 1 + static_cast<int>(pick(10));
      const int depth = static_cast<int>(pick(2));
      tasks_.push_back(
          {{calls * (depth + 1), rayx::remote<count_there>(rayx::TaskOptions{.max_retries = 0}, actor->handle,
                                                           ++last_caller_, calls, depth, random_())},
           actor});
    } else if (what < 80) {
      actor->may_be_dead = true;
      if (pick(2) == 0) {
        rayx::kill(actor->handle);
      } else {
        static_cast<void>(actor->handle.call<&Tally::crash>());
      }
    } else if (what < 90) {
      actors_.erase(actors_.begin() + static_cast<std::ptrdiff_t>(place));
    } else {
      check_all();
    }
  }
  void check_all() {
    for (auto* const list : {&counted_, &tasks_}) {
      for (const auto& [counted, actor] : *list) {
        try {
          EXPECT_EQ(rayx::get(counted.ref), counted.expected);
        } catch (const rayx::Exception& error) {
          EXPECT_TRUE((may_lose_ || actor->may_be_dead) && is_loss(error)) << error.what();
        }
      }
      list->clear();
    }
  }

  Sites& sites_;
  std::mt19937_64 random_;
  const bool has_head_;
  bool may_lose_ = false;
  int last_caller_ = 0;
  std::vector<std::shared_ptr<Actor>> actors_;
  std::vector<std::pair<Counted, std::shared_ptr<Actor>>> counted_;
  std::vector<std::pair<Counted, std::shared_ptr<Actor>>> tasks_;
};

void run(std::uint64_t seed, int steps, bool has_head, bool cuts) {
  SCOPED_TRACE("seed " + std::to_string(seed) + (has_head ? ", with a head" : ", without"));
  Sites sites({.others = 3,
               .cpus = 2,
               .is_mesh = has_head,
               .delay_seed = seed | 1,
               .patience_ns = static_cast<rayx::base::TimeNs>(seed % 2 * 1'000'000)});
  std::mt19937_64 random(seed);
  Program program(sites, seed, has_head);
  program.run(steps, cuts ? static_cast<int>(random() % static_cast<std::uint64_t>(steps)) : -1);
  sites.wait_until_nothing_is_shared();
}

TEST(RelayActorsModel, EachCallArrivesOnceAndInOrder) {
  for (std::uint64_t round = 0; round < 6; ++round) run(rayx::kit::seed() + round, 120, round % 3 != 2, false);
}

TEST(RelayActorsModel, ASiteIsLostAtAnyMoment) {
  for (std::uint64_t round = 0; round < 5; ++round) run(rayx::kit::seed() + round, 80, true, true);
}

}  // namespace
