// The fork servers of the simulated machines, and the workers that they start: process::ForkServer without processes.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "machine.hpp"
#include "process/fork_server.hpp"

namespace rayx::sim {

class Processes {
 public:
  // `run`: what a worker's first thread does, with the bytes that its node has given to it.
  Processes(Machine& machine, std::function<void(HostId, const std::string& config)> run);
  ~Processes();
  static Processes& current() noexcept { return *current_; }

  // Some worker of the host that runs, by chance. False: there is none.
  bool kill_one(HostId host);
  std::size_t workers_of(HostId host) const;
  bool may_start = true;  // else they fail
  std::uint64_t fails_one_in = 0;
  int killed = 0;
  int failed_starts = 0;
  std::function<void(const Process&)> on_death;  // of a worker
  std::function<void()> on_failed_start;

  // ---- For process::ForkServer
  struct Event {
    enum class Kind : std::uint8_t { kStarted, kFailed, kExit } kind;
    std::uint64_t slot;
    pid_t pid;
    bool is_killed;
  };
  struct Worker {
    Process* process = nullptr;
    pid_t pid = -1;
    std::string config;
    bool is_to_be_killed = false;
  };
  struct Server {
    HostId host = 0;
    int fd = -1;  // readable: there are events
    std::deque<Event> events;
    std::map<std::uint64_t, Worker> workers;
  };
  Server& add(process::ForkServer* server, int fd);
  Server& of(process::ForkServer* server) { return servers_.at(server); }
  void remove(process::ForkServer* server);
  void spawn(process::ForkServer* server, std::uint64_t slot, std::string config);
  void kill(process::ForkServer* server, std::uint64_t slot);

 private:
  void begin(process::ForkServer* server, std::uint64_t slot);
  void has_ended(const Process& process, bool is_killed);
  void tell(Server& server, const Event& event);

  static Processes* current_;
  Machine& machine_;
  const std::function<void(HostId, const std::string&)> run_;
  std::map<process::ForkServer*, Server> servers_;
  std::map<std::uint32_t, std::pair<process::ForkServer*, std::uint64_t>> of_process_;
  pid_t last_pid_ = 100'000;
};

}  // namespace rayx::sim
