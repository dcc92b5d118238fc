#include "bundle/manifest.hpp"

#include <algorithm>
#include <cstring>
#include <set>
#include <string_view>
#include <type_traits>

#include "base/check.hpp"
#include "base/format.hpp"

namespace rayx::bundle {
namespace {

// Little-endian numbers and strings of a 16-bit length, one after another.
constexpr char kMagic[8] = {'r', 'a', 'y', 'x', 'b', 'n', 'd', 'l'};

class Writer {
 public:
  template <class T>
  void number(T value) {
    static_assert(std::is_unsigned_v<T>);
    for (std::size_t i = 0; i < sizeof(T); ++i) bytes_.push_back(static_cast<std::byte>(value >> (8 * i) & 0xff));
  }
  void raw(std::span<const std::byte> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  void text(const std::string& value) {
    RAYX_CHECK(value.size() <= UINT16_MAX, "a name in a manifest is too long", value.size());
    number(static_cast<std::uint16_t>(value.size()));
    raw(std::as_bytes(std::span(value)));
  }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

class ManifestReader {
 public:
  explicit ManifestReader(std::span<const std::byte> bytes) : left_(bytes) {}

  template <class T>
  T number() {
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T) && has(sizeof(T) - i); ++i) {
      value = static_cast<T>(value | static_cast<T>(std::to_integer<T>(left_[0]) << (8 * i)));
      left_ = left_.subspan(1);
    }
    return value;
  }
  void raw(std::span<std::byte> into) {
    if (!has(into.size())) return;
    std::copy_n(left_.begin(), into.size(), into.begin());
    left_ = left_.subspan(into.size());
  }
  std::string text(std::size_t bytes_max) {
    const std::size_t bytes = number<std::uint16_t>();
    if (bytes > bytes_max) failed_ = true;
    if (!has(bytes)) return {};
    std::string value(reinterpret_cast<const char*>(left_.data()), bytes);
    if (value.find('\0') != std::string::npos) failed_ = true;
    left_ = left_.subspan(bytes);
    return value;
  }
  bool failed() const { return failed_; }
  bool is_at_end() const { return !failed_ && left_.empty(); }

 private:
  bool has(std::size_t bytes) {
    if (bytes > left_.size()) failed_ = true;
    return !failed_;
  }
  std::span<const std::byte> left_;
  bool failed_ = false;
};

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." && name.find('/') == std::string_view::npos;
}

bool is_clean_path(std::string_view path) {
  if (path.size() < 2 || path[0] != '/') return false;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::size_t end = std::min(path.find('/'), path.size());
    if (!is_name(path.substr(0, end))) return false;
    path.remove_prefix(end);
  }
  return true;
}

// What is wrong with it, or nullptr.
const char* problem_of(const Manifest& manifest) {
  if (!std::ranges::is_sorted(manifest.needs) || std::ranges::adjacent_find(manifest.needs) != manifest.needs.end())
    return "its versions are not in order";
  for (const VersionNeed& need : manifest.needs)
    if (!is_c_library(need.library) || need.version.empty()) return "a version is not one of the C library";
  if (!manifest.interpreter.empty() && !is_clean_path(manifest.interpreter)) return "its loader has no clean path";
  int executables = 0, loaders = 0;
  std::set<std::string_view> names;
  const File* previous = nullptr;
  for (const File& file : manifest.files) {
    if (!is_clean_path(file.path)) return "a file has no clean path";
    if (previous != nullptr && previous->path >= file.path) return "its files are not in order";
    previous = &file;
    executables += file.role == Role::kExecutable;
    loaders += file.role == Role::kLoader;
    if (file.bytes > kFileBytesMax) return "a file is too large";
    if (file.build_id.find_first_not_of("0123456789abcdef") != std::string::npos) return "a build-id is no number";
    for (const std::string& name : file.names) {
      if (!is_name(name)) return "a file has no clean name";
      if (!names.insert(name).second) return "two files have the same name";
    }
    if ((file.role == Role::kLoader || file.role == Role::kCLibrary) && file.names.empty())
      return "a file of the C library has no name";
  }
  if (executables != 1 || loaders > 1) return "it must have one executable and at most one loader";
  return nullptr;
}

Error malformed(const char* why) {
  return {ErrorCode::kMalformed, base::format("rayx: the list of a program's files cannot be used: {}; nothing was "
                                              "started. It was damaged on its way or not made by rayx",
                                              why)};
}

}  // namespace

const File& Manifest::executable() const {
  const auto found = std::ranges::find(files, Role::kExecutable, &File::role);
  RAYX_CHECK(found != files.end(), "a manifest without an executable", files.size());
  return *found;
}

std::vector<std::byte> encode(const Manifest& manifest) {
  const char* const problem = problem_of(manifest);
  RAYX_CHECK(problem == nullptr, "a manifest that breaks its rules:", problem == nullptr ? "" : problem);
  RAYX_CHECK(manifest.files.size() <= kFilesMax && manifest.needs.size() <= kNeedsMax, "a manifest is too large");
  Writer out;
  out.raw(std::as_bytes(std::span(kMagic)));
  out.number(kManifestVersion);
  out.number(manifest.machine);
  out.text(manifest.interpreter);
  out.text(manifest.libc_version);
  out.text(manifest.kernel_min);
  out.number(static_cast<std::uint32_t>(manifest.needs.size()));
  for (const VersionNeed& need : manifest.needs) {
    out.text(need.library);
    out.text(need.version);
  }
  out.number(static_cast<std::uint32_t>(manifest.files.size()));
  for (const File& file : manifest.files) {
    out.number(static_cast<std::uint8_t>(file.role));
    out.text(file.path);
    out.number(static_cast<std::uint8_t>(file.names.size()));
    for (const std::string& name : file.names) out.text(name);
    out.text(file.build_id);
    out.number(file.bytes);
    out.raw(std::as_bytes(std::span(file.digest)));
  }
  return out.take();
}

Result<Manifest> decode_manifest(std::span<const std::byte> bytes) {
  if (bytes.size() > kManifestBytesMax) return malformed("it is longer than 4 MiB");
  ManifestReader in(bytes);
  char magic[sizeof(kMagic)] = {};
  in.raw(std::as_writable_bytes(std::span(magic)));
  if (in.failed() || std::memcmp(magic, kMagic, sizeof(kMagic)) != 0) return malformed("it does not begin like one");
  const auto version = in.number<std::uint32_t>();
  if (in.failed()) return malformed("it ends early");
  if (version != kManifestVersion)
    return Error{
        ErrorCode::kUnsupported,
        base::format("rayx: the list of a program's files has version {}, and rayx here reads version {}; nothing "
                     "was started. Use the same release of rayx in the program and on the nodes",
                     version, kManifestVersion)};
  Manifest manifest;
  manifest.machine = in.number<std::uint16_t>();
  manifest.interpreter = in.text(kPathBytesMax);
  manifest.libc_version = in.text(255);
  manifest.kernel_min = in.text(255);
  const auto needs = in.number<std::uint32_t>();
  if (needs > kNeedsMax) return malformed("it names too many versions");
  for (std::uint32_t i = 0; i < needs && !in.failed(); ++i) {
    VersionNeed need;
    need.library = in.text(255);
    need.version = in.text(255);
    manifest.needs.push_back(std::move(need));
  }
  const auto files = in.number<std::uint32_t>();
  if (files > kFilesMax) return malformed("it names too many files");
  for (std::uint32_t i = 0; i < files && !in.failed(); ++i) {
    File file;
    const auto role = in.number<std::uint8_t>();
    if (role < static_cast<std::uint8_t>(Role::kExecutable) || role > static_cast<std::uint8_t>(Role::kHost))
      return malformed("a file has an unknown role");
    file.role = static_cast<Role>(role);
    file.path = in.text(kPathBytesMax);
    const auto names = in.number<std::uint8_t>();
    if (names > kNamesMax) return malformed("a file has too many names");
    for (unsigned n = 0; n < names && !in.failed(); ++n) file.names.push_back(in.text(255));
    file.build_id = in.text(128);
    file.bytes = in.number<std::uint64_t>();
    in.raw(std::as_writable_bytes(std::span(file.digest)));
    manifest.files.push_back(std::move(file));
  }
  if (!in.is_at_end()) return malformed("it ends early or late");
  if (const char* const problem = problem_of(manifest)) return malformed(problem);
  return manifest;
}

Digest hash_of(const Manifest& manifest) { return sha256(encode(manifest)); }

bool is_c_library(const std::string& name) {
  static constexpr std::string_view kNames[] = {"ld-linux-x86-64.so.2",
                                                "libc.so.6",
                                                "libm.so.6",
                                                "libmvec.so.1",
                                                "libpthread.so.0",
                                                "libdl.so.2",
                                                "librt.so.1",
                                                "libutil.so.1",
                                                "libresolv.so.2",
                                                "libanl.so.1",
                                                "libnsl.so.1",
                                                "libthread_db.so.1",
                                                "libBrokenLocale.so.1",
                                                "libnss_files.so.2",
                                                "libnss_dns.so.2",
                                                "libnss_compat.so.2",
                                                "libnss_hesiod.so.2",
                                                "libnss_db.so.2",
                                                "libc_malloc_debug.so.0"};
  return std::ranges::find(kNames, name) != std::end(kNames);
}

bool belongs_to_host(const std::string& name) {
  static constexpr std::string_view kBeginnings[] = {"libcuda.so",      "libcudadebugger.so", "libnvidia-",
                                                     "libnvcuvid.so",   "libnvoptix.so",      "libEGL_nvidia.so",
                                                     "libGLX_nvidia.so"};
  return std::ranges::any_of(kBeginnings, [&](std::string_view begin) { return name.starts_with(begin); });
}

}  // namespace rayx::bundle
