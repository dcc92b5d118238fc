// Work of all kinds while workers and the fork server are killed at random. Every result must be right, and at the end nothing
// may be left. RAYX_STORM_SECONDS makes it longer; RAYX_SEED replays the order of the kills (not their moments).
#include <gtest/gtest.h>

#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <random>
#include <rayx/rayx.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "kit/process_tree.hpp"
#include "kit/seed.hpp"

namespace {

const rayx::TaskOptions kForEver{.max_retries = -1};

int busy_double(int x) {
  const rayx::base::SteadyClock clock;
  const rayx::base::TimeNs end = clock.now_ns() + x % 200 * 1'000;
  while (clock.now_ns() < end) {
  }
  return x * 2;
}
std::vector<int> block_of(int n) { return std::vector<int>(static_cast<std::size_t>(n), n); }
long sum(const std::vector<int>& values) {
  long total = 0;
  for (int value : values) total += value;
  return total;
}
int nested(int x) {
  auto a = rayx::remote<busy_double>(kForEver, x);
  auto b = rayx::remote<busy_double>(kForEver, x + 1);
  return rayx::get(a) + rayx::get(b);
}
// A result that holds a reference to an object of the worker's.
rayx::ObjectRef<int> put_inside(int x) { return rayx::put(x); }

struct Adder {
  int total = 0;
  int add(int k) { return total += k; }
};

// Kills random processes below this one until it is told to stop.
class Killer {
 public:
  explicit Killer(std::uint64_t seed) : random_(seed), thread_([this] { run(); }) {}
  ~Killer() { stop(); }
  int stop() {
    if (!thread_.joinable()) return kills_;
    {
      const std::lock_guard lock(mutex_);
      is_stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
    return kills_;
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (!is_stopping_) {
      wake_.wait_for(lock, std::chrono::milliseconds(random_() % 20), [&] { return is_stopping_; });
      std::vector<pid_t> servers;
      std::vector<pid_t> workers;
      for (const rayx::kit::ProcessInfo& process : rayx::kit::list_processes()) {
        if (process.parent == ::getpid() && process.state != 'Z' && process.name.starts_with("rayx:"))
          servers.push_back(process.pid);
      }
      for (const rayx::kit::ProcessInfo& process : rayx::kit::list_processes()) {
        for (pid_t server : servers)
          if (process.parent == server && process.state != 'Z') workers.push_back(process.pid);
      }
      const std::vector<pid_t>& victims = random_() % 10 == 0 || workers.empty() ? servers : workers;
      if (victims.empty()) continue;
      if (::kill(victims[random_() % victims.size()], SIGKILL) == 0) ++kills_;
    }
  }

  std::mt19937_64 random_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool is_stopping_ = false;
  int kills_ = 0;
  std::thread thread_;
};

int open_descriptors() {
  int count = 0;
  DIR* const directory = ::opendir("/proc/self/fd");
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

struct Counts {
  int rounds = 0;
  int actors_died = 0;
  int owners_died = 0;
};

void one_round(Counts& counts) {
  std::vector<rayx::ObjectRef<int>> small;
  std::vector<rayx::ObjectRef<long>> sums;
  std::vector<rayx::ObjectRef<int>> nests;
  std::vector<rayx::ObjectRef<rayx::ObjectRef<int>>> inner;
  for (int i = 0; i < 200; ++i) {
    small.push_back(rayx::remote<busy_double>(kForEver, i));
    if (i % 10 == 0) sums.push_back(rayx::remote<sum>(kForEver, rayx::remote<block_of>(kForEver, i * 100)));
    if (i % 20 == 0) sums.push_back(rayx::remote<sum>(kForEver, rayx::put(block_of(i * 100))));
    if (i % 5 == 0) nests.push_back(rayx::remote<nested>(kForEver, i));
    if (i % 25 == 0) inner.push_back(rayx::remote<put_inside>(kForEver, i));
  }
  rayx::ObjectRef<int> chain = rayx::remote<busy_double>(kForEver, 1);
  for (int i = 0; i < 9; ++i) chain = rayx::remote<busy_double>(kForEver, chain);

  auto adder = rayx::actor<Adder>();
  try {
    int last = 0;
    for (int i = 0; i < 20; ++i) last = rayx::get(adder.call<&Adder::add>(1));
    EXPECT_EQ(last, 20);
  } catch (const rayx::ActorDied&) {
    ++counts.actors_died;
  }
  auto doomed = rayx::actor<Adder>();
  auto last_call = doomed.call<&Adder::add>(7);
  rayx::kill(doomed);
  try {
    EXPECT_EQ(rayx::get(last_call), 7);
  } catch (const rayx::ActorDied&) {
  }
  for (int i = 0; i < 200; ++i) ASSERT_EQ(rayx::get(small[static_cast<std::size_t>(i)]), i * 2);
  std::size_t next = 0;
  for (int i = 0; i < 200; ++i) {
    const long expected = 100L * i * 100 * i;
    for (int times = i % 20 == 0 ? 2 : i % 10 == 0 ? 1 : 0; times > 0; --times) {
      ASSERT_EQ(rayx::get(sums[next++]), expected) << i;
    }
  }
  for (std::size_t i = 0; i < nests.size(); ++i) ASSERT_EQ(rayx::get(nests[i]), static_cast<int>(i) * 20 + 2);
  for (std::size_t i = 0; i < inner.size(); ++i) {
    try {
      ASSERT_EQ(rayx::get(rayx::get(inner[i])), static_cast<int>(i) * 25);
    } catch (const std::exception&) {  // the worker that had put it is dead, and the object with it
      ++counts.owners_died;
    }
  }
  ASSERT_EQ(rayx::get(chain), 1024);
  ++counts.rounds;
}

TEST(Storm, OfKillsChangesNoResultAndLeavesNothing) {
  const char* const text = std::getenv("RAYX_STORM_SECONDS");
  const long seconds = text == nullptr ? 5 : std::atol(text);
  const std::uint64_t seed = rayx::kit::seed();
  const int descriptors = open_descriptors();
  Counts counts;
  int kills = 0;
  std::uint64_t used_before = 0;
  std::uint64_t used_after = 0;
  {
    rayx::Runtime runtime = rayx::init({.num_cpus = 2});
    one_round(counts);
    used_before = rayx::detail::current_backend()->store_used_bytes();
    Killer killer(seed);
    const rayx::base::SteadyClock clock;
    const rayx::base::TimeNs end = clock.now_ns() + seconds * 1'000'000'000;
    while (clock.now_ns() < end && !HasFatalFailure()) one_round(counts);
    kills = killer.stop();
    // The dead are buried and their memory comes back as soon as everybody has heard of them.
    const rayx::base::TimeNs patience = clock.now_ns() + 10'000'000'000;
    do {
      one_round(counts);
      used_after = rayx::detail::current_backend()->store_used_bytes();
    } while (used_after > 4 * used_before && clock.now_ns() < patience && !HasFatalFailure());
  }
  std::cout << counts.rounds << " rounds, " << kills << " kills, " << counts.actors_died << " actors and "
            << counts.owners_died << " owners died, store " << used_before / 1024 << " KiB before, "
            << used_after / 1024 << " KiB after\n";
  EXPECT_LE(used_after, 4 * used_before) << "memory of the store has leaked";
  EXPECT_GE(kills, 10 * seconds);
  EXPECT_EQ(open_descriptors(), descriptors);
  for (const rayx::kit::ProcessInfo& process : rayx::kit::list_processes()) {
    EXPECT_FALSE(process.parent == ::getpid() && process.name.starts_with("rayx:"))
        << process.pid << " is left, state " << process.state;
  }
}

}  // namespace
