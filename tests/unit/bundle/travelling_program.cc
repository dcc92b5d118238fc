// A program that is started on a host that has none of its files. `travelling_program FILE` describes itself into FILE (the manifest)
// and FILE.sources (a path on each line). Its workers say what they have found.
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "bundle/running_program.hpp"
#include "process/take_over.hpp"

extern "C" int rayx_test_outer();
extern "C" int rayx_test_by_path();

namespace {

// Each line that maps a file from elsewhere than the folder of this executable's layout.
int mapped_from_elsewhere(const std::string& layout) {
  int count = 0;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t slash = line.find('/');
    if (slash == std::string::npos || line.compare(slash, layout.size(), layout) == 0) continue;
    if (line.compare(slash, 9, "/dev/zero") == 0 || line.ends_with(" (deleted)"))
      continue;  // shared memory, also TSan's
    std::fprintf(stderr, "from elsewhere: %s\n", line.c_str());
    ++count;
  }
  return count;
}

int work(const rayx::process::WorkerStart& start) {
  std::printf("outer %d, by path %d\n", rayx_test_outer(), rayx_test_by_path());
  void* const plugin = ::dlopen("librayx_test_plugin.so", RTLD_NOW);
  if (plugin == nullptr) return std::printf("no plugin: %s\n", ::dlerror()), 1;
  std::printf("plugin %d\n", reinterpret_cast<int (*)()>(::dlsym(plugin, "rayx_test_plugin"))());
  char exe[4096] = {};
  if (::readlink("/proc/self/exe", exe, sizeof(exe) - 1) <= 0) return 1;
  std::printf("exe %s\nforked %d\nlibc %s\n", exe, start.forked, ::gnu_get_libc_version());
  const std::string layout = std::string(exe).substr(0, std::string(exe).find("/root/"));
  std::printf("from elsewhere %d\n", mapped_from_elsewhere(layout));
  const char* const path = std::getenv("LD_LIBRARY_PATH");
  std::printf("library path %s\n", path == nullptr ? "unset" : path);
  std::ifstream arguments("/proc/self/cmdline", std::ios::binary);
  std::string first;
  std::getline(arguments, first, '\0');
  std::printf("argv[0] %s\n", first.c_str());
  return 0;
}

[[maybe_unused]] const bool registered = (rayx::process::register_worker_main(work), true);

// Asked for by a test: then workers are exec'd, by the fork server.
[[maybe_unused]] const bool threaded = [] {
  if (std::getenv("RAYX_TEST_THREAD") == nullptr) return false;
  pthread_t thread;
  return ::pthread_create(
             &thread, nullptr,
             [](void*) -> void* {
               for (;;) ::pause();
             },
             nullptr) == 0;
}();

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  if (::dlopen(argv[2], RTLD_NOW) == nullptr) return std::fprintf(stderr, "%s\n", ::dlerror()), 1;
  if (rayx_test_outer() != 41 || rayx_test_by_path() != 40) return 1;
  rayx::bundle::FileDigests digests;
  const auto program = rayx::bundle::describe_running_program(digests);
  if (!program) return std::fprintf(stderr, "%s\n", program.error().message.c_str()), 1;
  const std::vector<std::byte> bytes = rayx::bundle::encode(program->manifest);
  std::ofstream(argv[1], std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  std::ofstream sources(std::string(argv[1]) + ".sources");
  for (const std::string& source : program->sources)
    sources << (source == "/proc/self/exe" ? program->manifest.executable().path : source) << '\n';
  return 0;
}
