// What this process may use of the machine. cgroup version 2, each level from the process's own up to the root, and version 1 as
// containers mount it.
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

#include "api/config.hpp"

namespace rayx::detail {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string own_cgroup() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("0::")) return line.substr(3);
  }
  return "/";
}

// Calls visit(folder) for the process's cgroup and all that contain it.
template <class Visit>
void for_each_cgroup(Visit&& visit) {
  std::string path = own_cgroup();
  while (true) {
    visit("/sys/fs/cgroup" + (path == "/" ? "" : path));
    const std::size_t slash = path.rfind('/');
    if (path.size() <= 1 || slash == std::string::npos) return;
    path = slash == 0 ? "/" : path.substr(0, slash);
  }
}

double quota_cpus(double quota, double period) {
  return quota > 0 && period > 0 ? quota / period : std::numeric_limits<double>::infinity();
}

}  // namespace

int usable_cpus() {
  double cpus = static_cast<double>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  cpu_set_t affinity;
  if (::sched_getaffinity(0, sizeof(affinity), &affinity) == 0) cpus = CPU_COUNT(&affinity);
  for_each_cgroup([&](const std::string& folder) {
    std::istringstream line(first_line(folder + "/cpu.max"));  // "max 100000" or "50000 100000"
    double quota = 0, period = 0;
    if (line >> quota >> period) cpus = std::min(cpus, quota_cpus(quota, period));
  });
  const std::string quota = first_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  const std::string period = first_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (!quota.empty() && !period.empty())
    cpus = std::min(cpus, quota_cpus(std::atof(quota.c_str()), std::atof(period.c_str())));
  return std::max(1, static_cast<int>(std::ceil(cpus)));
}

std::uint64_t usable_memory_bytes() {
  std::uint64_t bytes =
      static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const auto limit = [&](const std::string& text) {
    if (!text.empty() && text[0] >= '0' && text[0] <= '9') bytes = std::min<std::uint64_t>(bytes, std::stoull(text));
  };
  for_each_cgroup([&](const std::string& folder) { limit(first_line(folder + "/memory.max")); });
  limit(first_line("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
  return bytes;
}

}  // namespace rayx::detail
