// The program as a node of a cluster, in place of its main: what a provider starts (rayx/cluster_provider.hpp).
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "api/config.hpp"
#include "api/role_names.hpp"
#include "api/route.hpp"
#include "base/deadline.hpp"
#include "cluster/spec.hpp"
#include "host/daemon.hpp"
#include "process/take_over.hpp"

namespace rayx::detail {
namespace {

constexpr std::chrono::seconds kDrainTimeout{5};  // a launcher kills what has not ended 8 s after SIGTERM
constexpr unsigned kEndTimeout_s = 15;            // for the end itself; then the kernel ends the process
constexpr std::chrono::seconds kInputTimeout{30};
constexpr std::size_t kInputBytesMax = 64 << 10;

void say(const std::string& line) {
  std::fprintf(stderr, "%s%s\n", line.starts_with("rayx: ") ? "" : "rayx: ", line.c_str());
}

// Raised by the handler, which any thread of the program's may run.
int terminations = -1;
void on_sigterm(int) {
  const int error = errno;
  const std::uint64_t one = 1;
  static_cast<void>(!::write(terminations, &one, sizeof(one)));
  errno = error;
}

void take_signals() {
  terminations = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  struct sigaction action {};
  action.sa_handler = &on_sigterm;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGTERM, &action, nullptr);
  // The end of a session or a notebook's stop is not the node's.
  ::signal(SIGHUP, SIG_IGN);
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
}

// The first line of the standard input, a byte at a time: what follows is not ours.
Result<cluster::NodeSpec> read_spec() {
  std::string line;
  const base::Deadline deadline(kInputTimeout);
  while (line.size() < kInputBytesMax) {
    pollfd entry{0, POLLIN, 0};
    const int ready = ::poll(&entry, 1, deadline.left_ms());
    if (ready < 0 && errno == EINTR) continue;
    char byte = 0;
    if (ready <= 0 || ::read(0, &byte, 1) != 1) break;
    if (byte == '\n') {
      const cluster::Json json = cluster::Json::parse(line, nullptr, false);
      std::fill(line.begin(), line.end(), '\0');
      if (json.is_object()) {
        try {
          return json.get<cluster::NodeSpec>();
        } catch (const cluster::Json::exception&) {
        }
      }
      break;
    }
    line += byte;
  }
  return Error{ErrorCode::kMalformed,
               "rayx: this program was started as a node of a cluster, and its standard input does not begin with what "
               "the cluster gives a node (NodeRequest::input), or has ended"};
}

std::uint64_t number_of_variable(const char* name) {
  const char* const text = std::getenv(name);
  std::uint64_t number = 0;
  if (text != nullptr) std::from_chars(text, text + std::strlen(text), number);
  return number;
}

// What a launcher has reserved for it (spark/launcher.hpp), else what this process may use.
host::NodeResources resources_of(const cluster::NodeSpec& spec) {
  constexpr std::uint64_t kStoreBytesMin = 1 << 20;
  const std::uint64_t reserved_cpus = number_of_variable(kReservedCoresVariable);
  const std::uint64_t reserved_bytes = number_of_variable(kReservedMemoryVariable) << 20;
  host::NodeResources resources;
  resources.name = spec.name;
  resources.cpus =
      spec.num_cpus > 0
          ? spec.num_cpus
          : (reserved_cpus > 0 ? static_cast<int>(std::min<std::uint64_t>(reserved_cpus, 1024)) : usable_cpus());
  const std::uint64_t usable = usable_memory_bytes();
  const std::uint64_t memory = reserved_bytes > 0 ? std::min(reserved_bytes, usable) : usable;
  if (spec.store_bytes > memory)
    say("store_bytes asks for an object store of " + std::to_string(spec.store_bytes >> 20) +
        " MiB, and this node has " + std::to_string(memory >> 20) + " MiB: its store is lowered to that");
  resources.store_bytes =
      std::max(kStoreBytesMin, spec.store_bytes > 0 ? std::min(spec.store_bytes, memory) : memory / 10 * 3);
  return resources;
}

// Where this host keeps programs: as the cluster says; else beside what the launcher keeps, where the operator has chosen that.
bundle::CacheConfig cache_of(const cluster::NodeSpec& spec) {
  const bool is_on_spark = std::getenv(kReservedCoresVariable) != nullptr;
  bundle::CacheConfig cache;
  cache.directory = spec.temp_directory;
  cache.setting = is_on_spark
                      ? "set SparkConfig::temp_directory, or RAYX_LAUNCHER_CACHE in the environment of Spark's workers"
                      : "set ClusterConfig::temp_directory";
  const char* const chosen = std::getenv(kLauncherCacheVariable);
  std::error_code error;
  if (cache.directory.empty() && chosen != nullptr && *chosen != '\0')
    cache.directory = (std::filesystem::absolute(chosen, error) / "node").string();
  return cache;
}

struct Over {
  const int event = ::eventfd(0, EFD_CLOEXEC);
  std::mutex mutex;
  std::string why;
};

// Why it ends. A drain that was asked for ends as `over`.
std::string wait_for_end(host::Daemon& daemon, Over& over) {
  bool is_drained = false;
  while (true) {
    pollfd waiting[] = {{0, 0, 0}, {terminations, POLLIN, 0}, {over.event, POLLIN, 0}};
    waiting[0].events = POLLIN;
    if (::poll(waiting, 3, -1) < 0) {
      if (errno == EINTR) continue;
      return "it cannot wait for events";
    }
    if (waiting[2].revents != 0) {
      const std::lock_guard lock(over.mutex);
      return over.why;
    }
    if (waiting[0].revents != 0) {
      char rest[512];
      const ssize_t got = ::read(0, rest, sizeof(rest));
      if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) return "who started it is gone";
    }
    std::uint64_t count = 0;
    if (waiting[1].revents == 0 || ::read(terminations, &count, sizeof(count)) != sizeof(count)) continue;
    if (std::exchange(is_drained, true)) return "it was asked to end twice";
    say("the node is drained");
    daemon.drain(kDrainTimeout);
  }
}

int node_main() {
  ::prctl(PR_SET_NAME, "rayx:node");
  take_signals();
  const Result<cluster::NodeSpec> spec = read_spec();
  if (!spec) return say(spec.error().message), 1;
  const Result<wire::Endpoint> head = wire::Endpoint::parse(spec->head);
  Result<wire::Token> token = wire::Token::from_hex(spec->token);
  if (!head || !token) return say("the cluster has given this node an address or a token that cannot be read"), 1;
  const Result<std::string> address = address_towards(*head);
  if (!address) return say(address.error().message), 1;

  host::DaemonConfig config;
  config.head = *head;
  config.address = *address;
  config.token = std::move(*token);
  config.resources = resources_of(*spec);
  config.cache = cache_of(*spec);
  config.log = say;
  Over over;
  config.is_over = [&over](const std::string& why, bool) {
    const std::lock_guard lock(over.mutex);
    over.why = why;
    const std::uint64_t one = 1;
    static_cast<void>(!::write(over.event, &one, sizeof(one)));
  };
  Result<std::unique_ptr<host::Daemon>> daemon = host::Daemon::start(std::move(config));
  if (!daemon) return say(daemon.error().message), 1;
  say("the node " + spec->name + " listens on " + (*daemon)->endpoint().text() + "; the head is at " + head->text());
  const std::string why = wait_for_end(**daemon, over);
  say("the node ends: " + why);
  ::signal(SIGALRM, SIG_DFL);
  ::alarm(kEndTimeout_s);
  daemon->reset();
  return 0;
}

[[maybe_unused]] const bool registered = (process::register_role(kNodeRole, &node_main), true);

}  // namespace
}  // namespace rayx::detail
