#include "bundle/file_digests.hpp"

#include <cerrno>
#include <vector>

#include "bundle/file_error.hpp"

namespace rayx::bundle {

Result<Digest> FileDigests::of(int fd, const std::string& path) {
  struct stat before {};
  if (::fstat(fd, &before) != 0) return file_error("looking at", path, errno);
  {
    const std::scoped_lock lock(mutex_);
    if (const auto found = digests_.find(key_of(before)); found != digests_.end()) return found->second;
  }
  Sha256 hash;
  std::vector<std::byte> buffer(std::size_t{256} << 10);  // of 64 KiB to 1 MiB the fastest: it stays in the L2 cache
  for (std::uint64_t at = 0;;) {
    const std::ptrdiff_t bytes = read_at(fd, at, buffer);
    if (bytes < 0) return file_error("reading", path, errno);
    if (bytes == 0) break;
    hash.add({buffer.data(), static_cast<std::size_t>(bytes)});
    at += static_cast<std::uint64_t>(bytes);
  }
  const Digest digest = hash.finish();
  struct stat after {};
  if (::fstat(fd, &after) != 0) return file_error("looking at", path, errno);
  if (key_of(before) != key_of(after))
    return Error{ErrorCode::kSystemError,
                 "rayx: the file " + path + " was written while it was read; start the program again"};
  keep(key_of(after), digest);
  return digest;
}

void FileDigests::remember(int fd, const Digest& digest) {
  struct stat status {};
  if (::fstat(fd, &status) == 0) keep(key_of(status), digest);
}

void FileDigests::keep(const Key& key, const Digest& digest) {
  const std::scoped_lock lock(mutex_);
  if (digests_.size() >= kFilesMax) digests_.clear();
  digests_.insert_or_assign(key, digest);
}

}  // namespace rayx::bundle
