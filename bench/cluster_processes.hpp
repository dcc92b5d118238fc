// A cluster of processes that this one forks before it has threads: heads and nodes, each told what to be when it is time.
#pragma once

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <rayx/admin.hpp>
#include <string>
#include <vector>

#include "kit.hpp"

namespace bench {

class ClusterProcesses {
 public:
  ClusterProcesses() {
    folder_ = (std::filesystem::temp_directory_path() / "rayx-bench-XXXXXX").string();
    check(::mkdtemp(folder_.data()) != nullptr, "no folder for the cluster");
    ::setenv("RAYX_TOKEN_FILE", token_file().c_str(), 1);
  }
  ClusterProcesses(const ClusterProcesses&) = delete;
  ClusterProcesses& operator=(const ClusterProcesses&) = delete;
  ~ClusterProcesses() {
    for (const pid_t pid : pids_) ::kill(pid, SIGKILL);
    for (const pid_t pid : pids_) ::waitpid(pid, nullptr, 0);
    std::filesystem::remove_all(folder_);
  }
  std::string token_file() const { return folder_ + "/token"; }
  std::string state_folder() const { return folder_ + "/state"; }

  // A process that becomes a node when it is told the head's address through the pipe; with `has_head` the head alone, on that port.
  // Its number.
  std::size_t prepare(bool has_head) {
    int told[2];
    int tells[2];
    check(::pipe2(told, O_CLOEXEC) == 0 && ::pipe2(tells, O_CLOEXEC) == 0, "pipe");
    const pid_t pid = ::fork();
    check(pid >= 0, "fork");
    if (pid == 0) be(has_head, told[0], tells[1]);
    pids_.push_back(pid);
    told_.push_back(told[1]);
    tells_.push_back(tells[0]);
    ::close(told[0]);
    ::close(tells[1]);
    return pids_.size() - 1;
  }
  void begin(std::size_t which, const std::string& address) {
    check(::write(told_[which], address.data(), address.size()) == static_cast<ssize_t>(address.size()), "write");
  }
  // Waits until it is what it was told to be; the address that it listens on.
  std::string wait(std::size_t which) {
    char text[256];
    const ssize_t bytes = ::read(tells_[which], text, sizeof(text));
    check(bytes > 0, "a process of the cluster did not start");
    return {text, static_cast<std::size_t>(bytes)};
  }
  std::vector<std::size_t> prepare_nodes(std::size_t count) {
    std::vector<std::size_t> nodes;
    for (std::size_t i = 0; i < count; ++i) nodes.push_back(prepare(false));
    return nodes;
  }
  // All at once, until each is a member.
  void begin_nodes(const std::vector<std::size_t>& nodes, const std::string& address) {
    for (const std::size_t node : nodes) begin(node, address);
    for (const std::size_t node : nodes) wait(node);
  }
  // A head and so many nodes, which this process's init() will use.
  void start_with_nodes(std::size_t count) {
    const std::size_t head = prepare(true);
    const std::vector<std::size_t> nodes = prepare_nodes(count);
    begin(head, "127.0.0.1:0");
    const std::string address = wait(head);
    begin_nodes(nodes, address);
    ::setenv("RAYX_ADDRESS", address.c_str(), 1);
  }
  // It is gone when this returns, with its port, as for whoever starts another one in its place.
  void kill(std::size_t which) {
    ::kill(pids_[which], SIGKILL);
    siginfo_t ended{};
    ::waitid(P_PID, static_cast<id_t>(pids_[which]), &ended, WEXITED | WNOWAIT);
  }

 private:
  [[noreturn]] void be(bool has_head, int told, int tells) const {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    char text[256];
    const ssize_t bytes = ::read(told, text, sizeof(text));
    if (bytes <= 0) ::_exit(0);
    const std::string address(text, static_cast<std::size_t>(bytes));
    rayx::NodeOptions options;
    options.token_file = token_file();
    options.cache_folder = folder_ + "/cache";
    options.num_cpus = 1;
    if (has_head) {
      options.has_head = options.is_head_only = true;
      options.state_folder = state_folder();
      options.port = static_cast<std::uint16_t>(std::stoul(address.substr(address.rfind(':') + 1)));
    } else {
      options.head_address = address;
    }
    const rayx::ClusterNode node(options);
    const std::string mine = node.address();
    check(::write(tells, mine.data(), mine.size()) == static_cast<ssize_t>(mine.size()), "write");
    for (;;) ::pause();
  }

  std::string folder_;
  std::vector<pid_t> pids_;
  std::vector<int> told_;
  std::vector<int> tells_;
};

}  // namespace bench
