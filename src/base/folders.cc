#include "base/folders.hpp"

#include <sys/stat.h>

#include <cerrno>

namespace rayx::base {

int make_folders(const std::string& path, std::string* failed) {
  for (std::size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    const std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), 0700) == 0 || errno == EEXIST) continue;
    const int error = errno;
    if (failed != nullptr) *failed = part;
    return error;
  }
  return 0;
}

}  // namespace rayx::base
