// The executing side of a worker: takes tasks of the lane that it is leased to, runs them, publishes their results.
#pragma once

#include <cstdint>
#include <vector>

#include <rayx/detail/backend.hpp>

#include "shm/executor.hpp"
#include "shm/lease.hpp"
#include "worker/client.hpp"

namespace rayx::worker {

class ExecutorLoop final : public TaskRunner {
 public:
  ExecutorLoop(Client& client, std::uint32_t me);

  // Until the node says to leave. The exit code of the process.
  int serve();
  void run(const shm::Executor::Task& task) override;
  std::uint32_t cpu_units() const override { return cpu_units_; }
  actor::Caller caller() const override { return caller_; }
  bool may_nest() const override { return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) > stack_floor_; }

  // In a child that a task has forked: it may use nothing of rayx, and does not get back into the loop.
  static inline bool is_forked_child = false;

 private:
  struct Arguments;

  void follow_lease();
  void leave();
  enum class Ready : std::uint8_t { kYes, kNo, kNotYet };
  Ready prepare(const shm::Executor::Task& task, Arguments& arguments, detail::ExecContext& context,
                detail::RemoteFailure& error);
  bool wait_for(std::uint32_t owner, shm::ObjectKey key, const Record& record);
  void publish_error(const shm::Executor::Task& task, const detail::RemoteFailure& error);
  void publish_bytes_as_error(const shm::Executor::Task& task, const std::vector<std::byte>& bytes);
  void publish(const shm::Executor::Task& task, detail::ExecContext& context);
  void constructor_has_run(const shm::Executor::Task& task, const detail::FunctionInfo& info,
                           detail::ExecContext& context);

  Client& client_;
  const shm::Control control_;
  const std::uint32_t me_;
  shm::Executor executor_;
  std::uint32_t lease_ = 0;   // as it was followed last
  std::uint32_t serves_ = 0;  // lane + 1, 0: none
  std::uint32_t cpu_units_ = 0;
  std::uintptr_t stack_floor_ = 0;  // below it no further task begins
  actor::Caller caller_ = 0;        // 0: the actor
  actor::Caller tasks_run_ = 0;     // numbers for them
  void* instance_ = nullptr;
  const detail::FunctionInfo* constructor_ = nullptr;
  const detail::FunctionInfo* fitting_ = nullptr;  // the method called last, which is one of the actor's class
  std::vector<std::byte> actor_error_;             // why there is no instance: an encoded failure
};

}  // namespace rayx::worker
