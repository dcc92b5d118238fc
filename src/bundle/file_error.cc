#include "bundle/file_error.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/format.hpp"

namespace rayx::bundle {

Error file_error(const char* tried, const std::string& path, int error_number) {
  const char* hint = "see the system's log";
  ErrorCode code = ErrorCode::kSystemError;
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      hint = "the disk or the quota is full: free some, or let the cache lie on another disk";
      code = ErrorCode::kStoreFull;
      break;
    case EROFS: hint = "the file system is read-only: let the cache lie elsewhere"; break;
    case EACCES:
    case EPERM: hint = "this user may not: let the cache lie in a folder of its own"; break;
    case EMFILE:
    case ENFILE: hint = "no file descriptor is free: raise `ulimit -n`"; break;
    case ELOOP:
      hint = "it is a symbolic link, which rayx does not follow there: name the folder that it leads to";
      break;
    case ENOENT: hint = "somebody removed it; trying again makes it anew"; break;
    case ENAMETOOLONG: hint = "the path is too long: let the cache lie nearer to the root"; break;
    case EEXIST:
    case ENOTDIR: hint = "something else lies there; remove it"; break;
    default: break;
  }
  return {code, base::format("rayx: {} {} failed: {}; {}", tried, path, std::strerror(error_number), hint)};
}

std::ptrdiff_t read_at(int fd, std::uint64_t offset, std::span<std::byte> into) noexcept {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t bytes = ::pread(fd, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
    if (bytes == 0) break;
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return -1;
    done += static_cast<std::size_t>(bytes);
  }
  return static_cast<std::ptrdiff_t>(done);
}

}  // namespace rayx::bundle
