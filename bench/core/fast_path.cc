// The fast path of one node without the API above it: one submitter and 1 or 2 executor processes over the crash-safe core.
// Prints ns for a raw ping-pong of one cache line (the machine's limit in this run), one task submitted and awaited, and one of
// 1,000 tasks submitted and then awaited. The figures of the decision "results go straight into the owner's record".
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <vector>

#include "base/clock.hpp"
#include "shm/executor.hpp"

namespace {

using namespace rayx::shm;
namespace detail = rayx::detail;

constexpr std::uint32_t kLane = 0;
constexpr std::uint32_t kQueueCells = 4096;
constexpr int kRepeats = 7;
const rayx::base::SteadyClock kClock;

struct PingPong {
  alignas(64) std::atomic<std::uint32_t> ping;
  alignas(64) std::atomic<std::uint32_t> pong;
  alignas(64) std::atomic<std::uint32_t> stop;
};

std::byte* map_shared(std::uint64_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  RAYX_CHECK(memory != MAP_FAILED, "mmap", bytes);
  return static_cast<std::byte*>(memory);
}

pid_t start(const std::function<void()>& body) {
  const pid_t pid = ::fork();
  RAYX_CHECK(pid >= 0, "fork");
  if (pid == 0) {
    body();
    ::_exit(0);
  }
  return pid;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double measure(std::uint64_t operations, const std::function<void()>& body) {
  std::vector<double> ns;
  body();
  for (int i = 0; i < kRepeats; ++i) {
    const auto begin = kClock.now_ns();
    body();
    ns.push_back(static_cast<double>(kClock.now_ns() - begin) / static_cast<double>(operations));
  }
  return median(ns);
}

double ping_pong_ns(PingPong& line) {
  const pid_t peer = start([&] {
    for (std::uint32_t next = 1; line.stop.load(std::memory_order_relaxed) == 0;) {
      if (line.ping.load(std::memory_order_acquire) != next) continue;
      line.pong.store(next++, std::memory_order_release);
    }
  });
  std::uint32_t next = 0;
  constexpr std::uint32_t kTrips = 100'000;
  const double ns = measure(kTrips, [&] {
    for (std::uint32_t i = 0; i < kTrips; ++i) {
      line.ping.store(++next, std::memory_order_release);
      while (line.pong.load(std::memory_order_acquire) != next) cpu_relax();
    }
  });
  line.stop.store(1);
  ::waitpid(peer, nullptr, 0);
  return ns;
}

class Submitter {
 public:
  Submitter(const Control& control, std::uint32_t me, Offset slab, Offset queue)
      : control_(control), records_(control.records_of(me)), lane_(control.lane(kLane)) {
    control.slot(me).record_slabs[0].store(slab);
    queue_ = TaskQueue::create(control.segment().at<std::byte>(queue), kQueueCells, me);
    control.publish_queue(me, kLane, queue);
  }
  void submit(std::uint32_t record, std::uint64_t argument) {
    records_.at(record).state.store(detail::kRecordPending, std::memory_order_relaxed);
    TaskBody body;
    body.function_and_flags = 8;
    body.record = record;
    body.generation = 1;
    std::memcpy(body.arguments, &argument, 8);
    while (!queue_.push(tail_, body)) cpu_relax();
    lane_.wake_after_publish();
  }
  std::uint64_t get(std::uint32_t record) {
    Record& r = records_.at(record);
    Backoff backoff;
    while (!detail::is_done(r.state.load(std::memory_order_acquire))) {
      if (backoff.wait_once()) continue;
      records_.sleep_until_done(record, rayx::base::kNever);
      backoff.reset();
    }
    std::uint64_t value;
    std::memcpy(&value, r.payload, 8);
    return value;
  }

 private:
  Control control_;
  Records records_;
  Lane lane_;
  TaskQueue queue_;
  std::uint64_t tail_ = 0;
};

void executor_loop(const Control& control, std::uint32_t me, int member, const std::atomic<std::uint32_t>& stop) {
  Executor executor(control, me);
  executor.join_lane(kLane, member);
  Executor::Task task;
  Backoff backoff;
  while (stop.load(std::memory_order_relaxed) == 0) {
    if (!executor.take(task)) {
      executor.wait_once(backoff, [&] { return stop.load() != 0; });
      continue;
    }
    backoff.reset();
    Record& record = control.records_of(task.owner).at(task.body.record);
    std::uint64_t x;
    std::memcpy(&x, task.body.arguments, 8);
    ++x;
    std::memcpy(record.payload, &x, 8);
    record.size = 8;
    executor.finish(task, detail::kRecordDoneInline);
  }
}

}  // namespace

int main() {
  auto* line = new (map_shared(4096)) PingPong;
  std::printf("raw ping-pong            %8.1f ns\n", ping_pong_ns(*line));
  for (const int executors : {1, 2}) {
    constexpr std::uint32_t kSlots = 8;
    const std::uint64_t control_bytes = Control::bytes_for(kSlots, 4) / 4096 * 4096 + 4096;
    const std::uint64_t bytes = control_bytes + sizeof(RecordSlab) + TaskQueue::bytes_for(kQueueCells) + 4096;
    const Segment segment(map_shared(bytes), bytes);
    const Control control = Control::create(segment, kSlots, 4);
    create_record_slab(segment.base() + control_bytes);
    Submitter submitter(control, *control.add_process(), control_bytes, control_bytes + sizeof(RecordSlab));
    auto* stop = new (map_shared(4096)) std::atomic<std::uint32_t>(0);
    std::vector<pid_t> pids;
    for (int i = 0; i < executors; ++i) {
      const std::uint32_t slot = *control.add_process();
      const int member = control.lane(kLane).add_member(slot);
      pids.push_back(start([&] { executor_loop(control, slot, member, *stop); }));
    }
    constexpr int kSync = 50'000;
    const double sync_ns = measure(kSync, [&] {
      for (std::uint64_t i = 0; i < kSync; ++i) {
        submitter.submit(i % 1024, i);
        RAYX_CHECK(submitter.get(i % 1024) == i + 1, "wrong result", i);
      }
    });
    constexpr int kBatches = 100;
    const double async_ns = measure(kBatches * 1000, [&] {
      for (int batch = 0; batch < kBatches; ++batch) {
        for (std::uint32_t i = 0; i < 1000; ++i) submitter.submit(i, i);
        for (std::uint32_t i = 0; i < 1000; ++i) RAYX_CHECK(submitter.get(i) == i + 1, "wrong result", i);
      }
    });
    std::printf("%d executors: sync        %8.1f ns   async of 1,000 %8.1f ns = %.1f M/s\n", executors, sync_ns,
                async_ns, 1e3 / async_ns);
    stop->store(1);
    control.lane(kLane).wake_all();
    for (const pid_t pid : pids) {
      control.lane(kLane).wake_all();
      ::waitpid(pid, nullptr, 0);
    }
  }
  return 0;
}
