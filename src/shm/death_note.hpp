// What is known about the end of a process, for the owners of the tasks that it ran: one note for each process slot, behind the
// control area. The node writes it before it announces the death; it stays until the slot is used again.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "shm/control.hpp"
#include "shm/layout.hpp"

namespace rayx::shm {

struct alignas(kCacheLineBytes) DeathNote {
  std::atomic<std::uint32_t> generation;  // of the process slot that it is about
  std::int32_t pid;
  std::uint32_t how_bytes;    // "was killed by signal 11 (...)" and the worker's last lines
  std::uint32_t stack_bytes;  // observe::encode_frames
  char how[8 * 1024 - 16];
  char stack[8 * 1024];
};

// The notes of a node, and room for the crash reports that the processes write themselves.
class DeathNotes {
 public:
  static constexpr std::uint64_t kCrashReportBytes = 8 * 1024;

  static std::uint64_t bytes_for(std::uint32_t processes) {
    return processes * (sizeof(DeathNote) + kCrashReportBytes);
  }

  DeathNotes() = default;
  DeathNotes(const Segment& segment, std::uint32_t processes, std::uint32_t lanes)
      : segment_(segment),
        begin_((Control::bytes_for(processes, lanes) + 4095) / 4096 * 4096),
        reports_(begin_ + processes * sizeof(DeathNote)) {}

  DeathNote& note(std::uint32_t slot) const noexcept {
    return *segment_.at<DeathNote>(begin_ + slot * sizeof(DeathNote));
  }
  // Room for an observe::CrashReport.
  void* crash_report(std::uint32_t slot) const noexcept {
    return segment_.at<std::byte>(reports_ + slot * kCrashReportBytes);
  }

  void write(std::uint32_t slot, std::uint32_t generation, std::int32_t pid, std::string_view how,
             std::string_view stack) const {
    DeathNote& note = this->note(slot);
    note.pid = pid;
    note.how_bytes = static_cast<std::uint32_t>(std::min(how.size(), sizeof(note.how)));
    note.stack_bytes = static_cast<std::uint32_t>(std::min(stack.size(), sizeof(note.stack)));
    how.copy(note.how, note.how_bytes);  // of an empty view too, whose address memcpy must not get
    stack.copy(note.stack, note.stack_bytes);
    RAYX_KILL_POINT("death_note.before_generation");
    note.generation.store(generation, std::memory_order_release);
  }

 private:
  Segment segment_;
  Offset begin_ = kNoOffset;
  Offset reports_ = kNoOffset;
};

}  // namespace rayx::shm
