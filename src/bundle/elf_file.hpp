// What the dynamic loader will read in an ELF file, and the few words of it that a private copy needs changed.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rayx/result.hpp>

namespace rayx::bundle {

// "the file `library` must define the version `version`": ("libc.so.6", "GLIBC_2.34").
struct VersionNeed {
  std::string library;
  std::string version;
  auto operator<=>(const VersionNeed&) const = default;
};

struct ElfFile {
  // A 64-bit word at `offset` of the file that becomes `value`.
  struct Word {
    std::uint64_t offset = 0;
    std::uint64_t value = 0;
  };

  std::uint16_t machine = 0;  // EM_X86_64
  std::string interpreter;    // empty for libraries and static programs
  std::string soname;
  std::vector<std::string> needed;
  std::vector<VersionNeed> version_needs;
  std::vector<std::string> version_defs;
  std::string build_id;    // hex; empty if the linker was told to leave it out
  std::string kernel_min;  // "3.2.0", of the C library's files
  // So that its libraries are found by the search path before anything of the host: a needed library with a folder in its
  // name is looked up by its last part (LD_LIBRARY_PATH does not count for the others), and DT_RPATH, which comes before
  // LD_LIBRARY_PATH, becomes DT_RUNPATH, which comes after it.
  std::vector<Word> search_fixes;
  std::uint64_t interpreter_header = 0;  // offset of the program header PT_INTERP
};

// 64-bit little-endian ELF. Any bytes: what is not as the format says is kMalformed, with `path` and the reason.
Result<ElfFile> read_elf(int fd, const std::string& path);

// The last part of a path.
std::string file_name(const std::string& path);
// (2, 36) of "GLIBC_2.36" or "2.36"; (0, 0) if it is no such version.
std::pair<int, int> glibc_version(const std::string& text);

}  // namespace rayx::bundle
