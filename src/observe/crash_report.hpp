// What a worker leaves behind when a fatal signal ends it: written by its signal handler into memory that it shares with the
// node, read there after its death. SIGKILL leaves nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "observe/frames.hpp"

namespace rayx::observe {

inline constexpr std::uint32_t kCrashReportVersion = 1;
inline constexpr int kCrashFramesMax = 64;
inline constexpr int kCrashModulesMax = 16;
inline constexpr int kCrashPathBytesMax = 224;

// A plain layout: the writer may be killed between any two stores, so `stage` is written last and tells what is there.
struct CrashReport {
  enum Stage : std::uint32_t { kEmpty = 0, kWriting = 1, kSignalKnown = 2, kFramesKnown = 3 };
  struct Address {
    std::uint64_t address;
    std::uint64_t file_offset;
    std::uint32_t module;  // index, or kCrashModulesMax: in no file, or no room for its path
    std::uint32_t reserved;
  };
  std::uint32_t version;
  std::uint32_t generation;  // of the process slot: an older worker's report is not taken for this one's
  std::atomic<std::uint32_t> stage;
  std::int32_t signal;
  std::int32_t code;  // si_code
  std::int32_t pid;
  std::int32_t tid;
  std::uint32_t frame_count;
  std::uint64_t fault_address;  // of SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP raised by the kernel; else 0
  std::uint64_t instruction;
  Address frames[kCrashFramesMax];
  char modules[kCrashModulesMax][kCrashPathBytesMax];
};
static_assert(std::is_standard_layout_v<CrashReport> && std::is_trivially_destructible_v<CrashReport>);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
static_assert(sizeof(CrashReport) <= 8192);

// Worker only. From now on SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT and SIGTRAP write `*report` (zeroed here; it must stay mapped)
// and then go on as they would have: the handler that was there before runs (AddressSanitizer's), or the process ends by that
// signal. Handlers that the user's code installs later win. Call it in the thread that runs tasks.
void install_crash_handler(CrashReport* report, std::uint32_t generation);

// Gives the calling thread a stack for signal handlers, so that its stack overflow can be reported. install_crash_handler() does
// it for its caller; further threads that run tasks call it. Freed when the thread ends.
void use_alternate_signal_stack();

// Node. A copy of what the dead worker wrote, checked: the memory may hold anything.
struct Crash {
  int signal = 0;
  int code = 0;
  int pid = 0;
  int tid = 0;
  std::uint64_t fault_address = 0;
  std::vector<Frame> frames;
};
std::optional<Crash> read_crash_report(const CrashReport& report, std::uint32_t generation);

// ", null pointer (address 0x10)": what the fault was, as a continuation of the signal's name; empty where the signal says all.
std::string cause_of(const Crash& crash);
// "signal 11 (SIGSEGV, Segmentation fault), address 0x10 is not mapped" and the numbered frames, on lines of their own.
std::string describe(const Crash& crash);

}  // namespace rayx::observe
