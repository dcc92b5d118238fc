// Random steps against what it should be: one std::deque per caller.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <vector>

#include "actor/call_order.hpp"
#include "kit/seed.hpp"

namespace rayx::actor {
namespace {

constexpr int kRuns = 2'000;
constexpr int kStepsMax = 200;
constexpr std::uint32_t kCallers = 4;

enum class Want { kWaiting, kReady, kFailed };
struct Modelled {
  Call call;
  CallOrder::Place place;
  Want state = Want::kWaiting;
};

class Model {
 public:
  explicit Model(std::uint64_t seed) : random_(seed) {}

  void run() {
    const std::uint32_t steps = pick(kStepsMax);
    for (std::uint32_t i = 0; i < steps && !testing::Test::HasFailure(); ++i) step();
    if (!order_.is_ended()) drop_and_finish();
  }

 private:
  std::uint32_t pick(std::uint32_t below) { return static_cast<std::uint32_t>(random_() % below); }

  void step() {
    const std::uint32_t what = pick(100);
    if (what < 45) {
      call(pick(kCallers), pick(2) == 0);
    } else if (what < 90) {
      news(pick(4) == 0 ? Want::kFailed : Want::kReady);
    } else if (what < 94) {
      stale_news();
    } else if (what < 98) {
      drop_and_revive();
    } else if (what == 99 && pick(4) == 0 && !order_.is_ended()) {
      end();
    }
  }

  void call(Caller caller, bool is_ready) {
    if (order_.is_ended()) return;
    const Call call{next_++, 7};
    const auto line = lines_.find(caller);
    const bool is_behind = line != lines_.end();
    ASSERT_EQ(order_.is_clear(), lines_.empty());
    ASSERT_EQ(order_.is_clear(caller), !is_behind);
    if (is_ready && !is_behind) {
      order_.handed_over(call);
      last_ = call;
      return;
    }
    const CallOrder::Place place = order_.hold(caller, call);
    lines_[caller].push_back({call, place});
    if (is_ready) tell(caller, lines_[caller].size() - 1, Want::kReady);
  }

  // A random call that waits is ready or has failed.
  void news(Want state) {
    if (lines_.empty()) return;
    auto line = lines_.begin();
    std::advance(line, pick(static_cast<std::uint32_t>(lines_.size())));
    const std::size_t at = pick(static_cast<std::uint32_t>(line->second.size()));
    if (line->second[at].state == Want::kWaiting) tell(line->first, at, state);
  }

  void tell(Caller caller, std::size_t at, Want state) {
    std::deque<Modelled>& line = lines_[caller];
    line[at].state = state;
    const CallOrder::Place place = line[at].place;
    std::vector<Call> expected;
    while (!line.empty() && line.front().state != Want::kWaiting) {
      if (line.front().state == Want::kReady) last_ = expected.emplace_back(line.front().call);
      left_.push_back(line.front().place);
      line.pop_front();
    }
    if (line.empty()) lines_.erase(caller);
    std::vector<Call> got;
    const auto hand_over = [&](Call call) { got.push_back(call); };
    state == Want::kReady ? order_.ready(place, hand_over) : order_.failed(place, hand_over);
    ASSERT_EQ(got, expected);
  }

  // Of a call that left, as long as its line is the same one.
  void stale_news() {
    if (left_.empty()) return;
    const CallOrder::Place place = left_[pick(static_cast<std::uint32_t>(left_.size()))];
    const auto line = lines_.find(place.caller);
    if (line != lines_.end() && line->second.front().place.number <= place.number) return;
    order_.failed(place, [](Call) { ADD_FAILURE() << "a call was handed over that had left"; });
  }

  void drop_and_revive() {
    const bool is_done = pick(2) == 0;
    const bool may_go = lines_.empty() && (!last_ || is_done || order_.is_ended());
    ASSERT_EQ(order_.drop([&](Call call) {
      EXPECT_EQ(call, *last_);
      return is_done;
    }),
              may_go);
    ASSERT_EQ(order_.is_dropping(), !may_go);
    order_.revive();
    ASSERT_FALSE(order_.may_let_go([](Call) { return true; }));
  }

  void end() {
    order_.end();
    std::vector<Call> expected;
    for (auto& [caller, line] : lines_)
      for (const Modelled& held : line)
        if (held.state != Want::kFailed) expected.push_back(held.call);
    std::vector<Call> got;
    while (const auto call = order_.take_failed()) got.push_back(*call);
    const auto by_index = [](Call a, Call b) { return a.index < b.index; };
    std::sort(got.begin(), got.end(), by_index);
    std::sort(expected.begin(), expected.end(), by_index);
    ASSERT_EQ(got, expected);
    lines_.clear();
    ASSERT_TRUE(order_.is_clear());
  }

  // The handle goes first; then everything that is held back comes to an end.
  void drop_and_finish() {
    bool may_go = order_.drop([](Call) { return true; });
    while (!lines_.empty() && !testing::Test::HasFailure()) {
      ASSERT_FALSE(may_go);
      news(pick(3) == 0 ? Want::kFailed : Want::kReady);
      may_go = order_.may_let_go([](Call) { return true; });
    }
    ASSERT_TRUE(may_go);
  }

  std::mt19937_64 random_;
  CallOrder order_;
  std::map<Caller, std::deque<Modelled>> lines_;  // none is empty
  std::vector<CallOrder::Place> left_;
  std::optional<Call> last_;
  std::uint32_t next_ = 1;
};

TEST(CallOrderModel, AgreesWithADequePerCaller) {
  for (int run = 0; run < kRuns && !HasFailure(); ++run) {
    SCOPED_TRACE("run " + std::to_string(run));
    Model(kit::seed() + static_cast<std::uint64_t>(run)).run();
  }
}

}  // namespace
}  // namespace rayx::actor
