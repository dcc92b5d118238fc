#include "worker/worker_main.hpp"

#include <pthread.h>

#include <cstring>
#include <iostream>
#include <string>

#include "observe/crash_report.hpp"
#include "shm/death_note.hpp"
#include "worker/asked_memory.hpp"
#include "worker/client.hpp"
#include "worker/executor_loop.hpp"

namespace rayx::worker {
namespace {

// A child that a task forks has the worker's memory and descriptors, and must not pass for it.
void in_forked_child() {
  detail::set_current_backend(nullptr);
  ExecutorLoop::is_forked_child = true;
}

int give_up(const std::string& why) {
  std::cerr << "rayx: this worker cannot start: " << why << '\n';
  return 1;
}

}  // namespace

int worker_main(const process::WorkerStart& start) {
  WorkerConfig config;
  if (start.config.size() != sizeof(config) || start.fds.size() != 2)
    return give_up("its configuration is not of this build");
  std::memcpy(&config, start.config.data(), sizeof(config));
  Result<shm::Arena> attached = shm::Arena::attach(start.fds[kArenaFd]);
  if (!attached) return give_up(attached.error().message);
  // Until the process ends: threads of the user's may run when main would be left.
  auto& arena = *new shm::Arena(std::move(*attached));
  const shm::Control control(arena.segment());
  const shm::DeathNotes notes(arena.segment(), config.processes, config.lanes);
  shm::ProcessSlot& slot = control.slot(config.slot);
  observe::install_crash_handler(static_cast<observe::CrashReport*>(notes.crash_report(config.slot)),
                                 slot.generation.load(std::memory_order_relaxed));
  const std::string_view modules(reinterpret_cast<const char*>(arena.address(config.modules)), config.modules_bytes);
  Result<FunctionNumbers> numbers = FunctionNumbers::decode(modules, loaded_modules());
  if (!numbers) return give_up(numbers.error().message);

  OwnerMutex::allow_bias();
  ::pthread_atfork(nullptr, nullptr, &in_forked_child);
  auto& asker = *new NodeAsker(control.header().node_calls, slot.calls, config.slot, start.fds[kNodeEventFd]);
  auto& memory = *new AskedMemory(asker);
  ClientConfig client_config;
  client_config.arena = &arena;
  client_config.processes = config.processes;
  client_config.lanes = config.lanes;
  client_config.me = config.slot;
  client_config.numbers = new FunctionNumbers(std::move(*numbers));
  client_config.memory = &memory;
  client_config.asker = &asker;
  client_config.cpus = config.cpus;
  client_config.is_alone = config.is_alone != 0;
  client_config.submit_timeout = std::chrono::nanoseconds(config.submit_timeout_ns);
  client_config.pending_max = config.pending_max;
  auto& client = *new Client(client_config);
  detail::set_current_backend(&client);
  return (new ExecutorLoop(client, config.slot))->serve();
}

namespace {
[[maybe_unused]] const bool registered = (process::register_worker_main(&worker_main), true);
}  // namespace

}  // namespace rayx::worker
