// The network's loop of this process with the thread that runs it.
#pragma once

#include <future>
#include <memory>
#include <thread>
#include <utility>

#include <rayx/result.hpp>

#include "base/clock.hpp"
#include "wire/loop.hpp"

namespace rayx::host {

class Network {
 public:
  static Result<std::unique_ptr<Network>> start();
  ~Network() { stop(); }
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  wire::Loop& loop() { return *loop_; }
  // Runs `work` on the loop's thread and waits for what it gives. Not from the loop's thread.
  template <class Work>
  auto call(Work work) -> decltype(work()) {
    std::packaged_task<decltype(work())()> task(std::move(work));
    auto result = task.get_future();
    loop_->post([&task] { task(); });
    return result.get();
  }
  // What was made with the loop must have ended, on the loop's thread.
  void stop();

 private:
  explicit Network(std::unique_ptr<wire::Loop> loop) : loop_(std::move(loop)) {}
  std::unique_ptr<wire::Loop> loop_;
  std::thread thread_;
};

// One thread for what may wait: the disk, the start and the end of processes. In the order of the calls.
class Workbench {
 public:
  Workbench();
  ~Workbench();
  Workbench(const Workbench&) = delete;
  Workbench& operator=(const Workbench&) = delete;
  void post(std::function<void()> work);

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace rayx::host
