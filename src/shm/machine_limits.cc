#include "shm/machine_limits.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

namespace rayx::shm {
namespace {

// A mounted cgroup hierarchy and where this process is in it.
struct Hierarchy {
  std::string mount_point;  // below the injected root
  std::string leaf;         // "" or "/a/b": directory of this process below the mount point
};

std::optional<std::string> read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

bool contains(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Nothing for "max", for a negative number, and for what is no number.
std::optional<std::uint64_t> parse_number(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> read_number(const std::string& path) {
  const std::optional<std::string> text = read_text(path);
  return text ? parse_number(*text) : std::nullopt;
}

// The number after `key` on a line of its own ("inactive_file 4096", "MemTotal:  1024 kB").
std::optional<std::uint64_t> number_after(const std::string& text, std::string_view key) {
  for (const std::string& line : split(text, '\n')) {
    const std::vector<std::string> words = words_of(line);
    if (words.size() >= 2 && words[0] == key) return parse_number(words[1]);
  }
  return std::nullopt;
}

// mountinfo writes blank, tab, newline and backslash as \ooo.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_escape = text[i] == '\\' && i + 3 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '3' &&
                           text[i + 2] >= '0' && text[i + 2] <= '7' && text[i + 3] >= '0' && text[i + 3] <= '7';
    if (is_escape) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// Where `path` (as /proc/self/cgroup names it) lies below a mount whose root is `mount_root`. In a container without a cgroup
// namespace the mount shows only the container's part and both carry its full name; with one, both are "/".
std::string below_mount(const std::string& path, const std::string& mount_root) {
  std::string leaf = path;
  if (mount_root != "/") {
    const bool is_inside = path == mount_root || path.starts_with(mount_root + "/");
    leaf = is_inside ? path.substr(mount_root.size()) : "";
  }
  if (leaf == "/" || leaf.find("/..") != std::string::npos) leaf.clear();
  while (!leaf.empty() && leaf.back() == '/') leaf.pop_back();
  return leaf;
}

// The hierarchies that carry `controller`: the v1 one, the v2 one, or (hybrid) both. What has no such file limits nothing.
struct Hierarchies {
  std::optional<Hierarchy> v1;
  std::optional<Hierarchy> v2;
};

Hierarchies find_hierarchies(const std::string& root, std::string_view controller) {
  std::optional<std::string> v1_path;
  std::optional<std::string> v2_path;
  for (const std::string& line : split(read_text(root + "/proc/self/cgroup").value_or(""), '\n')) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (controllers.empty()) v2_path = line.substr(second + 1);
    if (contains(split(controllers, ','), controller)) v1_path = line.substr(second + 1);
  }
  Hierarchies found;
  for (const std::string& line : split(read_text(root + "/proc/self/mountinfo").value_or(""), '\n')) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const std::vector<std::string> left = words_of(line.substr(0, dash));
    const std::vector<std::string> right = words_of(line.substr(dash + 3));
    if (left.size() < 5 || right.size() < 3) continue;
    const std::string mount_root = unescape(left[3]);
    const std::string mount_point = root + unescape(left[4]);
    if (right[0] == "cgroup" && v1_path && !found.v1 && contains(split(right[2], ','), controller))
      found.v1 = Hierarchy{mount_point, below_mount(*v1_path, mount_root)};
    if (right[0] == "cgroup2" && v2_path && !found.v2)
      found.v2 = Hierarchy{mount_point, below_mount(*v2_path, mount_root)};
  }
  return found;
}

// Calls `visit(directory)` for the directory of this process and each one above it, up to the mount point.
template <class Visit>
void visit_upwards(const Hierarchy& hierarchy, Visit&& visit) {
  std::string leaf = hierarchy.leaf;
  while (true) {
    visit(hierarchy.mount_point + leaf);
    if (leaf.empty()) return;
    leaf.resize(leaf.rfind('/'));
  }
}

// v1 writes "no limit" as the largest number of whole pages.
constexpr std::uint64_t kUnlimitedFrom = std::uint64_t{1} << 60;

class MemoryChain {
 public:
  // A level whose limit is in `limit_file`; `cache_key` is the reclaimable cache in its memory.stat.
  void add(const std::string& directory, const char* limit_file, const char* usage_file, std::string_view cache_key) {
    const std::optional<std::uint64_t> limit = read_number(directory + "/" + limit_file);
    if (!limit || *limit >= kUnlimitedFrom) return;
    const std::uint64_t usage = read_number(directory + "/" + usage_file).value_or(0);
    const std::uint64_t cache = number_after(read_text(directory + "/memory.stat").value_or(""), cache_key).value_or(0);
    CgroupMemory level{directory + "/" + limit_file, *limit, usage - std::min(usage, cache)};
    least_limit_bytes_ = std::min(least_limit_bytes_, *limit);
    if (!tightest_ || level.free_bytes() < tightest_->free_bytes()) tightest_ = std::move(level);
  }
  const std::optional<CgroupMemory>& tightest() const { return tightest_; }
  std::uint64_t least_limit_bytes() const { return least_limit_bytes_; }

 private:
  std::optional<CgroupMemory> tightest_;
  std::uint64_t least_limit_bytes_ = UINT64_MAX;
};

void read_memory(const std::string& root, MachineLimits& limits) {
  const std::string meminfo = read_text(root + "/proc/meminfo").value_or("");
  limits.memory_total_bytes = number_after(meminfo, "MemTotal:").value_or(0) * 1024;
  limits.memory_available_bytes =
      number_after(meminfo, "MemAvailable:").value_or(limits.memory_total_bytes / 1024) * 1024;
  const Hierarchies hierarchies = find_hierarchies(root, "memory");
  MemoryChain chain;
  if (hierarchies.v2) {
    visit_upwards(*hierarchies.v2, [&](const std::string& directory) {
      chain.add(directory, "memory.max", "memory.current", "inactive_file");
      // Above memory.high the kernel throttles until the group barely runs, so it is a limit to us.
      chain.add(directory, "memory.high", "memory.current", "inactive_file");
    });
  }
  if (hierarchies.v1) {
    visit_upwards(*hierarchies.v1, [&](const std::string& directory) {
      chain.add(directory, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");
    });
  }
  limits.memory_cgroup = chain.tightest();
  limits.memory_limit_bytes = std::min(limits.memory_total_bytes, chain.least_limit_bytes());
}

// CPUs in a list such as "0-3,8,10-11"; nothing if it makes no sense.
std::optional<std::uint32_t> count_cpu_list(std::string_view text) {
  std::uint64_t count = 0;
  for (const std::string& range : split(text, ',')) {
    const std::size_t dash = range.find('-');
    const auto first = parse_number(range.substr(0, dash));
    const auto last = dash == std::string::npos ? first : parse_number(range.substr(dash + 1));
    if (!first || !last || *last < *first || *last > 1u << 20) return std::nullopt;
    count += *last - *first + 1;
  }
  return count == 0 ? std::nullopt : std::optional<std::uint32_t>(static_cast<std::uint32_t>(count));
}

// The mask of the process's main thread: one that the user pinned for its own work says nothing about workers.
std::uint32_t count_affinity(const std::string& root) {
  for (const std::string& line : split(read_text(root + "/proc/self/status").value_or(""), '\n')) {
    if (!line.starts_with("Cpus_allowed_list:")) continue;
    const std::vector<std::string> words = words_of(line);
    if (words.size() != 2) break;
    if (const auto count = count_cpu_list(words[1])) return *count;
  }
  const long online = ::sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? static_cast<std::uint32_t>(online) : 1;
}

void apply_quota(std::uint64_t quota_us, std::uint64_t period_us, const std::string& file, MachineLimits& limits) {
  if (quota_us == 0 || period_us == 0) return;
  const std::uint64_t cpus = quota_us / period_us + (quota_us % period_us != 0);
  if (cpus >= limits.cpus) return;
  limits.cpus = static_cast<std::uint32_t>(cpus);
  limits.cpus_source = file;
}

void read_cpus(const std::string& root, MachineLimits& limits) {
  limits.cpus = count_affinity(root);
  limits.cpus_source = "affinity mask";
  const Hierarchies hierarchies = find_hierarchies(root, "cpu");
  if (hierarchies.v2) {
    visit_upwards(*hierarchies.v2, [&](const std::string& directory) {
      const std::vector<std::string> words = words_of(read_text(directory + "/cpu.max").value_or(""));
      if (words.size() != 2) return;
      const auto quota = parse_number(words[0]);
      const auto period = parse_number(words[1]);
      if (quota && period) apply_quota(*quota, *period, directory + "/cpu.max", limits);
    });
  }
  if (hierarchies.v1) {
    visit_upwards(*hierarchies.v1, [&](const std::string& directory) {
      const auto quota = read_number(directory + "/cpu.cfs_quota_us");
      const auto period = read_number(directory + "/cpu.cfs_period_us");
      if (quota && period) apply_quota(*quota, *period, directory + "/cpu.cfs_quota_us", limits);
    });
  }
}

}  // namespace

std::string bytes_text(std::uint64_t bytes) {
  constexpr struct {
    std::uint64_t bytes;
    const char* name;
  } kUnits[] = {{1ull << 40, "TiB"}, {1ull << 30, "GiB"}, {1ull << 20, "MiB"}, {1ull << 10, "KiB"}};
  for (const auto& unit : kUnits) {
    if (bytes < unit.bytes) continue;
    char text[40];
    std::snprintf(text, sizeof(text), "%.1f %s", static_cast<double>(bytes) / static_cast<double>(unit.bytes),
                  unit.name);
    return text;
  }
  return std::to_string(bytes) + " bytes";
}

std::uint64_t MachineLimits::memory_free_bytes() const {
  return memory_cgroup ? std::min(memory_available_bytes, memory_cgroup->free_bytes()) : memory_available_bytes;
}

std::string MachineLimits::memory_text() const {
  std::string text = bytes_text(memory_free_bytes()) + " are free (machine: " + bytes_text(memory_available_bytes) +
                     " of " + bytes_text(memory_total_bytes);
  if (memory_cgroup) {
    text += "; cgroup limit: " + bytes_text(memory_cgroup->free_bytes()) + " of " +
            bytes_text(memory_cgroup->limit_bytes) + ", " + memory_cgroup->file;
  }
  return text + ")";
}

MachineLimits read_machine_limits(const std::string& root) {
  MachineLimits limits;
  read_memory(root, limits);
  read_cpus(root, limits);
  return limits;
}

Result<void> check_memory_fits(const MachineLimits& limits, std::uint64_t bytes, const std::string& name) {
  // Without /proc there are no numbers to judge by; the kernel decides.
  if (limits.memory_total_bytes == 0 || bytes <= limits.memory_free_bytes()) return {};
  const char* advice = limits.memory_cgroup && limits.memory_cgroup->free_bytes() < limits.memory_available_bytes
                           ? ", raise the container's or cgroup's memory limit"
                           : ", end other programs";
  return Error{ErrorCode::kInvalidConfig, name + " asks for " + bytes_text(bytes) + " of shared memory, but " +
                                              limits.memory_text() + ". Set " + name + " to at most " +
                                              bytes_text(limits.memory_free_bytes()) + advice +
                                              ", or use a machine with more memory."};
}

}  // namespace rayx::shm
