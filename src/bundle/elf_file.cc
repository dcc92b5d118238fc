#include "bundle/elf_file.hpp"

#include <elf.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>

#include "base/format.hpp"
#include "bundle/file_error.hpp"

namespace rayx::bundle {
namespace {

constexpr std::size_t kHeadersMax = 256;
constexpr std::size_t kDynamicMax = 8'192;
constexpr std::size_t kVersionsMax = 8'192;
constexpr std::size_t kStringMax = 4'096;
constexpr std::size_t kNoteBytesMax = 64 * 1024;

class Reader {
 public:
  Reader(int fd, const std::string& path) : fd_(fd), path_(path) {}

  Result<ElfFile> read() {
    Elf64_Ehdr head;
    if (!load(0, head) || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return problem("it is no ELF file");
    if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_ident[EI_DATA] != ELFDATA2LSB)
      return problem("it is no 64-bit little-endian ELF file");
    if (head.e_phentsize != sizeof(Elf64_Phdr) || head.e_phnum > kHeadersMax)
      return problem("its program headers cannot be read");
    file_.machine = head.e_machine;
    headers_.resize(head.e_phnum);
    if (!load_bytes(head.e_phoff, std::as_writable_bytes(std::span(headers_))))
      return problem("its program headers lie beyond its end");
    for (std::size_t i = 0; i < headers_.size(); ++i) {
      const Elf64_Phdr& header = headers_[i];
      if (header.p_type == PT_INTERP) {
        const std::optional<std::string> text = string_at(header.p_offset);
        if (!text) return problem("the name of its loader cannot be read");
        file_.interpreter = *text;
        file_.interpreter_header = head.e_phoff + i * sizeof(Elf64_Phdr);
      }
      if (header.p_type == PT_NOTE) read_notes(header);
    }
    for (const Elf64_Phdr& header : headers_)
      if (header.p_type == PT_DYNAMIC)
        if (const char* why = read_dynamic(header)) return problem(why);
    return std::move(file_);
  }

 private:
  Error problem(const char* why) const {
    return {ErrorCode::kMalformed, base::format("rayx: {} cannot be a part of a program: {}", path_, why)};
  }

  bool load_bytes(std::uint64_t offset, std::span<std::byte> into) const {
    if (offset > INT64_MAX - into.size()) return false;
    return read_at(fd_, offset, into) == static_cast<std::ptrdiff_t>(into.size());
  }
  template <class T>
  bool load(std::uint64_t offset, T& into) const {
    return load_bytes(offset, std::as_writable_bytes(std::span(&into, 1)));
  }

  std::optional<std::string> string_at(std::uint64_t offset) const {
    if (offset > INT64_MAX - kStringMax) return std::nullopt;
    std::string text;
    while (text.size() < kStringMax) {
      std::byte piece[128];
      const std::ptrdiff_t bytes = read_at(fd_, offset + text.size(), piece);
      if (bytes <= 0) return std::nullopt;
      const auto* begin = reinterpret_cast<const char*>(piece);
      const auto* end = static_cast<const char*>(std::memchr(begin, 0, static_cast<std::size_t>(bytes)));
      if (end != nullptr) return text.append(begin, end);
      text.append(begin, static_cast<std::size_t>(bytes));
    }
    return std::nullopt;
  }

  std::optional<std::uint64_t> offset_of(std::uint64_t address) const {
    for (const Elf64_Phdr& header : headers_)
      if (header.p_type == PT_LOAD && address >= header.p_vaddr && address - header.p_vaddr < header.p_filesz)
        return header.p_offset + (address - header.p_vaddr);
    return std::nullopt;
  }

  void read_notes(const Elf64_Phdr& header) {
    if (header.p_filesz > kNoteBytesMax) return;  // a core's; not the linker's
    std::vector<std::byte> notes(header.p_filesz);
    if (!load_bytes(header.p_offset, notes)) return;
    const std::size_t align = header.p_align == 8 ? 8 : 4;
    for (std::size_t at = 0; at + sizeof(Elf64_Nhdr) <= notes.size();) {
      Elf64_Nhdr note;
      std::memcpy(&note, notes.data() + at, sizeof(note));
      const std::size_t name = at + sizeof(note);
      const std::size_t content = name + (std::size_t{note.n_namesz} + align - 1) / align * align;
      const std::size_t next = content + (std::size_t{note.n_descsz} + align - 1) / align * align;
      if (content > notes.size() || note.n_descsz > notes.size() - content) return;
      const bool is_gnu = note.n_namesz == 4 && std::memcmp(notes.data() + name, "GNU", 4) == 0;
      if (is_gnu && note.n_type == NT_GNU_BUILD_ID && note.n_descsz <= 64 && file_.build_id.empty())
        for (std::size_t i = 0; i < note.n_descsz; ++i)
          file_.build_id += base::format("{:02x}", std::to_integer<unsigned>(notes[content + i]));
      std::uint32_t abi[4];
      if (is_gnu && note.n_type == NT_GNU_ABI_TAG && note.n_descsz == sizeof(abi)) {
        std::memcpy(abi, notes.data() + content, sizeof(abi));
        if (abi[0] == ELF_NOTE_OS_LINUX) file_.kernel_min = base::format("{}.{}.{}", abi[1], abi[2], abi[3]);
      }
      at = next;
    }
  }

  // What is wrong, or nullptr.
  const char* read_dynamic(const Elf64_Phdr& header) {
    const std::size_t count = header.p_filesz / sizeof(Elf64_Dyn);
    if (count > kDynamicMax) return "its dynamic section is too long";
    std::vector<Elf64_Dyn> entries(count);
    if (!load_bytes(header.p_offset, std::as_writable_bytes(std::span(entries))))
      return "its dynamic section lies beyond its end";
    std::uint64_t versions_needed = 0, versions_defined = 0;
    bool has_runpath = false;
    for (std::size_t i = 0; i < count && entries[i].d_tag != DT_NULL; ++i) {
      switch (entries[i].d_tag) {
        case DT_STRTAB: {
          const std::optional<std::uint64_t> offset = offset_of(entries[i].d_un.d_ptr);
          if (!offset) return "its strings lie outside of its segments";
          strings_ = *offset;
          break;
        }
        case DT_VERNEED: versions_needed = entries[i].d_un.d_ptr; break;
        case DT_VERDEF: versions_defined = entries[i].d_un.d_ptr; break;
        case DT_RUNPATH: has_runpath = true; break;
        default: break;
      }
    }
    for (std::size_t i = 0; i < count && entries[i].d_tag != DT_NULL; ++i) {
      const std::uint64_t place = header.p_offset + i * sizeof(Elf64_Dyn);
      if (entries[i].d_tag == DT_RPATH && !has_runpath) file_.search_fixes.push_back({place, DT_RUNPATH});
      if (entries[i].d_tag != DT_NEEDED && entries[i].d_tag != DT_SONAME) continue;
      const std::optional<std::string> name = dynamic_string(entries[i].d_un.d_val);
      if (!name) return "the name of a library in it cannot be read";
      if (entries[i].d_tag == DT_SONAME) {
        file_.soname = *name;
        continue;
      }
      file_.needed.push_back(file_name(*name));
      const std::size_t slash = name->rfind('/');
      if (slash != std::string::npos)
        file_.search_fixes.push_back(
            {place + offsetof(Elf64_Dyn, d_un), entries[i].d_un.d_val + static_cast<std::uint64_t>(slash) + 1});
    }
    if (versions_needed != 0 && !read_version_needs(versions_needed)) return "the versions it needs cannot be read";
    if (versions_defined != 0 && !read_version_defs(versions_defined)) return "the versions it has cannot be read";
    return nullptr;
  }

  std::optional<std::string> dynamic_string(std::uint64_t index) const {
    if (strings_ == 0 || index > UINT32_MAX) return std::nullopt;
    return string_at(strings_ + index);
  }

  bool read_version_needs(std::uint64_t address) {
    std::optional<std::uint64_t> at = offset_of(address);
    if (!at) return false;
    for (std::size_t steps = 0; steps < kVersionsMax;) {
      Elf64_Verneed need;
      if (!load(*at, need)) return false;
      const std::optional<std::string> library = dynamic_string(need.vn_file);
      if (!library) return false;
      std::uint64_t aux_at = *at + need.vn_aux;
      for (unsigned i = 0; i < need.vn_cnt; ++i, ++steps) {
        Elf64_Vernaux aux;
        if (!load(aux_at, aux) || steps > kVersionsMax) return false;
        const std::optional<std::string> version = dynamic_string(aux.vna_name);
        if (!version) return false;
        if ((aux.vna_flags & VER_FLG_WEAK) == 0) file_.version_needs.push_back({file_name(*library), *version});
        if (aux.vna_next == 0) break;
        aux_at += aux.vna_next;
      }
      if (need.vn_next == 0) return true;
      *at += need.vn_next;
      ++steps;
    }
    return false;
  }

  bool read_version_defs(std::uint64_t address) {
    std::optional<std::uint64_t> at = offset_of(address);
    if (!at) return false;
    for (std::size_t steps = 0; steps < kVersionsMax; ++steps) {
      Elf64_Verdef def;
      Elf64_Verdaux aux;
      if (!load(*at, def) || !load(*at + def.vd_aux, aux)) return false;
      const std::optional<std::string> version = dynamic_string(aux.vda_name);
      if (!version) return false;
      if ((def.vd_flags & VER_FLG_BASE) == 0) file_.version_defs.push_back(*version);  // BASE is the file's own name
      if (def.vd_next == 0) return true;
      *at += def.vd_next;
    }
    return false;
  }

  const int fd_;
  const std::string& path_;
  ElfFile file_;
  std::vector<Elf64_Phdr> headers_;
  std::uint64_t strings_ = 0;
};

}  // namespace

Result<ElfFile> read_elf(int fd, const std::string& path) { return Reader(fd, path).read(); }

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::pair<int, int> glibc_version(const std::string& text) {
  std::string_view rest = text;
  if (rest.starts_with("GLIBC_")) rest.remove_prefix(6);
  int major = 0, minor = 0;
  const auto [dot, error] = std::from_chars(rest.data(), rest.data() + rest.size(), major);
  if (error != std::errc() || dot == rest.data() + rest.size() || *dot != '.') return {0, 0};
  if (std::from_chars(dot + 1, rest.data() + rest.size(), minor).ec != std::errc()) return {0, 0};
  return {major, minor};
}

}  // namespace rayx::bundle
