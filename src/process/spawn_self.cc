#include "process/spawn_self.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/random.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>

#include "base/format.hpp"
#include "process/pidfd.hpp"

extern char** environ;

#include "base/clock.hpp"

namespace rayx::process {

bool has_ended(int pidfd) {
  pollfd entry{pidfd, POLLIN, 0};
  int ready;
  do {
    ready = ::poll(&entry, 1, 0);
  } while (ready < 0 && errno == EINTR);
  return ready == 1;
}

std::uint64_t random_word() {
  std::uint64_t word = 0;
  if (::getrandom(&word, sizeof(word), GRND_NONBLOCK) != sizeof(word)) {
    word = static_cast<std::uint64_t>(base::SteadyClock().now_ns()) ^
           (static_cast<std::uint64_t>(::getpid()) * 0x9e3779b97f4a7c15ull);
  }
  return word;
}

Error describe_spawn_error(const char* tried, int error_number) {
  const char* hint = "this is unexpected: see the system's log";
  switch (error_number) {
    case EAGAIN:
      hint = "the limit of processes is reached: raise `ulimit -u` or the container's pids limit, or use fewer workers";
      break;
    case ENOMEM:
      hint = "the kernel has no memory for another process: use fewer workers or give the container more memory";
      break;
    case EMFILE:
      hint = "this process has no free file descriptor: raise `ulimit -n`; each worker needs three in the driver";
      break;
    case ENFILE: hint = "the system has no free file descriptor: raise the sysctl fs.file-max"; break;
    case ENOENT: hint = "rayx starts workers from /proc/self/exe: /proc must be mounted"; break;
    case EACCES:
    case EPERM:
      hint =
          "the container or a security module forbids it: rayx must be allowed to fork and to execute the program's "
          "own file";
      break;
    case ETOOMANYREFS: hint = "too many descriptors are on their way between processes: raise `ulimit -n`"; break;
    default: break;
  }
  return {ErrorCode::kSystemError, base::format("rayx: {} failed: {}; {}", tried, std::strerror(error_number), hint)};
}

Result<Pipe> make_pipe(int* error_number) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    const int error = errno;
    if (error_number != nullptr) *error_number = error;
    return describe_spawn_error("making a pipe for a worker's output", error);
  }
  Pipe made{base::UniqueFd(ends[0]), base::UniqueFd(ends[1])};
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);  // this end's own description: the worker's end stays blocking
  return made;
}

namespace {

// Of this process, if it was started with one: what the workers that it execs need again. A pointer, because in a program that
// holds this code itself it is set before static constructors, and theirs would empty a string.
const std::string* own_library_path = nullptr;

// The arguments as `ps` shows them; argv of main is out of reach for a library.
std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> arguments;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t end = bytes.find('\0', at);
    arguments.push_back(bytes.substr(at, end - at));
    if (end == std::string::npos) break;
    at = end + 1;
  }
  if (arguments.empty()) arguments.emplace_back("rayx");
  return arguments;
}

std::vector<std::string> child_environment(const SpawnSelf& request) {
  std::vector<std::string> all = request.env;
  all.push_back(request.role.empty() ? base::format("{}={}:{:x}", kTakeOverVariable, kControlFd, request.nonce)
                                     : base::format("{}={}", kRoleVariable, request.role));
  const std::string& library_path =
      request.program.path.empty() && own_library_path != nullptr ? *own_library_path : request.program.library_path;
  if (!library_path.empty()) {
    std::string_view users;
    const std::string_view name = "LD_LIBRARY_PATH=";
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry)
      if (std::string_view(*entry).starts_with(name)) users = std::string_view(*entry).substr(name.size());
    for (const std::string& entry : request.env)  // what a caller asks for counts as the user's
      if (entry.starts_with(name)) users = std::string_view(entry).substr(name.size());
    std::string value = base::format("{}{}{}{}", name, library_path, users.empty() ? "" : ":", users);
    std::erase_if(all, [&](const std::string& entry) { return entry.starts_with(name); });
    all.push_back(std::move(value));
    all.push_back(base::format("{}={}", kLibraryPathVariable, library_path));
  }
  const std::size_t own = all.size();
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('=') + 1);
    bool overridden = false;
    for (std::size_t i = 0; i < own; ++i) overridden |= !name.empty() && all[i].starts_with(name);
    if (!overridden) all.emplace_back(text);
  }
  return all;
}

std::vector<char*> pointers_to(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

struct FileActions {
  FileActions() { ::posix_spawn_file_actions_init(&actions); }
  ~FileActions() { ::posix_spawn_file_actions_destroy(&actions); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  posix_spawn_file_actions_t actions;
};

struct Attributes {
  Attributes() { ::posix_spawnattr_init(&attributes); }
  ~Attributes() { ::posix_spawnattr_destroy(&attributes); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  posix_spawnattr_t attributes;
};

}  // namespace

void take_library_path() {
  const char* const kept = std::getenv(kLibraryPathVariable);
  if (kept == nullptr) return;
  own_library_path = new std::string(kept);
  ::unsetenv(kLibraryPathVariable);
  const char* const value = std::getenv("LD_LIBRARY_PATH");
  if (value == nullptr) return;
  const std::string text = value;
  if (!text.starts_with(*own_library_path)) return;  // a constructor has set it: then it is the program's
  const std::string users = text.substr(own_library_path->size());
  if (users.empty()) {
    ::unsetenv("LD_LIBRARY_PATH");
  } else if (users[0] == ':') {
    ::setenv("LD_LIBRARY_PATH", users.c_str() + 1, 1);
  }
}

Result<pid_t> spawn_self(const SpawnSelf& request, int* error_number) {
  const Program& program = request.program;
  std::vector<std::string> arguments = program.arguments.empty() ? own_arguments() : program.arguments;
  std::vector<std::string> environment = child_environment(request);

  // Sources are moved above the targets 0 to 3, so that no dup2 overwrites a source that is still needed (a driver may have
  // closed its standard descriptors).
  base::UniqueFd sources[4];
  const int given[4] = {request.out, request.err, request.control, request.in};
  for (int i = 0; i < 4; ++i) {
    if (i >= 2 && given[i] < 0) continue;
    sources[i] = base::UniqueFd(::fcntl(given[i], F_DUPFD_CLOEXEC, 10));
    if (!sources[i]) {
      const int error = errno;
      if (error_number != nullptr) *error_number = error;
      return describe_spawn_error("preparing the descriptors of a new process", error);
    }
  }
  FileActions files;
  if (sources[3]) {
    ::posix_spawn_file_actions_adddup2(&files.actions, sources[3].get(), 0);
  } else {
    ::posix_spawn_file_actions_addopen(&files.actions, 0, "/dev/null", O_RDONLY, 0);
  }
  ::posix_spawn_file_actions_adddup2(&files.actions, sources[0].get(), 1);
  ::posix_spawn_file_actions_adddup2(&files.actions, sources[1].get(), 2);
  if (sources[2]) ::posix_spawn_file_actions_adddup2(&files.actions, sources[2].get(), kControlFd);
  ::posix_spawn_file_actions_addclosefrom_np(&files.actions, sources[2] ? kControlFd + 1 : kControlFd);

  Attributes attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes.attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes.attributes, &all);
  ::posix_spawnattr_setpgroup(&attributes.attributes, 0);
  ::posix_spawnattr_setflags(&attributes.attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);

  pid_t pid = -1;
  const std::string path = program.path.empty() ? "/proc/self/exe" : program.path;
  const int error = ::posix_spawn(&pid, path.c_str(), &files.actions, &attributes.attributes,
                                  pointers_to(arguments).data(), pointers_to(environment).data());
  if (error != 0) {
    if (error_number != nullptr) *error_number = error;
    if (!program.path.empty() && error == ENOENT)
      return Error{
          ErrorCode::kSystemError,
          base::format("rayx: starting {} failed: the file or the loader that it names is not there; the folder of "
                       "the program was removed while it was needed, or this host lacks its loader",
                       path)};
    return describe_spawn_error(base::format("starting the program as a worker ({})", path).c_str(), error);
  }
  return pid;
}

}  // namespace rayx::process
