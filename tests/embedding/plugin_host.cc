// A program that is linked with rayx and loads the plugin: plugin_host PLUGIN before|after|constructor. With `constructor` the
// name comes from the environment too, since there are no arguments before main.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <rayx/rayx.hpp>
#include <string_view>

namespace {

void* plugin = nullptr;

void load(const char* path) {
  plugin = ::dlopen(path, RTLD_NOW);
  if (plugin != nullptr) return;
  std::fprintf(stderr, "%s\n", ::dlerror());
  std::exit(2);
}

struct Constructor {
  Constructor() {
    if (const char* const path = std::getenv("PLUGIN_IN_CONSTRUCTOR")) load(path);
  }
} constructor;

int one() { return 1; }

}  // namespace

int main(int, char** arguments) {
  const std::string_view when = arguments[2];
  if (when == "before") load(arguments[1]);
  const rayx::Runtime runtime = rayx::init({.num_cpus = 1});
  if (when == "after") load(arguments[1]);
  reinterpret_cast<void (*)()>(::dlsym(plugin, "plugin_square"))();
  std::printf("and the next task gives %d\n", rayx::get(rayx::remote<one>()));
}
