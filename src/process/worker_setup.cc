#include "process/worker_setup.hpp"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

#include "process/spawn_self.hpp"

namespace rayx::process {

std::vector<int> open_descriptors() {
  std::vector<int> open;
  DIR* directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return open;
  while (const dirent* entry = ::readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    const int fd = std::atoi(entry->d_name);
    if (fd != ::dirfd(directory)) open.push_back(fd);
  }
  ::closedir(directory);
  std::sort(open.begin(), open.end());
  return open;
}

namespace {

void close_between(unsigned first, unsigned last) {
  if (first > last) return;
  if (::syscall(SYS_close_range, first, last, 0) == 0) return;
  for (const int fd : open_descriptors()) {  // kernels before 5.9, or a seccomp filter
    if (static_cast<unsigned>(fd) >= first && static_cast<unsigned>(fd) <= last) ::close(fd);
  }
}

}  // namespace

void close_all_but(std::span<const int> keep) {
  unsigned next = 3;
  for (const int fd : keep) {
    if (fd < 3) continue;
    close_between(next, static_cast<unsigned>(fd) - 1);
    next = static_cast<unsigned>(fd) + 1;
  }
  close_between(next, ~0u);
}

void hold_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    [[maybe_unused]] const int opened = ::open("/dev/null", O_RDWR);  // the lowest that is free: `fd`
  }
}

void set_process_name(const char* name) { ::prctl(PR_SET_NAME, name, 0, 0, 0); }

void raise_oom_score(int add) {
  if (add <= 0) return;
  const int fd = ::open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  char text[32] = {};
  const ssize_t bytes = ::read(fd, text, sizeof(text) - 1);
  const int now = bytes > 0 ? std::atoi(text) : 0;
  const int length = std::snprintf(text, sizeof(text), "%d", std::min(1000, now + add));
  // Failing is no reason to stop: it is a preference, and some containers forbid it.
  [[maybe_unused]] const ssize_t written = ::pwrite(fd, text, static_cast<std::size_t>(length), 0);
  ::close(fd);
}

void apply_environment(std::string_view entries) {
  while (!entries.empty()) {
    const std::size_t end = std::min(entries.find('\0'), entries.size());
    const std::string_view entry = entries.substr(0, end);
    const std::size_t equals = entry.find('=');
    if (equals != std::string_view::npos && equals > 0) {
      ::setenv(std::string(entry.substr(0, equals)).c_str(), std::string(entry.substr(equals + 1)).c_str(), 1);
    }
    entries.remove_prefix(std::min(end + 1, entries.size()));
  }
}

void apply_omp_threads(int threads) {
  if (threads <= 0 || std::getenv("OMP_NUM_THREADS") != nullptr) return;
  ::setenv("OMP_NUM_THREADS", std::to_string(threads).c_str(), 1);
  if (void* function = ::dlsym(RTLD_DEFAULT, "omp_set_num_threads")) reinterpret_cast<void (*)(int)>(function)(threads);
}

void reseed_generators() {
  const std::uint64_t seed = random_word();
  ::srandom(static_cast<unsigned>(seed));  // rand() shares its state
  ::srand48(static_cast<long>(seed >> 32));
}

void flush_streams() {
  std::cout.flush();
  std::clog.flush();
  std::fflush(nullptr);
}

void finish_worker(int exit_code) {
  flush_streams();
  ::_exit(exit_code);
}

}  // namespace rayx::process
