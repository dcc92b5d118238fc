// What stands behind Loop. The only header that names Asio; loop.cc and resolve.cc include it.
#pragma once

#define ASIO_STANDALONE 1
#define ASIO_NO_DEPRECATED 1
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "wire/loop.hpp"

namespace rayx::wire {

struct Loop::Core {
  explicit Core(const base::Clock& wall) : clock(wall), io(1), keep_running(io.get_executor()), alarm(io) {}

  // Each event is a turn; what was put off to its end is done then.
  template <class Work>
  void turn(Work&& work) {
    const bool is_outer = !std::exchange(in_turn, true);
    work();
    if (!is_outer) return;
    end_turn();
    in_turn = false;
  }
  void end_turn();
  void poll_for(std::chrono::nanoseconds patience);
  void run_posted();
  void run_due();
  void set_alarm();

  const base::Clock& clock;
  asio::io_context io;
  asio::executor_work_guard<asio::io_context::executor_type> keep_running;
  asio::steady_timer alarm;  // of the earliest timer
  base::TimeNs alarm_ns = base::kNever;

  std::mutex mutex;
  std::vector<std::function<void()>> posted;  // guarded by mutex; one wake-up of the loop for all that are in it
  std::atomic<std::thread::id> runner{};

  std::map<std::pair<base::TimeNs, TimerId>, std::function<void()>> timers;
  std::map<TimerId, base::TimeNs> due_ns;
  TimerId last_timer = 0;
  std::vector<std::function<void()>> turn_ends;
  bool in_turn = false;
  base::TimeNs impatient_until_ns = 0;  // the cores are wanted by others: looking for events costs more than it brings
};

}  // namespace rayx::wire
