// The programs of other hosts, on this one: files by content, and folders in which a program finds all that it had at home.
//
//   <directory>/v1/files/<sha256>      whole and right when it was renamed to there; a file in use has a second link
//   <directory>/v1/incoming/<name>     being written, locked by its writer
//   <directory>/v1/layouts/<name>/     of one job of one node process, and <name>.lock, locked by that process
//
// Any number of processes of one user share it. What holds a file or a folder is a lock of the kernel's (flock) or a link, so a
// process that is killed holds nothing: whoever comes next finds its leavings unlocked and removes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <rayx/result.hpp>

#include "base/unique_fd.hpp"
#include "bundle/file_digests.hpp"
#include "bundle/host_libc.hpp"
#include "bundle/manifest.hpp"

namespace rayx::bundle {

struct CacheConfig {
  std::string directory = {};                        // empty: default_directory()
  std::string setting = "set XDG_CACHE_HOME";        // that names the folder, for messages
  std::uint64_t bytes_max = std::uint64_t{8} << 30;  // of the files; what running jobs use stays
  std::string host_root = {};                        // before the paths of the host's C library, for tests
};

// $XDG_CACHE_HOME/rayx, else /tmp/rayx-<uid>.
std::string default_directory();

struct CacheState;

// One file on its way into the cache. Appends in order; one thread at a time. Removed again unless finish() succeeds.
class FileWriter {
 public:
  FileWriter(FileWriter&& other) noexcept;
  FileWriter& operator=(FileWriter&&) = delete;
  ~FileWriter();

  Result<void> append(std::span<const std::byte> bytes);
  // Only a file of the size and the content that the manifest names becomes one of the cache.
  Result<void> finish();

 private:
  friend class Staging;
  FileWriter() = default;
  Error refuse(const std::string& why) const;

  std::shared_ptr<CacheState> state_;
  File file_;
  base::UniqueFd fd_;  // holds the lock
  std::string name_;   // in incoming/; empty: nothing is to be removed
  std::string pin_;    // where the staging looks for it
  Sha256 hash_;
  std::uint64_t bytes_ = 0;
};

// A program that can be started. Its folder goes with this object: keep it until the last process of the program has ended.
class Layout {
 public:
  Layout(Layout&& other) noexcept = default;
  Layout& operator=(Layout&& other) noexcept;
  ~Layout();

  const std::string& executable() const { return executable_; }
  // For the loader, before LD_LIBRARY_PATH. Not for the environment of other programs: their own C library would meet this one's.
  const std::string& library_path() const { return library_path_; }
  const std::string& folder() const { return folder_; }
  Libc libc() const { return libc_; }

 private:
  friend class Staging;
  Layout() = default;
  void remove() noexcept;

  std::string executable_;
  std::string library_path_;
  std::string folder_;
  std::string lock_path_;
  base::UniqueFd lock_;
  pid_t owner_ = -1;  // a child that the host forks does not remove it
  Libc libc_ = Libc::kHosts;
};

// A program of which some files may have to be fetched. From the beginning no other process evicts what it needs.
class Staging {
 public:
  Staging(Staging&& other) noexcept = default;
  Staging& operator=(Staging&&) = delete;

  const Manifest& manifest() const { return manifest_; }
  Libc libc() const { return layout_.libc(); }
  // Indices into the manifest's files; of files with the same content one.
  std::vector<std::size_t> missing() const;
  // Several at once are allowed, also for the same file.
  Result<FileWriter> write(std::size_t file);
  // When nothing is missing. Checks the content of each file once for each cache object: a damaged one is removed and named, and is
  // missing from then on.
  Result<Layout> lay_out() &&;
  Result<void> check_content() const;

 private:
  friend class Cache;
  Staging() = default;
  Result<void> pin_present(Libc libc);
  Result<void> place(const File& file, const ElfFile& elf, const std::string& pin, const std::string& loader);
  std::string pin_path(const File& file) const;
  bool is_needed(const File& file) const;

  std::shared_ptr<CacheState> state_;
  Manifest manifest_;
  Layout layout_;
};

// Any thread; every call may wait for the disk.
class Cache {
 public:
  // Makes the folder (mode 0700). Refuses one that is a symbolic link, another user's, or writable for others.
  static Result<Cache> open(CacheConfig config);

  // Chooses the C library, takes what is here, and makes room for the rest. An error if the host cannot run it (kUnsupported)
  // or running jobs fill the cache (kStoreFull).
  Result<Staging> stage(Manifest manifest);
  // A whole file, for another node that asks for it.
  Result<base::UniqueFd> open_file(const Digest& digest) const;
  const std::string& directory() const;

 private:
  explicit Cache(std::shared_ptr<CacheState> state) : state_(std::move(state)) {}
  std::shared_ptr<CacheState> state_;
};

}  // namespace rayx::bundle
