// Waits for what nobody tells: a file that another process makes, a count in /proc.
#pragma once

#include <poll.h>

#include <chrono>

#include "base/deadline.hpp"

namespace rayx::kit {

inline constexpr std::chrono::seconds kPatience{30};  // for what takes milliseconds, on a busy machine

// True as soon as `is_so` says so; it is asked every millisecond. False: not within the limit.
template <class Question>
[[nodiscard]] bool eventually(Question is_so, std::chrono::milliseconds limit = kPatience) {
  for (const base::Deadline deadline(limit); !is_so();) {
    if (deadline.has_passed()) return false;
    ::poll(nullptr, 0, 1);
  }
  return true;
}

}  // namespace rayx::kit
