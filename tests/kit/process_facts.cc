#include "kit/process_facts.hpp"

#include <arpa/inet.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/check.hpp"

namespace rayx::kit {
namespace {

std::string folder_of(pid_t pid) { return "/proc/" + std::to_string(pid); }

std::set<std::string> sockets_of(pid_t pid) {
  std::set<std::string> sockets;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator(folder_of(pid) + "/fd", gone)) {
    const std::string target = std::filesystem::read_symlink(entry, gone).string();
    if (target.starts_with("socket:[")) sockets.insert(target.substr(8, target.size() - 9));
  }
  return sockets;
}

// "0100007F:18F6": the address as the machine's words, the port as a number, both hexadecimal.
std::string in_words(const std::string& local) {
  const std::size_t colon = local.find(':');
  std::string port(":");
  port += std::to_string(std::stoul(local.substr(colon + 1), nullptr, 16));
  if (colon != 8) return std::string("[").append(local, 0, colon).append("]").append(port);
  const auto word = static_cast<std::uint32_t>(std::stoul(local.substr(0, 8), nullptr, 16));
  char text[INET_ADDRSTRLEN];
  ::inet_ntop(AF_INET, &word, text, sizeof(text));
  return text + port;
}

}  // namespace

std::size_t count_descriptors(pid_t pid) {
  std::size_t count = 0;
  std::error_code gone;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_of(pid) + "/fd", gone)) ++count;
  return count;
}

std::size_t count_sockets(pid_t pid) { return sockets_of(pid).size(); }

std::size_t resident_bytes(pid_t pid) {
  std::ifstream file(folder_of(pid) + "/statm");
  std::size_t all = 0;
  std::size_t resident = 0;
  file >> all >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::vector<std::string> list_listeners(const std::vector<pid_t>& processes) {
  RAYX_CHECK(!processes.empty(), "whose listeners?");
  std::set<std::string> sockets;
  for (const pid_t pid : processes) sockets.merge(sockets_of(pid));
  std::vector<std::string> found;
  for (const char* table : {"/net/tcp", "/net/tcp6"}) {
    std::ifstream file(folder_of(processes.front()) + table);
    std::string line;
    std::getline(file, line);  // the titles
    while (std::getline(file, line)) {
      std::istringstream words(line);
      std::string number, local, remote, state, queues, timer, retries, uid, timeout, inode;
      words >> number >> local >> remote >> state >> queues >> timer >> retries >> uid >> timeout >> inode;
      if (state == "0A" && sockets.contains(inode)) found.push_back(in_words(local));
    }
  }
  return found;
}

}  // namespace rayx::kit
