// Another node: a process of its own on this machine, reached over loopback TCP as any other one would be.
#pragma once

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <rayx/admin.hpp>
#include <string>

#include "kit.hpp"

namespace bench {

// A node in a child of this process, from before this process has threads until the end of the case.
class OtherNode {
 public:
  // `advertise`: the address by which programs are to reach it, if it is behind something.
  explicit OtherNode(std::string advertise = {}) : advertise_(std::move(advertise)) {
    std::string folder = (std::filesystem::temp_directory_path() / "rayx-bench-XXXXXX").string();
    check(::mkdtemp(folder.data()) != nullptr, "no folder for the node");
    folder_ = folder;
    const std::string token_file = folder + "/token";
    int told[2];
    check(::pipe2(told, O_CLOEXEC) == 0, "pipe");
    pid_ = ::fork();
    check(pid_ >= 0, "fork");
    if (pid_ == 0) serve(token_file, told[1]);
    ::close(told[1]);
    char address[256];
    const ssize_t bytes = ::read(told[0], address, sizeof(address));
    check(bytes > 0, "the node did not start");
    ::close(told[0]);
    address_.assign(address, static_cast<std::size_t>(bytes));
    ::setenv("RAYX_ADDRESS", address_.c_str(), 1);
    ::setenv("RAYX_TOKEN_FILE", token_file.c_str(), 1);
  }
  const std::string& address() const { return address_; }
  void kill() { ::kill(pid_, SIGKILL); }

  OtherNode(const OtherNode&) = delete;
  OtherNode& operator=(const OtherNode&) = delete;
  ~OtherNode() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
    std::filesystem::remove_all(folder_);
  }

 private:
  [[noreturn]] void serve(const std::string& token_file, int told) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &signals, nullptr);
    {
      rayx::NodeOptions options;
      options.has_head = true;
      options.advertise = advertise_;
      options.token_file = token_file;
      options.cache_folder = folder_ + "/cache";
      const rayx::ClusterNode node(options);
      const std::string address = node.address();
      check(::write(told, address.data(), address.size()) == static_cast<ssize_t>(address.size()), "write");
      int signal = 0;
      ::sigwait(&signals, &signal);
    }
    ::_exit(0);
  }

  pid_t pid_ = -1;
  const std::string advertise_;
  std::string folder_;
  std::string address_;
};

}  // namespace bench
