// A program that uses a cluster, for links_test and hostile_test: what it does is its first argument.
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <rayx/rayx.hpp>
#include <set>
#include <string>
#include <vector>

namespace {

std::string name_of_this_node() {
  const char* const name = std::getenv("RAYX_TEST_NODE");
  return name == nullptr || *name == '\0' ? "nowhere" : name;
}

// Says where it is, and stays there until the test lets go whoever is on that node.
std::string stay(const std::string& folder) {
  const std::string node = name_of_this_node();
  std::ofstream(folder + "/began-" + node) << ::getpid();
  while (!std::filesystem::exists(folder + "/go-" + node)) ::poll(nullptr, 0, 1);
  return node;
}

// Tasks that the test holds, one for each CPU of two nodes and some more.
int hold(const std::string& folder, int max_retries) {
  constexpr int kTasks = 8;
  std::vector<rayx::ObjectRef<std::string>> refs;
  for (int i = 0; i < kTasks; ++i)
    refs.push_back(rayx::remote<stay>(rayx::TaskOptions{.max_retries = max_retries}, folder));
  std::cout << "held" << std::endl;  // tidy: allow no-endl: the test reads it while this process waits
  for (const auto& ref : refs) {
    try {
      std::cout << "done on " << rayx::get(ref) << '\n';
    } catch (const rayx::WorkerDied& error) {
      std::cout << "lost: " << error.what() << '\n';
    }
  }
  return 0;
}

std::string where(int) { return name_of_this_node(); }

// The names of the nodes that work.
int count_nodes() {
  std::set<std::string> names;
  std::vector<rayx::ObjectRef<std::string>> refs;
  for (int i = 0; i < 2'000; ++i) refs.push_back(rayx::remote<where>(i));
  for (const auto& ref : refs) names.insert(rayx::get(ref));
  for (const std::string& name : names) std::cout << "node " << name << '\n';
  return 0;
}

// A value that takes seconds on a slow link.
std::string look_at(const std::vector<std::uint8_t>& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 7; }) ? name_of_this_node()
                                                                                              : "damaged";
}
int carry(std::size_t bytes) {
  const rayx::TaskOptions once{.max_retries = 0};
  std::cout << "looked at on " << rayx::get(rayx::remote<look_at>(once, std::vector<std::uint8_t>(bytes, 7))) << '\n';
  return 0;
}

int next(int x) { return x + 1; }

// One small task after the other until the test makes the file; then how long the slow ones of them took.
int call_until(const std::string& stop_file) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> us;
  for (int i = 0; i % 64 != 0 || !std::filesystem::exists(stop_file); ++i) {
    const auto begin = Clock::now();  // tidy: allow no-clock: a program of a user's
    if (rayx::get(rayx::remote<next>(i)) != i + 1) return 1;
    // tidy: allow no-clock: a program of a user's
    us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
    if (i == 0) std::cout << "calling" << std::endl;  // tidy: allow no-endl: the test reads it while this process works
  }
  std::sort(us.begin(), us.end());
  std::cout << "calls " << us.size() << ", all right; median " << us[us.size() / 2] << " us, p99 "
            << us[us.size() * 99 / 100] << " us\n";
  return 0;
}

// What the cluster keeps for its programs, asked from tasks on its nodes.
bool remember(const std::string& key) {
  return rayx::KeyValues("links").put_if_absent(key, "from " + name_of_this_node());
}
std::string recall(const std::string& key) { return rayx::KeyValues("links").get(key).value_or("nothing"); }

int say(const std::string& text) {
  rayx::publish("links", text);
  return 0;
}
// Prints what is published until somebody says "end".
int listen() {
  rayx::Subscription channel("links");
  std::cout << "listening" << std::endl;  // tidy: allow no-endl: the test reads it while this process waits
  for (;;) {
    const rayx::Message message = *channel.next();
    if (message.payload == "end") return 0;
    const char* const missed = message.missed == 0                      ? ""
                               : message.missed == rayx::kMissedUnknown ? " after nobody knows how many"
                                                                        : " after some";
    std::cout << "heard " << message.payload << missed << std::endl;  // tidy: allow no-endl: as above
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const std::string argument = argc > 2 ? argv[2] : "";
  try {
    const rayx::Runtime runtime = rayx::init();
    if (what == "hold") return hold(argument, 3);
    if (what == "hold-once") return hold(argument, 0);
    if (what == "count") return count_nodes();
    if (what == "carry") return carry(std::strtoull(argument.c_str(), nullptr, 10));
    if (what == "call-until") return call_until(argument);
    if (what == "listen") return listen();
    if (what == "say") return rayx::get(rayx::remote<say>(argument));
    if (what == "remember") std::cout << "first: " << rayx::get(rayx::remote<remember>(argument)) << '\n';
    if (what == "recall") std::cout << rayx::get(rayx::remote<recall>(argument)) << '\n';
    if (what == "remember" || what == "recall") return 0;
  } catch (const rayx::Exception& error) {
    std::cout << "error: " << error.what() << '\n';
    return 4;
  }
  return 5;
}
