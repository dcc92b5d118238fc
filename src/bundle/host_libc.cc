#include "bundle/host_libc.hpp"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/format.hpp"
#include "base/unique_fd.hpp"

namespace rayx::bundle {
namespace {

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

std::string resolved(const std::string& path) {
  char real[PATH_MAX];
  return ::realpath(path.c_str(), real) != nullptr ? std::string(real) : std::string();
}

// "6.18.44-fc" is at least "3.2.0".
bool is_at_least(const std::string& release, const std::string& wanted) {
  int have[3] = {}, want[3] = {};
  if (std::sscanf(wanted.c_str(), "%d.%d.%d", &want[0], &want[1], &want[2]) < 2) return true;
  if (std::sscanf(release.c_str(), "%d.%d.%d", &have[0], &have[1], &have[2]) < 2) return true;
  return !std::lexicographical_compare(have, have + 3, want, want + 3);
}

const char* machine_name(std::uint16_t machine) {
  switch (machine) {
    case EM_X86_64: return "x86-64";
    case EM_AARCH64: return "arm64";
    default: return "another kind";
  }
}

#if defined(__x86_64__)
constexpr std::uint16_t kMachineHere = EM_X86_64;
#elif defined(__aarch64__)
constexpr std::uint16_t kMachineHere = EM_AARCH64;
#else
constexpr std::uint16_t kMachineHere = EM_NONE;
#endif

}  // namespace

HostLibc::HostLibc(const std::string& interpreter, std::string root) {
  if (interpreter.empty()) return;
  const std::string loader = resolved(root + interpreter);
  if (loader.empty()) return;  // nothing here could start the program, whatever else lies around
  // The loader lies beside its libraries in all distributions; the others are for those that link it from elsewhere.
  folders_ = {folder_of(loader)};
  for (const char* folder :
       {"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"})
    folders_.push_back(root + folder);
  std::pair<int, int> newest;
  for (const std::string& version : versions_of("libc.so.6")) newest = std::max(newest, glibc_version(version));
  if (newest.first > 0) version_ = base::format("{}.{}", newest.first, newest.second);
}

const std::set<std::string>& HostLibc::versions_of(const std::string& library) {
  const auto [entry, is_new] = versions_.try_emplace(library);
  if (!is_new) return entry->second;
  for (const std::string& folder : folders_) {
    const std::string path = folder + "/" + library;
    const base::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) continue;
    const Result<ElfFile> elf = read_elf(fd.get(), path);
    if (!elf || elf->machine != kMachineHere) continue;  // a text for the linker, or of a second architecture
    entry->second.insert(elf->version_defs.begin(), elf->version_defs.end());
    if (library == "libc.so.6") path_ = path;
    break;
  }
  return entry->second;
}

bool HostLibc::offers(const VersionNeed& need) { return versions_of(need.library).contains(need.version); }

Result<Libc> choose_libc(const Manifest& manifest, HostLibc& host, const std::string& kernel_release) {
  if (manifest.machine != kMachineHere)
    return Error{
        ErrorCode::kUnsupported,
        base::format("rayx: the program {} is for {} processors, this host has {}; it was not started. Build it "
                     "for the hosts of the cluster",
                     manifest.executable().path, machine_name(manifest.machine), machine_name(kMachineHere))};
  if (manifest.interpreter.empty()) return Libc::kHosts;  // static: it asks for none
  const VersionNeed* missing = nullptr;
  for (const VersionNeed& need : manifest.needs)
    if (!host.offers(need) && (missing == nullptr || glibc_version(missing->version) < glibc_version(need.version)))
      missing = &need;
  if (host.exists() && missing == nullptr) return Libc::kHosts;
  const std::string lack =
      host.exists() ? base::format("it needs {} of {}, and this host's C library ({}) is version {}", missing->version,
                                   missing->library, host.path(), host.version())
                    : base::format("this host has no C library for it ({} leads to none)", manifest.interpreter);
  const bool has_loader =
      std::ranges::any_of(manifest.files, [](const File& file) { return file.role == Role::kLoader; });
  if (!has_loader || manifest.libc_version.empty())
    return Error{
        ErrorCode::kUnsupported,
        base::format("rayx: the program {} cannot run on this host: {}. Its bundle brings no C library of its own"
                     " to use instead. Build the program on an older system, or use a newer one on this host",
                     manifest.executable().path, lack)};
  if (!is_at_least(kernel_release, manifest.kernel_min))
    return Error{
        ErrorCode::kUnsupported,
        base::format("rayx: the program {} cannot run on this host: {}. The C library {} in its bundle was tried "
                     "instead, but it needs Linux {}, and this is {}. Build the program on an older system, or "
                     "use a newer one on this host",
                     manifest.executable().path, lack, manifest.libc_version, manifest.kernel_min, kernel_release)};
  return Libc::kBundled;
}

std::string kernel_release() {
  utsname name{};
  return ::uname(&name) == 0 ? name.release : "";
}

}  // namespace rayx::bundle
