// How many bytes a message has on its way.
#pragma once

#include <cstddef>

#include "registry/messages.hpp"

namespace rayx::sim {

std::size_t encoded_bytes(const registry::ToHead& message);
std::size_t encoded_bytes(const registry::ToMember& message);

}  // namespace rayx::sim
