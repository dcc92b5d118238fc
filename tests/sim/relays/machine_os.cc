// The system as the code on a simulated machine sees it: what is defined here takes the place of the same in the libraries.
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>

#include "base/check.hpp"
#include "base/clock.hpp"
#include "base/kill_point.hpp"
#include "base/thread.hpp"
#include "machine.hpp"
#include "process/spawn_self.hpp"
#include "processes.hpp"
#include "shm/futex.hpp"

using rayx::sim::Machine;

namespace {

// Which epoll descriptor looks at a descriptor. Those who wait there are woken by a write to it.
std::map<int, int> g_watched_by;

const void* key_of(int epoll) { return reinterpret_cast<const void*>(static_cast<std::uintptr_t>(epoll) << 3 | 3); }

}  // namespace

namespace rayx::base {

TimeNs SteadyClock::now_ns() const {
  if (const Machine* const machine = Machine::current()) return machine->now();
  const auto now = std::chrono::steady_clock::now();  // tidy: allow no-clock: outside of a machine it is the system's
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count();
}

namespace {
void at_kill_point(const char* name) {
  if (Machine* const machine = Machine::current()) machine->at_kill_point(name);
}
}  // namespace
void (*on_kill_point)(const char* name) = at_kill_point;

Thread::Thread(std::function<void()> body) {
  Machine& machine = *Machine::current();
  id_ = machine.start(machine.process(), std::move(body));
}
void Thread::join() {
  Machine::current()->join(id_);
  id_ = 0;
}
ThreadId this_thread_id() noexcept { return Machine::current()->running(); }

}  // namespace rayx::base

namespace rayx::shm {

WaitOutcome futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, base::TimeNs timeout_ns) {
  if (word.load(std::memory_order_seq_cst) != expected) return WaitOutcome::kValueDiffers;
  if (timeout_ns <= 0) return WaitOutcome::kTimedOut;
  return Machine::current()->wait(&word, timeout_ns) ? WaitOutcome::kWoken : WaitOutcome::kTimedOut;
}

void futex_wake(const std::atomic<std::uint32_t>& word, int count) { Machine::current()->wake(&word, count); }

}  // namespace rayx::shm

namespace rayx::process {

std::uint64_t random_word() { return Machine::current()->chance().bits(); }

}  // namespace rayx::process

extern "C" {

// A fiber that is held up may have a mutex that others want.
int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  int error = 0;
  while ((error = ::pthread_mutex_trylock(mutex)) == EBUSY) ::sched_yield();
  return error;
}

int sched_yield() noexcept {
  Machine* const machine = Machine::current();
  if (machine == nullptr || !machine->is_in_fiber()) return static_cast<int>(::syscall(SYS_sched_yield));
  machine->yield();
  return 0;
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event* event) noexcept {
  if (operation == EPOLL_CTL_ADD) g_watched_by[fd] = epoll;
  return static_cast<int>(::syscall(SYS_epoll_ctl, epoll, operation, fd, event));
}

int epoll_wait(int epoll, struct epoll_event* events, int count, int timeout_ms) {
  const auto look = [&] { return static_cast<int>(::syscall(SYS_epoll_pwait, epoll, events, count, 0, nullptr, 8)); };
  Machine* const machine = Machine::current();
  int found = look();
  if (found != 0 || timeout_ms == 0 || machine == nullptr) return found;
  machine->wait(key_of(epoll), timeout_ms < 0 ? rayx::base::kNever : timeout_ms * rayx::sim::kMillisecond);
  return look();
}

ssize_t write(int fd, const void* bytes, size_t count) {
  const ssize_t written = ::syscall(SYS_write, fd, bytes, count);
  Machine* const machine = Machine::current();
  if (machine == nullptr) return written;
  if (const auto watched = g_watched_by.find(fd); watched != g_watched_by.end())
    machine->wake(key_of(watched->second), 1);
  return written;
}

}  // extern "C"
