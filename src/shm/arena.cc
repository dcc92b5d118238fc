#include "shm/arena.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace rayx::shm {
namespace {

// Not in the headers of the oldest libc that we support.
constexpr unsigned kMfdCloexec = 0x1;
constexpr unsigned kMfdAllowSealing = 0x2;
constexpr unsigned kMfdNoexecSeal = 0x8;  // Linux 6.3; demanded where vm.memfd_noexec=2
constexpr int kMadvPopulateRead = 22;     // Linux 5.14
constexpr int kMadvPopulateWrite = 23;
constexpr std::uint64_t kPrefaultStepBytes = 2 * 1024 * 1024;

constexpr std::uint64_t round_up(std::uint64_t bytes, std::uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

Error system_error(const std::string& what, int error, const std::string& advice) {
  return Error{ErrorCode::kSystemError, what + " failed: " + std::strerror(error) + ". " + advice};
}

Result<int> create_memfd() {
  long fd = ::syscall(SYS_memfd_create, "rayx-arena", kMfdCloexec | kMfdAllowSealing | kMfdNoexecSeal);
  if (fd < 0 && errno == EINVAL) fd = ::syscall(SYS_memfd_create, "rayx-arena", kMfdCloexec | kMfdAllowSealing);
  if (fd >= 0) return static_cast<int>(fd);
  const int error = errno;
  if (error == ENOSYS || error == EPERM || error == EACCES) {
    return Error{
        ErrorCode::kUnsupported,
        std::string("the system call memfd_create is refused here (") + std::strerror(error) +
            "): rayx needs it for the memory that its processes share, and there is no other way that leaves no "
            "files behind. A seccomp filter of the container does this: allow memfd_create in its profile "
            "(docker run --security-opt seccomp=profile.json), or run without rayx processes by RAYX_LOCAL=1."};
  }
  return system_error("memfd_create", error, "Raise the limit of open files (ulimit -n) or free memory.");
}

// ftruncate beyond RLIMIT_FSIZE would end the process with SIGXFSZ.
Result<void> set_size(int fd, std::uint64_t bytes) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && bytes > limit.rlim_cur) {
    return Error{ErrorCode::kInvalidConfig, "the shared memory of " + bytes_text(bytes) +
                                                " is larger than this process's " + "limit of file sizes, " +
                                                bytes_text(limit.rlim_cur) +
                                                ". Raise it (ulimit -f unlimited) or set a smaller store."};
  }
  if (::ftruncate(fd, static_cast<off_t>(bytes)) != 0)
    return system_error("sizing the shared memory to " + bytes_text(bytes), errno, "Set a smaller store.");
  return {};
}

Result<std::byte*> map_file(int fd, std::uint64_t bytes, int protection) {
  void* address = ::mmap(nullptr, bytes, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (address == MAP_FAILED)
    return system_error("mapping the shared memory of " + bytes_text(bytes), errno,
                        "Raise the limit of address space (ulimit -v unlimited) or set a smaller store.");
  return static_cast<std::byte*>(address);
}

// cmpxchg writes in any case, so the page is faulted in for writing, and what it holds stays as it is even while others
// write there. (A fetch_or of 0 would not do: compilers turn it into a fence and a load.)
void touch(std::byte* page) {
  std::byte expected{};
  __atomic_compare_exchange_n(reinterpret_cast<unsigned char*>(page), reinterpret_cast<unsigned char*>(&expected), 0,
                              false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

}  // namespace

Result<Arena> Arena::create(const ArenaConfig& config) {
  ArenaHeader header{};
  header.magic = kArenaMagic;
  header.layout_version = kArenaLayoutVersion;
  header.header_bytes = sizeof(ArenaHeader);
  constexpr std::uint64_t kBytesMax = std::uint64_t{1} << 46;  // half the address space of a process, for two mappings
  if (config.store_bytes > kBytesMax || config.control_bytes > kBytesMax || config.store_bytes == 0) {
    return Error{ErrorCode::kInvalidConfig, "a store of " + bytes_text(config.store_bytes) +
                                                " is not possible. Set between " + bytes_text(kStoreGranuleBytes) +
                                                " and " + bytes_text(kBytesMax) + "."};
  }
  header.control_bytes = round_up(std::max<std::uint64_t>(config.control_bytes, 1), kStoreAlignBytes);
  header.store_bytes = round_up(config.store_bytes, kStoreGranuleBytes);
  if (config.refuse_beyond) {
    // The control area is sparse; only the store can be filled by the user.
    if (Result<void> fits = check_memory_fits(*config.refuse_beyond, header.store_bytes, "store_bytes"); !fits)
      return fits.error();
  }
  Result<int> fd = create_memfd();
  if (!fd) return fd.error();
  Arena arena;
  arena.fd_ = *fd;
  const std::uint64_t header_at = header.control_bytes + header.store_bytes;
  if (Result<void> sized = set_size(*fd, header_at + kPageBytes); !sized) return sized.error();
  if (::pwrite(*fd, &header, sizeof(header), static_cast<off_t>(header_at)) != static_cast<ssize_t>(sizeof(header)))
    return system_error("writing the arena's header", errno, "Free memory or set a smaller store.");
  // Nobody can cut the file off under a reader any more, which would be a SIGBUS there.
  if (::fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return system_error("sealing the size of the shared memory", errno,
                        "Allow fcntl(F_ADD_SEALS) in the seccomp profile.");
  if (Result<void> mapped = arena.map(header); !mapped) return mapped.error();
  return arena;
}

Result<Arena> Arena::attach(int fd) {
  Arena arena;
  arena.fd_ = fd;
  struct stat status {};
  if (::fstat(fd, &status) != 0) {
    const int error = errno;
    arena.fd_ = -1;  // Not ours to close: it is not open.
    return system_error("looking at the descriptor of the shared memory", error,
                        "This is a bug in how a process was started.");
  }
  ArenaHeader header{};
  const auto file_bytes = static_cast<std::uint64_t>(status.st_size);
  const bool has_header = file_bytes > kPageBytes && file_bytes % kPageBytes == 0 &&
                          ::pread(fd, &header, sizeof(header), static_cast<off_t>(file_bytes - kPageBytes)) ==
                              static_cast<ssize_t>(sizeof(header));
  if (!has_header || header.magic != kArenaMagic)
    return Error{ErrorCode::kMalformed, "the descriptor that was handed over is no rayx arena (" +
                                            std::to_string(file_bytes) + " bytes without its header)."};
  if (header.layout_version != kArenaLayoutVersion || header.header_bytes != sizeof(ArenaHeader))
    return Error{ErrorCode::kMalformed, "the arena has layout " + std::to_string(header.layout_version) +
                                            ", this process knows " + std::to_string(kArenaLayoutVersion) +
                                            ". Use the same rayx version in every process of the node."};
  const bool sizes_agree = header.control_bytes <= file_bytes && header.store_bytes <= file_bytes &&
                           header.control_bytes + header.store_bytes + kPageBytes == file_bytes &&
                           header.control_bytes % kStoreAlignBytes == 0 && header.store_bytes % kStoreGranuleBytes == 0;
  if (!sizes_agree)
    return Error{ErrorCode::kMalformed,
                 "the arena's header does not agree with its size of " + bytes_text(file_bytes) + "."};
  if (Result<void> mapped = arena.map(header); !mapped) return mapped.error();
  return arena;
}

Result<void> Arena::map(const ArenaHeader& header) {
  control_bytes_ = header.control_bytes;
  bytes_ = header.control_bytes + header.store_bytes;
  Result<std::byte*> read_base = map_file(fd_, bytes_, PROT_READ);
  if (!read_base) return read_base.error();
  read_base_ = *read_base;
  Result<std::byte*> write_base = map_file(fd_, bytes_, PROT_READ | PROT_WRITE);
  if (!write_base) return write_base.error();
  write_base_ = *write_base;
  // A core dump keeps the control area, once. A store of many GiB in it would fill the disk.
  ::madvise(read_base_, bytes_, MADV_DONTDUMP);
  ::madvise(write_base_ + control_bytes_, bytes_ - control_bytes_, MADV_DONTDUMP);
  return {};
}

Arena::Arena(Arena&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      read_base_(std::exchange(other.read_base_, nullptr)),
      write_base_(std::exchange(other.write_base_, nullptr)),
      control_bytes_(other.control_bytes_),
      bytes_(other.bytes_) {}

Arena& Arena::operator=(Arena other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(read_base_, other.read_base_);
  std::swap(write_base_, other.write_base_);
  std::swap(control_bytes_, other.control_bytes_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void Arena::release_store(std::vector<Piece> kept) const noexcept {
  if (write_base_ == nullptr) return;
  std::sort(kept.begin(), kept.end(), [](const Piece& a, const Piece& b) { return a.offset < b.offset; });
  kept.push_back({(bytes_ + kPageBytes - 1) / kPageBytes * kPageBytes, 0});
  Offset begin = control_bytes_;
  for (const Piece& piece : kept) {
    const Offset end = piece.offset / kPageBytes * kPageBytes;
    if (end > begin) drop_pages(begin, end - begin);
    begin = std::max(begin, (piece.offset + piece.bytes + kPageBytes - 1) / kPageBytes * kPageBytes);
  }
}

void Arena::close_fd() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Arena::~Arena() {
  if (read_base_ != nullptr) ::munmap(read_base_, bytes_);
  if (write_base_ != nullptr) ::munmap(write_base_, bytes_);
  if (fd_ >= 0) ::close(fd_);
}

Offset Arena::offset_of(const void* address) const noexcept {
  const auto* place = static_cast<const std::byte*>(address);
  const bool is_read = place >= read_base_ && place < read_base_ + bytes_;
  RAYX_DCHECK(is_read || (place >= write_base_ && place < write_base_ + bytes_), "address lies outside the arena",
              address);
  return static_cast<Offset>(place - (is_read ? read_base_ : write_base_));
}

Result<void> Arena::prefault(Offset offset, std::uint64_t bytes) const {
  RAYX_CHECK(offset <= bytes_ && bytes <= bytes_ - offset, "range to fault lies outside the arena", offset, bytes);
  const std::uint64_t end = std::min(round_up(offset + bytes, kPageBytes), bytes_);
  for (std::uint64_t at = offset / kPageBytes * kPageBytes; at < end;) {
    const std::uint64_t step = std::min(kPrefaultStepBytes, end - at);
    if (::madvise(write_base_ + at, step, kMadvPopulateWrite) == 0) {
      at += step;
      continue;
    }
    int error = errno;
    if (error == EINTR || error == EAGAIN) continue;
    if (error == EINVAL || error == ENOSYS || error == EPERM) {
      // An old kernel or a filter. fallocate makes the pages or says why not, where touching alone would raise SIGBUS.
      if (::fallocate(fd_, 0, static_cast<off_t>(at), static_cast<off_t>(step)) == 0) {
        for (std::uint64_t page = at; page < at + step; page += kPageBytes) touch(write_base_ + page);
        at += step;
        continue;
      }
      error = errno;
      if (error == EINTR) continue;
    }
    return Error{ErrorCode::kStoreFull,
                 "the kernel has no memory for " + bytes_text(step) + " of the object store (" + std::strerror(error) +
                     "): " + read_machine_limits().memory_text() +
                     ". Set a smaller store_bytes or give the machine or container more memory."};
  }
  return {};
}

void Arena::drop_pages(Offset offset, std::uint64_t bytes) const noexcept {
  RAYX_CHECK(offset <= bytes_ && bytes <= bytes_ - offset, "range to drop lies outside the arena", offset, bytes);
  const std::uint64_t begin = round_up(offset, kPageBytes);
  const std::uint64_t end = (offset + bytes) / kPageBytes * kPageBytes;
  // Failing costs memory and nothing else.
  if (end > begin) ::madvise(write_base_ + begin, end - begin, MADV_REMOVE);
}

void Arena::prefault_for_reading(Offset offset, std::uint64_t bytes) const noexcept {
  RAYX_CHECK(offset <= bytes_ && bytes <= bytes_ - offset, "range to fault lies outside the arena", offset, bytes);
  const std::uint64_t begin = offset / kPageBytes * kPageBytes;
  const std::uint64_t end = std::min(round_up(offset + bytes, kPageBytes), bytes_);
  // Only saves time: where the kernel does not know it, the reader's own page faults do the same.
  ::madvise(read_base_ + begin, end - begin, kMadvPopulateRead);
}

}  // namespace rayx::shm
