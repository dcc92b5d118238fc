// The folders of the cache: locked files, links, what is swept and what is evicted.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <vector>

#include "base/clock.hpp"
#include "base/files.hpp"
#include "base/format.hpp"
#include "bundle/cache_state.hpp"
#include "bundle/file_error.hpp"

namespace rayx::bundle {
namespace {

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  DIR* const directory = ::opendir(folder.c_str());
  if (directory == nullptr) return names;
  while (const dirent* entry = ::readdir(directory))
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  ::closedir(directory);
  return names;
}

// True if whoever made this file has ended: then it is ours for as long as `fd` is open.
bool take_unlocked(const std::string& path, base::UniqueFd& fd) {
  fd = base::UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  return fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0;
}

constexpr std::string_view kLockEnding = ".lock";

}  // namespace

std::string fresh_name() {
  std::uint64_t word = 0;
  if (::getrandom(&word, sizeof(word), GRND_NONBLOCK) != sizeof(word))  // early in the boot: O_EXCL tells what is taken
    word = static_cast<std::uint64_t>(base::SteadyClock().now_ns()) * 0x9e3779b97f4a7c15ull ^
           static_cast<std::uint64_t>(::getpid()) << 40;
  return base::format("{:016x}", word);
}

Result<LockedFile> make_locked_file(const std::string& folder, const std::string& ending) {
  for (;;) {
    const std::string name = fresh_name();
    const std::string path = folder + "/" + name + ending;
    LockedFile made{base::UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)),
                    name};
    if (!made.fd && errno == EEXIST) continue;
    if (!made.fd) return file_error("making", path, errno);
    // Before the lock it looks like the leavings of a dead process. One that sweeps may hold it by now, or have removed it.
    struct stat status {};
    errno = 0;
    if (::flock(made.fd.get(), LOCK_EX | LOCK_NB) == 0 && ::fstat(made.fd.get(), &status) == 0 && status.st_nlink > 0)
      return made;
    if (errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP) return file_error("locking", path, errno);
  }
}

int copy_file(const std::string& from, const std::string& to, std::span<const ElfFile::Word> fixes,
              const std::string& tail) {
  const base::UniqueFd in(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) return errno;
  const base::UniqueFd out(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0700));
  if (!out) return errno;
  std::vector<std::byte> buffer(std::size_t{1} << 20);
  for (std::uint64_t at = 0;;) {
    const std::ptrdiff_t bytes = read_at(in.get(), at, buffer);
    if (bytes < 0) return errno;
    if (bytes == 0) break;
    if (!base::write_all(out.get(), {buffer.data(), static_cast<std::size_t>(bytes)})) return errno;
    at += static_cast<std::uint64_t>(bytes);
  }
  if (!base::write_all(out.get(), std::as_bytes(std::span(tail)))) return errno;
  for (const ElfFile::Word& fix : fixes) {
    const ssize_t written = ::pwrite(out.get(), &fix.value, sizeof(fix.value), static_cast<off_t>(fix.offset));
    if (written != sizeof(fix.value)) return written < 0 ? errno : EIO;
  }
  return ::fchmod(out.get(), 0500) == 0 ? 0 : errno;
}

int link_or_copy(const std::string& from, const std::string& to) {
  if (::link(from.c_str(), to.c_str()) == 0) return 0;
  switch (errno) {
    case EPERM:
    case EOPNOTSUPP:
    case ENOSYS:
    case EMLINK: return copy_file(from, to);
    default: return errno;
  }
}

void sweep(const CacheState& state) {
  base::UniqueFd lock;
  for (const std::string& name : names_in(state.incoming)) {
    const std::string path = state.incoming + "/" + name;
    if (take_unlocked(path, lock)) ::unlink(path.c_str());
  }
  // The folder goes before its lock: a folder without one cannot come to be.
  for (const std::string& name : names_in(state.layouts)) {
    const std::string path = state.layouts + "/" + name;
    if (!name.ends_with(kLockEnding) || !take_unlocked(path, lock)) continue;
    std::error_code ignored;
    std::filesystem::remove_all(path.substr(0, path.size() - kLockEnding.size()), ignored);
    if (!ignored) ::unlink(path.c_str());
  }
}

Result<void> make_room(const CacheState& state, std::uint64_t wanted) {
  struct Unused {
    std::string path;
    std::uint64_t bytes;
    timespec used;
  };
  std::vector<Unused> unused;
  std::uint64_t total = 0;
  for (const std::string& name : names_in(state.files)) {
    const std::string path = state.files + "/" + name;
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) continue;
    const auto bytes = static_cast<std::uint64_t>(status.st_size);
    total += bytes;
    // A layout has a link of its own to each file that it needs.
    if (status.st_nlink == 1) unused.push_back({path, bytes, status.st_atim});
  }
  std::ranges::sort(unused, [](const Unused& a, const Unused& b) {
    return a.used.tv_sec != b.used.tv_sec ? a.used.tv_sec < b.used.tv_sec : a.used.tv_nsec < b.used.tv_nsec;
  });
  const auto fits = [&] { return total <= state.config.bytes_max && wanted <= state.config.bytes_max - total; };
  for (std::size_t i = 0; i < unused.size() && !fits(); ++i) {
    // Somebody may link it at this moment: then his link keeps the content, and only the name goes.
    if (::unlink(unused[i].path.c_str()) == 0) total -= unused[i].bytes;
  }
  if (fits()) return {};
  return Error{
      ErrorCode::kStoreFull,
      base::format("rayx: a program of {} MB does not fit into the cache {}: its limit is {} MB, and running jobs "
                   "use {} MB of it. Raise the limit, or wait for a job to end",
                   (wanted + 999'999) / 1'000'000, state.config.directory, state.config.bytes_max / 1'000'000,
                   (total + 999'999) / 1'000'000)};
}

}  // namespace rayx::bundle
