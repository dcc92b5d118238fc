#include "bundle/running_program.hpp"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <sys/auxv.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string_view>

#include "bundle/file_error.hpp"

namespace rayx::bundle {
namespace {

struct Loaded {
  std::string name;  // as the loader knows it
  std::uintptr_t base = 0;
  std::uintptr_t headers = 0;         // where its program headers lie in memory
  std::vector<Elf64_Phdr> in_memory;  // and what they say
};

int note_module(dl_phdr_info* info, std::size_t, void* context) {
  Loaded module;
  module.name = info->dlpi_name != nullptr ? info->dlpi_name : "";
  module.base = info->dlpi_addr;
  module.headers = reinterpret_cast<std::uintptr_t>(info->dlpi_phdr);
  module.in_memory.assign(info->dlpi_phdr, info->dlpi_phdr + info->dlpi_phnum);
  static_cast<std::vector<Loaded>*>(context)->push_back(std::move(module));
  return 0;
}

struct Mapping {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  std::string path;  // as the kernel knows it now; " (deleted)" behind it if it has no name any more
};

// The loader's names are not good enough: of the linker it is what the executable asked for, of others a path relative to a
// working directory that may have changed.
std::vector<Mapping> file_mappings() {
  std::vector<Mapping> mappings;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {  // "7f00-7f10 r-xp 00000000 08:01 123   /usr/lib/libz.so"
    Mapping mapping;
    const std::size_t slash = line.find('/');
    const char* const end = line.data() + line.size();
    const auto [dash, error] = std::from_chars(line.data(), end, mapping.begin, 16);
    if (slash == std::string::npos || error != std::errc() || dash == end) continue;
    std::from_chars(dash + 1, end, mapping.end, 16);
    mapping.path = line.substr(slash);
    mappings.push_back(std::move(mapping));
  }
  return mappings;
}

const std::string* path_at(const std::vector<Mapping>& mappings, std::uintptr_t address) {
  for (const Mapping& mapping : mappings)
    if (address >= mapping.begin && address < mapping.end) return &mapping.path;
  return nullptr;
}

std::string normal(const std::string& path) { return std::filesystem::path(path).lexically_normal().native(); }

bool is_in_memory(const std::vector<Elf64_Phdr>& headers, const Elf64_Phdr& part) {
  return std::ranges::any_of(headers, [&](const Elf64_Phdr& load) {
    return load.p_type == PT_LOAD && part.p_vaddr >= load.p_vaddr &&
           part.p_vaddr + part.p_filesz <= load.p_vaddr + load.p_filesz;
  });
}

// Whether the file is the one that was loaded: somebody may have built it anew meanwhile, under the same name.
bool is_what_was_loaded(int fd, const Loaded& module) {
  Elf64_Ehdr head;
  if (read_at(fd, 0, std::as_writable_bytes(std::span(&head, 1))) != sizeof(head)) return false;
  std::vector<Elf64_Phdr> in_file(module.in_memory.size());
  const auto bytes = std::as_writable_bytes(std::span(in_file));
  if (head.e_phnum != in_file.size() || read_at(fd, head.e_phoff, bytes) != static_cast<std::ptrdiff_t>(bytes.size()))
    return false;
  if (std::memcmp(in_file.data(), module.in_memory.data(), bytes.size()) != 0) return false;
  for (const Elf64_Phdr& header : in_file) {  // the build-id is among the notes
    if (header.p_type != PT_NOTE || header.p_filesz > 64 * 1024 || !is_in_memory(in_file, header)) continue;
    std::vector<std::byte> note(header.p_filesz);
    if (read_at(fd, header.p_offset, note) != static_cast<std::ptrdiff_t>(note.size())) return false;
    if (std::memcmp(note.data(), reinterpret_cast<const void*>(module.base + header.p_vaddr), note.size()) != 0)
      return false;
  }
  return true;
}

class Describer {
 public:
  explicit Describer(FileDigests& digests) : digests_(digests) {}

  Result<RunningProgram> describe() {
    std::vector<Loaded> loaded;
    ::dl_iterate_phdr(note_module, &loaded);
    if (loaded.size() > 1 && ::getauxval(AT_BASE) == 0)
      return Error{
          ErrorCode::kUnsupported,
          "rayx: this program was started by the dynamic linker (`ld.so program`), so rayx cannot tell its file "
          "from the linker's; start it directly"};
    const std::vector<Mapping> mappings = file_mappings();
    for (std::size_t i = 0; i < loaded.size(); ++i) {
      const std::string* const mapped = path_at(mappings, loaded[i].headers);
      if (i > 0 && mapped == nullptr) continue;  // the kernel's own: [vdso]
      if (Result<void> added = add(loaded[i], i == 0, mapped == nullptr ? std::string() : *mapped); !added)
        return added.error();
    }
    return finish();
  }

 private:
  struct Entry {
    File file;
    std::string source;
  };

  Result<void> add(const Loaded& module, bool is_executable, const std::string& mapped) {
    Entry entry;
    // Of the executable there is always a way to the very file, also when it was deleted.
    entry.source = is_executable ? "/proc/self/exe" : mapped;
    if (is_executable) {
      char path[PATH_MAX];
      const ssize_t length = ::readlink("/proc/self/exe", path, sizeof(path));
      if (length <= 0) return file_error("reading", "/proc/self/exe", errno);
      entry.file.path = std::string(path, static_cast<std::size_t>(length));
      constexpr std::string_view kDeleted = " (deleted)";
      if (entry.file.path.ends_with(kDeleted)) entry.file.path.resize(entry.file.path.size() - kDeleted.size());
    } else {
      entry.file.path = normal(module.name.starts_with('/') ? module.name : mapped);
    }
    const base::UniqueFd fd(::open(entry.source.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd && errno == ENOENT) return was_replaced(entry.file.path);
    if (!fd) return file_error("opening", entry.source, errno);
    if (!is_what_was_loaded(fd.get(), module)) return was_replaced(entry.file.path);
    Result<ElfFile> elf = read_elf(fd.get(), entry.file.path);
    if (!elf) return elf.error();
    entry.file.build_id = elf->build_id;
    set_role(entry.file, *elf, is_executable, module.base);
    if (entry.file.role != Role::kHost) {
      const Result<Digest> digest = digests_.of(fd.get(), entry.source);
      if (!digest) return digest.error();
      entry.file.digest = *digest;
      struct stat status {};
      if (::fstat(fd.get(), &status) != 0) return file_error("looking at", entry.source, errno);
      entry.file.bytes = static_cast<std::uint64_t>(status.st_size);
    }
    entries_.push_back(std::move(entry));
    return {};
  }

  void set_role(File& file, const ElfFile& elf, bool is_executable, std::uintptr_t base) {
    if (is_executable) {
      file.role = Role::kExecutable;
      manifest_.machine = elf.machine;
      manifest_.interpreter = elf.interpreter.empty() ? "" : normal(elf.interpreter);
    } else {
      // As the loader does: the first that was loaded under a name is the one.
      for (const std::string& name : {elf.soname, file_name(file.path)})
        if (!name.empty() && file_name(name) == name && names_.insert(name).second) file.names.push_back(name);
      const std::string name = elf.soname.empty() ? file_name(file.path) : elf.soname;
      if (base == ::getauxval(AT_BASE)) {
        file.role = Role::kLoader;
      } else if (is_c_library(name)) {
        file.role = Role::kCLibrary;
      } else if (belongs_to_host(name)) {
        file.role = Role::kHost;
      }
      if (name == "libc.so.6") {
        std::pair<int, int> newest;
        for (const std::string& version : elf.version_defs) newest = std::max(newest, glibc_version(version));
        manifest_.libc_version = std::to_string(newest.first) + "." + std::to_string(newest.second);
        manifest_.kernel_min = elf.kernel_min;
      }
    }
    if (file.role == Role::kExecutable || file.role == Role::kLibrary)
      for (const VersionNeed& need : elf.version_needs)
        if (is_c_library(need.library)) manifest_.needs.push_back(need);
  }

  static Error was_replaced(const std::string& path) {
    return {ErrorCode::kSystemError, "rayx: the file " + path +
                                         " is not the one that this program has loaded: it was replaced or removed "
                                         "since. Other nodes would run another program; start this one again"};
  }

  Result<RunningProgram> finish() {
    std::ranges::sort(manifest_.needs);
    manifest_.needs.erase(std::unique(manifest_.needs.begin(), manifest_.needs.end()), manifest_.needs.end());
    std::ranges::sort(entries_, {}, [](const Entry& entry) { return entry.file.path; });
    const auto twice = std::ranges::adjacent_find(entries_, {}, [](const Entry& entry) { return entry.file.path; });
    if (twice != entries_.end()) return was_replaced(twice->file.path);  // loaded, replaced, and loaded again
    RunningProgram program;
    for (Entry& entry : entries_) {
      if (entry.file.path.size() > kPathBytesMax)
        return Error{ErrorCode::kInvalidConfig, "rayx: the path of " + entry.file.path +
                                                    " is too long for other nodes (2,048 bytes); move the program"};
      manifest_.files.push_back(std::move(entry.file));
      program.sources.push_back(std::move(entry.source));
    }
    if (manifest_.files.size() > kFilesMax)
      return Error{ErrorCode::kUnsupported, "rayx: this program has loaded " + std::to_string(manifest_.files.size()) +
                                                " libraries; at most 4,096 can be sent to other nodes"};
    program.manifest = std::move(manifest_);
    return program;
  }

  FileDigests& digests_;
  Manifest manifest_;
  std::vector<Entry> entries_;
  std::set<std::string> names_;
};

}  // namespace

Result<base::UniqueFd> RunningProgram::open(std::size_t file) const {
  base::UniqueFd fd(::open(sources.at(file).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return file_error("opening", sources[file], errno);
  return fd;
}

Result<RunningProgram> describe_running_program(FileDigests& digests) { return Describer(digests).describe(); }

}  // namespace rayx::bundle
