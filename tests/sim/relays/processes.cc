#include "processes.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <utility>

namespace rayx::sim {

Processes* Processes::current_ = nullptr;

Processes::Processes(Machine& machine, std::function<void(HostId, const std::string&)> run)
    : machine_(machine), run_(std::move(run)) {
  current_ = this;
  machine_.on_killed = [this](Process& process) { has_ended(process, true); };
}
Processes::~Processes() { current_ = nullptr; }

Processes::Server& Processes::add(process::ForkServer* server, int fd) {
  Server& added = servers_[server];
  added.host = machine_.process().host;
  added.fd = fd;
  return added;
}

void Processes::remove(process::ForkServer* server) {
  const auto found = servers_.find(server);
  if (found == servers_.end()) return;
  std::vector<Process*> left;
  for (const auto& [slot, worker] : found->second.workers)
    if (worker.process != nullptr) left.push_back(worker.process);
  for (Process* const process : left) {
    of_process_.erase(process->id);
    machine_.kill(*process);
  }
  servers_.erase(found);
}

void Processes::tell(Server& server, const Event& event) {
  server.events.push_back(event);
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(server.fd, &one, sizeof(one));
}

void Processes::spawn(process::ForkServer* server, std::uint64_t slot, std::string config) {
  Chance& chance = machine_.chance();
  servers_.at(server).workers[slot].config = std::move(config);
  const TimeNs time = chance.one_in(20) ? chance.between(0, 20 * kMillisecond) : chance.between(50'000, kMillisecond);
  machine_.events().after(time, [this, server, slot] {
    if (servers_.contains(server)) begin(server, slot);
  });
}

void Processes::begin(process::ForkServer* owner, std::uint64_t slot) {
  Server& server = servers_.at(owner);
  Worker& worker = server.workers.at(slot);
  if (!may_start || (fails_one_in != 0 && machine_.chance().one_in(fails_one_in))) {
    ++failed_starts;
    on_failed_start();
    server.workers.erase(slot);
    return tell(server, {Event::Kind::kFailed, slot, -1, false});
  }
  Process& process = machine_.add_process(server.host);
  process.is_worker = true;
  worker.process = &process;
  worker.pid = ++last_pid_;
  of_process_[process.id] = {owner, slot};
  tell(server, {Event::Kind::kStarted, slot, worker.pid, false});
  machine_.start(process, [this, &process, host = server.host, config = worker.config] {
    run_(host, config);
    process.is_dead = true;  // its other threads go with it
    has_ended(process, false);
  });
  if (worker.is_to_be_killed) machine_.kill(process);
}

void Processes::kill(process::ForkServer* owner, std::uint64_t slot) {
  Server& server = servers_.at(owner);
  const auto found = server.workers.find(slot);
  if (found == server.workers.end()) return;
  found->second.is_to_be_killed = true;
  if (found->second.process != nullptr) machine_.kill(*found->second.process);
}

// The kernel takes a moment to say it.
void Processes::has_ended(const Process& process, bool is_killed) {
  const auto found = of_process_.find(process.id);
  if (found == of_process_.end()) return;
  const auto [owner, slot] = found->second;
  of_process_.erase(found);
  if (is_killed) ++killed;
  if (on_death) on_death(process);
  servers_.at(owner).workers.at(slot).process = nullptr;
  const pid_t pid = servers_.at(owner).workers.at(slot).pid;
  machine_.events().after(machine_.chance().between(5'000, kMillisecond),
                          [this, owner = owner, slot = slot, pid, is_killed] {
                            const auto server = servers_.find(owner);
                            if (server == servers_.end() || server->second.workers.erase(slot) == 0) return;
                            tell(server->second, {Event::Kind::kExit, slot, pid, is_killed});
                          });
}

bool Processes::kill_one(HostId host) {
  std::vector<Process*> running;
  for (const auto& [owner, server] : servers_)
    for (const auto& [slot, worker] : server.workers)
      if (server.host == host && worker.process != nullptr) running.push_back(worker.process);
  if (running.empty()) return false;
  std::sort(running.begin(), running.end(), [](const Process* a, const Process* b) { return a->id < b->id; });
  machine_.kill(*running[machine_.chance().below(running.size())]);
  return true;
}

std::size_t Processes::workers_of(HostId host) const {
  std::size_t count = 0;
  for (const auto& [owner, server] : servers_)
    if (server.host == host) count += server.workers.size();
  return count;
}

}  // namespace rayx::sim

namespace rayx::process {

using sim::Processes;

Result<void> ForkServer::start(const ForkServerConfig&) {
  state_ = State::kRunning;
  pid_ = 99'999;
  epoll_ = base::UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  Processes::current().add(this, epoll_.get());
  return {};
}

ForkServer::~ForkServer() {
  if (state_ == State::kRunning) Processes::current().remove(this);
}

Result<void> ForkServer::wait_ready(std::chrono::milliseconds, ForkServerEvents& events) {
  ready_ = true;
  events.on_server_ready(pid_, true);
  return {};
}

void ForkServer::handle_readable(ForkServerEvents& events) {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(epoll_.get(), &count, sizeof(count));
  auto& waiting = Processes::current().of(this).events;
  while (!waiting.empty()) {
    const Processes::Event event = waiting.front();
    waiting.pop_front();
    switch (event.kind) {
      case Processes::Event::Kind::kStarted: events.on_worker_started({event.slot, event.pid, {}, {}}); break;
      case Processes::Event::Kind::kFailed:
        workers_.erase(event.slot);
        events.on_worker_failed(event.slot, {ErrorCode::kSystemError, "no process for it"});
        break;
      case Processes::Event::Kind::kExit: {
        workers_.erase(event.slot);
        ExitStatus status;
        status.kind = event.is_killed ? ExitStatus::Kind::kSignaled : ExitStatus::Kind::kExited;
        status.value = event.is_killed ? SIGKILL : 0;
        events.on_worker_exit({event.slot, event.pid, status, true});
        break;
      }
    }
  }
}

Result<void> ForkServer::spawn_worker(const WorkerRequest& request) {
  workers_[request.slot];
  Processes::current().spawn(this, request.slot, std::string(request.config));
  return {};
}
void ForkServer::kill_worker(std::uint64_t slot) { Processes::current().kill(this, slot); }
int ForkServer::worker_pidfd(std::uint64_t) const { return -1; }

void ForkServer::shutdown(std::chrono::milliseconds, ForkServerEvents& events) {
  expected_exit_ = true;
  Processes::current().remove(this);
  std::vector<std::uint64_t> slots;
  for (const auto& [slot, worker] : workers_) slots.push_back(slot);
  std::sort(slots.begin(), slots.end());
  for (const std::uint64_t slot : slots) {
    workers_.erase(slot);
    ExitStatus status;
    status.kind = ExitStatus::Kind::kSignaled;
    status.value = SIGKILL;
    events.on_worker_exit({slot, -1, status, true});
  }
  state_ = State::kGone;
  events.on_server_exit({pid_, ExitStatus{}, true, true});
}

}  // namespace rayx::process
