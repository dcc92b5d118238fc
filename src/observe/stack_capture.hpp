// The stack of an exception, taken while the functions that threw are still on it.
//
// capture_call() calls through a few instructions of assembly that have a personality routine of their own. An exception is
// searched a handler for before anything is unwound; when the search comes to our frame, no function inside has a handler, and
// the routine writes the stack down. Costs nothing when nothing is thrown, replaces no symbol of the C++ runtime, and leaves
// the exception as it is. An exception that is caught inside and thrown on with `throw;` shows the place of the `throw;`.
#pragma once

namespace rayx::observe {

inline constexpr int kCapturedFramesMax = 64;

struct StackCapture {
  void* addresses[kCapturedFramesMax];  // return addresses, innermost first, down to capture_call()
  int count = 0;                        // 0: nothing was thrown out of the call
};

// Calls fn(context). Exceptions pass through; `capture` then holds the stack. May be nested; the one nearest to the throw records
// as well as those outside of it. Call warm_up_stack_capture() once before: the unwinder allocates when it is first used.
void capture_call(void (*fn)(void*), void* context, StackCapture& capture);
void warm_up_stack_capture();

}  // namespace rayx::observe
