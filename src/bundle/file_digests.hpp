// Digests of files that are on this host, computed once for each (device, inode, size, time of change of the content).
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include <rayx/result.hpp>

#include "bundle/sha256.hpp"

namespace rayx::bundle {

// Any thread. A file of 20 MB takes about 10 ms the first time on a CPU with SHA instructions, 60 ms without.
class FileDigests {
 public:
  // `path` is for messages. An error if the file cannot be read or changes meanwhile.
  Result<Digest> of(int fd, const std::string& path);
  // What a writer knows already, of a file whose content will not change any more.
  void remember(int fd, const Digest& digest);

 private:
  using Key = std::tuple<dev_t, ino_t, off_t, std::int64_t, std::int64_t>;
  static Key key_of(const struct stat& status) {
    return {status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
  }
  static constexpr std::size_t kFilesMax = 16'384;  // beyond it all are forgotten and hashed again

  void keep(const Key& key, const Digest& digest);

  std::mutex mutex_;
  std::map<Key, Digest> digests_;
};

}  // namespace rayx::bundle
