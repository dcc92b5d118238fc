// Takes over before main. The shared library must export this symbol: a program's _start then finds it before the C library's.
// Weak: in a program that is static as a whole the C library's is the one, and the take-over happens in init().
#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>

#include "process/take_over.hpp"

namespace {

using Main = int (*)(int, char**, char**);
using StartMain = int (*)(Main, int, char**, void (*)(), void (*)(), void (*)(), void*);

int main_of_rayx(int, char**, char**) noexcept {
  rayx::process::take_over_if_requested();
  std::abort();  // never reached: it was requested
}

}  // namespace

// The C library (glibc 2.34 and later) runs the program's static constructors in here, then main. Earlier ones get them as
// `init`. Either way they have run when main_of_rayx is called.
extern "C" __attribute__((visibility("default"), weak)) int __libc_start_main(Main main, int argc, char** argv,
                                                                              void (*init)(), void (*fini)(),
                                                                              void (*rtld_fini)(), void* stack_end) {
  const auto real = reinterpret_cast<StartMain>(::dlsym(RTLD_NEXT, "__libc_start_main"));
  if (real == nullptr) {
    constexpr char kText[] = "rayx: the C library has no __libc_start_main; rayx supports glibc only\n";
    if (::write(2, kText, sizeof(kText) - 1) < 0) ::_exit(127);
    ::_exit(127);
  }
  if (rayx::process::take_over_requested()) {
    main = main_of_rayx;
    rayx::process::internal::is_main_replaced = true;
  }
  return real(main, argc, argv, init, fini, rtld_fini, stack_end);
}
