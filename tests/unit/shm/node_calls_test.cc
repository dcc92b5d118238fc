// Processes that ask their node, and are killed at each point while they do; the node answers everybody else.

#include "shm/node_calls.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstring>
#include <new>
#include <set>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "killed_points.hpp"

namespace rayx::base {
extern void (*on_kill_point)(const char*);
}

namespace rayx::shm {
namespace {

constexpr int kCallers = 3;
constexpr std::uint64_t kCallsEach = 300;

struct Shared {
  NodeCallBoard board;
  NodeCallCells cells[kCallers];
  std::atomic<std::uint64_t> answered[kCallers];
};

const char* g_target = nullptr;
int g_countdown = 0;

void kill_at_target(const char* name) {
  if (g_target != nullptr && std::strcmp(name, g_target) == 0 && --g_countdown == 0) ::kill(::getpid(), SIGKILL);
}

// One process: asks and checks the answer; every third call is a notice.
void call_many(Shared& shared, std::uint32_t me, int event) {
  const NodeCaller caller(shared.board, shared.cells[me], me, event);
  for (std::uint64_t i = 0; i < kCallsEach; ++i) {
    NodeCall& cell = caller.cell(static_cast<std::uint32_t>(i % kNodeCallsMax));
    while (cell.state.load(std::memory_order_acquire) != NodeCall::kFree) ::sched_yield();  // a notice not taken yet
    cell.kind = i % 3 == 0 ? 2 : 1;
    cell.arguments[0] = me * 1'000'000 + i;
    caller.send(cell);
    if (cell.kind == 1) {
      if (!caller.wait_answered(cell, base::kNever) || cell.results[0] != cell.arguments[0] * 7) ::_exit(3);
      cell.state.store(NodeCall::kFree, std::memory_order_release);
      shared.answered[me].fetch_add(1);
    }
    // Now and then give the node the time to fall asleep.
    if (i % 20 == 0)
      for (int turn = 0; turn < 2000 && shared.board.node_sleeps.load() == 0; ++turn) ::sched_yield();
  }
}

// The node: sleeps on the eventfd and the callers' pidfds, nothing else. Returns the callers that were killed.
std::set<int> serve(Shared& shared, const std::vector<pid_t>& pids, int event) {
  const NodeAnswerer answerer(shared.board);
  std::vector<pollfd> fds{{event, POLLIN, 0}};
  for (const pid_t pid : pids) fds.push_back({static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)), POLLIN, 0});
  std::set<int> killed;
  std::set<int> gone;
  while (gone.size() < pids.size()) {
    answerer.take_askers([&](std::uint32_t process) {
      NodeAnswerer::visit_asked(shared.cells[process], [](NodeCall& cell) {
        if (cell.kind == 2) return NodeAnswerer::forget(cell);
        cell.results[0] = cell.arguments[0] * 7;
        NodeAnswerer::answer(cell);
      });
    });
    if (!answerer.announce_sleep()) continue;
    const int ready = ::poll(fds.data(), fds.size(), 20'000);
    answerer.awake();
    if (ready == 0) {
      ADD_FAILURE() << "nobody called for 20 s: a wake was lost";
      break;
    }
    if ((fds[0].revents & POLLIN) != 0) {
      std::uint64_t count;
      EXPECT_EQ(::read(event, &count, sizeof(count)), static_cast<ssize_t>(sizeof(count)));
    }
    for (std::size_t i = 0; i < pids.size(); ++i) {
      if ((fds[i + 1].revents & POLLIN) == 0) continue;
      int status = 0;
      EXPECT_EQ(::waitpid(pids[i], &status, 0), pids[i]);
      gone.insert(static_cast<int>(i));
      if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        killed.insert(static_cast<int>(i));
      else
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "caller " << i << " ended with " << status;
      ::close(fds[i + 1].fd);
      fds[i + 1].fd = -1;
    }
  }
  return killed;
}

void run_with_kill(const char* target, int nth) {
  auto* shared =
      new (::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Shared{};
  const int event = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  std::vector<pid_t> pids;
  for (std::uint32_t me = 0; me < kCallers; ++me) {
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      if (me == 0 && target != nullptr) {
        g_target = target;
        g_countdown = nth;
        base::on_kill_point = kill_at_target;
      }
      call_many(*shared, me, event);
      ::_exit(0);
    }
    pids.push_back(pid);
  }
  const std::set<int> killed = serve(*shared, pids, event);
  EXPECT_EQ(killed.size(), target != nullptr ? 1u : 0u) << (target != nullptr ? target : "no target");
  if (killed.size() == 1) test::killed_points().insert(target);
  for (int me = target != nullptr ? 1 : 0; me < kCallers; ++me)
    EXPECT_EQ(shared->answered[me].load(), kCallsEach * 2 / 3);
  ::close(event);
  ::munmap(shared, sizeof(Shared));
}

TEST(NodeCalls, AnswersEveryQuestionAndTakesEveryNotice) { run_with_kill(nullptr, 0); }

TEST(NodeCalls, SurviveACallerKilledAtEachPoint) {
  for (const char* point :
       {"node_call.before_asked", "node_call.before_bit", "node_call.after_bit", "node_call.before_ring"})
    for (const int nth : {1, 3}) run_with_kill(point, nth);
}

// The node's own point: a caller sees the answer long before it is woken for it, and asks the next question.
TEST(NodeCalls, BearANodeThatStopsBeforeItWakes) {
  static int stops = 0;
  stops = 0;
  base::on_kill_point = [](const char* name) {
    if (std::strcmp(name, "node_call.answer.before_futex") != 0 || ++stops % 50 != 0) return;
    for (int turn = 0; turn < 400; ++turn) ::sched_yield();
  };
  run_with_kill(nullptr, 0);
  base::on_kill_point = [](const char*) {};
  EXPECT_GE(stops, 50);
  test::killed_points().insert("node_call.answer.before_futex");
}

}  // namespace
}  // namespace rayx::shm
