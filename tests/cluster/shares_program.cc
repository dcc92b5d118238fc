// A program that always has tasks to do, until the tally says that it is over: shares_program TALLY NUMBER.
#include <poll.h>

#include <cstdlib>
#include <deque>
#include <iostream>
#include <rayx/rayx.hpp>
#include <string>

#include "shares.hpp"

namespace {

using rayx::cluster_test::map_tally;
using rayx::cluster_test::Tally;

// A task that has a CPU for some milliseconds, and needs none: so it is leases that are counted, and not what else the machine does.
void hold_cpu(const std::string& path, int number) {
  static Tally& tally = map_tally(path);
  Tally::Program& mine = tally.programs[number];
  if (mine.running.fetch_add(1) > 0) ++mine.beside;
  std::int64_t at_once = 0;
  for (const Tally::Program& program : tally.programs) at_once += program.running.load();
  std::int64_t most = tally.most_at_once.load();
  while (at_once > most && !tally.most_at_once.compare_exchange_weak(most, at_once)) {
  }
  ::poll(nullptr, 0, 3);
  mine.running.fetch_sub(1);
  ++mine.done;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::string path = argv[1];
  const int number = std::atoi(argv[2]);
  constexpr std::size_t kUnderWay = 50;
  try {
    const rayx::Runtime runtime = rayx::init();
    const Tally& tally = map_tally(path);
    std::deque<rayx::ObjectRef<void>> refs;
    while (tally.is_over.load() == 0) {
      while (refs.size() < kUnderWay) refs.push_back(rayx::remote<hold_cpu>(path, number));
      rayx::get(refs.front());
      refs.pop_front();
    }
    for (const auto& ref : refs) rayx::get(ref);
  } catch (const rayx::Exception& error) {
    std::cout << "error: " << error.what() << '\n';
    return 4;
  }
  return 0;
}
