// The lock of a process's books: nobody meets inside, whoever has the bias and whenever it is withdrawn.
#include "worker/owner_mutex.hpp"

#include <gtest/gtest.h>

#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "kit/seed.hpp"

namespace rayx::worker {
namespace {

constexpr int kMoreThanARun = 1'000;

// Not atomic: two threads inside at once lose counts, most likely so when one lingers there.
struct Guarded {
  Guarded() { OwnerMutex::allow_bias(); }
  OwnerMutex mutex;
  std::uint64_t count = 0;

  void add(bool lingers = false) {
    const std::lock_guard lock(mutex);
    count_one(lingers);
  }
  bool try_add(bool lingers = false) {
    if (!mutex.try_lock()) return false;
    count_one(lingers);
    mutex.unlock();
    return true;
  }

 private:
  void count_one(bool lingers) {
    const std::uint64_t before = count;
    for (int i = 0; lingers && i < 20; ++i) shm::cpu_relax();
    std::atomic_signal_fence(std::memory_order_seq_cst);
    count = before + 1;
  }
};

void gain_bias(Guarded& guarded) {
  for (int i = 0; i < kMoreThanARun; ++i) guarded.add();
}

TEST(OwnerMutex, IsBiasedToTheThreadThatTakesItAgainAndAgain) {
  Guarded guarded;
  gain_bias(guarded);
  if (!guarded.mutex.is_biased_to_me()) GTEST_SKIP() << "no membarrier here";
  EXPECT_TRUE(guarded.try_add());
  std::thread other([&] {
    EXPECT_FALSE(guarded.mutex.is_biased_to_me());
    guarded.add();  // withdraws it
    EXPECT_FALSE(guarded.mutex.is_biased_to_me());
    gain_bias(guarded);
    EXPECT_TRUE(guarded.mutex.is_biased_to_me());
  });
  other.join();
  EXPECT_FALSE(guarded.mutex.is_biased_to_me());
  guarded.add();
  EXPECT_EQ(guarded.count, std::uint64_t{2 * kMoreThanARun + 3});
}

TEST(OwnerMutex, IsNotTakenWhileSomebodyIsInside) {
  Guarded guarded;
  for (const bool is_biased : {false, true}) {
    if (is_biased) gain_bias(guarded);
    const std::lock_guard lock(guarded.mutex);
    std::thread([&] { EXPECT_FALSE(guarded.try_add()) << is_biased; }).join();
  }
}

// One thread after the other has a run of its own while others come in between now and then.
TEST(OwnerMutex, LetsOneInAtATime) {
  std::mt19937_64 random(kit::seed());
  for (int round = 0; round < 20; ++round) {
    Guarded guarded;
    constexpr int kThreads = 4;
    constexpr int kAdds = 30'000;
    std::atomic<std::uint64_t> tried{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, seed = random()] {
        std::mt19937_64 mine(seed);
        for (int done = 0; done < kAdds;) {
          const int run = mine() % 2 == 0 ? 1 : static_cast<int>(mine() % 2'000);
          for (int i = 0; i < run && done < kAdds; ++i, ++done) {
            const bool lingers = mine() % 64 == 0;
            if (mine() % 8 == 0) {
              tried += guarded.try_add(lingers) ? 0 : 1;
            } else {
              guarded.add(lingers);
            }
          }
          if (mine() % 4 == 0) std::this_thread::yield();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(guarded.count + tried, std::uint64_t{kThreads} * kAdds);
  }
}

// The moment that the barrier is for: one thread enters by bias just when another one withdraws it.
TEST(OwnerMutex, WithdrawsTheBiasFromAThreadThatIsAboutToEnter) {
  Guarded guarded;
  constexpr std::uint64_t kWithdrawals = 2'000;
  std::atomic<bool> is_over{false};
  std::atomic<bool> is_biased{false};
  std::uint64_t added = 0;
  std::thread biased([&] {
    while (!is_over.load(std::memory_order_relaxed)) {
      // Runs of short stays win the bias; then long ones, so that whoever comes in wrongly meets somebody.
      const bool has_bias = guarded.mutex.is_biased_to_me();
      is_biased.store(has_bias, std::memory_order_relaxed);
      guarded.add(has_bias);
      ++added;
    }
  });
  std::uint64_t withdrawn = 0;
  const base::SteadyClock clock;
  const base::TimeNs end = clock.now_ns() + 3'000'000'000;
  for (; withdrawn < kWithdrawals && clock.now_ns() < end; ++withdrawn) {
    while (!is_biased.load(std::memory_order_relaxed) && clock.now_ns() < end) std::this_thread::yield();
    guarded.add(true);
  }
  is_over = true;
  biased.join();
  EXPECT_EQ(guarded.count, added + withdrawn);
}

}  // namespace
}  // namespace rayx::worker
