#include "process/take_over.hpp"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>

#include "base/check.hpp"
#include "process/message.hpp"
#include "process/server_loop.hpp"
#include "process/spawn_self.hpp"

namespace rayx::process {
namespace internal {

WorkerMain worker_main = nullptr;
bool is_main_replaced = false;

namespace {
struct Hook {
  void (*call)(void*);
  void* context;
};
struct Role {
  const char* name;
  RoleMain main;
};
constexpr int kRolesMax = 8;
Role roles[kRolesMax];
int role_count = 0;
constexpr int kHooksMax = 64;
// Zero-initialised: registration works from any static constructor, in any order.
Hook hooks[kHooksMax];
int hook_count = 0;
}  // namespace

void run_worker_start_hooks() {
  for (int i = 0; i < hook_count; ++i) hooks[i].call(hooks[i].context);
}

}  // namespace internal

void register_worker_main(WorkerMain worker_main) { internal::worker_main = worker_main; }

void register_role(const char* name, RoleMain role_main) {
  RAYX_CHECK(internal::role_count < internal::kRolesMax, "too many roles", internal::role_count);
  internal::roles[internal::role_count++] = {name, role_main};
}

void on_worker_start(void (*hook)(void*), void* context) {
  RAYX_CHECK(internal::hook_count < internal::kHooksMax, "too many worker start hooks", internal::hook_count);
  internal::hooks[internal::hook_count++] = {hook, context};
}

namespace {

struct Request {
  int control = -1;
  pid_t parent = -1;
  MessageHeader first;
};

std::optional<Request> accepted;
// A pointer, because in a program that holds this code itself it is set before static constructors, and theirs would empty a string.
const std::string* accepted_role = nullptr;

// Why the variable is not ours, or nullptr.
const char* examine(std::string_view text, Request& request) {
  int fd = -1;
  std::uint64_t nonce = 0;
  const char* end = text.data() + text.size();
  auto [after_fd, fd_error] = std::from_chars(text.data(), end, fd);
  if (fd_error != std::errc() || after_fd == end || *after_fd != ':') return "it is not <descriptor>:<number>";
  auto [after_nonce, nonce_error] = std::from_chars(after_fd + 1, end, nonce, 16);
  if (nonce_error != std::errc() || after_nonce != end) return "it is not <descriptor>:<number>";

  int type = 0, domain = 0;
  socklen_t length = sizeof(type);
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) != 0 || type != SOCK_SEQPACKET) {
    return "the descriptor is not rayx's socket";
  }
  length = sizeof(domain);
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 || domain != AF_UNIX) {
    return "the descriptor is not rayx's socket";
  }
  ucred peer{};
  length = sizeof(peer);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return "the socket has no peer";
  if (peer.pid != ::getppid()) {
    // The parent died before we came this far: main must not run in an orphan.
    pollfd entry{fd, 0, 0};
    if (::poll(&entry, 1, 0) == 1 && (entry.revents & POLLHUP) != 0) ::_exit(1);
    return "the socket does not belong to the parent process";
  }
  MessageReader reader;
  Message message;
  if (reader.receive(fd, true, message) != MessageReader::Status::kMessage || message.header.value != nonce ||
      (message.header.kind != MessageKind::kServe && message.header.kind != MessageKind::kWork)) {
    return "the socket holds no request of rayx";
  }
  if (message.header.protocol != kProtocol) {
    std::fprintf(
        stderr,
        "rayx: this program was built with a rayx that talks to its node in protocol %u, and the node that starts "
        "it talks in protocol %u; use the same release of rayx in the program and on the nodes\n",
        kProtocol, message.header.protocol);
    ::_exit(1);
  }
  request = {fd, peer.pid, message.header};
  return nullptr;
}

bool look_for_role() {
  const char* const value = std::getenv(kRoleVariable);
  if (value == nullptr) return false;
  accepted_role = new std::string(value);
  ::unsetenv(kRoleVariable);
  take_library_path();
  return true;
}

[[noreturn]] void play_role(const std::string& name) {
  for (int i = 0; i < internal::role_count; ++i) {
    if (name != internal::roles[i].name) continue;
    const int exit_code = internal::roles[i].main();
    std::fflush(nullptr);
    ::_exit(exit_code);
  }
  std::fprintf(stderr,
               "rayx: this program was started with %s=%.64s, which this version of rayx does not know; use the same "
               "release of rayx in the program and on the cluster, or unset the variable\n",
               kRoleVariable, name.c_str());
  ::_exit(1);
}

bool look_at_environment() {
  if (look_for_role()) return true;
  const char* value = std::getenv(kTakeOverVariable);
  if (value == nullptr) return false;
  const std::string text = value;
  ::unsetenv(kTakeOverVariable);
  take_library_path();
  Request request;
  if (const char* reason = examine(text, request)) {
    std::fprintf(stderr,
                 "rayx: ignoring the environment variable %s=%.64s: %s; rayx sets it for its own child processes only, "
                 "unset it\n",
                 kTakeOverVariable, text.c_str(), reason);
    return false;
  }
  // The fork server too, until it listens to the driver: a constructor of the program may never end. The thread that started it
  // waits for that.
  die_with_parent(request.parent);
  accepted = request;
  return true;
}

}  // namespace

bool take_over_requested() {
  static const bool requested = look_at_environment();
  return requested;
}

bool take_over_replaces_main() noexcept { return internal::is_main_replaced; }

void take_over_if_requested() {
  if (!take_over_requested()) return;
  internal::is_main_replaced = false;
  if (accepted_role != nullptr) play_role(*accepted_role);
  RAYX_CHECK(internal::worker_main != nullptr, "no worker entry is registered");
  if (accepted->first.kind == MessageKind::kServe) {
    run_fork_server(accepted->control, accepted->parent, accepted->first.number);
  }
  run_execed_worker(accepted->control);
}

}  // namespace rayx::process
