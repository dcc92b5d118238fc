// Loop: one thread's events: work that others post, timers, descriptors. It sleeps in the kernel while there is nothing to do.
//
// `post` and `stop` may be called by any thread; all else by the thread that runs the loop, or by whoever has made it before it
// runs. Everything that was made with a loop (watches, links, listeners, connectors) ends before it does.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "base/clock.hpp"
#include "rayx/result.hpp"

namespace rayx::wire {

using TimerId = std::uint64_t;  // 0 is no timer

class Loop {
 public:
  struct Core;

  // Fails where the process has no descriptors left. The clock says when timers are due; it must outlive the loop.
  static Result<std::unique_ptr<Loop>> create(const base::Clock& clock);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Until stop(); a loop runs once. After an event it looks for the next one for as long as `patience` before it sleeps, giving the
  // core away in between: an answer that comes soon costs no wake-up. Where others want the core it sleeps at once.
  void run(std::chrono::nanoseconds patience = {});
  void stop();  // also before run(): then it returns at once
  // Runs `work` on the loop's thread, in the order of the calls. About 0.1 us while the loop is awake; wakes it otherwise.
  // After stop() work is kept and destroyed with the loop.
  void post(std::function<void()> work);
  bool is_loop_thread() const;

  base::TimeNs now_ns() const;
  // Timers of one moment run in the order in which they were set. A time that has passed runs at the next turn, not in the call.
  TimerId call_at(base::TimeNs at_ns, std::function<void()> work);
  TimerId call_after(std::chrono::nanoseconds delay, std::function<void()> work);
  void cancel(TimerId timer);  // harmless for one that has run or is 0
  // Looks at the timers now: for tests that move a ManualClock.
  void look_at_timers();
  // Runs `work` when the present turn is over and before the loop sleeps: what many calls of one turn share, as one writev.
  void at_end_of_turn(std::function<void()> work);

  Core& core() { return *core_; }  // for the files of this room that know Asio

 private:
  explicit Loop(std::unique_ptr<Core> core);
  std::unique_ptr<Core> core_;
};

// Watch: waits for a descriptor that somebody else owns and closes, after the watch has ended. Each wish is fulfilled once and
// is then made again. An error or a hang-up counts as both readable and writable: the next call on it says which.
class Watch {
 public:
  Watch() = default;
  // False if the descriptor cannot be watched (a regular file, no memory in the kernel).
  bool begin(Loop& loop, int fd, std::function<void()> on_readable, std::function<void()> on_writable);
  // The same for a connected TCP socket, which then also knows want_bytes.
  bool begin_tcp(Loop& loop, int fd, std::function<void()> on_readable, std::function<void()> on_writable);
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() { end(); }

  void want_readable();
  void want_writable();
  // As want_readable, but the bytes that come are put there before on_readable is called: a system call fewer for each message.
  // The place is left alone by all others until then, or until the end.
  void want_bytes(std::span<std::byte> place);
  std::size_t take_received() {
    return std::exchange(received_, 0);
  }  // of want_bytes; 0 where the socket has to be asked
  // errno of want_bytes, which the socket does not tell twice; 0: none, or an end of the stream.
  int take_error() { return std::exchange(error_, 0); }
  bool waits_for_bytes() const { return waits_for_bytes_; }
  void end();  // no call comes after this one, also from within a call

 private:
  struct State;
  template <class Descriptor>
  bool begin_as(Loop& loop, int fd, std::function<void()> on_readable, std::function<void()> on_writable);
  std::shared_ptr<State> state_;
  std::size_t received_ = 0;
  int error_ = 0;
  bool waits_for_bytes_ = false;
};

}  // namespace rayx::wire
