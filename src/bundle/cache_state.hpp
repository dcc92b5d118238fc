// What the objects of one cache share, and the moves on its folders that all of them use.
#pragma once

#include <cstdint>
#include <string>

#include <rayx/result.hpp>

#include "base/unique_fd.hpp"
#include "bundle/cache.hpp"
#include "bundle/file_digests.hpp"

namespace rayx::bundle {

struct CacheState {
  CacheConfig config;
  std::string files;  // absolute paths
  std::string incoming;
  std::string layouts;
  FileDigests digests;

  std::string path_of(const Digest& digest) const { return files + "/" + to_hex(digest); }
};

// 16 hex digits that nobody has had.
std::string fresh_name();

// A new file that is locked for as long as the descriptor is open; whoever finds it unlocked may remove it. `path` ends with a
// fresh name, which may be drawn anew.
struct LockedFile {
  base::UniqueFd fd;
  std::string name;
};
Result<LockedFile> make_locked_file(const std::string& folder, const std::string& ending);

// A second name for the file, or a copy where the file system has no links (or no more for this file). Replaces nothing.
// 0 or errno.
int link_or_copy(const std::string& from, const std::string& to);
// With the words of `fixes` changed and `tail` behind its end.
int copy_file(const std::string& from, const std::string& to, std::span<const ElfFile::Word> fixes = {},
              const std::string& tail = {});

// Removes what ended processes have left.
void sweep(const CacheState& state);
// Removes files that nobody uses, those first that were not used for longest, until `wanted` bytes more fit.
Result<void> make_room(const CacheState& state, std::uint64_t wanted);

}  // namespace rayx::bundle
