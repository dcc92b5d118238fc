// What a program consists of: its executable and the shared libraries that it has loaded, by content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <rayx/result.hpp>

#include "bundle/elf_file.hpp"
#include "bundle/sha256.hpp"

namespace rayx::bundle {

inline constexpr std::uint32_t kManifestVersion = 1;
inline constexpr std::size_t kManifestBytesMax = std::size_t{4} << 20;
inline constexpr std::size_t kFilesMax = 4'096;  // as many as worker::kModulesMax
inline constexpr std::size_t kNeedsMax = 4'096;
inline constexpr std::size_t kNamesMax = 8;          // of one file
inline constexpr std::size_t kPathBytesMax = 2'048;  // room for the cache's folder before it
inline constexpr std::uint64_t kFileBytesMax = std::uint64_t{64} << 30;

enum class Role : std::uint8_t {
  kExecutable = 1,
  kLibrary,   // always used from the bundle
  kLoader,    // the dynamic linker, and
  kCLibrary,  // the files of glibc: used from the bundle, all together, where the host's are older or missing
  kHost,      // belongs to a driver in the host's kernel (libcuda.so.1): named, never carried
};

struct File {
  Role role = Role::kLibrary;
  std::string path;  // absolute, without "." and "..": where it lay; names its place in the layout, too
  // Under which the loader may look for it: soname and file name, each at one file of the manifest only.
  std::vector<std::string> names;
  std::string build_id;  // hex; empty if it has none
  std::uint64_t bytes = 0;
  Digest digest{};
  bool operator==(const File&) const = default;
};

struct Manifest {
  std::uint16_t machine = 0;       // of the ELF header: EM_X86_64
  std::string interpreter;         // of the executable; empty: it is static
  std::string libc_version;        // "2.36", of the files in the bundle; empty if it has none
  std::string kernel_min;          // "3.2.0", that this C library asks for
  std::vector<VersionNeed> needs;  // of the C library by all other files; sorted
  std::vector<File> files;         // sorted by path; one kExecutable, at most one kLoader
  bool operator==(const Manifest&) const = default;

  const File& executable() const;
};

// The same for the same program wherever and whenever it is encoded.
std::vector<std::byte> encode(const Manifest& manifest);
// Any bytes. What it returns obeys every rule above; it may be laid out in a folder without a look at the names.
Result<Manifest> decode_manifest(std::span<const std::byte> bytes);

// The bundle's name: SHA-256 of the encoded manifest, which holds the digests of all files.
Digest hash_of(const Manifest& manifest);

// Of the C library's own files by their names; the dynamic linker is one.
bool is_c_library(const std::string& name);
// Of those that must match a driver in the kernel of the host where they run.
bool belongs_to_host(const std::string& name);

}  // namespace rayx::bundle
