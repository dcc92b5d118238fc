// The words for everything that can go wrong, one sentence each. Standard library only.
#pragma once

#include <cstdint>
#include <string_view>

namespace rayx {

// Each sentence says what happened, what the runtime tried, and whether trying again makes sense.
enum class ErrorCode : std::uint8_t {
  kOk = 0,
  kInvalidArgument,     // The caller passed a value outside the documented range. Trying again does not help.
  kInvalidConfig,       // A Config field or an environment variable cannot be used. Change it.
  kNotInitialized,      // rayx::init() was not called, or the runtime is shut down.
  kAlreadyInitialized,  // This process has a runtime already.
  kUnsupported,         // The kernel, the container or the build lacks something rayx needs.
  kSystemError,         // A system call failed in a way that rayx cannot repair.
  kMalformed,           // Bytes could not be decoded. They were not made by this build, or were damaged.
  kStoreFull,           // The object store had no room within the time-out. Free references or enlarge it.
  kQueueFull,           // The limit of pending tasks was reached and did not drain within the time-out.
  kTimeout,             // The time-out passed. The task goes on; trying again may help.
  kTaskFailed,          // The task's function threw.
  kWorkerDied,          // The worker process died; retries, if any were allowed, are used up.
  kActorDied,           // The actor's process is gone: killed, crashed, or its constructor threw.
  kOwnerDied,           // The process that owned the object died, and the object with it.
  kObjectLost,          // The object's bytes are gone and cannot be rebuilt.
  kWorkerLimit,         // All workers wait for each other and the cap on workers is reached.
  kFunctionUnknown,     // The worker does not have the function: it lives in a module it cannot load.
  kCancelled,           // Somebody cancelled the task.
  kShuttingDown,        // The runtime is shutting down.
  kNotFound,            // Nothing is there by that name. It may be made later.
};

constexpr std::string_view to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kOk: return "ok";
    case ErrorCode::kInvalidArgument: return "invalid argument";
    case ErrorCode::kInvalidConfig: return "invalid configuration";
    case ErrorCode::kNotInitialized: return "not initialized";
    case ErrorCode::kAlreadyInitialized: return "already initialized";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kSystemError: return "system error";
    case ErrorCode::kMalformed: return "malformed bytes";
    case ErrorCode::kStoreFull: return "object store full";
    case ErrorCode::kQueueFull: return "queue full";
    case ErrorCode::kTimeout: return "time-out";
    case ErrorCode::kTaskFailed: return "task failed";
    case ErrorCode::kWorkerDied: return "worker died";
    case ErrorCode::kActorDied: return "actor died";
    case ErrorCode::kOwnerDied: return "owner died";
    case ErrorCode::kObjectLost: return "object lost";
    case ErrorCode::kWorkerLimit: return "worker limit reached";
    case ErrorCode::kFunctionUnknown: return "function unknown";
    case ErrorCode::kCancelled: return "cancelled";
    case ErrorCode::kShuttingDown: return "shutting down";
    case ErrorCode::kNotFound: return "not found";
  }
  return "unknown";
}

}  // namespace rayx
