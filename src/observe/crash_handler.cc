// Everything below handle_crash() is async-signal-safe: no allocation, no locks of ours, system calls only.
#include <dirent.h>
#include <execinfo.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/check.hpp"
#include "observe/crash_report.hpp"
#include "observe/module_map.hpp"

namespace rayx::observe {
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
// A register file with AVX-512 or AMX takes up to 11 KiB of it, the unwinder and the maps reader the rest.
constexpr std::size_t kSignalStackBytes = 128 * 1024;
// A handler that hangs (the unwinder met a damaged stack) ends the process all the same.
constexpr unsigned kHandlerSecondsMax = 5;

CrashReport* the_report = nullptr;
std::uint32_t the_generation = 0;
struct sigaction actions_before[NSIG];
std::atomic<bool> handling{false};

std::uint64_t instruction_of(const void* context) {
  return static_cast<std::uint64_t>(static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
}

std::uint32_t module_index(CrashReport& report, std::string_view path) {
  for (std::uint32_t i = 0; i < kCrashModulesMax; ++i) {
    if (report.modules[i][0] == '\0') {
      if (path.size() >= kCrashPathBytesMax) break;
      std::memcpy(report.modules[i], path.data(), path.size());
      return i;
    }
    if (path == report.modules[i]) return i;
  }
  return kCrashModulesMax;
}

void use_map_line(CrashReport& report, std::string_view line) {
  MapLine map;
  if (!parse_map_line(line, map) || map.path.empty()) return;
  for (std::uint32_t i = 0; i < report.frame_count; ++i) {
    CrashReport::Address& frame = report.frames[i];
    if (frame.address < map.begin || frame.address >= map.end) continue;
    frame.module = module_index(report, map.path);
    frame.file_offset = frame.address - map.begin + map.file_offset;
  }
}

// The worker looks up its own modules: it may have loaded some that its fork server never saw.
void find_modules(CrashReport& report) {
  const int fd = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  char buffer[8192];
  std::size_t held = 0;
  for (;;) {
    const ssize_t bytes = ::read(fd, buffer + held, sizeof(buffer) - held);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) break;
    held += static_cast<std::size_t>(bytes);
    std::size_t begin = 0;
    for (std::size_t i = 0; i < held; ++i) {
      if (buffer[i] != '\n') continue;
      use_map_line(report, {buffer + begin, i - begin});
      begin = i + 1;
    }
    std::memmove(buffer, buffer + begin, held - begin);
    held -= begin;
    if (held == sizeof(buffer)) held = 0;  // no line is that long
  }
  ::close(fd);
}

// The kernel copies the mask before it looks at the impossible first argument: EFAULT where nothing can be read.
bool is_readable(std::uint64_t address) {
  return ::syscall(SYS_rt_sigprocmask, ~0, address, nullptr, 8) == 0 || errno != EFAULT;
}

void find_frames(CrashReport& report, void* context) {
  // After the call of a wild pointer the unwinder would read the instruction there and fault. The function that made the call is the
  // innermost one worth knowing: put the thread back there, for as long as the unwinder looks.
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const greg_t rip = registers[REG_RIP], rsp = registers[REG_RSP];
  const bool wild = !is_readable(report.instruction);
  if (wild) {
    if (!is_readable(static_cast<std::uint64_t>(rsp))) return;
    registers[REG_RIP] = *reinterpret_cast<const greg_t*>(rsp);
    registers[REG_RSP] = rsp + 8;
    if (!is_readable(static_cast<std::uint64_t>(registers[REG_RIP]))) {
      registers[REG_RIP] = rip, registers[REG_RSP] = rsp;
      return;
    }
  }
  const auto start = static_cast<std::uint64_t>(registers[REG_RIP]);
  void* addresses[kCrashFramesMax + 8];
  const int count = ::backtrace(addresses, kCrashFramesMax + 8);
  registers[REG_RIP] = rip, registers[REG_RSP] = rsp;

  // The frames of this handler and of the signal's trampoline come first; the interrupted function follows them.
  int first = 0;
  while (first < count && reinterpret_cast<std::uint64_t>(addresses[first]) != start) ++first;
  if (first == count) first = 0;  // the unwinder lost its way: what it has is better than nothing
  std::uint32_t used = 1;
  for (int i = wild ? first : first + 1; i < count && used < kCrashFramesMax; ++i) {
    report.frames[used++] = {reinterpret_cast<std::uint64_t>(addresses[i]), 0, kCrashModulesMax, 0};
  }
  report.frame_count = used;
}

void handle_crash(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  if (handling.exchange(true)) {
    // Another thread reports already and ends the process; a second fault inside the handler never comes here, its signals are
    // blocked and the kernel ends the process.
    for (;;) ::pause();
  }
  struct sigaction alarm_action {};
  alarm_action.sa_handler = SIG_DFL;
  ::sigaction(SIGALRM, &alarm_action, nullptr);
  sigset_t alarm_set;
  sigemptyset(&alarm_set);
  sigaddset(&alarm_set, SIGALRM);
  ::pthread_sigmask(SIG_UNBLOCK, &alarm_set, nullptr);
  ::alarm(kHandlerSecondsMax);

  CrashReport& report = *the_report;
  report.stage.store(CrashReport::kWriting, std::memory_order_release);
  report.version = kCrashReportVersion;
  report.generation = the_generation;
  report.signal = signal;
  report.code = info->si_code;
  report.pid = static_cast<std::int32_t>(::getpid());
  report.tid = static_cast<std::int32_t>(::syscall(SYS_gettid));
  report.fault_address = info->si_code > 0 ? reinterpret_cast<std::uint64_t>(info->si_addr) : 0;
  report.instruction = instruction_of(context);
  report.frames[0] = {report.instruction, 0, kCrashModulesMax, 0};
  report.frame_count = 1;
  report.stage.store(CrashReport::kSignalKnown, std::memory_order_release);  // the unwinder below may die

  find_frames(report, context);
  find_modules(report);
  report.stage.store(CrashReport::kFramesKnown, std::memory_order_release);

  ::alarm(0);
  ::sigaction(signal, &actions_before[signal], nullptr);
  handling.store(false);
  errno = saved_errno;
  // A fault of an instruction happens again on return, with its true siginfo. Everything else is sent again: it is blocked here and
  // arrives on return. Either way the wait status is that of the signal.
  const bool repeats = info->si_code > 0 && signal != SIGTRAP && signal != SIGABRT;
  if (!repeats) ::syscall(SYS_tgkill, ::getpid(), ::syscall(SYS_gettid), signal);
}

class SignalStack {
 public:
  SignalStack() {
    stack_t now{};
    ::sigaltstack(nullptr, &now);
    if ((now.ss_flags & SS_DISABLE) == 0) return;  // somebody gave this thread one
    memory_ =
        ::mmap(nullptr, kSignalStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory_ == MAP_FAILED) return;
    stack_t mine{};
    mine.ss_sp = memory_;
    mine.ss_size = kSignalStackBytes;
    ::sigaltstack(&mine, nullptr);
  }
  ~SignalStack() {
    if (memory_ == MAP_FAILED) return;
    stack_t now{};
    ::sigaltstack(nullptr, &now);
    if (now.ss_sp == memory_) {
      stack_t none{};
      none.ss_flags = SS_DISABLE;
      ::sigaltstack(&none, nullptr);
    }
    ::munmap(memory_, kSignalStackBytes);
  }
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  void* memory_ = MAP_FAILED;
};

}  // namespace

void use_alternate_signal_stack() { static thread_local SignalStack stack; }

void install_crash_handler(CrashReport* report, std::uint32_t generation) {
  RAYX_CHECK(report != nullptr, "no memory for the crash report");
  std::memset(static_cast<void*>(report), 0, sizeof(*report));
  the_report = report;
  the_generation = generation;
  void* warm[2];
  ::backtrace(warm, 2);  // loads the unwinder, which allocates: not in the handler
  use_alternate_signal_stack();
  struct sigaction action {};
  action.sa_sigaction = handle_crash;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  for (const int signal : kSignals) {
    struct sigaction before {};
    ::sigaction(signal, nullptr, &before);
    if ((before.sa_flags & SA_SIGINFO) != 0 && before.sa_sigaction == handle_crash) continue;  // installed twice
    ::sigaction(signal, &action, &actions_before[signal]);
  }
}

}  // namespace rayx::observe
