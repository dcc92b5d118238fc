#include "host/network.hpp"

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <system_error>

#include "wire/limits.hpp"

namespace rayx::host {

Result<std::unique_ptr<Network>> Network::start() {
  static const base::SteadyClock clock;
  Result<std::unique_ptr<wire::Loop>> loop = wire::Loop::create(clock);
  if (!loop) return std::move(loop).error();
  std::unique_ptr<Network> network(new Network(std::move(*loop)));
  try {
    network->thread_ = std::thread([&running = *network->loop_] { running.run(wire::kLoopPatience); });
  } catch (const std::system_error& error) {
    return Error{ErrorCode::kSystemError, std::string("rayx: no thread could be started for the network (") +
                                              error.what() + "). Raise the limit of processes (ulimit -u)"};
  }
  return network;
}

void Network::stop() {
  if (!thread_.joinable()) return;
  loop_->stop();
  thread_.join();
}

struct Workbench::Shared {
  std::mutex mutex;
  std::condition_variable ready;
  std::deque<std::function<void()>> work;
  bool is_ending = false;
};

Workbench::Workbench() : shared_(std::make_unique<Shared>()) {
  thread_ = std::thread([&shared = *shared_] {
    for (;;) {
      std::function<void()> next;
      {
        std::unique_lock lock(shared.mutex);
        shared.ready.wait(lock, [&shared] { return shared.is_ending || !shared.work.empty(); });
        if (shared.work.empty()) return;
        next = std::move(shared.work.front());
        shared.work.pop_front();
      }
      next();
    }
  });
}

// What was posted is still done.
Workbench::~Workbench() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->is_ending = true;
    shared_->ready.notify_one();
  }
  thread_.join();
}

void Workbench::post(std::function<void()> work) {
  const std::lock_guard lock(shared_->mutex);
  shared_->work.push_back(std::move(work));
  shared_->ready.notify_one();
}

}  // namespace rayx::host
