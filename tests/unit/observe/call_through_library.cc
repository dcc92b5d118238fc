// A shared library between the one who catches and the one who throws.
#include <string>

extern "C" __attribute__((visibility("default"), noinline)) void rayx_test_call_through_library(void (*fn)(void*),
                                                                                                void* context) {
  const std::string needs_a_destructor(100, 'x');
  fn(context);
  asm volatile("" : : "r"(needs_a_destructor.data()));
}
