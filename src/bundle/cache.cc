#include "bundle/cache.hpp"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <cstdlib>
#include <set>
#include <utility>

#include "base/files.hpp"
#include "base/format.hpp"
#include "base/kill_point.hpp"
#include "bundle/cache_state.hpp"
#include "bundle/file_error.hpp"

namespace rayx::bundle {
namespace {

Error unsafe(const std::string& directory, const char* why) {
  return {ErrorCode::kInvalidConfig,
          base::format("rayx: {} cannot be the cache of programs: {}. Programs are started from it, so nobody else may "
                       "write there; remove it, or name another folder",
                       directory, why)};
}

// Its real path: names that lead there may change later, this one only by those who may write around it. Of the parts that are made
// only the last one is ours to judge, and is judged by its owner.
Result<std::string> open_directory(const std::string& directory) {
  std::string part;
  if (const int error = base::make_folders(directory, &part); error != 0)
    return file_error("making the folder", part, error);
  const base::UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd && (errno == ELOOP || errno == ENOTDIR)) return unsafe(directory, "it is a symbolic link or no folder");
  if (!fd) return file_error("opening the folder", directory, errno);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return file_error("looking at", directory, errno);
  if (status.st_uid != ::geteuid()) return unsafe(directory, "it belongs to another user");
  if ((status.st_mode & 022) != 0) return unsafe(directory, "other users may write to it (chmod go-w)");
  struct statvfs volume {};
  if (::fstatvfs(fd.get(), &volume) == 0 && (volume.f_flag & ST_NOEXEC) != 0)
    return unsafe(directory, "its file system is mounted noexec, so that no program can be started from it");
  char real[PATH_MAX];
  if (::realpath(directory.c_str(), real) == nullptr) return file_error("resolving", directory, errno);
  const std::string path = real;
  // LD_LIBRARY_PATH is separated by ':' and ';', and '$' begins a name in it.
  if (path.find_first_of(":;$") != std::string::npos) return unsafe(directory, "its path holds one of : ; $");
  return path;
}

}  // namespace

std::string default_directory() {
  const char* const base = std::getenv("XDG_CACHE_HOME");
  if (base != nullptr && base[0] == '/') return std::string(base) + "/rayx";
  return base::format("/tmp/rayx-{}", ::geteuid());
}

Result<Cache> Cache::open(CacheConfig config) {
  if (config.directory.empty()) config.directory = default_directory();
  if (config.directory[0] != '/')
    return Error{ErrorCode::kInvalidConfig, "rayx: the cache of programs needs an absolute path, and got \"" +
                                                config.directory + "\" (" + config.setting + ')'};
  while (config.directory.size() > 1 && config.directory.back() == '/') config.directory.pop_back();
  const Result<std::string> real = open_directory(config.directory);
  if (!real) return Error{real.error().code, real.error().message + " (" + config.setting + ')'};
  auto state = std::make_shared<CacheState>();
  state->config = std::move(config);
  const std::string root = *real + "/v1";
  state->files = root + "/files";
  state->incoming = root + "/incoming";
  state->layouts = root + "/layouts";
  for (const std::string& folder : {root, state->files, state->incoming, state->layouts})
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return file_error("making the folder", folder, errno);
  sweep(*state);
  return Cache(std::move(state));
}

const std::string& Cache::directory() const { return state_->config.directory; }

Result<base::UniqueFd> Cache::open_file(const Digest& digest) const {
  const std::string path = state_->path_of(digest);
  base::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return file_error("opening", path, errno);
  return fd;
}

Result<Staging> Cache::stage(Manifest manifest) {
  HostLibc host(manifest.interpreter, state_->config.host_root);
  const Result<Libc> libc = choose_libc(manifest, host, kernel_release());
  if (!libc) return libc.error();
  sweep(*state_);
  Staging staging;
  staging.state_ = state_;
  staging.manifest_ = std::move(manifest);
  if (Result<void> pinned = staging.pin_present(*libc); !pinned) return pinned.error();
  std::uint64_t wanted = 0;
  for (const std::size_t file : staging.missing()) {
    const std::uint64_t bytes = staging.manifest_.files[file].bytes;
    if (bytes > UINT64_MAX - wanted) break;
    wanted += bytes;
  }
  if (wanted > 0)
    if (Result<void> room = make_room(*state_, wanted); !room) return room.error();
  return staging;
}

bool Staging::is_needed(const File& file) const {
  switch (file.role) {
    case Role::kHost: return false;
    case Role::kLoader:
    case Role::kCLibrary: return layout_.libc_ == Libc::kBundled;
    default: return true;
  }
}

std::string Staging::pin_path(const File& file) const { return layout_.folder_ + "/pin/" + to_hex(file.digest); }

// From here on the files that are there stay there, whoever needs room.
Result<void> Staging::pin_present(Libc libc) {
  layout_.libc_ = libc;
  Result<LockedFile> lock = make_locked_file(state_->layouts, ".lock");
  if (!lock) return lock.error();
  layout_.folder_ = state_->layouts + "/" + lock->name;
  layout_.lock_path_ = layout_.folder_ + ".lock";
  layout_.lock_ = std::move(lock->fd);
  layout_.owner_ = ::getpid();
  for (const std::string& folder : {layout_.folder_, layout_.folder_ + "/pin"})
    if (::mkdir(folder.c_str(), 0700) != 0) return file_error("making the folder", folder, errno);
  for (const File& file : manifest_.files) {
    if (!is_needed(file)) continue;
    const std::string pin = pin_path(file);
    const int error = link_or_copy(state_->path_of(file.digest), pin);
    if (error == EEXIST || error == ENOENT) continue;
    if (error != 0) return file_error("linking", pin, error);
    struct stat status {};
    if (::lstat(pin.c_str(), &status) != 0 || static_cast<std::uint64_t>(status.st_size) != file.bytes) {
      ::unlink(pin.c_str());  // cut short by a power failure, or tampered with: fetched again, and replaced then
      continue;
    }
    const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_NOW}, {.tv_sec = 0, .tv_nsec = UTIME_OMIT}};
    ::utimensat(AT_FDCWD, pin.c_str(), times, AT_SYMLINK_NOFOLLOW);  // "used now": evicted last
  }
  return {};
}

std::vector<std::size_t> Staging::missing() const {
  std::vector<std::size_t> indices;
  std::set<Digest> seen;
  for (std::size_t i = 0; i < manifest_.files.size(); ++i) {
    const File& file = manifest_.files[i];
    if (!is_needed(file) || ::access(pin_path(file).c_str(), F_OK) == 0) continue;
    if (seen.insert(file.digest).second) indices.push_back(i);
  }
  return indices;
}

Result<FileWriter> Staging::write(std::size_t file) {
  FileWriter writer;
  Result<LockedFile> made = make_locked_file(state_->incoming, "");
  if (!made) return made.error();
  writer.state_ = state_;
  writer.file_ = manifest_.files.at(file);
  writer.fd_ = std::move(made->fd);
  writer.name_ = std::move(made->name);
  writer.pin_ = pin_path(writer.file_);
  return writer;
}

FileWriter::FileWriter(FileWriter&& other) noexcept
    : state_(std::move(other.state_)),
      file_(std::move(other.file_)),
      fd_(std::move(other.fd_)),
      name_(std::exchange(other.name_, {})),
      pin_(std::move(other.pin_)),
      hash_(other.hash_),
      bytes_(other.bytes_) {}

FileWriter::~FileWriter() {
  if (!name_.empty()) ::unlink((state_->incoming + "/" + name_).c_str());
}

Error FileWriter::refuse(const std::string& why) const {
  return {ErrorCode::kMalformed,
          base::format(
              "rayx: the file {} of a program did not arrive as it was sent: {}. Nothing of it is used and the "
              "program was not started; submit it again, and if the file was rebuilt meanwhile start the driver again",
              file_.path, why)};
}

Result<void> FileWriter::append(std::span<const std::byte> bytes) {
  if (bytes.size() > file_.bytes - bytes_) return refuse(base::format("it is longer than {} bytes", file_.bytes));
  if (!base::write_all(fd_.get(), bytes)) return file_error("writing", state_->incoming + "/" + name_, errno);
  RAYX_KILL_POINT("bundle.written");
  hash_.add(bytes);
  bytes_ += bytes.size();
  return {};
}

Result<void> FileWriter::finish() {
  if (bytes_ != file_.bytes) return refuse(base::format("{} of {} bytes came", bytes_, file_.bytes));
  const Digest digest = hash_.finish();
  if (digest != file_.digest)
    return refuse(base::format("its SHA-256 is {}, and {} was announced", to_hex(digest), to_hex(file_.digest)));
  const std::string path = state_->incoming + "/" + name_;
  if (::fchmod(fd_.get(), 0500) != 0) return file_error("changing the mode of", path, errno);
  // No fsync: after a power failure the first use sees that the content is another one, and fetches it again.
  // The second name comes first: a file with one name only may be evicted.
  const int error = link_or_copy(path, pin_);
  if (error != 0 && error != EEXIST) return file_error("linking", pin_, error);
  RAYX_KILL_POINT("bundle.pinned");
  if (::rename(path.c_str(), state_->path_of(file_.digest).c_str()) != 0) return file_error("renaming", path, errno);
  RAYX_KILL_POINT("bundle.renamed");
  name_.clear();
  state_->digests.remember(fd_.get(), digest);
  return {};
}

}  // namespace rayx::bundle
