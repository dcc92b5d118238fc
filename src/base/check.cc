#include "base/check.hpp"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace rayx::base {

void check_failed(const char* file, int line, const char* expression, const std::string& details) {
  std::fprintf(
      stderr,
      "rayx: internal check failed in process %d at %s:%d: %s: %s\n"
      "rayx: this is a bug in rayx or in the way it is called; the process stops here so that nothing is corrupted\n",
      static_cast<int>(::getpid()), file, line, expression, details.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace rayx::base
