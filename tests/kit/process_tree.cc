#include "kit/process_tree.hpp"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <string_view>

namespace rayx::kit {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  try {
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  } catch (const std::ios_base::failure&) {  // the process ended between open and read
    return {};
  }
}

std::vector<pid_t> list_numbers(const std::string& folder) {
  std::vector<pid_t> numbers;
  DIR* entries = ::opendir(folder.c_str());
  if (entries == nullptr) return numbers;
  while (const dirent* entry = ::readdir(entries)) {
    if (std::isdigit(static_cast<unsigned char>(entry->d_name[0])) != 0) numbers.push_back(std::atoi(entry->d_name));
  }
  ::closedir(entries);
  return numbers;
}

std::optional<ProcessInfo> read_process(pid_t pid) {
  const std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat");
  // "17 (a (strange) name) S 1 17 17 …": the name ends at the last parenthesis.
  const std::size_t open = stat.find('(');
  const std::size_t close = stat.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return std::nullopt;
  ProcessInfo info{.pid = pid, .name = stat.substr(open + 1, close - open - 1)};
  if (std::sscanf(stat.c_str() + close + 1, " %c %d %d %d", &info.state, &info.parent, &info.group, &info.session) !=
      4) {
    return std::nullopt;
  }
  return info;
}

bool carries_mark(pid_t pid, const std::string& mark) {
  const std::string variable = std::string(kTreeVariable) + "=" + mark;
  const std::string environment = '\0' + read_file("/proc/" + std::to_string(pid) + "/environ");
  return environment.find('\0' + variable + '\0') != std::string::npos;
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

std::vector<ProcessInfo> list_processes() {
  std::vector<ProcessInfo> processes;
  for (const pid_t pid : list_numbers("/proc")) {
    if (std::optional<ProcessInfo> process = read_process(pid)) processes.push_back(*std::move(process));
  }
  return processes;
}

std::vector<ProcessInfo> list_tree(pid_t root, const std::string& mark) {
  const std::vector<ProcessInfo> all = list_processes();
  std::set<pid_t> members;
  for (const ProcessInfo& process : all) {
    if (process.pid == root || process.group == root || process.session == root || carries_mark(process.pid, mark)) {
      members.insert(process.pid);
    }
  }
  // Pids are not in the order of birth once they wrap, so repeat until nothing is added.
  for (std::size_t before = 0; before != members.size();) {
    before = members.size();
    for (const ProcessInfo& process : all) {
      if (members.contains(process.parent)) members.insert(process.pid);
    }
  }
  members.erase(::getpid());
  std::vector<ProcessInfo> tree;
  std::copy_if(all.begin(), all.end(), std::back_inserter(tree), [&](const ProcessInfo& process) {
    return members.contains(process.pid) && process.state != 'Z' && process.state != 'X';
  });
  // The test itself first: its stacks are the ones that matter most if time runs out.
  std::stable_sort(tree.begin(), tree.end(),
                   [&](const ProcessInfo& a, const ProcessInfo& b) { return (a.pid == root) > (b.pid == root); });
  return tree;
}

void kill_tree(pid_t root, const std::string& mark) {
  constexpr int kRoundsMax = 100;  // A fork bomb must not hold us for ever; what is known by then is killed.
  std::set<pid_t> stopped;
  for (int round = 0; round < kRoundsMax; ++round) {
    bool found_new = false;
    for (const ProcessInfo& process : list_tree(root, mark)) {
      if (!stopped.insert(process.pid).second) continue;
      ::kill(process.pid, SIGSTOP);
      found_new = true;
    }
    if (!found_new) break;
  }
  // The root last: while it lives its descendants are still recognized, should somebody look.
  for (const pid_t pid : stopped) {
    if (pid != root) ::kill(pid, SIGKILL);
  }
  ::kill(root, SIGKILL);
}

void dump_proc(const ProcessInfo& process, int fd) {
  const std::string folder = "/proc/" + std::to_string(process.pid);
  std::string text;
  const std::string status = read_file(folder + "/status");
  for (std::size_t start = 0; start < status.size();) {
    const std::size_t end = std::min(status.find('\n', start), status.size());
    const std::string_view line = std::string_view(status).substr(start, end - start);
    for (const char* field : {"Name:", "State:", "PPid:", "TracerPid:", "Threads:", "VmRSS:", "SigBlk:", "SigCgt:"}) {
      if (line.starts_with(field)) text.append("  ").append(line).append("\n");
    }
    start = end + 1;
  }
  for (const pid_t thread : list_numbers(folder + "/task")) {
    const std::string task = folder + "/task/" + std::to_string(thread);
    std::string call = read_file(task + "/syscall");
    std::string name = read_file(task + "/comm");
    while (!call.empty() && call.back() == '\n') call.pop_back();
    while (!name.empty() && name.back() == '\n') name.pop_back();
    text += "  thread " + std::to_string(thread) + " (" + name + ") waits in " + read_file(task + "/wchan") +
            ", system call " + call + "\n";
  }
  write_all(fd, text);
}

}  // namespace rayx::kit
