// Chaos: five nodes behind proxies and a program with a mix of work, while nodes and workers are killed and links are cut and mended, all at
// random from the seed. Every result must be right, everything ends, and nothing is left. RAYX_CHAOS_SECONDS makes it longer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/deadline.hpp"
#include "kit/eventually.hpp"
#include "kit/process_facts.hpp"
#include "kit/program.hpp"
#include "kit/proxy.hpp"
#include "kit/seed.hpp"
#include "nodes.hpp"

namespace rayx::cluster_test {
namespace {

using kit::Proxy;
using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr std::size_t kNodes = 5;
constexpr int kSecondsOfOneLife = 5;  // of a program and its nodes; then all of it begins anew

// What a cluster can do today. Programs learn of nodes at their start only, so one node is spared, or nobody could do the rest.
constexpr bool kTakesNewNodes = false;

enum class Act : std::size_t {
  kKillWorker,
  kKillNode,
  kReplaceNode,
  kCut,      // reset
  kSilence,  // mended later, before or after it is noticed
  kHalfOpen,
  kWeather,  // slow, jittery, in pieces
  kMend,
  kCount,
};
constexpr std::array<const char*, static_cast<std::size_t>(Act::kCount)> kNames = {
    "workers killed", "nodes killed",    "nodes replaced", "links reset",
    "links silent",   "links half open", "links slow",     "links mended"};

class Chaos : public Nodes {
 protected:
  struct Place {
    kit::Program* node = nullptr;  // of nodes_; nullptr: it was killed
    std::unique_ptr<Proxy> proxy;  // in front of it, for as long as the place is
    std::size_t descriptors = 0;   // of the node without a job
  };

  void live(std::mt19937_64& random, int seconds);
  void do_something(std::mt19937_64& random);
  void start_in(Place& place);
  void kill_worker(std::mt19937_64& random, const Place& place);
  void count(Act act) { ++counts_[static_cast<std::size_t>(act)]; }

  std::vector<Place> places_;
  std::array<int, static_cast<std::size_t>(Act::kCount)> counts_{};
};

void Chaos::start_in(Place& place) {
  if (place.proxy == nullptr) place.proxy = std::make_unique<Proxy>("127.0.0.1:1");
  place.proxy->set_target(start_node({.advertise = place.proxy->address()}));
  place.node = nodes_.back().get();
  place.descriptors = kit::count_descriptors(place.node->pid());
}

// Or the fork server, with whom all workers of the job there end.
void Chaos::kill_worker(std::mt19937_64& random, const Place& place) {
  const std::vector<pid_t> processes = place.node->descendants();
  if (processes.empty()) return;
  if (::kill(processes[random() % processes.size()], SIGKILL) == 0) count(Act::kKillWorker);
}

void Chaos::do_something(std::mt19937_64& random) {
  // Workers are the most mortal.
  const auto act =
      random() % 3 == 0 ? Act::kKillWorker : static_cast<Act>(random() % static_cast<std::size_t>(Act::kCount));
  Place& any = places_[random() % kNodes];
  // The first place is spared what a program cannot survive without new nodes; its workers and its weather are not.
  Place& mortal = kTakesNewNodes ? any : places_[1 + random() % (kNodes - 1)];
  switch (act) {
    case Act::kKillWorker: kill_worker(random, any.node == nullptr ? places_[0] : any); return;
    case Act::kKillNode:
      if (mortal.node == nullptr || random() % 2 == 0) return;
      mortal.node->kill(SIGKILL);
      EXPECT_TRUE(mortal.node->wait().has_value());
      mortal.node = nullptr;
      break;
    case Act::kReplaceNode:
      if (!kTakesNewNodes || mortal.node != nullptr) return;
      start_in(mortal);
      break;
    case Act::kCut:
      if (random() % 2 == 0) return;
      mortal.proxy->cut();
      break;
    case Act::kSilence: mortal.proxy->set({.is_silent = true}); break;
    case Act::kHalfOpen:
      if (random() % 3 != 0) return;
      mortal.proxy->leave_half_open(random() % 2 == 0 ? Proxy::Way::kThere : Proxy::Way::kBack);
      break;
    case Act::kWeather:
      any.proxy->set({.delay = std::chrono::microseconds(random() % 3'000),
                      .jitter = std::chrono::microseconds(random() % 10'000),
                      .bytes_per_s = random() % 2 == 0 ? 0 : 5'000'000 + random() % 50'000'000,
                      .piece_bytes_max = random() % 2 == 0 ? 0 : 1 + random() % 10'000});
      break;
    case Act::kMend: any.proxy->mend(); break;
    case Act::kCount: return;
  }
  count(act);
}

// One program on five new nodes.
void Chaos::live(std::mt19937_64& random, int seconds) {
  places_.clear();
  places_.resize(kNodes);
  for (Place& place : places_) {
    start_in(place);
  }
  kit::Program program(variable("RAYX_CHAOS_PROGRAM"),
                       with_cluster({std::to_string(seconds), std::to_string(random())}));
  ASSERT_TRUE(program.read_until("under way")) << program.out() << program.err();
  const base::Deadline deadline{std::chrono::seconds(seconds)};
  while (!deadline.has_passed()) {
    do_something(random);
    program.read_what_is_there();
    ::poll(nullptr, 0, static_cast<int>(random() % 150));
  }
  for (const Place& place : places_) place.proxy->mend();
  const auto ended = program.wait();
  ASSERT_TRUE(ended.has_value()) << "it hangs";
  EXPECT_TRUE(ended->exited_with(0)) << program.out() << program.err();
  EXPECT_THAT(program.out(), HasSubstr("all right"));
  std::fputs(program.out().substr(program.out().find("all right")).c_str(), stdout);

  for (const Place& place : places_) {
    if (place.node == nullptr) continue;
    // What was half open is ended now, for its other end will never say a word.
    place.proxy->cut();
    EXPECT_TRUE(place.node->is_alone()) << "a job has left processes";
    EXPECT_TRUE(kit::eventually([&] { return kit::count_descriptors(place.node->pid()) <= place.descriptors; }))
        << kit::count_descriptors(place.node->pid()) << " descriptors instead of " << place.descriptors;
    place.node->kill(SIGTERM);
    const auto end = place.node->wait();
    EXPECT_TRUE(end.has_value() && end->exited_with(0)) << place.node->err();
  }
  EXPECT_TRUE(program.is_alone());
  nodes_.clear();
}

TEST_F(Chaos, EveryResultIsRightAndNothingIsLeft) {
  const char* const given = ::getenv("RAYX_CHAOS_SECONDS");
  const int seconds = given == nullptr ? 20 : std::atoi(given);
  std::mt19937_64 random(kit::seed());
  for (int done = 0; done < seconds && !HasFailure(); done += kSecondsOfOneLife) live(random, kSecondsOfOneLife);
  for (std::size_t i = 0; i < counts_.size(); ++i)
    std::printf("%s%d %s", i == 0 ? "rayx: " : ", ", counts_[i], kNames[i]);
  std::puts("");
}

}  // namespace
}  // namespace rayx::cluster_test
