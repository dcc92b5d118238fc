// Tasks that wait for each other, on whatever sites they are.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>

#include "base/clock.hpp"
#include "base/unique_fd.hpp"

namespace rayx::relay::test {

// How many are at the same place at the same time, counted in memory that all sites of this machine map.
class Meeting {
 public:
  Meeting() : fd_(::memfd_create("meeting", MFD_CLOEXEC)) {
    if (!fd_ || ::ftruncate(fd_.get(), kBytes) != 0) throw std::runtime_error("no memory for a meeting");
    path_ = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd_.get());
  }
  const std::string& path() const { return path_; }
  static constexpr std::size_t kBytes = 4096;

 private:
  base::UniqueFd fd_;
  std::string path_;
};

class Counters {
 public:
  explicit Counters(const std::string& path) {
    const base::UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    memory_ = ::mmap(nullptr, Meeting::kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (memory_ == MAP_FAILED) throw std::runtime_error("the meeting cannot be mapped");
  }
  ~Counters() { ::munmap(memory_, Meeting::kBytes); }
  std::atomic<int>& at(int i) { return static_cast<std::atomic<int>*>(memory_)[i]; }

 private:
  void* memory_;
};

// Comes back when so many are here, and says where it was: the fork server of its site. It keeps its CPU meanwhile.
inline int meet(const std::string& meeting, int count) {
  constexpr base::TimeNs kLongest_ns = 30'000'000'000;
  const base::SteadyClock clock;
  Counters counters(meeting);
  counters.at(0).fetch_add(1);
  for (const base::TimeNs begin = clock.now_ns(); counters.at(0).load() < count;) {
    if (clock.now_ns() - begin > kLongest_ns) throw std::runtime_error("the others did not come");
    std::this_thread::yield();
  }
  return ::getppid();
}

}  // namespace rayx::relay::test
