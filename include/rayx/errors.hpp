// The exceptions that cross the public door. Each text says what happened, what the runtime tried, and what to do.
//
// std::exception
//   RemoteError<E>        a task threw an E: a std exception or a registered type. Caught as E or as TaskErrorInfo
//   Exception             everything else; code() tells the kinds apart
//     TaskError           a task threw something that cannot be rebuilt here; also a TaskErrorInfo
//     WorkerDied, ...     below
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <rayx/error_code.hpp>
#include <rayx/result.hpp>

#pragma GCC visibility push(default)
namespace rayx {

namespace detail {
struct RemoteFailure;
}

// What a task's failure carries, whatever type it is rethrown as. Not a std::exception itself, so that a RemoteError<E> is one
// only once. Cheap to copy.
class TaskErrorInfo {
 public:
  virtual ~TaskErrorInfo() = default;
  ErrorCode code() const noexcept;
  const std::string& type() const noexcept;     // of the exception, "std::out_of_range"
  const std::string& message() const noexcept;  // its what()
  // That threw: square; or square "sq" if the caller named the task with TaskOptions::name.
  const std::string& function() const noexcept;
  const std::string& node() const noexcept;  // host name
  int pid() const noexcept;                  // of the worker
  // Where it was thrown: numbered lines, innermost first. Reads debug information: some 10 ms for the first call in a process.
  std::string stack() const;
  // All of it, in several lines.
  std::string report() const;

  explicit TaskErrorInfo(std::shared_ptr<const detail::RemoteFailure> failure) : failure_(std::move(failure)) {}
  const std::shared_ptr<const detail::RemoteFailure>& failure() const noexcept { return failure_; }

 private:
  std::shared_ptr<const detail::RemoteFailure> failure_;
};

// An E that was thrown in a task, with where it came from. what() is the E's own.
template <class E>
class RemoteError final : public E, public TaskErrorInfo {
 public:
  RemoteError(E error, std::shared_ptr<const detail::RemoteFailure> failure)
      : E(std::move(error)), TaskErrorInfo(std::move(failure)) {}
};

class Exception : public std::runtime_error {
 public:
  explicit Exception(Error error) : std::runtime_error(std::move(error.message)), code_(error.code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

// The task's exception has a type that is neither of the standard library nor registered (register_exception).
class TaskError final : public Exception, public TaskErrorInfo {
 public:
  TaskError(Error error, std::shared_ptr<const detail::RemoteFailure> failure)
      : Exception(std::move(error)), TaskErrorInfo(std::move(failure)) {}
  using Exception::code;
};

// One class for each kind, so that it can be caught by name.
template <ErrorCode... kCodes>
class ExceptionOf : public Exception {
 public:
  using Exception::Exception;
};
class InvalidArgument final : public ExceptionOf<ErrorCode::kInvalidArgument> {
  using ExceptionOf::ExceptionOf;
};
class ConfigError final : public ExceptionOf<ErrorCode::kInvalidConfig> {
  using ExceptionOf::ExceptionOf;
};
// init() was not called, or the runtime is shut down or shutting down.
class NotInitialized final : public ExceptionOf<ErrorCode::kNotInitialized, ErrorCode::kShuttingDown> {
  using ExceptionOf::ExceptionOf;
};
class AlreadyInitialized final : public ExceptionOf<ErrorCode::kAlreadyInitialized> {
  using ExceptionOf::ExceptionOf;
};
// The kernel, the container or the build lacks something, or a system call failed.
class SystemError final : public ExceptionOf<ErrorCode::kUnsupported, ErrorCode::kSystemError> {
  using ExceptionOf::ExceptionOf;
};
class DecodeError final : public ExceptionOf<ErrorCode::kMalformed> {
  using ExceptionOf::ExceptionOf;
};
class OutOfMemory final : public ExceptionOf<ErrorCode::kStoreFull> {
  using ExceptionOf::ExceptionOf;
};
class QueueFull final : public ExceptionOf<ErrorCode::kQueueFull> {
  using ExceptionOf::ExceptionOf;
};
class TimeoutError final : public ExceptionOf<ErrorCode::kTimeout> {
  using ExceptionOf::ExceptionOf;
};
class WorkerDied final : public ExceptionOf<ErrorCode::kWorkerDied> {
  using ExceptionOf::ExceptionOf;
};
class ActorDied final : public ExceptionOf<ErrorCode::kActorDied> {
  using ExceptionOf::ExceptionOf;
};
class ObjectLost final : public ExceptionOf<ErrorCode::kObjectLost, ErrorCode::kOwnerDied> {
  using ExceptionOf::ExceptionOf;
};
class WorkerLimit final : public ExceptionOf<ErrorCode::kWorkerLimit> {
  using ExceptionOf::ExceptionOf;
};
class FunctionUnknown final : public ExceptionOf<ErrorCode::kFunctionUnknown> {
  using ExceptionOf::ExceptionOf;
};
class NotFound final : public ExceptionOf<ErrorCode::kNotFound> {
  using ExceptionOf::ExceptionOf;
};
class Cancelled final : public ExceptionOf<ErrorCode::kCancelled> {
  using ExceptionOf::ExceptionOf;
};

namespace detail {
// Throws the class that stands for error.code.
[[noreturn]] void throw_error(Error error);
}  // namespace detail

}  // namespace rayx
#pragma GCC visibility pop
