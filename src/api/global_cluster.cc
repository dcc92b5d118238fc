#include "api/global_cluster.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <utility>

#include "wire/secret_file.hpp"

namespace rayx::detail {
namespace {

// $XDG_RUNTIME_DIR is the user's own; in /tmp somebody else may have made the folder before.
Result<std::string> folder() {
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  const bool has_runtime = runtime != nullptr && *runtime != '\0';
  const std::string path =
      has_runtime ? std::string(runtime) + "/rayx" : "/tmp/rayx-" + std::to_string(::getuid()) + "-global";
  ::mkdir(path.c_str(), 0700);
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0)
    return Error{ErrorCode::kSystemError, "rayx: the folder " + path + " cannot be made: " + std::strerror(errno)};
  if (!S_ISDIR(status.st_mode) || status.st_uid != ::getuid() || (status.st_mode & 0077) != 0)
    return Error{ErrorCode::kInvalidConfig,
                 "rayx: " + path + " is not a folder of this user's with mode 0700; remove it, or set XDG_RUNTIME_DIR"};
  return path;
}

base::UniqueFd open_lock(const std::string& folder) {
  return base::UniqueFd(::open((folder + "/cluster.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
}

std::string file_in(const std::string& folder) { return folder + "/cluster"; }

}  // namespace

Result<GlobalCluster> GlobalCluster::claim() {
  Result<std::string> place = folder();
  if (!place) return std::move(place).error();
  base::UniqueFd lock = open_lock(*place);
  if (!lock)
    return Error{ErrorCode::kSystemError, "rayx: the lock in " + *place + " cannot be opened: " + std::strerror(errno)};
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
    return Error{
        ErrorCode::kAlreadyInitialized,
        "rayx: this user has a global cluster on this machine already. Use it with RAYX_ADDRESS=global, end it, or "
        "set up one that is not global"};
  return GlobalCluster(std::move(*place), std::move(lock));
}

Result<void> GlobalCluster::announce(const ActiveCluster& cluster) {
  const std::string path = file_in(folder_);
  const std::string fresh = path + ".new";
  ::unlink(fresh.c_str());
  const base::UniqueFd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  const std::string text = cluster.address + '\n' + cluster.token.hex() + '\n';
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::rename(fresh.c_str(), path.c_str()) != 0)
    return Error{ErrorCode::kSystemError, "rayx: " + path + " cannot be written: " + std::strerror(errno)};
  return {};
}

GlobalCluster::~GlobalCluster() {
  if (lock_) ::unlink(file_in(folder_).c_str());
}

Result<ActiveCluster> find_global_cluster() {
  const Error none{
      ErrorCode::kNotFound,
      "rayx: RAYX_ADDRESS or Config::address is \"global\", and this user has no global cluster on this machine; set "
      "one up with is_global, or give the address of another one"};
  Result<std::string> place = folder();
  if (!place) return std::move(place).error();
  const base::UniqueFd lock = open_lock(*place);
  // Whoever was killed has left the file, but not the lock.
  if (!lock || ::flock(lock.get(), LOCK_SH | LOCK_NB) == 0) return none;
  std::array<char, 1024> bytes{};
  Result<std::size_t> size = wire::read_secret_file(file_in(*place), "the file of the global cluster", bytes);
  if (!size) return none;
  const std::string_view text(bytes.data(), *size);
  const std::size_t line = text.find('\n');
  if (line == std::string_view::npos) return none;
  Result<wire::Token> token = wire::Token::from_hex(text.substr(line + 1));
  if (!token) return std::move(token).error();
  return ActiveCluster{std::string(text.substr(0, line)), std::move(*token)};
}

}  // namespace rayx::detail
