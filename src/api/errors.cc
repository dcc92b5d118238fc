#include "rayx/errors.hpp"

#include "observe/frames.hpp"
#include "rayx/detail/backend.hpp"
#include "rayx/detail/remote_failure.hpp"

namespace rayx {

ErrorCode TaskErrorInfo::code() const noexcept { return failure_->code; }
const std::string& TaskErrorInfo::type() const noexcept { return failure_->type; }
const std::string& TaskErrorInfo::message() const noexcept { return failure_->message; }
const std::string& TaskErrorInfo::function() const noexcept { return failure_->function; }
const std::string& TaskErrorInfo::node() const noexcept { return failure_->node; }
int TaskErrorInfo::pid() const noexcept { return static_cast<int>(failure_->pid); }
std::string TaskErrorInfo::stack() const { return observe::symbolise(observe::decode_frames(failure_->stack)); }

std::string TaskErrorInfo::report() const {
  std::string text = "rayx: task " + function() + " threw " + type() + ": " + message() + "\n  in process " +
                     std::to_string(pid()) + " on " + node();
  if (!failure_->passed_through.empty()) text += "\n  thrown on by " + failure_->passed_through;
  text += failure_->caused_by;
  if (const std::string lines = stack(); !lines.empty()) text += "\n" + lines;
  return text;
}

namespace detail {

Failure own_call_failure(const char* what) {
  return std::make_unique<Error>(Error{
      ErrorCode::kInvalidArgument,
      std::string("rayx: ") + what +
          ": an actor waits for its own call, which begins only when the call that waits has ended. It would wait "
          "for ever. Call the method directly, or return the ObjectRef and let the caller get() it"});
}

void throw_error(Error error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument: throw InvalidArgument(std::move(error));
    case ErrorCode::kInvalidConfig: throw ConfigError(std::move(error));
    case ErrorCode::kNotInitialized:
    case ErrorCode::kShuttingDown: throw NotInitialized(std::move(error));
    case ErrorCode::kAlreadyInitialized: throw AlreadyInitialized(std::move(error));
    case ErrorCode::kUnsupported:
    case ErrorCode::kSystemError: throw SystemError(std::move(error));
    case ErrorCode::kMalformed: throw DecodeError(std::move(error));
    case ErrorCode::kStoreFull: throw OutOfMemory(std::move(error));
    case ErrorCode::kQueueFull: throw QueueFull(std::move(error));
    case ErrorCode::kTimeout: throw TimeoutError(std::move(error));
    case ErrorCode::kWorkerDied: throw WorkerDied(std::move(error));
    case ErrorCode::kActorDied: throw ActorDied(std::move(error));
    case ErrorCode::kOwnerDied:
    case ErrorCode::kObjectLost: throw ObjectLost(std::move(error));
    case ErrorCode::kWorkerLimit: throw WorkerLimit(std::move(error));
    case ErrorCode::kFunctionUnknown: throw FunctionUnknown(std::move(error));
    case ErrorCode::kNotFound: throw NotFound(std::move(error));
    case ErrorCode::kCancelled: throw Cancelled(std::move(error));
    case ErrorCode::kOk:
    case ErrorCode::kTaskFailed: break;
  }
  throw Exception(std::move(error));
}

}  // namespace detail
}  // namespace rayx
