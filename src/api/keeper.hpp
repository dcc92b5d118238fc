// How long the keeper of a cluster takes at most.
#pragma once

#include <chrono>

namespace rayx::detail {

// From the wish to end the nodes until all of them must be gone: Spark gives a driver 10 s before it kills it. Then the keeper says what
// is left, when the provider has answered the last question.
inline constexpr std::chrono::seconds kKeeperEndPatience{60};

}  // namespace rayx::detail
