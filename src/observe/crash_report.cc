#include "observe/crash_report.hpp"

#include <algorithm>
#include <csignal>
#include <cstring>

#include "base/format.hpp"

namespace rayx::observe {

std::optional<Crash> read_crash_report(const CrashReport& report, std::uint32_t generation) {
  const std::uint32_t stage = report.stage.load(std::memory_order_acquire);
  if (stage != CrashReport::kSignalKnown && stage != CrashReport::kFramesKnown) return std::nullopt;
  if (report.version != kCrashReportVersion || report.generation != generation) return std::nullopt;
  Crash crash{.signal = report.signal,
              .code = report.code,
              .pid = report.pid,
              .tid = report.tid,
              .fault_address = report.fault_address,
              .frames = {}};
  const std::uint32_t count =
      stage == CrashReport::kFramesKnown ? std::min<std::uint32_t>(report.frame_count, kCrashFramesMax) : 1;
  for (std::uint32_t i = 0; i < count; ++i) {
    const CrashReport::Address& from = report.frames[i];
    Frame frame{.module = {}, .file_offset = from.file_offset, .address = from.address, .is_return_address = i > 0};
    if (from.module < kCrashModulesMax) {
      const char* path = report.modules[from.module];
      frame.module.assign(path, ::strnlen(path, kCrashPathBytesMax));
    }
    crash.frames.push_back(std::move(frame));
  }
  return crash;
}

std::string cause_of(const Crash& crash) {
  if (crash.code <= 0 || crash.code == SI_KERNEL)
    return {};  // sent by a process, or an address the CPU does not report
  switch (crash.signal) {
    case SIGSEGV:
      if (crash.fault_address < 4096) return base::format(", null pointer (address 0x{:x})", crash.fault_address);
      return base::format(", address 0x{:x} {}", crash.fault_address,
                          crash.code == SEGV_ACCERR ? "must not be accessed that way" : "is not mapped");
    case SIGBUS: return base::format(", address 0x{:x} has no memory behind it", crash.fault_address);
    case SIGFPE: return crash.code == FPE_INTDIV ? ", integer division by zero" : "";
    default: return {};
  }
}

std::string describe(const Crash& crash) {
  const char* name = ::sigabbrev_np(crash.signal);
  const char* text = ::sigdescr_np(crash.signal);
  return base::format("signal {} (SIG{}, {}){}\n{}", crash.signal, name ? name : "?", text ? text : "?",
                      cause_of(crash), symbolise(crash.frames));
}

}  // namespace rayx::observe
