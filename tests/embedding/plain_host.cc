// A program that knows nothing of rayx and loads a plugin that uses it.
#include <dlfcn.h>

#include <cstdio>

int main(int, char** arguments) {
  std::puts("main");
  std::fflush(stdout);
  void* const plugin = ::dlopen(arguments[1], RTLD_NOW);
  if (plugin == nullptr) {
    std::fprintf(stderr, "%s\n", ::dlerror());
    return 2;
  }
  reinterpret_cast<void (*)()>(::dlsym(plugin, "plugin_init_and_square"))();
}
