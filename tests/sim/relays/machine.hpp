// The machines on which a simulated job runs, in one thread: threads are fibers, and time, sleeping, waking, the start and the death
// of processes are played, in an order that comes from the seed. What runs there is the real code, which does not know of it:
// machine_os.cc stands in for the system's side.
//
// A fiber gives way where a thread would wait, where it yields, and by chance at the kill points, so between any two shared writes.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <rayx/detail/backend.hpp>

#include "events.hpp"
#include "network.hpp"

namespace rayx::sim {

using FiberId = std::uint64_t;  // never used twice

// What is killed together.
struct Process {
  std::uint32_t id = 0;
  HostId host = 0;
  bool is_dead = false;
  bool is_worker = false;              // it may be killed at any moment
  detail::Backend* backend = nullptr;  // current_backend() of its threads
  std::set<FiberId> fibers;
};

class Machine {
 public:
  Machine(std::uint64_t seed, Events& events, Chance& chance);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  static Machine* current() noexcept { return current_; }

  Process& add_process(HostId host);
  FiberId start(Process& process, std::function<void()> body);
  // At once. If it is the one that runs, this does not return.
  void kill(Process& process);
  void set_frozen(HostId host, bool is_frozen);
  void kill_host(HostId host);
  bool is_done(FiberId fiber) const { return !fibers_.contains(fiber); }

  // ---- Of the fiber that runs
  bool is_in_fiber() const noexcept { return running_ != nullptr; }
  FiberId running() const noexcept;
  Process& process() const noexcept;
  void rest(TimeNs time);
  void yield();
  // Until somebody wakes `key`. False: the time is over.
  bool wait(const void* key, TimeNs timeout);
  void join(FiberId fiber);
  void wake(const void* key, int count);
  void at_kill_point(std::string_view name);
  // Where each fiber is: return addresses, for addr2line.
  std::string describe() const;
  // With RAYX_SIM_LOG=1: what happens, for who looks for the cause of a failure.
  bool is_logging() const noexcept { return is_logging_; }
  void log(const char* format, ...) const __attribute__((format(printf, 2, 3)));

  TimeNs now() const { return events_.now(); }
  Events& events() { return events_; }
  Chance& chance() { return chance_; }
  void note(std::uint64_t what) { trace_ = (trace_ ^ what) * 0x100000001b3ull; }
  std::uint64_t trace() const { return trace_; }
  std::uint64_t switches() const { return switches_; }

  // How often a fiber is held up, or its process killed, at a kill point; 0: never.
  std::uint64_t held_up_one_in = 0;
  std::uint64_t killed_one_in = 0;
  std::function<void(Process&)> on_killed;  // at a kill point; called when nothing of it runs any more
  std::uint64_t held_up = 0;
  std::function<void(bool is_lent)> on_cpu_lent;  // by the fiber that runs, for as long as it waits; or taken back

 private:
  struct Fiber;
  enum class Why : std::uint8_t { kBegin, kWoken, kTimedOut };

  static void enter(Fiber* fiber);
  void resume(FiberId id, std::uint64_t ticket, Why why);
  void resume_later(Fiber& fiber, TimeNs delay, Why why);
  Why give_way();
  void end(Fiber& fiber);
  TimeNs latency();

  static Machine* current_;
  Events& events_;
  Chance& chance_;
  std::uint32_t last_process_ = 0;
  FiberId last_fiber_ = 0;
  std::map<std::uint32_t, std::unique_ptr<Process>> processes_;
  std::map<FiberId, std::unique_ptr<Fiber>> fibers_;
  std::unordered_map<const void*, std::deque<std::pair<FiberId, std::uint64_t>>> waiting_;
  struct Deferred {
    FiberId fiber;
    std::uint64_t ticket;
    Why why;
  };
  std::map<HostId, std::vector<Deferred>> frozen_;
  Fiber* running_ = nullptr;
  std::vector<void*> stacks_;  // that are free
  void* main_sp_ = nullptr;
  std::uint64_t trace_ = 0xcbf29ce484222325ull;
  std::uint64_t switches_ = 0;
  const bool is_logging_;
};

}  // namespace rayx::sim
