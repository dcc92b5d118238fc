#include "observe/stack_capture.hpp"

#include <execinfo.h>
#include <unwind.h>

#include <cstdint>

#if !defined(__x86_64__) || !defined(__ELF__)
#error "rayx supports x86-64 Linux; the trampoline below needs a twin for another processor"
#endif

extern "C" {

__attribute__((visibility("hidden"))) void rayx_capture_call_trampoline(void (*fn)(void*), void* context,
                                                                        rayx::observe::StackCapture* capture);
// The trampoline's last byte: its address range tells where the user's stack ends.
extern __attribute__((visibility("hidden"))) const char rayx_capture_call_end[];

constexpr int kRbp = 6;  // DWARF number. The trampoline keeps its frame there, and the capture's address just below.

struct Walk {
  rayx::observe::StackCapture* capture;
  std::uintptr_t last_frame;  // rbp in the trampoline whose call threw
};

static _Unwind_Reason_Code add_frame(_Unwind_Context* context, void* data) {
  auto& walk = *static_cast<Walk*>(data);
  const auto address = static_cast<std::uintptr_t>(_Unwind_GetIP(context));
  if (address >= reinterpret_cast<std::uintptr_t>(&rayx_capture_call_trampoline) &&
      address <= reinterpret_cast<std::uintptr_t>(rayx_capture_call_end)) {
    // A nested call's frame is left out, but is not the end.
    return static_cast<std::uintptr_t>(_Unwind_GetGR(context, kRbp)) == walk.last_frame ? _URC_END_OF_STACK
                                                                                        : _URC_NO_REASON;
  }
  if (address == 0 || walk.capture->count == rayx::observe::kCapturedFramesMax) return _URC_END_OF_STACK;
  walk.capture->addresses[walk.capture->count++] = reinterpret_cast<void*>(address);
  return _URC_NO_REASON;
}

// Called by the unwinder for the trampoline's frame, once in the search for a handler and once while unwinding.
__attribute__((visibility("hidden"), used)) _Unwind_Reason_Code rayx_capture_personality(
    int version, _Unwind_Action actions, _Unwind_Exception_Class, _Unwind_Exception*, _Unwind_Context* context) {
  if (version != 1 || (actions & _UA_SEARCH_PHASE) == 0) return _URC_CONTINUE_UNWIND;
  const auto frame = static_cast<std::uintptr_t>(_Unwind_GetGR(context, kRbp));
  Walk walk{*reinterpret_cast<rayx::observe::StackCapture**>(frame - 8), frame};
  walk.capture->count = 0;
  _Unwind_Backtrace(add_frame, &walk);
  return _URC_CONTINUE_UNWIND;
}

}  // extern "C"

// void rayx_capture_call_trampoline(fn: rdi, context: rsi, capture: rdx)
// 0x1b: the personality's address is a 32-bit distance from here, so the code is position independent.
asm(R"(
    .pushsection .text
    .p2align 4
    .globl rayx_capture_call_trampoline
    .hidden rayx_capture_call_trampoline
    .type rayx_capture_call_trampoline, @function
rayx_capture_call_trampoline:
    .cfi_startproc
    .cfi_personality 0x1b, rayx_capture_personality
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset 6, -16
    movq %rsp, %rbp
    .cfi_def_cfa_register 6
    pushq %rdx
    subq $8, %rsp
    movq %rdi, %rax
    movq %rsi, %rdi
    call *%rax
    leave
    .cfi_def_cfa 7, 8
    ret
    .cfi_endproc
    .globl rayx_capture_call_end
    .hidden rayx_capture_call_end
rayx_capture_call_end:
    .size rayx_capture_call_trampoline, .-rayx_capture_call_trampoline
    .popsection
)");

namespace rayx::observe {

void capture_call(void (*fn)(void*), void* context, StackCapture& capture) {
  capture.count = 0;
  rayx_capture_call_trampoline(fn, context, &capture);
}

void warm_up_stack_capture() {
  void* warm[2];
  ::backtrace(warm, 2);
}

}  // namespace rayx::observe
