// What befalls another node while a program works on it: it is killed, its link is cut, strangers flood its port.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cases.hpp"
#include "kit/flood.hpp"
#include "kit/proxy.hpp"
#include "other_node.hpp"

namespace bench {
namespace {

std::uint64_t for_ever(const std::string& begun) {
  std::ofstream(begun) << ::getpid();
  for (;;) ::pause();
}

// From the blow until the program has the error of a task that was there.
template <class Blow>
double ms_until_noticed(Blow blow) {
  const rayx::Runtime runtime = rayx::init();
  value_of(rayx::get(rayx::remote<next_number>(std::uint64_t{0})));
  // A task that has not begun there would wait for another node.
  const std::string begun =
      (std::filesystem::temp_directory_path() / ("rayx-bench-begun-" + std::to_string(::getpid()))).string();
  std::filesystem::remove(begun);
  const auto lost = rayx::remote<for_ever>(rayx::TaskOptions{.max_retries = 0}, begun);
  while (!std::filesystem::exists(begun)) ::poll(nullptr, 0, 1);
  std::filesystem::remove(begun);
  bool was_noticed = false;
  const double seconds = seconds_of([&] {
    blow();
    try {
      rayx::get(lost);
    } catch (const rayx::WorkerDied&) {
      was_noticed = true;
    }
  });
  check(was_noticed, "the task of a dead node gave a result");
  return seconds * 1e3;
}

void node_death_detected() {
  {
    OtherNode node;
    report("node_death_detected", "ms", ms_until_noticed([&] { node.kill(); }));
  }
  rayx::kit::Proxy cable("127.0.0.1:1");  // until it is known where the node listens
  const OtherNode node(cable.address());
  cable.set_target(node.address());
  report("node_death_detected_cut", "ms", ms_until_noticed([&] { cable.set({.is_silent = true}); }));
}

// The slow ones of the calls that a program makes, one after the other, for so long.
double p99_us_of_calls(double seconds) {
  std::vector<double> times_us;
  double total = 0;
  for (std::uint64_t i = 0; total < seconds; ++i) {
    const double one = seconds_of(
        [&] { check(value_of(rayx::get(rayx::remote<next_number>(i))) == i + 1, "a call gave a wrong result"); });
    times_us.push_back(one * 1e6);
    total += one;
  }
  const auto p99 = times_us.begin() + static_cast<std::ptrdiff_t>(times_us.size() * 99 / 100);
  std::nth_element(times_us.begin(), p99, times_us.end());
  return *p99;
}

// As many handshakes as the machine can make, half of which prove a token, and a wrong one. The limit is the same without them.
void handshake_flood() {
  const OtherNode node;
  const rayx::Runtime runtime = rayx::init();
  p99_us_of_calls(0.5);
  const double quiet_us = p99_us_of_calls(2);
  std::string opening("rayxwire\1\0\1\0", 12);  // docs/design/wire.md
  opening.resize(48);
  std::string proof("\1");
  proof.resize(40);
  double flooded_us = 0;
  {
    const rayx::kit::Flood proving(node.address(), {opening, opening.size(), proof}, 200);
    const rayx::kit::Flood rude(node.address(), {"garbage!", 0, ""}, 200);
    flooded_us = p99_us_of_calls(4);
    check(proving.answered() + rude.answered() > 100, "the flood was none",
          std::to_string(proving.answered()) + " and " + std::to_string(rude.answered()) + " handshakes");
  }
  report("handshake_flood", "us", flooded_us, quiet_us);
}

constexpr Case kCases[] = {
    {"node_death_detected", node_death_detected},
    {"handshake_flood", handshake_flood},
};

}  // namespace

std::span<const Case> fault_cases() { return kCases; }

}  // namespace bench
