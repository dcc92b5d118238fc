// A failure as bytes: what a record with kRecordIsError holds. Written by `execute` for exceptions of the user's code and by
// backends for what happened to a task (WorkerDied, ActorDied, ...), read by get().
//
// Bytes, little endian: code u8, then, each optional from the end on: pid u32; and as (length u32, bytes): message, function,
// type key, type, node, stack, payload, passed through, caused by. Truncation anywhere after the code is legal, so that an error for which no memory could
// be had still fits, cut, into a record.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <typeinfo>

#include <rayx/error_code.hpp>

#pragma GCC visibility push(default)
namespace rayx::detail {
struct FunctionInfo;

inline constexpr ErrorCode kErrorCodeLast = ErrorCode::kNotFound;

struct RemoteFailure {
  ErrorCode code = ErrorCode::kTaskFailed;
  std::uint32_t pid = 0;
  std::string message;
  std::string function;
  std::string type_key;  // typeid(E).name()
  std::string type;      // for people
  std::string node;
  std::string stack;           // observe::encode_frames
  std::string payload;         // what the type needs besides the message to be rebuilt exactly
  std::string passed_through;  // functions of tasks that it was thrown on by, for people
  std::string caused_by;       // the exceptions nested in it, outermost first, a line each, for people
};

// What a what() returned: a class of the user's may return nullptr.
inline std::string what_text(const char* what) { return what == nullptr ? std::string() : std::string(what); }
inline std::string what_text(std::string what) { return what; }

std::size_t encoded_size(const RemoteFailure& failure) noexcept;
// Writes exactly the first `size` bytes of the encoding; size >= 1.
void encode(const RemoteFailure& failure, std::byte* destination, std::size_t size) noexcept;
// Never fails: what is missing is empty.
RemoteFailure decode_failure(std::span<const std::byte> bytes);

// How errors call a task: its function, and the name that its caller gave it (TaskOptions::name), if any: fit "fold 3".
std::string task_title(std::string_view function, std::string_view name);
// The exception in flight (inside a catch block) as a failure of `function`.
RemoteFailure describe_current_exception(std::string_view function);
// Of a handle that was found by its name and is said to be another class's.
RemoteFailure call_of_other_class(const FunctionInfo& method, std::string_view class_of_actor);
// What an actor's record and calls hold when its constructor failed with `cause`.
RemoteFailure actor_died_of_constructor(const RemoteFailure& cause, std::string_view class_name);
// The message, and where a process crashed if that is known, in numbered lines. Reads debug information: some 10 ms.
std::string with_stack(const RemoteFailure& failure);
// Throws what the failure stands for: RemoteError<E>, TaskError, WorkerDied, ...
[[noreturn]] void throw_failure(RemoteFailure failure);
[[noreturn]] void throw_failure(std::span<const std::byte> bytes);

// How to take an exception of one type apart and put it together again. In static storage.
struct ExceptionType {
  const std::type_info* type;
  // Rethrows `error`, catches it as the type, and fills message and payload.
  void (*take_apart)(const std::exception_ptr& error, RemoteFailure& failure);
  // Throws RemoteError<E>; returns if the payload is not as it must be.
  void (*throw_again)(RemoteFailure& failure);
  ExceptionType* next = nullptr;
};
void register_exception_type(ExceptionType& type) noexcept;  // any thread

}  // namespace rayx::detail
#pragma GCC visibility pop
