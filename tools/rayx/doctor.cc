// `rayx doctor`: whether this machine lets a node work, and what is to be changed if not.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <rayx/admin.hpp>
#include <rayx/errors.hpp>

#include "commands.hpp"
#include "json.hpp"

namespace rayx_cli {
namespace {

struct Finding {
  std::string what;
  bool is_good = true;
  std::string found;
  std::string change;  // what to do, unless it is good
};

struct Arguments {
  Where where;
  bool is_json = false;
  std::uint16_t port = kDefaultPort;
  std::string listen = "127.0.0.1";
};

Finding look_at_kernel() {
  utsname name{};
  ::uname(&name);
  int major = 0;
  int minor = 0;
  std::sscanf(name.release, "%d.%d", &major, &minor);
  const bool is_good = std::string(name.machine) == "x86_64" && (major > 5 || (major == 5 && minor >= 4));
  return {"kernel", is_good, std::string(name.release) + " " + name.machine, "rayx needs Linux 5.4 or later on x86-64"};
}

Finding look_at_memfd() {
  const int fd = ::memfd_create("rayx doctor", MFD_CLOEXEC);
  const std::string problem = fd < 0 ? std::strerror(errno) : "";
  if (fd >= 0) ::close(fd);
  return {"shared memory (memfd)", fd >= 0, fd >= 0 ? "works" : problem,
          "allow memfd_create in the container's seccomp profile"};
}

Finding look_at_pidfd() {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0));
  const std::string problem = fd < 0 ? std::strerror(errno) : "";
  if (fd >= 0) ::close(fd);
  return {"process handles (pidfd)", fd >= 0, fd >= 0 ? "work" : problem,
          "allow pidfd_open in the container's seccomp profile"};
}

Finding look_at_limit(const char* what, int resource, rlim_t needed, const char* change) {
  rlimit limit{};
  ::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit);
  const std::string found = limit.rlim_cur == RLIM_INFINITY ? "unlimited" : std::to_string(limit.rlim_cur);
  return {what, limit.rlim_cur >= needed, found, change};
}

// Objects lie in memory that counts as shared; what a container may use of all memory is its cgroup's business.
Finding look_at_memory() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  std::uint64_t kib = 0;
  std::string unit;
  while (file >> key >> kib >> unit && key != "MemAvailable:") {
  }
  constexpr std::uint64_t kNeeded_kib = 256 * 1024;
  return {"memory", kib >= kNeeded_kib, std::to_string(kib / 1024) + " MiB available",
          "free some memory: a node needs 256 MiB at least"};
}

Finding look_at_temporary_folder() {
  struct statvfs status {};
  const bool is_there = ::statvfs("/tmp", &status) == 0;
  const std::uint64_t mib = is_there ? status.f_bavail * status.f_frsize >> 20 : 0;
  return {"room for programs (/tmp)", mib >= 512, std::to_string(mib) + " MiB",
          "make room, or name another folder: rayx start --cache"};
}

Finding look_at_port(const Arguments& arguments) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(arguments.port);
  const bool is_address = ::inet_pton(AF_INET, arguments.listen.c_str(), &address.sin_addr) == 1;
  const bool is_free = is_address && ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  const std::string problem = is_free ? "free" : is_address ? std::strerror(errno) : "no IPv4 address in numbers";
  ::close(fd);
  return {"port " + std::to_string(arguments.port) + " on " + arguments.listen, is_free, problem,
          "a node or another program has it; choose another with rayx start --port, or look with `ss -ltnp`"};
}

Finding look_at_token(const Arguments& arguments) {
  const std::string file = token_file_for(arguments.where);
  struct stat status {};
  if (file.empty() || ::stat(file.c_str(), &status) != 0)
    return {"token", true,
            file.empty() ? "from the environment, or none yet" : file + " does not exist yet; start makes it", ""};
  const bool is_good = (status.st_mode & 077) == 0 && (status.st_uid == ::getuid() || status.st_uid == 0);
  return {"token", is_good, file, "others may read it: chmod 600 " + file};
}

Finding look_at_head(const Arguments& arguments) {
  try {
    const rayx::ClusterStatus status = rayx::cluster_status(arguments.where.address, token_file_for(arguments.where));
    return {"head at " + arguments.where.address, true,
            "cluster " + status.cluster + " with " + std::to_string(status.nodes.size()) + " nodes", ""};
  } catch (const rayx::Exception& error) {
    return {"head at " + arguments.where.address, false, error.what(), "start it, or correct the address or the token"};
  }
}

int examine(const Arguments& arguments, bool is_head_asked) {
  constexpr rlim_t kFilesNeeded = 1'024;
  constexpr rlim_t kProcessesNeeded = 512;
  std::vector<Finding> findings = {
      look_at_kernel(),
      look_at_memfd(),
      look_at_pidfd(),
      look_at_limit("open files (ulimit -n)", RLIMIT_NOFILE, kFilesNeeded, "raise it to 1024 at least: ulimit -n 4096"),
      look_at_limit("processes (ulimit -u)", RLIMIT_NPROC, kProcessesNeeded,
                    "raise it to 512 at least: ulimit -u 4096"),
      look_at_memory(),
      look_at_temporary_folder(),
      look_at_token(arguments),
  };
  findings.push_back(is_head_asked ? look_at_head(arguments) : look_at_port(arguments));
  bool is_good = true;
  Json list = Json::array();
  for (const Finding& it : findings) {
    is_good = is_good && it.is_good;
    list.push_back(
        {{"what", it.what}, {"ok", it.is_good}, {"found", it.found}, {"change", it.is_good ? "" : it.change}});
    if (arguments.is_json) continue;
    std::printf("%-7s %-28s %s\n", it.is_good ? "ok" : "CHANGE", it.what.c_str(), it.found.c_str());
    if (!it.is_good) std::printf("%-7s %-28s -> %s\n", "", "", it.change.c_str());
  }
  if (arguments.is_json) std::cout << Json{{"ok", is_good}, {"findings", list}}.dump(2) << '\n';
  return is_good ? 0 : kFound;
}

}  // namespace

void add_doctor(CLI::App& app, Command& chosen) {
  CLI::App& command =
      *app.add_subcommand("doctor", "Check whether this machine lets a node work, and say what to change");
  const auto arguments = std::make_shared<Arguments>();
  add_where(command, arguments->where);
  command.add_option("--listen", arguments->listen, "Address on which a node would listen")->capture_default_str();
  command.add_option("--port", arguments->port, "Port that a node would take")->capture_default_str();
  command.add_flag("--json", arguments->is_json, "Print JSON");
  command.footer(
      "Examples:\n"
      "  rayx doctor                              before a node is started here\n"
      "  rayx doctor --address 10.0.0.7:6390      whether this machine reaches that cluster");
  command.callback([&command, &chosen, arguments] {
    const bool is_head_asked = command.count("--address") > 0;
    chosen = [arguments, is_head_asked] { return examine(*arguments, is_head_asked); };
  });
}

}  // namespace rayx_cli
