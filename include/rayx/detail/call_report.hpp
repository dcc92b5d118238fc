// One readable line for a call that cannot be made. A message has to be a literal, so there is one for each problem and position;
// an instantiation meets exactly one that fails.
#pragma once

#include <rayx/detail/call_plan.hpp>

namespace rayx::detail {

// clang-format off
template <Problem kProblem, int kPosition>
constexpr void report() {
  static_assert(kProblem != Problem::kNotCallable, "rayx: this cannot be called as a task: give a function, a captureless lambda, or for an actor a method of its class");
  static_assert(kProblem != Problem::kCaptures, "rayx: the function object has captures or members, which another process does not see. Pass the values as arguments, or bind them: rayx::bind(lambda, values...)");
  static_assert(kProblem != Problem::kFunctionPointer, "rayx: a function is named at compile time: rayx::remote<function>(arguments...), rayx::bind<function>(values...)");
  static_assert(kProblem != Problem::kNotMethod, "rayx: this is not a method of the actor's class: handle.call<&Class::method>(arguments...)");
  static_assert(kProblem != Problem::kNotConstructible, "rayx: the actor's class has no constructor that takes these arguments, from argument 1 on");
  static_assert(kProblem != Problem::kResultPointer, "rayx: the result is or holds a pointer into the worker's memory. Return the value, std::unique_ptr or an ObjectRef");
  static_assert(kProblem != Problem::kResultReference, "rayx: the result is a reference into the worker's memory. Return a value");
  static_assert(kProblem != Problem::kResultView, "rayx: the result is or holds a view into the worker's memory. Return a container or rayx::Array");
  static_assert(kProblem != Problem::kResultNotEncodable, "rayx: the result's class cannot be encoded. Make it a plain aggregate, or add the function rayx_serialize(archive, value) beside it (docs/design/codec.md)");
  static_assert(kProblem != Problem::kMissing || kPosition != 1, "rayx: argument 1 is missing: the call has fewer arguments than the function has parameters");
  static_assert(kProblem != Problem::kMissing || kPosition != 2, "rayx: argument 2 is missing: the call has fewer arguments than the function has parameters");
  static_assert(kProblem != Problem::kMissing || kPosition != 3, "rayx: argument 3 is missing: the call has fewer arguments than the function has parameters");
  static_assert(kProblem != Problem::kMissing || kPosition != 4, "rayx: argument 4 is missing: the call has fewer arguments than the function has parameters");
  static_assert(kProblem != Problem::kMissing || kPosition != 5, "rayx: argument 5 is missing: the call has fewer arguments than the function has parameters");
  static_assert(kProblem != Problem::kMissing || kPosition != 6, "rayx: argument 6 is missing: the call has fewer arguments than the function has parameters");
  static_assert(kProblem != Problem::kMissing || kPosition != 7, "rayx: argument 7 is missing: the call has fewer arguments than the function has parameters");
  static_assert(kProblem != Problem::kMissing || kPosition != 8, "rayx: argument 8 is missing: the call has fewer arguments than the function has parameters");
  static_assert(kProblem != Problem::kMissing || kPosition < 9, "rayx: argument 9 or a later one is missing: the call has fewer arguments than the function has parameters");
  static_assert(kProblem != Problem::kTooMany || kPosition != 1, "rayx: argument 1 is one too many: the call has more arguments than the function has parameters");
  static_assert(kProblem != Problem::kTooMany || kPosition != 2, "rayx: argument 2 is one too many: the call has more arguments than the function has parameters");
  static_assert(kProblem != Problem::kTooMany || kPosition != 3, "rayx: argument 3 is one too many: the call has more arguments than the function has parameters");
  static_assert(kProblem != Problem::kTooMany || kPosition != 4, "rayx: argument 4 is one too many: the call has more arguments than the function has parameters");
  static_assert(kProblem != Problem::kTooMany || kPosition != 5, "rayx: argument 5 is one too many: the call has more arguments than the function has parameters");
  static_assert(kProblem != Problem::kTooMany || kPosition != 6, "rayx: argument 6 is one too many: the call has more arguments than the function has parameters");
  static_assert(kProblem != Problem::kTooMany || kPosition != 7, "rayx: argument 7 is one too many: the call has more arguments than the function has parameters");
  static_assert(kProblem != Problem::kTooMany || kPosition != 8, "rayx: argument 8 is one too many: the call has more arguments than the function has parameters");
  static_assert(kProblem != Problem::kTooMany || kPosition < 9, "rayx: argument 9 or a later one is one too many: the call has more arguments than the function has parameters");
  static_assert(kProblem != Problem::kMutableReference || kPosition != 1, "rayx: argument 1 goes to a parameter that is a non-const reference or std::span: the task would change its own copy only. Take it by value or by const reference, and return what changed");
  static_assert(kProblem != Problem::kMutableReference || kPosition != 2, "rayx: argument 2 goes to a parameter that is a non-const reference or std::span: the task would change its own copy only. Take it by value or by const reference, and return what changed");
  static_assert(kProblem != Problem::kMutableReference || kPosition != 3, "rayx: argument 3 goes to a parameter that is a non-const reference or std::span: the task would change its own copy only. Take it by value or by const reference, and return what changed");
  static_assert(kProblem != Problem::kMutableReference || kPosition != 4, "rayx: argument 4 goes to a parameter that is a non-const reference or std::span: the task would change its own copy only. Take it by value or by const reference, and return what changed");
  static_assert(kProblem != Problem::kMutableReference || kPosition != 5, "rayx: argument 5 goes to a parameter that is a non-const reference or std::span: the task would change its own copy only. Take it by value or by const reference, and return what changed");
  static_assert(kProblem != Problem::kMutableReference || kPosition != 6, "rayx: argument 6 goes to a parameter that is a non-const reference or std::span: the task would change its own copy only. Take it by value or by const reference, and return what changed");
  static_assert(kProblem != Problem::kMutableReference || kPosition != 7, "rayx: argument 7 goes to a parameter that is a non-const reference or std::span: the task would change its own copy only. Take it by value or by const reference, and return what changed");
  static_assert(kProblem != Problem::kMutableReference || kPosition != 8, "rayx: argument 8 goes to a parameter that is a non-const reference or std::span: the task would change its own copy only. Take it by value or by const reference, and return what changed");
  static_assert(kProblem != Problem::kMutableReference || kPosition < 9, "rayx: argument 9 or a later one goes to a parameter that is a non-const reference or std::span: the task would change its own copy only. Take it by value or by const reference, and return what changed");
  static_assert(kProblem != Problem::kPointer || kPosition != 1, "rayx: argument 1 goes to a parameter that is or holds a pointer, which means nothing in another process. Pass the value, std::unique_ptr or an ObjectRef");
  static_assert(kProblem != Problem::kPointer || kPosition != 2, "rayx: argument 2 goes to a parameter that is or holds a pointer, which means nothing in another process. Pass the value, std::unique_ptr or an ObjectRef");
  static_assert(kProblem != Problem::kPointer || kPosition != 3, "rayx: argument 3 goes to a parameter that is or holds a pointer, which means nothing in another process. Pass the value, std::unique_ptr or an ObjectRef");
  static_assert(kProblem != Problem::kPointer || kPosition != 4, "rayx: argument 4 goes to a parameter that is or holds a pointer, which means nothing in another process. Pass the value, std::unique_ptr or an ObjectRef");
  static_assert(kProblem != Problem::kPointer || kPosition != 5, "rayx: argument 5 goes to a parameter that is or holds a pointer, which means nothing in another process. Pass the value, std::unique_ptr or an ObjectRef");
  static_assert(kProblem != Problem::kPointer || kPosition != 6, "rayx: argument 6 goes to a parameter that is or holds a pointer, which means nothing in another process. Pass the value, std::unique_ptr or an ObjectRef");
  static_assert(kProblem != Problem::kPointer || kPosition != 7, "rayx: argument 7 goes to a parameter that is or holds a pointer, which means nothing in another process. Pass the value, std::unique_ptr or an ObjectRef");
  static_assert(kProblem != Problem::kPointer || kPosition != 8, "rayx: argument 8 goes to a parameter that is or holds a pointer, which means nothing in another process. Pass the value, std::unique_ptr or an ObjectRef");
  static_assert(kProblem != Problem::kPointer || kPosition < 9, "rayx: argument 9 or a later one goes to a parameter that is or holds a pointer, which means nothing in another process. Pass the value, std::unique_ptr or an ObjectRef");
  static_assert(kProblem != Problem::kView || kPosition != 1, "rayx: argument 1 goes to a parameter that holds a view or reference into other memory. Pass a container or rayx::Array; a parameter may be std::span<const T> or std::string_view itself");
  static_assert(kProblem != Problem::kView || kPosition != 2, "rayx: argument 2 goes to a parameter that holds a view or reference into other memory. Pass a container or rayx::Array; a parameter may be std::span<const T> or std::string_view itself");
  static_assert(kProblem != Problem::kView || kPosition != 3, "rayx: argument 3 goes to a parameter that holds a view or reference into other memory. Pass a container or rayx::Array; a parameter may be std::span<const T> or std::string_view itself");
  static_assert(kProblem != Problem::kView || kPosition != 4, "rayx: argument 4 goes to a parameter that holds a view or reference into other memory. Pass a container or rayx::Array; a parameter may be std::span<const T> or std::string_view itself");
  static_assert(kProblem != Problem::kView || kPosition != 5, "rayx: argument 5 goes to a parameter that holds a view or reference into other memory. Pass a container or rayx::Array; a parameter may be std::span<const T> or std::string_view itself");
  static_assert(kProblem != Problem::kView || kPosition != 6, "rayx: argument 6 goes to a parameter that holds a view or reference into other memory. Pass a container or rayx::Array; a parameter may be std::span<const T> or std::string_view itself");
  static_assert(kProblem != Problem::kView || kPosition != 7, "rayx: argument 7 goes to a parameter that holds a view or reference into other memory. Pass a container or rayx::Array; a parameter may be std::span<const T> or std::string_view itself");
  static_assert(kProblem != Problem::kView || kPosition != 8, "rayx: argument 8 goes to a parameter that holds a view or reference into other memory. Pass a container or rayx::Array; a parameter may be std::span<const T> or std::string_view itself");
  static_assert(kProblem != Problem::kView || kPosition < 9, "rayx: argument 9 or a later one goes to a parameter that holds a view or reference into other memory. Pass a container or rayx::Array; a parameter may be std::span<const T> or std::string_view itself");
  static_assert(kProblem != Problem::kFunctionValue || kPosition != 1, "rayx: argument 1 goes to a parameter that is or holds a function or a lambda with captures. Name the function in the call, and pass the values that it needs");
  static_assert(kProblem != Problem::kFunctionValue || kPosition != 2, "rayx: argument 2 goes to a parameter that is or holds a function or a lambda with captures. Name the function in the call, and pass the values that it needs");
  static_assert(kProblem != Problem::kFunctionValue || kPosition != 3, "rayx: argument 3 goes to a parameter that is or holds a function or a lambda with captures. Name the function in the call, and pass the values that it needs");
  static_assert(kProblem != Problem::kFunctionValue || kPosition != 4, "rayx: argument 4 goes to a parameter that is or holds a function or a lambda with captures. Name the function in the call, and pass the values that it needs");
  static_assert(kProblem != Problem::kFunctionValue || kPosition != 5, "rayx: argument 5 goes to a parameter that is or holds a function or a lambda with captures. Name the function in the call, and pass the values that it needs");
  static_assert(kProblem != Problem::kFunctionValue || kPosition != 6, "rayx: argument 6 goes to a parameter that is or holds a function or a lambda with captures. Name the function in the call, and pass the values that it needs");
  static_assert(kProblem != Problem::kFunctionValue || kPosition != 7, "rayx: argument 7 goes to a parameter that is or holds a function or a lambda with captures. Name the function in the call, and pass the values that it needs");
  static_assert(kProblem != Problem::kFunctionValue || kPosition != 8, "rayx: argument 8 goes to a parameter that is or holds a function or a lambda with captures. Name the function in the call, and pass the values that it needs");
  static_assert(kProblem != Problem::kFunctionValue || kPosition < 9, "rayx: argument 9 or a later one goes to a parameter that is or holds a function or a lambda with captures. Name the function in the call, and pass the values that it needs");
  static_assert(kProblem != Problem::kNotEncodable || kPosition != 1, "rayx: argument 1 goes to a parameter of a class that cannot be encoded. Make it a plain aggregate, or add the function rayx_serialize(archive, value) beside it (docs/design/codec.md)");
  static_assert(kProblem != Problem::kNotEncodable || kPosition != 2, "rayx: argument 2 goes to a parameter of a class that cannot be encoded. Make it a plain aggregate, or add the function rayx_serialize(archive, value) beside it (docs/design/codec.md)");
  static_assert(kProblem != Problem::kNotEncodable || kPosition != 3, "rayx: argument 3 goes to a parameter of a class that cannot be encoded. Make it a plain aggregate, or add the function rayx_serialize(archive, value) beside it (docs/design/codec.md)");
  static_assert(kProblem != Problem::kNotEncodable || kPosition != 4, "rayx: argument 4 goes to a parameter of a class that cannot be encoded. Make it a plain aggregate, or add the function rayx_serialize(archive, value) beside it (docs/design/codec.md)");
  static_assert(kProblem != Problem::kNotEncodable || kPosition != 5, "rayx: argument 5 goes to a parameter of a class that cannot be encoded. Make it a plain aggregate, or add the function rayx_serialize(archive, value) beside it (docs/design/codec.md)");
  static_assert(kProblem != Problem::kNotEncodable || kPosition != 6, "rayx: argument 6 goes to a parameter of a class that cannot be encoded. Make it a plain aggregate, or add the function rayx_serialize(archive, value) beside it (docs/design/codec.md)");
  static_assert(kProblem != Problem::kNotEncodable || kPosition != 7, "rayx: argument 7 goes to a parameter of a class that cannot be encoded. Make it a plain aggregate, or add the function rayx_serialize(archive, value) beside it (docs/design/codec.md)");
  static_assert(kProblem != Problem::kNotEncodable || kPosition != 8, "rayx: argument 8 goes to a parameter of a class that cannot be encoded. Make it a plain aggregate, or add the function rayx_serialize(archive, value) beside it (docs/design/codec.md)");
  static_assert(kProblem != Problem::kNotEncodable || kPosition < 9, "rayx: argument 9 or a later one goes to a parameter of a class that cannot be encoded. Make it a plain aggregate, or add the function rayx_serialize(archive, value) beside it (docs/design/codec.md)");
  static_assert(kProblem != Problem::kNotConvertible || kPosition != 1, "rayx: argument 1 cannot be converted to the type of its parameter");
  static_assert(kProblem != Problem::kNotConvertible || kPosition != 2, "rayx: argument 2 cannot be converted to the type of its parameter");
  static_assert(kProblem != Problem::kNotConvertible || kPosition != 3, "rayx: argument 3 cannot be converted to the type of its parameter");
  static_assert(kProblem != Problem::kNotConvertible || kPosition != 4, "rayx: argument 4 cannot be converted to the type of its parameter");
  static_assert(kProblem != Problem::kNotConvertible || kPosition != 5, "rayx: argument 5 cannot be converted to the type of its parameter");
  static_assert(kProblem != Problem::kNotConvertible || kPosition != 6, "rayx: argument 6 cannot be converted to the type of its parameter");
  static_assert(kProblem != Problem::kNotConvertible || kPosition != 7, "rayx: argument 7 cannot be converted to the type of its parameter");
  static_assert(kProblem != Problem::kNotConvertible || kPosition != 8, "rayx: argument 8 cannot be converted to the type of its parameter");
  static_assert(kProblem != Problem::kNotConvertible || kPosition < 9, "rayx: argument 9 or a later one cannot be converted to the type of its parameter");
  static_assert(kProblem != Problem::kOtherRef || kPosition != 1, "rayx: argument 1 is an ObjectRef of a type that does not convert to the type of its parameter");
  static_assert(kProblem != Problem::kOtherRef || kPosition != 2, "rayx: argument 2 is an ObjectRef of a type that does not convert to the type of its parameter");
  static_assert(kProblem != Problem::kOtherRef || kPosition != 3, "rayx: argument 3 is an ObjectRef of a type that does not convert to the type of its parameter");
  static_assert(kProblem != Problem::kOtherRef || kPosition != 4, "rayx: argument 4 is an ObjectRef of a type that does not convert to the type of its parameter");
  static_assert(kProblem != Problem::kOtherRef || kPosition != 5, "rayx: argument 5 is an ObjectRef of a type that does not convert to the type of its parameter");
  static_assert(kProblem != Problem::kOtherRef || kPosition != 6, "rayx: argument 6 is an ObjectRef of a type that does not convert to the type of its parameter");
  static_assert(kProblem != Problem::kOtherRef || kPosition != 7, "rayx: argument 7 is an ObjectRef of a type that does not convert to the type of its parameter");
  static_assert(kProblem != Problem::kOtherRef || kPosition != 8, "rayx: argument 8 is an ObjectRef of a type that does not convert to the type of its parameter");
  static_assert(kProblem != Problem::kOtherRef || kPosition < 9, "rayx: argument 9 or a later one is an ObjectRef of a type that does not convert to the type of its parameter");
}
// clang-format on

}  // namespace rayx::detail
