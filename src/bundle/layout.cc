// A program's own folder: every file where it lay at home, below root/, and each library once more under the names that the loader
// asks for. What the program computes from /proc/self/exe and $ORIGIN therefore leads to its own files.
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "base/format.hpp"
#include "bundle/cache_state.hpp"
#include "bundle/file_error.hpp"

namespace rayx::bundle {
namespace {

Result<void> make_folder_of(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (error) return file_error("making the folder of", path, error.value());
  return {};
}

}  // namespace

Layout& Layout::operator=(Layout&& other) noexcept {
  if (this == &other) return *this;
  remove();
  executable_ = std::move(other.executable_);
  library_path_ = std::move(other.library_path_);
  folder_ = std::move(other.folder_);
  lock_path_ = std::move(other.lock_path_);
  lock_ = std::move(other.lock_);
  owner_ = other.owner_;
  libc_ = other.libc_;
  return *this;
}

Layout::~Layout() { remove(); }

void Layout::remove() noexcept {
  if (!lock_ || owner_ != ::getpid()) return;
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
  if (!ignored) ::unlink(lock_path_.c_str());  // else whoever sweeps next tries again
}

// Damage is found here, and not by a worker that crashes.
Result<void> Staging::check_content() const {
  for (const File& file : manifest_.files) {
    if (!is_needed(file)) continue;
    const std::string pin = pin_path(file);
    const base::UniqueFd fd(::open(pin.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd && errno == ENOENT)
      return Error{ErrorCode::kObjectLost,
                   base::format("rayx: the file {} of the program is not in the cache {}; it must be fetched first",
                                file.path, state_->config.directory)};
    if (!fd) return file_error("opening", pin, errno);
    const Result<Digest> digest = state_->digests.of(fd.get(), pin);
    if (!digest) return digest.error();
    if (*digest == file.digest) continue;
    ::unlink(pin.c_str());
    ::unlink(state_->path_of(file.digest).c_str());
    return Error{
        ErrorCode::kMalformed,
        base::format("rayx: the file {} of the program was damaged or changed in the cache {}: its SHA-256 is {} "
                     "and must be {}. It was removed and the program was not started; trying again fetches it anew",
                     file.path, state_->config.directory, to_hex(*digest), to_hex(file.digest))};
  }
  return {};
}

Result<void> Staging::place(const File& file, const ElfFile& elf, const std::string& pin, const std::string& loader) {
  const bool is_libc = file.role == Role::kLoader || file.role == Role::kCLibrary;
  // The files of the C library are never found by their old paths: the host may have others there, and these would mix.
  const std::string path =
      is_libc ? layout_.folder_ + "/libc/" + file.names.front() : layout_.folder_ + "/root" + file.path;
  if (Result<void> made = make_folder_of(path); !made) return made.error();

  std::vector<ElfFile::Word> fixes = elf.search_fixes;
  std::string tail;
  if (file.role == Role::kExecutable && layout_.libc_ == Libc::kBundled) {
    if (elf.interpreter_header == 0)
      return Error{ErrorCode::kMalformed,
                   "rayx: the program " + file.path +
                       " names no loader, and its list of files says that it does; it was not started"};
    // A longer name of the loader than the file has room for: behind its end, where the kernel reads it as well.
    tail = loader + '\0';
    fixes.push_back({elf.interpreter_header + offsetof(Elf64_Phdr, p_offset), file.bytes});
    fixes.push_back({elf.interpreter_header + offsetof(Elf64_Phdr, p_filesz), tail.size()});
  }
  const int error = fixes.empty() ? link_or_copy(pin, path) : copy_file(pin, path, fixes, tail);
  if (error != 0) return file_error("laying out", path, error);
  if (file.role == Role::kExecutable) layout_.executable_ = path;
  // Links to the very file above: the loader sees by the inode that it has it already.
  for (std::size_t i = is_libc ? 1 : 0; i < file.names.size(); ++i) {
    const std::string named = layout_.folder_ + (is_libc ? "/libc/" : "/lib/") + file.names[i];
    if (const int failed = link_or_copy(path, named)) return file_error("laying out", named, failed);
  }
  return {};
}

Result<Layout> Staging::lay_out() && {
  if (Result<void> right = check_content(); !right) return right.error();
  std::string loader;
  for (const File& file : manifest_.files)
    if (file.role == Role::kLoader) loader = layout_.folder_ + "/libc/" + file.names.front();
  for (const char* name : {"/lib", "/libc", "/root"})
    if (const std::string folder = layout_.folder_ + name; ::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
      return file_error("making the folder", folder, errno);
  for (const File& file : manifest_.files) {
    if (!is_needed(file)) continue;
    const std::string pin = pin_path(file);
    const base::UniqueFd fd(::open(pin.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd) return file_error("opening", pin, errno);
    const Result<ElfFile> elf = read_elf(fd.get(), file.path);
    if (!elf) return elf.error();
    if (Result<void> placed = place(file, *elf, pin, loader); !placed) return placed.error();
  }
  layout_.library_path_ = layout_.folder_ + "/lib";
  if (layout_.libc_ == Libc::kBundled) layout_.library_path_ += ":" + layout_.folder_ + "/libc";
  return std::move(layout_);
}

}  // namespace rayx::bundle
