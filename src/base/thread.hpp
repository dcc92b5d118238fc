// The threads of a process's own machinery. In the simulator's own build (tests/sim/relays) they are fibers, which it runs in one
// thread in an order that comes from a seed.
#pragma once

#ifdef RAYX_SIMULATED
#include <cstdint>
#include <functional>
#else
#include <thread>
#endif

namespace rayx::base {

#ifdef RAYX_SIMULATED

using ThreadId = std::uint64_t;
class Thread {
 public:
  Thread() = default;
  explicit Thread(std::function<void()> body);
  Thread(Thread&& other) noexcept : id_(other.id_) { other.id_ = 0; }
  Thread& operator=(Thread&& other) noexcept {
    id_ = other.id_;
    other.id_ = 0;
    return *this;
  }
  bool joinable() const noexcept { return id_ != 0; }
  void join();
  void detach() noexcept { id_ = 0; }

 private:
  ThreadId id_ = 0;
};
ThreadId this_thread_id() noexcept;

#else

using ThreadId = std::thread::id;
using Thread = std::thread;
inline ThreadId this_thread_id() noexcept { return std::this_thread::get_id(); }

#endif

}  // namespace rayx::base
