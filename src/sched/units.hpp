// CPUs, in the smallest part of one that can be asked for, and how long a busy one is left to who has it.
#pragma once

#include <cstdint>

#include "base/clock.hpp"

namespace rayx::sched {

using Units = std::int64_t;  // 1/10000 of a CPU

inline constexpr Units kUnitsOfOneCpu = 10'000;
inline constexpr base::TimeNs kQuantum_ns = 10'000'000;

}  // namespace rayx::sched
