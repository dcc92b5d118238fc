#include "wire/secret_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/unique_fd.hpp"

namespace rayx::wire {

Result<std::size_t> read_secret_file(const std::string& path, const std::string& what, std::span<char> place) {
  const auto bad = [&](const std::string& why) { return Error{ErrorCode::kInvalidConfig, what + why}; };
  // O_NONBLOCK: a pipe in the file's place must not stop the program.
  const base::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) return bad(std::string(" cannot be opened: ") + std::strerror(errno));
  struct stat about {};
  if (::fstat(fd.get(), &about) != 0) return bad(std::string(" cannot be examined: ") + std::strerror(errno));
  if (!S_ISREG(about.st_mode)) return bad(" is no regular file");
  if ((about.st_mode & 077) != 0) {
    return bad(" may be read or written by others than its owner; it was not used. Run: chmod 600 " + path);
  }
  if (about.st_uid != ::geteuid() && about.st_uid != 0) {
    return bad(" belongs to user " + std::to_string(about.st_uid) + " and not to user " + std::to_string(::geteuid()) +
               " of this process; it was not used");
  }
  ssize_t size;
  do {
    size = ::read(fd.get(), place.data(), place.size());
  } while (size < 0 && errno == EINTR);
  if (size < 0) return bad(std::string(" cannot be read: ") + std::strerror(errno));
  return static_cast<std::size_t>(size);
}

}  // namespace rayx::wire
