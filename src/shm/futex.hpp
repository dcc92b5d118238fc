// Sleeping on a 32-bit word of shared memory until another process changes it.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/clock.hpp"

namespace rayx::shm {

enum class WaitOutcome : std::uint8_t { kWoken, kValueDiffers, kTimedOut };

// Sleeps while `word` holds `expected`, at most `timeout_ns` (kNever: without end). May return kWoken for no reason; look again.
WaitOutcome futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, base::TimeNs timeout_ns);

// Wakes up to `count` sleepers in any process. One system call, about 0.3 us when nobody sleeps: call it only when somebody does.
void futex_wake(const std::atomic<std::uint32_t>& word, int count);

}  // namespace rayx::shm
