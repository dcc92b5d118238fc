// Which of this machine's addresses another one is reached from.
#pragma once

#include <string>

#include "rayx/result.hpp"
#include "wire/endpoint.hpp"

namespace rayx::detail {

// In numbers. Asks the kernel's routes and, for a host's name, the name server; nothing is sent to the host.
Result<std::string> address_towards(const wire::Endpoint& there);

}  // namespace rayx::detail
