// The stack at the place where an exception was thrown, though it is caught much further out.
//
// Unwinding has two phases: the first looks for a handler while all frames still stand, the second takes them down. A handler
// `catch (const ThrowStackProbe&)` makes the C++ runtime ask the type_info of ThrowStackProbe in the first phase whether it
// takes the exception; ours answers no, after it has noted the stack. Nothing is hooked, nothing is paid unless something is
// thrown.
#pragma once

#include <string>

namespace rayx::detail {

// Never thrown. Its type_info is defined by hand in throw_stack.cc, not by the compiler: `key` is declared and never defined.
struct ThrowStackProbe {
  virtual void key();
  virtual ~ThrowStackProbe() = default;
};

// The stack of the last exception of this thread that passed a probe, one frame a line, without the frames of the C++ runtime
// and without those outside of the task; empty if there was none. Forgets it.
std::string take_throw_stack();

}  // namespace rayx::detail
