#include "node_file.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace rayx_cli {
namespace {

std::filesystem::path folder() {
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  return std::filesystem::path(runtime != nullptr && *runtime != '\0' ? runtime : "/tmp") /
         ("rayx-nodes-" + std::to_string(::getuid()));
}

// In clock ticks since the start of the machine: field 22 of /proc/<pid>/stat. Empty: there is no such process.
std::string start_time(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::size_t name_end = text.rfind(')');  // the name may hold spaces
  if (name_end == std::string::npos) return "";
  std::istringstream rest(text.substr(name_end + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i) rest >> field;
  return field;
}

}  // namespace

NodeFile::NodeFile(const std::string& address) : path_(folder() / std::to_string(::getpid())) {
  // Nobody else may put files there: whoever can, can have processes of this user killed.
  ::mkdir(folder().c_str(), 0700);
  struct stat status {};
  if (::lstat(folder().c_str(), &status) != 0 || !S_ISDIR(status.st_mode) || status.st_uid != ::getuid()) {
    path_.clear();
    return;
  }
  std::ofstream(path_) << start_time(::getpid()) << ' ' << address << '\n';
}

NodeFile::~NodeFile() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

std::vector<RunningNode> running_nodes() {
  std::vector<RunningNode> nodes;
  struct stat status {};
  if (::lstat(folder().c_str(), &status) != 0 || !S_ISDIR(status.st_mode) || status.st_uid != ::getuid()) return nodes;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    std::ifstream file(entry.path());
    std::string started;
    std::string address;
    file >> started >> address;
    if (pid > 0 && !started.empty() && start_time(pid) == started) {
      nodes.push_back({pid, address});
    } else {
      std::error_code ignored;
      std::filesystem::remove(entry.path(), ignored);
    }
  }
  return nodes;
}

}  // namespace rayx_cli
