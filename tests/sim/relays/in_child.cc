#include "in_child.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/check.hpp"
#include "base/planted_bug.hpp"

namespace rayx::sim {
namespace {

constexpr std::uint64_t kSeedsOfChild = 25;
constexpr int kSecondsOfSeed = 20;  // of real time: something goes round in circles

// What a child says about one seed. Those that it has not said when it ends are not done.
struct Said {
  std::uint64_t seed;
  std::uint64_t events;
  std::uint64_t trace;
  RelayCounts counts;
  std::array<char, 1'000> problem;
};

[[noreturn]] void be_child(std::uint64_t first, std::uint64_t count, int planted_bug, int to, int errors) {
  ::dup2(errors, 2);
  base::g_planted_bug = planted_bug;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    ::alarm(kSecondsOfSeed);
    const RelayOutcome outcome = World(seed).run();
    Said said{seed, outcome.events, outcome.trace, outcome.counts, {}};
    std::strncpy(said.problem.data(), outcome.problem.c_str(), said.problem.size() - 1);
    if (::write(to, &said, sizeof(said)) != static_cast<ssize_t>(sizeof(said)) || !outcome.problem.empty()) break;
  }
  ::_exit(0);
}

bool read_whole(int from, void* to, std::size_t bytes) {
  auto* at = static_cast<char*>(to);
  while (bytes != 0) {
    const ssize_t got = ::read(from, at, bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    bytes -= static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace

SeedsResult run_seeds(std::uint64_t first, std::uint64_t count, int planted_bug) {
  SeedsResult result;
  std::uint64_t next = first;
  while (next < first + count && result.outcome.problem.empty()) {
    std::array<int, 2> pipe{};
    std::array<int, 2> errors{};
    RAYX_CHECK(::pipe2(pipe.data(), O_CLOEXEC) == 0 && ::pipe2(errors.data(), O_CLOEXEC) == 0, "no pipe", errno);
    const std::uint64_t end = std::min(first + count, next + kSeedsOfChild);
    const pid_t child = ::fork();
    RAYX_CHECK(child >= 0, "no child process", errno);
    if (child == 0) be_child(next, end - next, planted_bug, pipe[1], errors[1]);
    ::close(pipe[1]);
    ::close(errors[1]);
    Said said{};
    while (result.outcome.problem.empty() && read_whole(pipe[0], &said, sizeof(said))) {
      ++next;
      ++result.seeds;
      result.events += said.events;
      result.events_min = std::min(result.events_min, said.events);
      result.outcome.counts.add(said.counts);
      result.outcome.problem = said.problem.data();
      if (!result.outcome.problem.empty()) result.seed = said.seed, result.outcome.events = said.events;
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (result.outcome.problem.empty() && next < end) {
      result.seed = next;
      ++result.seeds;
      std::string text(2'000, '\0');
      const ssize_t got = ::read(errors[0], text.data(), text.size());
      text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
      result.outcome.problem = "the process ended with signal " + std::to_string(WTERMSIG(status)) + ": " + text;
    }
    ::close(pipe[0]);
    ::close(errors[0]);
  }
  return result;
}

}  // namespace rayx::sim
