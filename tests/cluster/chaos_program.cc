// A program with a mix of work that may be done again: `chaos_program SECONDS [SEED]`. Each result is compared with what it must be; the first
// wrong one ends it.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <numeric>
#include <random>
#include <rayx/rayx.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

const rayx::TaskOptions kForEver{.max_retries = -1};

// What the tasks compute, so that the program knows it, too.
std::uint64_t mixed(std::uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  return x ^ x >> 29;
}
std::vector<std::uint64_t> numbers_of(std::uint64_t first, std::size_t count) {
  std::vector<std::uint64_t> numbers(count);
  for (std::size_t i = 0; i < count; ++i) numbers[i] = mixed(first + i);
  return numbers;
}
std::uint64_t sum_of(std::uint64_t first, std::size_t count) {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < count; ++i) total += mixed(first + i);
  return total;
}

std::uint64_t small(std::uint64_t x) { return mixed(x); }
std::uint64_t busy(std::uint64_t x) {
  for (std::uint64_t i = 0; i < x % 4 * 500'000; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
  return mixed(x);
}
std::uint64_t add_up(std::span<const std::uint64_t> numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), std::uint64_t{0});
}
std::uint64_t nested(std::uint64_t x) {
  std::vector<rayx::ObjectRef<std::uint64_t>> refs;
  for (std::uint64_t i = 0; i < 4; ++i) refs.push_back(rayx::remote<small>(kForEver, x + i));
  std::uint64_t total = 0;
  for (const auto& ref : refs) total += rayx::get(ref);
  return total;
}
std::uint64_t print(std::uint64_t x) {
  std::cout << "a line of " << x << '\n';
  return mixed(x);
}

// References inside values: objects of this program's that a task reads somewhere else, done or not, large or small.
std::uint64_t read_all(const std::vector<rayx::ObjectRef<std::vector<std::uint64_t>>>& refs) {
  std::uint64_t total = 0;
  for (const auto& ref : refs) total += add_up(rayx::get(ref));
  return total;
}
// An object that the worker owns, which dies with it: the only loss that may be seen.
rayx::ObjectRef<std::uint64_t> make_there(std::uint64_t x) { return rayx::remote<busy>(kForEver, x); }

struct Adder {
  std::uint64_t total = 0;
  std::uint64_t add(std::uint64_t x) { return total += x; }
};

struct Expected {
  rayx::ObjectRef<std::uint64_t> ref;
  std::uint64_t value;
};

// Objects of all sizes, put here or made by tasks, and a task that reads them through their references.
Expected submit_with_references(std::mt19937_64& random) {
  std::vector<rayx::ObjectRef<std::vector<std::uint64_t>>> refs;
  std::uint64_t total = 0;
  for (std::uint64_t left = 1 + random() % 4; left > 0; --left) {
    const std::uint64_t x = random() % 1'000'000;
    const std::size_t count = random() % 4 == 0 ? 50'000 + random() % 50'000 : 1 + random() % 100;
    if (random() % 2 == 0) {
      refs.push_back(rayx::put(numbers_of(x, count)));
    } else {
      refs.push_back(rayx::remote<numbers_of>(kForEver, x, count));
    }
    total += sum_of(x, count);
  }
  return {rayx::remote<read_all>(kForEver, refs), total};
}

// One task of a random kind.
Expected submit_one(std::mt19937_64& random) {
  const std::uint64_t x = random() % 1'000'000;
  const std::size_t count = random() % 8 == 0 ? 200'000 + random() % 300'000 : 1 + random() % 20'000;
  switch (random() % 12) {
    case 0: return {rayx::remote<busy>(kForEver, x), mixed(x)};
    case 1: return {rayx::remote<add_up>(kForEver, rayx::put(numbers_of(x, count))), sum_of(x, count)};
    case 2: return {rayx::remote<add_up>(kForEver, rayx::remote<numbers_of>(kForEver, x, count)), sum_of(x, count)};
    case 3: return {rayx::remote<nested>(kForEver, x), sum_of(x, 4)};
    case 4: return {rayx::remote<print>(kForEver, x), mixed(x)};
    case 6: return submit_with_references(random);
    case 5: return {rayx::remote<small>(kForEver, rayx::remote<small>(kForEver, x)), mixed(mixed(x))};
    default: return {rayx::remote<small>(kForEver, x), mixed(x)};
  }
}

// What may be lost, and was: with its owner, or with its actor.
struct Losses {
  std::uint64_t objects = 0;
  std::uint64_t actors = 0;
};

// Objects that workers own. False: one is wrong.
bool objects_of_others_are_right(std::mt19937_64& random, Losses& losses) {
  std::vector<std::pair<rayx::ObjectRef<rayx::ObjectRef<std::uint64_t>>, std::uint64_t>> made_there;
  for (std::uint64_t left = random() % 8; left > 0; --left) {
    const std::uint64_t x = random() % 1'000'000;
    made_there.emplace_back(rayx::remote<make_there>(kForEver, x), mixed(x));
  }
  for (const auto& [outer, value] : made_there) {
    try {
      if (rayx::get(rayx::get(outer)) != value) return false;
    } catch (const rayx::ObjectLost&) {
      ++losses.objects;
    }
  }
  return true;
}

// An actor's calls happen in order, each once, until it dies. False: a result is wrong.
bool actors_are_right(std::mt19937_64& random, Losses& losses) {
  for (std::uint64_t left = random() % 3; left > 0; --left) {
    const auto adder = rayx::actor<Adder>();
    std::vector<std::pair<rayx::ObjectRef<std::uint64_t>, std::uint64_t>> totals;
    std::uint64_t total = 0;
    for (std::uint64_t calls = random() % 30; calls > 0; --calls) {
      const std::uint64_t x = random() % 1'000;
      totals.emplace_back(adder.call<&Adder::add>(x), total += x);
    }
    try {
      for (const auto& [ref, value] : totals)
        if (rayx::get(ref) != value) return false;
    } catch (const rayx::ActorDied&) {
      ++losses.actors;
    }
  }
  return true;
}

int run(double seconds, std::uint64_t seed) {
  using Clock = std::chrono::steady_clock;
  std::mt19937_64 random(seed);
  const auto end =
      Clock::now() + std::chrono::duration<double>(seconds);  // tidy: allow no-clock: a program of a user's
  std::uint64_t tasks = 0;
  std::uint64_t rounds = 0;
  Losses losses;
  do {
    std::vector<Expected> all;
    for (std::uint64_t left = 20 + random() % 200; left > 0; --left) all.push_back(submit_one(random));
    for (const Expected& one : all) {
      const std::uint64_t value = rayx::get(one.ref);
      if (value == one.value) continue;
      std::cout << "wrong: " << value << " instead of " << one.value << '\n';
      return 1;
    }
    if (!objects_of_others_are_right(random, losses) || !actors_are_right(random, losses)) {
      std::cout << "wrong: an object of another node, or what an actor says\n";
      return 1;
    }
    tasks += all.size();
    if (++rounds == 1) std::cout << "under way" << std::endl;  // tidy: allow no-endl: the test waits for it
  } while (Clock::now() < end);                                // tidy: allow no-clock: a program of a user's
  std::cout << "all right: " << tasks << " tasks in " << rounds << " rounds, lost " << losses.objects
            << " objects with their owners and " << losses.actors << " actors\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    rayx::Config config;
    config.store_bytes = 256u << 20;  // less than all rounds together need: what is never given back would be missed
    const rayx::Runtime runtime = rayx::init(config);
    return run(argc > 1 ? std::atof(argv[1]) : 0, argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
  } catch (const rayx::Exception& error) {
    std::cout << "error: " << error.what() << '\n';
    return 4;
  }
}
