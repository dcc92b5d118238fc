// A user's program: constructors that print, a main with side effects, and constructors that misbehave on request.
#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "embed.hpp"

namespace {

struct Constructor {
  Constructor() {
    std::puts("constructor");
    const char* what = std::getenv("RAYX_TEST_CONSTRUCTOR");
    if (what == nullptr) return;
    const std::string mode = what;
    if (mode == "exit") {
      std::fputs("the licence is missing\n", stderr);
      std::exit(3);
    }
    if (mode == "segv") {
      std::fputs("about to crash\n", stderr);
      ::raise(SIGSEGV);
    }
    if (mode == "thread" || mode == "thread-and-exit") {
      pthread_t thread;
      ::pthread_create(
          &thread, nullptr,
          [](void*) -> void* {
            for (;;) ::pause();
          },
          nullptr);
    }
    if (mode == "thread-and-exit" && std::getenv("RAYX_TEST_IN_WORKER") != nullptr) ::_exit(4);
  }
} constructor;

}  // namespace

int main(int argc, char** argv) {
  std::puts("main");
  std::fflush(stdout);
  const std::string what = argc > 1 ? argv[1] : "say";
  const std::string then = argc > 2 ? argv[2] : "";
  const int result = rayx_test_embed(what.c_str());
  if (then == "throw") throw std::runtime_error("leaves main");
  if (then == "exit") std::exit(0);
  if (then == "pause") {
    for (;;) ::pause();
  }
  return result;
}
