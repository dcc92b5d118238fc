// A ClusterProvider of one's own: nodes that a shell command starts. As it stands they run on this machine; with START="ssh host-7"
// (and the program at the same path there) on another one: what a node needs besides comes through its standard input.
#include <rayx/rayx.hpp>

#include <sys/wait.h>
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <string>

class ShellProvider final : public rayx::ClusterProvider {
 public:
  std::string name() const override { return "shell"; }

  rayx::Result<rayx::NodeSubmission> submit(const rayx::NodeRequest& request) override {
    const char* const start = std::getenv("START");
    std::string command = std::string(start == nullptr ? "exec" : start) + " env";
    for (const auto& [name, value] : request.environment) command += " '" + name + "=" + value + "'";
    command += " '" + request.program + "' >/dev/null";
    int ends[2];
    if (::pipe(ends) != 0) return rayx::Error{rayx::ErrorCode::kSystemError, "no pipe for " + request.name};
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::dup2(ends[0], 0);
      for (int fd = 3; fd < 1024; ++fd) ::close(fd);  // above all the other nodes' inputs
      ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(ends[0]);
    const bool is_told = ::write(ends[1], request.input.data(), request.input.size()) > 0;
    if (pid < 0 || !is_told) return rayx::Error{rayx::ErrorCode::kSystemError, "no process for " + request.name};
    inputs_[pid] = ends[1];  // the node lives as long as this is open
    return rayx::NodeSubmission{std::to_string(pid)};
  }

  rayx::Result<rayx::NodeStatus> status(const std::string& id) override {
    int how = 0;
    if (::waitpid(std::stoi(id), &how, WNOHANG) == 0) return rayx::NodeStatus{rayx::NodeState::kRunning};
    return rayx::NodeStatus{rayx::NodeState::kEnded, "", "its command ended with " + std::to_string(how)};
  }

  rayx::Result<void> kill(const std::string& id) override {
    if (const auto input = inputs_.extract(std::stoi(id))) ::close(input.mapped());
    return {};
  }

 private:
  std::map<pid_t, int> inputs_;
};

int square(int x) { return x * x; }

int main() {
  auto cluster = rayx::setup_cluster(std::make_shared<ShellProvider>(), {.num_nodes = 2, .num_cpus = 1});
  rayx::Runtime runtime = rayx::init();
  std::cout << rayx::get(rayx::remote<square>(7)) << " was computed in a cluster of my own\n";
}
