// A program that makes and uses a detached actor, for detached_test: what it does is its first argument. It is built twice, and the
// two are not the same program.
#include <poll.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <rayx/rayx.hpp>
#include <string>
#include <utility>
#include <vector>

namespace {

using Bytes = std::vector<std::uint8_t>;

std::string name_of_this_node() {
  const char* const name = std::getenv("RAYX_TEST_NODE");
  return name == nullptr || *name == '\0' ? "nowhere" : name;
}
std::uint64_t sum_of(const Bytes& bytes) { return std::accumulate(bytes.begin(), bytes.end(), std::uint64_t{0}); }
Bytes make_bytes(std::size_t count, int value) { return Bytes(count, static_cast<std::uint8_t>(value)); }
int square(int x) { return x * x; }
int slowly(int x) {
  ::poll(nullptr, 0, 200);
  return x;
}

struct Listener {
  std::vector<int> heard;
  int hear(int what) {
    heard.push_back(what);
    return static_cast<int>(heard.size());
  }
  int count() { return static_cast<int>(heard.size()); }
};

struct Counter {
  int count = 0;
  std::vector<std::pair<int, int>> calls;

  explicit Counter(int begin) : count(begin) {}
  int add(int more) { return count += more; }
  std::string node() { return name_of_this_node(); }
  int speak() {
    std::cout << "the counter speaks\n" << std::flush;
    return 0;
  }
  int pid() { return ::getpid(); }
  int note(int who, int what) {
    calls.emplace_back(who, what);
    return static_cast<int>(calls.size());
  }
  // Whether each caller's calls came in its order; how many they are.
  int in_order(int callers) {
    std::vector<int> last(static_cast<std::size_t>(callers), -1);
    for (const auto& [who, what] : calls)
      if (std::exchange(last[static_cast<std::size_t>(who)], what) != what - 1) return -1;
    return static_cast<int>(calls.size());
  }
  std::uint64_t sum(const Bytes& bytes) { return sum_of(bytes); }
  std::uint64_t sum_inside(const rayx::ObjectRef<Bytes>& bytes) { return sum_of(rayx::get(bytes)); }
  Bytes give(std::size_t bytes) { return make_bytes(bytes, 3); }
  rayx::ObjectRef<Bytes> give_reference(std::size_t bytes) { return rayx::put(make_bytes(bytes, 5)); }
  int tell(const rayx::ActorHandle<Listener>& listener, int what) {
    return rayx::get(listener.call<&Listener::hear>(what));
  }
  int work(int x) { return rayx::get(rayx::remote<square>(x)); }
  int child() {
    if (!listener) listener = rayx::actor<Listener>();
    return rayx::get(listener.call<&Listener::hear>(1));
  }
  std::size_t nodes() { return rayx::nodes().size(); }
  rayx::ActorHandle<Listener> listener;
};
struct Holder {
  explicit Holder(const rayx::ObjectRef<int>& held) : held_(held) {}
  int value() { return rayx::get(held_); }
  rayx::ObjectRef<int> held_;
};

void say(const std::string& text) { std::cout << text << std::endl; }  // tidy: allow no-endl: the test reads it at once

rayx::ActorHandle<Counter> make(int restarts) {
  return rayx::actor<Counter>(
      rayx::ActorOptions{.name = "counter", .detached = true, .max_restarts = restarts, .max_task_retries = restarts},
      100);
}
rayx::ActorHandle<Counter> find() { return rayx::get_actor<Counter>("counter"); }

void count_on(const rayx::ActorHandle<Counter>& counter) {
  say("count " + std::to_string(rayx::get(counter.call<&Counter::add>(1))) + " on " +
      rayx::get(counter.call<&Counter::node>()));
}
[[noreturn]] void wait_for_ever() {
  for (;;) ::pause();
}

// Values of all sizes, and references of all kinds, there and back.
void exchange_values(const rayx::ActorHandle<Counter>& counter) {
  constexpr std::size_t kSizes[] = {10, 10'000, 300'000, 5'000'000};
  for (const std::size_t size : kSizes) {
    const rayx::ObjectRef<Bytes> mine = rayx::put(make_bytes(size, 2));
    const rayx::ObjectRef<Bytes> of_a_task = rayx::remote<make_bytes>(size, 4);
    const bool is_right =
        rayx::get(counter.call<&Counter::sum>(make_bytes(size, 1))) == size &&
        rayx::get(counter.call<&Counter::sum>(mine)) == 2 * size &&
        rayx::get(counter.call<&Counter::sum_inside>(mine)) == 2 * size &&
        rayx::get(counter.call<&Counter::sum>(of_a_task)) == 4 * size &&
        rayx::get(counter.call<&Counter::sum_inside>(of_a_task)) == 4 * size &&
        sum_of(rayx::get(counter.call<&Counter::give>(size))) == 3 * size &&
        sum_of(rayx::get(rayx::get(counter.call<&Counter::give_reference>(size)))) == 5 * size &&
        rayx::get(counter.call<&Counter::sum>(counter.call<&Counter::give>(size))) == 3 * size &&
        rayx::get(counter.call<&Counter::sum_inside>(rayx::get(counter.call<&Counter::give_reference>(size)))) ==
            5 * size;
    say(std::to_string(size) + (is_right ? " right" : " wrong"));
  }
}

// What it gives goes on to tasks on other nodes of this program, and so does its handle.
std::uint64_t use_elsewhere(const rayx::ActorHandle<Counter>& counter, const rayx::ObjectRef<Bytes>& bytes) {
  return sum_of(rayx::get(bytes)) + rayx::get(counter.call<&Counter::sum_inside>(bytes));
}

int run(const std::string& what, const std::string& argument) {
  if (what == "make") return count_on(make(0)), 0;
  if (what == "only-make") {  // of what is not there yet
    static_cast<void>(
        rayx::actor<Counter>(rayx::ActorOptions{.name = "counter", .detached = true}, rayx::remote<slowly>(100)));
    return 0;
  }
  if (what == "make-what-cannot-begin") {
    static_cast<void>(rayx::actor<Counter>(
        rayx::ActorOptions{.name = "nowhere", .detached = true, .labels = {{"zone", {"nowhere"}}}}, 1));
    return 0;
  }
  if (what == "make-lasting") return count_on(make(10)), 0;
  if (what == "make-in-zone") {
    count_on(rayx::actor<Counter>(rayx::ActorOptions{.name = "counter",
                                                     .detached = true,
                                                     .max_restarts = 10,
                                                     .max_task_retries = 10,
                                                     .labels = {{"zone", {"z"}}}},
                                  100));
    return 0;
  }
  if (what == "make-and-stay") {
    count_on(make(10));
    wait_for_ever();
  }
  if (what == "make-or-find") {
    count_on(rayx::actor<Counter>(rayx::ActorOptions{.name = "counter", .get_if_exists = true, .detached = true}, 100));
    return 0;
  }
  if (what == "make-with-a-reference") {
    const auto holder = rayx::actor<Holder>(rayx::ActorOptions{.name = "holder", .detached = true}, rayx::put(7));
    say(std::to_string(rayx::get(holder.call<&Holder::value>())));
    return 0;
  }
  if (what == "make-without-a-name") {
    return count_on(rayx::actor<Counter>(rayx::ActorOptions{.detached = true}, 1)), 0;
  }
  const rayx::ActorHandle<Counter> counter = find();
  if (what == "count") return count_on(counter), 0;
  if (what == "count-and-stay") {
    count_on(counter);
    wait_for_ever();
  }
  if (what == "keep-counting") {
    bool was_lost = false;
    for (count_on(counter); !std::filesystem::exists(argument);) {
      try {
        rayx::get(counter.call<&Counter::add>(1));
        if (std::exchange(was_lost, false)) say("counts again");
      } catch (const rayx::ActorDied&) {
        if (!std::exchange(was_lost, true)) say("a call was lost");
      }
    }
    return 0;
  }
  if (what == "speak") return rayx::get(counter.call<&Counter::speak>());
  if (what == "pid") return say(std::to_string(rayx::get(counter.call<&Counter::pid>()))), 0;
  if (what == "kill") return rayx::kill(counter), 0;
  if (what == "values") return exchange_values(counter), 0;
  if (what == "elsewhere") {
    std::vector<rayx::ObjectRef<std::uint64_t>> sums;
    const rayx::ObjectRef<Bytes> bytes = rayx::get(counter.call<&Counter::give_reference>(400'000));
    for (int i = 0; i < 8; ++i)
      sums.push_back(rayx::remote<use_elsewhere>(rayx::TaskOptions{.spread = true}, counter, bytes));
    for (const auto& sum : sums)
      if (rayx::get(sum) != 4'000'000) return 1;
    return say("right"), 0;
  }
  if (what == "be-told") {
    const auto listener = rayx::actor<Listener>();
    for (int i = 0; i < 3; ++i) rayx::get(counter.call<&Counter::tell>(listener, i));
    return say("heard " + std::to_string(rayx::get(listener.call<&Listener::count>()))), 0;
  }
  if (what == "work") {
    say("work " + std::to_string(rayx::get(counter.call<&Counter::work>(7))) + ", child " +
        std::to_string(rayx::get(counter.call<&Counter::child>())) + ", nodes " +
        std::to_string(rayx::get(counter.call<&Counter::nodes>())));
    return 0;
  }
  if (what == "note") {  // as caller 0 or 1
    const int who = argument == "1" ? 1 : 0;
    std::vector<rayx::ObjectRef<int>> answers;
    for (int i = 0; i < 2'000; ++i) answers.push_back(counter.call<&Counter::note>(who, i));
    for (const auto& answer : answers) rayx::get(answer);
    return 0;
  }
  if (what == "in-order") return say("in order: " + std::to_string(rayx::get(counter.call<&Counter::in_order>(2)))), 0;
  return 5;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const rayx::Runtime runtime = rayx::init();
    return run(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : "");
  } catch (const rayx::Exception& error) {
    say(std::string("error: ") + error.what());
    return 4;
  }
}
#ifdef RAYX_TEST_OTHER_BUILD
extern const char* const kOtherBuild;
const char* const kOtherBuild = "the same source, and not the same program";
#endif
