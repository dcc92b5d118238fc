#include "worker/modules.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <limits.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/check.hpp"

namespace rayx::worker {
namespace {

std::string hex(const unsigned char* bytes, std::size_t count) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

// The GNU build-id note of a loaded module, empty if there is none.
std::string build_id_of(const dl_phdr_info& info) {
  for (int i = 0; i < info.dlpi_phnum; ++i) {
    const ElfW(Phdr)& header = info.dlpi_phdr[i];
    if (header.p_type != PT_NOTE) continue;
    const auto* note = reinterpret_cast<const unsigned char*>(info.dlpi_addr + header.p_vaddr);
    const unsigned char* end = note + header.p_memsz;
    const std::size_t align = header.p_align == 8 ? 8 : 4;
    while (note + sizeof(ElfW(Nhdr)) <= end) {
      ElfW(Nhdr) head;
      std::memcpy(&head, note, sizeof(head));
      const unsigned char* name = note + sizeof(head);
      const unsigned char* content = name + (head.n_namesz + align - 1) / align * align;
      const unsigned char* next = content + (head.n_descsz + align - 1) / align * align;
      if (next > end || next <= note) break;
      if (head.n_type == NT_GNU_BUILD_ID && head.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0)
        return hex(content, head.n_descsz);
      note = next;
    }
  }
  return {};
}

std::string path_of_executable() {
  char path[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof(path));
  return length > 0 ? std::string(path, static_cast<std::size_t>(length)) : std::string("(executable)");
}

std::string identity_of_file(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return path + ":unreadable";
  return path + ":" + std::to_string(status.st_size) + ":" + std::to_string(status.st_mtim.tv_sec) + "." +
         std::to_string(status.st_mtim.tv_nsec);
}

int add_module(dl_phdr_info* info, std::size_t, void* context) {
  auto& modules = *static_cast<std::vector<Module>*>(context);
  Module module;
  module.path = modules.empty() ? path_of_executable() : std::string(info->dlpi_name != nullptr ? info->dlpi_name : "");
  module.base = info->dlpi_addr;
  module.begin = UINTPTR_MAX;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& header = info->dlpi_phdr[i];
    if (header.p_type != PT_LOAD) continue;
    module.begin = std::min<std::uintptr_t>(module.begin, info->dlpi_addr + header.p_vaddr);
    module.end = std::max<std::uintptr_t>(module.end, info->dlpi_addr + header.p_vaddr + header.p_memsz);
  }
  if (module.begin >= module.end) return 0;
  // An executable that is not position independent has base 0; its addresses are the same everywhere.
  if (module.base == 0) module.base = module.begin;
  module.identity = build_id_of(*info);
  if (module.identity.empty()) module.identity = identity_of_file(module.path);
  modules.push_back(std::move(module));
  return 0;
}

}  // namespace

std::vector<Module> loaded_modules() {
  std::vector<Module> modules;
  ::dl_iterate_phdr(add_module, &modules);
  return modules;
}

FunctionNumbers::FunctionNumbers(std::vector<Module> modules) : modules_(std::move(modules)) {
  RAYX_CHECK(modules_.size() <= kModulesMax, "too many modules", modules_.size());
  ranges_ = std::make_unique<Ranges>(modules_.size());
  for (std::uint32_t i = 0; i < modules_.size(); ++i)
    if (modules_[i].base != 0) add_range(i);
}

void FunctionNumbers::add_range(std::uint32_t index) {
  const Module& module = modules_[index];
  const std::size_t count = ranges_->count.load(std::memory_order_relaxed);
  ranges_->ranges[count] = {module.begin, module.end - module.begin, module.base, index};
  ranges_->count.store(count + 1, std::memory_order_release);
}

// Why it could not be, or "".
std::string FunctionNumbers::load(std::uint32_t index) {
  Module& module = modules_[index];
  if (::dlopen(module.path.c_str(), RTLD_NOW) == nullptr) {
    const char* const error = ::dlerror();
    const std::string why = error == nullptr ? "dlopen failed" : error;
    // On another host it lies where the loader looks, and not where the driver had it.
    if (::dlopen(module.path.substr(module.path.rfind('/') + 1).c_str(), RTLD_NOW) == nullptr) return why;
  }
  for (const Module& here : loaded_modules()) {
    if (here.identity != module.identity) continue;
    module.base = here.base;
    module.begin = here.begin;
    module.end = here.end;
    add_range(index);
    return "";
  }
  return "the file there is another one by now";
}

// Lines of "identity\tpath\n": the config of a worker is text that can be read in a debugger.
std::string FunctionNumbers::encode() const {
  std::string bytes;
  for (const Module& module : modules_) bytes += module.identity + '\t' + module.path + '\n';
  return bytes;
}

Result<FunctionNumbers> FunctionNumbers::decode(std::string_view bytes, const std::vector<Module>& loaded_here) {
  std::vector<Module> modules;
  while (!bytes.empty()) {
    const std::size_t tab = bytes.find('\t');
    const std::size_t newline = bytes.find('\n', tab == std::string_view::npos ? 0 : tab);
    if (tab == std::string_view::npos || newline == std::string_view::npos || modules.size() == kModulesMax)
      return Error{ErrorCode::kMalformed, "rayx: the list of the driver's modules is damaged near its entry " +
                                              std::to_string(modules.size()) +
                                              "; the worker cannot find its functions"};
    Module module;
    module.identity = std::string(bytes.substr(0, tab));
    module.path = std::string(bytes.substr(tab + 1, newline - tab - 1));
    for (const Module& here : loaded_here) {
      if (here.identity != module.identity) continue;
      module.base = here.base;
      module.begin = here.begin;
      module.end = here.end;
      break;
    }
    modules.push_back(std::move(module));
    bytes.remove_prefix(newline + 1);
  }
  return FunctionNumbers(std::move(modules));
}

Result<const detail::FunctionInfo*> FunctionNumbers::find(FunctionNumber number) {
  if (const detail::FunctionInfo* cached = find_cached(number)) return cached;
  const std::uint64_t module_index = number >> kModuleOffsetBits;
  const std::uint64_t offset = number & ((std::uint64_t{1} << kModuleOffsetBits) - 1);
  if (module_index >= modules_.size())
    return Error{ErrorCode::kFunctionUnknown, "rayx: a task names module number " + std::to_string(module_index) +
                                                  ", but its job has " + std::to_string(modules_.size()) +
                                                  " modules; the task was not run"};
  const Module& module = modules_[module_index];
  if (module.base == 0) {
    if (const std::string problem = load(static_cast<std::uint32_t>(module_index)); !problem.empty())
      return Error{ErrorCode::kFunctionUnknown, "rayx: a task's function lies in " + module.path +
                                                    ", which the worker " + std::to_string(::getpid()) +
                                                    " could not load: " + problem +
                                                    ". Link the program with that library"};
  }
  const auto* candidate = reinterpret_cast<const detail::FunctionInfo*>(module.base + offset);
  if (offset >= module.end - module.base || !detail::is_function(candidate))
    return Error{ErrorCode::kFunctionUnknown, "rayx: a task names offset " + std::to_string(offset) + " of " +
                                                  module.path +
                                                  ", where no function is that rayx knows; the task was not run"};
  cache_[cache_index(number)] = {number, candidate};
  return candidate;
}

}  // namespace rayx::worker
