// Chaos: a head, five nodes behind proxies and a program with a mix of work, while all of them but the program are killed and begin anew, and
// links are cut and mended, at random from the seed. Every result must be right, everything ends, and nothing is left. RAYX_CHAOS_SECONDS makes it longer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/deadline.hpp"
#include "kit/eventually.hpp"
#include "kit/process_facts.hpp"
#include "kit/program.hpp"
#include "kit/proxy.hpp"
#include "kit/seed.hpp"
#include "kit/watchdog.hpp"
#include "nodes.hpp"

namespace rayx::cluster_test {
namespace {

using kit::Proxy;
using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr std::size_t kNodes = 5;
constexpr int kSecondsOfOneLife = 5;  // of a program and its nodes; then all of it begins anew

enum class Act : std::size_t {
  kKillWorker,
  kKillNode,
  kReplaceNode,
  kKillHead,
  kReviveHead,  // with what it had written down
  kCut,         // reset
  kSilence,     // mended later, before or after it is noticed
  kHalfOpen,
  kWeather,  // slow, jittery, in pieces
  kMend,
  kCount,
};
constexpr std::array<const char*, static_cast<std::size_t>(Act::kCount)> kNames = {
    "workers killed", "nodes killed", "nodes replaced",  "heads killed", "heads started again",
    "links reset",    "links silent", "links half open", "links slow",   "links mended"};

class Chaos : public Nodes {
 protected:
  struct Place {
    kit::Program* node = nullptr;  // of nodes_; nullptr: it was killed
    // For as long as the place is: before the node, and between it and the head.
    std::unique_ptr<Proxy> proxy = std::make_unique<Proxy>(kNowhere);
    std::unique_ptr<Proxy> to_head = std::make_unique<Proxy>(kNowhere);
    std::size_t descriptors = 0;  // of the node without a job
  };
  static constexpr const char* kNowhere = "127.0.0.1:1";

  void live(std::mt19937_64& random, int seconds);
  void do_something(std::mt19937_64& random);
  void start_in(Place& place);
  void revive_head();
  void end(Place& place);
  void kill_worker(std::mt19937_64& random, const Place& place);
  void count(Act act) { ++counts_[static_cast<std::size_t>(act)]; }

  std::vector<Place> places_;
  int lives_ = 0;
  bool has_head_ = false;
  std::array<int, static_cast<std::size_t>(Act::kCount)> counts_{};
};

void Chaos::start_in(Place& place) {
  place.proxy->mend();
  place.to_head->mend();
  place.to_head->set_target(cluster());
  place.proxy->set_target(start_node({.advertise = place.proxy->address(), .head = place.to_head->address()}));
  place.node = nodes_.back().get();
  place.descriptors = kit::count_descriptors(place.node->pid());
}

void Chaos::revive_head() {
  if (std::exchange(has_head_, true)) return;
  start_head({}, {"--state", (folder_ / ("state-" + std::to_string(lives_))).string()});
}

// Or the fork server, with whom all workers of the job there end.
void Chaos::kill_worker(std::mt19937_64& random, const Place& place) {
  if (place.node == nullptr) return;
  const std::vector<pid_t> processes = place.node->descendants();
  if (processes.empty()) return;
  if (::kill(processes[random() % processes.size()], SIGKILL) == 0) count(Act::kKillWorker);
}

void Chaos::do_something(std::mt19937_64& random) {
  // Workers are the most mortal.
  const auto act =
      random() % 3 == 0 ? Act::kKillWorker : static_cast<Act>(random() % static_cast<std::size_t>(Act::kCount));
  Place& place = places_[random() % kNodes];
  Proxy& link = random() % 4 == 0 ? *place.to_head : *place.proxy;
  switch (act) {
    case Act::kKillWorker: return kill_worker(random, place);
    case Act::kKillNode:
      if (place.node == nullptr || random() % 2 == 0) return;
      place.node->kill(SIGKILL);
      EXPECT_TRUE(place.node->wait().has_value());
      place.node = nullptr;
      break;
    case Act::kReplaceNode:
      if (place.node != nullptr || !has_head_) return;
      start_in(place);
      break;
    case Act::kKillHead:
      if (!has_head_ || random() % 2 == 0) return;
      head_->kill(SIGKILL);
      EXPECT_TRUE(head_->wait().has_value());
      has_head_ = false;
      break;
    case Act::kReviveHead:
      if (has_head_) return;
      revive_head();
      break;
    case Act::kCut:
      if (random() % 2 == 0) return;
      link.cut();
      break;
    case Act::kSilence: link.set({.is_silent = true}); break;
    case Act::kHalfOpen:
      if (random() % 3 != 0) return;
      link.leave_half_open(random() % 2 == 0 ? Proxy::Way::kThere : Proxy::Way::kBack);
      break;
    case Act::kWeather:
      link.set({.delay = std::chrono::microseconds(random() % 3'000),
                .jitter = std::chrono::microseconds(random() % 10'000),
                .bytes_per_s = random() % 2 == 0 ? 0 : 5'000'000 + random() % 50'000'000,
                .piece_bytes_max = random() % 2 == 0 ? 0 : 1 + random() % 10'000});
      break;
    case Act::kMend: link.mend(); break;
    case Act::kCount: return;
  }
  count(act);
}

// A node that is there at the end has nothing left of the program, and ends when it is told to.
void Chaos::end(Place& place) {
  if (place.node == nullptr) return;
  // What was half open is ended now, for its other end will never say a word.
  place.proxy->cut();
  place.to_head->cut();
  EXPECT_TRUE(place.node->is_alone()) << "a job has left processes";
  EXPECT_TRUE(kit::eventually([&] { return kit::count_descriptors(place.node->pid()) <= place.descriptors; }))
      << kit::count_descriptors(place.node->pid()) << " descriptors instead of " << place.descriptors << '\n'
      << place.node->err();
  place.node->kill(SIGTERM);
  const auto end = place.node->wait();
  EXPECT_TRUE(end.has_value() && end->exited_with(0)) << (end ? end->text() : "it does not end") << place.node->err();
}

// One program on a new head and five new nodes.
void Chaos::live(std::mt19937_64& random, int seconds) {
  ++lives_;
  head_address_.clear();
  revive_head();
  places_.clear();
  places_.resize(kNodes);
  for (Place& place : places_) start_in(place);
  kit::Program program(variable("RAYX_CHAOS_PROGRAM"),
                       with_cluster({std::to_string(seconds), std::to_string(random())}));
  ASSERT_TRUE(program.read_until("under way")) << program.out() << program.err();
  const base::Deadline deadline{std::chrono::seconds(seconds)};
  while (!deadline.has_passed()) {
    do_something(random);
    program.read_what_is_there();
    ::poll(nullptr, 0, static_cast<int>(random() % 150));
  }
  // From here on nothing stands in the way of what is left to do.
  revive_head();
  for (Place& place : places_) {
    place.proxy->mend();
    place.to_head->mend();
    if (place.node == nullptr) start_in(place);
  }
  const auto ended = program.wait();
  if (!ended) {
    kit::write_stacks(program.pid());
    for (const Place& place : places_) {
      kit::write_stacks(place.node->pid());
      std::fprintf(stderr, "node %d at %s: %s\n", place.node->pid(), place.proxy->address().c_str(),
                   place.node->err().c_str());
    }
  }
  ASSERT_TRUE(ended.has_value()) << "it hangs: " << program.out() << program.err();
  EXPECT_TRUE(ended->exited_with(0)) << program.out() << program.err();
  EXPECT_THAT(program.out(), HasSubstr("all right"));
  std::fputs(program.out().substr(program.out().find("all right")).c_str(), stdout);

  for (Place& place : places_) end(place);
  EXPECT_TRUE(program.is_alone());
  nodes_.clear();
  head_.reset();
  has_head_ = false;
}

TEST_F(Chaos, EveryResultIsRightAndNothingIsLeft) {
  const char* const given = ::getenv("RAYX_CHAOS_SECONDS");
  const int seconds = given == nullptr ? 60 : std::atoi(given);
  std::mt19937_64 random(kit::seed());
  for (int done = 0; done < seconds && !HasFailure(); done += kSecondsOfOneLife) live(random, kSecondsOfOneLife);
  for (std::size_t i = 0; i < counts_.size(); ++i)
    std::printf("%s%d %s", i == 0 ? "rayx: " : ", ", counts_[i], kNames[i]);
  std::puts("");
}

}  // namespace
}  // namespace rayx::cluster_test
