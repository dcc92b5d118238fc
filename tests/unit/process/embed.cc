#include "embed.hpp"
#include "base/deadline.hpp"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#include <cstdio>
#include <iostream>

#include "process/fork_server.hpp"
#include "process/take_over.hpp"
#include "process_test_kit.hpp"

namespace rayx::process::test {
namespace {

int embed_worker(const WorkerStart& start) {
  if (start.config == "pause") {
    for (;;) ::pause();
  }
  std::printf("worker says %.*s, forked=%d\n", static_cast<int>(start.config.size()), start.config.data(),
              start.forked);
  return 5;
}

[[maybe_unused]] const bool registered = (register_worker_main(embed_worker), true);

void forbid_pidfds() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_send_signal, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
  };
  sock_fprog program{sizeof(code) / sizeof(code[0]), code};
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    std::puts("no seccomp here");
    std::fflush(stdout);
    ::_exit(77);
  }
}

std::string indented(const char* who, const std::string& text) {
  std::string shown;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    shown += std::string(who) + ": " + text.substr(at, end - at) + '\n';
    at = end + 1;
  }
  return shown;
}

int run(std::string what) {
  static ForkServer* server = new ForkServer;  // "hold" leaves it running, as a program that ends without shutdown does
  static Recorder* events = new Recorder;
  ForkServerConfig config;
  if (what == "nopidfd") forbid_pidfds();
  const std::string prefix = "constructor:";
  if (what.starts_with(prefix)) config.env.push_back("RAYX_TEST_CONSTRUCTOR=" + what.substr(prefix.size()));
  if (const Result<void> started = server->start(config); !started) {
    std::cout << started.error().message << '\n' << std::flush;
    return 1;
  }
  const base::UniqueFd out = server->take_out(), err = server->take_err();
  const base::Deadline second(1000ms);
  if (const Result<void> ready = server->wait_ready(kPatience, *events); !ready) {
    std::cout << ready.error().message << '\n' << indented("server", read_text(err.get()));
    std::cout << "took under a second: " << !second.has_passed() << '\n' << std::flush;
    return 1;
  }
  if (what == "hold") {
    for (std::uint64_t slot = 0; slot < 4; ++slot) {
      if (!server->spawn_worker({.slot = slot, .fds = {}, .env = {}, .config = "pause"})) return 1;
    }
    if (!pump(*server, *events, [] { return events->started.size() == 4; })) return 1;
    std::cout << "holding" << '\n' << std::flush;
    return 0;
  }
  const std::string env[1] = {"RAYX_TEST_IN_WORKER=1"};
  for (std::uint64_t slot = 1; slot <= 2; ++slot) {
    if (!server->spawn_worker({.slot = slot, .fds = {}, .env = env, .config = "hello"})) return 1;
    if (!pump(*server, *events, [&] { return events->exited.contains(slot) || events->failed.contains(slot); }))
      return 1;
    if (events->failed.contains(slot)) {
      std::cout << events->failed[slot] << '\n' << std::flush;
      return 1;
    }
    const WorkerExit& exit = events->exited.at(slot);
    std::cout << indented("worker", read_text(events->started.at(slot).out.get()))
              << indented("worker's stderr", read_text(events->started.at(slot).err.get())) << "worker " << slot << ' '
              << describe(exit.status) << ", entered=" << exit.entered << '\n';
  }
  if (what == "nopidfd") {  // and a fork server that is killed
    if (!server->spawn_worker({.slot = 3, .fds = {}, .env = {}, .config = "pause"})) return 1;
    if (!pump(*server, *events, [&] { return events->started.contains(3); })) return 1;
    ::kill(server->pid(), SIGKILL);
    if (!pump(*server, *events, [&] { return !events->server_exits.empty(); })) return 1;
    std::cout << "worker 3 reported: " << events->exited.contains(3) << '\n';
  }
  server->shutdown(1000ms, *events);
  std::cout << indented("server", read_text(out.get())) << indented("server's stderr", read_text(err.get()))
            << "children left: " << has_children() << '\n'
            << std::flush;
  return 0;
}

}  // namespace
}  // namespace rayx::process::test

int rayx_test_embed(const char* what) {
  rayx::process::take_over_if_requested();  // as init() does, for static programs
  return rayx::process::test::run(what);
}
