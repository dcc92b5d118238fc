// The cluster itself: how fast it comes and goes, a hundred actors, and what it costs when nothing happens.
#include <dirent.h>

#include <algorithm>
#include <cctype>
#include <ctime>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "cases.hpp"

namespace bench {
namespace {

// From init() to the value of a first task. bench/run starts a fresh process for each figure.
void init_to_first_task() {
  std::uint64_t result = 0;
  const auto begin = std::chrono::steady_clock::now();
  const rayx::Runtime runtime = rayx::init();
  result = rayx::get(rayx::remote<next_number>(std::uint64_t{41}));
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
  check_sum(value_of(result), 42, "wrong result of the first task");
  report("init_to_first_task", "ms", time.count());
}

// Until shutdown() returns, after workers have worked and an object lies in the store.
void shutdown_time() {
  const rayx::Runtime runtime = rayx::init();
  std::vector<rayx::ObjectRef<std::uint64_t>> refs;
  for (std::uint64_t i = 0; i < kBatch; ++i) refs.push_back(rayx::remote<next_number>(i));
  std::uint64_t sum = 0;
  for (const std::uint64_t result : rayx::get(refs)) sum += value_of(result);
  check_sum(sum, sum_to(kBatch), "wrong results");
  const rayx::ObjectRef<std::vector<double>> object = rayx::put(std::vector<double>(1'000'000, 1.0));
  report("shutdown", "ms", 1e3 * seconds_of([&] { rayx::shutdown(); }));
}

class Member {
 public:
  std::uint64_t who(std::uint64_t x) { return stamp(x + 1); }
};

// 100 actors, each a process of its own, until each has answered one call.
void actors_100() {
  const rayx::Runtime runtime = rayx::init();
  value_of(rayx::get(rayx::remote<next_number>(std::uint64_t{0})));  // the cluster is up
  constexpr std::uint64_t kActors = 100;
  std::vector<rayx::ActorHandle<Member>> actors;
  std::set<std::uint32_t> pids;
  std::uint64_t sum = 0;
  const double seconds = seconds_of([&] {
    std::vector<rayx::ObjectRef<std::uint64_t>> refs;
    for (std::uint64_t i = 0; i < kActors; ++i) {
      actors.push_back(rayx::actor<Member>());
      refs.push_back(actors.back().call<&Member::who>(i));
    }
    for (const std::uint64_t result : rayx::get(refs)) {
      sum += value_of(result);
      pids.insert(pid_of(result));
    }
  });
  check_sum(sum, sum_to(kActors), "wrong results");
  check(same_process_allowed || pids.size() == kActors, "the actors are not 100 processes",
        std::to_string(pids.size()));
  report("actors_100", "ms", seconds * 1e3);
}

// This process and all that descend from it, by /proc.
std::vector<pid_t> process_tree() {
  std::multimap<pid_t, pid_t> children;
  DIR* const proc = ::opendir("/proc");
  check(proc != nullptr, "cannot read /proc");
  while (const dirent* entry = ::readdir(proc)) {
    if (std::isdigit(static_cast<unsigned char>(entry->d_name[0])) == 0) continue;
    std::ifstream file(std::string("/proc/") + entry->d_name + "/stat");
    std::string stat;
    std::getline(file, stat);
    const std::size_t name_end = stat.rfind(')');  // the name may hold anything
    if (name_end == std::string::npos || name_end + 4 >= stat.size()) continue;
    children.emplace(static_cast<pid_t>(std::atoi(stat.c_str() + name_end + 4)),
                     static_cast<pid_t>(std::atoi(entry->d_name)));
  }
  ::closedir(proc);
  std::vector<pid_t> tree = {::getpid()};
  for (std::size_t i = 0; i < tree.size(); ++i) {
    const auto [begin, end] = children.equal_range(tree[i]);
    for (auto child = begin; child != end; ++child) tree.push_back(child->second);
  }
  return tree;
}

// CPU time of a process with all its threads; finer than the ticks of /proc/PID/stat.
double cpu_seconds(pid_t pid) {
  clockid_t clock{};
  timespec time{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &time) != 0) return 0;  // it has ended
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// Driver, fork server, workers and an actor, all after work and then with nothing to do: percent of one core.
void idle_cpu() {
  const rayx::Runtime runtime = rayx::init();
  auto actor = rayx::actor<Member>();
  std::set<std::uint32_t> pids = {own_pid(), pid_of(rayx::get(actor.call<&Member::who>(std::uint64_t{0})))};
  std::vector<rayx::ObjectRef<std::uint64_t>> refs;
  for (std::uint64_t i = 0; i < kBatch; ++i) refs.push_back(rayx::remote<next_number>(i));
  for (const std::uint64_t result : rayx::get(refs)) pids.insert(pid_of(result));

  std::this_thread::sleep_for(
      std::chrono::milliseconds(400));  // spinning and background work of the start come to their end
  constexpr auto kIdle = std::chrono::milliseconds(1200);
  const std::vector<pid_t> tree = process_tree();
  for (const std::uint32_t pid : pids) {
    check(std::find(tree.begin(), tree.end(), static_cast<pid_t>(pid)) != tree.end(),
          "a worker is not below the driver");
  }
  const auto total = [&tree] {
    double seconds = 0;
    for (const pid_t pid : tree) seconds += cpu_seconds(pid);
    return seconds;
  };
  const double before = total();
  const double elapsed = seconds_of([&] { std::this_thread::sleep_for(kIdle); });
  report("idle_cpu", "%", (total() - before) / elapsed * 100);
  check_sum(value_of(rayx::get(rayx::remote<next_number>(std::uint64_t{41}))), 42, "it did not wake up again");
}

constexpr Case kCases[] = {
    {"init_to_first_task", init_to_first_task},
    {"shutdown", shutdown_time},
    {"actors_100", actors_100},
    {"idle_cpu", idle_cpu},
};

}  // namespace

std::span<const Case> cluster_cases() { return kCases; }

}  // namespace bench
