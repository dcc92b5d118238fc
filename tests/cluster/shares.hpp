// What tasks of several programs write down in a file that all of them map, and their test reads.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>

namespace rayx::cluster_test {

struct Tally {
  static constexpr int kPrograms = 3;
  struct Program {
    std::atomic<std::uint64_t> done;
    std::atomic<std::uint64_t> beside;  // of them, those that began while another one of the same program ran
    std::atomic<std::int64_t> running;
  };
  Program programs[kPrograms];
  std::atomic<std::int64_t> most_at_once;  // of all programs
  std::atomic<std::uint32_t> is_over;
};

// Mapped until the process ends. A new file is a tally of zeros.
inline Tally& map_tally(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ::ftruncate(fd, sizeof(Tally)) != 0) throw std::runtime_error("no file for the tally: " + path);
  void* const at = ::mmap(nullptr, sizeof(Tally), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  if (at == MAP_FAILED) throw std::runtime_error("the tally cannot be mapped");
  return *std::launder(static_cast<Tally*>(at));
}

}  // namespace rayx::cluster_test
