// A program that uses a cluster, for nodes_test: what it does is its first argument.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <numeric>
#include <rayx/rayx.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "visitor_library.hpp"

namespace {

int square(int x) { return x * x; }
int from_the_library(int x) { return private_triple(x); }
long sum(const std::vector<int>& numbers) { return std::accumulate(numbers.begin(), numbers.end(), 0L); }
// A file says that it has begun.
int for_ever(const std::string& file) {
  std::ofstream(file).put('x');
  for (;;) ::pause();
}
int die_once(int first_pid_file) {
  if (first_pid_file == 0) ::raise(SIGKILL);
  return first_pid_file;
}

int print_lines(int count) {
  for (int i = 0; i < count; ++i) std::cout << "line " << i << " of what a worker prints\n";
  std::cerr << "and one to stderr\n";
  std::cout << "the last word, without an end";
  return count;
}

int first_of(const std::vector<rayx::ObjectRef<int>>& refs) { return rayx::get(refs.at(0)); }
int use_references() {
  const std::vector<rayx::ObjectRef<int>> refs = {rayx::put(7)};
  return rayx::get(rayx::remote<first_of>(refs));
}
struct Counter {
  long total = 0;
  long add(int x) { return total += x; }
  std::string where() const {
    const char* const name = std::getenv("RAYX_TEST_NODE");
    return name == nullptr ? "" : name;
  }
};
// From any node: as many calls as `times`, in order.
long add_all(rayx::ActorHandle<Counter> counter, int times) {
  long last = 0;
  for (int i = 1; i <= times; ++i) {
    const long now = rayx::get(counter.call<&Counter::add>(1));
    if (now <= last) throw std::runtime_error("a call overtook another one");
    last = now;
  }
  return last;
}
// Actors on the nodes, called from here and from tasks on other nodes.
int use_actors() {
  constexpr int kActors = 4;
  std::vector<rayx::ActorHandle<Counter>> counters;
  for (int i = 0; i < kActors; ++i) counters.push_back(rayx::actor<Counter>(rayx::ActorOptions{.num_cpus = 1}));
  std::vector<rayx::ObjectRef<long>> sums;
  for (int i = 0; i < 40; ++i)
    sums.push_back(rayx::remote<add_all>(counters[static_cast<std::size_t>(i % kActors)], 25));
  for (const auto& sum : sums) rayx::get(sum);
  for (const auto& counter : counters)
    std::cout << "actor on " << rayx::get(counter.call<&Counter::where>()) << ": "
              << rayx::get(counter.call<&Counter::add>(0)) << '\n';
  return 0;
}

int where() { return ::getppid(); }
int busy(int x) {
  for (int i = 0; i < 50'000; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
  return x;
}

// Tasks that any node may do, and as often as it takes: nodes are killed meanwhile.
int survive(int count) {
  const rayx::TaskOptions options{.max_retries = -1};
  std::vector<rayx::ObjectRef<int>> refs;
  for (int i = 0; i < count; ++i) refs.push_back(rayx::remote<busy>(options, i));
  rayx::get(refs[static_cast<std::size_t>(count) / 10]);
  std::cout << "under way" << std::endl;  // tidy: allow no-endl: the test reads it while this process works
  long total = 0;
  for (const auto& ref : refs) total += rayx::get(ref);
  std::cout << "total " << total << '\n';
  return 0;
}

int count_nodes() {
  std::set<int> forkservers;
  std::vector<rayx::ObjectRef<int>> refs;
  for (int i = 0; i < 2'000; ++i) refs.push_back(rayx::remote<where>());
  for (const auto& ref : refs) forkservers.insert(rayx::get(ref));
  std::cout << "nodes " << forkservers.size() << '\n';
  return 0;
}

int squares(int count) {
  std::vector<rayx::ObjectRef<int>> refs;
  for (int i = 0; i < count; ++i) refs.push_back(rayx::remote<square>(i));
  long total = 0;
  for (const auto& ref : refs) total += rayx::get(ref);
  std::cout << "squares " << total << '\n';
  std::cout << "triple " << rayx::get(rayx::remote<from_the_library>(7)) << '\n';
  std::cout << "sum " << rayx::get(rayx::remote<sum>(rayx::put(std::vector<int>(100'000, 3)))) << '\n';
  return 0;
}

int wait_until_killed() {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("rayx-visitor-" + std::to_string(::getpid()));
  const auto a = rayx::remote<for_ever>(rayx::TaskOptions{.max_retries = 0}, file.string());
  const auto b = rayx::remote<for_ever>(rayx::TaskOptions{.max_retries = 0}, file.string());
  while (!std::filesystem::exists(file)) std::this_thread::yield();
  std::filesystem::remove(file);
  std::cout << "waiting" << std::endl;  // tidy: allow no-endl: the test reads it while this process waits
  try {
    return rayx::get(a) + rayx::get(b);
  } catch (const rayx::WorkerDied& error) {
    std::cout << "lost: " << error.what() << '\n';
    return 3;
  }
}

int crash() {
  try {
    return rayx::get(rayx::remote<die_once>(rayx::TaskOptions{.max_retries = 1}, 0));
  } catch (const rayx::WorkerDied& error) {
    std::cout << "died: " << error.what() << '\n';
    return 0;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "squares";
  try {
    const rayx::Runtime runtime = rayx::init();
    if (what == "squares") return squares(1'000);
    if (what == "wait") return wait_until_killed();
    if (what == "crash") return crash();
    if (what == "references") return use_references();
    if (what == "actors") return use_actors();
    if (what == "survive") return survive(20'000);
    if (what == "nodes") return count_nodes();
    if (what == "print") return rayx::get(rayx::remote<print_lines>(30'000)) == 30'000 ? 0 : 1;
  } catch (const rayx::Exception& error) {
    std::cout << "error: " << error.what() << '\n';
    return 4;
  }
  return 5;
}
