// libFuzzer: any bytes as the list of a program's files, and as an ELF file. A list that decodes is encoded again, and must come back
// as the very bytes: its digest names the program.
//   meson compile -C <dir> manifest_fuzz && <dir>/tests/fuzz/manifest_fuzz -max_len=4096 -max_total_time=60
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

#include "base/files.hpp"
#include "bundle/elf_file.hpp"
#include "bundle/manifest.hpp"

namespace {

[[noreturn]] void stop(const char* what) {
  std::fprintf(stderr, "manifest_fuzz: %s\n", what);
  std::abort();
}

void try_manifest(std::span<const std::byte> bytes) {
  const rayx::Result<rayx::bundle::Manifest> manifest = rayx::bundle::decode_manifest(bytes);
  if (!manifest) return;
  if (!std::ranges::equal(rayx::bundle::encode(*manifest), bytes)) stop("one program has two lists");
  for (const rayx::bundle::File& file : manifest->files)
    if (file.path.find("/../") != std::string::npos) stop("a path leads out of its folder");
}

void try_elf(std::span<const std::byte> bytes) {
  static const int fd = ::memfd_create("manifest_fuzz", MFD_CLOEXEC);
  if (::ftruncate(fd, 0) != 0 || ::lseek(fd, 0, SEEK_SET) != 0 || !rayx::base::write_all(fd, bytes))
    stop("the memfd cannot be written");
  const rayx::Result<rayx::bundle::ElfFile> elf = rayx::bundle::read_elf(fd, "fuzzed");
  if (!elf) return;
  for (const rayx::bundle::ElfFile::Word& fix : elf->search_fixes)
    if (fix.offset > bytes.size() || bytes.size() - fix.offset < 8) stop("a word beyond the file would be changed");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  const std::span<const std::byte> all(reinterpret_cast<const std::byte*>(bytes), size);
  if (all[0] == std::byte{0x7f}) {
    try_elf(all);
  } else {
    try_manifest(all);
  }
  return 0;
}
